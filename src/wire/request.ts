/**
 * The request, which a client sends on the standard input of its call:
 *
 *     dialback-request 1\n
 *     header LENGTH\n   LENGTH bytes: one JSON object
 *     key LENGTH\n      LENGTH bytes: the one-time private key, as ssh-keygen wrote it
 *     excludes LENGTH\n LENGTH bytes: the exclude list, a record for the store
 *
 * Lengths are decimal, without leading zeros, within the limits below. No bytes may follow. The input stays open: its end means that
 * the client has disconnected.
 *
 * With the transports `channel` and `local` the key is empty, and the call continues (wire/channel.ts, wire/local.ts).
 */
import type { Parsed } from '../fault.ts';
import { parseJson } from './json.ts';
import { isEd25519Key } from './key.ts';
import { LOGIN } from './text.ts';

const REQUEST_VERSION = 'dialback-request 1';

/** The most bytes of each part. */
export const REQUEST_LIMITS = { header: 64 * 1024, key: 8 * 1024, excludes: 1024 * 1024 } as const;
/** The most roots of a request, and the longest path in bytes (PATH_MAX without its NUL). */
export const ROOTS_LIMIT = 256;
export const PATH_LIMIT = 4095;
/** The most folders in `enumerated`. */
export const ENUMERATED_LIMIT = 1000;

type Part = keyof typeof REQUEST_LIMITS;
const PARTS: Part[] = ['header', 'key', 'excludes'];
const LENGTH_LINE_LIMIT = 32;

/** The header. */
export type RequestHeader = CommonHeader & (DirectHeader | ChannelHeader);

/** The header of a request after which the host dials back. */
export interface DirectHeader {
  transport: 'direct';
  /** The account to dial back to. */
  user: string;
  /** The public half of the one-time sshd's key: `ssh-ed25519 AAAA…`. */
  host_key: string;
}

/** The header of a request whose own connection rsync uses, so that it has no key (`key_bytes` is 0). */
interface ChannelHeader {
  transport: 'channel' | 'local';
  /** Whether the client's rsync is in the launcher's jail. With `direct` the launcher itself reports that. */
  confined: boolean;
}

/** The fields of every header. */
export interface CommonHeader {
  /** Absolute paths, without `.`, `..` or doubled slashes. */
  roots: string[];
  /** The sizes of the two parts after the header, in bytes. */
  key_bytes: number;
  excludes_bytes: number;
  /** Report what would be copied, and copy nothing. */
  dry_run: boolean;
  /** The client's rsync, for the snapshot's record (`encodeRsync()`). */
  rsync: string;
  /**
   * Folders whose children the client's jail grants one by one: a file that is replaced there during the run cannot be read until
   * the next run. Empty without a jail.
   */
  enumerated: string[];
  /**
   * True: compare the content of files whose size and time have not changed. Omitted otherwise, so that a host that does not know
   * the key yet serves all other runs.
   */
  checksum?: true;
  /** The client wants compression with this method. Omitted otherwise, as `checksum`. */
  compress?: 'zstd';
  /** The host skips larger files, in bytes, and reports them as missing. Omitted without a limit, as `checksum`. */
  max_size?: number;
}

/** A request. */
export interface Request {
  header: RequestHeader;
  key: Buffer;
  excludes: Buffer;
}

/** Encodes a request. */
export function encodeRequest(request: Request): Buffer {
  const header = Buffer.from(JSON.stringify(request.header));
  const parts: Record<Part, Buffer> = { header, key: request.key, excludes: request.excludes };
  const pieces: Buffer[] = [Buffer.from(`${REQUEST_VERSION}\n`)];
  for (const part of PARTS) pieces.push(Buffer.from(`${part} ${parts[part].length}\n`), parts[part]);
  return Buffer.concat(pieces);
}

/**
 * Decodes the bytes that have arrived. It refuses as early as possible, for example after a wrong first line.
 * @param bytes all bytes from the first one on
 * @returns the request, or why it is refused; `incomplete` with `least`: the result stays the same until this many bytes have arrived
 */
export function decodeRequest(bytes: Buffer): { request: Request } | Refusal {
  const version = takeLine(bytes, 0, REQUEST_VERSION.length);
  if (!('line' in version)) return version;
  if (version.line !== REQUEST_VERSION) return { reason: `its first line is not "${REQUEST_VERSION}"` };
  let at = version.end;
  const found: Partial<Record<Part, Buffer>> = {};
  let header: RequestHeader | undefined;
  for (const part of PARTS) {
    const taken = takePart(bytes, at, part);
    if (!('content' in taken)) return taken;
    found[part] = taken.content;
    at = taken.end;
    if (part === 'header') {
      const parsed = parseHeader(taken.content);
      if ('reason' in parsed) return parsed;
      header = parsed.value;
    }
  }
  const { key, excludes } = found;
  if (!header || !key || !excludes) return { incomplete: true, least: at + 1 };
  if (key.length !== header.key_bytes) return { reason: 'the length of the key is not that in the header' };
  if (excludes.length !== header.excludes_bytes)
    return { reason: 'the length of the excludes is not that in the header' };
  if (at !== bytes.length) return { reason: 'something follows the request' };
  return { request: { header, key, excludes } };
}

type Refusal = { incomplete: true; least: number } | { reason: string };

function takeLine(bytes: Buffer, from: number, limit: number): { line: string; end: number } | Refusal {
  const end = bytes.indexOf(0x0a, from);
  if (end < 0 && bytes.length - from <= limit) return { incomplete: true, least: bytes.length + 1 };
  if (end < 0 || end - from > limit) return { reason: 'a line is too long' };
  return { line: bytes.toString('latin1', from, end), end: end + 1 };
}

function takePart(bytes: Buffer, from: number, part: Part): { content: Buffer; end: number } | Refusal {
  const taken = takeLine(bytes, from, LENGTH_LINE_LIMIT);
  if (!('line' in taken)) return taken;
  const digits = new RegExp(`^${part} (0|[1-9]\\d{0,9})$`).exec(taken.line)?.[1];
  if (digits === undefined) return { reason: `the line "${part} LENGTH" was expected` };
  const length = Number(digits);
  if (length > REQUEST_LIMITS[part]) return { reason: `${part} has more than ${REQUEST_LIMITS[part]} bytes` };
  const end = taken.end + length;
  if (bytes.length < end) return { incomplete: true, least: end };
  return { content: bytes.subarray(taken.end, end), end };
}

function parseHeader(bytes: Buffer): Parsed<RequestHeader> {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) return { reason: 'the header is not UTF-8' };
  const parsed = parseJson(text);
  if ('reason' in parsed) return { reason: `the header ${parsed.reason}` };
  const found = parsed.value;
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    return { reason: 'the header is not an object' };
  }
  const fields = found as Record<string, unknown>;
  if (!Object.hasOwn(fields, 'transport')) return { reason: 'the header has no "transport"' };
  const { transport } = fields;
  if (transport !== 'direct' && transport !== 'channel' && transport !== 'local')
    return { reason: `the header's "transport" is not acceptable` };
  const checks: Record<string, Check> = {
    ...COMMON_CHECKS,
    ...(transport === 'direct' ? DIRECT_CHECKS : CHANNEL_CHECKS),
  };
  for (const key of Object.keys(fields)) {
    if (!Object.hasOwn(checks, key))
      return { reason: 'the header has a key that this version does not know' };
  }
  for (const [key, isGood] of Object.entries(checks)) {
    if (!Object.hasOwn(fields, key) && OPTIONAL.has(key)) continue;
    if (!Object.hasOwn(fields, key)) return { reason: `the header has no "${key}"` };
    if (!isGood(fields[key])) return { reason: `the header's "${key}" is not acceptable` };
  }
  return { value: fields as unknown as RequestHeader };
}

const OPTIONAL: ReadonlySet<string> = new Set<keyof CommonHeader>(['checksum', 'compress', 'max_size']);

type Check = (value: unknown) => boolean;

const COMMON_CHECKS: Record<keyof CommonHeader, Check> = {
  roots: value =>
    Array.isArray(value) && value.length > 0 && value.length <= ROOTS_LIMIT && value.every(isRoot),
  excludes_bytes: value => Number.isSafeInteger(value) && (value as number) >= 0,
  key_bytes: value => Number.isSafeInteger(value),
  dry_run: value => typeof value === 'boolean',
  enumerated: value => Array.isArray(value) && value.length <= ENUMERATED_LIMIT && value.every(isRoot),
  checksum: value => value === true,
  compress: value => value === 'zstd',
  max_size: value => Number.isSafeInteger(value) && (value as number) > 0,
  rsync: value => typeof value === 'string' && new RegExp(`^[0-9A-Za-z.+~-]{1,${RSYNC_LENGTH}}$`).test(value),
};

const DIRECT_CHECKS: Record<keyof DirectHeader | 'key_bytes', Check> = {
  transport: value => value === 'direct',
  user: value => typeof value === 'string' && LOGIN.test(value),
  host_key: value => typeof value === 'string' && isEd25519Key(value),
  key_bytes: value => Number.isSafeInteger(value) && (value as number) > 0,
};

const CHANNEL_CHECKS: Record<keyof ChannelHeader | 'key_bytes', Check> = {
  transport: value => value === 'channel' || value === 'local',
  confined: value => typeof value === 'boolean',
  key_bytes: value => value === 0,
};

/** Whether a value is an acceptable root: an absolute path in its shortest form, without control characters. */
export function isRoot(value: unknown): value is string {
  if (typeof value !== 'string' || !value.startsWith('/') || Buffer.byteLength(value) > PATH_LIMIT)
    return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(value)) return false;
  // A lone surrogate would be encoded as other bytes.
  if (!value.isWellFormed()) return false;
  if (value === '/') return true;
  return value
    .slice(1)
    .split('/')
    .every(segment => segment !== '' && segment !== '.' && segment !== '..');
}

/**
 * Remarks of a client about its rsync. `lists-names`: its jail lets it list the names in every folder. `vulnerable`: neither the
 * version nor the package's changelog shows that all known vulnerabilities are fixed.
 */
const RSYNC_REMARKS = ['lists-names', 'vulnerable'] as const;
export type RsyncRemark = (typeof RSYNC_REMARKS)[number];

const RSYNC_LENGTH = 40;

/**
 * Encodes the header's `rsync`: the version, and `+REMARK` for each remark. A host of 0.1.0 would refuse an unknown key in the header,
 * but it accepts this text as a version.
 */
export function encodeRsync(version: string, remarks: RsyncRemark[]): string {
  const suffix = remarks.map(each => `+${each}`).join('');
  return `${version.slice(0, RSYNC_LENGTH - suffix.length)}${suffix}`;
}

/** Decodes the header's `rsync`. An unknown remark stays a part of the version. */
export function decodeRsync(text: string): { version: string; remarks: RsyncRemark[] } {
  const remarks: RsyncRemark[] = [];
  let version = text;
  for (const each of RSYNC_REMARKS.toReversed())
    if (version.endsWith(`+${each}`)) {
      version = version.slice(0, -each.length - 1);
      remarks.unshift(each);
    }
  return { version: version || 'unknown', remarks };
}
