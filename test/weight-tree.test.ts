import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Heaviest } from '../src/client/heaviest.ts';
import { ReportSink } from '../src/client/weigh-report.ts';
import { FACT, type Sink, WeightTree } from '../src/client/weight-tree.ts';
import { encodeFact, type Listed, listedText } from '../src/wire/listing.ts';

const entry = (type: Listed['type'], size = 0, isTwin = false): string =>
  listedText({ type, isTwin, size, uid: 0, mode: 0o755, mtime: 0 });
const folder = entry('folder', 4096);
const file = (size: number): string => entry('file', size);

/** @param facts kind, path and text of each */
function weigh(facts: [string, string, string?][], options: { top?: string; maxSize?: number } = {}) {
  const events: string[] = [];
  const noting: Sink = {
    enter: each => events.push(`in ${each.path}`),
    file: each => events.push(`${each.fate} ${each.path}`),
    leave: each => events.push(`out ${each.path} ${each.taken.bytes}+${each.left.bytes} ${each.loose}`),
  };
  const report = new ReportSink(10, true);
  const tree = new WeightTree(options.top ?? '/', [noting, report], options.maxSize);
  const records = facts.map(([kind, path, text = '']) => encodeFact({ kind, path, text }));
  for (const record of records.sort()) tree.take(record);
  return { top: tree.end(), events, report: report.report() };
}

describe('WeightTree', () => {
  it('adds up folders, and passes each on when it is complete', () => {
    const { top, events } = weigh([
      [FACT.taken, '', folder],
      [FACT.taken, 'a', folder],
      [FACT.taken, 'a/f', file(10)],
      [FACT.taken, 'a/b', folder],
      [FACT.taken, 'a/b/g', file(5)],
      [FACT.packaged, 'a/b/g'],
      [FACT.packaged, 'not/there'],
      [FACT.taken, 'a!', file(1)],
    ]);
    assert.deepEqual([top.taken, top.loose], [{ bytes: 16, files: 3 }, 11]);
    assert.deepEqual(events, [
      ...['in /', 'in /a', 'in /a/b', 'taken /a/b/g', 'out /a/b 5+0 0', 'taken /a/f', 'out /a 15+0 10'],
      ...['taken /a!', 'out / 16+0 11'],
    ]);
  });
  it('tells why an entry is left out', () => {
    const { top, report } = weigh(
      [
        [FACT.taken, 'a', folder],
        [FACT.whole, 'a', folder],
        [FACT.whole, 'a/x', folder],
        [FACT.whole, 'a/x/y', folder],
        [FACT.whole, 'a/x/y/f', file(7)],
        [FACT.taken, 'a/big', file(100)],
        [FACT.whole, 'a/big', file(100)],
        [FACT.never, 'a/key'],
        [FACT.taken, 'a/mnt', folder],
        [FACT.mount, 'a/mnt'],
        [FACT.taken, 'a/new', file(1)], // it was made between the two lists
      ],
      { maxSize: 50 },
    );
    assert.deepEqual(
      [top.taken, top.left],
      [
        { bytes: 1, files: 1 },
        { bytes: 107, files: 3 },
      ],
    );
    assert.deepEqual(
      report.leftOut.map(each => [each.path, each.fate, each.bytes]),
      [
        ['/a/big', 'oversized', 100],
        ['/a/x', 'excluded', 7],
        ['/a/mnt', 'mount', 0],
      ],
    );
    assert.deepEqual(report.never, ['/a/key']);
  });
  it('counts a hard link once, and no size of a folder or a device', () => {
    const { top } = weigh([
      [FACT.taken, 'f', file(10)],
      [FACT.taken, 'g', entry('file', 10, true)],
      [FACT.taken, 'l', entry('link', 3)],
      [FACT.taken, 'd', entry('other', 99)],
    ]);
    assert.deepEqual(top.taken, { bytes: 13, files: 4 });
  });
  it('enters folders that no list has, and ignores entries outside of its top', () => {
    const { events } = weigh(
      [
        [FACT.taken, 'a', folder],
        [FACT.taken, 'a/b/c/f', file(1)],
        [FACT.taken, 'b', file(9)],
        [FACT.taken, 'ab/f', file(9)],
      ],
      { top: '/a' },
    );
    assert.deepEqual(
      events.filter(each => !each.startsWith('out')),
      ['in /a', 'in /a/b', 'in /a/b/c', 'taken /a/b/c/f'],
    );
  });
  it('finds caches by tag and by name, the outermost one only, and none that its tag leaves out', () => {
    const { report } = weigh([
      [FACT.taken, 'p', folder],
      [FACT.tagged, 'p', 'CACHEDIR.TAG'],
      [FACT.taken, 'p/node_modules', folder],
      [FACT.taken, 'p/node_modules/f', file(4)],
      [FACT.taken, 'q/__pycache__', folder],
      [FACT.taken, 'q/__pycache__/f', file(9)],
      [FACT.whole, 'r/.cache', folder],
      [FACT.whole, 'r/.cache/f', file(9)],
      [FACT.tagged, 'gone', '.nobackup'],
      [FACT.taken, 't', folder],
      [FACT.tagged, 't', 'CACHEDIR.TAG'],
      [FACT.emptied, 't', ''],
      [FACT.taken, 't/CACHEDIR.TAG', file(43)],
    ]);
    assert.deepEqual(
      report.candidates.map(each => [each.path, each.bytes, each.cache]),
      [
        ['/q/__pycache__', 9, 'its name'],
        ['/p', 4, 'CACHEDIR.TAG'],
      ],
    );
  });
});

describe('Heaviest', () => {
  it('keeps the heaviest in order, whatever their number', () => {
    const kept = new Heaviest<number>(3, each => each);
    for (let at = 0; at < 1000; at += 1) kept.take((at * 7919) % 1000);
    assert.deepEqual(kept.list(), [999, 998, 997]);
    assert.deepEqual(new Heaviest<number>(0, each => each).list(), []);
  });
});
