/**
 * Room in the store: what stays free, how room is made, how much a client may add, and which runs are unusual. What is
 * decided about that is pure (budget.ts, retention.ts); here it is measured and done.
 *
 * Nothing that a client says counts: free room is the file system's own answer, and what a run has added is the blocks
 * of those inodes whose every link lies in this client's arriving/ (so not what it shares with snapshots, and all that
 * interrupted runs left). A client can make links in there alone.
 *
 * Room is made in this order, until there is enough: the trash of all clients; what interrupted runs of clients left that
 * have no run, at last this one's own; snapshots that may go (retention.ts, `mayGoAtLowWater`), from the client that
 * holds most, oldest first. Each removal is decided anew, with that client's lock held.
 */
import { Fault } from '../fault.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, readdir } from '../os/files.ts';
import { standard } from '../os/process.ts';
import { replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { openIndex } from '../store/file-index.ts';
import { amountOf, isFarBelow, lackOf, msToNextLook, readRoom } from '../store/free-space.ts';
import { BY_ITSELF } from '../store/pins.ts';
import { candidateOf, decideRetention, UNUSUAL } from '../store/retention.ts';
import type { ClientSettings } from '../store/settings.ts';
import { sortedRecords } from '../store/sorted-find.ts';
import {
  type Arrival,
  type ClientStore,
  discardInterrupted,
  listClients,
  listSnapshots,
  openClient,
  pinSnapshot,
  readSnapshot,
  recordEvent,
  removeSnapshot,
  type Snapshot,
  snapshotNames,
  unpinSnapshot,
} from '../store/store.ts';
import { emptyClientTrash, emptyTrash } from '../store/trash.ts';
import { failure } from '../wire/events.ts';
import { SNAPSHOT, snapshotTime } from '../wire/text.ts';
import {
  changeOf,
  choosePin,
  expirePins,
  judgeChange,
  noteChange,
  notePin,
  pickBaseline,
} from './anomaly.ts';
import { type HostConfig, settingsFor } from './config.ts';
import { type Change, type Ledger, newLedger, parseLedger } from './ledger.ts';
import { growthLeft, nextRequest, noteGrowth, noteStart } from './quota.ts';

/** How often the free room is looked at during a run. */
const LOOK_MS = 3_000;
/** Measuring a tree may take one part in so many of the time. */
const MEASURING_SHARE = 20;
const LEDGER_LIMIT = 1024 * 1024;

/** Whose request it is that needs room. */
interface Need {
  config: HostConfig;
  client: ClientStore;
  settings: ClientSettings;
  /** Whether snapshots may be removed for it. */
  mayRemove: boolean;
  /** Snapshots of the client that a run links against; undefined before it has begun. */
  inUse: Set<string> | undefined;
  signal: AbortSignal;
}

/** Makes room until there is enough. @returns what is lacking still, in words; undefined: nothing */
async function makeRoom(need: Need): Promise<string | undefined> {
  const { config, settings, signal } = need;
  const lack = (): string | undefined => lackOf(readRoom(config.store), settings);
  // A client whose folder is damaged has nothing to give, and stops nobody else.
  const empty = async (client: ClientStore): Promise<void> => {
    await emptyTrash(client.folder, { signal }).catch(() => signal.throwIfAborted());
  };
  await emptyClientTrash(config.store, signal).catch(() => signal.throwIfAborted());
  const clients = listClients(config.store).flatMap(name => whatIsThere(config.store, name));
  for (const client of clients) {
    if (lack() === undefined) return undefined;
    await empty(client);
  }
  const isOwn = (client: ClientStore): boolean => client.name === need.client.name;
  const others = clients.filter(client => !isOwn(client));
  for (const client of [...others, ...(need.inUse === undefined ? [need.client] : [])]) {
    if (lack() === undefined) return undefined;
    if (readdir(`${client.folder}/arriving`).length === 0) continue;
    await withLock(need, client, () => discardInterrupted(client, 'room was needed'));
    await empty(client);
  }
  const hopeless = new Set<string>();
  while (need.mayRemove && lack() !== undefined) {
    signal.throwIfAborted();
    const client = await holdsMost(
      need,
      clients.filter(each => !hopeless.has(each.name)),
    );
    if (client === undefined) break;
    if (!(await withLock(need, client, () => removeOldest(need, client)))) hopeless.add(client.name);
    await empty(client);
  }
  return lack();
}

/** A client whose folders can be read; none where not. */
function whatIsThere(store: string, name: string): ClientStore[] {
  try {
    const client = openClient(store, name);
    for (const each of ['snapshots', 'arriving', 'trash']) readdir(`${client.folder}/${each}`);
    return [client];
  } catch {
    return [];
  }
}

/** Does it while no run of that client is under way but the one that needs room. @returns whether it was done */
async function withLock(need: Need, client: ClientStore, action: () => boolean): Promise<boolean> {
  if (client.name === need.client.name) return action();
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${client.folder}/lock`);
  return lock !== undefined && action();
}

/** The snapshots that may go, oldest first, as the policy says at this moment. */
function removable(
  { config, client: own, inUse }: Need,
  client: ClientStore,
): { name: string; why: string }[] {
  const candidates = listSnapshots(client).map(candidateOf);
  const isUsed = (name: string): boolean => client.name === own.name && (inUse?.has(name) ?? false);
  return decideRetention(candidates, settingsFor(config, client.name).policy, now())
    .filter(each => each.mayGoAtLowWater && !isUsed(each.name))
    .map(({ name, reasons }) => ({ name, why: reasons.join(', ') }));
}

function removeOldest(need: Need, client: ClientStore): boolean {
  const [oldest] = removable(need, client);
  if (oldest === undefined) return false;
  removeSnapshot(client, oldest.name, `room was needed (${oldest.why})`);
  return true;
}

/** Of those that have something to give, the client whose snapshots take most room. */
async function holdsMost(need: Need, clients: ClientStore[]): Promise<ClientStore | undefined> {
  const giving = clients.filter(client => removable(need, client).length > 0);
  if (giving.length <= 1) return giving[0];
  const sizes = new Map<ClientStore, number>();
  for (const client of giving) sizes.set(client, await heldBytes(client, need.signal));
  return giving.reduce((most, each) => ((sizes.get(each) ?? 0) > (sizes.get(most) ?? 0) ? each : most));
}

async function heldBytes(client: ClientStore, signal: AbortSignal): Promise<number> {
  try {
    await using held = new AsyncDisposableStack();
    return (await openIndex(held, client, signal)).held().bytes;
  } catch {
    signal.throwIfAborted();
    // On a full disk the index cannot be brought up to date: what the records say is near enough.
    return listSnapshots(client).reduce((sum, { record }) => sum + record.counts.new_bytes, 0);
  }
}

function readLedger(client: ClientStore): Ledger {
  const path = `${client.folder}/ledger.json`;
  if (exists(path)) {
    const found = parseLedger(readWhole(path, LEDGER_LIMIT).toString('utf8'));
    if ('value' in found) return found.value;
    recordEvent(client, 'ledger', { reason: `a new one is begun: ${found.reason}` });
  }
  const last = snapshotNames(client).at(-1);
  return newLedger(last === undefined ? null : (snapshotTime(last)?.getTime() ?? null));
}

function writeLedger(client: ClientStore, ledger: Ledger): void {
  replaceFile(`${client.folder}/ledger.json`, `${JSON.stringify(ledger)}\n`);
}

/** A request that was let in. */
export interface Admission {
  /** Aborts when the run has to end for want of room. */
  signal: AbortSignal;
  /** Whether what has arrived is kept for the next run, which makes room if there is none. */
  keepsArrival(): boolean;
  /** The run begins: its start counts, and the room is watched until `held` is released. */
  begin(held: DisposableHolder, arrival: Arrival): void;
  /**
   * Looks at what has arrived, before it is committed.
   * @param recordBytes what is written beside the tree when it is committed
   * @returns the flags of its record; an unusual one has pinned the last good one by then
   * @throws Fault `over-budget` where it came faster than it was looked at, or its paths are too long together
   */
  judge(arrival: Arrival, recordBytes: number): Promise<string[]>;
  /** The run is over, and what it added is noted. Never throws. @param isKept whether it has become a snapshot */
  settle(isKept: boolean): Promise<void>;
}

/**
 * Lets a request in, and makes room for it. The client's lock must be held.
 * @param early is told when the client may come again, if it is too early
 * @throws Fault `too-early`, `over-budget` or `no-space`; nothing is begun then
 */
export async function admit(
  config: HostConfig,
  client: ClientStore,
  signal: AbortSignal,
  early: (waitMs: number) => void,
): Promise<Admission> {
  const settings = settingsFor(config, client.name);
  const ledger = readLedger(client);
  const next = nextRequest(ledger, settings.minIntervalMs, now());
  if (next) {
    early(next.getTime() - now().getTime());
    throw failure('too-early', `the next run may start at ${next.toISOString()}`);
  }
  const expired = new Set(expirePins(ledger, now()));
  for (const each of listSnapshots(client))
    if (expired.has(each.name) && each.pinned?.startsWith(BY_ITSELF)) unpinSnapshot(client, each);
  const hasFull = listSnapshots(client).some(each => each.record.state === 'full');
  const { growthBudget } = settings;
  const budget = growthBudget && amountOf(growthBudget, readRoom(config.store).bytes);
  const isBound = budget !== undefined && hasFull;
  const before = budget === undefined ? 0 : (await measure(client, signal)).ownBytes;
  // A run that was killed has not noted what it added; and a manifest is made when a run has ended.
  const beside = budget === undefined ? 0 : besideBytes(client);
  if (isBound) {
    const grown = Math.max(0, beside - (ledger.besideBytes ?? beside));
    noteGrowth(ledger, Math.max(0, before - ledger.arrivingBytes) + grown, budget, now());
  }
  ledger.arrivingBytes = before;
  if (budget !== undefined) ledger.besideBytes = beside;
  const left = isBound ? growthLeft(ledger, budget, now()) : Number.POSITIVE_INFINITY;
  if (left <= 0) {
    writeLedger(client, ledger);
    throw failure('over-budget', `growth_budget (${budget} bytes in 24 hours) is used up`);
  }
  const mayRemove = budget === undefined || hasFull;
  const need: Need = { config, client, settings, mayRemove, inUse: undefined, signal };
  const lack = lackOf(readRoom(config.store), settings) && (await makeRoom(need));
  if (lack) throw failure('no-space', `${lack}, and nothing more may be removed`);

  const stop = new AbortController();
  async function watchGrowth(signals: AbortSignal): Promise<void> {
    let waitMs = LOOK_MS;
    while (left !== Number.POSITIVE_INFINITY) {
      await sleep(waitMs, signals);
      const sinceMs = monotonicMs();
      const added = (await measure(client, signals)).ownBytes - before;
      if (added > left)
        return stop.abort(failure('over-budget', `${added} bytes came, and ${left} were left`));
      waitMs = Math.max(LOOK_MS, MEASURING_SHARE * (monotonicMs() - sinceMs));
    }
  }
  let hasBegun = false;
  let recorded = 0;
  return {
    signal: stop.signal,
    keepsArrival() {
      try {
        return stop.signal.aborted || lackOf(readRoom(config.store), settings) !== undefined;
      } catch {
        return true; // the store has gone
      }
    },
    begin(held, arrival) {
      noteStart(ledger, arrival.started);
      writeLedger(client, ledger);
      hasBegun = true;
      need.inUse = new Set(arrival.bases);
      const ended = new AbortController();
      // What cannot be looked at (the store has gone, say) ends the run by itself.
      const signals = AbortSignal.any([signal, ended.signal]);
      const watching = [watchRoom({ ...need, signal: signals }, stop), watchGrowth(signals)];
      const watched = Promise.allSettled(watching);
      held.defer(async () => {
        ended.abort(new Fault({ tried: 'watch the room', found: 'the run has ended' }));
        await watched;
      });
    },
    async judge(arrival, recordBytes) {
      const snapshots = listSnapshots(client);
      const baseline = pickBaseline(snapshots, arrival.started);
      const isNewest = baseline?.name === snapshots.findLast(each => each.name < arrival.name)?.name;
      const found = await measure(client, signal, { arrival, baseline: isNewest ? undefined : baseline });
      const added = found.ownBytes + recordBytes - before;
      if (added > left) throw failure('over-budget', `${added} bytes came, and ${left} were left`);
      const { maxPathBytes: most } = settings;
      if (found.pathBytes > most)
        throw failure(
          'over-budget',
          `its paths have ${found.pathBytes} bytes, and max_path_bytes is ${most}`,
        );
      ledger.arrivingBytes = found.ownBytes + recordBytes;
      recorded = recordBytes;
      // Before there is a full one nothing is usual: after half a first backup, the other half is none the worse.
      if (!baseline || !snapshots.some(each => candidateOf(each).state === 'full')) return [];
      return judgeArrival(client, ledger, arrival, snapshots, changeOf(found, baseline.record.counts.files));
    },
    async settle(isKept) {
      if (!hasBegun) return;
      try {
        if (budget !== undefined) {
          const { ownBytes } = isKept ? { ownBytes: 0 } : await measure(client);
          const added = isKept ? ledger.arrivingBytes - before : ownBytes - before;
          if (isBound) noteGrowth(ledger, added, budget, now());
          ledger.arrivingBytes = ownBytes;
          // What is made now for an earlier run is still to be counted.
          ledger.besideBytes = beside + (isKept ? recorded : 0);
        }
        writeLedger(client, ledger);
      } catch {
        // A full disk: the next run finds what has arrived, and notes it.
      }
    },
  };
}

/**
 * Looks at the free room until the run ends, and makes room where there is too little. The run goes on meanwhile, and is looked at
 * all the same.
 * @param stop is aborted where the run has to end
 */
async function watchRoom(need: Need, stop: AbortController): Promise<void> {
  const { config, settings, signal } = need;
  let making: Promise<void> | undefined;
  const end = (lack: string): void =>
    stop.abort(failure('no-space', `${lack}, and nothing more may be removed`));
  const make = async (lack: string): Promise<void> => {
    // Where it cannot be made, whatever the reason, the run ends.
    const still = await makeRoom(need).catch(() => lack);
    if (still && !signal.aborted) end(still);
  };
  try {
    while (!stop.signal.aborted) {
      await sleep(msToNextLook(readRoom(config.store), settings, LOOK_MS), signal);
      const room = readRoom(config.store);
      const lack = lackOf(room, settings);
      if (lack === undefined) continue;
      if (isFarBelow(room, settings)) return end(lack);
      making ??= make(lack).finally(() => {
        making = undefined;
      });
    }
  } finally {
    await making;
  }
}

function judgeArrival(
  client: ClientStore,
  ledger: Ledger,
  arrival: Arrival,
  snapshots: Snapshot[],
  change: Change,
): string[] {
  const judged = judgeChange(ledger, change, arrival.started);
  if (!judged.isUnusual) {
    noteChange(ledger, change, arrival.started);
    return [];
  }
  const reason = `unusual change in ${arrival.name} (${judged.reasons.join('; ')})`;
  recordEvent(client, UNUSUAL, { snapshot: arrival.name, reasons: judged.reasons });
  const good = choosePin(ledger, snapshots.map(candidateOf), judged.began, now());
  if (good !== undefined) {
    notePin(ledger, good, now());
    // First the ledger: a pin that it does not know would never expire.
    writeLedger(client, ledger);
    pinSnapshot(client, readSnapshot(client, good), `${BY_ITSELF} ${reason}`);
  }
  return [UNUSUAL];
}

/** What a client's files take that are in no tree: they are its own, since each has one name. */
function besideBytes({ folder }: ClientStore): number {
  const taken = (path: string): number => {
    try {
      const found = lstat(path);
      return found.isDirectory() ? 0 : found.blocks * BLOCK_BYTES;
    } catch {
      return 0; // it has just gone
    }
  };
  const within = (place: string): number =>
    readdir(place).reduce((sum, name) => sum + taken(`${place}/${name}`), 0);
  return readdir(`${folder}/snapshots`).reduce(
    (sum, name) => sum + (SNAPSHOT.test(name) ? within(`${folder}/snapshots/${name}`) : 0),
    within(folder),
  );
}

/** The blocks of stat(2). */
const BLOCK_BYTES = 512;

/** What find(1) found in arriving/. */
interface Measured {
  /** On the disk, what has all of its links in arriving/: the folders, and files of every tree there. */
  ownBytes: number;
  /** Of the tree that was asked for: what its paths have, each from the tree on. */
  pathBytes: number;
  /** Of the same, as budget.ts has it. */
  files: number;
  freshFiles: number;
  bytes: number;
  freshBytes: number;
}

/**
 * Measures what lies in a client's arriving/, and of one tree how much is fresh: not shared with any snapshot, or, where
 * one is named, not with that one.
 */
async function measure(
  client: ClientStore,
  signal?: AbortSignal,
  wanted?: { arrival: Arrival; baseline: Snapshot | undefined },
): Promise<Measured> {
  const result: Measured = { ownBytes: 0, pathBytes: 0, files: 0, freshFiles: 0, bytes: 0, freshBytes: 0 };
  const prefix = wanted && `${wanted.arrival.name}/tree/`;
  await using old = new Sought(wanted?.baseline && inodesOf(wanted.baseline.tree, undefined, signal));
  for await (const found of inodesOf(`${client.folder}/arriving`, prefix, signal)) {
    const { inode, isFolder, links, bytes, seen, inTree } = found;
    result.pathBytes += found.pathBytes;
    // Each of its names lies here.
    const isOwn = isFolder || seen >= links;
    if (isOwn) result.ownBytes += bytes;
    if (isFolder || inTree === 0) continue;
    result.files += inTree;
    result.bytes += bytes;
    const isFresh = wanted?.baseline === undefined ? isOwn : !(await old.has(inode));
    if (!isFresh) continue;
    result.freshFiles += inTree;
    result.freshBytes += bytes;
  }
  return result;
}

interface Inode {
  inode: bigint;
  isFolder: boolean;
  links: number;
  bytes: number;
  /** Its names. */
  seen: number;
  /** Those below the prefix, and the bytes of their paths behind it. */
  inTree: number;
  pathBytes: number;
}

/**
 * The inodes that lie in a folder, in the order of their numbers, by find(1): one at a time, however many there are. What goes away
 * meanwhile (rsync renames its temporary files) is passed over.
 */
async function* inodesOf(
  folder: string,
  prefix: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Inode> {
  const find = standard('find', [folder, '-ignore_readdir_race', '-printf', '%i %n %y %b %P\\0']);
  const order = ['-s', '-n', '-k', '1,1'];
  const tried = `look through "${folder}"`;
  let last: Inode | undefined;
  for await (const record of sortedRecords(find, { order, complain: () => {}, signal, tried })) {
    const text = record.toString('latin1');
    const [number = '', links = '', type = '', blocks = ''] = text.split(' ', 4);
    const path = text.slice(`${number} ${links} ${type} ${blocks} `.length);
    const inode = BigInt(number);
    if (last?.inode !== inode) {
      if (last) yield last;
      const bytes = Number(blocks) * BLOCK_BYTES;
      last = { inode, isFolder: type === 'd', links: Number(links), bytes, seen: 0, inTree: 0, pathBytes: 0 };
    }
    last.seen += 1;
    if (prefix === undefined || !path.startsWith(prefix)) continue;
    last.inTree += 1;
    last.pathBytes += path.length - prefix.length;
  }
  if (last) yield last;
}

/** Inodes that are asked for in the order of their numbers. */
class Sought {
  readonly #inodes: AsyncGenerator<Inode> | undefined;
  #next: Inode | undefined;
  #hasBegun = false;

  constructor(inodes: AsyncGenerator<Inode> | undefined) {
    this.#inodes = inodes;
  }

  async has(inode: bigint): Promise<boolean> {
    while (!this.#hasBegun || (this.#next && this.#next.inode < inode)) {
      this.#hasBegun = true;
      this.#next = (await this.#inodes?.next())?.value ?? undefined;
    }
    return this.#next?.inode === inode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inodes?.return(undefined);
  }
}
