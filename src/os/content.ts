/** The content of plain files: reading it whole, as a stream or as a digest, and comparing it. */
import { createHash, type Hash, hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setImmediate as breathe } from 'node:timers/promises';
import { Fault } from '../fault.ts';
import {
  close,
  createReadStream,
  failedWith,
  fileFault,
  fstat,
  open,
  openFlags,
  readFile,
  readSync,
} from './files.ts';

/** Reads a whole file. @param limit bytes @throws Fault when it is larger or not a plain file */
export function readWhole(path: string | Buffer, limit: number): Buffer {
  let descriptor: number;
  try {
    // O_NONBLOCK: open(2) of a FIFO would block.
    descriptor = open(path, openFlags.O_RDONLY | openFlags.O_NONBLOCK);
  } catch (error) {
    throw fileFault(error, `read "${path}"`);
  }
  try {
    const { size } = requirePlain(descriptor, path);
    if (size > limit) {
      throw new Fault({ tried: `read "${path}"`, found: `it has ${size} bytes, at most ${limit} are taken` });
    }
    return readFile(descriptor);
  } catch (error) {
    throw error instanceof Fault ? error : fileFault(error, `read "${path}"`);
  } finally {
    close(descriptor);
  }
}

/** Opens a plain file as a stream. */
export function readingStream(path: string | Buffer): Readable {
  return createReadStream('', { fd: openQuietly(path) });
}

/** A plain file's digest, size and inode. */
interface Digested {
  digest: Buffer;
  /** Bytes that were read. */
  size: number;
  inode: bigint;
}

const CHUNK = 256 * 1024;
const BREATHE_MS = 50;
/** The buffer of the last file. The next one takes it away, since two files can be read at once: each waits in between. */
let spare: Buffer | undefined;
let breathedMs = 0;

/**
 * Computes the SHA-256 of a plain file. The access time stays as it is if the owner reads it.
 * @throws the failed call's error; the signal's reason
 */
export async function digestFile(
  path: string | Buffer,
  signal: AbortSignal,
): Promise<Omit<Digested, 'digest'> & { sha256: Buffer }> {
  const { digest, ...rest } = await hashFile('sha256', path, signal);
  return { sha256: digest, ...rest };
}

/** Digests that package managers record, as OpenSSL names them. */
export type DigestAlgorithm = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';

/**
 * Computes another digest of a plain file. @returns it in hexadecimal
 * @throws as `digestFile()`
 */
export async function hexDigestOfFile(
  path: string | Buffer,
  algorithm: DigestAlgorithm,
  signal: AbortSignal,
): Promise<string> {
  return (await hashFile(algorithm, path, signal)).digest.toString('hex');
}

async function hashFile(
  algorithm: DigestAlgorithm,
  path: string | Buffer,
  signal: AbortSignal,
): Promise<Digested> {
  const descriptor = openQuietly(path);
  const chunk = spare ?? Buffer.alloc(CHUNK);
  spare = undefined;
  try {
    const status = fstat(descriptor, { bigint: true });
    if (!status.isFile()) throw new Fault({ tried: 'read it', found: 'it is not a plain file' });
    let size = 0;
    /** Made only for a file of more than one chunk: it costs more than reading a small file. */
    let digest: Hash | undefined;
    let kept = 0;
    for (;;) {
      // The event loop receives signals. A turn of it for each small file would take longer than reading the file.
      if (performance.now() - breathedMs > BREATHE_MS) {
        await breathe();
        breathedMs = performance.now();
      }
      signal.throwIfAborted();
      const got = readSync(descriptor, chunk, kept, CHUNK - kept, null);
      size += got;
      kept += got;
      if (got > 0 && kept < CHUNK) continue;
      const part = chunk.subarray(0, kept);
      if (got === 0 && digest === undefined)
        return { digest: hash(algorithm, part, 'buffer'), size, inode: status.ino };
      digest ??= createHash(algorithm);
      digest.update(part);
      kept = 0;
      if (got === 0) return { digest: digest.digest(), size, inode: status.ino };
    }
  } finally {
    spare = chunk;
    close(descriptor);
  }
}

const TAIL_BYTES = 4096;

/**
 * Whether the last block of a plain file reads as zeros.
 * @param size its size in bytes, more than 0
 * @throws the failed call's error
 */
export function endsInZeros(path: Buffer, size: number): boolean {
  const start = Math.floor((size - 1) / TAIL_BYTES) * TAIL_BYTES;
  const tail = Buffer.alloc(size - start);
  const descriptor = openQuietly(path);
  try {
    readSync(descriptor, tail, 0, tail.length, start);
    return tail.every(byte => byte === 0);
  } finally {
    close(descriptor);
  }
}

/**
 * Opens a file without changing its access time, which only the owner may ask for (open(2), O_NOATIME).
 * @returns the descriptor, which the caller closes
 * @throws the error of open(2)
 */
export function openQuietly(path: string | Buffer): number {
  const flags = openFlags.O_RDONLY | openFlags.O_NOFOLLOW | openFlags.O_NONBLOCK;
  try {
    return open(path, flags | openFlags.O_NOATIME);
  } catch (error) {
    if (!failedWith(error, 'EPERM')) throw error;
    return open(path, flags);
  }
}

function requirePlain(
  descriptor: number,
  path: string | Buffer,
): { size: number; uid: number; mode: number } {
  const found = fstat(descriptor);
  if (!found.isFile()) throw new Fault({ tried: `read "${path}"`, found: 'it is not a plain file' });
  return found;
}

/**
 * Opens a plain file for another program to read; a symlink is not followed.
 * @returns the descriptor, which the caller closes
 * @throws the error of open(2); Fault when it is not a plain file
 */
export function openPlain(path: Buffer): number {
  const descriptor = open(path, openFlags.O_RDONLY | openFlags.O_NOFOLLOW | openFlags.O_NONBLOCK);
  try {
    requirePlain(descriptor, path);
    return descriptor;
  } catch (error) {
    close(descriptor);
    throw error;
  }
}

const COMPARED_BYTES = 1024 * 1024;

/**
 * Whether two plain files have the same content; a hole reads as zeros.
 * @throws the error of open(2) or read(2); the signal's reason
 */
export async function sameContent(one: Buffer, other: Buffer, signal: AbortSignal): Promise<boolean> {
  const descriptors: number[] = [];
  try {
    for (const path of [one, other]) descriptors.push(openPlain(path));
    const [a = -1, b = -1] = descriptors;
    const { size } = fstat(a);
    if (size !== fstat(b).size) return false;
    // One byte more than a small file has, so that the first read reaches the file's end.
    const bytes = Math.min(COMPARED_BYTES, size + 1);
    const [left, right] = [Buffer.allocUnsafe(bytes), Buffer.allocUnsafe(bytes)];
    for (;;) {
      const got = readFull(a, left);
      if (got !== readFull(b, right) || !left.subarray(0, got).equals(right.subarray(0, got))) return false;
      if (got < bytes) return true;
      await new Promise(resolve => setImmediate(resolve));
      signal.throwIfAborted();
    }
  } finally {
    for (const each of descriptors) close(each);
  }
}

/** Fills the buffer, or reads to the file's end. */
function readFull(descriptor: number, buffer: Buffer): number {
  let size = 0;
  for (let got = 1; got > 0 && size < buffer.length; size += got)
    got = readSync(descriptor, buffer, size, buffer.length - size, null);
  return size;
}
