import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Candidate, decideRetention, isZone, type Policy } from '../src/store/retention.ts';
import { parseDuration } from '../src/wire/quantity.ts';
import { snapshotName, snapshotTime } from '../src/wire/text.ts';
import { wording } from './support/wording.ts';

const FOLDER = join(import.meta.dirname, 'retention');
/** Writes what is decided into the histories, instead of comparing: look at `git diff` then. */
const isUpdate = process.env.UPDATE_RETENTION === '1';

const NO_RULES: Policy = {
  ...{ last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
  ...{ minKeep: 0, minAgeMs: 0, givesRoom: true, zone: 'UTC' },
};

/** `daily=3 min_keep=2 zone=Europe/Berlin` */
function parsePolicy(text: string): Policy {
  const policy = { ...NO_RULES };
  for (const word of text.split(' ')) {
    const [key = '', value = ''] = word.split('=');
    if (key === 'zone') policy.zone = value;
    else if (key === 'min_age') policy.minAgeMs = parseDuration(value) ?? assert.fail(word);
    else if (key === 'min_keep') policy.minKeep = Number(value);
    else if (key === 'gives_room') policy.givesRoom = value === 'true';
    else if (key in policy) policy[key as 'last'] = Number(value);
    else assert.fail(word);
  }
  return policy;
}

function at(name: string): Date {
  return snapshotTime(name) ?? assert.fail(`"${name}" is no snapshot's name`);
}

/** `NAME [incomplete] [pinned]`, or `every 1h from NAME to NAME [incomplete] [pinned]` */
function parseHistory(line: string): Candidate[] {
  const words = line.split(' ');
  const kind = {
    state: words.includes('incomplete') ? ('incomplete' as const) : ('full' as const),
    isPinned: words.includes('pinned'),
  };
  if (words[0] !== 'every') {
    const [name = ''] = words;
    at(name);
    return [{ name, ...kind }];
  }
  const [, step = '', , from = '', , to = ''] = words;
  const found: Candidate[] = [];
  for (let time = at(from).getTime(); time <= at(to).getTime(); time += parseDuration(step) ?? Number.NaN)
    found.push({ name: snapshotName(new Date(time)), ...kind });
  assert.ok(found.length > 1, line);
  return found;
}

interface History {
  about: string;
  snapshots: Candidate[];
  policy: Policy;
  now: Date;
  /** The lines above `--`, and those below. */
  asked: string[];
  expected: string[];
}

function readHistory(file: string): History {
  const lines = readFileSync(join(FOLDER, file), 'utf8').trimEnd().split('\n');
  const end = lines.includes('--') ? lines.indexOf('--') : lines.length;
  const asked = lines.slice(0, end);
  const [about = '', now = '', policy = '', ...history] = asked;
  return {
    about: about.replace('# ', ''),
    snapshots: history.flatMap(parseHistory),
    policy: parsePolicy(policy.replace('policy ', '')),
    now: at(now.replace('now ', '')),
    asked,
    expected: lines.slice(end + 1),
  };
}

/** Each one that is kept, and why; `~` before one that may go when room is needed. What is not named is removed. */
function decided({ snapshots, policy, now }: Pick<History, 'snapshots' | 'policy' | 'now'>): string[] {
  const all = decideRetention(snapshots, policy, now);
  const kept = all.filter(each => each.keep);
  for (const each of all.filter(each => !each.keep))
    assert.deepEqual(each.reasons, [wording('no-rule-keeps-it')]);
  return [
    `kept ${kept.length} of ${all.length}`,
    ...kept.map(each => `${each.mayGoAtLowWater ? '~' : ''}${each.name} ${each.reasons.join('; ')}`),
  ];
}

const FILES = readdirSync(FOLDER).sort();

describe('decideRetention()', () => {
  it('has at least 40 histories to go by', () => assert.ok(FILES.length >= 40));

  for (const file of FILES) {
    const history = readHistory(file);
    it(`decides ${file.replace('.txt', '')}: ${history.about}`, () => {
      const found = decided(history);
      if (isUpdate) writeFileSync(join(FOLDER, file), `${[...history.asked, '--', ...found].join('\n')}\n`);
      else assert.deepEqual(found, history.expected);
    });
  }

  it('takes well under a second for 10,000 snapshots', () => {
    const snapshots = Array.from({ length: 10_000 }, (_, hour) => ({
      name: snapshotName(new Date(Date.UTC(2026, 10, 23) - hour * 3_600_000)),
      state: 'full' as const,
      isPinned: false,
    }));
    const policy = parsePolicy('last=3 hourly=24 daily=7 weekly=5 monthly=12 yearly=5 zone=Europe/Berlin');
    // Of the processor: a clock would count what else the machine does.
    const before = process.cpuUsage();
    decideRetention(snapshots, policy, new Date(Date.UTC(2026, 10, 23)));
    assert.ok(process.cpuUsage(before).user < 1_000_000);
  });
});

/** Worked out by hand, with a calendar: what a rewrite of the histories cannot change. Months and days, at 02:00 UTC. */
const BY_HAND: [what: string, policy: string, history: string[], kept: string[]][] = [
  [
    'the three newest',
    'last=3',
    ['every 1d from 2026-11-10T02-00-00Z to 2026-11-23T02-00-00Z'],
    ['2026-11-21', '2026-11-22', '2026-11-23'],
  ],
  // Mondays of November 2026: 2, 9, 16, 23. A week's newest is its Sunday; of the running one, today.
  [
    'the newest of each week: its Sunday',
    'weekly=4',
    ['every 1d from 2026-10-01T02-00-00Z to 2026-11-23T02-00-00Z'],
    ['2026-11-08', '2026-11-15', '2026-11-22', '2026-11-23'],
  ],
  [
    'the last day of each month',
    'monthly=4',
    ['every 1d from 2026-01-01T02-00-00Z to 2026-11-23T02-00-00Z'],
    ['2026-08-31', '2026-09-30', '2026-10-31', '2026-11-23'],
  ],
  [
    'the last day of each year',
    'yearly=2',
    ['every 1d from 2024-01-01T02-00-00Z to 2026-11-23T02-00-00Z'],
    ['2025-12-31', '2026-11-23'],
  ],
  [
    'days that have one, however long ago',
    'daily=3',
    ['2026-01-05T02-00-00Z', '2026-03-01T01-00-00Z', '2026-03-01T02-00-00Z', '2026-11-22T02-00-00Z'],
    ['2026-01-05', '2026-03-01', '2026-11-22'],
  ],
  [
    'full ones whatever the incomplete ones are',
    'daily=2',
    [
      '2026-11-01T02-00-00Z',
      '2026-11-02T02-00-00Z',
      'every 1d from 2026-11-10T02-00-00Z to 2026-11-23T02-00-00Z incomplete',
    ],
    ['2026-11-01', '2026-11-02', '2026-11-22', '2026-11-23'],
  ],
  [
    'a full one rather than a newer incomplete one of its day',
    'daily=1',
    ['2026-11-23T02-00-00Z', '2026-11-23T05-00-00Z incomplete'],
    ['2026-11-23'],
  ],
  [
    'pins, the last full one, the floor, and what comes from the future',
    'last=1 min_keep=1',
    [
      '2025-01-01T02-00-00Z pinned',
      '2026-01-01T02-00-00Z',
      '2026-01-02T02-00-00Z',
      '2026-01-03T02-00-00Z incomplete',
      '2030-01-01T02-00-00Z',
    ],
    ['2025-01-01', '2026-01-02', '2026-01-03', '2030-01-01'],
  ],
  // 2026-12-28 is the Monday of week 53; 2027-01-04 that of week 1.
  [
    'week 53 as one week over the year’s end',
    'weekly=2',
    ['every 1d from 2026-12-26T02-00-00Z to 2027-01-05T02-00-00Z'],
    ['2027-01-03', '2027-01-05'],
  ],
];

describe('decideRetention(), worked out by hand', () => {
  for (const [what, policy, history, kept] of BY_HAND)
    it(`keeps ${what}`, () => {
      const now = new Date('2027-01-05T12:00:00Z');
      const found = decideRetention(history.flatMap(parseHistory), parsePolicy(policy), now);
      assert.deepEqual(
        found.filter(each => each.keep).map(each => each.name),
        kept.map(day => `${day}T02-00-00Z`),
      );
    });

  it('keeps by the day that the zone has, and by each hour that its clock shows', () => {
    // Berlin goes back from 03:00 (+02:00) to 02:00 (+01:00) on 25 October 2026, at 01:00 UTC.
    const names = [
      '2026-10-24T21-30-00Z',
      '2026-10-24T22-30-00Z',
      '2026-10-25T00-30-00Z',
      '2026-10-25T01-30-00Z',
    ];
    const policy = parsePolicy('hourly=3 daily=2 zone=Europe/Berlin');
    const found = decideRetention(names.flatMap(parseHistory), policy, new Date('2026-10-25T06:00:00Z'));
    assert.deepEqual(
      found.map(each => each.reasons),
      [
        ['daily 2026-10-24'],
        ['hourly 2026-10-25T00+02'],
        ['hourly 2026-10-25T02+02'],
        ['hourly 2026-10-25T02+01', 'daily 2026-10-25', wording('the-last-full-one')],
      ],
    );
  });

  it('goes by the zone of the machine where none is named', t => {
    const { TZ } = process.env;
    t.after(() => {
      if (TZ === undefined) delete process.env.TZ;
      else process.env.TZ = TZ;
    });
    process.env.TZ = 'Asia/Kolkata';
    const history = parseHistory('every 1h from 2026-10-24T00-30-00Z to 2026-10-26T00-30-00Z');
    const decided = (zone: string | undefined): unknown =>
      decideRetention(
        history,
        { ...parsePolicy('hourly=3 daily=2'), zone },
        new Date('2026-10-26T06:00:00Z'),
      );
    assert.deepEqual(decided(undefined), decided('Asia/Kolkata'));
    assert.notDeepEqual(decided(undefined), decided('UTC'));
  });
});

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Australia/Lord_Howe',
  'Asia/Kolkata',
  'Pacific/Apia',
  'America/Sao_Paulo',
];
const count = fc.oneof(fc.constant(0), fc.nat(6));
const anyPolicy: fc.Arbitrary<Policy> = fc.record({
  ...{
    last: count,
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    minKeep: count,
  },
  minAgeMs: fc.constantFrom(0, 3_600_000, 40 * 86_400_000),
  givesRoom: fc.boolean(),
  zone: fc.constantFrom(...ZONES),
});
const START = Date.UTC(2009, 9, 1);
const anyMoment = fc.oneof(
  fc.nat(3 * 86_400).map(seconds => START + seconds * 1000),
  fc.nat(900 * 24).map(hours => START + hours * 3_600_000),
);
const anyHistory: fc.Arbitrary<Candidate[]> = fc.uniqueArray(
  fc.record({
    name: anyMoment.map(time => snapshotName(new Date(time))),
    state: fc.constantFrom('full' as const, 'full' as const, 'incomplete' as const),
    isPinned: fc.nat(9).map(chance => chance === 0),
  }),
  { selector: each => each.name, maxLength: 60, size: 'max' },
);
const anyNow = fc.oneof(anyMoment, fc.constant(START + 1000 * 86_400_000)).map(time => new Date(time));
const RULES = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
const OPTIONS = { seed: 5, numRuns: 400 };

const keptOf = (snapshots: Candidate[], policy: Policy, now: Date): Set<string> =>
  new Set(
    decideRetention(snapshots, policy, now)
      .filter(each => each.keep)
      .map(each => each.name),
  );

describe('decideRetention(), whatever the history', () => {
  it('answers for each one once, in the order of names, with a reason', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, (snapshots, policy, now) => {
        const found = decideRetention(snapshots, policy, now);
        assert.deepEqual(
          found.map(each => each.name),
          snapshots.map(each => each.name).sort(),
        );
        for (const each of found)
          assert.ok(each.reasons.length > 0 && each.reasons.every(one => one.length < 40));
      }),
      OPTIONS,
    );
  });

  it('does not go by the order in which they are given', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, fc.nat(), (snapshots, policy, now, turn) => {
        const turned = snapshots.slice(turn % (snapshots.length + 1));
        const other = [...turned, ...snapshots.slice(0, snapshots.length - turned.length)].reverse();
        assert.deepEqual(decideRetention(other, policy, now), decideRetention(snapshots, policy, now));
      }),
      OPTIONS,
    );
  });

  it('decides the same of what it keeps: removing all or a part of the rest changes nothing', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, fc.nat(), (snapshots, policy, now, mask) => {
        const first = decideRetention(snapshots, policy, now);
        const kept = first.filter(each => each.keep);
        for (const bits of [0, mask]) {
          // Some of those that are to be removed are still there.
          const rest = first.filter((each, at) => each.keep || (bits >> (at % 31)) & 1);
          const left = snapshots.filter(each => rest.some(one => one.name === each.name));
          assert.deepEqual(
            decideRetention(left, policy, now).filter(each => each.keep),
            kept,
          );
        }
      }),
      OPTIONS,
    );
  });

  it('keeps more with larger numbers, where there is a rule before', () => {
    fc.assert(
      fc.property(
        anyHistory,
        anyPolicy,
        anyNow,
        fc.constantFrom(...RULES, 'minKeep' as const, 'minAgeMs' as const),
        (snapshots, policy, now, key) => {
          fc.pre(RULES.some(rule => policy[rule] > 0)); // without a rule all are kept already
          const more = keptOf(snapshots, { ...policy, [key]: policy[key] + 1 }, now);
          for (const name of keptOf(snapshots, policy, now)) assert.ok(more.has(name), name);
        },
      ),
      OPTIONS,
    );
  });

  it('brings none back with a newer one, whatever that is', () => {
    fc.assert(
      fc.property(
        anyHistory,
        anyPolicy,
        fc.boolean(),
        fc.nat(10_000),
        (snapshots, policy, isFull, minutes) => {
          const newest = Math.max(START, ...snapshots.map(each => at(each.name).getTime()));
          const now = new Date(newest + minutes * 60_000 + 1000);
          const fresh: Candidate = {
            name: snapshotName(now),
            state: isFull ? 'full' : 'incomplete',
            isPinned: false,
          };
          const after = keptOf([...snapshots, fresh], policy, now);
          for (const each of decideRetention(snapshots, policy, now))
            if (!each.keep) assert.ok(!after.has(each.name), each.name);
        },
      ),
      OPTIONS,
    );
  });

  it('drops no full one for an incomplete one, at any time', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, (snapshots, policy, now) => {
        const full = snapshots.filter(each => each.state === 'full');
        const kept = keptOf(snapshots, policy, now);
        for (const name of keptOf(full, policy, now)) assert.ok(kept.has(name), name);
      }),
      OPTIONS,
    );
  });

  it('never lets go the last full one, a pinned one, one under min_age or within min_keep, a future one', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, (snapshots, policy, now) => {
        const past = snapshots
          .filter(each => at(each.name) <= now)
          .sort((a, b) => (a.name < b.name ? 1 : -1));
        const full = past.filter(each => each.state === 'full');
        const floor = new Set([
          ...full.slice(0, Math.max(1, policy.minKeep)),
          ...snapshots.filter(each => each.isPinned || at(each.name) > now),
          ...past.filter(each => now.getTime() - at(each.name).getTime() < policy.minAgeMs),
          ...past.slice(0, policy.minKeep),
        ]);
        for (const each of decideRetention(snapshots, policy, now)) {
          if (![...floor].some(one => one.name === each.name)) continue;
          assert.ok(each.keep && !each.mayGoAtLowWater, each.name);
        }
      }),
      OPTIONS,
    );
  });

  it('lets nothing go at low water that a rule wants', () => {
    fc.assert(
      fc.property(anyHistory, anyPolicy, anyNow, (snapshots, policy, now) => {
        const hasRule = RULES.some(rule => policy[rule] > 0);
        for (const each of decideRetention(snapshots, policy, now)) {
          assert.ok(each.keep || each.mayGoAtLowWater);
          if (hasRule) assert.equal(each.mayGoAtLowWater, !each.keep);
          else assert.ok(each.keep && (policy.givesRoom || !each.mayGoAtLowWater));
        }
      }),
      OPTIONS,
    );
  });
});

describe('isZone()', () => {
  it('knows the zones of the IANA database, and no others', () => {
    for (const zone of ZONES) assert.ok(isZone(zone), zone);
    for (const zone of ['', 'Berlin', 'Europe/Berlin2', '../UTC', 'Europe/Berlin\n'])
      assert.ok(!isZone(zone), zone);
  });
});
