/**
 * The handshake of the channel transport, which turns a call into rsync's connection. After the request, each side writes to its
 * standard output:
 *
 *     host    rsync --server --daemon .\n   the command for the client's gate, as over a one-time sshd
 *     client  go\n
 *     host    go\n
 *
 * From then on all bytes belong to rsync, in both directions. The host reads in chunks: rsync sends its first byte only after the
 * third line, so the host cannot read bytes of rsync's by accident. The client reads byte by byte.
 */
import type { Parsed } from '../fault.ts';

/** The client's and the host's last line. */
export const GO = 'go\n';

/** The longest line of a handshake in characters, without its newline; a gate command is shorter. */
export const HANDSHAKE_LINE_LIMIT = 128;

/** Decodes the client's answer. @param bytes all bytes so far @returns whether it is complete, or why it is not acceptable */
export function decodeGo(bytes: Buffer): Parsed<boolean> {
  const text = bytes.toString('latin1');
  if (text === GO) return { value: true };
  return GO.startsWith(text) ? { value: false } : { reason: 'the answer is not "go"' };
}
