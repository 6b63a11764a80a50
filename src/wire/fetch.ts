/**
 * The messages of a client that fetches files, and of its host that has offered them. The call is `NAME:fetch`, with one line on its standard input:
 *
 *     dialback-fetch 1 ACTION CODE\n     ACTION is list, files or done
 *
 * For `list` and `files` the host answers on its standard output, in pieces of at most PIECE_LIMIT bytes:
 *
 *     dialback-offer 1\n
 *     LENGTH\n LENGTH bytes              pieces of the text below, cut anywhere
 *     0\n
 *
 * The text has one JSON object a line: the offer (`OfferHead`), then each entry (`OfferedEntry`). With `files`, the two become
 * rsync's connection after that. It is the handshake of wire/channel.ts with the sides exchanged, without its third line:
 *
 *     client  rsync --server --daemon .\n
 *     host    go\n
 *
 * `done` confirms that the client has compared what it fetched. The host then counts the offer as used. Each call ends with the event
 * `outcome` on standard error. A host that refuses sends only that event, the same bytes whatever the reason is.
 */
import type { Parsed } from '../fault.ts';
import { parseJson } from './json.ts';
import { isCode } from './offer-code.ts';
import { PATH_LIMIT } from './request.ts';
import { type JsonName, jsonName, snapshotTime } from './text.ts';

/** The longest request line, with its newline. */
export const FETCH_LINE_LIMIT = 64;
/** The first line of an answer. */
export const OFFER_VERSION = 'dialback-offer 1';
/** The most bytes of a piece of an answer. */
export const PIECE_LIMIT = 256 * 1024;
/** The longest line of an answer's text: an entry with all its attributes. */
export const ENTRY_LIMIT = 4 * 1024 * 1024;
/** The longest line between pieces. */
export const LENGTH_LINE_LIMIT = 16;

const ACTIONS = ['list', 'files', 'done'] as const;
type FetchAction = (typeof ACTIONS)[number];

/** The request of a client. */
export interface FetchRequest {
  action: FetchAction;
  /** In the form of `encodeCode`. */
  code: string;
}

/** Encodes a request. */
export function encodeFetchRequest({ action, code }: FetchRequest): string {
  return `dialback-fetch 1 ${action} ${code}\n`;
}

/** Decodes a request. @param line without its newline, one character a byte */
export function decodeFetchRequest(line: string): Parsed<FetchRequest> {
  const [version, number, action, code = '', ...more] = line.split(' ');
  if (version !== 'dialback-fetch' || number !== '1') return { reason: 'it is not a request of fetch' };
  const known = ACTIONS.find(each => each === action);
  if (known === undefined || more.length > 0) return { reason: 'it is not ACTION CODE' };
  return isCode(code) ? { value: { action: known, code } } : { reason: 'the code is malformed' };
}

/** The offer. */
export interface OfferHead {
  snapshot: string;
  state: 'full' | 'incomplete';
  /** Absolute paths as on the client; only `/` for a whole machine. */
  paths: JsonName[];
  /** Whether the snapshot has a manifest, so that entries have digests. */
  hasManifest: boolean;
}

/** How a stored entry can differ from its manifest (`Damage` in store/restore-compare.ts). */
const DAMAGES = ['missing', 'type', 'content', 'attributes', 'size', 'time'] as const;

/** An entry of an offer, as it was on the client. */
export interface OfferedEntry {
  /** Below `/`, without a leading slash; empty for `/` itself. */
  path: JsonName;
  type: 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'char device' | 'block device';
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Nanoseconds since 1970, in decimal. */
  mtime: string;
  device: [major: number, minor: number] | null;
  target: JsonName | null;
  /** As in `TreeEntry`. */
  acl: string | null;
  /** Name, and value in base64. */
  xattrs: [name: JsonName, value: string][];
  /** SHA-256 of the content, or of a link's target, in hexadecimal, by the manifest; null without one. */
  sha256: string | null;
  /** How the store differs from the manifest; null if it does not. A missing entry has only its path. */
  damage: (typeof DAMAGES)[number] | null;
}

/** Encodes a line of an answer. */
export function encodeOfferLine(line: OfferHead | OfferedEntry): string {
  return `${JSON.stringify(line)}\n`;
}

/** Encodes one piece of an answer. The empty piece ends it. */
export function encodePiece(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length}\n`), bytes]);
}

/** Decodes the line before a piece. @returns the bytes of the piece; 0 at the end */
export function decodePieceLength(line: string): Parsed<number> {
  const length = /^(?:0|[1-9]\d{0,6})$/.test(line) ? Number(line) : Number.NaN;
  return length <= PIECE_LIMIT ? { value: length } : { reason: 'it is not the length of a piece' };
}

type Check = (value: unknown) => boolean;

const isCount: Check = value => Number.isSafeInteger(value) && (value as number) >= 0;
const isId: Check = value => isCount(value) && (value as number) <= 0xffff_ffff;
const orNull =
  (check: Check): Check =>
  value =>
    value === null || check(value);
const oneOf =
  (values: readonly string[]): Check =>
  value =>
    values.includes(value as string);

const TYPES = ['file', 'folder', 'symlink', 'fifo', 'socket', 'char device', 'block device'];

const HEAD_CHECKS: Record<keyof OfferHead, Check> = {
  snapshot: value => typeof value === 'string' && snapshotTime(value) !== undefined,
  state: oneOf(['full', 'incomplete']),
  paths: value => Array.isArray(value) && value.length > 0 && value.every(isAbsolute),
  hasManifest: value => typeof value === 'boolean',
};

const ENTRY_CHECKS: Record<keyof OfferedEntry, Check> = {
  path: value => isInner(value),
  type: oneOf(TYPES),
  mode: value => isCount(value) && (value as number) <= 0o7777,
  uid: isId,
  gid: isId,
  size: isCount,
  mtime: value => typeof value === 'string' && /^(?:0|-?[1-9]\d{0,27})$/.test(value),
  device: orNull(value => Array.isArray(value) && value.length === 2 && value.every(isId)),
  target: orNull(value => isBytes(value, PATH_LIMIT + 1)),
  acl: orNull(value => typeof value === 'string' && /^[dugmo0-9:,rwx-]*$/.test(value)),
  xattrs: value => Array.isArray(value) && value.every(isXattr),
  sha256: orNull(value => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)),
  damage: orNull(oneOf(DAMAGES)),
};

/** Decodes the first line of an answer's text. */
export function decodeOfferHead(line: string): Parsed<OfferHead> {
  return decodeLine<OfferHead>(line, HEAD_CHECKS);
}

/** Decodes any other line. */
export function decodeOfferedEntry(line: string): Parsed<OfferedEntry> {
  return decodeLine<OfferedEntry>(line, ENTRY_CHECKS);
}

function decodeLine<T>(line: string, checks: Record<string, Check>): Parsed<T> {
  const parsed = parseJson(line);
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const found = parsed.value;
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    return { reason: 'it is not an object' };
  const fields = found as Record<string, unknown>;
  if (Object.keys(fields).some(key => !Object.hasOwn(checks, key)))
    return { reason: 'it has an unknown key' };
  for (const [key, isGood] of Object.entries(checks))
    if (!Object.hasOwn(fields, key) || !isGood(fields[key])) return { reason: `no acceptable "${key}"` };
  return { value: fields as T };
}

/** The bytes of a name in JSON; undefined where it has not the one form that `jsonName` gives it. */
export function nameBytes(value: unknown): Buffer | undefined {
  if (typeof value === 'string') return value.isWellFormed() ? Buffer.from(value) : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  const { base64, ...rest } = value as Record<string, unknown>;
  if (typeof base64 !== 'string' || Object.keys(rest).length > 0) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 && typeof jsonName(bytes) === 'object' ? bytes : undefined;
}

const isBytes = (value: unknown, limit: number): boolean => {
  const bytes = nameBytes(value);
  return bytes !== undefined && bytes.length <= limit && !bytes.includes(0);
};

/** Whether it is a path that stays below the folder that it is joined to. */
const isInner = (value: unknown): boolean => {
  const text = nameBytes(value)?.toString('latin1');
  if (text === undefined || text.length > PATH_LIMIT || text.includes('\0')) return false;
  return text === '' || text.split('/').every(name => !['', '.', '..'].includes(name));
};

const isAbsolute = (value: unknown): boolean => {
  const bytes = nameBytes(value);
  return bytes?.[0] === 0x2f && isInner(jsonName(bytes.subarray(1)));
};

function isXattr(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [name, content] = value as [unknown, unknown];
  return isBytes(name, 255) && typeof content === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(content);
}
