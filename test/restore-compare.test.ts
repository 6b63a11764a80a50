import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TreeEntry } from '../src/store/fake-super.ts';
import { readAcl } from '../src/store/posix-acl.ts';
import {
  Differences,
  differencesOf,
  type Giver,
  type Kind,
  lackingIn,
} from '../src/store/restore-difference.ts';

const xattr = (name: string, value = 'x'): { name: Buffer; value: Buffer } => ({
  name: Buffer.from(name),
  value: Buffer.from(value),
});
const ENTRY: TreeEntry = {
  path: Buffer.from('a'),
  type: 'file',
  mode: 0o640,
  uid: 1000,
  gid: 1000,
  device: null,
  size: 5,
  mtimeNs: 1_700_000_000_123_456_789n,
  inode: 7n,
  links: 1,
  target: null,
  acl: null,
  xattrs: [xattr('user.comment')],
};
const DEVICE: TreeEntry = { ...ENTRY, type: 'char device', device: { major: 1, minor: 5 }, xattrs: [] };
type Restored = NonNullable<Parameters<typeof differencesOf>[1]>;
const same = (entry: TreeEntry): Restored => ({ ...entry });
const ROOT: Giver = { uid: 0, groups: [0], inert: false };
const INERT: Giver = { ...ROOT, inert: true };
const ACCOUNT: Giver = { uid: 990, groups: [990], inert: false };

/** Kinds; those that are a note in parentheses. */
const told = (entry: TreeEntry, found: Restored | undefined, giver: Giver): string[] =>
  differencesOf(entry, found, giver).map(({ kind, matters }) => (matters ? kind : `(${kind})`));

describe('differencesOf()', () => {
  it('finds none where all is the same', () => {
    for (const entry of [ENTRY, DEVICE]) assert.deepEqual(told(entry, same(entry), ROOT), []);
  });

  const changes: [kind: Kind, entry: TreeEntry, found: Partial<Restored>][] = [
    ['type', ENTRY, { type: 'folder' }],
    ['owner', ENTRY, { uid: 0 }],
    ['group', ENTRY, { gid: 0 }],
    ['mode', ENTRY, { mode: 0o644 }],
    ['set-id bits', ENTRY, { mode: 0o4640 }],
    ['time', ENTRY, { mtimeNs: ENTRY.mtimeNs + 1n }],
    ['user attribute', ENTRY, { xattrs: [] }],
    ['user attribute', ENTRY, { xattrs: [xattr('user.comment', 'y')] }],
    ['system attribute', { ...ENTRY, xattrs: [xattr('security.capability')] }, { xattrs: [] }],
    ['ACL', { ...ENTRY, acl: 'u::rw-,u:7:r--,g::r--,m::r--,o::---' }, {}],
    ['ACL', { ...ENTRY, type: 'folder', acl: 'd:u::rwx,d:g:7:r-x,d:o::---' }, {}],
    ['device', DEVICE, { device: { major: 1, minor: 6 } }],
    ['link target', { ...ENTRY, type: 'symlink', target: Buffer.from('a') }, { target: Buffer.from('b') }],
  ];
  for (const [kind, entry, change] of changes)
    it(`finds ${kind} when it is another one, and it matters to root`, () => {
      assert.deepEqual(told(entry, { ...same(entry), ...change }, ROOT), [kind]);
    });

  it('passes over what the file system adds, what cannot be read, and the mode of a link', () => {
    assert.deepEqual(
      told(ENTRY, { ...ENTRY, xattrs: [...ENTRY.xattrs, xattr('security.selinux')] }, ROOT),
      [],
    );
    assert.deepEqual(told(ENTRY, { ...ENTRY, xattrs: undefined }, ROOT), []);
    const link: TreeEntry = { ...ENTRY, type: 'symlink', target: Buffer.from('a') };
    assert.deepEqual(told(link, { ...link, mode: 0o777 }, ROOT), []);
  });

  it('knows what an ordinary account could not set', () => {
    const own = { ...ENTRY, uid: 990, gid: 990 };
    assert.deepEqual(told(ENTRY, own, ACCOUNT), ['(owner)', '(group)']);
    assert.deepEqual(told({ ...own, gid: 5 }, own, { ...ACCOUNT, groups: [990, 5] }), ['group']);
    assert.deepEqual(told(own, { ...own, mode: 0o600 }, ACCOUNT), ['mode']);
    const capable = { ...own, xattrs: [xattr('security.capability')] };
    assert.deepEqual(told(capable, { ...own, xattrs: [] }, ACCOUNT), ['(system attribute)']);
    assert.deepEqual(told({ ...own, mode: 0o4755 }, { ...own, mode: 0o755 }, ACCOUNT), ['set-id bits']);
    const folder: TreeEntry = { ...own, type: 'folder', mode: 0o2755 };
    assert.deepEqual(told(folder, { ...folder, mode: 0o755 }, ACCOUNT), ['(set-id bits)']);
    assert.deepEqual(told(DEVICE, undefined, ACCOUNT), ['device']);
    assert.deepEqual(told(ENTRY, undefined, ACCOUNT), ['missing']);
  });

  it('notes a time that the store has cut, whoever restores it', () => {
    const cut = { ...ENTRY, mtimeNs: 15_032_385_535n * 1_000_000_000n };
    assert.deepEqual(told(cut, same(cut), ROOT), ['(cut time)']);
    for (const ns of [cut.mtimeNs - 1n, cut.mtimeNs + 1n])
      assert.deepEqual(told({ ...ENTRY, mtimeNs: ns }, { ...ENTRY, mtimeNs: ns }, ROOT), []);
  });

  it('takes what --inert leaves out for a note, and nothing else', () => {
    const all = { ...ENTRY, mode: 0o6755, xattrs: [xattr('security.capability'), xattr('user.comment')] };
    const given = { ...ENTRY, mode: 0o755, xattrs: [xattr('user.comment')] };
    assert.deepEqual(told(all, given, INERT), ['(set-id bits)', '(system attribute)']);
    assert.deepEqual(told(all, { ...given, uid: 0 }, INERT), [
      'owner',
      '(set-id bits)',
      '(system attribute)',
    ]);
    assert.deepEqual(told(DEVICE, undefined, INERT), ['(device)']);
    assert.deepEqual(told(ENTRY, undefined, INERT), ['missing']);
  });
});

describe('lackingIn()', () => {
  it('tells beforehand what differencesOf() finds', () => {
    const entries = [ENTRY, DEVICE, { ...ENTRY, mode: 0o4755 }, { ...ENTRY, xattrs: [xattr('security.x')] }];
    for (const giver of [ROOT, INERT, ACCOUNT])
      for (const entry of entries) {
        const isRootUser = giver.uid === 0;
        const leaves = giver.inert || !isRootUser;
        const found =
          entry.device && leaves
            ? undefined
            : {
                ...entry,
                mode: leaves ? entry.mode & 0o1777 : entry.mode,
                ...(isRootUser
                  ? {}
                  : { uid: giver.uid, gid: giver.groups[0] ?? 0, xattrs: [xattr('user.comment')] }),
              };
        const sorted = (lacks: { kind: string }[]): string[] => lacks.map(each => each.kind).sort();
        assert.deepEqual(sorted(differencesOf(entry, found, giver)), sorted(lackingIn(entry, giver)));
      }
  });
});

describe('Differences', () => {
  it('counts entries and kinds, and names the first three of each', () => {
    const differences = new Differences();
    for (let at = 0; at < 5; at += 1)
      differences.add(Buffer.from(`f${at}`), [
        { kind: 'owner', matters: false },
        { kind: 'time', matters: at === 4 },
      ]);
    differences.add(Buffer.from([0xff]), [{ kind: 'mode', matters: true }]);
    assert.equal(differences.lacking, 2);
    assert.deepEqual(
      differences.list.map(({ kind, count, lacking, examples }) => [kind, count, lacking, examples.length]),
      [
        ['time', 5, 1, 3],
        ['mode', 1, 1, 1],
        ['owner', 5, 0, 3],
      ],
    );
  });
});

describe('readAcl()', () => {
  const value = (...entries: [tag: number, rights: number, id: number][]): Buffer => {
    const bytes = Buffer.alloc(4 + 8 * entries.length);
    bytes.writeUInt32LE(2, 0);
    for (const [at, [tag, rights, id]] of entries.entries()) {
      bytes.writeUInt16LE(tag, 4 + 8 * at);
      bytes.writeUInt16LE(rights, 6 + 8 * at);
      bytes.writeUInt32LE(id, 8 + 8 * at);
    }
    return bytes;
  };
  const read = (access: Buffer): string[] => readAcl(new Map([['system.posix_acl_access', access]]));
  it('reads what the kernel writes', () => {
    const none = 0xffff_ffff;
    assert.deepEqual(
      read(value([1, 6, none], [2, 4, 7], [4, 0, none], [8, 1, 9], [16, 5, none], [32, 0, none])),
      ['u::rw-', 'u:7:r--', 'g::---', 'g:9:--x', 'm::r-x', 'o::---'],
    );
  });
  it('gives nothing for what is none', () => {
    const whole = value([1, 6, 0]);
    const other = Buffer.from(whole);
    other.writeUInt32LE(3, 0);
    for (const bytes of [Buffer.alloc(0), whole.subarray(1), other, value([3, 6, 0]), value([1, 8, 0])])
      assert.deepEqual(read(bytes), []);
  });
});
