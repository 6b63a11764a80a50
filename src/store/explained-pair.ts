/** Which snapshot `dialback explain` compares with which. */
import { Fault } from '../fault.ts';
import { findSnapshot, readSnapshot, type Snapshot, snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/** The two snapshots. */
export interface ExplainedPair {
  /** The one that is explained. */
  newer: Snapshot;
  /** Undefined for the first one. */
  older: Snapshot | undefined;
  /**
   * How the older one was chosen. `basis`: the run linked against it. `before`: it is the one before, since the basis is not known, or
   * was removed. `named`: the caller chose it.
   */
  by: 'basis' | 'before' | 'named' | 'none';
  /** The basis that the record names, if it was removed. */
  removedBasis: string | undefined;
}

/**
 * Chooses the two snapshots.
 * @param wanted as `findSnapshot` takes it
 * @param other a second one, in any order; if undefined, the basis of the first one, or the one before
 * @throws Fault when one of them is missing, or both are the same
 */
export function choosePair(client: ClientStore, wanted: string, other: string | undefined): ExplainedPair {
  const one = findSnapshot(client, wanted);
  if (other !== undefined) {
    const second = findSnapshot(client, other);
    if (second.name === one.name)
      throw new Fault({
        tried: `explain "${client.name}@${one.name}"`,
        found: 'both names are of this snapshot',
        next: `dialback list ${client.name}`,
        exit: 'usage',
      });
    const [older, newer] = one.name < second.name ? [one, second] : [second, one];
    return { newer, older, by: 'named', removedBasis: removedBasisOf(client, newer) };
  }
  const removedBasis = removedBasisOf(client, one);
  const { basis } = one.record;
  if (basis && removedBasis === undefined)
    return { newer: one, older: readSnapshot(client, basis), by: 'basis', removedBasis };
  const before = snapshotNames(client).findLast(name => name < one.name);
  // A run without a basis was the first, whatever has come into the store since. A damaged record tells nothing.
  const isFirst = before === undefined || (basis === null && !one.record.flags.includes('damaged'));
  return isFirst
    ? { newer: one, older: undefined, by: 'none', removedBasis }
    : { newer: one, older: readSnapshot(client, before), by: 'before', removedBasis };
}

function removedBasisOf(client: ClientStore, { record }: Snapshot): string | undefined {
  const { basis } = record;
  return !basis || snapshotNames(client).includes(basis) ? undefined : basis;
}
