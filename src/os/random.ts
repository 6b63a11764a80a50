/** Random numbers. */
import { randomBytes } from 'node:crypto';

/** Random bytes in hexadecimal. @param bytes their number */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** A random number from 0 up to, but not including, 1. Only to vary waiting times: it is not secret. */
export function randomShare(): number {
  return Math.random();
}
