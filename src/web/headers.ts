/** The headers of requests and responses. Pure. */
import type { Parsed } from '../fault.ts';
import { encodeName } from '../wire/text.ts';

/** The names under which a browser may reach the server. */
export interface Names {
  /** Values of the Host header, in lower case: `127.0.0.1:8030`. */
  hosts: ReadonlySet<string>;
  /** Whether browsers reach it by https, through a proxy. */
  isSecure: boolean;
}

/** Headers that every response has. The pages need no scripts, images or frames. */
const ALWAYS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  // Not no-referrer: a browser would send "Origin: null" with a form.
  'Referrer-Policy': 'same-origin',
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'X-Frame-Options': 'DENY',
};

/** @returns the headers of every response, and `more` */
export function responseHeaders({ isSecure }: Names, more: Record<string, string>): Record<string, string> {
  const strict = isSecure ? { 'Strict-Transport-Security': 'max-age=31536000' } : {};
  return { ...ALWAYS, ...strict, ...more };
}

/** The headers of a request that are looked at. Each may be there once. */
const SINGLE = [
  'host',
  'origin',
  'cookie',
  'content-type',
  'content-length',
  'sec-fetch-site',
  'sec-fetch-mode',
];

/**
 * Collects the headers of a request.
 * @param raw names and values in turn, as node gives them
 * @returns the headers of SINGLE that are there, and `transfer-encoding`
 */
export function readHeaders(raw: readonly string[]): Parsed<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] ?? '').toLowerCase();
    if (name === 'transfer-encoding') found.set(name, raw[at + 1] ?? '');
    if (!SINGLE.includes(name)) continue;
    if (found.has(name)) return { reason: `it has the header ${name} twice` };
    found.set(name, raw[at + 1] ?? '');
  }
  return { value: found };
}

/**
 * Whether a request is for this server, and not from a page of another one. Such a page can have the browser send requests here, also
 * under a name of its own (DNS rebinding).
 * @returns the reason of a refusal; undefined if there is none
 */
export function refuseHeaders(
  method: string,
  headers: ReadonlyMap<string, string>,
  { hosts, isSecure }: Names,
): string | undefined {
  const host = headers.get('host')?.toLowerCase() ?? '';
  if (!hosts.has(host)) return 'the Host header does not name this server';
  const origin = headers.get('origin');
  const ours = `${isSecure ? 'https' : 'http'}://${host}`;
  if (origin === undefined ? method === 'POST' : origin.toLowerCase() !== ours)
    return 'the Origin header does not name this server';
  const isForeign = ['cross-site', 'same-site'].includes(headers.get('sec-fetch-site') ?? '');
  if (isForeign && (method === 'POST' || headers.get('sec-fetch-mode') !== 'navigate'))
    return 'a page of another server has sent it';
  const hasBody = headers.has('transfer-encoding') || (headers.get('content-length') ?? '0') !== '0';
  return hasBody && method !== 'POST' ? 'it has a body' : undefined;
}

/** `__Host-`: the browser takes it from https only, and for this host and all paths. */
function cookieName({ isSecure }: Names): string {
  return isSecure ? '__Host-dialback' : 'dialback';
}

/** @param value undefined removes the cookie */
export function cookieHeader(names: Names, value: string | undefined): string {
  const attributes = `Path=/; HttpOnly; SameSite=Strict${names.isSecure ? '; Secure' : ''}`;
  return `${cookieName(names)}=${value ?? ''}; ${attributes}${value === undefined ? '; Max-Age=0' : ''}`;
}

/** @returns the value of our cookie; undefined without one, or with two */
export function readCookie(names: Names, header: string | undefined): string | undefined {
  const start = `${cookieName(names)}=`;
  const found = (header ?? '')
    .split(';')
    .map(each => each.trim())
    .filter(each => each.startsWith(start));
  return found.length === 1 ? found[0]?.slice(start.length) : undefined;
}

/** Characters that change the order or the look of a name, and bytes that are not UTF-8. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd/\\]/gu;

/**
 * The value of Content-Disposition that has a browser save a file (RFC 6266, with the encoding of RFC 8187).
 * @param name in the form of `decodeName`
 */
export function attachment(name: string): string {
  const shown = name.replace(HIDDEN, '_').replace(/^\.+/, '_');
  const plain = shown.replace(/[^A-Za-z0-9 ._-]/gu, '_').slice(0, 200);
  const encoded = [...encodeName(shown).toString('latin1')]
    .map(byte =>
      /[A-Za-z0-9._-]/.test(byte) ? byte : `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
    .join('');
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
