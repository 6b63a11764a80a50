import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Xattr } from '../src/store/fake-super.ts';
import type { StoredEntry } from '../src/store/find-records.ts';
import { LostAttributes } from '../src/store/lost-attributes.ts';
import { attributesDigest, describeEntry, hasSameAttributes } from '../src/store/manifest.ts';

const stat = (text: string): Xattr => ({ name: Buffer.from('user.rsync.%stat'), value: Buffer.from(text) });
const OTHER: Xattr = { name: Buffer.from('user.comment'), value: Buffer.from('x') };
const ROOTS = stat('100644 0,0 0:0');

const stored = (uid: number, mode = 0o644, isFolder = false): StoredEntry =>
  ({
    path: Buffer.from('x'),
    isFolder,
    mode,
    uid,
    gid: uid,
    size: 1,
    mtimeNs: 0n,
    inode: 1n,
    links: 1,
  }) as StoredEntry;

describe('LostAttributes', () => {
  /** @param lost how many of 100 entries have no attributes any more */
  const areLost = (lost: number, found: StoredEntry | undefined = stored(995, 0o644)): boolean => {
    const wanted = describeEntry(stored(995), [ROOTS], '');
    const counted = new LostAttributes();
    for (let at = 0; at < 100; at += 1) counted.take(wanted, found, at < lost ? [] : [ROOTS]);
    return counted.areLost;
  };

  it('are lost when all entries, or many of them, have none', () => {
    assert.ok(areLost(100));
    assert.ok(areLost(20));
    assert.ok(!areLost(19));
    assert.ok(!areLost(0));
  });

  it('are not lost when the file itself has the right owner and mode', () => {
    assert.ok(!areLost(100, stored(0)));
    assert.ok(areLost(100, stored(0, 0o600)));
  });

  it('are not lost when an entry cannot be read, or never had any', () => {
    const counted = new LostAttributes();
    counted.take(describeEntry(stored(995), [ROOTS], ''), undefined, []);
    counted.take(describeEntry(stored(995), [], ''), stored(995), []);
    assert.ok(!counted.areLost);
  });
});

describe('hasSameAttributes()', () => {
  const wanted = (entry: StoredEntry, xattrs: Xattr[]): Parameters<typeof hasSameAttributes>[0] =>
    describeEntry(entry, xattrs, '');

  it('takes the same attributes, and the same owner from the other place', () => {
    const inFile = wanted(stored(995), [OTHER]);
    const inXattr = wanted(stored(1), [stat('100644 0,0 995:995'), OTHER]);
    assert.notEqual(inFile.xattrs, inXattr.xattrs);
    assert.equal(inFile.xattrs, attributesDigest([OTHER]));
    for (const each of [inFile, inXattr]) {
      assert.ok(hasSameAttributes(each, stored(995), [OTHER]));
      assert.ok(hasSameAttributes(each, stored(1), [OTHER, stat('100644 0,0 995:995')]));
    }
    const folder = wanted(stored(995, 0o755, true), []);
    assert.ok(hasSameAttributes(folder, stored(1, 0o700, true), [stat('40755 0,0 995:995')]));
  });

  it('refuses another owner, mode, type or attribute', () => {
    const inFile = wanted(stored(995), [OTHER]);
    const inXattr = wanted(stored(1), [stat('100644 0,0 995:995'), OTHER]);
    for (const each of [inFile, inXattr]) {
      assert.ok(!hasSameAttributes(each, stored(996), [OTHER]));
      assert.ok(!hasSameAttributes(each, stored(995, 0o600), [OTHER]));
      assert.ok(!hasSameAttributes(each, stored(995), []));
      assert.ok(!hasSameAttributes(each, stored(1), [OTHER, stat('100600 0,0 995:995')]));
      assert.ok(!hasSameAttributes(each, stored(1), [stat('100644 0,0 995:995')]));
      assert.ok(!hasSameAttributes(each, stored(995), [OTHER, { ...OTHER, name: Buffer.from('user.more') }]));
    }
    // A device or a symlink is no plain file of the same owner and mode.
    assert.ok(!hasSameAttributes(inFile, stored(1), [OTHER, stat('20644 1,3 995:995')]));
    const link = wanted(stored(1), [stat('120777 0,0 995:995')]);
    assert.ok(!hasSameAttributes(link, stored(995, 0o777), []));
  });
});
