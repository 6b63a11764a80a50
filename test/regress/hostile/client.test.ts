// Goal: a client whose rsync is none sends file lists and contents that no rsync would send: whatever they are, they change
// nothing on the host but its own arriving tree, end soon, with a line in its journal; and the next honest run succeeds.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import {
  type Attack,
  BLOCK_DEVICE,
  CHARACTER_DEVICE,
  CONTENT,
  type Entry,
  FIFO,
  FILE,
  FOLDER,
  int,
  LINK,
  noAcls,
  SOCKET,
  varint,
  type Wanted,
  xattrs,
} from '../../support/hostile-client.ts';
import {
  A_FILE,
  afterList,
  CONTROLS,
  hostileSuite,
  kinds,
  listing,
  lists,
  MARK,
  NASTY,
  plays,
  type Row,
  spoken,
  TOP,
} from '../../support/lanes.ts';
import { itLong } from '../../support/long.ts';
import { says } from '../../support/wording.ts';

const file = (name: string | Buffer) => ({ name, mode: FILE });
const link = (name: string, target: string) => ({ name, mode: LINK, target });
const folder = (name: string) => ({ name, mode: FOLDER });

const NAMES: Row[] = [
  lists('an honest list', [TOP, A_FILE], 'full'),
  lists('a name with `..` at its head', [TOP, file(`../${MARK}`)], 'rsync', /unsafe pathname/),
  lists('a name with `..` inside', [TOP, file(`a/../../../${MARK}`)], 'rsync', /unsafe pathname/),
  lists('absolute names', [TOP, file(`/${MARK}`), folder('/tmp'), file(`/tmp/${MARK}`)], 'full'),
  lists('a name below no folder', [TOP, file(`/tmp/${MARK}`)], 'rsync', /invalid path from sender/),
  {
    ...lists('a name that was not asked for', [file('unwanted')], 'rsync', /unrequested/),
    roots: ['/wanted'],
  },
  lists('no name', [TOP, file('')], 'rsync', /unrequested file-list name/),
  lists('the top as a file', [file('.')], 'rsync', /non-directory transfer-root/),
  lists('the top as a link', [link('.', '/')], 'rsync', /non-directory transfer-root/),
  lists('a NUL in a name', [TOP, file(`a\0/../${MARK}`)], 'full'),
  lists('a name that is too long', [TOP, file('x'.repeat(5000))], 'rsync', /overflow/),
  lists('a name of 2 GiB', [TOP, { ...A_FILE, claims: { name: 0x7fffffff } }], 'rsync', /overflow/),
  lists('a name of negative length', [TOP, { ...A_FILE, claims: { name: -1 } }], 'rsync', /overflow/),
  lists(
    'a name that repeats more than there was',
    [TOP, { ...A_FILE, claims: { same: 255 } }],
    'rsync',
    /root/,
  ),
  lists('a base name of 256 bytes', [TOP, file('x'.repeat(256))], 'rsync', says('no-entry-could-be-stored')),
  lists(
    'names full of escapes',
    [
      TOP,
      ...[NASTY, '\x7f', '\u0085', '-e', '--delete', '$(id)', "a'b", 'a\nb'].map(file),
      file(Buffer.of(0xff, 0xfe)),
    ],
    'full',
  ),
  lists('names full of escapes, in an error', [TOP, file(`${NASTY}/x`)], 'rsync', /sender: \\\\#033\[2J/),
];

const TYPES: Row[] = [
  lists('a link, and a file below it', [TOP, link('l', '/tmp'), file(`l/${MARK}`)], 'rsync', /invalid path/),
  lists(
    'a link that is a folder too, and a file below',
    [TOP, link('l', '/tmp'), folder('l'), file(`l/${MARK}`)],
    'full',
  ),
  lists(
    'links out of the tree',
    [
      TOP,
      ...['/', '/etc/passwd', '../../../..', '/proc/self/root', NASTY].map((to, at) => link(`l${at}`, to)),
    ],
    'full',
  ),
  lists(
    'a link of 2 GiB',
    [TOP, { ...link('l', ''), claims: { target: 0x7fffffff } }],
    'rsync',
    /linkname_len/,
  ),
  lists(
    'a link of negative length',
    [TOP, { ...link('l', ''), claims: { target: -5 } }],
    'rsync',
    /linkname_len/,
  ),
  lists('the same file three times', [TOP, A_FILE, A_FILE, A_FILE], 'full'),
  lists(
    'one name as a file, a folder and a device',
    [TOP, A_FILE, folder('a'), { name: 'a', mode: BLOCK_DEVICE }, file('a/b')],
    'full',
  ),
  lists('a list in the wrong order', [file('z/y'), folder('z'), A_FILE, TOP, file('B')], 'full'),
  lists(
    'devices, FIFOs, sockets, setuid and sticky',
    [
      TOP,
      { name: 'c', mode: CHARACTER_DEVICE, device: [1, 1] },
      { name: 'C', mode: CHARACTER_DEVICE, device: [0x7fffffff, -1] },
      { name: 'b', mode: BLOCK_DEVICE, device: [8, 0] },
      { name: 'p', mode: FIFO },
      { name: 's', mode: SOCKET },
      { name: 'u', mode: FILE | 0o7777 },
      { name: 'd', mode: FOLDER | 0o7777 },
    ],
    'full',
  ),
  lists('a type that there is not', [TOP, { name: 'a', mode: 0o170644 }], 'rsync', /invalid file mode/),
  lists('no type at all', [TOP, { name: 'a', mode: 0 }], 'rsync', /invalid file mode/),
  lists('a negative size', [TOP, { ...A_FILE, size: -1n }], 'rsync', /file-length is negative/),
  lists(
    'sizes and times beyond all numbers, owners that there are not',
    [
      TOP,
      { ...A_FILE, size: (1n << 63n) - 1n, mtime: -(1n << 62n), uid: -1, gid: -1 },
      { ...file('b'), size: (1n << 63n) - 1n, mtime: (1n << 62n) - 1n, uid: 0x7fffffff, gid: -0x80000000 },
    ],
    'incomplete', // larger than max_size
  ),
  lists(
    'a hard link to what comes later',
    [TOP, { ...A_FILE, linkTo: 1000 }],
    'rsync',
    /hard-link reference/,
  ),
  lists('a hard link to before the list', [TOP, { ...A_FILE, linkTo: -1 }], 'rsync', /hard-link reference/),
];

const text = (value: string): Buffer => Buffer.from(value);
/** Under another name where the next attack's file must not begin with what this one leaves. */
const withXattrs = (all: [string, Buffer][], name = 'a') => [TOP, { ...A_FILE, name, xattrs: all }];
/** In the place of the entry's ACLs and xattrs. */
const withTail = (...tail: Uint8Array[]) => [TOP, { ...A_FILE, tail: Buffer.concat(tail) }];
const oneXattr = [noAcls(FILE), varint(0), varint(1)];
const hugeXattr = Buffer.concat([varint(7), varint(127 << 20), text('user.a\0'), Buffer.alloc(16)]);

const ATTRIBUTES: Row[] = [
  lists(
    "rsync's own names",
    withXattrs([
      ['user.rsync.%stat', text('104755 0,0 0:0')],
      ['rsync.%stat', text('104755 0,0 0:0')],
      ['%stat', text('104755 0,0 0:0')],
      ['user.rsync.%aacl', Buffer.alloc(20, 0xff)],
    ]),
    'full',
  ),
  lists(
    '`security.*`, `trusted.*`, `system.*`, and names full of escapes',
    withXattrs([
      ['security.capability', Buffer.from('0100000202000000000000000000000000000000', 'hex')],
      ['security.selinux', text('x')],
      ['trusted.overlay.redirect', text('/etc')],
      ['system.posix_acl_access', Buffer.alloc(28, 1)],
      [`user.${NASTY}`, text('x')],
      ['user.\x7f', text('y')],
    ]),
    'full',
  ),
  lists(
    '5,000 of them',
    withXattrs(
      Array.from({ length: 5000 }, (_, index) => [`user.a${index}`, text('x')]),
      'many',
    ),
    'incomplete',
    /xattr/,
  ),
  plays(
    'one of 1 MiB',
    async sender => {
      await sender.begin();
      await sender.list(withXattrs([['user.large', Buffer.alloc(1 << 20)]], 'large'));
      await sender.serve(undefined, Buffer.alloc(1 << 20));
    },
    'incomplete',
    /xattr/,
  ),
  lists(
    'more than can be counted',
    withTail(noAcls(FILE), varint(0), varint(65_537)),
    'rsync',
    /xattr count/,
  ),
  lists('a negative count', withTail(noAcls(FILE), varint(0), varint(-1)), 'rsync', /xattr count/),
  lists('a value of 2 GiB', withTail(...oneXattr, varint(7), varint(0x7fffffff)), 'rsync', /per-value limit/),
  lists(
    'values of 127 MiB, ever more',
    withTail(noAcls(FILE), varint(0), varint(6), ...Array.from({ length: 6 }, () => hugeXattr)),
    'rsync',
    /per-file limit/,
  ),
  lists(
    'a name without an end',
    withTail(...oneXattr, varint(6), varint(1), text('user.ax')),
    'rsync',
    /trailing/,
  ),
  lists('those of an entry that there is not', withTail(noAcls(FILE), varint(99)), 'broken', /out of range/),
  lists('ACLs of an entry that there is not', withTail(varint(99)), 'broken', /ACL index/),
  lists(
    'an ACL of too many entries',
    withTail(varint(0), Buffer.of(0x10), varint(65_537)),
    'rsync',
    /ACL count/,
  ),
  lists(
    'an ACL with permissions that there are not',
    withTail(varint(0), Buffer.of(0x1f), ...[-1, -1, -1, -1, 1, -1, -4].map(varint), xattrs([])),
    'full',
  ),
];

/** Each of them of a file that no attack before has left: it would not be asked for. */
let ownNames = 0;
function ownFile(): Entry {
  ownNames += 1;
  return file(`own ${ownNames}`);
}

/** Answers the request for the one file in its own way, whose sum head says this. */
function answering(head: number[], ...tokens: number[]): Attack['play'] {
  const bytes = [...head, ...tokens].map(int);
  return afterList(sender => sender.serve(wanted => sender.data(wanted.head, ...bytes)), ownFile());
}
const TRANSFER = Buffer.of(0, 0x80);

const contents = (): Row[] => [
  plays(
    'a wrong sum',
    afterList(sender => sender.serve(wanted => sender.send(wanted, CONTENT, Buffer.alloc(16))), ownFile()),
    'incomplete', // rsync tries twice; then the file is missing, and no message of the host's own
  ),
  plays('a negative count of blocks', answering([-1, 700, 2, 0]), 'rsync', /Invalid checksum count/),
  plays('a negative block length', answering([1, -700, 2, 0]), 'rsync', /Invalid block length/),
  plays('blocks that are too long', answering([1, 1 << 29, 2, 0]), 'rsync', /Invalid block length/),
  plays('a sum that is too long', answering([1, 700, 99, 0]), 'rsync', /Invalid checksum length/),
  plays('a rest longer than a block', answering([1, 700, 2, 701]), 'rsync', /Invalid remainder length/),
  plays('a block where there are none', answering([0, 0, 0, 0], -1), 'rsync', /Invalid block index/),
  plays(
    'a file that nobody asked for',
    afterList(sender => sender.data(sender.index(1_000_000), TRANSFER)),
    'rsync',
    /File-list index/,
  ),
  plays(
    'a folder as a file',
    afterList(sender => sender.data(sender.index(0), TRANSFER)),
    'rsync',
    /non-regular file/,
  ),
  plays(
    'a list where lists come whole',
    afterList(sender => sender.data(Buffer.of(0xff, 100))),
    'rsync',
    /Invalid file index/,
  ),
];

/**
 * What other versions of rsync put into other bytes: the list and, in 3.0, what is around it. Attributes are the same. All of
 * them are a soak: each twelfth is in the short suite.
 */
const REFUSED = [...NAMES, ...TYPES].filter(row => row.ends !== 'full' || row.what.startsWith('devices'));
const SOME = REFUSED.filter(row => /`\.\.`|a file below it|devices|a hard link/.test(row.what));
const OTHERS: Row[] = [
  ...spoken('3.0', [...REFUSED, ...contents()]),
  ...spoken('3.1', SOME),
  ...spoken('3.5', SOME),
];

/** The first block of a file of another client, as if it were one that both have. */
async function stealing(sender: Parameters<Attack['play']>[0], otherFile: string): Promise<void> {
  const name = text(`../../../../../other/snapshots/${otherFile}`);
  const items = Buffer.alloc(2);
  items.writeUInt16LE((1 << 15) | (1 << 11) | (1 << 12)); // a transfer, from a basis, of that name
  const basis = Buffer.of(0x84, 0x80 | (name.length >> 8), name.length & 0xff); // the first --link-dest (FNAMECMP_FUZZY + 1)
  const answer = ({ place }: Wanted): Promise<void> =>
    sender.data(place, items, basis, name, ...[1, 700, 2, 0, -1, 0].map(int), Buffer.alloc(16));
  await sender.begin();
  await sender.list([TOP, { ...A_FILE, mtime: 1_600_000_000, size: CONTENT.length + 1 }]);
  await sender.serve(answer);
}

hostileSuite('a hostile client: file lists and contents', lanes => {
  kinds(lanes, [
    { title: 'names', all: NAMES, nth: 12 },
    { title: 'types', all: TYPES, nth: 12 },
    { title: 'attributes', all: ATTRIBUTES, nth: 12 },
    { title: 'contents', all: contents(), nth: 12 },
    { title: 'in the words of other versions', all: OTHERS, nth: 24 },
    {
      title: 'a basis',
      all: [
        plays(
          'a basis of another client is not read',
          sender => stealing(sender, lanes().otherFile),
          'rsync',
          /no basis file/,
        ),
      ],
      nth: 1,
    },
  ]);

  it('what an attribute says of a file is what its entry says', () => {
    for (const [path, { xattrs: found }] of lanes().read()) {
      const mode = Number.parseInt(
        Buffer.from((found?.get('user.rsync.%stat') ?? '0x').slice(2), 'hex').toString(),
        8,
      );
      // Only the entries with these permissions are setuid; the forged attributes say 104755.
      assert.notEqual(mode, 0o104755, path);
    }
  });

  it('roots that a terminal would obey are plain in the record', async () => {
    const roots = ['/', '/\u009b31m\u202e'];
    await lanes().attack(
      lane => lane.client.attack({ roots, play: listing([TOP, A_FILE]) }),
      'full',
      undefined,
    );
    for (const { shelf } of lanes().all) {
      for (const name of readdirSync(join(shelf, 'snapshots')))
        assert.doesNotMatch(readFileSync(join(shelf, 'snapshots', name, 'snapshot.json'), 'utf8'), CONTROLS);
    }
  });

  itLong("a tree deeper than a path can name is kept, and is in nobody's way", async () => {
    const lane = lanes().all[0] ?? assert.fail();
    const deep = Array.from({ length: 2000 }, (_, index) => folder('d/'.repeat(index).concat('d')));
    const { outcome } = await lane.client.attack({
      play: listing([TOP, ...deep, file(`${'d/'.repeat(2000)}f`)]),
    });
    assert.ok(outcome?.snapshot);
    await lanes().assertHonest(lane);
    // Names that long are nothing for what removes this test's folders.
    execFileSync('rm', ['-r', '--', join(lane.shelf, 'snapshots', outcome.snapshot)]);
  });
});
