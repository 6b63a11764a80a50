/** Parses the target of a request: `/browse/oak/latest/a%20b?page=2`. Pure. It refuses every form that a page's link does not have. */
import type { Parsed } from '../fault.ts';
import { decodeName } from '../wire/text.ts';

/** A path of 4,095 bytes, each of them percent-encoded, and the segments in front of it. */
const TARGET_LIMIT = 14_000;
/** NAME_MAX. */
const SEGMENT_BYTES = 255;
/** The bytes of a path that a client can have (PATH_MAX), and of the segments in front. */
const PATH_LIMIT = 4500;
const MOST_KEYS = 16;

/** `segment` and `query` of RFC 3986, section 3, without characters that no link of ours has. */
const PATH = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+$/;
const QUERY = /^(?:[A-Za-z0-9._~!$'()*+,;:@/?=&-]|%[0-9A-Fa-f]{2})*$/;
/** An encoded character that needs no encoding: another way to write the same path. */
const NEEDLESS = /%(?:4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE]|3[0-9]|2[DE])/i;
const KEY = /^[a-z][a-z_]{0,31}$/;

/** A target in parts. */
export interface Target {
  /** Decoded, in the form of `decodeName`. */
  path: readonly string[];
  query: ReadonlyMap<string, string>;
}

/** @param text as it stands in the request line */
export function parseTarget(text: string): Parsed<Target> {
  if (text.length > TARGET_LIMIT) return { reason: 'it is too long' };
  const at = text.indexOf('?');
  const path = parsePath(at < 0 ? text : text.slice(0, at));
  if ('reason' in path) return path;
  const query = parseQuery(at < 0 ? '' : text.slice(at + 1));
  return 'reason' in query ? query : { value: { path: path.value, query: query.value } };
}

function parsePath(text: string): Parsed<readonly string[]> {
  if (!text.startsWith('/') || !PATH.test(text)) return { reason: 'it is not a plain path' };
  if (text === '/') return { value: [] };
  if (NEEDLESS.test(text)) return { reason: 'it has an encoded character that needs no encoding' };
  const segments = text.slice(1).split('/').map(decodeBytes);
  if (segments.some(each => !isName(each))) return { reason: 'it has a segment that is no name' };
  const size = segments.reduce((sum, each) => sum + each.length + 1, 0);
  return size > PATH_LIMIT ? { reason: 'it is too long' } : { value: segments.map(decodeName) };
}

function isName(segment: Buffer): boolean {
  const text = segment.toString('latin1');
  return (
    text.length > 0 && text.length <= SEGMENT_BYTES && text !== '.' && text !== '..' && !/[/\0]/.test(text)
  );
}

function decodeBytes(text: string): Buffer {
  return Buffer.from(
    text.replace(/%(..)/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  );
}

/**
 * Parses `application/x-www-form-urlencoded`, which a query and the body of a form are.
 * @returns each key once
 */
export function parseQuery(text: string): Parsed<ReadonlyMap<string, string>> {
  const query = new Map<string, string>();
  if (text === '') return { value: query };
  if (!QUERY.test(text)) return { reason: 'its query has characters that a query does not have' };
  const pairs = text.split('&');
  if (pairs.length > MOST_KEYS) return { reason: 'its query has too many keys' };
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const key = at < 0 ? pair : pair.slice(0, at);
    const value = decodeBytes((at < 0 ? '' : pair.slice(at + 1)).replaceAll('+', ' '));
    if (!KEY.test(key)) return { reason: 'its query has a key that no page has' };
    if (query.has(key)) return { reason: 'its query has a key twice' };
    if (value.includes(0)) return { reason: 'its query has a NUL' };
    query.set(key, decodeName(value));
  }
  return { value: query };
}
