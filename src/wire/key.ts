/** A strict reader for OpenSSH's public keys: the enrolled key of a client, the key of a host, one-time keys. */
import { createHash } from 'node:crypto';
import type { Parsed } from '../fault.ts';

/** One OpenSSH public key. */
export interface PublicKey {
  type: string;
  /** The base64 part. */
  blob: string;
  comment: string;
}

/** Checks the strings after the type's name in a key of each type (RFC 8709, RFC 5656, RFC 4253 section 6.6). */
const HOST_KEY_SHAPES: Record<string, (parts: Buffer[]) => boolean> = {
  'ssh-ed25519': parts => parts.length === 1 && parts[0]?.length === 32,
  'ecdsa-sha2-nistp256': parts => isCurvePoint(parts, 'nistp256', 32),
  'ecdsa-sha2-nistp384': parts => isCurvePoint(parts, 'nistp384', 48),
  'ecdsa-sha2-nistp521': parts => isCurvePoint(parts, 'nistp521', 66),
  'ssh-rsa': parts => isRsa(parts),
};
/** Keys that need a person to touch a token, so a host cannot have one. */
const TOKEN_TYPES = ['sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com'];
const KEY_TYPES = new Set([...Object.keys(HOST_KEY_SHAPES), ...TOKEN_TYPES]);

/** Reads a public key file: exactly one key, `TYPE BASE64 [COMMENT]`, without options before it. @returns the key, or why it is refused */
export function parsePublicKey(text: string): Parsed<PublicKey> {
  if (/PRIVATE KEY-----/.test(text))
    return { reason: 'it is the private half; the file that ends in .pub is wanted' };
  const lines = text.split(/\r?\n/).filter(line => line.trim() !== '' && !line.startsWith('#'));
  const [line] = lines;
  if (line === undefined) return { reason: 'it is empty' };
  if (lines.length > 1) return { reason: `it has ${lines.length} lines, and one key is wanted` };
  const found = /^(\S+) ([A-Za-z0-9+/]+={0,2})(?: (.*))?$/.exec(line.trim());
  const [, type = '', blob = '', comment = ''] = found ?? [];
  if (!found || !KEY_TYPES.has(type))
    return { reason: 'it is not one line "TYPE BASE64 COMMENT" of an OpenSSH public key' };
  const bytes = Buffer.from(blob, 'base64');
  const [name, ...rest] = stringsOf(bytes);
  if (name?.toString('latin1') !== type || rest.length === 0 || bytes.toString('base64') !== blob) {
    return { reason: `its base64 part is not a key of type ${type}` };
  }
  return { value: { type, blob, comment: /^[\x21-\x7e ]{1,100}$/.test(comment) ? comment : '' } };
}

/** The accepted sizes of an RSA key in bits: sshd makes 3072, and ssh accepts no more than 16384. */
const RSA_BITS = { least: 2048, most: 16_384 };

/**
 * Reads a host's public key file (/etc/ssh): a type that sshd can have, and a complete key of that type. It drops the comment.
 * @returns the key, or why it is refused
 */
export function parseHostKey(text: string): Parsed<PublicKey> {
  const parsed = parsePublicKey(text);
  if ('reason' in parsed) return parsed;
  const { type, blob } = parsed.value;
  const shape = HOST_KEY_SHAPES[type];
  if (shape === undefined) return { reason: `a host's key cannot have the type ${type}` };
  const [, ...parts] = stringsOf(Buffer.from(blob, 'base64'));
  if (!shape(parts)) return { reason: `its base64 part is not a whole key of type ${type}` };
  return { value: { type, blob, comment: '' } };
}

/** An uncompressed point: 4 and the two coordinates (SEC 1, section 2.3.3). */
function isCurvePoint(parts: Buffer[], curve: string, bytes: number): boolean {
  const [name, point] = parts;
  if (parts.length !== 2 || name?.toString('latin1') !== curve) return false;
  return point?.length === 1 + 2 * bytes && point[0] === 4;
}

/** The exponent and the modulus: positive, without leading zeros (RFC 4251 section 5, mpint). */
function isRsa(parts: Buffer[]): boolean {
  const [exponent, modulus] = parts;
  if (parts.length !== 2 || !exponent || !modulus || !parts.every(isPositive)) return false;
  const bits = bitsOf(modulus);
  return bits >= RSA_BITS.least && bits <= RSA_BITS.most && bitsOf(exponent) <= 64;
}

function isPositive(number: Buffer): boolean {
  const [first = 0x80, second = 0] = number;
  return first < 0x80 && (first !== 0 || second >= 0x80);
}

function bitsOf(number: Buffer): number {
  const at = number.findIndex(byte => byte !== 0);
  return at < 0 ? 0 : (number.length - at - 1) * 8 + (32 - Math.clz32(number[at] ?? 0));
}

/** The strings of a key (RFC 4251 section 5). @returns an empty list when they do not fill it exactly */
function stringsOf(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const from = at + 4;
    at = from + (from <= bytes.length ? bytes.readUInt32BE(at) : 0);
    if (at > bytes.length) return [];
    strings.push(bytes.subarray(from, at));
  }
  return strings;
}

/** A key's fingerprint in the form of `ssh-keygen -l`, for people to compare. */
export function fingerprint(key: PublicKey): string {
  const digest = createHash('sha256').update(Buffer.from(key.blob, 'base64')).digest('base64');
  return `SHA256:${digest.replace(/=+$/, '')}`;
}

/** A key as text, without its comment. */
export function showKey(key: PublicKey): string {
  return `${key.type} ${key.blob}`;
}

/** Whether a text is one ed25519 public key and nothing else: type, base64, no comment. */
export function isEd25519Key(text: string): boolean {
  const parsed = parseHostKey(text);
  return 'value' in parsed && parsed.value.type === 'ssh-ed25519' && showKey(parsed.value) === text;
}

/**
 * Reads the line that ssh-keygen or ssh-add prints: an ed25519 public key and its comment.
 * @returns the key without the comment; undefined for any other text, and for more than one line
 */
export function readEd25519Line(text: string): string | undefined {
  const [, key = ''] = /^(\S+ \S+)(?: .*)?\n?$/.exec(text) ?? [];
  return isEd25519Key(key) ? key : undefined;
}
