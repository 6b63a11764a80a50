/**
 * `dialback status`: reports the state of each client's backups, in the words and exit statuses of a monitoring
 * plugin.
 */

import { now } from '../os/clock.ts';
import { whatFailed } from '../os/files.ts';
import { readJournal } from '../os/journal.ts';
import { escapeText, snapshotName, snapshotTime } from '../wire/text.ts';
import { type DrillRecord, drillProblem, readDrillRecord } from './drill-record.ts';
import { type Held, peekIndex } from './file-index.ts';
import { areAlarming, type Failures, failuresOf, failuresText, lackOfRoom } from './health.ts';
import { LOST_ATTRIBUTES, snapshotsWithoutAttributes } from './lost-attributes.ts';
import { nextRemoval } from './next-removal.ts';
import { retiredSince } from './retirement.ts';
import type { StoreSettings } from './settings.ts';
import { latestFull, listSnapshots, type Snapshot } from './snapshot.ts';
import { type ClientStore, listClients, openClient, openStore } from './store.ts';
import { lastVerified } from './verified.ts';

/** The state of a client, from good to bad. */
type Level = 'ok' | 'warning' | 'critical';

/** The state of one client, with the JSON keys of docs/design.md. */
export interface ClientStatus {
  client: string;
  level: Level;
  /** Empty if the level is `ok`. */
  problems: string[];
  snapshots: number;
  pinned: string[];
  /** The newest full snapshot. */
  last_full: { snapshot: string; age_ms: number; bytes: number; new_bytes: number } | null;
  /** The newest snapshot of any state. */
  newest: { snapshot: string; state: 'full' | 'incomplete'; flags: string[] } | null;
  /**
   * The last verification of a snapshot, in whole or by sample. `damaged` is the largest number of damaged files in
   * one snapshot.
   */
  last_verify: { at: string; snapshots: number; damaged: number } | null;
  /** The last drill, and when one last succeeded; null if there was none. */
  last_drill: DrillRecord | null;
  /** The room of all snapshots together; null if the index is out of date (`dialback prune --dry-run` updates it). */
  held: Held | null;
  /** The moved files that its snapshots share with older ones, and their bytes: a second copy of each would be stored. */
  moved: { files: number; bytes: number };
  /** The snapshot that will be removed first, and when, if runs continue as before; null if none within 400 runs. */
  next_removal: { snapshot: string; at: string } | null;
  /** The failures since the last snapshot; null if there are none. */
  failures: Failures | null;
  /** When the client was unenrolled; null if it is enrolled. */
  retired: string | null;
}

/**
 * Collects the state of one client or of all.
 * @param name undefined for all
 * @param maxAgeMs a last full snapshot that is older is critical
 * @throws Fault when the store or the named client is missing; the signal's reason
 */
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

/** The state of a client that cannot be read. The others are still reported. */
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
    last_drill: null,
    held: null,
    moved: { files: 0, bytes: 0 },
    next_removal: null,
    failures: null,
    retired: null,
  };
}

/** The exit status of a monitoring plugin for the worst client. A store without clients is a warning. */
export function statusExit(clients: ClientStatus[]): 0 | 1 | 2 {
  if (clients.some(each => each.level === 'critical')) return 2;
  return clients.length === 0 || clients.some(each => each.level === 'warning') ? 1 : 0;
}

/** The problems of an enrolled client's runs. */
function problemsOfRuns(
  settings: StoreSettings,
  client: ClientStore,
  { ageMs, maxAgeMs, failures }: { ageMs: number | undefined; maxAgeMs: number; failures: Failures | null },
): { critical: string[]; warnings: string[] } {
  const critical: string[] = [];
  if (ageMs === undefined) critical.push('there is no full snapshot');
  else if (ageMs > maxAgeMs) critical.push('the last full snapshot is too old');
  const lack = lackOfRoom(settings, client.name);
  if (lack !== undefined)
    critical.push(`the host refuses its requests: ${lack}, and no snapshot may be removed`);
  return { critical, warnings: failures !== null && areAlarming(failures) ? [failuresText(failures)] : [] };
}

/** @param lost the snapshots whose files have lost their attributes */
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
  // An unenrolled client makes no new snapshots, but its old ones must be intact.
  const { critical, warnings } =
    retired === null
      ? problemsOfRuns(settings, client, { ageMs: full && ageMs, maxAgeMs, failures })
      : { critical: [], warnings: [] };
  const verified = lastVerify(client);
  if (verified !== null && verified.damaged > 0)
    critical.push(
      `${verified.damaged} files were damaged at the last verification; dialback verify names them`,
    );
  if (lost.length > 0) critical.push(`${lost.join(', ')}: ${LOST_ATTRIBUTES}`);
  const drilled = readDrillRecord(client);
  const drillFault = drillProblem(drilled, at);
  if (drillFault !== undefined) (drillFault.level === 'critical' ? critical : warnings).push(drillFault.text);
  if (newest !== undefined && retired === null) warnings.push(...problemsOf(newest, at));
  const known = indexed(client);
  if (known !== null && known.cutTimes > 0)
    warnings.push(
      `${known.cutTimes} files have the earliest or latest time that the store's file system can hold; their own times were cut`,
    );
  return {
    client: client.name,
    level: critical.length > 0 ? 'critical' : warnings.length > 0 ? 'warning' : 'ok',
    problems: [...critical, ...warnings],
    snapshots: all.length,
    pinned: all.filter(each => each.pinned !== undefined).map(each => each.name),
    last_full: full === undefined ? null : describeFull(full, ageMs),
    newest: newest === undefined ? null : describeNewest(newest),
    last_verify: verified,
    last_drill: drilled ?? null,
    held: known?.held ?? null,
    moved: movedOf(all),
    next_removal: nextRemoval(all, settings.settingsFor(client.name).policy, at),
    failures,
    retired,
  };
}

function describeFull({ name, record }: Snapshot, ageMs: number): ClientStatus['last_full'] {
  const { bytes, new_bytes } = record.counts;
  return { snapshot: name, age_ms: ageMs, bytes, new_bytes };
}

function describeNewest({ name, record }: Snapshot): ClientStatus['newest'] {
  return { snapshot: name, state: record.state, flags: record.flags };
}

/** The moved files of all snapshots. Each counts in the first snapshot that had it at its new path. */
function movedOf(all: readonly Snapshot[]): ClientStatus['moved'] {
  const moved = { files: 0, bytes: 0 };
  for (const { counts } of all.map(each => each.record)) {
    moved.files += counts.moved ?? 0;
    moved.bytes += counts.moved_bytes ?? 0;
  }
  return moved;
}

const FLAGS: Record<string, string> = {
  'host-errors': 'the newest snapshot lacks files that this host could not store',
  'less-confined': "the newest run's jail was weaker than the one before",
  damaged: "the newest snapshot's record cannot be read",
  'times-cut': "times in the newest snapshot are not the client's: the store's file system cannot hold them",
  'few-linked-mode': fewLinked('most of the others have another mode'),
  'few-linked-owner': fewLinked('most of the others have another owner'),
  'few-linked-time': fewLinked('most of the others have another time'),
  'few-linked-acl': fewLinked('most of the others have another ACL'),
  'few-linked-xattrs': fewLinked('most of the others have other extended attributes'),
  'few-linked-content': fewLinked('most of the others have another content'),
  'few-linked-new': fewLinked('most of the others have a new path'),
  'few-linked-rsync': fewLinked('the host or the client has another rsync'),
  unusual: 'the newest run changed far more than usual for this client; the last usual snapshot is kept',
};

function fewLinked(reason: string): string {
  return `the newest run linked far fewer files than usual: ${reason}; dialback explain shows them`;
}

/**
 * Flags that stay until a machine gets another rsync, and that cost no file. `list` shows them, and `doctor` gives
 * advice.
 */
const NO_PROBLEM = new Set(['client-lists-names', 'client-rsync-vulnerable', 'host-rsync-vulnerable']);

function problemsOf({ name, record }: Snapshot, at: Date): string[] {
  const problems = record.flags
    .filter(flag => !NO_PROBLEM.has(flag))
    .map(flag => FLAGS[flag] ?? `the newest snapshot is flagged "${flag}"`);
  // If everything could be read, a flag gives the reason.
  const { unreadable } = record.counts;
  if (record.state === 'incomplete' && (unreadable > 0 || problems.length === 0))
    problems.push(`the newest snapshot is incomplete: ${unreadable} could not be read`);
  if (name > snapshotName(at)) problems.push('the newest snapshot is from the future; check the clock');
  return problems;
}

function lastVerify(client: ClientStore): ClientStatus['last_verify'] {
  const all = [...lastVerified(client).values()];
  const times = all.flatMap(each => [each.verified ?? [], each.sampled ?? []].flat()).sort();
  const latest = times.at(-1);
  if (latest === undefined) return null;
  // A shared file counts in each snapshot, so report the largest number of one snapshot.
  return { at: latest, snapshots: all.length, damaged: Math.max(...all.map(each => each.damaged)) };
}

/** Reads the index without updating it; null if it is out of date. */
function indexed(client: ClientStore): { held: Held; cutTimes: number } | null {
  const index = peekIndex(client);
  if (index === undefined) return null;
  try {
    return { held: index.held(), cutTimes: index.atTimeLimit() };
  } finally {
    index.close();
  }
}
