/** Random numbers. */
import { randomBytes } from 'node:crypto';

/** @param bytes how many; @returns as many random bytes in hexadecimal */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** Chance, from 0 to 1, 1 left out. For waits that must not all be the same; nothing secret is made of it. */
export function randomShare(): number {
  return Math.random();
}
