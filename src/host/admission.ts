/**
 * Admission of a client's run: whether it may start, its limits, and its entries in the client's ledger.
 *
 * The decisions are pure (host/quota.ts, host/anomaly.ts, store/retention.ts). This file measures (host/arriving-size.ts), frees space
 * (host/space-recovery.ts), and acts on the decisions.
 */
import { Fault } from '../fault.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import type { Arrival } from '../store/arrival.ts';
import { amountOf, readRoom } from '../store/free-space.ts';
import { candidateOf, UNUSUAL } from '../store/retention.ts';
import type { ClientSettings } from '../store/settings.ts';
import {
  BY_ITSELF,
  listSnapshots,
  pinSnapshot,
  readSnapshot,
  type Snapshot,
  unpinSnapshot,
} from '../store/snapshot.ts';
import { type ClientStore, recordEvent } from '../store/store.ts';
import { failure } from '../wire/events.ts';
import {
  changeOf,
  checkChange,
  choosePin,
  expirePins,
  noteChange,
  notePin,
  pickBaseline,
} from './anomaly.ts';
import { measureArriving, measureBesideTrees } from './arriving-size.ts';
import { type HostConfig, settingsFor } from './config.ts';
import type { Change, Ledger } from './ledger.ts';
import { readLedger, writeLedger } from './ledger-file.ts';
import { growthLeft, nextRequest, noteGrowth, noteStart } from './quota.ts';
import {
  freeSpace,
  LOOK_MS,
  lackingSpace,
  type SpaceRequest,
  spaceFailure,
  watchSpace,
} from './space-recovery.ts';

/** Measuring a tree may take one part in this many of the time. */
const MEASURING_SHARE = 20;

/** The bytes that a client may add, and those that it had before the run. */
interface Growth {
  /** `growth_budget` in bytes; undefined if none is set. Then the client's files are not measured. */
  budget: number | undefined;
  /** Whether the budget applies. It does not before the client's first full snapshot. */
  isLimited: boolean;
  /** The bytes that the client had in arriving/ before the run, and beside its trees. */
  arrivingBytes: number;
  besideBytes: number;
  /** The bytes that the run may add; infinite if the budget does not apply. */
  left: number;
}

/**
 * Admits a client's run, and frees space for it. The client's lock must be held.
 * @param retryAfter is called with the milliseconds after which the client may retry, if it is too early
 * @throws Fault `too-early`, `over-budget` or `no-space` if the run is not admitted
 */
export async function admit(
  config: HostConfig,
  client: ClientStore,
  signal: AbortSignal,
  retryAfter: (ms: number) => void,
): Promise<Admission> {
  const settings = settingsFor(config, client.name);
  const ledger = readLedger(client);
  const next = nextRequest(ledger, settings.minIntervalMs, now());
  if (next) {
    retryAfter(next.getTime() - now().getTime());
    throw failure('too-early', `the next run may start at ${next.toISOString()}`);
  }
  unpinExpired(client, ledger);
  const hasFull = listSnapshots(client).some(each => each.record.state === 'full');
  const growth = await measureGrowth({ config, client, settings, ledger, hasFull }, signal);
  if (growth.left <= 0) {
    writeLedger(client, ledger);
    throw failure('over-budget', `growth_budget (${growth.budget} bytes in 24 hours) is used up`);
  }
  // A budget that does not apply yet must not cost the client's snapshots, or those of others.
  const mayRemove = growth.budget === undefined || hasFull;
  const space: SpaceRequest = { config, client, settings, mayRemove, inUse: undefined, signal };
  const lack = lackingSpace(space) && (await freeSpace(space));
  if (lack) throw spaceFailure(lack);
  return new Admission(ledger, growth, space);
}

function unpinExpired(client: ClientStore, ledger: Ledger): void {
  const expired = new Set(expirePins(ledger, now()));
  for (const each of listSnapshots(client))
    if (expired.has(each.name) && each.pinned?.startsWith(BY_ITSELF)) unpinSnapshot(client, each);
}

/** Measures what the client has, and notes in the ledger what it added without being counted yet. */
async function measureGrowth(
  {
    config,
    client,
    settings,
    ledger,
    hasFull,
  }: { config: HostConfig; client: ClientStore; settings: ClientSettings; ledger: Ledger; hasFull: boolean },
  signal: AbortSignal,
): Promise<Growth> {
  const { growthBudget } = settings;
  const budget = growthBudget && amountOf(growthBudget, readRoom(config.store).bytes);
  const isLimited = budget !== undefined && hasFull;
  const arrivingBytes = budget === undefined ? 0 : (await measureArriving(client, signal)).ownBytes;
  // A run that was killed has not noted what it added, and a manifest is written after the run has ended.
  const besideBytes = budget === undefined ? 0 : measureBesideTrees(client);
  if (isLimited) {
    const besideGrowth = Math.max(0, besideBytes - (ledger.besideBytes ?? besideBytes));
    const arrivingGrowth = Math.max(0, arrivingBytes - ledger.arrivingBytes);
    noteGrowth(ledger, arrivingGrowth + besideGrowth, budget, now());
  }
  ledger.arrivingBytes = arrivingBytes;
  if (budget !== undefined) ledger.besideBytes = besideBytes;
  const left = isLimited ? growthLeft(ledger, budget, now()) : Number.POSITIVE_INFINITY;
  return { budget, isLimited, arrivingBytes, besideBytes, left };
}

/** A run that was admitted. */
export class Admission {
  readonly #client: ClientStore;
  readonly #ledger: Ledger;
  readonly #growth: Growth;
  readonly #space: SpaceRequest;
  readonly #stop = new AbortController();
  #hasBegun = false;
  #recordBytes = 0;

  /** @param ledger the client's, with `growth` noted */
  constructor(ledger: Ledger, growth: Growth, space: SpaceRequest) {
    this.#client = space.client;
    this.#ledger = ledger;
    this.#growth = growth;
    this.#space = space;
  }

  /** Aborts with a Fault `no-space` or `over-budget` when the run has to end. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether the arriving tree is kept if the run fails. The next run then frees the space if it needs it. */
  keepsArrival(): boolean {
    try {
      return this.#stop.signal.aborted || lackingSpace(this.#space) !== undefined;
    } catch {
      return true; // the store is no longer there
    }
  }

  /** Notes that the run starts, and watches the free space and the added bytes until `held` is released. */
  begin(held: DisposableHolder, arrival: Arrival): void {
    noteStart(this.#ledger, arrival.started);
    writeLedger(this.#client, this.#ledger);
    this.#hasBegun = true;
    this.#space.inUse = new Set(arrival.bases);
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#space.signal, ended.signal]);
    // If the store cannot be read, for example because it is no longer mounted, the run fails without this.
    const watching = Promise.allSettled([
      watchSpace({ ...this.#space, signal }, this.#stop),
      this.#watchGrowth(signal),
    ]);
    held.defer(async () => {
      ended.abort(new Fault({ tried: 'watch the free space', found: 'the run has ended' }));
      await watching;
    });
  }

  async #watchGrowth(signal: AbortSignal): Promise<void> {
    let waitMs = LOOK_MS;
    while (this.#growth.left !== Number.POSITIVE_INFINITY) {
      await sleep(waitMs, signal);
      const startedMs = monotonicMs();
      const { ownBytes } = await measureArriving(this.#client, signal);
      const fault = this.#growthFault(ownBytes);
      if (fault) return this.#stop.abort(fault);
      waitMs = Math.max(LOOK_MS, MEASURING_SHARE * (monotonicMs() - startedMs));
    }
  }

  /** @param arrivingBytes what the client has in arriving/ now */
  #growthFault(arrivingBytes: number): Fault | undefined {
    const { left } = this.#growth;
    const added = arrivingBytes - this.#growth.arrivingBytes;
    if (added <= left) return undefined;
    return failure('over-budget', `the run added ${added} bytes, and ${left} were left of growth_budget`);
  }

  /**
   * Checks the arriving tree before it is committed.
   * @param recordBytes the size of the files that the commit writes beside the tree
   * @returns the flags for the snapshot's record; if the change is unusual, the last good snapshot has been pinned
   * @throws Fault `over-budget` if the tree grew faster than it was measured, or if its paths are too long together
   */
  async check(arrival: Arrival, recordBytes: number): Promise<string[]> {
    const client = this.#client;
    const snapshots = listSnapshots(client);
    const baseline = pickBaseline(snapshots, arrival.started);
    // If the baseline is the newest snapshot, the link counts tell which files are fresh. Another one is compared by inode numbers.
    const isNewest = baseline?.name === snapshots.findLast(each => each.name < arrival.name)?.name;
    const measured = { arrival, baseline: isNewest ? undefined : baseline };
    const size = await measureArriving(client, this.#space.signal, measured);
    const arrivingBytes = size.ownBytes + recordBytes;
    const fault = this.#growthFault(arrivingBytes);
    if (fault) throw fault;
    const { maxPathBytes } = this.#space.settings;
    if (size.pathBytes > maxPathBytes) {
      const found = `its paths have ${size.pathBytes} bytes, and max_path_bytes is ${maxPathBytes}`;
      throw failure('over-budget', found);
    }
    this.#ledger.arrivingBytes = arrivingBytes;
    this.#recordBytes = recordBytes;
    // Without a full snapshot no change is unusual: the second half of a first backup is as good as the first.
    if (!baseline || !snapshots.some(each => candidateOf(each).state === 'full')) return [];
    const change = changeOf(size, baseline.record.counts.files);
    return flagChange(client, this.#ledger, arrival, snapshots, change);
  }

  /** Notes what the run added, when it has ended. Never throws. @param isKept whether the tree has become a snapshot */
  async settle(isKept: boolean): Promise<void> {
    if (!this.#hasBegun) return;
    const { budget, isLimited, arrivingBytes, besideBytes } = this.#growth;
    try {
      if (budget !== undefined) {
        const { ownBytes } = isKept ? { ownBytes: 0 } : await measureArriving(this.#client);
        const added = (isKept ? this.#ledger.arrivingBytes : ownBytes) - arrivingBytes;
        if (isLimited) noteGrowth(this.#ledger, added, budget, now());
        this.#ledger.arrivingBytes = ownBytes;
        // Files that are now written for an earlier run are counted by the next admission.
        this.#ledger.besideBytes = besideBytes + (isKept ? this.#recordBytes : 0);
      }
      writeLedger(this.#client, this.#ledger);
    } catch {
      // The disk may be full. The next admission measures and notes what has arrived.
    }
  }
}

/** Notes a usual change in the ledger, or pins the last good snapshot after an unusual one. @returns the flags for the record */
function flagChange(
  client: ClientStore,
  ledger: Ledger,
  arrival: Arrival,
  snapshots: Snapshot[],
  change: Change,
): string[] {
  const checked = checkChange(ledger, change, arrival.started);
  if (!checked.isUnusual) {
    noteChange(ledger, change, arrival.started);
    return [];
  }
  const reason = `unusual change in ${arrival.name} (${checked.reasons.join('; ')})`;
  recordEvent(client, UNUSUAL, { snapshot: arrival.name, reasons: checked.reasons });
  const good = choosePin(ledger, snapshots.map(candidateOf), checked.began, now());
  if (good !== undefined) {
    notePin(ledger, good, now());
    // The ledger first: a pin that it does not have would never expire.
    writeLedger(client, ledger);
    pinSnapshot(client, readSnapshot(client, good), `${BY_ITSELF} ${reason}`);
  }
  return [UNUSUAL];
}
