/**
 * Attacks that a hostile host could send to the client's rsync. The client tries them on its own rsync (client/trial.ts).
 *
 * Each attack is one sequence of bytes, which needs no answer: the greeting, the arguments and the filter rules of protocol 30, which
 * every rsync since 3.0.0 speaks. The rsync lists a folder with three files, and must not list or read one of them.
 */
import { MODULE } from './rsync.ts';

/** The file that is served. No two names begin alike, since a file list omits the part that a name shares with the one before. */
export const SERVED = 'a-5d1f0c92';
const BESIDE = 'b-5d1f0c92';
/** The file that the filter excludes. */
export const KEPT = 'k-5d1f0c92';

/** The files of the folder. The excluded file is a list of rules: if rsync reads it, the served file disappears from the list. */
export const ATTACKED_FILES: Record<string, string> = {
  [SERVED]: 'dialback\n',
  [BESIDE]: '',
  [KEPT]: `- ${SERVED}\n`,
};

/** Whether a reply contains the list of the folder. */
export const isListed = (reply: string): boolean => reply.includes(BESIDE);

/** One attack. */
export interface Attack {
  /** Describes the attack, for a message: it follows "a host that". */
  how: string;
  /** The bytes that it sends. */
  request: Buffer;
  /** Whether the attack succeeded. @param reply rsync's whole output and standard error */
  succeeds(reply: string): boolean;
}

/** A second command line, which rsync reads instead of the first one if it accepts `--protect-args` (`-s`). */
const SECOND_LINE = ['-s', '.', '', 'rsync', '--server', '--sender'];

/**
 * The attacks: three list the excluded file or read its content as rules, and two use options that the daemon's config refuses.
 * rsync's `*` does not cover the first of these options.
 * @param folder the absolute path of the folder with the files
 */
export function attacksOn(folder: string): Attack[] {
  const kept = `${folder}/${KEPT}`;
  const isRead = (reply: string): boolean => isListed(reply) && !reply.includes(SERVED);
  return [
    {
      how: 'clears the filter',
      request: hostileRequest(folder, [], ['!', 'clear', '+ **']),
      succeeds: reply => reply.includes(KEPT),
    },
    { how: 'sends a merge rule', request: hostileRequest(folder, [], [`. ${kept}`]), succeeds: isRead },
    {
      how: 'sends a merge rule for each folder',
      request: hostileRequest(folder, [], [`: ${kept}`]),
      succeeds: isRead,
    },
    { how: 'sends --protect-args', request: hostileRequest(folder, SECOND_LINE, []), succeeds: isListed },
    { how: 'sends --copy-links', request: hostileRequest(folder, ['-L'], []), succeeds: isListed },
  ];
}

const MPLEX_BASE = 7; // rsync.h: a data frame

function hostileRequest(folder: string, options: string[], rules: string[]): Buffer {
  const args = ['--server', '--sender', ...options, '-ltr', '.', `${MODULE}${folder}`, ''];
  const list = Buffer.concat([
    ...rules.flatMap(rule => [int(Buffer.byteLength(rule)), Buffer.from(rule)]),
    int(0),
  ]);
  const opening = `@RSYNCD: 30.0\n${MODULE}\n${args.map(each => `${each}\0`).join('')}`;
  return Buffer.concat([Buffer.from(opening), int((MPLEX_BASE << 24) | list.length), list]);
}

/** A number in the protocol: four bytes, little-endian. */
function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
