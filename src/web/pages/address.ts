/** The addresses of the pages. Names have any bytes, so each byte that is not plain ASCII is percent-encoded. */
import { encodeName } from '../../wire/text.ts';

/** RFC 3986, unreserved characters. */
const PLAIN = /^[A-Za-z0-9._~-]$/;

/** Percent-encodes bytes. @param text in the form of `decodeName`, or the bytes */
function encode(text: string | Buffer): string {
  const bytes = typeof text === 'string' ? encodeName(text) : text;
  return [...bytes]
    .map(byte => {
      const character = String.fromCharCode(byte);
      return PLAIN.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

/** A part of an address behind the page: a segment, or the bytes of a path below a tree, of which each name is a segment. */
type Segment = string | Buffer;

/**
 * The longest address that a link has. The server accepts 16 KiB for a request with its headers. A path of 4,095 bytes, all of them
 * encoded, is below this.
 */
const MOST_CHARACTERS = 13_000;

/**
 * Makes an address.
 * @param page its first segment; '' for the overview
 * @param segments a string is one segment; a Buffer is a path
 * @param query keys without a value are left out
 * @returns undefined if it is longer than the server accepts
 */
export function addressOf(
  page: string,
  segments: readonly Segment[],
  query: Readonly<Record<string, string | Buffer | undefined>> = {},
): string | undefined {
  const encoded = segments.flatMap(each =>
    typeof each === 'string' ? [encode(each)] : each.length === 0 ? [] : splitPath(each).map(encode),
  );
  const fields = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${encode(value)}`],
  );
  const path = `/${[...(page === '' ? [] : [page]), ...encoded].join('/')}`;
  const address = fields.length === 0 ? path : `${path}?${fields.join('&')}`;
  return address.length > MOST_CHARACTERS ? undefined : address;
}

/** Splits a path into its names. */
export function splitPath(path: Buffer): Buffer[] {
  const names: Buffer[] = [];
  let from = 0;
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', from)) {
    names.push(path.subarray(from, at));
    from = at + 1;
  }
  names.push(path.subarray(from));
  return names;
}
