/**
 * The code of an offer: 128 random bits as text that a person can read aloud and type. `7K3M-…`, seven groups of four: 26 characters
 * of the secret, and two that reveal a typing mistake before the host is called.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Parsed } from '../fault.ts';

/** The bytes of the secret. */
export const SECRET_BYTES = 16;

/** Crockford's base 32: no I, L, O and U, which look like other characters or make words. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const GROUPS = 7;
const GROUP = 4;
const SECRET_DIGITS = 26;

/** A code in the one form that a host accepts. */
const CODE = new RegExp(`^[${DIGITS}]{${GROUP}}(?:-[${DIGITS}]{${GROUP}}){${GROUPS - 1}}$`);

/** Encodes a secret of SECRET_BYTES. */
export function encodeCode(secret: Buffer): string {
  const bits = [...secret].map(byte => byte.toString(2).padStart(8, '0')).join('');
  const check = createHash('sha256').update(secret).digest().readUInt16BE(0) & 0x3ff;
  const all = `${bits.padEnd(SECRET_DIGITS * 5, '0')}${check.toString(2).padStart(10, '0')}`;
  const text = (all.match(/.{5}/g) ?? []).map(five => DIGITS[Number.parseInt(five, 2)]).join('');
  return (text.match(new RegExp(`.{${GROUP}}`, 'g')) ?? []).join('-');
}

/**
 * Reads a code as a person types it: in small letters, with `O` for 0 and `I` or `L` for 1, with other or without separators.
 * @returns the code as `encodeCode` writes it, or why it is none
 */
export function parseCode(text: string): Parsed<string> {
  const typed = text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
  if (typed.length !== GROUPS * GROUP)
    return { reason: `it has ${typed.length} letters and digits, and a code has ${GROUPS * GROUP}` };
  const values = [...typed].map(each => DIGITS.indexOf(each));
  if (values.includes(-1)) return { reason: 'it has a character that codes do not have' };
  const bits = values.map(value => value.toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(
    (bits.slice(0, SECRET_BYTES * 8).match(/.{8}/g) ?? []).map(byte => Number.parseInt(byte, 2)),
  );
  const code = encodeCode(secret);
  if (code.replaceAll('-', '') !== typed)
    return { reason: 'a character in it is wrong, or two are exchanged' };
  return { value: code };
}

/** Whether a text is a code in the form of `encodeCode`. */
export function isCode(text: string): boolean {
  return CODE.test(text);
}

/** SHA-256 of a code in hexadecimal: the only trace of it on the host. A secret of 128 random bits needs no slow hash. */
export function codeDigest(code: string): string {
  return createHash('sha256').update(code).digest('hex');
}

/** Compares two digests of `codeDigest` in constant time. */
export function isSameDigest(one: string, other: string): boolean {
  const [first, second] = [Buffer.from(one, 'hex'), Buffer.from(other, 'hex')];
  return first.length === second.length && timingSafeEqual(first, second);
}
