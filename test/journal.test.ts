import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { appendJournal, limitJournals, readJournal, readJournalSince } from '../src/os/journal.ts';
import { isPassing, keptLines } from '../src/os/journal-lines.ts';
import { fault, mkfifo, scratch } from './support/scratch.ts';

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

const DAY_MS = 86_400_000;
const LIMITS = { maxBytes: 4 * 1024 * 1024, keepMs: 400 * DAY_MS };
afterEach(() => limitJournals(LIMITS));

describe('keptLines()', () => {
  const anyLines = fc.array(
    fc.record({ event: fc.constantFrom('refused', 'run', 'committed', 'pinned'), number: fc.nat(99_999) }),
  );

  it('keeps the newest of either kind, in their order, whatever there is of the other', () => {
    fc.assert(
      fc.property(anyLines, fc.nat(500), fc.nat(500), (entries, lasting, passing) => {
        const kept = keptLines(
          entries.map(each => JSON.stringify(each)),
          { lasting, passing, sinceMs: 0 },
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

  it('leaves out old entries, and lines that are none', () => {
    const limits = { lasting: 1000, passing: 1000, sinceMs: Date.parse('2026-01-02T00:00:00.000Z') };
    const [old, young] = ['01', '03'].map(day => `{"time":"2026-01-${day}T00:00:00.000Z","event":"a"}`);
    assert.deepEqual(keptLines([old ?? '', young ?? ''], limits), [young]);
    assert.deepEqual(keptLines(['', 'rubbish', '1', '{"event":"a"}', '{"event":'], limits), [
      '{"event":"a"}',
    ]);
  });
});

/** The names of the files of a journal. */
const filesOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter(name => name.startsWith('journal'))
    .sort();
const numbersOf = (folder: string): unknown[] => readJournal(folder).map(each => each.number);
/** Fills a journal so that the next entry rotates it. */
const fill = (path: string, number: number): void => {
  limitJournals({ ...LIMITS, maxBytes: 1000 });
  appendJournal(path, { event: 'pinned', number, text: 'x'.repeat(1000) });
};

describe('appendJournal()', () => {
  const reason = 'x'.repeat(400);

  it('loses no event of a snapshot to any number of refusals', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    appendJournal(path, { event: 'committed', snapshot: 'first' });
    appendJournal(path, { event: 'pinned', snapshot: 'first' });
    // More than three times the room of all files.
    limitJournals({ ...LIMITS, maxBytes: 500_000 });
    for (let number = 0; number < 10_000; number += 1)
      appendJournal(path, { event: 'refused', number, reason });
    appendJournal(path, { event: 'committed', snapshot: 'last' });
    const all = readJournal(folder);
    const lasting = all.filter(each => !isPassing(each)).map(each => `${each.event} ${each.snapshot}`);
    assert.deepEqual(lasting, ['committed first', 'pinned first', 'committed last']);
    assert.equal(all.at(-2)?.number, 9_999);
    const bytes = filesOf(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    assert.equal(bytes < 2 * 500_000 + 130_000, true, String(bytes));
    assert.equal(filesOf(folder).length, 3);
  });

  it('appends whole lines to a private file, and rotates a full one', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    appendJournal(path, { event: 'a\nb' });
    appendJournal(path, { event: 'c' });
    assert.deepEqual(readFileSync(path, 'utf8'), '{"event":"a\\nb"}\n{"event":"c"}\n');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    writeFileSync(path, 'x'.repeat(4 * 1024 * 1024 + 1));
    appendJournal(path, { event: 'd' });
    assert.equal(readFileSync(path, 'utf8'), '{"event":"d"}\n');
    assert.equal(statSync(`${path}.1`).size, 4 * 1024 * 1024 + 1);
    assert.equal(statSync(`${path}.1`).mode & 0o777, 0o600);
  });

  it('rotates one that begins too long ago, and drops what is older', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    limitJournals({ ...LIMITS, keepMs: DAY_MS });
    const old = (days: number): string => new Date(Date.now() - days * DAY_MS).toISOString();
    writeFileSync(path, `${JSON.stringify({ time: old(3), number: 1 })}\n`);
    appendJournal(path, { time: old(0), number: 2 });
    assert.deepEqual(filesOf(folder), ['journal.jsonl', 'journal.jsonl.1']);
    appendJournal(path, { time: old(0), number: 3 });
    assert.deepEqual(numbersOf(folder), [1, 2, 3]);
    utimesSync(`${path}.1`, new Date(old(3)), new Date(old(3)));
    limitJournals({ maxBytes: 10, keepMs: DAY_MS });
    appendJournal(path, { time: old(0), number: 4 });
    assert.deepEqual(numbersOf(folder), [2, 3, 4]);
  });

  it('accepts no more refusals if the journal cannot be rotated', {
    skip: process.getuid?.() !== 0 && 'needs root',
  }, t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    // A file that may only be appended to cannot get another name.
    appendJournal(path, { event: 'pinned', text: 'x'.repeat(30) });
    execFileSync('/usr/bin/chattr', ['+a', path]);
    try {
      limitJournals({ ...LIMITS, maxBytes: 40 });
      for (let number = 0; number < 10; number += 1) appendJournal(path, { event: 'refused', number });
      assert.deepEqual(
        readJournal(folder).map(({ event, number }) => `${event} ${number ?? ''}`),
        ['pinned ', 'refused 0'],
      );
      appendJournal(path, { event: 'pinned', number: 1 });
      assert.equal(readJournal(folder).length, 3);
    } finally {
      execFileSync('/usr/bin/chattr', ['-a', path]);
    }
    assert.deepEqual(filesOf(folder), ['journal.jsonl']);
  });

  it('refuses a journal that is a link, a folder or a FIFO, and writes through no link', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    writeFileSync(`${folder}/target`, '');
    for (const target of [`${folder}/target`, `${folder}/none`]) {
      symlinkSync(target, path);
      assert.match(fault(() => appendJournal(path, { event: 'a' })).message, /journal\.jsonl/);
      assert.equal(lstatSync(path).isSymbolicLink(), true);
      renameSync(path, `${folder}/moved`);
    }
    assert.equal(readFileSync(`${folder}/target`, 'utf8'), '');
    assert.equal(existsSync(`${folder}/none`), false);
    for (const make of [() => mkdirSync(path), () => mkfifo(path)]) {
      make();
      assert.match(fault(() => appendJournal(path, { event: 'a' })).message, /journal\.jsonl/);
      assert.match(fault(() => readJournal(folder)).message, /journal\.jsonl/);
      rmSync(path, { recursive: true });
    }
  });
});

describe('readJournal()', () => {
  it('reads all parts in their order, each once, whatever a killed rotation has left', t => {
    const states: [what: string, names: Record<string, number[]>, links?: [string, string][]][] = [
      ['no rotation', { '': [1, 2] }],
      ['a finished one', { '.1': [1], '': [2] }],
      ['one that has moved the journal', { '.1': [1], '.moving-0123456789abcdef': [2] }],
      ['the same with a new journal', { '.1': [1], '.moving-0123456789abcdef': [2], '': [3] }],
      [
        'one that has linked it',
        { '.1': [1], '.moving-0123456789abcdef': [2], '': [3] },
        [['.moving-0123456789abcdef', '.2']],
      ],
      ['a merge that has written', { '.1': [1], '.2': [2], '.3': [3], '.1-2': [1, 2], '': [4] }],
      ['a merge that has removed a part', { '.2': [2], '.3': [3], '.1-2': [1, 2], '': [4] }],
      ['a merge of a merged part', { '.1-2': [1, 2], '.3': [3], '.1-3': [1, 2, 3], '.4': [4] }],
      ['two merges at once', { '.1-2': [1, 2], '.1-3': [1, 2, 3], '.2': [2], '': [4] }],
      ['more than nine', { '.9': [1], '.10': [2], '.11': [3] }],
      ['one of version 0.1.1', { '.1': [1], '.aside': [2], '': [3] }],
      ['the same at its beginning', { '.1': [1], '': [2] }, [['', '.aside']]],
      ['other files', { '': [1], '.1x': [7], '.0': [8], '.moving-0': [9] }],
    ];
    for (const [what, names, links = []] of states) {
      const folder = scratch(t);
      const path = `${folder}/journal.jsonl`;
      for (const [end, numbers] of Object.entries(names))
        writeFileSync(
          `${path}${end}`,
          numbers.map(number => `{"event":"pinned","number":${number}}\n`).join(''),
        );
      for (const [from, to] of links) linkSync(`${path}${from}`, `${path}${to}`);
      const wanted = [
        ...new Set(Object.entries(names).flatMap(([end, each]) => (/x$|\.0$|-0$/.test(end) ? [] : each))),
      ].sort();
      assert.deepEqual(numbersOf(folder), wanted, what);
      // The next rotations repair it, and lose no entry.
      fill(path, 90);
      fill(path, 91);
      fill(path, 92);
      assert.deepEqual(numbersOf(folder), [...wanted, 90, 91, 92].slice(-numbersOf(folder).length), what);
    }
  });

  it('gives the new entries after a position, and all after a rotation', t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    const nothing = { entries: [], isWhole: true, position: undefined };
    for (const each of [folder, `${folder}/none`])
      assert.deepEqual(readJournalSince(each, undefined), nothing);
    appendJournal(path, { number: 1 });
    const first = readJournalSince(folder, undefined);
    assert.deepEqual([first.isWhole, first.entries.length], [true, 1]);
    appendJournal(path, { number: 2 });
    const second = readJournalSince(folder, first.position);
    assert.deepEqual([second.isWhole, second.entries], [false, [{ number: 2 }]]);
    assert.equal(readJournalSince(folder, second.position).position, second.position);
    // The same inode with other content, as if the file had been made again.
    writeFileSync(path, '{"number":8}\n{"number":9}\n{"number":10}\n');
    assert.deepEqual(readJournalSince(folder, second.position).entries.length, 3);
    writeFileSync(path, '{"number":8}\n');
    assert.equal(readJournalSince(folder, second.position).isWhole, true);
  });
});

/** A process that appends numbered entries and prints each number, until it is killed. */
const WRITER = `
  import { appendJournal, limitJournals } from ${JSON.stringify(join(import.meta.dirname, '../src/os/journal.ts'))};
  limitJournals({ maxBytes: 3000, keepMs: ${400 * DAY_MS} });
  const [path, name, most] = process.argv.slice(1);
  for (let number = 1; number <= Number(most); number += 1) {
    appendJournal(path, { event: 'pinned', name, number });
    process.stdout.write(number + '\\n');
  }`;

async function writer(
  path: string,
  name: string,
  most: number,
  killAfter = Number.POSITIVE_INFINITY,
): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, path, name, String(most)]);
  let last = 0;
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    last = Number(text.trim().split('\n').at(-1));
    if (last >= killAfter) child.kill('SIGKILL');
  });
  await once(child, 'close');
  return Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1) ?? last);
}

describe('a journal with several writers', () => {
  it('has the newest entries of each without a gap, also if writers are killed', async t => {
    const folder = scratch(t);
    const path = `${folder}/journal.jsonl`;
    const written = await Promise.all([
      writer(path, 'a', 400),
      writer(path, 'b', 400),
      writer(path, 'c', 4000, 150),
      writer(path, 'd', 4000, 250),
    ]);
    const entries = readJournal(folder);
    for (const [at, name] of ['a', 'b', 'c', 'd'].entries()) {
      const numbers = entries.filter(each => each.name === name).map(each => Number(each.number));
      // An entry of one that was killed can be there although it was not printed.
      const [first = 0] = numbers;
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => first + index),
        name,
      );
      if (numbers.length > 0) assert.ok((numbers.at(-1) ?? 0) >= (written[at] ?? 0), name);
    }
    assert.ok(entries.length > 60, String(entries.length));
    assert.ok(filesOf(folder).length <= 8, filesOf(folder).join());
  });
});
