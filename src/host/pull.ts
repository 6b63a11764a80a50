/** rsync on the host: one pull over an open connection, and its report. */
import { Fault } from '../fault.ts';
import { sleep } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { close, realPath } from '../os/files.ts';
import { type Jail, jailCommand, jailPath, readJailLine } from '../os/launcher.ts';
import { linkEnvironment, NEW_INODE, openLinkLibrary, TIME_CUT } from '../os/link-library.ts';
import { type Child, type Command, type ExitResult, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { rsyncKnows } from '../os/versions.ts';
import type { Missing } from '../wire/events.ts';
import { CHECKSUM_IDLE_SECONDS, INSECURE_LINKS, pullArguments } from '../wire/rsync.ts';
import { type PullCounts, PullReader, readOversized, type UnlinkedCounts } from '../wire/rsync-output.ts';
import { Complaints } from './complaints.ts';
import type { Connection } from './dial.ts';
import { FIRST_BYTE, IDLE } from './relay.ts';
import type { UnstoredEntries } from './unstored.ts';

/** The longest line of rsync's output: a name of 4095 bytes with each byte escaped, and the text around it. */
const LINE_LIMIT = 32 * 1024;
const LAST_LINES_MS = 3_000;

/** The arguments of a pull. */
interface PullRequest {
  roots: string[];
  /** The folder that rsync writes into. */
  tree: string;
  /** The trees that rsync links unchanged files from. */
  linkDests: string[];
  dryRun: boolean;
  connection: Connection;
  /** The descriptor of the client's lock. rsync inherits it, so that the lock lasts as long as rsync writes. */
  lock: number;
  /** Whether rsync runs in the launcher's jail. */
  confined: boolean;
  /** Whether files are compared by content, as the client has asked. */
  checksum: boolean;
  /** Whether the client's data is compressed. */
  compress: boolean;
  /** Files of more bytes are left out. */
  maxSize: number;
  /** Whether `maxSize` is the limit of the store's file system. */
  isStoreLimit: boolean;
  /** The longest time for which the client may send nothing. Its rsync sends a sign of life at half that time. */
  idleSeconds: number;
  /** Folders of the client whose children its kernel grants one by one (host/complaints.ts). */
  enumerated: string[];
}

/** A running pull. */
export interface Pull {
  /** Resolves when the client's first byte has arrived. */
  firstByte: Promise<void>;
  /** Resolves when rsync has exited. */
  ended: Promise<PullEnd>;
  progress(): { bytes: number; percent: number };
  /** How many files are done; undefined before rsync has reported it. */
  files(): { done: number; total: number; percent: number | null } | undefined;
  /** rsync's arguments. */
  options: string[];
}

/** The end of a pull, and rsync's report. */
export interface PullEnd {
  ending: ExitResult;
  counts: PullCounts;
  /** Why files are not linked. */
  unlinked: UnlinkedCounts;
  /** Whether rsync has printed its statistics. It does not if its peer told it to exit. */
  hasStatistics: boolean;
  missing: Missing[];
  missingCount: number;
  /** How many files the client's rsync listed and could not open. */
  unopened: number;
  /** How often it could not read a file that it had opened: twice for each file. */
  unread: number;
  /** The client's regular files, and how many of them had content sent. */
  regularFiles: number;
  sentFiles: number;
  vanished: number;
  changedDuringRun: number;
  /** The jail that rsync ran in. */
  jail: Jail | undefined;
  /** Whether the launcher exited before it started rsync. Its message is in `words`. */
  isRefusedByLauncher: boolean;
  /** Whether the client sent nothing for too long. */
  isIdle: boolean;
  /** Messages that are not about the client's files, for the host's log. `wordCount` counts all of them. */
  words: string[];
  wordCount: number;
  isOutOfSpace: boolean;
  /** The client's entries that this host could not store. */
  unstored: UnstoredEntries['found'];
  /** The number of files that were copied because the file system refused a further link (src/launcher/linkat.c). */
  newInodes: number;
  /** Whether the file system has cut a time. Only known if rsync has loaded the library. */
  hasCutTimes: boolean;
}

/** The library's descriptor in rsync, after the two ends of the connection and the lock. */
const LIBRARY = 6;

/**
 * Describes how to start rsync. In the launcher's jail it can only write into the tree and link from the other trees.
 * @param args as wire/rsync.ts makes them
 * @param hasLibrary whether rsync gets the library as a descriptor; the launcher opens its own
 */
function receiverCommand(
  args: string[],
  { confined, tree, linkDests }: PullRequest,
  hasLibrary: boolean,
): Command {
  // SIGTERM lets the receiver keep a partly received file under its name.
  const command = confined
    ? jailCommand(['receive', tree, ...linkDests, '--', ...args], 'TERM')
    : {
        program: programPath('rsync'),
        args,
        environment: { ...PLAIN_ENVIRONMENT, ...(hasLibrary ? linkEnvironment(LIBRARY, tree) : {}) },
        deathSignal: 'TERM' as const,
      };
  return { ...command, endedFirst: true }; // the client decides how much memory rsync takes
}

/** The remote shell for rsync's -e, which keeps blanks in a quoted path. */
function remoteShell(confined: boolean, idleSeconds: number): string {
  const program = confined ? jailPath() : ownExecutable();
  if (program.includes("'")) {
    throw new Fault({ tried: `run "${program}"`, found: "rsync's -e does not accept a path with '" });
  }
  return `'${program}' ${confined ? 'pump' : 'relay'} ${idleSeconds}`;
}

/** The launcher's exit statuses if it refuses, and if it cannot find the program (src/launcher). */
const LAUNCHER_STATUSES = new Set([126, 127]);

/** Collects what a pull's rsync prints: statistics and progress on standard output, messages on standard error. */
class PullOutput {
  readonly reader = new PullReader();
  readonly #firstByte = Promise.withResolvers<void>();
  readonly #complaints: Complaints;
  readonly #request: PullRequest;
  #jail: Jail | undefined;
  #isIdle = false;
  #newInodes = 0;
  #hasCutTimes = false;

  constructor(request: PullRequest) {
    this.#request = request;
    this.#complaints = new Complaints(request.enumerated, request.tree);
  }

  get firstByte(): Promise<void> {
    return this.#firstByte.promise;
  }

  /** Takes a line of standard output. */
  takeOutput(line: string): void {
    const oversized = readOversized(line);
    if (oversized === undefined) this.reader.line(line);
    else if (this.#request.isStoreLimit) this.#complaints.unstored.leaveOut(oversized);
    else this.#complaints.leaveOut(oversized);
  }

  /** Takes a line of standard error. */
  takeError(line: string): void {
    const jail = this.#request.confined ? readJailLine(line) : undefined;
    if (line === FIRST_BYTE) this.#firstByte.resolve();
    else if (line === IDLE) this.#isIdle = true;
    else if (line === NEW_INODE) this.#newInodes += 1;
    else if (line === TIME_CUT) this.#hasCutTimes = true;
    else if (jail !== undefined) this.#jail ??= jail;
    else this.#complaints.take(line);
  }

  /** Finishes after the last line. */
  finish(ending: ExitResult): PullEnd {
    const complaints = this.#complaints;
    complaints.finish();
    const { counts, unlinked, hasStatistics, regularFiles, sentFiles } = this.reader;
    const { missing, missingCount, unopened, unread, vanished, changedDuringRun } = complaints;
    const { words, wordCount, isOutOfSpace } = complaints;
    const hasLauncherStatus = LAUNCHER_STATUSES.has(ending.status ?? 0);
    return {
      ending,
      ...{ counts, unlinked, hasStatistics, regularFiles, sentFiles },
      ...{ missing, missingCount, unopened, unread, vanished, changedDuringRun },
      ...{ words, wordCount, isOutOfSpace },
      unstored: complaints.unstored.found,
      jail: this.#jail,
      // Once the jail is built, such a status is rsync's own, or one that the client has sent it.
      isRefusedByLauncher: this.#request.confined && !this.#jail && hasLauncherStatus,
      isIdle: this.#isIdle,
      newInodes: this.#newInodes,
      hasCutTimes: this.#hasCutTimes,
    };
  }
}

/**
 * Starts rsync. It is killed when `held` is released.
 * @throws Fault if rsync or the launcher cannot be started, or if the tree is not there
 */
export async function startPull(held: DisposableHolder, asked: PullRequest): Promise<Pull> {
  // The jail allows real paths: the store's path may lead through a symbolic link.
  const request = {
    ...asked,
    tree: realPath(asked.tree),
    linkDests: asked.linkDests.map(each => realPath(each)),
  };
  const idleSeconds = Math.max(request.idleSeconds, request.checksum ? CHECKSUM_IDLE_SECONDS : 0);
  const shell = remoteShell(request.confined, idleSeconds);
  const insecureLinks = request.confined && (await rsyncKnows(INSECURE_LINKS));
  const args = pullArguments({ ...request, shell, idleSeconds, insecureLinks });
  const rsync = await startReceiver(request, args);
  held.defer(() => rsync.end(10_000));
  const output = new PullOutput(request);
  // rsync ends a line of progress with a carriage return, which ends a line here too.
  eachLine(rsync.stdout, LINE_LIMIT, each => output.takeOutput(each));
  eachLine(rsync.stderr, LINE_LIMIT, each => output.takeError(each));
  return {
    firstByte: output.firstByte,
    ended: rsync.exited.then(async ending => {
      // The relay can hold rsync's pipes open for as long as the client likes, but rsync's last lines arrive soon after its exit.
      await Promise.race([rsync.ended, sleep(LAST_LINES_MS)]);
      return output.finish(ending);
    }),
    progress: () => output.reader.progress,
    files: () => output.reader.filesDone(request.linkDests.length === 0),
    options: args,
  };
}

/** Starts rsync with the connection, the client's lock and the library as its descriptors, and closes our copies. */
async function startReceiver(request: PullRequest, args: string[]): Promise<Child> {
  const { connection, lock } = request;
  const library = request.confined ? undefined : openLinkLibrary();
  const rsync = await start(receiverCommand(args, request, library !== undefined), [
    'nothing',
    'pipe',
    'pipe',
    connection.reading,
    connection.writing,
    lock,
    ...(library === undefined ? [] : [library]),
  ]);
  if (library !== undefined) close(library);
  connection.letGo();
  return rsync;
}
