/** When each snapshot was last verified, in clients/NAME/verified.json. */
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, whatFailed } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { escapeText, SNAPSHOT } from '../wire/text.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import type { Pass } from './verify-pass.ts';

/** The last verification of a snapshot, and its result. */
interface LastVerified {
  /** When all of it was verified, RFC 3339; null if never. */
  verified: string | null;
  /** When names, sizes, times and a part of the contents were verified. */
  sampled: string | null;
  /** How many files and records were damaged. */
  damaged: number;
}

interface VerifiedFile {
  /** Which part of the files the last sample was. */
  slot: number;
  snapshots: Map<string, LastVerified>;
}

const VERIFIED_LIMIT = 16 * 1024 * 1024;

/** The last verification of each snapshot of a client; snapshots that were never verified are left out. */
export function lastVerified(client: ClientStore): Map<string, LastVerified> {
  const there = new Set(snapshotNames(client));
  return new Map([...readVerified(client).snapshots].filter(([name]) => there.has(name)));
}

/**
 * The last verification of any snapshot of a client, in whole or by sample. `damaged` is the largest number of damaged
 * files in one snapshot.
 */
export interface LastVerification {
  at: string;
  snapshots: number;
  damaged: number;
}

/** @returns null if no snapshot was verified */
export function lastVerification(client: ClientStore): LastVerification | null {
  const all = [...lastVerified(client).values()];
  const times = all.flatMap(each => [each.verified ?? [], each.sampled ?? []].flat()).sort();
  const latest = times.at(-1);
  if (latest === undefined) return null;
  // A shared file counts in each snapshot, so report the largest number of one snapshot.
  return { at: latest, snapshots: all.length, damaged: Math.max(...all.map(each => each.damaged)) };
}

/** Reads verified.json. @returns an empty record if it is missing or damaged */
export function readVerified(client: ClientStore): VerifiedFile {
  const none: VerifiedFile = { slot: -1, snapshots: new Map() };
  const path = `${client.folder}/verified.json`;
  if (!exists(path)) return none;
  try {
    const { slot, snapshots } = JSON.parse(readWhole(path, VERIFIED_LIMIT).toString('utf8')) as {
      slot: number;
      snapshots: Record<string, LastVerified>;
    };
    const isWhole = ([name, each]: [string, LastVerified]): boolean =>
      SNAPSHOT.test(name) &&
      [each.verified, each.sampled].every(time => time === null || typeof time === 'string') &&
      Number.isSafeInteger(each.damaged);
    return {
      slot: Number.isSafeInteger(slot) ? slot : -1,
      snapshots: new Map(Object.entries(snapshots).filter(isWhole)),
    };
  } catch {
    return none; // the file is only a memory; `verify` starts a new one
  }
}

/** Records a finished pass. @param snapshots those that were compared @throws Fault when the file cannot be written */
export function noteVerified(client: ClientStore, snapshots: readonly string[], pass: Pass): void {
  const old = readVerified(client);
  const all = lastVerified(client);
  const time = now().toISOString();
  for (const name of snapshots) {
    const last = all.get(name) ?? { verified: null, sampled: null, damaged: 0 };
    const damaged = pass.damagedIn(name);
    const isWhole = pass.slots === 1;
    // A sample without damage does not clear earlier damage.
    all.set(name, {
      verified: isWhole ? time : last.verified,
      sampled: isWhole ? last.sampled : time,
      damaged: isWhole ? damaged : Math.max(damaged, last.damaged),
    });
  }
  const slot = pass.slots === 1 ? old.slot : pass.slot;
  try {
    const json = { slot, snapshots: Object.fromEntries([...all].sort()) };
    replaceFile(`${client.folder}/verified.json`, `${JSON.stringify(json, null, 2)}\n`);
  } catch (error) {
    throw new Fault({
      tried: `record the verification of "${client.name}"`,
      found: escapeText(whatFailed(error)),
    });
  }
}
