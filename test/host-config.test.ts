import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { HOST_SCHEMA, settingsFor } from '../src/host/config.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { matching, says } from './support/wording.ts';

const REFUSED: [text: string, found: RegExp][] = [
  ['', /^"store" is missing$/],
  ['store = 1', /^"store" is 1, and should be a string$/],
  ['store = "backups"', matching`^"store" ${says('should-be-an-absolute-path')}`],
  ['store = ""', matching`^"store" ${says('should-be-an-absolute-path')}`],
  ['store = "/a\\u0000"', matching`^"store" ${says('has-a-control-character')}$`],
  ['store = "/s"\nsyslog = "no"', /^"syslog" is "no", and should be true or false$/],
  ['store = "/s"\nmetadata = "real"', /^"metadata" is "real", and should be "fake-super"$/],
  ['store = "/s"\nStore = "/t"', /^unknown key "Store" \(did you mean "store"\?\)$/],
  ['store = "/s"\n[journal]\nmax_size = "1K"', matching`^"journal\.max_size" ${says('should-be-from-64k')}$`],
  [
    'store = "/s"\n[journal]\nmax_size = "65M"',
    matching`^"journal\.max_size" ${says('should-be-from-64k')}$`,
  ],
  ['store = "/s"\n[journal]\nkeep = "1h"', matching`^"journal\.keep" ${says('should-be-at-least')} 86400 s`],
  ['store = "/s"\n[client.a.journal]\nkeep = "1d"', /^unknown key "journal"|client\.a\.journal/],
  ['store = "/s"\nmax_age = "0s"', matching`^"max_age" ${says('should-be-at-least')} 1 s`],
  ['store = "/s"\n[client.a]\nmax_age = 3', /^"client\.a\.max_age" is 3, and should be a string$/],
  ['store = "/s"\nrequests = 1', /^"requests" is 1, and should be a table$/],
  ['store = "/s"\n[requests]\ndeadline = 5', /^"requests\.deadline" is 5, and should be a string$/],
  [
    'store = "/s"\n[requests]\ndeadline = "x"',
    matching`^"requests\.deadline" ${says('should-be-a-time-such')}`,
  ],
  [
    'store = "/s"\n[requests]\nidle_timeout = "10ms"',
    matching`^"requests\.idle_timeout" ${says('should-be-at-least')} 1 s`,
  ],
  [
    'store = "/s"\n[requests]\ndeadline = "10ms"',
    matching`^"requests\.deadline" ${says('should-be-at-least')} 1 s`,
  ],
  [
    'store = "/s"\n[requests]\nmin_interval = "1 h"',
    matching`^"requests\.min_interval" ${says('should-be-a-time-such')}`,
  ],
  [
    'store = "/s"\n[requests]\nmin_interval = "99999w"',
    matching`^"requests\.min_interval" ${says('should-be-at-least')} 0 s and`,
  ],
  ['store = "/s"\n[requests]\nmax_concurrent = "4"', /^"requests\.max_concurrent" is "4", and should be a/],
  [
    'store = "/s"\n[requests]\nmax_concurrent = 0',
    matching`^"requests\.max_concurrent" ${says('should-be-a-whole-number')}`,
  ],
  [
    'store = "/s"\n[requests]\nmax_concurrent = -1',
    matching`^"requests\.max_concurrent" ${says('should-be-a-whole-number')}`,
  ],
  [
    'store = "/s"\n[requests]\nmax_concurrent = 1.5',
    matching`^"requests\.max_concurrent" ${says('should-be-a-whole-number')}`,
  ],
  [
    'store = "/s"\n[requests]\nmax_concurrent = 1001',
    matching`^"requests\.max_concurrent" ${says('should-be-a-whole')}`,
  ],
  [
    'store = "/s"\n[client.a.requests]\nmax_concurrent = 1',
    /^unknown key "client\.a\.requests\.max_concurrent"$/,
  ],
  ['store = "/s"\n[hooks]\nafter = "x"', matching`^"hooks.after" ${says('should-be-an-absolute-path-or')}`],
  ['store = "/s"\n[space]\nmin_free = 1', /^"space\.min_free" is 1, and should be a string$/],
  ['store = "/s"\n[space]\nmin_free = "1GB"', matching`^"space\.min_free" ${says('should-be-a-size-such')}`],
  ['store = "/s"\n[space]\nmin_free = "-1%"', matching`^"space\.min_free" ${says('should-be-a-size-such')}`],
  [
    'store = "/s"\n[space]\nmin_free = "100%"',
    matching`^"space\.min_free" ${says('should-be-less-than-100')}$`,
  ],
  [
    'store = "/s"\n[space]\nmin_free = "101%"',
    matching`^"space\.min_free" ${says('should-be-less-than-100')}$`,
  ],
  [
    'store = "/s"\n[space]\nmin_inodes = "5"',
    matching`^"space\.min_inodes" ${says('should-be-a-whole-number-or')}`,
  ],
  [
    'store = "/s"\n[space]\nmin_inodes = 1.5',
    matching`^"space\.min_inodes" ${says('should-be-a-whole-number-or')}`,
  ],
  [
    'store = "/s"\n[space]\nmin_inodes = -1',
    matching`^"space\.min_inodes" ${says('should-be-a-whole-number-or')}`,
  ],
  [
    'store = "/s"\n[space]\nmin_inodes = true',
    matching`^"space\.min_inodes" ${says('should-be-a-whole-number-or')}`,
  ],
  [
    'store = "/s"\n[space]\nmin_inodes = "100%"',
    matching`^"space\.min_inodes" ${says('should-be-less-than-100')}$`,
  ],
  [
    'store = "/s"\n[space]\ngrowth_budget = "101%"',
    matching`^"space\.growth_budget" ${says('should-be-at-most-100')}$`,
  ],
  [
    'store = "/s"\n[space]\ngrowth_budget = "0%"',
    matching`^"space\.growth_budget" ${says('should-be-more-than-0')}$`,
  ],
  [
    'store = "/s"\n[space]\ngrowth_budget = "0"',
    matching`^"space\.growth_budget" ${says('should-be-more-than-0')}$`,
  ],
  ['store = "/s"\n[space]\nmax_size = "0"', matching`^"space\.max_size" ${says('should-be-more-than-0')}$`],
  [
    'store = "/s"\n[space]\nmax_path_bytes = "5%"',
    matching`^"space\.max_path_bytes" ${says('should-be-a-size')}`,
  ],
  ['store = "/s"\n[retention]\nlast = "3"', /^"retention\.last" is "3", and should be a number$/],
  [
    'store = "/s"\n[retention]\nlast = 1.5',
    matching`^"retention\.last" ${says('should-be-a-whole-number-from-0')}`,
  ],
  [
    'store = "/s"\n[retention]\nlast = -1',
    matching`^"retention\.last" ${says('should-be-a-whole-number-from-0')}`,
  ],
  ['store = "/s"\n[retention]\nlast = nan', /^"retention\.last" is NaN, and should be a number$/],
  [
    'store = "/s"\n[retention]\nlast = 100001',
    matching`^"retention\.last" ${says('should-be-a-whole-number-from-0')}`,
  ],
  [
    'store = "/s"\n[retention]\nhourly = 0\ndaily = 0',
    matching`^"retention" ${says('has-rules-that-keep-nothing')}`,
  ],
  ['store = "/s"\n[retention]\nquarterly = 1', /^unknown key "retention\.quarterly"$/],
  [
    'store = "/s"\n[retention]\ntimezone = "Berlin"',
    matching`^"retention\.timezone" ${says('should-be-a-time-zone')}`,
  ],
  ['store = "/s"\n[client]\na = 1', /^"client\.a" is 1, and should be a table$/],
  ['store = "/s"\n[client."A"]', matching`^"client\.A" ${says('is-not-the-name-of')}$`],
  ['store = "/s"\n[client."../a"]', matching`^"client\.\.\.\/a" ${says('is-not-the-name-of')}$`],
  // valibot's record() would pass over these without a word.
  [
    'store = "/s"\n[client.constructor]',
    matching`^"client" ${says('cannot-hold-a-client-called')} "constructor" or`,
  ],
  [
    'store = "/s"\n[client."__proto__"]',
    matching`^"client" ${says('cannot-hold-a-client-called')} "constructor" or`,
  ],
  ['store = "/s"\n[client."a"]\nx = 1', /^unknown key "client\.a\.x"$/],
  [
    'store = "/s"\n[space]\ndelete_rate = -1',
    matching`^"space\.delete_rate" ${says('should-be-a-whole-number-from')}`,
  ],
  ['store = "/s"\n[space]\ndelete_rate = "5"', /^"space\.delete_rate" is "5", and should be a number$/],
  ['store = "/s"\n[client."a".space]\nmin_free = "1G"', /^unknown key "client\.a\.space\.min_free"/],
  [
    'store = "/s"\n[client."a".retention]\ndaily = -1',
    matching`^"client\.a\.retention\.daily" ${says('should-be-a-whole')}`,
  ],
  [
    'store = "/s"\n[retention]\ndaily = 1\n[client."a".retention]\ndaily = 0',
    matching`^"client\.a\.retention" ${says('has-rules-that-keep-nothing')}`,
  ],
];

describe('HOST_SCHEMA', () => {
  for (const [text, found] of REFUSED)
    it(`refuses ${JSON.stringify(text)} by its key`, () =>
      assert.throws(
        () => parseConfig(text, 'host.toml', HOST_SCHEMA),
        error =>
          error instanceof Fault &&
          error.exit === 'usage' &&
          found.test(error.found.replace(/^line \d+: /, '')),
      ));
  it('has a value for everything but the store', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parseConfig('store = "/s"', 'host.toml', HOST_SCHEMA))), {
      schema: 1,
      store: '/s',
      metadata: 'fake-super',
      syslog: true,
      retention: {},
      space: {
        min_free: { percent: 2 },
        min_inodes: { percent: 2 },
        max_path_bytes: 2 * 1024 ** 3,
        delete_rate: 0,
        link_moved: true,
      },
      requests: { min_interval: 0, deadline: 86_400_000, idle_timeout: 300_000, max_concurrent: 4 },
      hooks: { timeout: 600_000 },
      journal: { max_size: 4 * 1024 ** 2, keep: 400 * 86_400_000 },
      client: {},
    });
  });

  it('takes spans that are longer than any timer, and quantities of both kinds', () => {
    const config = parseConfig(
      [
        'store = "/s"',
        '[retention]\nmin_age = "400d"\nlast = 0\ndaily = 7',
        '[space]\nmin_free = "0"\nmin_inodes = 20000\ngrowth_budget = "2.5%"\ndelete_rate = 5000\nlink_moved = false',
        '[requests]\nmin_interval = "52w"',
      ].join('\n'),
      'host.toml',
      HOST_SCHEMA,
    );
    assert.equal(config.retention.min_age, 400 * DAY_MS);
    assert.deepEqual(config.space, {
      min_free: { count: 0 },
      min_inodes: { count: 20_000 },
      growth_budget: { percent: 2.5 },
      max_path_bytes: 2 * 1024 ** 3,
      delete_rate: 5000,
      link_moved: false,
    });
    assert.equal(config.requests.min_interval, 364 * DAY_MS);
  });
});

const DAY_MS = 86_400_000;

describe('settingsFor()', () => {
  const config = parseConfig(
    [
      'store = "/s"\nmax_age = "36h"',
      '[retention]\nlast = 2\ndaily = 7\nmin_keep = 5\nmin_age = "2d"\ntimezone = "Europe/Berlin"',
      '[space]\nmin_free = "1G"\ngrowth_budget = "10%"\nmax_size = "500G"',
      '[requests]\nmin_interval = "20h"',
      '[client."a"]\nmax_age = "1w"',
      '[client."a".retention]\ndaily = 0\nyearly = 3\nmin_keep = 0\ntimezone = "Asia/Kolkata"',
      '[client."a".space]\ngrowth_budget = "5M"\nmax_size = "1T"\nmax_path_bytes = "1M"',
      '[client."a".requests]\nmin_interval = "0s"\ndeadline = "2h"\nidle_timeout = "30s"',
      '[client."b.c"]',
    ].join('\n'),
    'host.toml',
    HOST_SCHEMA,
  );
  const forAll = {
    policy: {
      ...{ last: 2, hourly: 0, daily: 7, weekly: 0, monthly: 0, yearly: 0 },
      ...{ minKeep: 5, minAgeMs: 2 * DAY_MS, givesRoom: true, zone: 'Europe/Berlin' },
    },
    minFree: { count: 1024 ** 3 },
    minInodes: { percent: 2 },
    growthBudget: { percent: 10 },
    maxPathBytes: 2 * 1024 ** 3,
    maxSize: 500 * 1024 ** 3,
    minIntervalMs: 20 * 3_600_000,
    deadlineMs: DAY_MS,
    idleMs: 300_000,
    maxAgeMs: 129_600_000,
  };

  it('gives what holds for all where a client has nothing of its own', () => {
    for (const name of ['b.c', 'nobody', 'toString', 'constructor'])
      assert.deepEqual(settingsFor(config, name), forAll);
  });

  it("puts a client's own before that, key by key", () => {
    assert.deepEqual(settingsFor(config, 'a'), {
      policy: { ...forAll.policy, daily: 0, yearly: 3, minKeep: 0, zone: 'Asia/Kolkata' },
      minFree: forAll.minFree,
      minInodes: forAll.minInodes,
      growthBudget: { count: 5 * 1024 ** 2 },
      maxPathBytes: 1024 ** 2,
      maxSize: 1024 ** 4,
      minIntervalMs: 0,
      deadlineMs: 7_200_000,
      idleMs: 30_000,
      maxAgeMs: 604_800_000,
    });
  });

  it('names no zone, and no budget, where none is named', () => {
    const plain = parseConfig('store = "/s"', 'host.toml', HOST_SCHEMA);
    assert.equal(settingsFor(plain, 'a').policy.zone, undefined);
    assert.equal(settingsFor(plain, 'a').growthBudget, undefined);
  });
});
