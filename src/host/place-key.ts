/** How a client's key gets into authorized_keys: as its only key, or beside the old one while a key is rotated. */
import type { PublicKey } from '../wire/key.ts';
import {
  enrolledName,
  hasKey,
  type KeyRefusal,
  type KeysChange,
  lineKeyId,
  placeLine,
  whyTaken,
} from './authorized-keys.ts';
import { acceptsKey, type KeyIds, keyId } from './key-ids.ts';

/** The lines after a key was placed, and the ids of the client's keys after that; undefined: it has one key, without an id. */
export interface PlacedKey {
  lines: string[];
  did: KeysChange['did'] | 'rotating';
  ids: KeyIds | undefined;
}

/**
 * Adds a client's key to the lines of an authorized_keys file. Pure.
 * @param lineOf makes its line
 * @param ids of the client's keys, where one was rotated. Lines of keys that these do not accept are removed
 * @param mode `rotate`: beside the enrolled key, until the first good run with the new one; `replace`: in its place
 * @returns the changed lines, or the reason for the refusal
 */
export function placeKey(
  lines: string[],
  { name, key }: { name: string; key: PublicKey },
  lineOf: (keyId: string | undefined) => string,
  ids: KeyIds | undefined,
  mode: 'add' | 'replace' | 'rotate',
): { value: PlacedKey } | KeyRefusal {
  const isOwn = (line: string): boolean => enrolledName(line) === name;
  const live = lines.filter(line => !isOwn(line) || ids === undefined || acceptsKey(ids, lineKeyId(line)));
  const own = live.filter(isOwn);
  const same = own.find(line => hasKey(line, key));
  if (mode !== 'replace' && same !== undefined && own.some(line => lineKeyId(line) !== undefined)) {
    const line = lineOf(lineKeyId(same));
    const isKept = line === same && live.length === lines.length;
    const next = live.map(each => (each === same ? line : each));
    return { value: { lines: next, did: isKept ? 'kept' : 'updated', ids } };
  }
  if (mode === 'rotate' && same === undefined) {
    const taken = whyTaken(live, name, key);
    if (taken !== undefined) return { why: 'key-taken', reason: taken };
    if (own.length === 0)
      return { why: 'not-enrolled', reason: `"${name}" is not enrolled, so it has no key to rotate` };
    const isPending = (line: string): boolean => isOwn(line) && lineKeyId(line) === (ids?.pending ?? '');
    const id = keyId(key);
    return {
      value: {
        lines: [...live.filter(line => !isPending(line)), lineOf(id)],
        did: 'rotating',
        ids: { current: ids?.current ?? null, pending: id },
      },
    };
  }
  const change = placeLine(live, name, key, lineOf(undefined), mode === 'replace');
  if ('reason' in change) return change;
  const did = change.value.did === 'kept' && live.length < lines.length ? 'updated' : change.value.did;
  return { value: { lines: change.value.lines, did, ids: undefined } };
}
