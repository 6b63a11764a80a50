/** The metrics of `dialback metrics`, made from the overview. Pure. */
import type { ClientOverview, Overview } from '../store/overview.ts';
import type { Level } from '../store/problems.ts';
import { escapeText, snapshotTime } from '../wire/text.ts';
import type { Metric, Sample } from './open-metrics.ts';

/** The characters of a label that holds text from a record or a journal. */
const LABEL_LENGTH = 100;
const LEVELS: Record<Level, number> = { ok: 0, warning: 1, critical: 2 };

const safe = (text: string): string => escapeText(text, LABEL_LENGTH);
const secondsOf = (ms: number): number => Math.round(ms) / 1000;
const secondsAt = (time: string): number => secondsOf(Date.parse(time));

/** A value of a client: a number, or several with labels of their own; null: there is no sample. */
type Value = number | null | { labels: Record<string, string>; value: number }[];
type Row = [name: string, help: string, value: (client: ClientOverview) => Value];

const CLIENT: Row[] = [
  ['level', 'The state of a client: 0 ok, 1 warning, 2 critical.', ({ level }) => LEVELS[level]],
  [
    'problem',
    'A problem of a client, by its code and level.',
    ({ problems }) => {
      const worst = new Map(problems.toReversed().map(each => [each.code, each.level]));
      return [...worst].map(([code, level]) => ({ labels: { code, level }, value: 1 }));
    },
  ],
  [
    'silent',
    'Whether a client has had no full backup for its max_age.',
    ({ silent }) => (silent === null ? 0 : 1),
  ],
  ['max_age_seconds', "The client's max_age.", ({ max_age_ms: ms }) => (ms === null ? null : secondsOf(ms))],
  ['retired', 'Whether a client is unenrolled.', ({ retired }) => (retired === null ? 0 : 1)],
  ['kept', 'Whether all its snapshots stay, whatever the rules say.', ({ kept }) => (kept === null ? 0 : 1)],
  [
    'kept_until_timestamp_seconds',
    'Until when they stay.',
    ({ kept }) => (kept?.until == null ? null : timeOrNull(kept.until)),
  ],
  [
    'snapshots',
    'Finished snapshots of a client.',
    ({ snapshots, incomplete }) => [
      { labels: { state: 'full' }, value: snapshots - incomplete },
      { labels: { state: 'incomplete' }, value: incomplete },
    ],
  ],
  ['pinned_snapshots', 'Snapshots that are pinned.', ({ pinned }) => pinned],
  [
    'last_full_timestamp_seconds',
    'The start of the run that made the newest full snapshot.',
    ({ last_full: full }) => (full === null ? null : secondsAt(full.at)),
  ],
  ['last_full_bytes', 'The bytes of its files.', ({ last_full: full }) => full?.bytes ?? null],
  ['last_full_new_bytes', 'The bytes that it added.', ({ last_full: full }) => full?.new_bytes ?? null],
  ['last_full_files', 'The number of its files.', ({ last_full: full }) => full?.files ?? null],
  [
    'last_full_duration_seconds',
    'How long its run took.',
    ({ last_full: full }) => (full?.duration_ms == null ? null : secondsOf(full.duration_ms)),
  ],
  [
    'newest_flag',
    'A flag of the newest snapshot.',
    ({ newest }) => [...new Set(newest?.flags.map(safe))].map(flag => ({ labels: { flag }, value: 1 })),
  ],
  [
    'last_contact_timestamp_seconds',
    'When the client last called, with any result.',
    ({ last_contact: at }) => (at === null ? null : timeOrNull(at)),
  ],
  [
    'last_run',
    'When the last run or refused request ended, by its outcome and code.',
    ({ last_run: run }) => {
      const at = run === null ? null : timeOrNull(run.at);
      if (run === null || at === null) return null;
      return [{ labels: { outcome: run.outcome, code: safe(run.code ?? '') }, value: at }];
    },
  ],
  ['failures', 'Failed runs since the last snapshot.', ({ failures }) => failures?.count ?? 0],
  ['held_bytes', 'The disk space of all snapshots of a client.', ({ held }) => held?.bytes ?? null],
  ['held_inodes', 'The inodes of all snapshots of a client.', ({ held }) => held?.inodes ?? null],
  [
    'verified_timestamp_seconds',
    'When a snapshot of the client was last verified.',
    ({ last_verify: verified }) => (verified === null ? null : timeOrNull(verified.at)),
  ],
  [
    'damaged_files',
    'The damaged files of the last verification.',
    ({ last_verify: verified }) => verified?.damaged ?? null,
  ],
  [
    'drill_success_timestamp_seconds',
    'When a drill last gave everything back.',
    ({ last_drill: drill }) => (drill?.succeeded == null ? null : timeOrNull(drill.succeeded)),
  ],
  [
    'next_removal_timestamp_seconds',
    'When the rules remove the next snapshot.',
    ({ next_removal: next }) => (next === null ? null : secondsAt(next.at)),
  ],
  [
    'next_removal_snapshot_timestamp_seconds',
    'The start of the run that made that snapshot.',
    ({ next_removal: next }) =>
      next === null ? null : secondsOf(snapshotTime(next.snapshot)?.getTime() ?? 0),
  ],
];

/** The seconds of a time that stands in a file; null if it is none. */
function timeOrNull(time: string): number | null {
  const seconds = secondsAt(time);
  return Number.isFinite(seconds) ? seconds : null;
}

/** @param version the program's @returns the metrics in a fixed order */
export function overviewMetrics(overview: Overview, version: string): Metric[] {
  const { at, problems, disk, clients } = overview;
  const store = safe(overview.store);
  const { forecast } = disk;
  const one = (name: string, help: string, value: number | null, labels = {}): Metric => ({
    name: `dialback_${name}`,
    help,
    samples: value === null ? [] : [{ labels: { store, ...labels }, value }],
  });
  return [
    one('info', 'The version of dialback.', 1, { version: safe(version) }),
    one('overview_timestamp_seconds', 'When these metrics were made.', secondsAt(at)),
    one('store_bytes', "The size of the store's file system.", disk.total_bytes),
    one('store_free_bytes', 'Its free space.', disk.free_bytes),
    one('store_min_free_bytes', 'The free space that must stay free.', disk.min_free_bytes),
    one('store_inodes', 'Its inodes; 0 if it makes them as needed.', disk.total_inodes),
    one('store_free_inodes', 'Its free inodes.', disk.free_inodes),
    one(
      'store_growth_bytes_per_day',
      'How much the store grows in a day.',
      forecast?.growth_bytes_per_day ?? null,
    ),
    one(
      'store_days_until_full',
      'Days until the free space that must stay free is reached.',
      forecast?.days_until_full ?? null,
    ),
    one('store_clients', 'The number of clients.', clients.length),
    {
      ...one('store_problem', 'A problem of the store, by its code and level.', 1),
      samples: problems.map(({ code, level }) => ({ labels: { store, code, level }, value: 1 })),
    },
    ...CLIENT.map(([name, help, valuesOf]) => ({
      name: `dialback_client_${name}`,
      help,
      samples: clients.flatMap(client => samplesOf(valuesOf(client), { store, client: client.client })),
    })),
  ];
}

function samplesOf(value: Value, labels: Sample['labels']): Sample[] {
  if (value === null) return [];
  if (typeof value === 'number') return [{ labels, value }];
  return value.map(each => ({ labels: { ...labels, ...each.labels }, value: each.value }));
}
