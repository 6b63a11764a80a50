/** rsync on the host: one pull over a line that is already there, watched and understood. */
import { Fault } from '../fault.ts';
import { sleep } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { close, realPath } from '../os/files.ts';
import { type Jail, launcherCommand, launcherPath, readJailLine } from '../os/launcher.ts';
import { linkEnvironment, NEW_INODE, openLinkLibrary, TIME_CUT } from '../os/link-library.ts';
import { type Child, type Command, type ExitResult, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { rsyncKnows } from '../os/versions.ts';
import type { Missing } from '../wire/events.ts';
import { CHECKSUM_IDLE_SECONDS, INSECURE_LINKS, pullArguments } from '../wire/rsync.ts';
import { type PullCounts, PullReader, readOversized } from '../wire/rsync-output.ts';
import { Complaints } from './complaints.ts';
import type { Line } from './dial.ts';
import { FIRST_BYTE, IDLE } from './relay.ts';
import type { UnstoredEntries } from './unstored.ts';

/** Of a line of rsync's: a name of 4095 bytes, each of them escaped, and the words around it. */
const LINE_LIMIT = 32 * 1024;
const LAST_WORDS_MS = 3_000;

export interface PullRequest {
  roots: string[];
  tree: string;
  linkDests: string[];
  dryRun: boolean;
  line: Line;
  /** The client's lock, handed on so that it lasts as long as rsync writes. */
  lock: number;
  /** Whether rsync runs in the launcher's jail. */
  confined: boolean;
  /** Whether the client has asked to be compared by content. */
  checksum: boolean;
  /** Whether what comes is compressed. */
  compress: boolean;
  /** Bytes: larger files are left out. */
  maxSize: number;
  /** Whether the store's file system takes no larger ones. */
  isStoreLimit: boolean;
  /** What comes from the client may not cease for longer. Its rsync gives a sign of life at half that time. */
  idleSeconds: number;
  /** Folders of the client's in which a file that could not be read has changed during the run. */
  enumerated: string[];
}

/** A pull under way. */
export interface Pull {
  /** Resolves when the client's first byte has come. */
  firstByte: Promise<void>;
  ended: Promise<PullEnd>;
  progress(): { bytes: number; percent: number };
  /** Undefined before rsync has said anything of it. */
  files(): { done: number; total: number; percent: number | null } | undefined;
  options: string[];
}

/** What a pull came to. */
export interface PullEnd {
  ending: ExitResult;
  counts: PullCounts;
  /** Whether rsync has said its statistics: one that was told by its peer to end has not. */
  hasStatistics: boolean;
  missing: Missing[];
  missingCount: number;
  /** Files that the client's rsync knows of and could not open. */
  unopened: number;
  /** How often it could not read one that it had opened: twice for each. */
  unread: number;
  /** Plain files of the client, and how many of them had content sent. */
  regularFiles: number;
  sentFiles: number;
  vanished: number;
  changedDuringRun: number;
  /** The jail that rsync ran in; undefined for none. */
  jail: Jail | undefined;
  /** The launcher did not come as far as rsync; its line is in `words`. */
  isRefusedByLauncher: boolean;
  /** Nothing came from the client for too long. */
  isIdle: boolean;
  /** Complaints that are not about the client's files, for the host's own log. */
  words: string[];
  wordCount: number;
  isOutOfSpace: boolean;
  /** Of the client's entries, those that this host could not store. */
  unstored: UnstoredEntries['found'];
  /** Inodes made where the file system took no further link (src/launcher/linkat.c). */
  newInodes: number;
  /** Whether the file system has cut a time. Never, where rsync has not loaded the library. */
  hasCutTimes: boolean;
}

/** The library's descriptor in rsync, behind the two ends of the line and the lock. */
const LIBRARY = 6;

/**
 * rsync, in the launcher's jail (it can write into the tree, link from the others, and nothing else) or without.
 * @param args as wire/rsync.ts describes them
 * @param hasLibrary whether it gets the library as a descriptor; the launcher has one of its own
 */
function receiverCommand(
  args: string[],
  { confined, tree, linkDests }: PullRequest,
  hasLibrary: boolean,
): Command {
  // SIGTERM: a receiver that may finish dying keeps a half-arrived file under its name.
  const command = confined
    ? launcherCommand(['receive', tree, ...linkDests, '--', ...args], 'TERM')
    : {
        program: programPath('rsync'),
        args,
        environment: { ...PLAIN_ENVIRONMENT, ...(hasLibrary ? linkEnvironment(LIBRARY, tree) : {}) },
        deathSignal: 'TERM' as const,
      };
  return { ...command, endedFirst: true }; // the client decides how much memory it takes
}

/** The remote shell as rsync's -e takes it: blanks in the path are kept by the quotes. */
function remoteShell(confined: boolean, idleSeconds: number): string {
  const program = confined ? launcherPath() : ownExecutable();
  if (program.includes("'")) {
    throw new Fault({ tried: `run "${program}"`, found: "rsync cannot be given a path with ' in it" });
  }
  return `'${program}' ${confined ? 'pump' : 'relay'} ${idleSeconds}`;
}

/**
 * How much of a run is done. rsync's percents are of all bytes, and count what is sent: they tell it where all is sent.
 * Where there is something to link against, most is not sent. Then the names that were looked at tell how much of the rest is
 * done, and the bytes move it on while a large file is sent.
 */
export function partDone({ reached, progress }: PullReader, isFirst: boolean): ReturnType<Pull['files']> {
  if (reached === undefined) return undefined;
  const { done, total, isWhole } = reached;
  const names = (100 * done) / Math.max(1, total);
  const percent = isFirst ? progress.percent : Math.floor(names + (progress.percent * (100 - names)) / 100);
  return { done, total, percent: isWhole ? percent : null };
}

/** src/launcher/launch.c: it refuses; there is no such program. */
const LAUNCHER_STATUSES = new Set([126, 127]);

/** Starts rsync. It is ended when `held` is released. */
export async function startPull(held: DisposableHolder, asked: PullRequest): Promise<Pull> {
  // The jail goes by places: a store that a link leads to is named by where it is.
  const request = {
    ...asked,
    tree: realPath(asked.tree),
    linkDests: asked.linkDests.map(each => realPath(each)),
  };
  const idleSeconds = Math.max(request.idleSeconds, request.checksum ? CHECKSUM_IDLE_SECONDS : 0);
  const shell = remoteShell(request.confined, idleSeconds);
  const insecureLinks = request.confined && (await rsyncKnows(INSECURE_LINKS));
  const args = pullArguments({ ...request, shell, idleSeconds, insecureLinks });
  const { line, lock } = request;
  const library = request.confined ? undefined : await openLinkLibrary();
  const rsync: Child = await start(receiverCommand(args, request, library !== undefined), [
    'nothing',
    'pipe',
    'pipe',
    line.reading,
    line.writing,
    lock,
    ...(library === undefined ? [] : [library]),
  ]);
  if (library !== undefined) close(library);
  line.letGo();
  held.defer(() => rsync.end(10_000));
  const reader = new PullReader();
  const firstByte = Promise.withResolvers<void>();
  const complaints = new Complaints(request.enumerated, request.tree);
  const end = {
    jail: undefined as Jail | undefined,
    isRefusedByLauncher: false,
    isIdle: false,
    newInodes: 0,
    hasCutTimes: false,
  };
  // Progress is written over itself: a carriage return ends a line too.
  eachLine(rsync.stdout, LINE_LIMIT, each => {
    const oversized = readOversized(each);
    if (oversized && request.isStoreLimit) complaints.unstored.leaveOut(oversized);
    else if (oversized) complaints.leaveOut(oversized);
    else reader.line(each);
  });
  eachLine(rsync.stderr, LINE_LIMIT, each => {
    const jail = request.confined ? readJailLine(each) : undefined;
    if (each === FIRST_BYTE) firstByte.resolve();
    else if (each === IDLE) end.isIdle = true;
    else if (each === NEW_INODE) end.newInodes += 1;
    else if (each === TIME_CUT) end.hasCutTimes = true;
    else if (jail !== undefined) end.jail ??= jail;
    else complaints.take(each);
  });
  return {
    firstByte: firstByte.promise,
    // Its pipes can be held open by the relay for as long as the client likes: what it said is here soon after its end.
    ended: rsync.exited.then(async ending => {
      await Promise.race([rsync.ended, sleep(LAST_WORDS_MS)]);
      // With a jail, such a status is rsync's own, or one that the client has sent it.
      end.isRefusedByLauncher = request.confined && !end.jail && LAUNCHER_STATUSES.has(ending.status ?? 0);
      complaints.finish();
      const { counts, hasStatistics, regularFiles, sentFiles } = reader;
      const { missing, missingCount, unopened, unread, vanished, changedDuringRun } = complaints;
      const { words, wordCount, isOutOfSpace } = complaints;
      const unstored = complaints.unstored.found;
      const told = {
        missing,
        missingCount,
        unopened,
        unread,
        vanished,
        changedDuringRun,
        words,
        wordCount,
        isOutOfSpace,
        unstored,
      };
      return { ending, counts, hasStatistics, regularFiles, sentFiles, ...told, ...end };
    }),
    progress: () => reader.progress,
    files: () => partDone(reader, request.linkDests.length === 0),
    options: args,
  };
}
