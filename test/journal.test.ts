import assert from 'node:assert/strict';
import { existsSync, linkSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { appendJournal, readJournal } from '../src/os/journal.ts';
import { isPassing, keptLines } from '../src/os/journal-lines.ts';
import { scratch } from './support/scratch.ts';

describe('isPassing()', () => {
  const cases: [Record<string, unknown>, boolean][] = [
    [{ event: 'refused' }, true],
    [{ event: 'queued' }, true],
    [{ event: 'run', snapshot: null }, true],
    [{ event: 'run' }, true],
    [{ event: 'run', snapshot: '2026-01-01T00-00-00Z' }, false],
    [{ event: 'removed', what: 'arriving/2026-01-01T00-00-00Z' }, true],
    [{ event: 'removed', what: 'snapshots/2026-01-01T00-00-00Z' }, false],
    [{ event: 'removed' }, false],
    [{ event: 'committed', snapshot: '2026-01-01T00-00-00Z' }, false],
    [{ event: 'pinned' }, false],
    [{}, false],
  ];
  for (const [entry, passes] of cases)
    it(`is ${passes} for ${JSON.stringify(entry)}`, () => assert.equal(isPassing(entry), passes));
});

describe('keptLines()', () => {
  const anyLines = fc.array(
    fc.record({ event: fc.constantFrom('refused', 'run', 'committed', 'pinned'), number: fc.nat(99_999) }),
  );

  it('keeps the newest of either kind, in their order, whatever there is of the other', () => {
    fc.assert(
      fc.property(anyLines, fc.nat(500), fc.nat(500), (entries, lasting, passing) => {
        const kept = keptLines(
          entries.map(each => JSON.stringify(each)),
          lasting,
          passing,
        );
        for (const isOne of [true, false]) {
          const of = (lines: string[]): string[] =>
            lines.filter(line => isPassing(JSON.parse(line)) === isOne);
          const all = of(entries.map(each => JSON.stringify(each)));
          const mine = of(kept);
          assert.deepEqual(mine, mine.length === 0 ? [] : all.slice(-mine.length));
          const most = isOne ? passing : lasting;
          assert.equal(mine.reduce((sum, line) => sum + line.length + 1, 0) <= most, true);
        }
      }),
    );
  });

  it('leaves out what is no line of a journal', () => {
    assert.deepEqual(keptLines(['', 'rubbish', '1', '{"event":"a"}', '{"event":']), ['{"event":"a"}']);
  });
});

describe('appendJournal()', () => {
  const reason = 'x'.repeat(400);

  it('loses nothing that happened to snapshots to any number of refusals', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    appendJournal(path, { event: 'committed', snapshot: 'first' });
    appendJournal(path, { event: 'pinned', snapshot: 'first' });
    // More than three times what both files take.
    for (let number = 0; number < 60_000; number += 1)
      appendJournal(path, { event: 'refused', number, reason });
    appendJournal(path, { event: 'committed', snapshot: 'last' });
    const all = readJournal(folder);
    const lasting = all.filter(each => !isPassing(each)).map(each => `${each.event} ${each.snapshot}`);
    assert.deepEqual(lasting, ['committed first', 'pinned first', 'committed last']);
    assert.equal(all.at(-2)?.number, 59_999);
    assert.equal(statSync(path).size + statSync(`${path}.1`).size < 9 * 1024 * 1024, true);
  });

  it('finishes what one that was killed has put aside, and reads it before', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    writeFileSync(`${path}.1`, '{"event":"committed","snapshot":"a"}\n');
    writeFileSync(path, `{"event":"committed","snapshot":"b"}\n${' '.repeat(4 * 1024 * 1024)}\n`);
    linkSync(path, `${path}.aside`);
    const names = (): unknown[] => readJournal(folder).map(each => each.snapshot);
    assert.deepEqual(names(), ['a', 'b']);
    // It may still be at work: nothing is moved, and nothing lost.
    appendJournal(path, { event: 'committed', snapshot: 'c' });
    assert.deepEqual(names(), ['a', 'b', 'c']);
    assert.equal(existsSync(`${path}.aside`), true);
  });

  it('does not grow without an end where nothing can be put aside', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    writeFileSync(path, `${' '.repeat(9 * 1024 * 1024)}\n`);
    writeFileSync(`${path}.aside`, '');
    const before = statSync(path).size;
    for (let number = 0; number < 10; number += 1) appendJournal(path, { event: 'refused', reason });
    assert.equal(statSync(path).size, before);
    appendJournal(path, { event: 'pinned', snapshot: 'a' });
    assert.deepEqual(readJournal(folder), [{ event: 'pinned', snapshot: 'a' }]);
  });
});

describe('appendJournal()', () => {
  it('appends whole lines to a private file, and moves a full one aside', t => {
    const top = scratch(t);
    const path = `${top}/journal.jsonl`;
    appendJournal(path, { event: 'a\nb' });
    appendJournal(path, { event: 'c' });
    assert.deepEqual(readFileSync(path, 'utf8'), '{"event":"a\\nb"}\n{"event":"c"}\n');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    writeFileSync(path, 'x'.repeat(4 * 1024 * 1024 + 1));
    appendJournal(path, { event: 'd' });
    assert.equal(readFileSync(path, 'utf8'), '{"event":"d"}\n');
    assert.equal(statSync(`${path}.1`).size, 4 * 1024 * 1024 + 1);
  });
});
