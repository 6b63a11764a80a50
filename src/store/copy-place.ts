/**
 * The place of a store's copy: a folder of this machine (copy-folder.ts) or of another one (copy-remote.ts).
 *
 * DIR/ is a store: store.json and clients/NAME/. Two more things make it a copy. DIR/copy.json names the store that it
 * is made from, and DIR/copied has a line for each snapshot that was copied. DIR/copying/NAME/SNAPSHOT.NUMBER/ is a
 * snapshot that is being copied. One rename moves it to clients/NAME/snapshots/ when it is complete and on the disk.
 */
import { Fault } from '../fault.ts';
import { escapeText, NAME, SNAPSHOT } from '../wire/text.ts';
import { type CopyMark, isSameSource } from './store-mark.ts';
import type { Verified } from './verify.ts';

/** The kinds of folders that a store may or may not be copied to. */
export type PlaceState = 'absent' | 'empty' | 'copy' | 'store' | 'other';

/** The place as it is before a copy. */
export interface PlaceFacts {
  state: PlaceState;
  /** The mark of a copy; undefined in any other state, and if it cannot be read. */
  mark: CopyMark | undefined;
  /** The path of a store that the place is inside of. */
  inside: string | undefined;
  /** Whether the store that is copied is below the place. */
  contains: boolean;
  /** The finished snapshots by client. */
  snapshots: ReadonlyMap<string, readonly string[]>;
  /** Attempts of interrupted copies, `SNAPSHOT.NUMBER` by client. */
  attempts: ReadonlyMap<string, readonly string[]>;
  /** `NAME@SNAPSHOT` of each snapshot that was copied here. */
  copied: ReadonlySet<string>;
  /** Free space for the account; undefined if it is unknown. */
  freeBytes: number | undefined;
}

/** How the snapshots of a copy were checked, and the result. */
export interface CopyCheck {
  /** `manifest`: by `verify`. `comparison`: with the store, by rsync, since the place has no dialback. */
  by: 'manifest' | 'comparison';
  results: Verified[];
}

/**
 * Compares the content of a snapshot with its copy by rsync.
 * @returns the differences; undefined if the store has no such snapshot any more
 */
export type CompareSnapshot = (client: string, snapshot: string) => Promise<string[] | undefined>;

/** A place for a copy. Each method throws a Fault when it fails. */
export interface CopyPlace {
  /** The place as the user wrote it. */
  readonly name: string;
  /** The folder in the form of rsync's destination. Known after `look()`. */
  readonly root: string;
  /** The folder if it is on this machine. */
  readonly folder: string | undefined;
  /** Variables for rsync. */
  readonly environment: Record<string, string>;
  /** rsync's options for a tree: the remote shell, and how attributes are written. Known after `look()`. */
  readonly options: readonly string[];
  /** rsync's options for the remote shell; none for a folder of this machine. */
  readonly remoteShell: readonly string[];
  look(): Promise<PlaceFacts>;
  /** Makes the folder if it is missing, tries what a store needs, and writes the mark. */
  prepare(mark: CopyMark): Promise<void>;
  addClient(client: string): Promise<void>;
  /** Makes an empty folder for a new attempt. */
  begin(client: string, attempt: string): Promise<void>;
  /** Syncs a complete attempt, notes it, and makes it a snapshot. */
  finish(client: string, attempt: string): Promise<void>;
  /** Removes the pins of snapshots. */
  unpin(client: string, snapshots: readonly string[]): Promise<void>;
  /** Removes attempts. */
  discard(client: string, attempts: readonly string[]): Promise<void>;
  /** Verifies the snapshots that have not been verified in the copy. @param compare for a place without dialback */
  verify(clients: readonly string[], signal: AbortSignal, compare: CompareSnapshot): Promise<CopyCheck>;
}

const ATTEMPT = /^(.*)\.([1-9]\d{0,8})$/;

/** @returns the snapshot and the number of an attempt; undefined for any other name */
export function parseAttempt(name: string): { snapshot: string; number: number } | undefined {
  const [, snapshot = '', number] = ATTEMPT.exec(name) ?? [];
  return SNAPSHOT.test(snapshot) ? { snapshot, number: Number(number) } : undefined;
}

/** The attempts of a snapshot, the newest first. */
export function attemptsOf(attempts: readonly string[], snapshot: string): string[] {
  const number = (name: string): number => parseAttempt(name)?.number ?? 0;
  return attempts
    .filter(each => parseAttempt(each)?.snapshot === snapshot)
    .sort((one, other) => number(other) - number(one));
}

/** The name of the next attempt. @param earlier of `attemptsOf()` */
export function nextAttempt(snapshot: string, earlier: readonly string[]): string {
  return `${snapshot}.${(parseAttempt(earlier[0] ?? '')?.number ?? 0) + 1}`;
}

/** Parses DIR/copied: a line `NAME SNAPSHOT` for each snapshot. Lines of another form are left out. */
export function parseCopied(text: string): Set<string> {
  const pairs = text.split('\n').map(line => line.split(' '));
  const known = pairs.filter(
    ([client = '', snapshot = '', more]) =>
      more === undefined && NAME.test(client) && SNAPSHOT.test(snapshot),
  );
  return new Set(known.map(([client, snapshot]) => `${client}@${snapshot}`));
}

/**
 * Decides whether a store may be copied to a place. Pure.
 * @param name the place, for the message
 * @param source the store
 * @param own the store's snapshots, by client
 * @returns the reason against it
 */
export function whyNoCopy(
  name: string,
  facts: PlaceFacts,
  source: CopyMark,
  own: ReadonlyMap<string, readonly string[]>,
): Fault | undefined {
  const fault = (found: string): Fault =>
    new Fault({
      tried: `copy the store to "${name}"`,
      found,
      next: 'name another folder, which is empty or does not exist',
      exit: 'refused',
    });
  if (facts.inside !== undefined) return fault(`it is inside of the store "${facts.inside}"`);
  if (facts.contains) return fault('the store is inside of it');
  if (facts.state === 'store') return fault('it is a store, and no copy');
  if (facts.state === 'other') return fault('the folder is not empty, and is no copy of a store');
  if (facts.state !== 'copy') return undefined;
  if (facts.mark === undefined) return fault('its copy.json cannot be read');
  if (!isSameSource(facts.mark, source))
    return fault(`it is a copy of another store, "${escapeText(facts.mark.path)}"`);
  for (const [client, snapshots] of facts.snapshots) {
    const foreign = snapshots.find(
      each => !facts.copied.has(`${client}@${each}`) && own.get(client)?.includes(each) !== true,
    );
    if (foreign !== undefined)
      return fault(`backups have been made into it: ${client}@${foreign} is not from this store`);
  }
  return undefined;
}
