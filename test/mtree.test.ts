import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  encodeEnd,
  encodeEntry,
  LINE_LIMIT,
  MANIFEST_HEAD,
  type ManifestEntry,
  ManifestReader,
} from '../src/store/mtree.ts';
import { says, wording } from './support/wording.ts';

const DIGEST = '0123456789abcdef'.repeat(4);

const FILE: ManifestEntry = {
  path: 'a file',
  type: 'file',
  mode: 0o644,
  uid: 1000,
  gid: 1001,
  size: 3,
  mtimeNs: 1_700_000_000_123_456_789n,
  sha256: DIGEST,
  xattrs: DIGEST,
};
const TOP: ManifestEntry = { ...FILE, path: '', type: 'dir', mode: 0o755, size: 0, sha256: '' };
const LINE = `./a\\040file type=file mode=0644 uid=1000 gid=1001 size=3 time=1700000000.123456789 sha256digest=${DIGEST} tags=xattrs-sha256-${DIGEST}`;

/** What a whole text comes to: its entries, or the first reason. */
function read(text: string): ManifestEntry[] | string {
  const reader = new ManifestReader();
  const entries: ManifestEntry[] = [];
  for (const line of text.split('\n').slice(0, -1)) {
    const found = reader.line(line);
    if ('reason' in found) return found.reason;
    if (found.value) entries.push(found.value);
  }
  const end = reader.end();
  return 'reason' in end ? end.reason : entries;
}

/** What the reader makes of one line, behind the head and the top of the tree. */
function decode(line: string): ReturnType<ManifestReader['line']> {
  const reader = new ManifestReader();
  const before = MANIFEST_HEAD + (line.startsWith('. ') ? '' : encodeEntry(TOP));
  for (const each of before.split('\n').slice(0, -1)) assert.ok('value' in reader.line(each), each);
  return reader.line(line);
}

function write(entries: ManifestEntry[]): string {
  return `${MANIFEST_HEAD}${entries.map(encodeEntry).join('')}${encodeEnd(entries.length)}`;
}

const segment = fc
  .uint8Array({ minLength: 1, maxLength: 20 })
  .map(bytes => Buffer.from(bytes).toString('latin1').replace(/[/\0]/g, '*'))
  .filter(name => name !== '.' && name !== '..');
/** time_t's 64 bits, as Btrfs and tmpfs keep them, in nanoseconds. */
const TIME_LIMIT = (1n << 63n) * 1_000_000_000n;

const entry = fc
  .record(
    {
      path: fc.array(segment, { minLength: 1, maxLength: 4 }).map(each => each.join('/')),
      type: fc.constantFrom('file' as const, 'dir' as const),
      mode: fc.nat(0o7777),
      uid: fc.nat(0xffff_ffff),
      gid: fc.nat(0xffff_ffff),
      size: fc.maxSafeNat(),
      mtimeNs: fc.bigInt({ min: -TIME_LIMIT, max: TIME_LIMIT - 1n }),
      sha256: fc.constant(DIGEST),
      xattrs: fc.constant(DIGEST),
    },
    { noNullPrototype: true },
  )
  .map(each => (each.type === 'dir' ? { ...each, size: 0, sha256: '' } : each));

describe('encodeEntry()', () => {
  it('writes a line of mtree(5)', () => {
    assert.equal(encodeEntry(FILE), `${LINE}\n`);
    assert.equal(
      encodeEntry({ ...TOP, mtimeNs: 0n, mode: 0o1777 }),
      `. type=dir mode=01777 uid=1000 gid=1001 time=0.000000000 tags=xattrs-sha256-${DIGEST}\n`,
    );
  });

  it('counts up from the second before, before 1970 too', () => {
    assert.match(encodeEntry({ ...FILE, mtimeNs: -1n }), / time=-1\.999999999 /);
    assert.match(encodeEntry({ ...FILE, mtimeNs: -1_500_000_000n }), / time=-2\.500000000 /);
    assert.match(encodeEntry({ ...FILE, mtimeNs: 999_999_999n }), / time=0\.999999999 /);
  });

  it('writes as octal digits what a reader of mtree would take for more than a letter', () => {
    const path = ' \t\n\r\\#=*?[]"\u007f\u0080\u00ff';
    assert.equal(
      encodeEntry({ ...FILE, path }).split(' ')[0],
      './\\040\\011\\012\\015\\134\\043\\075\\052\\077\\133\\135\\042\\177\\200\\377',
    );
  });
});

describe('ManifestReader, of one entry', () => {
  it('reads what encodeEntry() writes', () => {
    fc.assert(
      fc.property(entry, each => {
        assert.deepEqual(decode(encodeEntry(each).slice(0, -1)), { value: each });
      }),
    );
  });

  it('reads nothing that encodeEntry() would write in another way', () => {
    fc.assert(
      fc.property(entry, fc.nat(), fc.string({ maxLength: 3, unit: 'binary-ascii' }), (each, at, put) => {
        const line = encodeEntry(each).slice(0, -1);
        const place = at % line.length;
        const changed = `${line.slice(0, place)}${put}${line.slice(place + 1)}`;
        const found = decode(changed);
        if ('value' in found && found.value) assert.equal(encodeEntry(found.value), `${changed}\n`);
      }),
    );
  });

  it('reads an entry that could not be read when its manifest was made: it has no digest at all', () => {
    const unread = { ...FILE, sha256: '', xattrs: '' };
    const line = LINE.replace(/ sha256digest=.*/, ' tags=unread');
    assert.equal(encodeEntry(unread), `${line}\n`);
    assert.deepEqual(decode(line), { value: unread });
    const folder = { ...TOP, path: 'd', xattrs: '' };
    assert.deepEqual(decode(encodeEntry(folder).slice(0, -1)), { value: folder });
    for (const each of [
      LINE.replace(/tags=.*/, 'tags=unread'),
      `${LINE} tags=unread`,
      `${line} tags=unread`,
      line.replace('tags=unread', 'tags=unread,x'),
    ])
      assert.ok('reason' in decode(each), each);
  });

  const REFUSED: [why: string, line: string, reason: RegExp][] = [
    ['an unknown type', LINE.replace('type=file', 'type=link'), /unknown type/],
    ['a missing type', LINE.replace('type=file ', ''), /"type" is missing/],
    ['a missing size', LINE.replace('size=3 ', ''), /"size" is missing/],
    ['a size of a folder', LINE.replace('type=file', 'type=dir'), /"time" is missing/],
    ['a missing digest', LINE.replace(/ sha256digest=\S+/, ''), /"sha256digest" is missing/],
    ['a missing tag', LINE.replace(/ tags=.*/, ''), /"tags" is missing/],
    ['another tag', LINE.replace('tags=xattrs-', 'tags=x-'), /invalid "tags"/],
    [
      'a digest in capitals',
      LINE.replace('sha256digest=0123456789abcdef', 'sha256digest=0123456789ABCDEF'),
      /"sha256digest"/,
    ],
    ['a digest that is too short', LINE.replace('sha256digest=01', 'sha256digest='), /"sha256digest"/],
    ['a keyword that it does not know', LINE.replace('size=3', 'nlink=1 size=3'), /"size" is missing/],
    ['a keyword twice', LINE.replace('size=3', 'size=3 size=3'), /"time" is missing/],
    ['two blanks', LINE.replace(' size', '  size'), /"size" is missing/],
    ['a blank at the end', `${LINE} `, /text after/],
    ['a carriage return at the end', `${LINE}\r`, /invalid "tags"/],
    ['a size with a sign', LINE.replace('size=3', 'size=+3'), /"size"/],
    ['a size with a zero before it', LINE.replace('size=3', 'size=03'), /"size"/],
    ['a size that no number holds', LINE.replace('size=3', 'size=9999999999999999'), /"size"/],
    ['a mode of another base', LINE.replace('mode=0644', 'mode=0648'), /"mode"/],
    ['a mode with the type', LINE.replace('mode=0644', 'mode=0100644'), /"mode"/],
    ['a uid that no system has', LINE.replace('uid=1000', 'uid=4294967296'), /invalid uid/],
    ['a time without nanoseconds', LINE.replace('.123456789', ''), /"time"/],
    ['a time with eight digits', LINE.replace('.123456789', '.12345678'), /"time"/],
    ['a time that no time_t holds', LINE.replace('1700000000.', '9223372036854775808.'), /"time"/],
    ['one before the first', LINE.replace('1700000000.', '-9223372036854775809.'), /"time"/],
    ['minus zero', LINE.replace('1700000000.', '-0.'), /"time"/],
    ['a bad escape', LINE.replace('\\040', '\\4'), says('not-escaped-as-required')],
    ['an escape above a byte', LINE.replace('\\040', '\\440'), says('not-escaped-as-required')],
    ['a C escape', LINE.replace('\\040', '\\s'), says('not-escaped-as-required')],
    ['an escape of a letter', LINE.replace('a\\040file', '\\141'), says('not-escaped-as-required')],
    ['a byte that has to be escaped', LINE.replace('a\\040file', 'a*'), says('not-escaped-as-required')],
    ['a zero byte', LINE.replace('\\040', '\\000'), /zero byte/],
    ['an absolute path', LINE.slice(1), says('no-path-at-the-beginning')],
    ['a name without its folder', LINE.slice(2), says('no-path-at-the-beginning')],
    ['a path that leads out', LINE.replace('./a', './../a'), /shortest form/],
    ['a path with a doubled slash', LINE.replace('./a', './/a'), /shortest form/],
    ['a path with a slash at its end', LINE.replace('file ', 'file/ '), /shortest form/],
    ['a tree that is a file', LINE.replace('./a\\040file', '.'), /the tree itself/],
    ['a path that no system has', LINE.replace('./a', `./${'a'.repeat(4096)}`), /more than 4095 bytes/],
    ['nothing', '', says('no-path-at-the-beginning')],
  ];
  for (const [why, line, reason] of REFUSED)
    it(`refuses ${why}`, () => {
      const found = decode(line);
      assert.match('reason' in found ? found.reason : 'accepted', reason);
    });
});

describe('ManifestReader', () => {
  const sorted = (entries: ManifestEntry[]): ManifestEntry[] => {
    const byPath = new Map(entries.map(each => [each.path, each]));
    const bytes = (each: ManifestEntry): Buffer => Buffer.from(each.path, 'latin1');
    return [...byPath.values()].sort((one, other) => bytes(one).compare(bytes(other)));
  };

  it('reads what is written in the order of the bytes', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), entries => {
        const all = [TOP, ...sorted(entries)];
        assert.deepEqual(read(write(all)), all);
      }),
    );
  });

  it('reads nothing that lacks a line, has one twice, or has two in another order', () => {
    const all = [TOP, ...['a', 'a b', 'a/b', 'b'].map(path => ({ ...FILE, path }))];
    const lines = write(all).split('\n').slice(0, -1);
    assert.deepEqual(read(write(all)), all);
    for (const [at, line] of lines.entries()) {
      const text = (...changed: string[]): string =>
        [...lines.slice(0, at), ...changed, ...lines.slice(at + 1)].map(each => `${each}\n`).join('');
      assert.equal(typeof read(text()), 'string', `without "${line}"`);
      assert.equal(typeof read(text(line, line)), 'string', `twice "${line}"`);
      const next = lines[at + 1];
      if (next !== undefined) {
        const swapped = [...lines.slice(0, at), next, line, ...lines.slice(at + 2)];
        assert.equal(typeof read(`${swapped.join('\n')}\n`), 'string', `"${next}" first`);
      }
    }
  });

  it('names the line', () => {
    const bad = encodeEntry({ ...FILE, path: 'b' }).replace('size=3 ', '');
    const text = `${MANIFEST_HEAD}${encodeEntry(TOP)}${encodeEntry(FILE)}${bad}${encodeEnd(3)}`;
    assert.equal(read(text), 'line 5: "size" is missing');
    assert.equal(read(write([TOP, FILE, FILE])), 'line 5: repeated path');
    assert.equal(
      read(write([TOP, { ...FILE, path: 'a/b' }, { ...FILE, path: 'a b' }])),
      `line 5: ${wording('path-out-of-order')}`,
    );
    assert.equal(read('#mtree\n# another manifest 1\n'), 'line 2: expected "# dialback manifest 1"');
    assert.equal(
      read(`${MANIFEST_HEAD}${encodeEntry(FILE)}`),
      `line 3: ${wording('the-first-entry-is-not')} "."`,
    );
    assert.equal(read(`${MANIFEST_HEAD}${encodeEntry(TOP)}`), 'line 4: unexpected end');
    assert.equal(
      read(`${MANIFEST_HEAD}${encodeEntry(TOP)}${encodeEnd(2)}`),
      'line 4: expected "# end, 1 entries"',
    );
    assert.equal(read(`${write([TOP])}x\n`), `line 5: ${wording('text-after-the-end')}`);
    assert.equal(read(''), 'line 1: unexpected end');
  });

  it('takes no line without a bound', () => {
    const reader = new ManifestReader();
    const found = reader.line('x'.repeat(LINE_LIMIT + 1));
    assert.match('reason' in found ? found.reason : '', /more than \d+ bytes/);
  });
});
