/** The facts of one client that its page shows. */
import { readJournal } from '../os/journal.ts';
import { candidateOf, decideRetention } from '../store/retention.ts';
import type { StoreSettings } from '../store/settings.ts';
import { listSnapshots } from '../store/snapshot.ts';
import { factsOf, type SnapshotFacts } from '../store/snapshot-facts.ts';
import type { ClientStore } from '../store/store.ts';

/** A snapshot and the decision of retention about it. */
export interface DecidedSnapshot extends SnapshotFacts {
  keep: boolean;
  /** Why it stays or goes. */
  reasons: string[];
  mayGoAtLowWater: boolean;
}

/** Lists a client's snapshots with the decisions of retention, oldest first. */
export function decidedSnapshots(client: ClientStore, settings: StoreSettings, now: Date): DecidedSnapshot[] {
  const all = listSnapshots(client);
  const { policy } = settings.settingsFor(client.name);
  const decisions = new Map(
    decideRetention(all.map(candidateOf), policy, now).map(each => [each.name, each]),
  );
  return all.map(snapshot => {
    const { keep = true, reasons = [], mayGoAtLowWater = false } = decisions.get(snapshot.name) ?? {};
    return { ...factsOf(snapshot), keep, reasons, mayGoAtLowWater };
  });
}

/** An entry of the journal. Its values can be any JSON, since a damaged disk can have changed them. */
export type JournalEntry = Record<string, unknown>;

/** The entries of a client's journal that its page shows, the newest first. */
export interface ClientJournal {
  /** Runs and refused requests. */
  runs: JournalEntry[];
  /** Commits, removals, pins, verifications and the like. */
  others: JournalEntry[];
}

const RUNS = new Set<unknown>(['run', 'refused', 'fetch', 'fetch-refused']);
/** `queued`: the client comes again by itself. `committed`: the line of the run says the same. */
const PASSED_OVER = new Set<unknown>(['queued', 'committed']);

/** Reads a client's journal. @throws Fault */
export function clientJournal(client: ClientStore): ClientJournal {
  const entries = readJournal(client.folder).toReversed();
  return {
    runs: entries.filter(({ event }) => RUNS.has(event)),
    others: entries.filter(({ event }) => !RUNS.has(event) && !PASSED_OVER.has(event)),
  };
}
