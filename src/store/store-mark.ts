/** The id of a store, in its store.json. A copy of the store names it, so that only this store updates the copy. */
import { readWhole } from '../os/content.ts';
import { randomHex } from '../os/random.ts';
import { replaceFile } from '../os/replace.ts';
import { STORE_FILE } from '../wire/local.ts';

const LIMIT = 4096;
const ID = /^[0-9a-f]{32}$/;
const ID_BYTES = 16;

/** @returns undefined if the store has none, or if its store.json cannot be read */
function readStoreId(store: string): string | undefined {
  try {
    const { id } = JSON.parse(readWhole(`${store}/${STORE_FILE}`, LIMIT).toString('utf8')) as {
      id?: unknown;
    };
    return typeof id === 'string' && ID.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads the id of a store, and gives it one if it has none.
 * @param mayWrite whether to give it one
 * @returns undefined if it has none and cannot get one, because it is mounted read-only
 */
export function storeId(store: string, mayWrite: boolean): string | undefined {
  const known = readStoreId(store);
  if (known !== undefined || !mayWrite) return known;
  const json = JSON.parse(readWhole(`${store}/${STORE_FILE}`, LIMIT).toString('utf8')) as object;
  try {
    replaceFile(`${store}/${STORE_FILE}`, `${JSON.stringify({ ...json, id: randomHex(ID_BYTES) })}\n`);
  } catch {
    return undefined; // a store on a disk that fails must be copied all the same
  }
  return readStoreId(store);
}

/** The file that makes a folder a copy of a store. */
export const COPY_FILE = 'copy.json';

/** Which store a copy is made from. */
export interface CopyMark {
  /** The store's id; null if it could not get one. */
  of: string | null;
  /** The store's path, which counts if there is no id. */
  path: string;
}

/** Encodes the content of copy.json. */
export function encodeCopyMark({ of, path }: CopyMark): string {
  return `${JSON.stringify({ version: 1, of, path })}\n`;
}

/** Parses copy.json. @returns undefined for any other text */
export function parseCopyMark(text: string): CopyMark | undefined {
  try {
    const { version, of, path } = JSON.parse(text) as { version?: unknown; of?: unknown; path?: unknown };
    const isId = of === null || (typeof of === 'string' && ID.test(of));
    if (version !== 1 || !isId || typeof path !== 'string') return undefined;
    return { of: of as string | null, path };
  } catch {
    return undefined;
  }
}

/** Whether a copy was made from this store. */
export function isSameSource(mark: CopyMark, source: CopyMark): boolean {
  if (mark.of !== null && source.of !== null) return mark.of === source.of;
  return mark.path === source.path;
}
