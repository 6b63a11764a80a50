/** The record of a fetch that has not ended, so that the same command continues it: a file in the state folder. */
import { readWhole } from '../os/content.ts';
import {
  exists,
  makeFolder,
  makeUniqueFolder,
  removeEmptyFolder,
  removeFileIfThere,
  statusExact,
} from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { parseJson } from '../wire/json.ts';

/** A fetch that has begun to write. */
export interface BegunFetch {
  version: 1;
  /** The folder that it writes to, by its device and inode. */
  place: string;
  /** When it began, in milliseconds since 1970. */
  begun: number;
  /** The folder for files that it replaces; null without --in-place. */
  replaced: string | null;
}

const LIMIT = 8192;

/** The path of the file. @param digest of `codeDigest` */
export function begunFile(state: string, digest: string): string {
  return `${state}/fetch-${digest.slice(0, 16)}.json`;
}

/** The identity of a folder. */
export function placeOfFolder(path: string): string {
  const { dev, ino } = statusExact(path);
  return `${dev}:${ino}`;
}

/** Reads the file. @returns undefined where there is none, or a damaged one */
export function readBegun(file: string): BegunFetch | undefined {
  if (!exists(file)) return undefined;
  const parsed = parseJson(readWhole(file, LIMIT).toString('utf8'));
  if ('reason' in parsed || typeof parsed.value !== 'object' || parsed.value === null) return undefined;
  const found = parsed.value as Record<keyof BegunFetch, unknown>;
  const isWhole =
    found.version === 1 &&
    typeof found.place === 'string' &&
    typeof found.begun === 'number' &&
    (found.replaced === null || typeof found.replaced === 'string');
  return isWhole ? (parsed.value as BegunFetch) : undefined;
}

/** Writes the file. */
export function noteBegun(file: string, begun: BegunFetch): void {
  replaceFile(file, `${JSON.stringify(begun)}\n`);
}

/** Removes the file and its lock, which the caller holds: the fetch has ended. */
export function forgetBegun(file: string): void {
  removeFileIfThere(file);
  removeFileIfThere(lockOfBegun(file));
}

/** The lock that a fetch holds, and its rsync as long as it writes. */
export function lockOfBegun(file: string): string {
  return `${file}.lock`;
}

/** @returns the folder for replaced files; null if it is empty, and then it is removed */
export function settleReplaced(path: string | null): string | null {
  if (path === null) return null;
  try {
    removeEmptyFolder(path);
    return null;
  } catch {
    return path;
  }
}

/** Makes a folder for the files that one fetch replaces, below the state folder. @param begun its time of beginning */
export function makeReplacedFolder(state: string, begun: Date): string {
  const stamp = begun.toISOString().slice(0, 19).replaceAll(':', '-');
  makeFolder(`${state}/replaced`, { parents: true });
  return makeUniqueFolder(`${state}/replaced/${stamp}Z-`);
}
