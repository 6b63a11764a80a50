import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { enrolledLine, enrolledName, type PublicKey, parsePublicKey, placeLine } from '../src/host/enroll.ts';

let folder = '';
/** Public key files by type, made by the real ssh-keygen. */
const real = new Map<string, string>();

before(() => {
  folder = mkdtempSync(`${tmpdir()}/dialback keys `);
  const keygen = (...args: string[]): void => {
    const { status, stderr } = spawnSync('ssh-keygen', ['-q', ...args], { encoding: 'utf8', input: 'y\n' });
    assert.equal(status, 0, stderr);
  };
  for (const [type, bits] of [
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['ecdsa', '521'],
  ] as const) {
    keygen('-t', type, '-b', bits, '-N', '', '-C', `me@${type}`, '-f', `${folder}/${type}`);
    real.set(type, readFileSync(`${folder}/${type}.pub`, 'utf8'));
  }
  keygen('-s', `${folder}/ed25519`, '-I', 'x', '-n', 'me', `${folder}/ecdsa.pub`);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const text = (name: string): string => real.get(name) ?? '';
const keyOf = (name: string): PublicKey => {
  const parsed = parsePublicKey(text(name));
  assert.ok('value' in parsed);
  return parsed.value;
};
const reasonFor = (each: string): string => {
  const parsed = parsePublicKey(each);
  return 'reason' in parsed ? parsed.reason : 'accepted';
};

describe('parsePublicKey()', () => {
  it('reads what ssh-keygen made: with comments, empty lines and other line ends around it', () => {
    for (const type of ['ed25519', 'rsa', 'ecdsa']) {
      const key = keyOf(type);
      assert.equal(`${key.type} ${key.blob} ${key.comment}\n`, text(type));
      for (const around of [
        `\n${text(type)}\n`,
        `# a comment\n${text(type)}`,
        text(type).replace('\n', '\r\n'),
        ` ${text(type)}`,
      ])
        assert.deepEqual(parsePublicKey(around), { value: key });
    }
  });

  it('leaves a comment out that is long or not plain ASCII', () => {
    const bare = text('ed25519').replace(/ me@.*/, '');
    for (const comment of ['ä', 'a\tb', 'x'.repeat(101), '\u001b[31m', ''])
      assert.equal((parsePublicKey(`${bare.trim()} ${comment}`) as { value: PublicKey }).value.comment, '');
  });

  it('refuses a private key, and says which file is wanted', () => {
    for (const type of ['ed25519', 'rsa', 'ecdsa'])
      assert.equal(
        reasonFor(readFileSync(`${folder}/${type}`, 'utf8')),
        'it is the private half; the file that ends in .pub is wanted',
      );
    assert.match(reasonFor(`${text('ed25519')}-----BEGIN RSA PRIVATE KEY-----`), /private half/);
  });

  const wrongForm = /^it is not one line "TYPE BASE64 COMMENT" of an OpenSSH public key$/;
  const refused: [string, () => string, RegExp][] = [
    ['nothing', () => '', /^it is empty$/],
    ['blank lines', () => ' \n\n\t\n', /^it is empty$/],
    ['only a comment', () => '# ssh-ed25519 AAAA\n', /^it is empty$/],
    ['two keys', () => text('ed25519') + text('rsa'), /^it has 2 lines, and one key is wanted$/],
    ['the same key twice', () => text('ed25519').repeat(2), /^it has 2 lines/],
    ['options before the key', () => `command="id" ${text('ed25519')}`, wrongForm],
    ['restrict before the key', () => `restrict ${text('ed25519')}`, wrongForm],
    ['a known_hosts line', () => `host ${text('ed25519')}`, wrongForm],
    ['a certificate', () => readFileSync(`${folder}/ecdsa-cert.pub`, 'utf8'), wrongForm],
    ['an authority', () => `@cert-authority ${text('ed25519')}`, wrongForm],
    ['a DSA key', () => 'ssh-dss AAAAB3NzaC1kc3MAAACB', wrongForm],
    ['an unknown type', () => text('ed25519').replace('ssh-ed25519', 'ssh-ed448'), wrongForm],
    ['the type alone', () => 'ssh-ed25519', wrongForm],
    ['two blanks', () => text('ed25519').replace(' ', '  '), wrongForm],
    ['a SSH2 file', () => '---- BEGIN SSH2 PUBLIC KEY ----', wrongForm],
    ['no base64', () => 'ssh-ed25519 AAA-BBB_', wrongForm],
    ['HTML', () => '<html>', wrongForm],
    [
      'another type than its blob',
      () => text('ed25519').replace('ssh-ed25519', 'ssh-rsa'),
      /not a key of type ssh-rsa$/,
    ],
    [
      'the blob of another',
      () => text('rsa').replace('ssh-rsa', 'ssh-ed25519'),
      /not a key of type ssh-ed25519$/,
    ],
    ['base64 cut short', () => 'ssh-ed25519 AAAA', /not a key of type ssh-ed25519$/],
    [
      'base64 with bits to spare',
      () => 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AB==',
      /not a key of type ssh-ed25519$/,
    ],
    [
      'a key cut short',
      () => `ssh-ed25519 ${keyOf('ed25519').blob.slice(0, 40)}`,
      /not a key of type ssh-ed25519$/,
    ],
    [
      'a key that is the type alone',
      () => 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5',
      /not a key of type ssh-ed25519$/,
    ],
    [
      'a key with more behind it',
      () => `ssh-ed25519 ${keyOf('ed25519').blob}AAAA`,
      /not a key of type ssh-ed25519$/,
    ],
  ];
  for (const [what, make, reason] of refused)
    it(`refuses ${what}`, () => assert.match(reasonFor(make()), reason));

  it('never throws, and puts no line end into what it reads, when the text is arbitrary', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map(each => `${text('ed25519').trim()} ${each}`),
        ),
        each => {
          const parsed = parsePublicKey(each);
          if ('value' in parsed) assert.doesNotMatch(Object.values(parsed.value).join(''), /[^\x20-\x7e]/);
        },
      ),
      { numRuns: 500 },
    );
  });
});

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
    writeFileSync(`${folder}/line`, `${line('laptop', keyOf('ed25519'))}\n`);
    const { status, stdout } = spawnSync('ssh-keygen', ['-l', '-f', `${folder}/line`], { encoding: 'utf8' });
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
    assert.deepEqual(put(lines, 'a', ed()), { reason: '"a" is enrolled already, with another key' });
    assert.deepEqual(put(lines, 'a', ed(), true), {
      value: { lines: [foreign, line('a', ed())], did: 'replaced' },
    });
    const both = [line('a', rsa()), line('a', ed())];
    assert.deepEqual(put(both, 'a', ed()), { reason: '"a" is enrolled already, with another key' });
  });

  it('refuses a key that another client has, replacing or not', () => {
    for (const replace of [false, true])
      assert.deepEqual(put([line('b', ed())], 'a', ed(), replace), {
        reason: 'the key is enrolled already, for "b"',
      });
  });

  it('refuses a key that opens a login, whatever stands before it', () => {
    for (const before of ['', 'restrict ', 'from="192.0.2.1" ', 'command="id" ', ' ', '\t'])
      for (const replace of [false, true])
        assert.match(
          (put([before + text('ed25519').trim()], 'a', ed(), replace) as { reason: string }).reason,
          /would open a login$/,
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
