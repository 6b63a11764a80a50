/** The rsync of a restore: it reads a fake-super tree and writes real files; what it says is kept and counted. */
import { Fault } from '../fault.ts';
import { realPath } from '../os/files.ts';
import { launcherCommand } from '../os/launcher.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { type ExitResult, standard, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { RSYNC_EXIT } from '../wire/rsync-output.ts';
import { escapeText } from '../wire/text.ts';
import type { RestoreOptions, Selection } from './restore-selection.ts';
import type { Snapshot } from './store.ts';

/** How far a restore is. */
export interface RestoreProgress {
  bytes: number;
  /** Of all bytes; what is there already counts. */
  percent: number;
  /** Files whose content was written. */
  files: number;
}

/** Lines for a person: the first of them are kept, and all are counted. */
export class Lines {
  static readonly #LIMIT = 10_000;
  /** Characters. */
  static readonly #TEXT_LIMIT = 2 * 1024 * 1024;
  readonly #kept = new Set<string>();
  #length = 0;
  count = 0;

  /** One that is there already is not taken again. */
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

/** In the place of a host's name: the remote shell is env(1), which takes it for a variable and starts rsync. */
export const OTHER_SIDE = 'dialback=restore:';

/** What root's rsync may reach, where the launcher is installed: it changes files below `to`, and reads `tree`. */
export interface Place {
  to: string;
  tree: string;
}

/** By names without links. Below the store there may be none: they would be the account's that owns it. */
export function placeOf({ to, store }: RestoreOptions, { tree }: Snapshot): Place {
  return { to: realPath(to), tree: `${realPath(store)}${tree.slice(store.length)}` };
}

/** The filters match a name as it stands in the store and as it was. */
const INERT = [
  '--chmod=u-s,g-s',
  '--no-devices',
  '--filter=-x user.rsync.security.capability',
  '--filter=-x security.capability',
];

/**
 * How a fake-super tree is read, and real files written.
 * @param inert leaves out setuid and setgid bits, devices and file capabilities
 */
export function restoreArguments({ isRootUser, inert }: { isRootUser: boolean; inert: boolean }): string[] {
  return [
    '-aHAXS',
    '--numeric-ids',
    '--fake-super', // the sending side: owners, modes and devices out of the xattrs
    isRootUser ? '-M--super' : '-M--no-super',
    // A client's setuid program would run as the account that restores it.
    ...(inert ? INERT : isRootUser ? [] : ['--chmod=Fu-s,Fg-s']),
    // Never -M with a local copy: before 3.3.0 rsync then writes to a path in freed memory, and exits 0.
    '-e',
    programPath('env'),
    `--rsync-path=${programPath('rsync')}`,
    '-s', // the names go over the protocol, and not on env's command line
    '--whole-file', // as a local copy
    '--relative',
    NANOSECONDS,
    '--stats',
    '--no-human-readable',
  ];
}

/** Characters of rsync's --stats. */
const STATS_LIMIT = 65_536;

/** How rsync ended, and what it said. */
export interface Copied extends ExitResult {
  /** What no `take` took, without the lines that tell how far it is. */
  stdout: string;
  /** The first line of its standard error. */
  found: string | undefined;
  isFull: boolean;
}

/** Where what could not be given back is told. */
export interface Telling {
  signal: AbortSignal;
  lines: Lines;
  place: Place | undefined;
}

/** Who is told what of an rsync that runs; of what it could not do, `lines`. */
interface Listeners extends Telling {
  /** Of each line of its standard output. */
  take?: (line: string) => void;
  tell?: ((progress: RestoreProgress) => void) | undefined;
}

/** Whether rsync did what it could: all of it, or all but what it complained of (23). */
export function isDone(result: Copied): boolean {
  return result.status === 0 || result.status === RSYNC_EXIT.partial;
}

/**
 * rsync from what is selected: everything behind `/./` is made anew below `to`. The paths are arguments, since with
 * --files-from rsync 3.5.0 gets a fake-super tree's xattrs mixed up, and ends with 2 ("internal abbrev error").
 */
export async function copySelected(
  args: string[],
  { snapshot, paths }: Selection,
  to: string,
  listeners: Listeners,
): Promise<Copied> {
  const sources = paths.length === 0 ? [Buffer.alloc(0)] : paths;
  const words = sources.map(path => Buffer.concat([Buffer.from(`${snapshot.tree}/./`), path]));
  // rsync 3.5.0 refuses it from a working directory too (remember_sender_source_arg() in its flist.c).
  if (words.some(word => word.length > PATH_BYTES))
    throw new Fault({
      tried: `restore from "${snapshot.tree}"`,
      found: `a PATH and the store's own have more than ${PATH_BYTES} bytes together`,
      next: 'name a folder above it',
    });
  return await runRsync([...args, '--', ...words.map(asWord), `${OTHER_SIDE}${to}`], listeners);
}

/** A string where nothing is lost by it. */
function asWord(bytes: Buffer): string | Buffer {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : bytes;
}

/** Names on standard input: they need not be UTF-8. One that begins with `#` or `;` is no comment of rsync's. */
export function asFileList(names: Buffer[]): Buffer {
  return Buffer.concat(names.flatMap(name => [Buffer.from('/'), name, Buffer.from([0])]));
}

const LINE_LIMIT = 65_536;

/**
 * Runs rsync, and tells what it says; of that, little is kept.
 * @param args bytes where an argument is no UTF-8: then xargs(1) gives them, since node can give only strings
 * @throws the signal's reason
 */
export async function runRsync(
  args: (string | Buffer)[],
  { signal, lines, place, input, take, tell }: Listeners & { input?: Buffer },
): Promise<Copied> {
  signal.throwIfAborted();
  // All names before the first is copied: else the percents are of what it knows so far.
  const more = tell === undefined ? [] : ['--info=progress2', '--no-inc-recursive'];
  const words = [...more, ...args];
  const plain = words.filter(word => typeof word === 'string');
  const isPlain = plain.length === words.length;
  const given = isPlain
    ? input
    : Buffer.concat(words.flatMap(word => [Buffer.from(word as string), Buffer.from([0])]));
  const rsync = place ? launcherCommand(['place', place.to, place.tree, '--']) : standard('rsync', []);
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
  // xargs has one status for all that rsync can end with; rsync itself says which it was.
  if (!isPlain && copied.status !== 0 && code !== undefined) copied.status = Number(code);
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  return copied;
}

/** A line of rsync's --info=progress2. */
function readProgress(line: string): RestoreProgress | undefined {
  const found = /^\s*(\d+)\s+(\d{1,3})%\s+\S+\s+\S+(?:\s+\(xfr#(\d+),.*\))?\s*$/.exec(line);
  if (!found) return undefined;
  return { bytes: Number(found[1]), percent: Number(found[2]), files: Number(found[3] ?? 0) };
}

export function rsyncFault(tried: string, { status, found, isFull }: Copied): Fault {
  return new Fault({
    tried,
    found: escapeText(found ?? `rsync ended with status ${status}`),
    ...(isFull ? ({ exit: 'noSpace' } as const) : {}),
  });
}
