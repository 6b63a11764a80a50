/** The facts of a finished snapshot that an overview needs, taken from its record. */
import type { Snapshot } from './snapshot.ts';

/** A finished snapshot. Counts are those of its record, and 0 if the record does not have them. */
export interface SnapshotFacts {
  /** Its name: the start of the run, by the host's clock. */
  name: string;
  /** The outcome of its run. */
  state: 'full' | 'incomplete';
  /** The flags of the record; `damaged` if the record cannot be read. */
  flags: string[];
  /** The reason of its pin; null if it is not pinned. */
  pinned: string | null;
  /** How long the run took, in milliseconds; null if the record does not say it. */
  duration_ms: number | null;
  /** The bytes of all its files. */
  bytes: number;
  /** The bytes of the files that no earlier snapshot had. */
  new_bytes: number;
  files: number;
  /** Files that could not be read. */
  unreadable: number;
}

/** Takes the facts from a snapshot. Pure. */
export function factsOf({ name, record, pinned }: Snapshot): SnapshotFacts {
  const { started, finished, state, flags, counts } = record;
  const ms = Date.parse(finished) - Date.parse(started);
  return {
    name,
    state,
    flags: flags.map(String),
    pinned: pinned ?? null,
    // A clock that is set back during a run makes it negative.
    duration_ms: Number.isSafeInteger(ms) && ms >= 0 ? ms : null,
    bytes: countOf(counts.bytes),
    new_bytes: countOf(counts.new_bytes),
    files: countOf(counts.files),
    unreadable: countOf(counts.unreadable),
  };
}

function countOf(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0;
}

/** A snapshot's facts as a short list, for a cache. */
export type PackedFacts = [
  name: string,
  state: SnapshotFacts['state'],
  flags: string[],
  pinned: string | null,
  duration_ms: number | null,
  bytes: number,
  new_bytes: number,
  files: number,
  unreadable: number,
];

/** The length of a `PackedFacts`. A cache of another version has another one. */
const LENGTH = 9;

/** Packs facts. Pure. `unpackFacts` is its inverse. */
export function packFacts(facts: SnapshotFacts): PackedFacts {
  const { name, state, flags, pinned, duration_ms, bytes, new_bytes, files, unreadable } = facts;
  return [name, state, flags, pinned, duration_ms, bytes, new_bytes, files, unreadable];
}

/** Unpacks facts. Pure. @throws TypeError for another form, which only a damaged cache has */
export function unpackFacts(packed: PackedFacts): SnapshotFacts {
  const [name, state, flags, pinned, duration_ms, bytes, new_bytes, files, unreadable] = packed;
  if (packed.length !== LENGTH || typeof name !== 'string' || !Array.isArray(flags))
    throw new TypeError('this is not a snapshot');
  return { name, state, flags, pinned, duration_ms, bytes, new_bytes, files, unreadable };
}
