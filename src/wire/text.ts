/** Names and text that come from the other machine: strict parsers, and safe forms for display. */
import { isIP } from 'node:net';
import type { Parsed } from '../fault.ts';

/** A client's name, which is also the name of its folder in the store. */
export const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** A login name that the host may dial: the default pattern of useradd(8). */
export const LOGIN = /^[a-z_][a-z0-9_-]{0,31}$/;
const USER = '(?:[a-z_][a-z0-9_.-]*@)?';
const HOST = '[a-zA-Z0-9][a-zA-Z0-9._-]*';
const IPV6 = '[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:%[a-zA-Z0-9_.-]+)?';
const PORT = String.raw`(?::\d{1,5})?`;
/**
 * `[user@]host` or `ssh://[user@]host[:port]`. It excludes text that ssh would take for an option or for an odd host name
 * (`host:port`, `[::1]`). An IPv6 address has brackets after `ssh://`, and none otherwise.
 */
export const TARGET = new RegExp(
  String.raw`^(?:${USER}(?:${HOST}|${IPV6})|ssh://${USER}(?:${HOST}|\[${IPV6}\])${PORT})$`,
);
/** A snapshot's name: the start of the run in UTC, by the host's clock. */
export const SNAPSHOT = /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z$/;

/** Converts an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2) to IPv4; returns others as they are. */
export function unfold(address: string): string {
  const found = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  return found !== undefined && isIP(found) === 4 ? found : address;
}

/** The name of a snapshot that starts at this time. */
export function snapshotName(time: Date): string {
  return `${time.toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}

/** The time in a snapshot's name. @returns undefined for any other text, and for a day that does not exist */
export function snapshotTime(name: string): Date | undefined {
  if (!SNAPSHOT.test(name)) return undefined;
  const time = new Date(`${name.slice(0, 13)}:${name.slice(14, 16)}:${name.slice(17, 20)}`);
  // A day or an hour that does not exist becomes a later one, or no time. toISOString() would tell too, and takes three times as long.
  const isSame =
    time.getUTCDate() === Number(name.slice(8, 10)) && time.getUTCHours() === Number(name.slice(11, 13));
  return isSame ? time : undefined;
}

/** The command that a client's ssh requests: the client's name, and the port for the connection back. */
export interface CallCommand {
  name: string;
  /** The port where it listens; undefined: the host does not dial back. */
  port: number | undefined;
  /** The purpose of the call: a run, whether the host accepts calls (host/probe.ts), or files of an offer (wire/fetch.ts). */
  purpose: 'run' | 'probe' | 'fetch';
}

/** Replaces the port when the host does not dial back. */
export const CHANNEL = 'channel';
/** Replaces the port for a probe. */
export const PROBE = 'probe';
/** Replaces the port to fetch files. */
export const FETCH = 'fetch';

/** @param text `NAME:PORT`, `NAME:channel`, `NAME:probe` or `NAME:fetch`, byte for byte; the port in decimal without leading zeros */
export function parseCallCommand(text: string): Parsed<CallCommand> {
  const found = /^([^:]*):([1-9]\d{0,4}|channel|probe|fetch)$/.exec(text);
  if (!found) return { reason: 'it is not NAME:PORT' };
  const [, name = '', place = ''] = found;
  if (!NAME.test(name)) return { reason: 'the name has characters or a length that names do not have' };
  if (place === PROBE || place === FETCH) return { value: { name, port: undefined, purpose: place } };
  if (place === CHANNEL) return { value: { name, port: undefined, purpose: 'run' } };
  const port = Number(place);
  return port <= 65_535 ? { value: { name, port, purpose: 'run' } } : { reason: 'there is no such port' };
}

/**
 * Makes text from outside safe for a terminal and a log. It escapes control characters, bidirectional marks and bytes that are not
 * UTF-8, and cuts the text at `limit` characters.
 */
export function escapeText(text: string, limit = 400): string {
  // Controls, formats (bidirectional marks, characters without width), line ends, lone surrogates, replaced bytes.
  const escaped = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd\\]/gu, character => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return ESCAPES[character] ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`);
  });
  return escaped.length > limit ? `${escaped.slice(0, limit).replace(/\p{Cs}$/u, '')}…` : escaped;
}

const ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/**
 * JSON that is safe for a terminal: it escapes each character that a terminal would obey or hide.
 * @param indent as for JSON.stringify
 */
export function plainJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    Array.from(
      { length: character.length },
      (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** Quotes a word for /bin/sh. */
export function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A file's name in JSON: a string if it is UTF-8, otherwise its bytes. */
export type JsonName = string | { base64: string };

/** Converts a file's name for JSON. */
export function jsonName(bytes: Buffer): JsonName {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : { base64: bytes.toString('base64') };
}

/**
 * Decodes a name of any bytes without loss: a byte that is not UTF-8 becomes a lone surrogate (U+DC80 to U+DCFF), which valid UTF-8
 * cannot contain. So code that only knows strings can pass on any argument.
 */
export function decodeName(bytes: Buffer): string {
  const whole = bytes.toString('utf8');
  if (Buffer.from(whole, 'utf8').equals(bytes)) return whole;
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = [1, 2, 3, 4].find(each => isCharacter(bytes.subarray(at, at + each)));
    text +=
      length === undefined
        ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0))
        : bytes.toString('utf8', at, at + length);
    at += length ?? 1;
  }
  return text;
}

function isCharacter(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  return [...text].length === 1 && Buffer.from(text, 'utf8').equals(bytes);
}

/** The bytes of a text that `decodeName()` made; for any other text, its UTF-8. */
export function encodeName(text: string): Buffer {
  const parts = text.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 1 ? Buffer.from([part.charCodeAt(0) - 0xdc00]) : Buffer.from(part, 'utf8'),
    ),
  );
}

/** Formats a name for people: it escapes characters, and writes bytes that are not UTF-8 as \ooo. */
export function showName(name: JsonName): string {
  if (typeof name === 'string') return escapeText(name, 4096);
  return Buffer.from(name.base64, 'base64')
    .toString('latin1')
    .replace(/[^\x20-\x5b\x5d-\x7e]/g, byte => `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Decodes a path that has one character per byte as UTF-8. */
export function asText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
