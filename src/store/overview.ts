/**
 * The overview of all clients, for `metrics`, `web` and `report`: plain objects that JSON can hold. It rests on the catalog
 * (store/catalog.ts). `status` reads the store itself, and takes longer.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { now } from '../os/clock.ts';
import { whatFailed } from '../os/files.ts';
import { escapeText, snapshotName, snapshotTime } from '../wire/text.ts';
import { Catalog, type CatalogEntry } from './catalog.ts';
import { stateOf } from './client-state.ts';
import { type Forecast, forecast } from './disk-forecast.ts';
import type { DrillRecord } from './drill-record.ts';
import { amountOf, readRoom } from './free-space.ts';
import { type Failures, lackOfRoom } from './health.ts';
import type { Held } from './index-room.ts';
import type { FreeSample, LastRun } from './journal-facts.ts';
import { type Kept, keptNow } from './kept-client.ts';
import { nextRemoval } from './next-removal.ts';
import { offeredSnapshots } from './offer.ts';
import { type Level, levelOf, type Problem } from './problems.ts';
import { DAY_MS, type FinishedSnapshot } from './retention.ts';
import type { ClientSettings, StoreSettings } from './settings.ts';
import type { Silence } from './silence.ts';
import type { SnapshotFacts } from './snapshot-facts.ts';
import { type ClientStore, listClients, openClient, openStore } from './store.ts';
import type { LastVerification } from './verified.ts';

/** A point of a client's growth line. */
export interface GrowthPoint {
  /** The snapshot's name. `snapshotTime` of wire/text.ts gives its time. */
  snapshot: string;
  /** The bytes of all its files, and of the files that no earlier snapshot had. */
  bytes: number;
  new_bytes: number;
}

/** One client. */
export interface ClientOverview {
  /** Its name: letters, digits, `.`, `_` and `-` only. */
  client: string;
  /** The worst level of `problems`. */
  level: Level;
  /** The alerts, the critical ones first; empty if all is well. Their texts are escaped for a terminal, and not for HTML. */
  problems: Problem[];
  /** Set if it has had no full backup for the config's `max_age`. */
  silent: Silence | null;
  /** The config's `max_age` for it in milliseconds; null if there is none, and then it is never silent. */
  max_age_ms: number | null;
  /** The number of finished snapshots, and how many of them are incomplete, or pinned. */
  snapshots: number;
  incomplete: number;
  pinned: number;
  /** The newest full snapshot that is not from the future; null if there is none. `at` is ISO 8601, `age_ms` is at least 0. */
  last_full: {
    snapshot: string;
    at: string;
    age_ms: number;
    bytes: number;
    new_bytes: number;
    files: number;
    /** How long its run took; null if unknown. */
    duration_ms: number | null;
  } | null;
  /** The newest snapshot of any state; null if there is none. */
  newest: { snapshot: string; state: 'full' | 'incomplete'; flags: string[] } | null;
  /** The end of the last run or refused request, with its reason; null if there was none. */
  last_run: LastRun | null;
  /** When it last called, with any result (ISO 8601); null if never. */
  last_contact: string | null;
  /** The failures since the last snapshot; null if there are none. */
  failures: Failures | null;
  /** The last verification; null if there was none. */
  last_verify: LastVerification | null;
  /** The last drill; null if there was none. */
  last_drill: DrillRecord | null;
  /** The room of all its snapshots together; null if the file index is out of date. */
  held: Held | null;
  /** The last snapshots, oldest first: at most 30. */
  growth: GrowthPoint[];
  /** The snapshot that the rules remove first, and when (ISO 8601), if runs continue as before; null if none within 400 runs. */
  next_removal: { snapshot: string; at: string } | null;
  /** When it was unenrolled (ISO 8601, or `unknown`); null if it is enrolled. */
  retired: string | null;
  /** Until when its snapshots stay whatever the rules say (`until`, ISO 8601; null: without an end); null if the rules decide. */
  kept: { until: string | null } | null;
}

/** The store's file system. */
export interface DiskOverview {
  total_bytes: number;
  /** For an account that is not root. */
  free_bytes: number;
  /** The config's `min_free` in bytes. It must stay free. */
  min_free_bytes: number;
  /** 0 if the file system makes inodes when it needs them. */
  total_inodes: number;
  free_inodes: number;
  /** When `min_free` will be reached, if the store grows as before; null if there is too little data. */
  forecast: Forecast | null;
}

/** All clients, and the disk. */
export interface Overview {
  /** When it was made, ISO 8601. */
  at: string;
  /** The store's folder. */
  store: string;
  /** The worst level of all problems. */
  level: Level;
  /** The problems of the store as a whole; those of a client are with the client. */
  problems: Problem[];
  disk: DiskOverview;
  /** Sorted by name. */
  clients: ClientOverview[];
}

const GROWTH_POINTS = 30;
/** A prediction of a removal is made again after this time, though no snapshot came or went. */
const REMOVAL_MS = DAY_MS;
/** The disk is reported if it will be full within this time. */
const SOON_DAYS = 14;
/** Clocks of two accounts of one machine do not differ. A run of `ntpd` can set a clock back a little. */
const CLOCK_SLACK_MS = 600_000;

/** The parts that are the same for all clients of one overview. */
interface Scene {
  settings: StoreSettings;
  catalog: Catalog;
  at: Date;
  lack: () => string | undefined;
}

/** A client with the data that only the overview of the store needs. */
interface Seen {
  overview: ClientOverview;
  free: FreeSample[];
  snapshots: SnapshotFacts[];
  newest: string[];
}

/**
 * Makes the overview. It brings the catalog up to date first, which takes some seconds for 100,000 new snapshots.
 * @throws Fault when the store is missing; the signal's reason
 */
export async function overviewOf(
  settings: StoreSettings,
  signal: AbortSignal,
  at = now(),
): Promise<Overview> {
  const { store } = settings;
  openStore(store);
  const names = listClients(store);
  const room = readRoom(store);
  using catalog = new Catalog(store);
  const scene: Scene = { settings, catalog, at, lack: lackIn(settings, catalog, at) };
  const seen: Seen[] = [];
  for (const [index, name] of names.entries()) {
    if (index % 20 === 0) await breathe();
    signal.throwIfAborted();
    seen.push(lookAt(scene, name));
  }
  catalog.save(names);
  const disk = diskOf(settings, room, seen, at);
  const clients = seen.map(each => each.overview);
  const problems = [...clockProblems(seen, at), ...diskProblems(disk)];
  const level = levelOf([...problems, ...clients.flatMap(each => each.problems)]);
  return { at: at.toISOString(), store, level, problems, disk, clients };
}

/**
 * Makes the overview of one client, without the others.
 * @throws Fault when the store or the client is missing
 */
export function clientOverviewOf(settings: StoreSettings, name: string, at = now()): ClientOverview {
  const { store } = settings;
  openStore(store);
  const client = openClient(store, name);
  using catalog = new Catalog(store);
  return lookAt({ settings, catalog, at, lack: lackIn(settings, catalog, at) }, client.name).overview;
}

function lookAt(scene: Scene, name: string): Seen {
  try {
    const client = openClient(scene.settings.store, name);
    const entry = scene.catalog.entry(client);
    const { snapshots, journal } = entry;
    const newest = [snapshots.at(-1)?.name, journal.last_contact].filter(each => typeof each === 'string');
    return { overview: clientOverview(scene, client, entry), free: journal.free, snapshots, newest };
  } catch (error) {
    const text = `its folder cannot be read: ${escapeText(whatFailed(error))}`;
    return { overview: unreadable(name, text), free: [], snapshots: [], newest: [] };
  }
}

/** A client that cannot be read. The others are still reported. */
function unreadable(client: string, text: string): ClientOverview {
  return {
    client,
    level: 'critical',
    problems: [{ level: 'critical', code: 'unreadable', text }],
    ...{ silent: null, max_age_ms: null, snapshots: 0, incomplete: 0, pinned: 0 },
    ...{ last_full: null, newest: null, last_run: null, last_contact: null, failures: null },
    ...{
      last_verify: null,
      last_drill: null,
      held: null,
      growth: [],
      next_removal: null,
      retired: null,
      kept: null,
    },
  };
}

function clientOverview(scene: Scene, client: ClientStore, entry: CatalogEntry): ClientOverview {
  const { at, lack } = scene;
  const { snapshots, journal, last_verify: verified, index_summary: index } = entry;
  const settings = scene.settings.settingsFor(client.name);
  const full = snapshots.findLast(each => each.state === 'full' && each.name <= snapshotName(at));
  const newest = snapshots.at(-1);
  const { maxAgeMs } = settings;
  const { failures } = journal;
  const { level, problems, silent, ageMs, drilled, retired, kept } = stateOf(client, {
    ...{ at, lastFull: full?.name, newest, failures, verified, index, maxAgeMs, lack },
    lost: [], // `status` looks for them
  });
  return {
    ...{ client: client.name, level, problems, silent, max_age_ms: maxAgeMs ?? null },
    ...{ snapshots: snapshots.length, incomplete: snapshots.filter(each => each.state !== 'full').length },
    pinned: snapshots.filter(each => each.pinned !== null).length,
    last_full: full === undefined ? null : describeFull(full, ageMs ?? 0),
    newest: newest === undefined ? null : { ...pick(newest), state: newest.state, flags: newest.flags },
    ...{ last_run: journal.last_run, last_contact: journal.last_contact, failures },
    ...{ last_verify: verified, last_drill: drilled ?? null, held: index?.held ?? null },
    growth: snapshots
      .slice(-GROWTH_POINTS)
      .map(({ name, bytes, new_bytes }) => ({ snapshot: name, bytes, new_bytes })),
    ...{ next_removal: removalOf(scene, client, entry, settings), retired, kept },
  };
}

const pick = ({ name }: SnapshotFacts): { snapshot: string } => ({ snapshot: name });
const bytesOf = ({ bytes, new_bytes }: SnapshotFacts): { bytes: number; new_bytes: number } => ({
  bytes,
  new_bytes,
});

function describeFull(full: SnapshotFacts, ageMs: number): NonNullable<ClientOverview['last_full']> {
  const { files, duration_ms } = full;
  const at = (snapshotTime(full.name) ?? new Date(0)).toISOString();
  return { ...pick(full), at, age_ms: ageMs, ...bytesOf(full), files, duration_ms };
}

/** The forms that the rules of retention take. */
function finishedOf(
  snapshots: SnapshotFacts[],
  offers: Map<string, string>,
  kept: Kept | undefined,
): FinishedSnapshot[] {
  return snapshots.map(({ name, state, flags, pinned }) => ({
    name,
    record: { state, flags },
    pinned: pinned ?? undefined,
    offered: offers.get(name),
    kept,
  }));
}

/** The next removal, from the catalog if its snapshots, rules and offers are the same. */
function removalOf(
  { catalog, at }: Scene,
  client: ClientStore,
  entry: CatalogEntry,
  { policy }: ClientSettings,
): ClientOverview['next_removal'] {
  const offers = offeredSnapshots(client, at);
  const kept = keptNow(client, at);
  const key = JSON.stringify([policy, [...offers], ...(kept === undefined ? [] : [kept])]);
  const known = entry.removal;
  const ageMs = at.getTime() - (known?.madeMs ?? 0);
  if (known?.key === key && ageMs >= 0 && ageMs < REMOVAL_MS) return known.value;
  const value = nextRemoval(finishedOf(entry.snapshots, offers, kept), policy, at);
  catalog.keepRemoval(client, entry, { key, madeMs: at.getTime(), value });
  return value;
}

function lackIn(settings: StoreSettings, catalog: Catalog, at: Date): Scene['lack'] {
  return lackOfRoom(settings, at, client =>
    finishedOf(catalog.entry(client).snapshots, offeredSnapshots(client, at), keptNow(client, at)),
  );
}

function diskOf(
  settings: StoreSettings,
  room: ReturnType<typeof readRoom>,
  seen: Seen[],
  at: Date,
): DiskOverview {
  const minFree = amountOf(settings.settingsFor('').minFree, room.bytes);
  const days = new Map<string, FreeSample>();
  for (const { free } of seen)
    for (const each of free) {
      const day = each.at.slice(0, 10);
      if ((days.get(day)?.at ?? '') < each.at) days.set(day, each);
    }
  return {
    ...{ total_bytes: room.bytes, free_bytes: room.freeBytes, min_free_bytes: minFree },
    ...{ total_inodes: room.inodes, free_inodes: room.freeInodes },
    forecast: forecast({
      ...{ at, free: room.freeBytes, room: room.freeBytes - minFree },
      samples: [...days.values()],
      snapshots: laterSnapshots(seen),
    }),
  };
}

function* laterSnapshots(seen: Seen[]): Generator<SnapshotFacts> {
  for (const { snapshots } of seen)
    for (let at = 1; at < snapshots.length; at += 1) yield snapshots[at] as SnapshotFacts;
}

function diskProblems({ forecast: found }: DiskOverview): Problem[] {
  const days = found?.days_until_full ?? null;
  if (found?.basis !== 'free-space' || days === null || days > SOON_DAYS) return [];
  const text = `if the store grows as before, the disk will reach min_free in ${days} days`;
  return [{ level: 'warning', code: 'disk-full-soon', text }];
}

/** A clock that is set back makes each backup look younger than it is. Later lines of the journals show that. */
function clockProblems(seen: Seen[], at: Date): Problem[] {
  const limit = at.getTime() + CLOCK_SLACK_MS;
  const isLater = (time: string): boolean => (snapshotTime(time)?.getTime() ?? Date.parse(time)) > limit;
  const ahead = seen.filter(({ newest }) => newest.some(isLater));
  if (ahead.length === 0) return [];
  const text = `the store has entries from the future, for ${ahead.length} clients: the clock was wrong, or is wrong now; ages may be too small`;
  return [{ level: 'warning', code: 'clock-set-back', text }];
}
