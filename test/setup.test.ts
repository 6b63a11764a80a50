import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { clientToml } from '../src/client/client-toml.ts';
import { CLIENT_SCHEMA } from '../src/client/config.ts';
import type { InitResult } from '../src/client/setup.ts';
import { enrollText } from '../src/commands/enroll.ts';
import { initText } from '../src/commands/init.ts';
import type { EnrollResult } from '../src/host/enroll.ts';
import { parseConfig } from '../src/shared/toml.ts';
import type { PublicKey } from '../src/wire/key.ts';
import { placeHostKey } from '../src/wire/known-hosts.ts';
import { NAME } from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { readWords } from './support/command-line.ts';
import { matching, says, wording } from './support/wording.ts';

const BLOB = 'AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const OTHER = BLOB.replace(/A$/, 'B');
const KEY: PublicKey = { type: 'ssh-ed25519', blob: BLOB, comment: '' };

describe('placeHostKey()', () => {
  const place = (text: string, knownAs = 'backup'): string => {
    const placed = placeHostKey(text, knownAs, KEY);
    return 'reason' in placed ? placed.reason : placed.value;
  };
  const own = `backup ssh-ed25519 ${BLOB}\n`;

  it('adds a line of its own, and changes no other', () => {
    assert.equal(place(''), own);
    for (const before of [
      '# mine\n',
      `oak ssh-rsa AAAA\n`,
      `|1|x=|y= ssh-ed25519 ${OTHER}\n`,
      'b\u00e4 x y\n',
      '\n\n',
    ])
      assert.equal(place(before), `${before}${own}`);
    assert.equal(place('oak ssh-rsa AAAA'), `oak ssh-rsa AAAA\n${own}`);
  });

  it('changes nothing where the key is known already', () => {
    for (const text of [own, own.trim(), `a,Backup,b ssh-ed25519 ${BLOB} note\n`, `x y z\n  ${own}`])
      assert.equal(place(text), text);
  });

  it('puts no second key beside one that is there', () => {
    for (const text of [
      `backup ssh-ed25519 ${OTHER}\n`,
      `backup ssh-rsa ${BLOB}\n`,
      `BACKUP ssh-ed25519 ${OTHER}\n`,
      `a,backup ssh-ed25519 ${OTHER}\r\n`,
      'backup\n',
      `backup ssh-ed25519 ${OTHER}\n${own}`,
    ])
      assert.equal(place(text), `${wording('it-has-another-key-for')} backup`);
  });

  it('tells a host from the same with a port, and from a longer name', () => {
    const others = `[backup]:2222 ssh-ed25519 ${OTHER}\nbackup2 ssh-ed25519 ${OTHER}\nbackup.x ssh-ed25519 ${OTHER}\n`;
    assert.equal(place(others), `${others}${own}`);
    assert.equal(place(others, '[backup]:2222'), `${wording('it-has-another-key-for')} [backup]:2222`);
  });

  it('makes a file in which ssh finds the key', t => {
    const folder = mkdtempSync(`${tmpdir()}/dialback known `);
    t.after(() => rmSync(folder, { recursive: true }));
    for (const knownAs of ['backup', '[backup]:2222', '192.0.2.1', '2001:db8::1', '[192.0.2.1]:1']) {
      writeFileSync(`${folder}/known_hosts`, place('', knownAs));
      const { stdout } = spawnSync('ssh-keygen', ['-F', knownAs, '-f', `${folder}/known_hosts`], {
        encoding: 'utf8',
      });
      assert.ok(stdout.endsWith(`${knownAs} ssh-ed25519 ${BLOB}\n`), stdout);
    }
  });

  it('is the same when it is done twice, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), text => {
        const placed = placeHostKey(text, 'backup', KEY);
        if ('value' in placed) assert.deepEqual(placeHostKey(placed.value, 'backup', KEY), placed);
      }),
    );
  });
});

describe('clientToml()', () => {
  const files = { identity: '/h/id', knownHosts: '/h/known_hosts' };

  it('is a config that says what it was made of', () => {
    const text = clientToml({
      name: 'laptop',
      target: 'ssh://me@backup:22',
      files,
      transport: 'direct',
      roots: ['/', '/a b'],
      capability: undefined,
      excludeFrom: '/etc/a "list"',
    });
    const config = parseConfig(text, 'client.toml', CLIENT_SCHEMA);
    assert.equal(config.name, 'laptop');
    assert.deepEqual(config.scope.roots, ['/', '/a b']);
    assert.deepEqual(config.scope.exclude_from, ['/etc/a "list"']);
    assert.deepEqual(
      config.remote.map(({ target, identity, known_hosts }) => ({ target, identity, known_hosts })),
      [{ target: 'ssh://me@backup:22', identity: '/h/id', known_hosts: '/h/known_hosts' }],
    );
  });

  it('keeps every path as it is, whatever its letters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), each => {
        const path = `/x${each.replaceAll(/\p{Cc}|[/*?[\]]/gu, '')}y`;
        const text = clientToml({
          name: 'a',
          target: 'b',
          files: { identity: path, knownHosts: path },
          transport: 'direct',
          roots: [path],
          capability: undefined,
        });
        const config = parseConfig(text, 'client.toml', CLIENT_SCHEMA);
        assert.deepEqual([config.scope.roots, config.remote[0]?.identity], [[path], path]);
      }),
    );
  });

  it('is a config with a capability and its commented-out settings too', () => {
    const [direct, channel] = (['direct', 'channel'] as const).map(transport => {
      const words = { name: 'a', target: 'b', files, transport, roots: ['/'] };
      const text = clientToml({ ...words, capability: 'none' }).replaceAll(/^#(?=[a-z]+ = )/gm, '');
      return parseConfig(text, 'client.toml', CLIENT_SCHEMA);
    });
    assert.deepEqual([direct?.remote[0]?.transport, direct?.remote[0]?.listen], ['direct', '[::]:8022']);
    assert.deepEqual([channel?.remote[0]?.transport, channel?.remote[0]?.listen], ['channel', undefined]);
    assert.equal(direct?.capability, 'none');
  });
});

/** A line as /bin/sh takes it apart, with `dialback` that shows its words and its input. */
function wordsOf(line: string): { words: string[]; input: string } {
  const script = `dialback() { printf '%s\\0' "$@"; if [ "$1" = enroll ]; then cat; fi; }\n${line}`;
  const { stdout, stderr, status } = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8', input: '' });
  assert.equal(status, 0, stderr);
  const parts = stdout.split('\0');
  return { words: parts.slice(0, -1), input: parts.at(-1) ?? '' };
}

const lastCommand = (text: string): string => /\n {2}(.*)\n$/.exec(text)?.[1] ?? '';

describe('initText() and enrollText()', () => {
  const init = (more: Partial<InitResult> = {}): InitResult => ({
    name: 'laptop',
    key: { path: '/h/id', publicKey: `ssh-ed25519 ${BLOB}`, isNew: true },
    setUp: undefined,
    ...more,
  });
  const enrolled = (more: Partial<EnrollResult> = {}): EnrollResult => ({
    did: 'added',
    authorizedKeys: '/f',
    configWritten: undefined,
    noJail: undefined,
    storeCreated: undefined,
    target: 'dialback@backup',
    hostKey: { key: KEY, path: '/etc/ssh/x.pub' },
    ...more,
  });

  it('print commands that a shell takes for the words that they are made of', () => {
    const name = fc.stringMatching(NAME);
    fc.assert(
      fc.property(name, each => {
        const { words, input } = wordsOf(lastCommand(initText(init({ name: each }), undefined)));
        assert.deepEqual([words, input], [['enroll', each, '-'], `ssh-ed25519 ${BLOB} ${each}\n`]);
        assert.equal(readWords(words).verb, 'enroll');
        const next = wordsOf(lastCommand(enrollText(each, enrolled())));
        assert.deepEqual(readWords(next.words), {
          verb: 'init',
          name: each,
          target: 'dialback@backup',
          hostKey: `ssh-ed25519 ${BLOB}`,
          transport: undefined,
          config: undefined,
          ...{ from: undefined, batch: false, json: false },
        });
      }),
      { numRuns: 50 },
    );
  });

  it('name the config again in the last command, where one was named', () => {
    const setUp = {
      config: "/it's here/c",
      isNew: true,
      target: 'b',
      roots: ['/'],
      isConfined: false,
      jail: undefined,
      channelBecause: undefined,
      fingerprint: 'SHA256:x',
      isHostKeyNew: false,
      transport: 'direct' as const,
    };
    const key = { ...init().key, isNew: false };
    assert.match(initText(init({ key, setUp }), undefined), /\nnext: dialback backup\n$/);
    const command = initText(init({ key, setUp }), 'c').split('next: ')[1] ?? '';
    assert.deepEqual(wordsOf(command).words, ['backup', '--config', "/it's here/c"]);
  });

  it('say in one line why the transport is channel, where nobody has asked for it', () => {
    const setUp = {
      config: '/c',
      isNew: true,
      target: 'b',
      roots: ['/'],
      isConfined: false,
      jail: undefined,
      channelBecause: undefined,
      fingerprint: 'SHA256:x',
      isHostKeyNew: false,
      transport: 'direct' as const,
    };
    const plain = initText(init({ setUp }), undefined).split('\n');
    const because = initText(
      init({ setUp: { ...setUp, channelBecause: 'it is\u001b so' } }),
      undefined,
    ).split('\n');
    assert.doesNotMatch(plain.join('\n'), /transport/);
    const added = because.filter(each => !plain.includes(each));
    assert.equal(because.length, plain.length + 1);
    assert.match(
      added.join('\n'),
      matching`^${says('with-transport-channel-in-it')}: it is\\u001b so \(.*"direct" there\)$`,
    );
  });

  it('say where the key is to be had, where the host has none in its usual place', () => {
    const text = enrollText('laptop', enrolled({ hostKey: undefined }));
    assert.match(text, matching`${says('no-public-key-of-this')}: .* for KEY\n`);
    assert.match(lastCommand(text), /--host-key 'KEY'$/);
  });
});
