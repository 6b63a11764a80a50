/** The recorded measurements of the links to the remotes, in the state folder. A record is valid for a week. */
import type { Rates } from './compression.ts';
import { readState, writeState } from './state-file.ts';

const pathIn = (state: string): string => `${state}/links.json`;
const VALID_MS = 7 * 86_400_000;

/** The recorded measurement of one remote. */
interface Link {
  /** The time of the measurement, in milliseconds since 1970. */
  at: number;
  /** The networks of this machine at that time. */
  networks: string[];
  /** Undefined where the host does not support probes. */
  rates?: Rates;
  /** The decision after it. */
  compress: boolean;
}

/** @returns the record, of any age; undefined where there is none */
export function readLink(state: string, remote: string): Link | undefined {
  const found = readState(pathIn(state), remote);
  return isLink(found) ? found : undefined;
}

function isLink(value: unknown): value is Link {
  if (typeof value !== 'object' || value === null) return false;
  const { at, networks, rates, compress } = value as Record<string, unknown>;
  if (!Number.isFinite(at) || !Array.isArray(networks) || typeof compress !== 'boolean') return false;
  if (rates === undefined) return true;
  if (typeof rates !== 'object' || rates === null) return false;
  const { link, processor } = rates as Record<string, unknown>;
  return [link, processor].every(each => typeof each === 'number' && each > 0);
}

/** Whether a record is still valid. @param nowMs a time before `at` means that the clock was wrong */
export function isCurrent(link: Link, nowMs: number, networks: string[]): boolean {
  const ageMs = nowMs - link.at;
  return ageMs >= 0 && ageMs < VALID_MS && JSON.stringify(link.networks) === JSON.stringify(networks);
}

/** Writes the record; undefined removes it. @throws Fault where it cannot be written */
export async function noteLink(state: string, remote: string, link: Link | undefined): Promise<void> {
  await writeState(pathIn(state), remote, link);
}
