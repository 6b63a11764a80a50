import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EXIT } from '../src/fault.ts';
import {
  decodeEvent,
  EVENT_LINE_LIMIT,
  encodeEvent,
  FAILURES,
  type FailureCode,
  failedOutcome,
  type HostEvent,
  MISSING_LIMIT,
  type OutcomeEvent,
  PHASES,
} from '../src/wire/events.ts';
import { jsonName, snapshotName } from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { says, wording } from './support/wording.ts';

const EVENT_PREFIX = 'dialback-event: ';

/** An event's line as a client reads it: without its newline. */
function lineOf(fields: unknown): string {
  return `${EVENT_PREFIX}${JSON.stringify(fields)}`;
}

function reasonFor(line: string): string {
  const decoded = decodeEvent(line);
  return 'reason' in decoded ? decoded.reason : 'accepted';
}

const FULL: OutcomeEvent = {
  ...failedOutcome('rsync'),
  outcome: 'full',
  code: null,
  snapshot: '2026-11-23T00-12-00Z',
};

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const name = fc.uint8Array({ minLength: 1, maxLength: 60 }).map(bytes => jsonName(Buffer.from(bytes)));
const missing = fc.array(
  fc.record({ path: name, errno: fc.option(fc.nat(200)) }, { noNullPrototype: true }),
  { maxLength: 8 },
);
const unstored = fc.array(
  fc.record(
    {
      path: name,
      errno: fc.option(fc.nat(200)),
      part: fc.constantFrom('entry' as const, 'attributes' as const),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 8 },
);
const snapshot = fc
  .date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
  .map(snapshotName);
const counts = {
  files: count,
  bytes: count,
  transferred_bytes: count,
  vanished: count,
  changed_during_run: count,
};
const anyEvent: fc.Arbitrary<HostEvent> = fc.oneof(
  fc.record({ event: fc.constant('phase' as const), phase: fc.constantFrom(...PHASES) }),
  fc.record({ event: fc.constant('progress' as const), bytes: count, percent: fc.nat(100) }),
  fc
    .record({
      event: fc.constant('files' as const),
      done: count,
      total: count,
      percent: fc.option(fc.nat(100)),
    })
    .map(each => ({
      ...each,
      done: Math.min(each.done, each.total),
      total: Math.max(each.done, each.total),
    })),
  fc.record({ event: fc.constant('wait' as const), ms: count }),
  fc.record({ event: fc.constant('accepted' as const) }),
  fc
    .record({ event: fc.constant('unstored' as const), count: fc.nat(1000), files: unstored })
    .map(event => ({ ...event, count: event.count + event.files.length })),
  fc.record({
    ...counts,
    event: fc.constant('outcome' as const),
    outcome: fc.constant('full' as const),
    code: fc.constant(null),
    rsync_exit: fc.constantFrom(0, 24),
    snapshot: fc.option(snapshot),
    missing_count: fc.constant(0),
    missing: fc.constant<OutcomeEvent['missing']>([]),
  }),
  fc
    .record({
      ...counts,
      event: fc.constant('outcome' as const),
      outcome: fc.constant('incomplete' as const),
      code: fc.constant(null),
      rsync_exit: fc.option(fc.nat(255)),
      snapshot: fc.option(snapshot),
      missing_count: fc.nat(1000),
      missing,
    })
    .map(event => ({ ...event, missing_count: event.missing_count + event.missing.length })),
  fc
    .tuple(fc.constantFrom(...(Object.keys(FAILURES) as FailureCode[])), fc.option(fc.nat(255)))
    .map(([code, exit]) => failedOutcome(code, exit)),
);

describe('decodeEvent()', () => {
  it('gives back what encodeEvent() was given, on one line', () => {
    fc.assert(
      fc.property(anyEvent, event => {
        const line = encodeEvent(event);
        assert.equal(line.indexOf('\n'), line.length - 1);
        assert.deepEqual(decodeEvent(line.slice(0, -1)), { value: { ...event } });
      }),
      { numRuns: 500 },
    );
  });

  for (const code of Object.keys(FAILURES) as FailureCode[])
    it(`takes a failure with the code "${code}"`, () =>
      assert.equal(reasonFor(lineOf(failedOutcome(code))), 'accepted'));

  for (const line of [
    '',
    'x',
    '{}',
    'dialback-event:{}',
    'dialback-event {}',
    'Dialback-event: {}',
    ' dialback-event: {"event":"phase","phase":"copying"}',
    'x dialback-event: {"event":"phase","phase":"copying"}',
    '\ndialback-event: {}',
    'event: {}',
  ])
    it(`takes ${JSON.stringify(line)} for no event`, () =>
      assert.equal(reasonFor(line), wording('it-is-not-an-event')));

  for (const text of [
    '',
    ' ',
    '{',
    'x',
    '{}x',
    '{"event":"phase"',
    "{'event':'phase'}",
    '\ufeff{}',
    'undefined',
    'NaN',
  ])
    it(`refuses ${JSON.stringify(text)}, which is not JSON`, () =>
      assert.equal(reasonFor(EVENT_PREFIX + text), wording('it-is-not-json')));

  for (const value of [null, true, 0, 'phase', [], [{ event: 'phase', phase: 'copying' }]])
    it(`refuses ${JSON.stringify(value)}, which is not an object`, () =>
      assert.equal(reasonFor(lineOf(value)), wording('it-is-not-an-object')));

  for (const event of [
    undefined,
    null,
    '',
    'Phase',
    'done',
    'warning',
    'constructor',
    '__proto__',
    0,
    ['phase'],
    {},
  ])
    it(`refuses the event ${JSON.stringify(event)}`, () =>
      assert.equal(reasonFor(lineOf({ event, phase: 'copying' })), wording('it-is-an-unknown-event')));

  it('refuses an event from __proto__', () => {
    assert.equal(
      reasonFor(`${EVENT_PREFIX}{"__proto__":{"event":"phase"},"phase":"copying"}`),
      wording('it-is-an-unknown-event'),
    );
  });

  const good: Record<string, Record<string, unknown>> = {
    phase: { event: 'phase', phase: 'copying' },
    progress: { event: 'progress', bytes: 1, percent: 50 },
    files: { event: 'files', done: 1, total: 3, percent: null },
    wait: { event: 'wait', ms: 1000 },
    accepted: { event: 'accepted' },
    unstored: { event: 'unstored', count: 1, files: [{ path: '/x', errno: 28, part: 'attributes' }] },
    outcome: { ...FULL },
  };
  for (const [kind, event] of Object.entries(good)) {
    for (const key of ['x', '', 'message', 'error', 'toString', 'hasOwnProperty', 'constructor', '__proto__'])
      it(`refuses ${kind} with the key "${key}"`, () => {
        const line = lineOf(event).replace('{', `{${JSON.stringify(key)}:1,`);
        assert.equal(reasonFor(line), `${kind} ${wording('has-an-unknown-key')}`);
      });
    for (const key of Object.keys(event).filter(each => each !== 'event'))
      it(`refuses ${kind} without "${key}"`, () => {
        const { [key]: _, ...rest } = event;
        assert.equal(reasonFor(lineOf(rest)), `${kind} ${wording('has-no-acceptable', key)}`);
      });
  }

  const wrongCounts = [-1, 0.5, 2 ** 53, '1', null, true, [], {}, [1]];
  const wrong: [string, Record<string, unknown[]>][] = [
    ['phase', { phase: ['', 'Copying', 'keys', 'admitted', null, 0, ['copying'], 'toString'] }],
    ['progress', { bytes: wrongCounts, percent: [...wrongCounts, 101] }],
    [
      'files',
      {
        done: wrongCounts,
        total: wrongCounts,
        percent: [...wrongCounts.filter(each => each !== null), 101],
      },
    ],
    ['wait', { ms: wrongCounts }],
    [
      'unstored',
      {
        count: wrongCounts,
        files: [
          null,
          {},
          'x',
          [null],
          [{}],
          [{ path: '/x', errno: 1 }],
          [{ path: '/x', part: 'entry' }],
          [{ path: '/x', errno: 1, part: 'name' }],
          [{ path: '/x', errno: 1, part: ['entry'] }],
          [{ path: '/x', errno: '1', part: 'entry' }],
          [{ path: '/x', errno: 1, part: 'entry', words: 'x' }],
          [{ path: 'x'.repeat(16_385), errno: 1, part: 'entry' }],
          Array(MISSING_LIMIT + 1).fill({ path: '/x', errno: 1, part: 'entry' }),
        ],
      },
    ],
    [
      'outcome',
      {
        outcome: ['', 'done', 'Full', null, true, ['full']],
        code: ['', 'toString', '__proto__', 'constructor', 'Rsync', 0, ['rsync'], {}],
        rsync_exit: [-1, 256, 0.5, '0', true],
        snapshot: ['', 'latest', '../2026-11-23T00-12-00Z', '2026-11-23T00-12-00Z\n', '/store/x', 0, {}],
        files: wrongCounts,
        bytes: wrongCounts,
        transferred_bytes: wrongCounts,
        vanished: wrongCounts,
        missing_count: wrongCounts,
        missing: [
          null,
          {},
          'x',
          [null],
          ['x'],
          [[]],
          [{}],
          [{ path: 'x' }],
          [{ errno: 1 }],
          [{ path: 'x', errno: 1, more: 1 }],
          [{ path: 'x', errno: -1 }],
          [{ path: 'x', errno: '2' }],
          [{ path: 0, errno: null }],
          [{ path: null, errno: null }],
          [{ path: ['x'], errno: null }],
          [{ path: {}, errno: null }],
          [{ path: { base64: 1 }, errno: null }],
          [{ path: { base64: '' }, errno: null }],
          [{ path: { base64: 'a b' }, errno: null }],
          [{ path: { base64: 'a-b_' }, errno: null }],
          [{ path: { base64: 'YQ==\n' }, errno: null }],
          [{ path: { base64: 'YQ==', more: 1 }, errno: null }],
          [{ path: { base64: 'A'.repeat(22_004) }, errno: null }],
          [{ path: 'x'.repeat(16_385), errno: null }],
          Array(MISSING_LIMIT + 1).fill({ path: 'x', errno: 2 }),
        ],
      },
    ],
  ];
  for (const [kind, keys] of wrong)
    for (const [key, values] of Object.entries(keys))
      it(`refuses ${kind} with each wrong "${key}"`, () => {
        for (const value of values)
          assert.equal(
            reasonFor(
              lineOf({
                ...good[kind],
                missing_count: MISSING_LIMIT + 1,
                ...(kind === 'outcome' ? {} : { missing_count: undefined }),
                [key]: value,
              }),
            ),
            `${kind} ${wording('has-no-acceptable', key)}`,
            JSON.stringify(value)?.slice(0, 100),
          );
      });

  const contradictions: [string, Partial<OutcomeEvent>, RegExp][] = [
    ['full with a code', { code: 'rsync' }, /contradict/],
    ['incomplete with a code', { outcome: 'incomplete', code: 'rsync' }, /contradict/],
    ['failed without a code', { outcome: 'failed', snapshot: null }, /contradict/],
    ['failed with a snapshot', { outcome: 'failed', code: 'rsync' }, says('a-failed-run-has-a')],
    [
      'more missing than counted',
      { outcome: 'incomplete', missing: [{ path: 'x', errno: 2 }] },
      /more is missing/,
    ],
    ['full with something missing', { missing_count: 1, missing: [{ path: 'x', errno: 2 }] }, /./],
    ['full with a count of what is missing', { missing_count: 1 }, /./],
    ['a snapshot on a day that there is not', { snapshot: '2026-02-30T00-00-00Z' }, /./],
  ];
  for (const [what, change, reason] of contradictions)
    it(`refuses an outcome that is ${what}`, () => {
      const found = reasonFor(lineOf({ ...FULL, ...change }));
      assert.match(found, reason);
      assert.notEqual(found, 'accepted');
    });

  it(`takes a line of ${EVENT_LINE_LIMIT} characters, and refuses one more`, () => {
    const line = lineOf(good.phase);
    assert.equal(reasonFor(line.padEnd(EVENT_LINE_LIMIT)), 'accepted');
    assert.equal(
      reasonFor(line.padEnd(EVENT_LINE_LIMIT + 1)),
      wording('it-is-longer-than-characters', EVENT_LINE_LIMIT),
    );
  });

  it('takes an outcome with as many missing names as are listed', () => {
    const event = {
      ...FULL,
      outcome: 'incomplete',
      missing_count: 500,
      missing: Array(MISSING_LIMIT).fill({ path: '/x', errno: 13 }),
    };
    assert.equal(reasonFor(lineOf(event)), 'accepted');
  });

  it('takes an outcome with the longest names that a host can have, of which fewer are listed then', () => {
    const listed = (byte: number): number => {
      const path = jsonName(Buffer.alloc(4095, byte));
      const missing = Array(MISSING_LIMIT).fill({ path, errno: 13 });
      const event = { ...FULL, outcome: 'incomplete' as const, missing_count: MISSING_LIMIT, missing };
      const decoded = decodeEvent(encodeEvent(event).slice(0, -1));
      assert.ok(
        'value' in decoded && decoded.value.event === 'outcome',
        reasonFor(encodeEvent(event).slice(0, -1)),
      );
      assert.equal(decoded.value.missing_count, MISSING_LIMIT);
      return decoded.value.missing.length;
    };
    assert.deepEqual([0x78, 0xff, 0x01].map(listed), [50, 25, 6]);
  });

  it('refuses more names than are counted, of what could not be stored', () => {
    const event = { ...good.unstored, count: 0 };
    assert.equal(reasonFor(lineOf(event)), wording('more-is-named-than-is'));
  });

  it('takes the longest names of what could not be stored, of which fewer are listed then', () => {
    const listed = (byte: number): number => {
      const path = jsonName(Buffer.alloc(4095, byte));
      const files = Array(MISSING_LIMIT).fill({ path, errno: 28, part: 'attributes' });
      const decoded = decodeEvent(encodeEvent({ event: 'unstored', count: 5000, files }).slice(0, -1));
      assert.ok('value' in decoded && decoded.value.event === 'unstored');
      assert.equal(decoded.value.count, 5000);
      return decoded.value.files.length;
    };
    assert.deepEqual([0x78, 0xff, 0x01].map(listed), [50, 25, 6]);
  });

  it('refuses a key that is there twice, in the event and in what is missing', () => {
    const reason = (key: string): string => `it ${wording('has-the-key-twice', key)}`;
    for (const [first, last] of [
      ['"x"', '"copying"'],
      ['"copying"', '"x"'],
      ['"copying"', '"copying"'],
    ])
      assert.equal(
        reasonFor(`${EVENT_PREFIX}{"event":"phase","phase":${first},"phase":${last}}`),
        reason('phase'),
      );
    const kinds = '{"event":"outcome","phase":"copying","event":"phase"}';
    assert.equal(reasonFor(EVENT_PREFIX + kinds), reason('event'));
    for (const [missing, key] of [
      ['{"path":"/a","path":"/b","errno":13}', 'path'],
      ['{"path":"/a","errno":1,"err\\u006eo":2}', 'errno'],
      ['{"path":{"base64":"YQ==","base64":"YQ=="},"errno":null}', 'base64'],
    ] as const) {
      const line = encodeEvent({ ...FULL, outcome: 'incomplete', missing_count: 1 }).trimEnd();
      assert.equal(reasonFor(line.replace('"missing":[]', `"missing":[${missing}]`)), reason(key));
    }
  });

  it('neither throws nor accepts, when the JSON is arbitrary', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string({ unit: ANY_CHARACTER })), text => {
        assert.notEqual(reasonFor(EVENT_PREFIX + text), 'accepted');
      }),
      { numRuns: 1000 },
    );
  });

  it('says nothing in a reason that came in the line', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Z]{8,20}$/), word => {
        for (const line of [
          lineOf({ [word]: 1 }),
          lineOf({ event: word }),
          lineOf({ event: 'phase', [word]: 1 }),
          EVENT_PREFIX + word,
        ])
          assert.ok(!reasonFor(line).includes(word));
      }),
    );
  });

  it('never throws, when one letter of a good line is another', () => {
    const line = lineOf(FULL);
    fc.assert(
      fc.property(fc.nat(line.length - 1), fc.string({ unit: ANY_CHARACTER, maxLength: 2 }), (at, put) => {
        const decoded = decodeEvent(line.slice(0, at) + put + line.slice(at + 1));
        if ('value' in decoded) assert.deepEqual(decodeEvent(lineOf(decoded.value)), decoded);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('FAILURES', () => {
  for (const [code, [exit, sentence, next]] of Object.entries(FAILURES))
    it(`"${code}" has an exit status, a sentence without full stop, and at most one next step`, () => {
      assert.ok(Object.hasOwn(EXIT, exit));
      assert.notEqual(exit, 'done' as string);
      assert.match(sentence, /^[a-z].*[^.]$/);
      if (next !== undefined) assert.match(next, /^[a-z].*[^.]$/);
      assert.doesNotMatch(`${sentence}${next}`, /\n|\. [A-Z]/);
    });
});
