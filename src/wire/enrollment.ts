/** The line that enrolls a client: `NAME TYPE BASE64 [COMMENT]`. `init --batch` prints it, and `enroll --from` reads it. Pure. */
import type { Parsed } from '../fault.ts';
import { type PublicKey, parsePublicKey } from './key.ts';
import { escapeText, NAME } from './text.ts';

/** A client and its public key. */
export interface Enrollment {
  name: string;
  key: PublicKey;
}

/** Writes the line, without a newline. @param publicKey `TYPE BASE64` */
export function encodeEnrollment(name: string, publicKey: string): string {
  return `${name} ${publicKey}`;
}

/** Reads a line. @returns the client and its key, or the reason why the line is refused */
export function decodeEnrollment(line: string): Parsed<Enrollment> {
  if ('value' in parsePublicKey(line))
    return { reason: 'the name of the client is missing in front of the key' };
  const [, name = '', rest = ''] = /^(\S+) (\S.*)$/s.exec(line) ?? [];
  if (!NAME.test(name)) return { reason: `"${escapeText(line, 60)}" is not a line "NAME TYPE BASE64"` };
  const key = parsePublicKey(rest);
  return 'reason' in key
    ? { reason: `the key of "${name}": ${key.reason}` }
    : { value: { name, key: key.value } };
}
