import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import {
  fingerprint,
  type PublicKey,
  parseHostKey,
  parsePublicKey,
  readEd25519Line,
  showKey,
} from '../src/wire/key.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
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
const reasonFor = (each: string, parse = parsePublicKey): string => {
  const parsed = parse(each);
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
        reasonFor(readFileSync(`${keys.folder}/${type}`, 'utf8')),
        wording('it-is-the-private-half'),
      );
    assert.match(reasonFor(`${text('ed25519')}-----BEGIN RSA PRIVATE KEY-----`), /private half/);
  });

  const wrongForm = matching`^${says('it-is-not-one-line')}$`;
  const refused: [string, () => string, RegExp][] = [
    ['nothing', () => '', /^it is empty$/],
    ['blank lines', () => ' \n\n\t\n', /^it is empty$/],
    ['only a comment', () => '# ssh-ed25519 AAAA\n', /^it is empty$/],
    ['two keys', () => text('ed25519') + text('rsa'), matching`^it has 2 ${says('lines-and-one-key-is')}$`],
    ['the same key twice', () => text('ed25519').repeat(2), /^it has 2 lines/],
    ['options before the key', () => `command="id" ${text('ed25519')}`, wrongForm],
    ['restrict before the key', () => `restrict ${text('ed25519')}`, wrongForm],
    ['a known_hosts line', () => `host ${text('ed25519')}`, wrongForm],
    ['a certificate', () => readFileSync(`${keys.folder}/ecdsa-cert.pub`, 'utf8'), wrongForm],
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
      matching`${says('not-a-key-of-type')} ssh-rsa$`,
    ],
    [
      'the blob of another',
      () => text('rsa').replace('ssh-rsa', 'ssh-ed25519'),
      matching`${says('not-a-key-of-type')} ssh-ed25519$`,
    ],
    ['base64 cut short', () => 'ssh-ed25519 AAAA', matching`${says('not-a-key-of-type')} ssh-ed25519$`],
    [
      'base64 with bits to spare',
      () => 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AB==',
      matching`${says('not-a-key-of-type')} ssh-ed25519$`,
    ],
    [
      'a key cut short',
      () => `ssh-ed25519 ${keyOf('ed25519').blob.slice(0, 40)}`,
      matching`${says('not-a-key-of-type')} ssh-ed25519$`,
    ],
    [
      'a key that is the type alone',
      () => 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5',
      matching`${says('not-a-key-of-type')} ssh-ed25519$`,
    ],
    [
      'a key with more behind it',
      () => `ssh-ed25519 ${keyOf('ed25519').blob}AAAA`,
      matching`${says('not-a-key-of-type')} ssh-ed25519$`,
    ],
  ];
  for (const [what, make, reason] of refused)
    it(`refuses ${what}`, () => assert.match(reasonFor(make()), reason));

  it('never throws, and puts no line end into what it reads, when the text is arbitrary', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: ANY_CHARACTER }),
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

/** A key of these strings, each with its length before it. */
function keyOfParts(type: string, ...parts: (string | Buffer)[]): string {
  const strings = [type, ...parts].map(part => Buffer.from(part as string, 'latin1'));
  const bytes = strings.flatMap(part => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return `${type} ${Buffer.concat(bytes).toString('base64')}`;
}

describe('parseHostKey()', () => {
  it('takes each type that ssh-keygen makes for hosts, and drops the comment', () => {
    for (const name of ['ed25519', 'rsa', 'ecdsa', 'ecdsa-256', 'ecdsa-384'])
      assert.deepEqual(parseHostKey(text(name)), { value: { ...keyOf(name), comment: '' } });
  });

  const point = (bytes: number, first = 4): Buffer => Buffer.from([first, ...Buffer.alloc(bytes, 1)]);
  const number = (bytes: number, first = 0x7f): Buffer =>
    Buffer.concat([Buffer.from([first]), Buffer.alloc(bytes - 1, 1)]);
  const three = Buffer.from([1, 0, 1]);
  const P256 = 'ecdsa-sha2-nistp256';
  it('takes the least that such keys are made of', () => {
    for (const each of [
      keyOfParts('ssh-ed25519', Buffer.alloc(32)),
      keyOfParts(P256, 'nistp256', point(64)),
      keyOfParts('ssh-rsa', three, Buffer.concat([Buffer.from([0, 0x80]), Buffer.alloc(255)])),
    ])
      assert.equal(reasonFor(each, parseHostKey), 'accepted');
  });

  const refused: [string, () => string][] = [
    ['what is no public key', () => 'KEY'],
    ['nothing', () => ''],
    ['two keys', () => text('ed25519') + text('rsa')],
    ['a known_hosts line', () => `host ${text('ed25519')}`],
    ['a certificate', () => text('ecdsa-cert')],
    ['a key for a token', () => keyOfParts('sk-ssh-ed25519@openssh.com', Buffer.alloc(32), 'ssh:')],
    ['an RSA key of 1024 bits', () => text('rsa-1024')],
    ['an RSA key of 2047 bits', () => keyOfParts('ssh-rsa', three, number(256))],
    ['an RSA key of 16392 bits', () => keyOfParts('ssh-rsa', three, number(2050))],
    ['a negative RSA key', () => keyOfParts('ssh-rsa', three, number(300, 0x80))],
    [
      'an RSA key with needless zeros',
      () => keyOfParts('ssh-rsa', three, Buffer.concat([Buffer.alloc(1), number(300)])),
    ],
    ['an RSA key that is zero', () => keyOfParts('ssh-rsa', three, Buffer.alloc(0))],
    ['an RSA key with a huge exponent', () => keyOfParts('ssh-rsa', number(9), number(300))],
    ['an RSA key of three numbers', () => keyOfParts('ssh-rsa', three, number(300), three)],
    ['an RSA key of one number', () => keyOfParts('ssh-rsa', number(300))],
    ['an ed25519 key of 31 bytes', () => keyOfParts('ssh-ed25519', Buffer.alloc(31))],
    ['an ed25519 key of 33 bytes', () => keyOfParts('ssh-ed25519', Buffer.alloc(33))],
    ['an ed25519 key with something behind it', () => keyOfParts('ssh-ed25519', Buffer.alloc(32), '')],
    ['a point on another curve', () => keyOfParts(P256, 'nistp384', point(96))],
    ['a point of another curve', () => keyOfParts(P256, 'nistp256', point(96))],
    ['a compressed point', () => keyOfParts(P256, 'nistp256', point(32, 2))],
    ['a point of another form', () => keyOfParts(P256, 'nistp256', point(64, 5))],
    ['a curve without a point', () => keyOfParts(P256, 'nistp256')],
  ];
  for (const [what, make] of refused)
    it(`refuses ${what}`, () => assert.notEqual(reasonFor(make(), parseHostKey), 'accepted'));

  it('takes nothing that could be more than two words', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: ANY_CHARACTER }),
          fc.string({ unit: ANY_CHARACTER }).map(each => `${text('ed25519').trim()}${each}`),
        ),
        each => {
          const parsed = parseHostKey(each);
          if ('value' in parsed) assert.match(showKey(parsed.value), /^[a-z0-9-]+ [A-Za-z0-9+/]+={0,2}$/);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('fingerprint()', () => {
  it('is what ssh-keygen shows', () => {
    for (const name of ['ed25519', 'rsa', 'ecdsa']) {
      const shown = execFileSync('ssh-keygen', ['-lf', `${keys.folder}/${name}.pub`], { encoding: 'utf8' });
      assert.equal(fingerprint(keyOf(name)), shown.split(' ')[1]);
    }
  });
});

describe('readEd25519Line()', () => {
  it('reads the key of a line with a comment, with an empty one and without', () => {
    const key = showKey(keyOf('ed25519'));
    for (const line of [text('ed25519'), `${key} a longer comment\n`, `${key} \n`, `${key}\n`, key])
      assert.equal(readEd25519Line(line), key, line);
  });

  it('refuses other types, options before the key, a second line, and text without a key', () => {
    const line = text('ed25519');
    for (const each of [
      text('rsa'),
      text('ecdsa'),
      `${line}${line}`,
      `${line}\n`,
      `restrict ${line}`,
      ` ${line}`,
      line.replace(' ', '  '),
      '',
      'no key',
    ])
      assert.equal(readEd25519Line(each), undefined, each);
  });
});
