/** `dialback status`: how each client's backups stand, in the words and exit statuses of a monitoring plugin. */

import { now } from '../os/clock.ts';
import { whatFailed } from '../os/files.ts';
import { readJournal } from '../os/journal.ts';
import { escapeText, snapshotName, snapshotTime } from '../wire/text.ts';
import { type Held, peekIndex } from './file-index.ts';
import { areAlarming, type Failures, failuresOf, failuresText, lackOfRoom } from './health.ts';
import { LOST_ATTRIBUTES, snapshotsWithoutAttributes } from './lost-attributes.ts';
import { type Candidate, candidateOf, decideRetention, type Policy } from './retention.ts';
import { retiredSince } from './retirement.ts';
import type { StoreSettings } from './settings.ts';
import {
  type ClientStore,
  latestFull,
  listClients,
  listSnapshots,
  openClient,
  openStore,
  type Snapshot,
} from './store.ts';
import { lastVerified } from './verify.ts';

/** How a client stands. Worse is larger. */
export type Level = 'ok' | 'warning' | 'critical';

/** One client. */
export interface ClientStatus {
  client: string;
  level: Level;
  /** Why it is not well; none where it is. */
  problems: string[];
  snapshots: number;
  pinned: string[];
  /** The newest full one. */
  last_full: { snapshot: string; age_ms: number; bytes: number; new_bytes: number } | null;
  /** The newest one of any kind. */
  newest: { snapshot: string; state: 'full' | 'incomplete'; flags: string[] } | null;
  /** When a snapshot was read back last, all of it or a sample; and how many files were damaged, of all when each was. */
  last_verify: { at: string; snapshots: number; damaged: number } | null;
  /** What all of them take together; null where the index is not up to date (`dialback prune --dry-run` makes it so). */
  held: Held | null;
  /** The snapshot that goes first, and when, if runs go on as they did; null: none within the next 400 runs. */
  next_removal: { snapshot: string; at: string } | null;
  /** What runs came to since the last one that made a snapshot; null: none failed. */
  failures: Failures | null;
  /** When the client was unenrolled; null: it is enrolled. */
  retired: string | null;
}

/** @param maxAgeMs an older last full snapshot is critical */
export async function statusOf(
  settings: StoreSettings,
  name: string | undefined,
  maxAgeMs: number,
  signal: AbortSignal,
): Promise<ClientStatus[]> {
  openStore(settings.store);
  const names = name === undefined ? listClients(settings.store) : [openClient(settings.store, name).name];
  const all: ClientStatus[] = [];
  for (const each of names) {
    try {
      const client = openClient(settings.store, each);
      const lost = await snapshotsWithoutAttributes(client, signal);
      all.push(clientStatus(settings, client, maxAgeMs, lost));
    } catch (error) {
      signal.throwIfAborted();
      if (name !== undefined) throw error;
      all.push(unreadable(each, `its folder cannot be read: ${escapeText(whatFailed(error))}`));
    }
  }
  return all;
}

/** Of a client of which nothing else is known: the others are told all the same. */
function unreadable(client: string, problem: string): ClientStatus {
  return {
    client,
    level: 'critical',
    problems: [problem],
    snapshots: 0,
    pinned: [],
    last_full: null,
    newest: null,
    last_verify: null,
    held: null,
    next_removal: null,
    failures: null,
    retired: null,
  };
}

/** The exit status that monitoring plugins have for the worst of them; nothing at all is a warning. */
export function statusExit(clients: ClientStatus[]): 0 | 1 | 2 {
  if (clients.some(each => each.level === 'critical')) return 2;
  return clients.length === 0 || clients.some(each => each.level === 'warning') ? 1 : 0;
}

/** What is wrong with the backups of an enrolled client. */
function problemsOfRuns(
  settings: StoreSettings,
  client: ClientStore,
  { ageMs, maxAgeMs, failures }: { ageMs: number | undefined; maxAgeMs: number; failures: Failures | null },
): { critical: string[]; warnings: string[] } {
  const critical: string[] = [];
  if (ageMs === undefined) critical.push('there is no full snapshot');
  else if (ageMs > maxAgeMs) critical.push('the last full snapshot is too old');
  const lack = lackOfRoom(settings, client.name);
  if (lack !== undefined) critical.push(`its requests are refused: ${lack}, and nothing may be removed`);
  return { critical, warnings: failures !== null && areAlarming(failures) ? [failuresText(failures)] : [] };
}

/** @param lost snapshots whose files have lost their attributes */
function clientStatus(
  settings: StoreSettings,
  client: ClientStore,
  maxAgeMs: number,
  lost: readonly string[],
): ClientStatus {
  const at = now();
  const all = listSnapshots(client);
  const full = latestFull(all, at);
  const newest = all.at(-1);
  const ageMs = full === undefined ? 0 : at.getTime() - (snapshotTime(full.name)?.getTime() ?? 0);
  const failures = failuresOf(readJournal(client.folder));
  const retired = retiredSince(client) ?? null;
  // Of a retired client nothing new is expected; what it left has to be whole all the same.
  const { critical, warnings } =
    retired === null
      ? problemsOfRuns(settings, client, { ageMs: full && ageMs, maxAgeMs, failures })
      : { critical: [], warnings: [] };
  const verified = lastVerify(client);
  if (verified !== null && verified.damaged > 0)
    critical.push(
      `${verified.damaged} files were damaged when they were verified: dialback verify names them`,
    );
  if (lost.length > 0) critical.push(`${lost.join(', ')}: ${LOST_ATTRIBUTES}`);
  if (newest !== undefined && retired === null) warnings.push(...problemsOf(newest, at));
  const known = indexed(client);
  if (known !== null && known.cutTimes > 0)
    warnings.push(
      `${known.cutTimes} files have the first or last time that the store's file system can hold: it has cut theirs`,
    );
  return {
    client: client.name,
    level: critical.length > 0 ? 'critical' : warnings.length > 0 ? 'warning' : 'ok',
    problems: [...critical, ...warnings],
    snapshots: all.length,
    pinned: all.filter(each => each.pinned !== undefined).map(each => each.name),
    last_full:
      full === undefined
        ? null
        : {
            snapshot: full.name,
            age_ms: ageMs,
            bytes: full.record.counts.bytes,
            new_bytes: full.record.counts.new_bytes,
          },
    newest:
      newest === undefined
        ? null
        : { snapshot: newest.name, state: newest.record.state, flags: newest.record.flags },
    last_verify: verified,
    held: known?.held ?? null,
    next_removal: nextRemoval(all, settings.settingsFor(client.name).policy, at),
    failures,
    retired,
  };
}

const FLAGS: Record<string, string> = {
  'host-errors': 'the newest snapshot lacks what this host could not store',
  'less-confined': "the newest run's jail was weaker than the one before",
  damaged: "the newest snapshot's record cannot be read",
  'times-cut': "times in the newest snapshot are not the client's: the store's file system cannot hold them",
  unusual: 'the newest run changed far more than this client does; the last usual snapshot is kept',
};

/** They stay for as long as a machine has its rsync, and no file is missing for them: `list` shows them, and `doctor` advises. */
const NO_PROBLEM = new Set(['client-lists-names', 'client-rsync-vulnerable', 'host-rsync-vulnerable']);

function problemsOf({ name, record }: Snapshot, at: Date): string[] {
  const problems = record.flags
    .filter(flag => !NO_PROBLEM.has(flag))
    .map(flag => FLAGS[flag] ?? `the newest snapshot is flagged "${flag}"`);
  // Where all could be read, a flag tells why it is incomplete.
  const { unreadable } = record.counts;
  if (record.state === 'incomplete' && (unreadable > 0 || problems.length === 0))
    problems.push(`the newest snapshot is incomplete: ${unreadable} could not be read`);
  if (name > snapshotName(at)) problems.push('the newest snapshot is from the future: see the clock');
  return problems;
}

function lastVerify(client: ClientStore): ClientStatus['last_verify'] {
  const all = [...lastVerified(client).values()];
  const times = all.flatMap(each => [each.verified ?? [], each.sampled ?? []].flat()).sort();
  const latest = times.at(-1);
  if (latest === undefined) return null;
  // A file that several snapshots share is counted in each: the most of one is what can be said.
  return { at: latest, snapshots: all.length, damaged: Math.max(...all.map(each => each.damaged)) };
}

/** What the index knows; null where it is not up to date. */
function indexed(client: ClientStore): { held: Held; cutTimes: number } | null {
  const index = peekIndex(client);
  if (index === undefined) return null;
  try {
    return { held: index.held(), cutTimes: index.atTimeLimit() };
  } finally {
    index.close();
  }
}

const DAY_MS = 86_400_000;
/** So many of the last runs tell how often there is one. */
const RUNS_LOOKED_AT = 10;
/** So many runs ahead. */
const HORIZON = 400;

/**
 * Which snapshot the policy lets go of first, if there is a full run each so often as there was lately. Once let go of, one
 * is not kept again by later runs: hence it can be searched by halves.
 */
export function nextRemoval(
  all: Pick<Snapshot, 'name' | 'record' | 'pinned'>[],
  policy: Policy,
  at: Date,
): { snapshot: string; at: string } | null {
  const candidates = all.map(candidateOf);
  const times = all
    .map(each => snapshotTime(each.name)?.getTime() ?? 0)
    .filter(time => time <= at.getTime())
    .slice(-RUNS_LOOKED_AT);
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const gapMs = Math.max(1000, gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? DAY_MS);
  const after = (runs: number): { snapshot: string; at: string } | null => {
    const time = new Date(at.getTime() + runs * gapMs);
    const coming: Candidate[] = Array.from({ length: runs }, (_, index) => ({
      name: snapshotName(new Date(at.getTime() + (index + 1) * gapMs)),
      state: 'full',
      isPinned: false,
    }));
    const gone = decideRetention([...candidates, ...coming], policy, time).find(each => !each.keep);
    const isReal = gone !== undefined && candidates.some(each => each.name === gone.name);
    return isReal ? { snapshot: gone.name, at: time.toISOString() } : null;
  };
  if (after(HORIZON) === null) return null;
  let [low, high] = [-1, HORIZON];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (after(middle) === null) low = middle;
    else high = middle;
  }
  return after(high);
}
