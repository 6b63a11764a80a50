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
  /** The bytes that came over the network. */
  transferred_bytes: number;
  files: number;
  folders: number;
  /** The files that are hard links to those of the snapshot before. */
  linked: number;
  /** Files that were new, that had other content, and that had only other attributes. */
  new: number;
  content_changed: number;
  attributes_changed: number;
  /** Files that disappeared during the run, and files that could not be read. */
  vanished: number;
  unreadable: number;
}

const COUNTS = [
  'bytes',
  'new_bytes',
  'transferred_bytes',
  'files',
  'folders',
  'linked',
  'new',
  'content_changed',
  'attributes_changed',
  'vanished',
  'unreadable',
] as const satisfies readonly (keyof SnapshotFacts)[];

type Counts = Pick<SnapshotFacts, (typeof COUNTS)[number]>;

/** Takes the facts from a snapshot. Pure. */
export function factsOf({ name, record, pinned }: Snapshot): SnapshotFacts {
  const ms = Date.parse(record.finished) - Date.parse(record.started);
  const counts = Object.fromEntries(COUNTS.map(each => [each, countOf(record.counts[each])]));
  return {
    name,
    state: record.state,
    flags: record.flags.map(String),
    pinned: pinned ?? null,
    // A clock that is set back during a run makes it negative.
    duration_ms: Number.isSafeInteger(ms) && ms >= 0 ? ms : null,
    ...(counts as unknown as Counts),
  };
}

function countOf(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0;
}

/** A snapshot's facts as a short list, for a cache. */
export type PackedFacts = unknown[];

/** Packs facts. Pure. `unpackFacts` is its inverse. */
export function packFacts(facts: SnapshotFacts): PackedFacts {
  const { name, state, flags, pinned, duration_ms } = facts;
  return [name, state, flags, pinned, duration_ms, ...COUNTS.map(each => facts[each])];
}

const LENGTH = 5 + COUNTS.length;

/**
 * Unpacks facts. Pure. An overview does this for 100,000 snapshots, so it is one literal without a loop.
 * @throws TypeError for another form, which only a damaged cache has
 */
export function unpackFacts(packed: PackedFacts): SnapshotFacts {
  if (packed.length !== LENGTH || typeof packed[0] !== 'string' || !Array.isArray(packed[2]))
    throw new TypeError('this is not a snapshot');
  const count = (at: number): number => packed[5 + at] as number;
  return {
    name: packed[0],
    state: packed[1] as SnapshotFacts['state'],
    flags: packed[2],
    pinned: packed[3] as string | null,
    duration_ms: packed[4] as number | null,
    bytes: count(0),
    new_bytes: count(1),
    transferred_bytes: count(2),
    files: count(3),
    folders: count(4),
    linked: count(5),
    new: count(6),
    content_changed: count(7),
    attributes_changed: count(8),
    vanished: count(9),
    unreadable: count(10),
  };
}
