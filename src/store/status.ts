/**
 * `dialback status`: reports the state of each client's backups, in the words and exit statuses of a monitoring
 * plugin.
 */

import { now } from '../os/clock.ts';
import { whatFailed } from '../os/files.ts';
import { readJournal } from '../os/journal.ts';
import { escapeText } from '../wire/text.ts';
import { stateOf } from './client-state.ts';
import type { DrillRecord } from './drill-record.ts';
import { type Failures, failuresOf, lackOfRoom } from './health.ts';
import type { Held } from './index-room.ts';
import { summarizeIndex } from './index-summary.ts';
import { snapshotsWithoutAttributes } from './lost-attributes.ts';
import { nextRemoval } from './next-removal.ts';
import type { Level } from './problems.ts';
import type { StoreSettings } from './settings.ts';
import type { Silence } from './silence.ts';
import { latestFull, listSnapshots, type Snapshot } from './snapshot.ts';
import { type ClientStore, listClients, openClient, openStore } from './store.ts';
import { type LastVerification, lastVerification } from './verified.ts';

/** The state of one client, with the JSON keys of docs/design.md. */
export interface ClientStatus {
  client: string;
  level: Level;
  /** Empty if the level is `ok`. */
  problems: string[];
  /** Set if the client has had no full backup for the config's `max_age`. */
  silent: Silence | null;
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
  last_verify: LastVerification | null;
  /** The last drill, and when one last succeeded; null if there was none. */
  last_drill: DrillRecord | null;
  /** The room of all snapshots together; null if the index is out of date (`dialback prune --dry-run` updates it). */
  held: Held | null;
  /** The moved files that its snapshots share with older ones, and their bytes: a second copy of each would be stored. */
  moved: { files: number; bytes: number };
  /** The files that share their blocks with an older file of other attributes, on XFS and Btrfs. */
  shared: { files: number; bytes: number };
  /** The snapshot that will be removed first, and when, if runs continue as before; null if none within 400 runs. */
  next_removal: { snapshot: string; at: string } | null;
  /** The failures since the last snapshot; null if there are none. */
  failures: Failures | null;
  /** When the client was unenrolled; null if it is enrolled. */
  retired: string | null;
  /** Until when its snapshots stay whatever the rules say (`until`, ISO 8601; null: without an end); null if the rules decide. */
  kept: { until: string | null } | null;
}

/**
 * Collects the state of one client or of all.
 * @param name undefined for all
 * @param maxAgeMs a last full snapshot that is older is critical; undefined: the client's own `max_age`, or 36 hours
 * @throws Fault when the store or the named client is missing; the signal's reason
 */
export async function statusOf(
  settings: StoreSettings,
  name: string | undefined,
  maxAgeMs: number | undefined,
  signal: AbortSignal,
): Promise<ClientStatus[]> {
  openStore(settings.store);
  const names = name === undefined ? listClients(settings.store) : [openClient(settings.store, name).name];
  const scene: Scene = { settings, givenMs: maxAgeMs, lack: lackOfRoom(settings, now()) };
  const all: ClientStatus[] = [];
  for (const each of names) {
    try {
      const client = openClient(settings.store, each);
      const lost = await snapshotsWithoutAttributes(client, signal);
      all.push(clientStatus(scene, client, lost));
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
    silent: null,
    snapshots: 0,
    pinned: [],
    last_full: null,
    newest: null,
    last_verify: null,
    last_drill: null,
    held: null,
    moved: { files: 0, bytes: 0 },
    shared: { files: 0, bytes: 0 },
    next_removal: null,
    failures: null,
    retired: null,
    kept: null,
  };
}

/** The exit status of a monitoring plugin for the worst client. A store without clients is a warning. */
export function statusExit(clients: ClientStatus[]): 0 | 1 | 2 {
  if (clients.some(each => each.level === 'critical')) return 2;
  return clients.length === 0 || clients.some(each => each.level === 'warning') ? 1 : 0;
}

/** The parts that are the same for all clients. */
interface Scene {
  settings: StoreSettings;
  givenMs: number | undefined;
  lack: () => string | undefined;
}

/** @param lost the snapshots whose files have lost their attributes */
function clientStatus(
  { settings, givenMs, lack }: Scene,
  client: ClientStore,
  lost: readonly string[],
): ClientStatus {
  const at = now();
  const all = listSnapshots(client);
  const full = latestFull(all, at);
  const newest = all.at(-1);
  const failures = failuresOf(readJournal(client.folder));
  const verified = lastVerification(client);
  const index = summarizeIndex(client);
  const { policy, maxAgeMs } = settings.settingsFor(client.name);
  const state = stateOf(client, {
    ...{ at, lastFull: full?.name, failures, verified, lost, index, maxAgeMs, givenMs, lack },
    newest: newest && {
      ...{ name: newest.name, state: newest.record.state, flags: newest.record.flags },
      unreadable: newest.record.counts.unreadable,
    },
  });
  return {
    client: client.name,
    level: state.level,
    problems: state.problems.map(each => each.text),
    silent: state.silent,
    snapshots: all.length,
    pinned: all.filter(each => each.pinned !== undefined).map(each => each.name),
    last_full: full === undefined ? null : describeFull(full, state.ageMs ?? 0),
    newest: newest === undefined ? null : describeNewest(newest),
    last_verify: verified,
    last_drill: state.drilled ?? null,
    held: index?.held ?? null,
    moved: sumOf(all, 'moved'),
    shared: sumOf(all, 'shared'),
    next_removal: nextRemoval(all, policy, at),
    failures,
    retired: state.retired,
    kept: state.kept,
  };
}

function describeFull({ name, record }: Snapshot, ageMs: number): ClientStatus['last_full'] {
  const { bytes, new_bytes } = record.counts;
  return { snapshot: name, age_ms: ageMs, bytes, new_bytes };
}

function describeNewest({ name, record }: Snapshot): ClientStatus['newest'] {
  return { snapshot: name, state: record.state, flags: record.flags };
}

/** The moved files, or those with shared blocks, of all snapshots. Each counts in the first snapshot that had it so. */
function sumOf(all: readonly Snapshot[], what: 'moved' | 'shared'): ClientStatus['moved'] {
  const sum = { files: 0, bytes: 0 };
  for (const { counts } of all.map(each => each.record)) {
    sum.files += counts[what] ?? 0;
    sum.bytes += counts[`${what}_bytes`] ?? 0;
  }
  return sum;
}
