/** The ids of a client's keys while one is rotated. Pure. */
import { createHash } from 'node:crypto';
import type { Parsed } from '../fault.ts';
import { parseJson } from '../wire/json.ts';
import type { PublicKey } from '../wire/key.ts';

/** Which keys of a client are accepted. */
export interface KeyIds {
  /** The key that the last rotation has brought; null: the one without an id. */
  current: string | null;
  /** A key that is accepted too, and replaces the current one with its first good run; null if there is none. */
  pending: string | null;
}

/** The id of a key: the beginning of the SHA-256 of its base64 part. */
export function keyId({ blob }: PublicKey): string {
  return createHash('sha256').update(blob).digest('hex').slice(0, 16);
}

/** Whether a key is accepted. @param id undefined for a key without an id */
export function acceptsKey({ current, pending }: KeyIds, id: string | undefined): boolean {
  return id === undefined ? current === null : id === current || id === pending;
}

const ID = /^[0-9a-f]{16}$/;

/** Parses keys.json. */
export function parseKeyIds(text: string): Parsed<KeyIds & { authorizedKeys: string }> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const found = (parsed.value ?? {}) as Record<string, unknown>;
  const { version, current, pending, authorized_keys: authorizedKeys } = found;
  const isId = (value: unknown): value is string | null =>
    value === null || (typeof value === 'string' && ID.test(value));
  if (version !== 1 || !isId(current) || !isId(pending) || typeof authorizedKeys !== 'string')
    return { reason: 'it is no record of this version' };
  return { value: { current, pending, authorizedKeys } };
}
