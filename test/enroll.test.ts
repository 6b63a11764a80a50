import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { enrolledLine, enrolledName, placeLine } from '../src/host/authorized-keys.ts';
import { HOST_SCHEMA, hostToml } from '../src/host/config.ts';
import { ownTarget } from '../src/host/host-identity.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { type PublicKey, parsePublicKey } from '../src/wire/key.ts';
import { Keys } from './support/keys.ts';
import { matching, says, wording } from './support/wording.ts';

let keys: Keys;
before(() => {
  keys = new Keys();
});
after(() => keys?.remove());

const text = (name: string): string => keys.text(name);
const keyOf = (name: string): PublicKey => {
  const parsed = parsePublicKey(text(name));
  assert.ok('value' in parsed);
  return parsed.value;
};

const EXECUTABLE = '/opt/dial back/dialback';
const CONFIG = '/home/b ü/host.toml';
const line = (name: string, key: PublicKey, more: Partial<Parameters<typeof enrolledLine>[0]> = {}): string =>
  enrolledLine({ executable: EXECUTABLE, name, config: CONFIG, key, ...more });

describe('enrolledLine()', () => {
  it('is restricted to one command', () => {
    const key = keyOf('ed25519');
    assert.equal(
      line('laptop', key),
      `restrict,command="'${EXECUTABLE}' grab --client laptop --config '${CONFIG}'" ${key.type} ${key.blob} me@ed25519`,
    );
  });

  it('is a key to the real ssh-keygen', () => {
    writeFileSync(`${keys.folder}/line`, `${line('laptop', keyOf('ed25519'))}\n`);
    const { status, stdout } = spawnSync('ssh-keygen', ['-l', '-f', `${keys.folder}/line`], {
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    assert.match(stdout, /\(ED25519\)$/m);
  });
});

describe('enrolledName()', () => {
  it('reads the name out of what enrolledLine() wrote, whatever the paths', () => {
    const path = fc.stringMatching(/^\/[^"'\\\p{Cc}]{0,30}$/u);
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/),
        path,
        path,
        (name, executable, config) => {
          assert.equal(enrolledName(line(name, keyOf('ed25519'), { executable, config })), name);
        },
      ),
    );
  });

  const others = (): string[] => {
    const good = line('laptop', keyOf('ed25519'));
    return [
      '',
      text('ed25519'),
      `# ${good}`,
      ` ${good}`,
      `no-pty,${good}`,
      good.replace('restrict,', ''),
      good.replace(' grab ', ' gate '),
      good.replace('laptop', 'Laptop'),
      good.replace('laptop', '-laptop'),
      good.replace('laptop', `${'a'.repeat(64)}`),
      good.replace('--client laptop', '--client'),
      good.replace('command="', 'command="id; '),
      'restrict,command="internal-sftp" ssh-ed25519 AAAA',
      'restrict,command="/usr/bin/rrsync /x" ssh-ed25519 AAAA',
      `restrict,command="id" ssh-ed25519 AAAA '' grab --client laptop --config '`,
    ];
  };
  it('takes no other line for one of ours', () => {
    for (const each of others()) assert.equal(enrolledName(each), undefined, each);
  });
});

describe('placeLine()', () => {
  const ed = (): PublicKey => keyOf('ed25519');
  const rsa = (): PublicKey => keyOf('rsa');
  const put = (lines: string[], name: string, key: PublicKey, replace = false) =>
    placeLine(lines, name, key, line(name, key), replace);
  const foreign = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA someone';

  it('adds a line behind all others, and leaves those as they are', () => {
    const lines = ['# head', '', foreign, line('other', rsa())];
    assert.deepEqual(put(lines, 'a', ed()), { value: { lines: [...lines, line('a', ed())], did: 'added' } });
    assert.deepEqual(put([], 'a', ed()), { value: { lines: [line('a', ed())], did: 'added' } });
  });

  it('keeps the same line', () => {
    const lines = [foreign, line('a', ed())];
    assert.deepEqual(put(lines, 'a', ed()), { value: { lines, did: 'kept' } });
    assert.deepEqual(put(lines, 'a', ed(), true), { value: { lines, did: 'kept' } });
  });

  it('updates the line when the command is another and the key the same', () => {
    const old = line('a', ed(), { executable: '/old' });
    assert.deepEqual(put([old, foreign], 'a', ed()), {
      value: { lines: [foreign, line('a', ed())], did: 'updated' },
    });
  });

  it('makes one line of two of the same client', () => {
    const lines = [line('a', ed(), { executable: '/old' }), line('a', ed())];
    assert.deepEqual(put(lines, 'a', ed()), { value: { lines: [line('a', ed())], did: 'updated' } });
  });

  it('takes a new key only when told to replace the old one', () => {
    const lines = [line('a', rsa()), foreign];
    assert.deepEqual(put(lines, 'a', ed()), {
      why: 'other-key',
      reason: `"a" ${wording('is-enrolled-already-with-another')}`,
    });
    assert.deepEqual(put(lines, 'a', ed(), true), {
      value: { lines: [foreign, line('a', ed())], did: 'replaced' },
    });
    const both = [line('a', rsa()), line('a', ed())];
    assert.deepEqual(put(both, 'a', ed()), {
      why: 'other-key',
      reason: `"a" ${wording('is-enrolled-already-with-another')}`,
    });
  });

  it('refuses a key that another client has, replacing or not', () => {
    for (const replace of [false, true])
      assert.deepEqual(put([line('b', ed())], 'a', ed(), replace), {
        why: 'key-taken',
        reason: `${wording('the-key-is-enrolled-already')} "b"`,
      });
  });

  it('refuses a key that opens a login, whatever stands before it', () => {
    for (const before of ['', 'restrict ', 'from="192.0.2.1" ', 'command="id" ', ' ', '\t'])
      for (const replace of [false, true])
        assert.match(
          (put([before + text('ed25519').trim()], 'a', ed(), replace) as { reason: string }).reason,
          matching`${says('would-allow-a-login')}$`,
        );
  });

  it('takes no notice of a key that is commented out', () => {
    const lines = [`# ${text('ed25519').trim()}`, `#${line('b', ed())}`];
    assert.deepEqual(put(lines, 'a', ed()), { value: { lines: [...lines, line('a', ed())], did: 'added' } });
  });

  it("changes no line that is not this client's, whatever the file", () => {
    const names = fc.constantFrom('a', 'b', 'c');
    const some = fc.oneof(
      names.map(name => line(name, rsa())),
      names.map(name => line(name, ed())),
      fc.constantFrom('', '# x', foreign),
      fc.string({ unit: fc.constantFrom('a', ' ', '#', '"', 'ü') }),
    );
    fc.assert(
      fc.property(fc.array(some, { maxLength: 8 }), names, fc.boolean(), (lines, name, replace) => {
        const change = put(lines, name, ed(), replace);
        if ('reason' in change) return;
        const others = (list: string[]): string[] => list.filter(each => enrolledName(each) !== name);
        assert.deepEqual(others(change.value.lines), others(lines));
        assert.deepEqual(
          change.value.lines.filter(each => enrolledName(each) === name),
          [line(name, ed())],
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe('hostToml()', () => {
  it('is a config that is read as the store that it was made of', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), each => {
        const store = `/${each.replaceAll(/\p{Cc}/gu, '')}`;
        assert.equal(parseConfig(hostToml(store, true), 'host.toml', HOST_SCHEMA).store, store);
      }),
    );
  });
});

describe('ownTarget()', () => {
  for (const [user, host, target] of [
    ['dialback', 'backup.example.org', 'dialback@backup.example.org'],
    ['d', 'Box_1', 'd@Box_1'],
    ['Dialback', 'backup', 'USER@HOST'],
    ['EXAMPLE\\anna', 'backup', 'USER@HOST'],
    ['d', '', 'USER@HOST'],
    ['d', '-x', 'USER@HOST'],
    ['d', 'a b', 'USER@HOST'],
    ['d', "x'$(id)", 'USER@HOST'],
    ['d', '::1', 'USER@HOST'],
    ['-l', 'backup', 'USER@HOST'],
  ] as const)
    it(`makes "${target}" of "${user}" and "${host}"`, () => assert.equal(ownTarget(user, host), target));
});
