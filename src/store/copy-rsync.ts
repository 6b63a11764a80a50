/** The rsync of copy-store: its arguments, and its end. */

import { Fault } from '../fault.ts';
import { close } from '../os/files.ts';
import { linkEnvironment, openLinkLibrary } from '../os/link-library.ts';
import { type ExitResult, run, standard } from '../os/process.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';

/** The names of a client's files that belong to one store only: locks, caches that name inodes, results of `verify`, sent messages. */
const OWN_FILES = [
  'lock',
  '*.lock',
  'call.*',
  '*.sqlite*',
  'verified.json',
  'silence.json',
  '*.moving-*',
  '.verify-probe',
  '*.new',
  '*.new-*',
];

/** A snapshot to copy, and the folders that rsync may link its files to. */
export interface SnapshotCopy {
  /** The snapshot's folder in the store. */
  from: string;
  /** rsync's destination: a fresh folder. */
  to: string;
  /** Folders to link to, relative to the destination; rsync accepts 20. */
  linkDests: readonly string[];
  /** Whether rsync compares the content of the files in these, not only size and time. */
  checksum: boolean;
  /** Whether LIST has exact patterns of files that are left out. */
  hasExcludes: boolean;
}

/** rsync's name for its standard input. Each entry there has a NUL behind it. */
const LIST = '-';

/** The most folders that rsync links to (MAX_BASIS_DIRS in its rsync.h). */
export const MOST_LINK_DESTS = 20;

/** Reads the attributes of a fake-super tree as they are stored. rsync(1) on -X: the second one copies user.rsync.* too. */
export const RAW_ATTRIBUTES = ['-XX'];

/**
 * Reads the attributes as they were on the client, and stores them again for another account. With an xattr filter rsync no
 * longer excludes `system.` itself. The two rules for the receiver keep rsync from removing the ACLs of a folder
 * (wire/rsync.ts), and it gets rules only with --delete (exclude.c); the target is fresh.
 */
export const MAPPED_ATTRIBUTES = [
  '-X',
  '--fake-super',
  '-M--fake-super',
  '--delete',
  '--filter=-xr user.rsync.%aacl',
  '--filter=-xr user.rsync.%dacl',
  '--filter=-x system.**',
];

/** Archive, hard links, ACLs (a folder above can have a default one), sparse files, owners by number. */
const EXACT = ['-aHAS', '--numeric-ids', NANOSECONDS];

/** For the number of bytes in `CopyEnd`. */
const STATS = ['--stats', '--no-human-readable'];

/** The arguments that list what differs between a snapshot and its copy, by content. They write nothing. */
export function compareArguments(from: string, to: string, options: readonly string[]): string[] {
  const given = [...EXACT, '--checksum', '--dry-run', '--delete', '--out-format=%i %n'];
  return [...given, ...options, '--', `${from}/`, `${to}/`];
}

/**
 * The arguments for one snapshot.
 * @param options of the place
 */
export function snapshotArguments(copy: SnapshotCopy, options: readonly string[]): string[] {
  return [
    ...EXACT,
    ...STATS,
    '--partial', // the next attempt continues a large file
    ...(copy.checksum ? ['--checksum'] : []),
    ...(copy.hasExcludes ? ['--from0', `--exclude-from=${LIST}`] : []),
    ...copy.linkDests.map(each => `--link-dest=${each}`),
    ...options,
    '--',
    `${copy.from}/`,
    `${copy.to}/`,
  ];
}

/**
 * The arguments for single files of a client's snapshots, with their hard links across snapshots. LIST has their paths below `from`.
 * @param options of the place
 */
export function linkedArguments(
  { from, to, linkDest }: { from: string; to: string; linkDest: string },
  options: readonly string[],
): string[] {
  const files = ['--ignore-missing-args', '--from0', `--files-from=${LIST}`, `--link-dest=${linkDest}`];
  return [...EXACT, ...STATS, ...files, ...options, '--', `${from}/`, `${to}/`];
}

/** The arguments for the files of a client beside its snapshots: journals, ledger and marks. Not its folders. */
export function clientArguments(from: string, to: string, options: readonly string[]): string[] {
  return [
    '-dpt',
    '--delete', // a mark that the store no longer has
    '--exclude=*/',
    ...OWN_FILES.map(each => `--exclude=/${each}`),
    ...options,
    '--',
    `${from}/`,
    `${to}/`,
  ];
}

/**
 * The arguments for files beside the trees of snapshots that the copy has. Their names come on standard input, with a
 * NUL behind each. A prune can have removed some meanwhile.
 */
export function recordArguments(from: string, to: string, options: readonly string[]): string[] {
  const given = ['-pt', '--no-implied-dirs', '--ignore-missing-args', '--from0', '--files-from=-'];
  return [...given, ...options, '--', `${from}/`, `${to}/`];
}

/** Node's longest timer. A first copy can take days. */
const MOST_MS = 2 ** 31 - 1;

/** How rsync ended. */
export interface CopyEnd extends ExitResult {
  /** Its first error; empty if there was none. */
  found: string;
  isFull: boolean;
  /** Bytes of file content that it wrote. */
  bytes: number;
  /** The lines of its output. */
  lines: string[];
}

/** The beginning of each line that the library of linkat.c prints. */
const OF_LIBRARY = 'dialback-linkat: ';

/** How to run rsync. */
interface CopyRun {
  /** The folder of this machine that it writes into, without links; undefined if that is another machine's. */
  into: string | undefined;
  environment: Record<string, string>;
  /** Its standard input: LIST, or names for `recordArguments()`. */
  input?: Buffer | number | undefined;
  signal: AbortSignal;
}

/**
 * Runs rsync to its end.
 * @throws Fault when it cannot be started; the signal's reason
 */
export async function runCopy(
  args: readonly string[],
  { into, environment, input, signal }: CopyRun,
): Promise<CopyEnd> {
  const library = into === undefined ? undefined : openLinkLibrary();
  try {
    const more = library === undefined ? {} : linkEnvironment(3, into ?? '');
    const rsync = standard('rsync', [...args], { ...environment, ...more });
    const ended = await run(rsync, {
      ...(library === undefined ? {} : { more: [library] }),
      ...(input === undefined ? {} : { input }),
      timeoutMs: MOST_MS,
      signal,
    });
    const stdout = ended.stdout.toString('latin1');
    const lines = ended.stderr.split('\n').filter(each => each !== '' && !each.startsWith(OF_LIBRARY));
    return {
      status: ended.status,
      signal: ended.signal,
      found: escapeText(lines[0] ?? ''),
      isFull: /No space left on device|Disk quota exceeded/.test(ended.stderr),
      bytes: Number(/^Total transferred file size: (\d+) /m.exec(stdout)?.[1] ?? 0),
      lines: stdout.split('\n').filter(each => each !== ''),
    };
  } finally {
    if (library !== undefined) close(library);
  }
}

/** Converts the end of an rsync that failed to a fault. */
export function copyFault(tried: string, { status, signal, found, isFull }: CopyEnd): Fault {
  const ended = signal ? `${signal} killed rsync` : `rsync exited with status ${status}`;
  return new Fault({
    tried,
    found: found || ended,
    ...(isFull ? { next: 'free space there, and run the same command again', exit: 'noSpace' as const } : {}),
  });
}
