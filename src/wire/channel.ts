/**
 * The channel transport's handshake: how a call turns into rsync's own connection. After the request, on the host's standard
 * output and the client's:
 *
 *     host    rsync --server --daemon .\n   what it would have asked the one-time sshd for; the client's gate decides
 *     client  go\n
 *     host    go\n
 *
 * From then on each byte is rsync's, both ways. The third line is for whoever reads in portions, as the host does: nothing
 * of rsync's comes before it was said, so nothing is read that is not one's own. The client reads byte by byte.
 */
import type { Parsed } from '../fault.ts';

export const GO = 'go\n';

/** The longest line of a handshake, its newline not counted; a gate command has fewer characters. */
export const HANDSHAKE_LINE_LIMIT = 128;

/** What the host waits for after the command. @param bytes all that has come; @returns whether that was it */
export function decodeGo(bytes: Buffer): Parsed<boolean> {
  const text = bytes.toString('latin1');
  if (text === GO) return { value: true };
  return GO.startsWith(text) ? { value: false } : { reason: 'something else than "go" was answered' };
}
