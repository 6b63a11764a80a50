/** The rsync of a fetch, which writes what the host serves; in the jail of `fetch` if the launcher is installed. */
import { Fault } from '../fault.ts';
import { ownExecutable } from '../os/executable.ts';
import { makePipe } from '../os/fifo.ts';
import { close } from '../os/files.ts';
import { hasJail, jailCommand, jailPath, readJailLine } from '../os/launcher.ts';
import { type Command, type ExitResult, standard, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import { writeAll } from '../os/streams.ts';
import { type Copied, Lines, type RestoreProgress, readProgress } from '../store/restore-copy.ts';
import { fetchArguments } from '../wire/fetch-rsync.ts';
import { CHECKSUM_IDLE_SECONDS } from '../wire/rsync.ts';
import type { Target } from './fetch-target.ts';

/** Lines of the remote shell (src/launcher/relay.c, `dialback relay`). */
const RELAY_LINE = /^dialback-relay: /;
const LINE_LIMIT = 65_536;
/** How long rsync may take to end after SIGTERM. */
const END_MS = 10_000;

/** The files to copy, and their place. */
interface FetchCopy {
  runFolder: string;
  target: Target;
  /** Absolute, in the form of `decodeName`. */
  paths: string[];
  isRootUser: boolean;
  /** Whether an entry has a `security.` attribute that is not a file capability. */
  givesLabels: boolean;
  idleSeconds: number;
  /** The folder for replaced files. */
  replaced: string | undefined;
  /** A descriptor whose lock lasts as long as rsync writes. */
  lock: number;
  ends: { reading: number; writing: number; letGo: () => void };
  signal: AbortSignal;
  tell: ((progress: RestoreProgress) => void) | undefined;
}

/**
 * Runs rsync to its end.
 * @returns how it ended, and its messages
 * @throws Fault where it cannot be started; the signal's reason
 */
export async function runFetch(copy: FetchCopy): Promise<{ copied: Copied; lines: Lines }> {
  const { ends, signal } = copy;
  const confined = hasJail();
  const words = wordsOf(copy, confined);
  const { command, list } = await commandOf(copy, confined, words);
  const input = list?.reading ?? 'nothing';
  const child = await start(command, [input, 'pipe', 'pipe', ends.reading, ends.writing, copy.lock]);
  ends.letGo();
  const abort = (): void => void child.end(END_MS);
  signal.addEventListener('abort', abort, { once: true });
  const output = new FetchOutput(copy, confined);
  eachLine(child.stdout, LINE_LIMIT, line => output.takeOutput(line));
  eachLine(child.stderr, LINE_LIMIT, line => output.takeError(line));
  if (list !== undefined) {
    close(list.reading);
    const bytes = Buffer.concat(words.flatMap(word => [Buffer.from(word as string), Buffer.from([0])]));
    await writeAll(list.writing, bytes).catch(() => {}); // its end explains a failure
    close(list.writing);
  }
  const ending = await child.ended;
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  return { copied: output.finish(ending, list !== undefined), lines: output.lines };
}

/** rsync's arguments. A comparison of contents is silent while it reads a large file. */
function wordsOf({ replaced, ...copy }: FetchCopy, confined: boolean): (string | Buffer)[] {
  const idleSeconds =
    replaced === undefined ? copy.idleSeconds : Math.max(copy.idleSeconds, CHECKSUM_IDLE_SECONDS);
  const shell = confined ? `'${quotable(jailPath())}' pump` : `'${quotable(ownExecutable())}' relay`;
  return fetchArguments({
    ...copy,
    to: copy.target.base,
    shell: `${shell} ${idleSeconds}`,
    idleSeconds,
    backupFolder: replaced,
  });
}

/** @returns the command, and the pipe for its arguments if xargs(1) passes them: node passes only strings */
async function commandOf(
  { target, replaced, givesLabels, runFolder }: FetchCopy,
  confined: boolean,
  words: (string | Buffer)[],
): Promise<{ command: Command; list?: { reading: number; writing: number } }> {
  const writable = [...target.writable, ...(replaced === undefined ? [] : [replaced])];
  const rsync = confined
    ? jailCommand([givesLabels ? 'fetch-labels' : 'fetch', ...writable, '--'], 'TERM')
    : { ...standard('rsync', []), deathSignal: 'TERM' as const };
  const plain = words.filter(word => typeof word === 'string');
  if (plain.length === words.length) return { command: { ...rsync, args: [...rsync.args, ...plain] } };
  const xargs = standard('xargs', ['-0', '-x', '-n', String(words.length), rsync.program, ...rsync.args]);
  return { command: xargs, list: await makePipe(`${runFolder}/words`) };
}

/** Collects rsync's progress and messages. */
class FetchOutput {
  readonly lines = new Lines();
  readonly #copied: Copied = { status: null, signal: null, stdout: '', found: undefined, isFull: false };
  readonly #copy: FetchCopy;
  readonly #confined: boolean;
  #code: string | undefined;

  constructor(copy: FetchCopy, confined: boolean) {
    this.#copy = copy;
    this.#confined = confined;
  }

  takeOutput(line: string): void {
    const progress = readProgress(line);
    if (progress) this.#copy.tell?.(progress);
  }

  takeError(line: string): void {
    const isOfJail = this.#confined && readJailLine(line) !== undefined;
    if (line === '' || RELAY_LINE.test(line) || isOfJail || isAboutReplaced(line, this.#copy.replaced))
      return;
    this.#copied.found ??= line;
    if (/No space left on device|Disk quota exceeded/.test(line)) this.#copied.isFull = true;
    this.#code ??= /^rsync error: .* \(code (\d+)\) at /.exec(line)?.[1];
    if (!line.startsWith('rsync error: ')) this.lines.add(line);
  }

  /** @param isByXargs then there is one exit status for all failures of rsync */
  finish(ending: ExitResult, isByXargs: boolean): Copied {
    const status =
      isByXargs && ending.status !== 0 && this.#code !== undefined ? Number(this.#code) : ending.status;
    return { ...this.#copied, ...ending, status };
  }
}

/** An ordinary account cannot give the folders for replaced files the owners of the folders that these were in. */
function isAboutReplaced(line: string, replaced: string | undefined): boolean {
  return replaced !== undefined && /\] ch(?:grp|own) "/.test(line) && line.includes(`"${replaced}/`);
}

function quotable(program: string): string {
  if (!program.includes("'")) return program;
  throw new Fault({ tried: `run "${program}"`, found: "rsync's -e does not accept a path with '" });
}
