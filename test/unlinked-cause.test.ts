import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Xattr } from '../src/store/fake-super.ts';
import type { StoredEntry } from '../src/store/find-records.ts';
import { attributesDigest } from '../src/store/manifest.ts';
import type { ManifestEntry } from '../src/store/mtree.ts';
import type { SnapshotRecord } from '../src/store/snapshot.ts';
import {
  compareMetadata,
  hasOtherContent,
  identicalCause,
  type KnownFile,
  needsXattrs,
  runFacts,
} from '../src/store/unlinked-cause.ts';
import { record } from './support/client-store.ts';

const STORED: StoredEntry = {
  path: Buffer.from('a'),
  inode: 7n,
  links: 1,
  isFolder: false,
  mode: 0o600,
  uid: 1000,
  gid: 1000,
  size: 3,
  mtimeNs: 5n,
};

const xattr = (name: string, value: string | Buffer): Xattr => ({
  name: Buffer.from(name),
  value: Buffer.from(value),
});
const stat = (mode: string, owner = '0:0', device = '0,0'): Xattr =>
  xattr('user.rsync.%stat', `${mode} ${device} ${owner}`);
/** An ACL as rsync packs it: one user may read, and the rest is as the mode says. */
const ACL = xattr('user.rsync.%aacl', Buffer.from('80000000800000008000000080000000d204008004000000', 'hex'));

function line(part: Partial<ManifestEntry>, xattrs: Xattr[]): ManifestEntry {
  const { path, size, mtimeNs } = STORED;
  return {
    path: path.toString('latin1'),
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtimeNs,
    sha256: '00'.repeat(32),
    ...part,
    xattrs: attributesDigest(xattrs),
  };
}

/** A file whose metadata its manifest line tells. */
const plain = (part: Partial<ManifestEntry> = {}, stored: Partial<StoredEntry> = {}): KnownFile => {
  const { mode, uid, gid } = line(part, []);
  const own = stat(`100${mode.toString(8)}`, `${uid}:${gid}`);
  return { stored: { ...STORED, ...stored }, line: line(part, [own]), xattrs: undefined };
};

/** A file whose xattrs were read. */
const rich = (xattrs: Xattr[], stored: Partial<StoredEntry> = {}): KnownFile => ({
  stored: { ...STORED, ...stored },
  line: line({}, [...xattrs, xattr('user.note', 'other than read')]),
  xattrs,
});

describe('compareMetadata()', () => {
  it('names the attributes that differ, by the manifest where that says everything', () => {
    assert.deepEqual(compareMetadata(plain(), plain()), []);
    assert.deepEqual(compareMetadata(plain(), plain({ mode: 0o640 })), ['mode']);
    assert.deepEqual(compareMetadata(plain(), plain({ uid: 5 })), ['owner']);
    assert.deepEqual(compareMetadata(plain(), plain({ gid: 5, mode: 0o600 }, { mtimeNs: 6n })), [
      'mode',
      'owner',
      'time',
    ]);
  });
  it('compares the stored values where a file has no %stat', () => {
    const bare = { ...plain(), line: line({ mode: 0o644 }, []) };
    assert.deepEqual(compareMetadata(bare, plain()), []);
  });
  it('compares ACLs and xattrs by their values', () => {
    const own = stat('100644');
    const note = (value: string): Xattr => xattr('user.note', value);
    assert.deepEqual(compareMetadata(rich([own, ACL]), rich([own])), ['acl']);
    assert.deepEqual(compareMetadata(rich([own, note('a')]), rich([own, note('b')])), ['xattrs']);
    assert.deepEqual(compareMetadata(rich([note('a'), own]), rich([own, note('a')])), []);
    assert.deepEqual(compareMetadata(plain(), rich([own, ACL, note('a')])), ['acl', 'xattrs']);
  });
  it("takes the group's bits for a part of an ACL that differs, and other bits for a mode", () => {
    const own = stat('100644');
    assert.deepEqual(compareMetadata(rich([own]), rich([stat('100674'), ACL])), ['acl']);
    assert.deepEqual(compareMetadata(rich([own]), rich([stat('100645'), ACL])), ['mode', 'acl']);
    assert.deepEqual(compareMetadata(rich([own, ACL]), rich([stat('100674'), ACL])), ['mode']);
  });
  it('takes another type or device for other content', () => {
    assert.equal(compareMetadata(rich([stat('100644')]), rich([stat('120777')])), 'other');
    const device = (numbers: string): KnownFile => rich([stat('20644', '0:0', numbers)]);
    assert.equal(compareMetadata(device('1,3'), device('1,5')), 'other');
    assert.deepEqual(compareMetadata(device('1,3'), device('1,3')), []);
  });
  it('compares nothing that could not be read', () => {
    assert.equal(compareMetadata(plain(), { ...rich([]), xattrs: undefined }), undefined);
  });
});

describe('hasOtherContent()', () => {
  it('goes by size and digest, and asks for a reading without a digest', () => {
    assert.equal(hasOtherContent(plain(), plain()), false);
    assert.equal(hasOtherContent(plain(), plain({ sha256: '11'.repeat(32) })), true);
    assert.equal(hasOtherContent(plain(), { ...plain({}, { size: 4 }), line: undefined }), true);
    assert.equal(hasOtherContent(plain(), { ...plain(), line: undefined }), undefined);
  });
});

describe('needsXattrs()', () => {
  it('is true only where the content may be the same and a manifest line does not tell all', () => {
    assert.equal(needsXattrs(plain(), plain()), false);
    assert.equal(needsXattrs(plain(), rich([])), true);
    assert.equal(needsXattrs({ ...plain(), line: undefined }, plain()), true);
    assert.equal(needsXattrs(plain({}, { size: 9 }), rich([])), false);
  });
});

describe('identicalCause()', () => {
  const older: SnapshotRecord = {
    ...record('2026-11-01T00-00-00Z'),
    durable: true,
    rsync: { client: '3.4.1', host: '3.4.1', exit: 0, options: [] },
  };
  const cause = (newer: Partial<SnapshotRecord>, before: Partial<SnapshotRecord> = {}, links = 2): string => {
    const one = { ...older, ...before };
    return identicalCause(
      runFacts(one, { ...one, durable: true, basis: older.snapshot, rsync: older.rsync, ...newer }),
      links,
    );
  };
  it('goes by what the records say about the run', () => {
    assert.equal(cause({}), 'unknown');
    assert.equal(cause({ basis: null }), 'other-basis');
    assert.equal(cause({ flags: ['hard-links-split'] }), 'link-limit');
    assert.equal(cause({}, {}, 65_000), 'link-limit');
    assert.equal(cause({}, { durable: false }), 'rechecked');
    assert.equal(cause({ rsync: { ...older.rsync, host: '3.5.0' } }), 'rsync');
    assert.equal(cause({ rsync: { ...older.rsync, client: null } }), 'rsync');
    assert.equal(cause({ rsync: { ...older.rsync, options: ['--checksum'] } }), 'checksum');
  });
});
