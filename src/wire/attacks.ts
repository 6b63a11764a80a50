/**
 * What a hostile host could send to the client's rsync, for a trial of that rsync (client/trial.ts). Pure.
 *
 * Each attack is sent at once, without a look at any answer: the greeting, the arguments and the filter rules, as protocol 30
 * has them (every rsync since 3.0.0 speaks it). The rsync lists a folder with three files, one of which it must keep back.
 */
import { MODULE } from './rsync.ts';

/** The file that is served. No two of the names begin alike: in a list of files a name does not repeat what it shares with the one before. */
export const SERVED = 'a-5d1f0c92';
const BESIDE = 'b-5d1f0c92';
/** The file that is kept back. */
export const KEPT = 'k-5d1f0c92';

/** The files of the folder. The one that is kept back is a list of rules, which hides another one if it is read. */
export const ATTACKED_FILES: Record<string, string> = {
  [SERVED]: 'dialback\n',
  [BESIDE]: '',
  [KEPT]: `- ${SERVED}\n`,
};

/** Whether a reply has the list of the folder. */
export const isListed = (reply: string): boolean => reply.includes(BESIDE);

/** One attack. */
export interface Attack {
  /** What the host does, for a message. */
  how: string;
  /** The bytes that it sends. */
  request: Buffer;
  /** Whether the attack succeeded. @param reply all that rsync said, on both its outputs */
  succeeds(reply: string): boolean;
}

/** A second command line, which is read instead of the first one where `--protect-args` (`-s`) is accepted. */
const SECOND_LINE = ['-s', '.', '', 'rsync', '--server', '--sender'];

/**
 * The attacks. The kept-back file can be listed, or its content can be read as rules. The options are two that the daemon refuses
 * by its config; rsync's `*` does not cover the first one.
 * @param folder the absolute path of the folder that has the files
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

const MPLEX_BASE = 7; // rsync.h: a frame of data

function hostileRequest(folder: string, options: string[], rules: string[]): Buffer {
  const args = ['--server', '--sender', ...options, '-ltr', '.', `${MODULE}${folder}`, ''];
  const list = Buffer.concat([
    ...rules.flatMap(rule => [int(Buffer.byteLength(rule)), Buffer.from(rule)]),
    int(0),
  ]);
  const opening = `@RSYNCD: 30.0\n${MODULE}\n${args.map(each => `${each}\0`).join('')}`;
  return Buffer.concat([Buffer.from(opening), int((MPLEX_BASE << 24) | list.length), list]);
}

/** A number of the protocol: four bytes, the lowest first. */
function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
