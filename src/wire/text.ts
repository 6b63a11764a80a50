/** Names and text that cross between the two machines: parsed strictly, shown safely. */
import { isIP } from 'node:net';
import type { Parsed } from '../fault.ts';

/** What a client may be called; also a folder's name in the store. */
export const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** A login name that may be dialled; useradd(8)'s default pattern. */
export const LOGIN = /^[a-z_][a-z0-9_-]{0,31}$/;
const USER = '(?:[a-z_][a-z0-9_.-]*@)?';
const HOST = '[a-zA-Z0-9][a-zA-Z0-9._-]*';
const IPV6 = '[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:%[a-zA-Z0-9_.-]+)?';
const PORT = String.raw`(?::\d{1,5})?`;
/**
 * `[user@]host` or `ssh://[user@]host[:port]`: nothing that ssh could take for an option, and nothing that it takes for
 * a strange host name (`host:port`, `[::1]`). An IPv6 address stands alone, or in brackets behind `ssh://`.
 */
export const TARGET = new RegExp(
  String.raw`^(?:${USER}(?:${HOST}|${IPV6})|ssh://${USER}(?:${HOST}|\[${IPV6}\])${PORT})$`,
);
/** A snapshot's name: the host's UTC start. */
export const SNAPSHOT = /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z$/;

/** An IPv4 address that came as IPv6 (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2), unfolded; others as they are. */
export function unfold(address: string): string {
  const found = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  return found !== undefined && isIP(found) === 4 ? found : address;
}

/** A time as a snapshot's name, to the second. */
export function snapshotName(time: Date): string {
  return `${time.toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}

/** The time that a snapshot's name tells, or undefined when it is no such name or no such day. */
export function snapshotTime(name: string): Date | undefined {
  if (!SNAPSHOT.test(name)) return undefined;
  const time = new Date(`${name.slice(0, 10)}T${name.slice(11, 19).replaceAll('-', ':')}Z`);
  return !Number.isNaN(time.getTime()) && snapshotName(time) === name ? time : undefined;
}

/** What a client's ssh asks for: its name, and where it is to be dialled back. */
export interface CallCommand {
  name: string;
  /** The port it listens on; undefined: nowhere, the call itself is all. */
  port: number | undefined;
  /** It asks for no run: it measures how fast the connection is (wire/probe.ts). */
  isProbe: boolean;
}

/** What stands for the port where nothing listens. */
export const CHANNEL = 'channel';
/** What stands for it where no run is asked for. */
export const PROBE = 'probe';

/** @param text `NAME:PORT`, `NAME:channel` or `NAME:probe`, byte for byte; the port in decimal without leading zeros */
export function parseCallCommand(text: string): Parsed<CallCommand> {
  const found = /^([^:]*):([1-9]\d{0,4}|channel|probe)$/.exec(text);
  if (!found) return { reason: 'it is not NAME:PORT' };
  const [, name = '', place = ''] = found;
  if (!NAME.test(name)) return { reason: 'the name has characters or a length that names do not have' };
  if (place === CHANNEL || place === PROBE)
    return { value: { name, port: undefined, isProbe: place === PROBE } };
  const port = Number(place);
  return port <= 65_535 ? { value: { name, port, isProbe: false } } : { reason: 'there is no such port' };
}

/**
 * Text from outside made safe for a terminal and a log: control characters, bidirectional marks and what is not
 * UTF-8 shown as escapes, and cut at `limit` characters.
 */
export function escapeText(text: string, limit = 400): string {
  // Controls, formats (bidirectional marks, what has no width), line ends, lone surrogates, what was no UTF-8.
  const escaped = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd\\]/gu, character => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return ESCAPES[character] ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`);
  });
  return escaped.length > limit ? `${escaped.slice(0, limit).replace(/\p{Cs}$/u, '')}…` : escaped;
}

const ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/**
 * A value as JSON in which nothing is left that a terminal obeys or hides: it is written as an escape.
 * @param indent as JSON.stringify's
 */
export function plainJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    Array.from(
      { length: character.length },
      (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** A word for /bin/sh, in single quotes. */
export function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A file's name for JSON: a string where it is UTF-8, else its bytes (design: `{"base64": …}`). */
export type JsonName = string | { base64: string };

/** @param bytes a name as the file system has it */
export function jsonName(bytes: Buffer): JsonName {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : { base64: bytes.toString('base64') };
}

/**
 * A name as text, with nothing lost: UTF-8 as it is, any other byte as a lone surrogate (U+DC80 to U+DCFF), which no
 * UTF-8 can hold. So an argument of any bytes goes through code that knows strings alone.
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

/** What `decodeName` made, as bytes again; any other text as UTF-8. */
export function encodeName(text: string): Buffer {
  const parts = text.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 1 ? Buffer.from([part.charCodeAt(0) - 0xdc00]) : Buffer.from(part, 'utf8'),
    ),
  );
}

/** A name out of JSON for people: escaped, bytes that are not UTF-8 as \ooo. */
export function showName(name: JsonName): string {
  if (typeof name === 'string') return escapeText(name, 4096);
  return Buffer.from(name.base64, 'base64')
    .toString('latin1')
    .replace(/[^\x20-\x5b\x5d-\x7e]/g, byte => `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** A path of bytes, a character each, as the text that it is in UTF-8. */
export function asText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
