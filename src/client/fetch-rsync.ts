/** The rsync of a fetch, which writes what the host serves; in the jail of `fetch` if the launcher is installed. */
import { Fault } from '../fault.ts';
import { ownExecutable } from '../os/executable.ts';
import { makePipe } from '../os/fifo.ts';
import { close } from '../os/files.ts';
import { hasJail, jailCommand, jailPath, readJailLine } from '../os/launcher.ts';
import { PLAIN_ENVIRONMENT, standard, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import { writeAll } from '../os/streams.ts';
import { type Copied, Lines, type RestoreProgress, readProgress } from '../store/restore-copy.ts';
import { fetchArguments } from '../wire/fetch-rsync.ts';
import type { Target } from './fetch-target.ts';

/** Lines of the remote shell (src/launcher/relay.c, `dialback relay`). */
const RELAY_LINE = /^dialback-relay: /;
const LINE_LIMIT = 65_536;

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
  const { target, ends, signal, tell } = copy;
  const confined = hasJail();
  const shell = confined ? `'${quotable(jailPath())}' pump` : `'${quotable(ownExecutable())}' relay`;
  const words = fetchArguments({
    ...copy,
    to: target.base,
    shell: `${shell} ${copy.idleSeconds}`,
    backupFolder: copy.replaced,
  });
  const writable = [...target.writable, ...(copy.replaced === undefined ? [] : [copy.replaced])];
  const rsync = confined
    ? jailCommand([copy.givesLabels ? 'fetch-labels' : 'fetch', ...writable, '--'], 'TERM')
    : { ...standard('rsync', []), deathSignal: 'TERM' as const };
  const isPlain = words.every(word => typeof word === 'string');
  // node passes only strings; xargs reads arguments of any bytes. It would give rsync /dev/null as standard input, as we do.
  const list = isPlain ? undefined : await makePipe(`${copy.runFolder}/words`);
  const command =
    list === undefined
      ? { ...rsync, args: [...rsync.args, ...(words as string[])] }
      : {
          ...standard('xargs', ['-0', '-x', '-n', String(words.length), rsync.program, ...rsync.args]),
          environment: PLAIN_ENVIRONMENT,
        };
  const child = await start(command, [
    list?.reading ?? 'nothing',
    'pipe',
    'pipe',
    ends.reading,
    ends.writing,
    copy.lock,
  ]);
  ends.letGo();
  const abort = (): void => void child.end(10_000);
  signal.addEventListener('abort', abort, { once: true });
  const lines = new Lines();
  const copied: Copied = { status: null, signal: null, stdout: '', found: undefined, isFull: false };
  eachLine(child.stdout, LINE_LIMIT, line => {
    const progress = readProgress(line);
    if (progress) tell?.(progress);
  });
  let code: string | undefined;
  eachLine(child.stderr, LINE_LIMIT, line => {
    const isOfJail = confined && readJailLine(line) !== undefined;
    if (line === '' || RELAY_LINE.test(line) || isOfJail || isAboutReplaced(line, copy.replaced)) return;
    copied.found ??= line;
    if (/No space left on device|Disk quota exceeded/.test(line)) copied.isFull = true;
    code ??= /^rsync error: .* \(code (\d+)\) at /.exec(line)?.[1];
    if (!line.startsWith('rsync error: ')) lines.add(line);
  });
  if (list !== undefined) {
    close(list.reading);
    const bytes = Buffer.concat(words.flatMap(word => [Buffer.from(word as string), Buffer.from([0])]));
    await writeAll(list.writing, bytes).catch(() => {});
    close(list.writing);
  }
  Object.assign(copied, await child.ended);
  // xargs has one exit status for all failures of rsync.
  if (!isPlain && copied.status !== 0 && code !== undefined) copied.status = Number(code);
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  return { copied, lines };
}

/** An ordinary account cannot give the folders for replaced files the owners of the folders that these were in. */
function isAboutReplaced(line: string, replaced: string | undefined): boolean {
  return replaced !== undefined && /\] ch(?:grp|own) "/.test(line) && line.includes(`"${replaced}/`);
}

function quotable(program: string): string {
  if (!program.includes("'")) return program;
  throw new Fault({ tried: `run "${program}"`, found: "rsync's -e does not accept a path with '" });
}
