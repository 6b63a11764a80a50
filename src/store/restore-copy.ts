/** The rsync of a restore. It reads a fake-super tree and writes real files. Its messages are kept and counted. */
import { Fault } from '../fault.ts';
import { realPath } from '../os/files.ts';
import { jailCommand } from '../os/launcher.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { type ExitResult, standard, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { RSYNC_EXIT } from '../wire/rsync-output.ts';
import { escapeText } from '../wire/text.ts';
import type { RestoreOptions, Selection } from './restore-selection.ts';
import type { Snapshot } from './snapshot.ts';

/** The progress of a restore. */
export interface RestoreProgress {
  bytes: number;
  /** The percentage of all bytes, including those that are already in place. */
  percent: number;
  /** Files whose content was written. */
  files: number;
}

/** Lines for a person. Keeps the first ones and counts all. */
export class Lines {
  static readonly #LIMIT = 10_000;
  /** Characters. */
  static readonly #TEXT_LIMIT = 2 * 1024 * 1024;
  readonly #kept = new Set<string>();
  #length = 0;
  count = 0;

  /** Adds a line, unless it is already kept. */
  add(line: string): void {
    if (this.#kept.has(line)) return;
    this.count += 1;
    if (this.#kept.size >= Lines.#LIMIT || this.#length + line.length > Lines.#TEXT_LIMIT) return;
    this.#kept.add(line);
    this.#length += line.length;
  }

  get kept(): string[] {
    return [...this.#kept];
  }
}

/** In the place of a host's name. The remote shell is env(1), which reads this as a variable and starts rsync. */
export const OTHER_SIDE = 'dialback=restore:';

/** The folders that root's rsync may access, if the launcher is installed: it changes files below `to` and reads `tree`. */
interface Place {
  to: string;
  tree: string;
}

/** Resolves links, except below the store: a link there would be made by the account that owns the store. */
export function placeOf({ to, store }: RestoreOptions, { tree }: Snapshot): Place {
  return { to: realPath(to), tree: `${realPath(store)}${tree.slice(store.length)}` };
}

/** The filters match the stored name and the original one. */
const INERT = [
  '--chmod=u-s,g-s',
  '--no-devices',
  '--filter=-x user.rsync.security.capability',
  '--filter=-x security.capability',
];

/**
 * The arguments to read a fake-super tree and write real files.
 * @param inert leaves out setuid and setgid bits, devices and file capabilities
 */
export function restoreArguments({ isRootUser, inert }: { isRootUser: boolean; inert: boolean }): string[] {
  return [
    '-aHAXS',
    '--numeric-ids',
    '--fake-super', // the sending side takes owners, modes and devices from the xattrs
    isRootUser ? '-M--super' : '-M--no-super',
    // A client's setuid program would run as the account that restores it.
    ...(inert ? INERT : isRootUser ? [] : ['--chmod=Fu-s,Fg-s']),
    // Never -M with a local copy: rsync before 3.3.0 then writes to a path in freed memory, and exits 0.
    '-e',
    programPath('env'),
    `--rsync-path=${programPath('rsync')}`,
    '-s', // sends the names over the protocol instead of env's command line
    '--whole-file', // as a local copy does
    '--relative',
    NANOSECONDS,
    '--stats',
    '--no-human-readable',
  ];
}

/** Characters of rsync's --stats. */
const STATS_LIMIT = 65_536;

/** How rsync ended, and its output. */
export interface Copied extends ExitResult {
  /** The lines that no `take` received, without progress lines. */
  stdout: string;
  /** The first line of its standard error. */
  found: string | undefined;
  isFull: boolean;
}

/** Where to report what could not be restored. */
export interface Telling {
  signal: AbortSignal;
  lines: Lines;
  place: Place | undefined;
}

/** The receivers of rsync's output. `lines` receives its error messages. */
interface Listeners extends Telling {
  /** Receives each line of standard output. */
  take?: (line: string) => void;
  tell?: ((progress: RestoreProgress) => void) | undefined;
}

/** Whether rsync restored everything, or everything except what it reported (status 23). */
export function isDone(result: Copied): boolean {
  return result.status === 0 || result.status === RSYNC_EXIT.partial;
}

/**
 * Copies the selected paths. rsync creates everything behind `/./` below `to`. The paths are arguments, because with
 * --files-from rsync 3.5.0 confuses the xattrs of a fake-super tree and exits with 2 ("internal abbrev error").
 * @throws Fault when a path is too long for an argument
 */
export async function copySelected(
  args: string[],
  { snapshot, paths }: Selection,
  to: string,
  listeners: Listeners,
): Promise<Copied> {
  const sources = paths.length === 0 ? [Buffer.alloc(0)] : paths;
  const words = sources.map(path => Buffer.concat([Buffer.from(`${snapshot.tree}/./`), path]));
  // rsync 3.5.0 refuses such a path from a working directory too (remember_sender_source_arg() in its flist.c).
  if (words.some(word => word.length > PATH_BYTES))
    throw new Fault({
      tried: `restore from "${snapshot.tree}"`,
      found: `a PATH and the path of the store have more than ${PATH_BYTES} bytes together`,
      next: 'name a folder above it',
    });
  return await runRsync([...args, '--', ...words.map(asWord), `${OTHER_SIDE}${to}`], listeners);
}

/** Converts bytes to a string if that loses nothing. */
function asWord(bytes: Buffer): string | Buffer {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : bytes;
}

/**
 * Encodes names for --from0 --files-from. They may be any bytes. The slash in front keeps `#` and `;` from starting a
 * comment.
 */
export function asFileList(names: Buffer[]): Buffer {
  return Buffer.concat(names.flatMap(name => [Buffer.from('/'), name, Buffer.from([0])]));
}

const LINE_LIMIT = 65_536;

/**
 * Runs rsync and passes its output on.
 * @param args bytes if an argument is not UTF-8; then xargs(1) passes them, since node passes only strings
 * @returns the end of rsync and a limited part of its output
 * @throws the signal's reason
 */
export async function runRsync(
  args: (string | Buffer)[],
  { signal, lines, place, input, take, tell }: Listeners & { input?: Buffer },
): Promise<Copied> {
  signal.throwIfAborted();
  // Without incremental recursion the percentage is of all files.
  const more = tell === undefined ? [] : ['--info=progress2', '--no-inc-recursive'];
  const words = [...more, ...args];
  const plain = words.filter(word => typeof word === 'string');
  const isPlain = plain.length === words.length;
  const given = isPlain
    ? input
    : Buffer.concat(words.flatMap(word => [Buffer.from(word as string), Buffer.from([0])]));
  const rsync = place ? jailCommand(['place', place.to, place.tree, '--']) : standard('rsync', []);
  const command = isPlain
    ? { ...rsync, args: [...rsync.args, ...plain] }
    : standard('xargs', ['-0', '-x', '-n', String(words.length), rsync.program, ...rsync.args]);
  const child = await start(command, [given ? 'pipe' : 'nothing', 'pipe', 'pipe']);
  const abort = (): void => void child.end();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const copied: Copied = { status: null, signal: null, stdout: '', found: undefined, isFull: false };
  eachLine(child.stdout, LINE_LIMIT, line => {
    const progress = tell === undefined ? undefined : readProgress(line);
    if (progress) tell?.(progress);
    else if (take) take(line);
    else if (copied.stdout.length < STATS_LIMIT) copied.stdout += `${line}\n`;
  });
  let code: string | undefined;
  eachLine(child.stderr, LINE_LIMIT, line => {
    if (line === '') return;
    copied.found ??= line;
    if (/No space left on device|Disk quota exceeded/.test(line)) copied.isFull = true;
    code ??= /^rsync error: .* \(code (\d+)\) at /.exec(line)?.[1];
    if (!line.startsWith('rsync error: ')) lines.add(line);
  });
  if (given) child.stdin?.end(given);
  Object.assign(copied, await child.ended);
  // xargs has one exit status for all of rsync's failures. rsync's own message has the number.
  if (!isPlain && copied.status !== 0 && code !== undefined) copied.status = Number(code);
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  return copied;
}

/** Parses a line of rsync's --info=progress2. */
export function readProgress(line: string): RestoreProgress | undefined {
  const found = /^\s*(\d+)\s+(\d{1,3})%\s+\S+\s+\S+(?:\s+\(xfr#(\d+),.*\))?\s*$/.exec(line);
  if (!found) return undefined;
  return { bytes: Number(found[1]), percent: Number(found[2]), files: Number(found[3] ?? 0) };
}

/** Converts the end of a failed rsync to a fault. @param tried for the message */
export function rsyncFault(tried: string, { status, found, isFull }: Copied): Fault {
  return new Fault({
    tried,
    found: escapeText(found ?? `rsync exited with status ${status}`),
    ...(isFull ? ({ exit: 'noSpace' } as const) : {}),
  });
}
