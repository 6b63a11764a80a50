/** host.toml: the store, retention, and the limits of requests, for all clients and for single ones. */
import * as v from 'valibot';
import { hasJail } from '../os/launcher.ts';
import { hostHooksTable } from '../shared/hooks.ts';
import { journalTable, useJournalTable } from '../shared/journal-table.ts';
import {
  countOrPercentKey,
  durationKey,
  pathKey,
  readConfig,
  schemaKey,
  sizeKey,
  sizeOrPercentKey,
} from '../shared/toml.ts';
import { useCacheDir } from '../store/cache-place.ts';
import { isZone } from '../store/retention.ts';
import type { ClientSettings, StoreSettings } from '../store/settings.ts';
import { NAME } from '../wire/text.ts';

/** The longest duration that no timer waits for: a hundred years. */
const MAX_SPAN_MS = 36_525 * 86_400_000;
const MAX_KEPT = 100_000;
/** The defaults of min_keep and min_age. An attack consists of one day's runs. */
const MIN_KEEP = 3;
const MIN_AGE_MS = 86_400_000;
const MAX_RATE = 1_000_000_000;
const MAX_CONCURRENT = 1000;
/** The default of max_concurrent. A few fast clients use the disk completely; more of them only make it seek. */
const CONCURRENT = 4;

const kept = v.pipe(
  v.number(),
  v.check(
    number => Number.isInteger(number) && number >= 0 && number <= MAX_KEPT,
    `should be a whole number from 0 to ${MAX_KEPT}`,
  ),
);
/** Directory entries per second. */
const rate = v.pipe(
  v.number(),
  v.check(
    number => Number.isInteger(number) && number >= 0 && number <= MAX_RATE,
    `should be a whole number from 0 to ${MAX_RATE}`,
  ),
);
/** Simultaneous runs of all clients. */
const concurrent = v.pipe(
  v.number(),
  v.check(
    number => Number.isInteger(number) && number >= 1 && number <= MAX_CONCURRENT,
    `should be a whole number from 1 to ${MAX_CONCURRENT}`,
  ),
);
const span = durationKey(0, MAX_SPAN_MS);
const maxAge = durationKey(1000, MAX_SPAN_MS);
const growthBudget = sizeOrPercentKey({ isPositive: true });
const maxSize = v.pipe(sizeKey, v.minValue(1, 'should be more than 0'));
/** The default of max_path_bytes, for 20 million names of 100 bytes. The size of manifest, index and sort(1) grows with it. */
const MAX_PATH_BYTES = '2G';
const deadline = durationKey(1000);
const idleTimeout = durationKey(1000);
const timezone = v.pipe(
  v.string(),
  v.check(isZone, 'should be a time zone such as "Europe/Berlin" or "UTC"'),
);

const RULES = {
  last: v.optional(kept),
  hourly: v.optional(kept),
  daily: v.optional(kept),
  weekly: v.optional(kept),
  monthly: v.optional(kept),
  yearly: v.optional(kept),
};
type Rules = { [Rule in keyof typeof RULES]?: number | undefined };

const numbersOf = (rules: Rules): number[] => [
  ...[rules.last, rules.hourly, rules.daily, rules.weekly, rules.monthly, rules.yearly].filter(
    each => each !== undefined,
  ),
];

/** Rules that are all 0 can mean "keep nothing" or "keep all", so they are refused. */
function isDecided(rules: Rules): boolean {
  const numbers = numbersOf(rules);
  return numbers.length === 0 || numbers.some(each => each > 0);
}
const UNDECIDED = 'has rules that keep nothing: omit them to keep all';

const OVERRIDES = v.strictObject({
  max_age: v.optional(maxAge),
  retention: v.optional(
    v.strictObject({
      ...RULES,
      min_keep: v.optional(kept),
      min_age: v.optional(span),
      timezone: v.optional(timezone),
    }),
    {},
  ),
  space: v.optional(
    v.strictObject({
      growth_budget: v.optional(growthBudget),
      max_path_bytes: v.optional(sizeKey),
      max_size: v.optional(maxSize),
    }),
    {},
  ),
  requests: v.optional(
    v.strictObject({
      min_interval: v.optional(span),
      deadline: v.optional(deadline),
      idle_timeout: v.optional(idleTimeout),
    }),
    {},
  ),
});

/** Keys that valibot's record() silently ignores. */
const IGNORED_KEYS = ['constructor', 'prototype', '__proto__'];

const CONFIG = v.pipe(
  v.strictObject({
    schema: v.optional(schemaKey, 1),
    store: pathKey,
    cache_dir: v.optional(pathKey),
    metadata: v.optional(v.picklist(['fake-super'], 'should be "fake-super"'), 'fake-super'),
    account_client: v.optional(v.pipe(v.string(), v.regex(NAME, 'should be the name of a client'))),
    syslog: v.optional(v.boolean(), true),
    confined: v.optional(v.boolean()),
    max_age: v.optional(maxAge),
    retention: v.optional(
      v.pipe(
        v.strictObject({
          ...RULES,
          min_keep: v.optional(kept),
          min_age: v.optional(span),
          timezone: v.optional(timezone),
        }),
        v.check(retention => isDecided(retention), UNDECIDED),
      ),
      {},
    ),
    space: v.optional(
      v.strictObject({
        min_free: v.optional(sizeOrPercentKey({ isBelowAll: true }), '2%'),
        min_inodes: v.optional(countOrPercentKey({ isBelowAll: true }), '2%'),
        growth_budget: v.optional(growthBudget),
        max_path_bytes: v.optional(sizeKey, MAX_PATH_BYTES),
        max_size: v.optional(maxSize),
        delete_rate: v.optional(rate, 0),
        link_moved: v.optional(v.boolean(), true),
      }),
      {},
    ),
    requests: v.optional(
      v.strictObject({
        min_interval: v.optional(span, '0s'),
        deadline: v.optional(deadline, '24h'),
        idle_timeout: v.optional(idleTimeout, '5m'),
        max_concurrent: v.optional(concurrent, CONCURRENT),
      }),
      {},
    ),
    hooks: v.optional(hostHooksTable, {}),
    journal: v.optional(journalTable, {}),
    client: v.optional(
      v.pipe(
        v.unknown(),
        // Refuse these names, so that no limit in the config is without effect.
        v.check(
          clients => !IGNORED_KEYS.some(name => Object.hasOwn(Object(clients), name)),
          `cannot hold a client called ${IGNORED_KEYS.map(name => `"${name}"`).join(' or ')}`,
        ),
        v.record(v.pipe(v.string(), v.regex(NAME, 'is not the name of a client')), OVERRIDES),
      ),
      {},
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { value } = dataset;
    for (const [name, own] of Object.entries(value.client)) {
      if (isDecided({ ...value.retention, ...own.retention })) continue;
      addIssue({
        message: UNDECIDED,
        path: [
          { type: 'object', origin: 'value', input: value, key: 'client', value: value.client },
          { type: 'object', origin: 'value', input: value.client, key: name, value: own },
          { type: 'object', origin: 'value', input: own, key: 'retention', value: own.retention },
        ],
      });
    }
  }),
);

export type HostConfig = v.InferOutput<typeof CONFIG>;

/** The schema of host.toml. */
export const HOST_SCHEMA = CONFIG;

/** Reads host.toml. @throws Fault `usage` that names the file, and the key if one is wrong */
export function readHostConfig(path: string): HostConfig {
  const config = readConfig(path, CONFIG, 'host.toml');
  useJournalTable(config.journal);
  useCacheDir(config.store, config.cache_dir);
  return config;
}

const OPEN =
  '# rsync runs without a jail: the launcher belongs to another account, or this kernel has no Landlock.';

/**
 * The text of the host.toml that `enroll` writes. Pure.
 * @param isConfined whether rsync must run in the launcher's jail
 * @param isOpen whether it must not, since the launcher is installed but cannot be used
 */
export function hostToml(store: string, isConfined: boolean, isOpen = false): string {
  return [
    '# host.toml, as `dialback enroll` wrote it. It has more keys: share/host.toml names each, with its default.',
    `store = ${JSON.stringify(store)}`, // JSON's strings are TOML's
    ...(isConfined ? ['confined = true'] : []),
    ...(isOpen ? [OPEN, 'confined = false'] : []),
    '',
  ].join('\n');
}

/** @param client a client's name @returns its settings: its own, or those for all clients */
export function settingsFor(config: HostConfig, client: string): ClientSettings {
  const own = Object.hasOwn(config.client, client) ? config.client[client] : undefined;
  const retention = { ...config.retention, ...own?.retention };
  const { min_keep: minKeep, min_age: minAgeMs } = retention;
  const { last = 0, hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0 } = retention;
  return {
    policy: {
      ...{ last, hourly, daily, weekly, monthly, yearly },
      minKeep: minKeep ?? MIN_KEEP,
      minAgeMs: minAgeMs ?? MIN_AGE_MS,
      // Without min_keep and min_age, a lack of space removes no snapshot.
      givesRoom: (minKeep ?? minAgeMs) !== undefined,
      zone: retention.timezone,
    },
    minFree: config.space.min_free,
    minInodes: config.space.min_inodes,
    growthBudget: own?.space.growth_budget ?? config.space.growth_budget,
    maxPathBytes: own?.space.max_path_bytes ?? config.space.max_path_bytes,
    maxSize: own?.space.max_size ?? config.space.max_size,
    minIntervalMs: own?.requests.min_interval ?? config.requests.min_interval,
    deadlineMs: own?.requests.deadline ?? config.requests.deadline,
    maxAgeMs: own?.max_age ?? config.max_age,
    idleMs: own?.requests.idle_timeout ?? config.requests.idle_timeout,
  };
}

/** The defaults that host.toml's schema does not have, by the path of the key, as they would be written in the file. */
export function hostDefaults(): Map<string, unknown> {
  return new Map<string, unknown>([
    ['confined', hasJail()],
    ['retention.min_keep', MIN_KEEP],
    ['retention.min_age', `${MIN_AGE_MS / 86_400_000}d`],
    ['retention.timezone', Intl.DateTimeFormat().resolvedOptions().timeZone],
  ]);
}

/** @returns the settings that the commands of the store need */
export function storeSettings(config: HostConfig): StoreSettings {
  return {
    store: config.store,
    deleteRate: config.space.delete_rate,
    settingsFor: client => settingsFor(config, client),
  };
}
