/**
 * Encodes the headers of a PAX archive (pax(1) of POSIX.1-2017, "pax Interchange Format"). An entry is an extended header with
 * records, where it needs any, a ustar header, and its content. All names and values are bytes.
 *
 * POSIX has no ACLs, xattrs and sparse files. They are written as GNU tar writes them, which bsdtar reads too: `SCHILY.acl.*`,
 * `SCHILY.xattr.*` and `GNU.sparse` 1.0.
 */
import type { EntryType } from './fake-super.ts';

/** A tar file has no sockets. A name of a file that an earlier entry has is a hard link. */
export type ArchiveType = Exclude<EntryType, 'socket'> | 'hard link';

/** A record of an extended header. */
export interface PaxRecord {
  /** Without `=` and NUL. */
  key: Buffer;
  value: Buffer;
}

/** An entry of the archive. */
export interface ArchiveEntry {
  /** Without a slash at either end; empty for the top, which becomes `./`. */
  path: Buffer;
  type: ArchiveType;
  /** 0 to 07777. */
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  /** Bytes behind the header, without the padding. */
  size: number;
  /** For a sparse file, its size with the sparse regions; then its content begins with `encodeSparseMap()`. */
  sparseSize?: number | undefined;
  /** A symlink's target, or the path of a hard link's first name. */
  target?: Buffer | null;
  device?: { major: number; minor: number } | null;
  /** ACLs and xattrs. */
  records?: readonly PaxRecord[];
}

const BLOCK = 512;

/** The end of an archive. */
export const END = Buffer.alloc(2 * BLOCK);

const FLAGS: Record<ArchiveType, string> = {
  file: '0',
  'hard link': '1',
  symlink: '2',
  'char device': '3',
  'block device': '4',
  folder: '5',
  fifo: '6',
};

const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
/** The largest numbers of seven and eleven octal digits. */
const SMALL_LIMIT = 0o7777777;
const LARGE_LIMIT = 0o77777777777;
const SECOND = 1_000_000_000n;

/** The number of bytes that fill the last block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** @returns the entry's headers, a whole number of blocks */
export function encodeHeader(entry: ArchiveEntry): Buffer {
  const own = Buffer.concat([entry.path, Buffer.from(entry.path.length === 0 ? './' : slashOf(entry))]);
  const path = entry.sparseSize === undefined ? own : Buffer.concat([Buffer.from('GNUSparseFile.0/'), own]);
  const target = entry.target ?? Buffer.alloc(0);
  const records = encodeRecords([
    ...nameRecords(path, target),
    ...numberRecords(entry),
    ...(entry.sparseSize === undefined ? [] : sparseRecords(own, entry.sparseSize)),
    ...(entry.records ?? []),
  ]);
  const extended =
    records.length === 0
      ? []
      : [
          ustar({ path: Buffer.from('PaxHeader'), flag: 'x', mode: 0o644, size: records.length }),
          records,
          Buffer.alloc(paddingOf(records.length)),
        ];
  const { type, mode, uid, gid, size, mtimeNs, device } = entry;
  const seconds = Number(mtimeNs / SECOND);
  const header = ustar({ path, target, flag: FLAGS[type], mode, uid, gid, size, seconds, device });
  return Buffer.concat([...extended, header]);
}

function slashOf({ type }: ArchiveEntry): string {
  return type === 'folder' ? '/' : '';
}

/**
 * Records for names that are too long for the ustar header. Readers do not convert the header's names, and a name of any
 * bytes is right there. They take a record's name for UTF-8, and bsdtar composes its letters. `hdrcharset` forbids that;
 * GNU tar does not know it, does not convert what is not UTF-8, and prints a warning.
 */
function nameRecords(path: Buffer, target: Buffer): PaxRecord[] {
  const long = [
    ...(splitName(path) ? [] : [{ key: Buffer.from('path'), value: path }]),
    ...(target.length <= NAME_BYTES ? [] : [{ key: Buffer.from('linkpath'), value: target }]),
  ];
  const isAscii = long.every(({ value }) => value.every(byte => byte < 0x80));
  return [...(isAscii ? [] : [textRecord('hdrcharset', 'BINARY')]), ...long];
}

/**
 * Splits a path for the ustar header, which has room for the last 100 bytes, and 155 for the folders in front of them.
 * @returns undefined if it does not fit
 */
function splitName(path: Buffer): { prefix: Buffer; name: Buffer } | undefined {
  if (path.length <= NAME_BYTES) return { prefix: Buffer.alloc(0), name: path };
  const at = path.indexOf('/', path.length - NAME_BYTES - 1);
  if (at <= 0 || at > PREFIX_BYTES || at === path.length - 1) return undefined;
  return { prefix: path.subarray(0, at), name: path.subarray(at + 1) };
}

/** The numbers that do not fit into the ustar header. */
function numberRecords({ uid, gid, size, mtimeNs }: ArchiveEntry): PaxRecord[] {
  const isWhole = mtimeNs % SECOND === 0n && mtimeNs >= 0n && mtimeNs / SECOND <= BigInt(LARGE_LIMIT);
  return [
    ...(size > LARGE_LIMIT ? [textRecord('size', String(size))] : []),
    ...(uid > SMALL_LIMIT ? [textRecord('uid', String(uid))] : []),
    ...(gid > SMALL_LIMIT ? [textRecord('gid', String(gid))] : []),
    ...(isWhole ? [] : [textRecord('mtime', decimal(mtimeNs))]),
  ];
}

/** Nanoseconds as a decimal number of seconds. */
function decimal(ns: bigint): string {
  const size = ns < 0n ? -ns : ns;
  const fraction = String(size % SECOND).padStart(9, '0');
  return `${ns < 0n ? '-' : ''}${size / SECOND}.${fraction}`;
}

/** The header has another name, so that a reader that does not know `GNU.sparse` does not take the map for content. */
function sparseRecords(path: Buffer, size: number): PaxRecord[] {
  return [
    textRecord('GNU.sparse.major', '1'),
    textRecord('GNU.sparse.minor', '0'),
    { key: Buffer.from('GNU.sparse.name'), value: path },
    textRecord('GNU.sparse.realsize', String(size)),
  ];
}

/** @param key ASCII */
export function textRecord(key: string, value: string): PaxRecord {
  return { key: Buffer.from(key), value: Buffer.from(value) };
}

function encodeRecords(records: readonly PaxRecord[]): Buffer {
  return Buffer.concat(records.map(encodeRecord));
}

/** Encodes `LENGTH KEY=VALUE\n`. The length is that of the whole record, its own digits included. */
function encodeRecord({ key, value }: PaxRecord): Buffer {
  const rest = Buffer.concat([Buffer.from(' '), key, Buffer.from('='), value, Buffer.from('\n')]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/**
 * The record of an xattr. GNU tar writes `=` and `%` of its name as `%3D` and `%25`, since a record's key ends at the
 * first `=` (its xheader.c, `xattr_encode_keyword()`).
 */
export function xattrRecord(name: Buffer, value: Buffer): PaxRecord {
  const escaped = name.toString('latin1').replace(/[%=]/g, each => (each === '=' ? '%3D' : '%25'));
  return { key: Buffer.from(`SCHILY.xattr.${escaped}`, 'latin1'), value };
}

/** A part of a sparse file that has data, in bytes. */
export interface Range {
  start: number;
  end: number;
}

/**
 * Encodes the map in front of a sparse file's data: the number of parts, then the offset and the size of each. An empty
 * part at the end tells the size, as GNU tar writes it.
 * @returns a whole number of blocks
 */
export function encodeSparseMap(ranges: readonly Range[], size: number): Buffer {
  const parts = ranges.at(-1)?.end === size ? ranges : [...ranges, { start: size, end: size }];
  const numbers = [parts.length, ...parts.flatMap(({ start, end }) => [start, end - start])];
  const map = Buffer.from(numbers.map(each => `${each}\n`).join(''));
  return Buffer.concat([map, Buffer.alloc(paddingOf(map.length))]);
}

interface UstarFields {
  path: Buffer;
  target?: Buffer;
  flag: string;
  mode: number;
  uid?: number;
  gid?: number;
  size: number;
  seconds?: number;
  device?: { major: number; minor: number } | null | undefined;
}

/** A ustar header. A value that does not fit is cut; a record has all of it. */
function ustar({
  path,
  target,
  flag,
  mode,
  uid = 0,
  gid = 0,
  size,
  seconds = 0,
  device,
}: UstarFields): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (at: number, digits: number, value: number): void => {
    const fits = Math.min(Math.max(value, 0), 8 ** digits - 1);
    header.write(fits.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  const { name, prefix } = splitName(path) ?? { name: path, prefix: Buffer.alloc(0) };
  name.copy(header, 0, 0, NAME_BYTES);
  prefix.copy(header, 345);
  octal(100, 7, mode);
  octal(108, 7, uid);
  octal(116, 7, gid);
  octal(124, 11, size);
  octal(136, 11, seconds);
  header.write(flag, 156, 'latin1');
  target?.copy(header, 157, 0, NAME_BYTES);
  header.write('ustar\x0000', 257, 'latin1');
  for (const [at, value] of [
    [329, device?.major ?? 0],
    [337, device?.minor ?? 0],
  ] as const) {
    octal(at, 7, value);
    if (value > SMALL_LIMIT) binary(header, at, value);
  }
  header.write('        ', 148, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Writes a number of up to 32 bits in the binary form of GNU tar, which has the highest bit set. No record has devices. */
function binary(header: Buffer, at: number, value: number): void {
  header.fill(0, at, at + 8);
  header[at] = 0x80;
  header.writeUInt32BE(value, at + 4);
}
