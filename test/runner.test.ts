import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type End, type FileEvent, FileReport, summary } from './runner/events.ts';
import { MOST_STRETCH, Patience, stretchOf } from './runner/patience.ts';
import { inPlace, parseSaid, tagOf, UIDS_EACH, uidsOf, withoutPlace } from './runner/place.ts';
import { isLong, LONGEST, planFiles } from './runner/plan.ts';
import { fit, type Progress, progressLines } from './runner/status.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const FILES = [
  'test/text.test.ts',
  'test/regress/store/a.test.ts',
  'test/regress/transport/kills.test.ts',
  'test/regress/transport/kills.long.test.ts',
  'test/regress/store/year.long.test.ts',
];

describe('planFiles()', () => {
  it('takes all but the soaks for `make test`, and the soaks alone for `make test-long`', () => {
    assert.deepEqual(planFiles(FILES, [], 'test').toSorted(), FILES.filter(each => !isLong(each)).toSorted());
    assert.deepEqual(planFiles(FILES, [], 'test-long').toSorted(), FILES.filter(isLong).toSorted());
  });

  it('takes what a filter is a part of, of both', () => {
    assert.deepEqual(planFiles(FILES, ['kills'], 'test').toSorted(), [FILES[3], FILES[2]]);
    assert.deepEqual(planFiles(FILES, ['kills.test', 'text'], 'test').toSorted(), [FILES[2], FILES[0]]);
    assert.deepEqual(planFiles(FILES, ['nothing'], 'test'), []);
  });

  it('loses no file and takes none twice, whatever the names', () => {
    const names = fc.uniqueArray(fc.string().map(name => `test/${name}.test.ts`));
    fc.assert(
      fc.property(names, files => {
        const both = [...planFiles(files, [], 'test'), ...planFiles(files, [], 'test-long')];
        assert.deepEqual(both.toSorted(), files.toSorted());
      }),
    );
  });

  it('begins with the longest', () => {
    const files = ['test/a.test.ts', 'test/regress/x.test.ts'];
    const longest = LONGEST.map(each => `test/regress/${each}x.test.ts`);
    assert.deepEqual(planFiles([...files, ...longest.toReversed()], [], 'test'), [...longest, ...files]);
  });
});

describe('stretchOf()', () => {
  const CASES: [loadavg: string, processors: number, stretch: number][] = [
    ['0.00 0.00 0.00 1/200 4711\n', 2, 1],
    ['2.00 9.00 9.00 2/200 4711\n', 2, 1],
    ['6.00 0.00 0.00 1/200 4711\n', 2, 3],
    ['0.10 0.00 0.00 8/200 4711\n', 2, 4],
    ['8.00 0.00 0.00 8/200 4711\n', 16, 1],
    ['500.00 0.00 0.00 400/900 4711\n', 2, MOST_STRETCH],
    ['', 2, 1],
    ['nonsense', 2, 1],
  ];
  for (const [loadavg, processors, stretch] of CASES)
    it(`is ${stretch} for ${JSON.stringify(loadavg)} on ${processors}`, () => {
      assert.equal(stretchOf(loadavg, processors), stretch);
    });
});

describe('Patience', () => {
  it('ends at its limit on a quiet machine', () => {
    const patience = new Patience(3000);
    assert.deepEqual(
      [1000, 1000, 999, 1].map(ms => patience.spend(ms, 1)),
      [false, false, false, true],
    );
  });

  it('begins again when a test has ended', () => {
    const patience = new Patience(3000);
    assert.equal(patience.spend(2999, 1), false);
    patience.renew();
    assert.equal(patience.spend(2999, 1), false);
  });

  it('ends after ten times the limit at most, however busy the machine is', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), load => {
        const patience = new Patience(60_000);
        let ms = 0;
        do ms += 1000;
        while (!patience.spend(1000, stretchOf(`${load} 0 0 1/1 1`, 2)));
        assert.ok(ms >= 60_000 && ms <= MOST_STRETCH * 60_000 + 1000, String(ms));
      }),
    );
  });
});

describe('inPlace() and withoutPlace()', () => {
  it('hand the command over as it is, whatever it has in it', () => {
    const command = ['/a b/node', '--x=$(id)', "it's; rm"];
    assert.deepEqual(inPlace('/tmp/a folder', '/a checkout', command).slice(-5), [
      '/tmp/a folder',
      '/a checkout',
      ...command,
    ]);
    assert.deepEqual(withoutPlace(command).slice(-3), command);
  });
});

describe('parseSaid()', () => {
  const CASES: [line: string, at: number, said: ReturnType<typeof parseSaid>][] = [
    ['left /tmp/x', 0, { left: '/tmp/x' }],
    ['left process sleep 300', 0, { left: 'process sleep 300' }],
    ['0m0.00s 0m0.01s', 0, undefined],
    ['0m1.50s 1m0.250000s', 1, { processorMs: 61_750 }],
    ['left ', 0, undefined],
    ['left', 0, undefined],
    ['1m2s', 1, undefined],
    ['x 0m1.50s 0m0.25s', 1, undefined],
    ['', 1, undefined],
  ];
  for (const [line, at, said] of CASES)
    it(`reads ${JSON.stringify(line)} as line ${at} of times(1p)`, () => {
      assert.deepEqual(parseSaid(line, at), said);
    });
});

describe('tagOf()', () => {
  it('has six letters, and another one for each file', () => {
    const tags = Array.from({ length: 1000 }, (_, at) => tagOf(`/tmp/dialback-run-Ab3xYz/${at}`));
    assert.deepEqual(tags.slice(0, 2), ['3xYz00', '3xYz01']);
    assert.equal(new Set(tags).size, tags.length);
    assert.ok(tags.every(tag => tag.length === 6));
  });
});

describe('uidsOf()', () => {
  it('gives 200 files beside each other no number twice, and none beyond the range', () => {
    fc.assert(
      fc.property(fc.nat(1000), first => {
        const starts = Array.from({ length: 200 }, (_, at) =>
          Number(uidsOf(20_000, first + at).split('-')[0]),
        );
        assert.equal(new Set(starts).size, 200);
        assert.ok(
          starts.every(each => each >= 20_000 && each + UIDS_EACH <= 30_000 && each % UIDS_EACH === 0),
        );
      }),
    );
    assert.equal(uidsOf(20_000, 0), '20000-20049');
  });
});

const OK: End = { status: 0, signal: null, left: [] };
const told = { nesting: 1, durationMs: 5, isSuite: false };

function report(events: FileEvent[], end: Partial<End> = {}): FileReport {
  const made = new FileReport('x.test.ts');
  for (const event of events) made.add(event);
  made.finish({ ...OK, ...end });
  return made;
}

describe('FileReport', () => {
  const pass: FileEvent = { type: 'pass', name: 'works', ...told };
  const fail: FileEvent = { type: 'fail', name: 'breaks', why: 'Error: it\n  at x', ...told };
  const skip: FileEvent = { type: 'skip', name: 'later', reason: 'needs root: two users', ...told };
  const suite: FileEvent = { type: 'pass', name: 'a suite', ...told, nesting: 0, isSuite: true };
  const summaryEvent: FileEvent = { type: 'summary' };

  it('counts tests and not suites, and knows the one that ended last', () => {
    const made = report([{ type: 'end', name: 'works' }, pass, skip, suite, summaryEvent]);
    assert.deepEqual([made.passed, made.failures, made.last], [1, [], 'works']);
    assert.deepEqual(made.skips, [{ place: 'x.test.ts: later', reason: 'needs root: two users' }]);
    assert.match(made.text, /^ {4}✔ works \(5 ms\)\n {4}﹣ later \(skipped: .*\)\n {2}a suite\n$/);
  });

  it('names a failed test once, though its suites have failed with it', () => {
    const made = report([fail, { type: 'fail', name: 'a suite', ...told, nesting: 0 }, summaryEvent], {
      status: 1,
    });
    assert.deepEqual(made.failures, ['x.test.ts: breaks']);
    assert.match(made.text, /^ {4}✖ breaks .*\n {6}Error: it\n {8}at x\n {2}✖ a suite/);
  });

  const BAD: [when: string, events: FileEvent[], end: Partial<End>, failure: RegExp][] = [
    ['has no test', [summaryEvent], {}, /has no test/],
    ['ends before its tests', [pass], {}, /ended early/],
    ['prints nothing at all', [], {}, /ended early/],
    ['fails without a failed test', [pass, summaryEvent], { status: 1 }, /exit status 1/],
    ['has a status of its own', [fail, summaryEvent], { status: 7 }, /exit status 7/],
    ['is killed by another', [pass, summaryEvent], { status: null, signal: 'SIGSEGV' }, /SIGSEGV/],
    ['is killed by the runner', [pass], { status: null, signal: 'SIGKILL', killed: 'it hangs' }, /it hangs/],
    ['leaves something', [pass, summaryEvent], { left: ['process 7: sleep'] }, /left something behind/],
  ];
  for (const [when, events, end, failure] of BAD)
    it(`has a failure of the file itself, where that ${when}`, () => {
      assert.match(report(events, end).failures.at(-1) ?? '', failure);
    });

  it('never counts a file as passed whose process did not end well, whatever it has told', () => {
    const event = fc.constantFrom(pass, fail, skip, suite, summaryEvent);
    fc.assert(
      fc.property(fc.array(event), fc.integer({ min: 2, max: 255 }), (events, status) => {
        assert.ok(report(events, { status }).failures.length > 0);
      }),
    );
  });
});

describe('summary()', () => {
  const root = [{ reason: 'needs root', isExpected: true }];
  it('ends with the counts, and has the skips by their reasons', () => {
    const skips = ['a', 'b'].map(place => ({ place, reason: 'needs root: two users' }));
    const { text, failed } = summary({ passed: 5, failures: ['x: y'], skips }, root);
    assert.equal(text, 'skipped: 2: needs root: two users\nfailed: x: y\n5 passed, 1 failed, 2 skipped\n');
    assert.equal(failed, 1);
    assert.equal(summary({ passed: 5, failures: [], skips: [] }, root).text, '5 passed, 0 failed\n');
  });

  it('counts a skip as a failure where its reason is not expected', () => {
    const skips = [{ place: 'x: later', reason: 'no time' }];
    for (const expected of [[], root, [{ reason: 'no time', isExpected: false }]]) {
      const { text, failed } = summary({ passed: 5, failures: [], skips }, expected);
      assert.equal(failed, 1);
      assert.match(text, /^failed: x: later: .*no time\n5 passed, 1 failed\n$/);
    }
  });
});

describe('progressLines() and fit()', () => {
  const progress: Progress = {
    nowMs: 200_000,
    startedMs: 5_000,
    done: 3,
    all: 9,
    passed: 70,
    failed: 1,
    running: [{ name: 'test/regress/transport/kills.test.ts', sinceMs: 99_000 }],
    last: 'works',
  };

  it('say how far it is, what runs for how long, and what ended last', () => {
    assert.deepEqual(progressLines(progress), [
      '3:15  3 of 9 files, 70 passed, 1 failed | last: works',
      'now: transport/kills 1:41',
    ]);
    assert.deepEqual(progressLines({ ...progress, running: [], last: undefined }), [
      '3:15  3 of 9 files, 70 passed, 1 failed',
    ]);
  });

  it('stay within a terminal of any width, and move no cursor', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), fc.integer({ min: 2, max: 200 }), (last, columns) => {
        for (const line of progressLines({ ...progress, last })) {
          const shown = fit(line, columns);
          assert.ok([...shown].length < columns);
          assert.doesNotMatch(shown, /\p{Cc}/u);
        }
      }),
    );
  });
});
