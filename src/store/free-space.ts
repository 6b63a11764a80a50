/**
 * What is free on the store's file system, against what has to stay free. rsync writes while nobody looks: so the nearer the mark is,
 * the sooner the next look.
 */
import { statfs } from '../os/files.ts';
import type { Quantity } from '../wire/quantity.ts';

/** Room on a file system. */
export interface Room {
  freeBytes: number;
  bytes: number;
  freeInodes: number;
  /** 0 where the file system makes inodes as it needs them. */
  inodes: number;
}

/** What has to stay free. */
export interface Marks {
  minFree: Quantity;
  minInodes: Quantity;
}

/** What is free where a path is, for who is not root. */
export function readRoom(path: string): Room {
  const { bsize, blocks, bavail, files, ffree } = statfs(path);
  return { freeBytes: bavail * bsize, bytes: blocks * bsize, freeInodes: ffree, inodes: files };
}

/** A quantity as a number. @param whole what 100% is */
export function amountOf(quantity: Quantity, whole: number): number {
  return 'count' in quantity ? quantity.count : Math.floor((whole * quantity.percent) / 100);
}

function marksOf(room: Room, { minFree, minInodes }: Marks): { bytes: number; inodes: number } {
  return {
    bytes: amountOf(minFree, room.bytes),
    inodes: room.inodes === 0 ? 0 : amountOf(minInodes, room.inodes),
  };
}

/** @returns what there is too little of, in words; undefined: there is enough */
export function lackOf(room: Room, marks: Marks): string | undefined {
  const least = marksOf(room, marks);
  if (room.freeBytes < least.bytes) return `${room.freeBytes} bytes are free, and min_free is ${least.bytes}`;
  if (room.inodes > 0 && room.freeInodes < least.inodes)
    return `${room.freeInodes} inodes are free, and min_inodes is ${least.inodes}`;
  return undefined;
}

/** While room is made for a run, it may use up so much of what has to stay free. */
const USED_MEANWHILE = 1 / 4;

/** Whether a run has to end although room is being made for it: it writes faster than that. */
export function isFarBelow(room: Room, marks: Marks): boolean {
  const least = marksOf(room, marks);
  const most = 1 - USED_MEANWHILE;
  return room.freeBytes < most * least.bytes || (room.inodes > 0 && room.freeInodes < most * least.inodes);
}

/** Faster than a run writes: its bytes come through ssh, and each name of its own. */
const BYTES_PER_MS = 2_000_000;
const INODES_PER_MS = 100;
const SHORTEST_MS = 10;

/**
 * When to look again, so that a run does not get past the marks unseen by more than it can write in 10 ms.
 * @param longestMs where the marks are far
 */
export function msToNextLook(room: Room, marks: Marks, longestMs: number): number {
  const least = marksOf(room, marks);
  const byBytes = (room.freeBytes - least.bytes) / BYTES_PER_MS;
  const byInodes = room.inodes === 0 ? longestMs : (room.freeInodes - least.inodes) / INODES_PER_MS;
  return Math.min(longestMs, Math.max(SHORTEST_MS, Math.min(byBytes, byInodes)));
}
