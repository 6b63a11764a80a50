/** What a restore gives back: a snapshot, the paths of it that were asked for, and the folders above these. */

import { escapeText } from '../wire/text.ts';
import { openSnapshot, type Snapshot, snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import type { TreeOptions } from './stored-tree.ts';
import { covers, pathInside } from './tree-path.ts';

export interface RestoreOptions {
  store: string;
  client: string;
  /** As findSnapshot takes it. */
  snapshot: string;
  /** Absolute, as on the client; none: all. */
  paths: string[];
  to: string;
  force: boolean;
  /** Leave out what could give its user or the machine away: setuid and setgid bits, devices, file capabilities. */
  inert: boolean;
}

/** What is to be restored: the snapshot, and what of it; none: all. */
export interface Selection {
  client: ClientStore;
  snapshot: Snapshot;
  /** Newer snapshots that were passed over, oldest first. Empty where one was named. */
  newer: string[];
  /** Below its tree, without a slash in front; empty: all that the tree has. */
  paths: Buffer[];
  /** DIR stands for the client's `/`, and gets its attributes. */
  isWholeMachine: boolean;
}

/** @throws Fault where there is no such snapshot or path */
export function select(options: RestoreOptions): Selection {
  const { client, snapshot } = openSnapshot(options);
  const isWholeMachine = options.paths.length === 0 && snapshot.record.scope.roots.includes('/');
  const paths = options.paths.map(path => pathInside(snapshot, path, `restore "${escapeText(path)}"`));
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

/** What of a tree is selected, as `listTree` takes it: the folders above the paths, then the paths with all below them. */
export function passesOf({ paths }: Selection): Pick<TreeOptions, 'paths' | 'depth'>[] {
  const parents = paths.flatMap(parentsOf).filter(parent => !paths.some(path => covers(path, parent)));
  return [...(parents.length > 0 ? [{ paths: parents, depth: 0 }] : []), paths.length > 0 ? { paths } : {}];
}

/** The folders above a path, the top excepted, outermost first. */
function parentsOf(path: Buffer): Buffer[] {
  const parents: Buffer[] = [];
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1))
    parents.push(path.subarray(0, end));
  return parents;
}
