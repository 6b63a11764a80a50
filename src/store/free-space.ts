/**
 * Compares the free space of the store's file system with the limits that must stay free. rsync writes between two
 * checks, so the checks become more frequent near the limit.
 */
import { statfs } from '../os/files.ts';
import type { Quantity } from '../wire/quantity.ts';

/** Room on a file system. */
interface Room {
  freeBytes: number;
  bytes: number;
  freeInodes: number;
  /** 0 if the file system makes inodes when it needs them. */
  inodes: number;
}

/** The amounts that must stay free. */
interface Marks {
  minFree: Quantity;
  minInodes: Quantity;
}

/** Reads the free space for an account that is not root. */
export function readRoom(path: string): Room {
  const { bsize, blocks, bavail, files, ffree } = statfs(path);
  return { freeBytes: bavail * bsize, bytes: blocks * bsize, freeInodes: ffree, inodes: files };
}

/** The free bytes for an account that is not root; null if they cannot be read. */
export function freeBytesQuietly(path: string): number | null {
  try {
    return readRoom(path).freeBytes;
  } catch {
    return null;
  }
}

/** Converts a quantity to a number. @param whole what 100% is */
export function amountOf(quantity: Quantity, whole: number): number {
  return 'count' in quantity ? quantity.count : Math.floor((whole * quantity.percent) / 100);
}

function marksOf(room: Room, { minFree, minInodes }: Marks): { bytes: number; inodes: number } {
  return {
    bytes: amountOf(minFree, room.bytes),
    inodes: room.inodes === 0 ? 0 : amountOf(minInodes, room.inodes),
  };
}

/** @returns a sentence about the lack; undefined if there is enough */
export function lackOf(room: Room, marks: Marks): string | undefined {
  const least = marksOf(room, marks);
  if (room.freeBytes < least.bytes) return `${room.freeBytes} bytes are free, and min_free is ${least.bytes}`;
  if (room.inodes > 0 && room.freeInodes < least.inodes)
    return `${room.freeInodes} inodes are free, and min_inodes is ${least.inodes}`;
  return undefined;
}

/** While dialback makes room for a run, the run may use this part of the space that must stay free. */
const USED_MEANWHILE = 1 / 4;

/** Whether a run must end although dialback is making room for it, because it writes faster than that. */
export function isFarBelow(room: Room, marks: Marks): boolean {
  const least = marksOf(room, marks);
  const most = 1 - USED_MEANWHILE;
  return room.freeBytes < most * least.bytes || (room.inodes > 0 && room.freeInodes < most * least.inodes);
}

/** Faster than any run writes: its bytes come through ssh, and it creates names one by one. */
const BYTES_PER_MS = 2_000_000;
const INODES_PER_MS = 100;
const SHORTEST_MS = 10;

/**
 * When to check again, so that a run cannot exceed the limit unnoticed by more than it writes in 10 ms.
 * @param longestMs the answer when the limits are far away
 * @returns milliseconds
 */
export function msToNextLook(room: Room, marks: Marks, longestMs: number): number {
  const least = marksOf(room, marks);
  const byBytes = (room.freeBytes - least.bytes) / BYTES_PER_MS;
  const byInodes = room.inodes === 0 ? longestMs : (room.freeInodes - least.inodes) / INODES_PER_MS;
  return Math.min(longestMs, Math.max(SHORTEST_MS, Math.min(byBytes, byInodes)));
}
