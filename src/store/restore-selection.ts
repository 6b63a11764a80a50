/** The selection for a restore: a snapshot, the wanted paths of it, and the folders above them. */

import { now } from '../os/clock.ts';
import { escapeText, snapshotTime } from '../wire/text.ts';
import { openSnapshot, type Snapshot, snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import type { TreeOptions } from './stored-tree.ts';
import { covers, pathInside } from './tree-path.ts';

/** The options of `restore`. */
export interface RestoreOptions {
  store: string;
  client: string;
  /** As findSnapshot takes it. */
  snapshot: string;
  /** Absolute, as on the client. If empty, all. */
  paths: string[];
  to: string;
  force: boolean;
  /** Leaves out what could hand over an account or the machine: setuid and setgid bits, devices, file capabilities. */
  inert: boolean;
  /** Whether `to` is a folder of drill-scratch.ts, the only place in the store that a restore may write to. */
  isScratch?: boolean;
}

/** A snapshot, and which part of it to restore. */
export interface Selection {
  client: ClientStore;
  snapshot: Snapshot;
  /** Newer snapshots that were skipped, oldest first. Empty if the snapshot was named. */
  newer: string[];
  /** Below the tree, without a leading slash. If empty, the whole tree. */
  paths: Buffer[];
  /** Whether DIR stands for the client's `/` and gets its attributes. */
  isWholeMachine: boolean;
}

/** The part of a command line that selects files. */
export type Choice = Pick<RestoreOptions, 'store' | 'client' | 'snapshot' | 'paths'>;

/**
 * Finds the snapshot and the paths.
 * @param verb for the message
 * @throws Fault when one of them does not exist
 */
export function select(options: Choice, verb: 'restore' | 'export'): Selection {
  const { client, snapshot } = openSnapshot(options);
  const isWholeMachine = options.paths.length === 0 && snapshot.record.scope.roots.includes('/');
  const paths = options.paths.map(path => pathInside(snapshot, path, `${verb} "${escapeText(path)}"`));
  const newer =
    options.snapshot === 'latest' ? snapshotNames(client).filter(name => name > snapshot.name) : [];
  return {
    client,
    snapshot,
    newer,
    paths: paths.some(path => path.length === 0) ? [] : paths,
    isWholeMachine,
  };
}

/** Facts about a selected snapshot, for the user: the newest full one can be older than expected. */
export interface SnapshotFacts {
  snapshot: string;
  state: 'full' | 'incomplete';
  /** The snapshot's age in milliseconds. */
  age_ms: number;
  /**
   * Newer snapshots that were skipped, oldest first: incomplete ones, or from the future. Empty if the snapshot was
   * named.
   */
  newer: string[];
}

/** Describes the snapshot of a selection. */
export function describeSnapshot({ snapshot, newer }: Selection): SnapshotFacts {
  const made = snapshotTime(snapshot.name) ?? now();
  return {
    snapshot: snapshot.name,
    state: snapshot.record.state,
    age_ms: now().getTime() - made.getTime(),
    newer,
  };
}

/**
 * The parts of the tree that are selected, as arguments of `listTree`: the folders above the paths, then the paths
 * with everything below them.
 */
export function passesOf({ paths }: Selection): Pick<TreeOptions, 'paths' | 'depth'>[] {
  const parents = paths.flatMap(parentsOf).filter(parent => !paths.some(path => covers(path, parent)));
  return [...(parents.length > 0 ? [{ paths: parents, depth: 0 }] : []), paths.length > 0 ? { paths } : {}];
}

/** The folders above a path without the top, outermost first. */
function parentsOf(path: Buffer): Buffer[] {
  const parents: Buffer[] = [];
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1))
    parents.push(path.subarray(0, end));
  return parents;
}
