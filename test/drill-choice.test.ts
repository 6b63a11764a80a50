import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Candidate, Candidates, type ChoiceLimits, type Random } from '../src/store/drill-choice.ts';
import type { ManifestEntry } from '../src/store/mtree.ts';

const LIMITS: ChoiceLimits = { count: 20, bytes: 1e9, names: 10_000, path: 4000, paths: 1e6 };
const random: Random = below => randomInt(below);

function entry(path: string, size?: number, xattrs = 'x'): ManifestEntry {
  const type = size === undefined ? 'dir' : 'file';
  return { path, type, mode: 0o644, uid: 0, gid: 0, size: size ?? 0, mtimeNs: 0n, sha256: 's', xattrs };
}

function candidatesOf(entries: ManifestEntry[], limits: Partial<ChoiceLimits>, from = random): Candidates {
  const candidates = new Candidates({ ...LIMITS, ...limits }, from);
  for (const each of entries) candidates.take(each);
  for (const each of entries) candidates.measure(each);
  return candidates;
}

const choose = (entries: ManifestEntry[], limits: Partial<ChoiceLimits> = {}): Candidate[] =>
  candidatesOf(entries, limits).choose();
const paths = (chosen: Candidate[]): string[] => chosen.map(each => each.path).sort();

/** 10,000 small files, and one of each other class. */
const MANY = [
  ...Array.from({ length: 10_000 }, (_, at) => entry(`small ${at}`, at % 4096)),
  entry('folder'),
  entry('folder/in it', 7),
  entry('medium', 100_000),
  entry('large', 50_000_000),
];

describe('Candidates.choose()', () => {
  it('takes each class of entries when nearly all are small files', () => {
    for (let round = 0; round < 20; round += 1) {
      const chosen = paths(choose(MANY, { count: 8 }));
      for (const name of ['folder', 'medium', 'large']) assert.ok(chosen.includes(name), chosen.join());
      assert.equal(chosen.length, 8);
    }
  });

  it('takes every entry of a class with about the same probability', () => {
    const entries = Array.from({ length: 50 }, (_, at) => entry(`${at}`, 1));
    const counts = new Map<string, number>();
    const rounds = 2000;
    for (let round = 0; round < rounds; round += 1)
      for (const path of paths(choose(entries, { count: 5 }))) counts.set(path, (counts.get(path) ?? 0) + 1);
    // 200 each are expected; the standard deviation is 13.4.
    assert.equal(counts.size, 50);
    for (const count of counts.values()) assert.ok(count > 120 && count < 280, String(count));
  });

  it('takes all that there is when it is less than asked for', () => {
    const entries = [entry(''), entry('a'), entry('b', 1)];
    assert.deepEqual(paths(choose(entries)), ['a', 'b']);
    assert.deepEqual(choose([entry('')]), []);
  });

  it('counts the bytes and names of a folder with everything below it', () => {
    // In the order of bytes "a-b" stands between "a" and "a/c".
    const entries = [entry('a'), entry('a-b', 1), entry('a/c'), entry('a/c/d', 5), entry('a/e', 7)];
    const folder = choose(entries).find(each => each.path === 'a');
    assert.deepEqual(folder && [folder.bytes, folder.names], [12, 4]);
    assert.ok(!paths(choose(entries, { names: 3 })).includes('a'));
    assert.ok(!paths(choose(entries, { bytes: 11 })).includes('a'));
  });

  it('leaves out the top, unreadable entries, long paths and large files', () => {
    const entries = [entry(''), entry('unread', 1, ''), entry('long'.repeat(9), 1), entry('large', 11)];
    const candidates = candidatesOf(entries, { bytes: 10, path: 30 });
    assert.deepEqual(candidates.choose(), []);
    assert.deepEqual([candidates.entries, candidates.tooLarge], [0, 1]);
  });

  it('never exceeds its limits, and takes nothing twice', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map(names => names.join('/'));
    const tree = fc.dictionary(path, fc.integer({ min: 0, max: 5_000_000 })).map(files => {
      const all = new Map(Object.entries(files).map(([each, size]) => [each, entry(each, size)]));
      for (const each of Object.keys(files))
        for (let end = each.lastIndexOf('/'); end > 0; end = each.lastIndexOf('/', end - 1))
          all.set(each.slice(0, end), entry(each.slice(0, end)));
      return [...all.values()].sort((one, other) => (one.path < other.path ? -1 : 1));
    });
    const limits = fc.record({
      count: fc.integer({ min: 1, max: 9 }),
      bytes: fc.integer({ min: 0, max: 9_000_000 }),
      names: fc.integer({ min: 1, max: 9 }),
      paths: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(tree, limits, (entries, given) => {
        const chosen = choose(entries, given);
        const files = entries.filter(({ type, path: one }) => {
          const isInside = chosen.some(each => one === each.path || one.startsWith(`${each.path}/`));
          return type === 'file' && isInside;
        });
        assert.equal(new Set(chosen.map(each => each.path)).size, chosen.length);
        assert.ok(chosen.length <= given.count);
        assert.ok(files.reduce((sum, { size }) => sum + size, 0) <= given.bytes);
        assert.ok(chosen.reduce((sum, each) => sum + each.names, 0) <= given.names);
        assert.ok(chosen.reduce((sum, each) => sum + each.path.length, 0) <= given.paths);
      }),
    );
  });
});
