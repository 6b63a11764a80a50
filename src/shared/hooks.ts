/**
 * Hooks, on either side: programs of the user's that run before a backup, after a good one, or after one that failed.
 *
 * They are run as everything else is (os/process.ts): no shell, no input, no descriptor and no variable of ours but those
 * that are named here, a time limit, and an end with all their children. Who could change such a program could do what this
 * account can: so one that others can write is refused. `dialback help hooks` is made of what stands here.
 */
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { fixCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { abortable } from '../os/async.ts';
import { deadlineSignal, monotonicMs, sleep } from '../os/clock.ts';
import { makePipe } from '../os/fifo.ts';
import { close, failedWith, makeUniqueFolder, mayRun, removeAll, stat, whatFailed } from '../os/files.ts';
import {
  type Child,
  type Command,
  type ExitResult,
  endingText,
  PLAIN_ENVIRONMENT,
  standard,
  start,
} from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { descriptorStream } from '../os/streams.ts';
import { findBreachOnTheWay } from '../os/trust.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { durationKey, pathKey } from './toml.ts';

/** When a hook runs. */
export const MOMENTS = ['before', 'after', 'failed'] as const;
export type Moment = (typeof MOMENTS)[number];

/** A hook's program and its arguments. */
interface Program {
  path: string;
  args: string[];
}

/** EX_TEMPFAIL of sysexits.h: what `before` says for "not now". */
const SKIP_STATUS = 75;
/** From SIGTERM to SIGKILL: time to take away a mount. */
const GRACE_MS = 10_000;
/** What it said last is read, unless something that it left behind still holds its pipe. */
const LAST_WORDS_MS = 500;
/** Of what a hook says, the last lines are kept, and of each line so many characters. */
const WORDS_KEPT = 20;
const WORD_LENGTH = 400;
const REASON_LENGTH = 1000;

/** Every variable that a hook gets besides these: HOME, USER, LOGNAME, PATH, LC_ALL. */
const VARIABLES = {
  HOOK: 'before, after or failed',
  SIDE: 'client or host',
  CLIENT: 'what the client is called',
  REMOTE: 'on the client: what the remote is called',
  OUTCOME: 'not before: full, incomplete or failed',
  EXIT: 'not before: the exit status that the run would have without this hook',
  DURATION: 'not before: how long the run took, in seconds',
  SNAPSHOT: "after: the snapshot's name",
  SNAPSHOT_PATH: 'after, on the host: its folder in the store; the files are in its tree/',
  FILES: 'after: how many files it has',
  BYTES: 'after: how many bytes these have',
  SENT_BYTES: 'after: how many bytes were sent',
  REASON: 'failed: why, in one line, as the message says it (on the host: as its journal does)',
} as const;

/** What is told to a hook, by the names of its variables; what is null is not set. */
export type Facts = Partial<Record<keyof typeof VARIABLES, string | number | null>>;

const SHOULD_BE = 'should be an absolute path, or a list of an absolute path and its arguments';

function readProgram(value: unknown): Program | undefined {
  const words: unknown[] = Array.isArray(value) ? value : [value];
  const [path, ...args] = words;
  const found = v.safeParse(pathKey, path);
  if (!found.success || !args.every(each => typeof each === 'string' && !each.includes('\0')))
    return undefined;
  return { path: found.output, args: args as string[] };
}

const program = v.pipe(
  v.unknown(),
  v.check(value => readProgram(value) !== undefined, SHOULD_BE),
  v.transform((value): Program => readProgram(value) ?? { path: '/', args: [] }),
);

/** The table `[hooks]`, the same in both configs. */
export const hooksTable = v.strictObject({
  before: v.optional(program),
  after: v.optional(program),
  failed: v.optional(program),
  timeout: v.optional(durationKey(1000), '10m'),
});

export type Hooks = v.InferOutput<typeof hooksTable>;

/** Whether there is any hook. */
export function hasHooks(hooks: Hooks): boolean {
  return MOMENTS.some(moment => hooks[moment] !== undefined);
}

/**
 * Refuses hooks that are not there, are no programs of this account's, or could be changed by others.
 * @throws Fault (exit 2) that names the hook
 */
export function requireHooks(hooks: Hooks): void {
  for (const moment of MOMENTS) {
    const found = hooks[moment];
    if (found) requireProgram(moment, found);
  }
}

export function requireProgram(moment: Moment, { path }: Program): void {
  const refuse = (found: string, next: string): Fault =>
    new Fault({ tried: `use the hook "${moment}"`, found, next, exit: 'usage', code: 'config' });
  const named = `"${escapeText(path)}"`;
  let isPlain: boolean;
  try {
    isPlain = stat(path).isFile();
  } catch (error) {
    const found = failedWith(error, 'ENOENT') ? `there is no ${named}` : `${named}: ${whatFailed(error)}`;
    throw refuse(found, `put the program there, or change \`${moment}\` in [hooks]`);
  }
  if (!isPlain) throw refuse(`${named} is not a plain file`, `name a program in \`${moment}\` of [hooks]`);
  const breach = findBreachOnTheWay(path, ownAccount().uid);
  if (breach)
    throw refuse(
      `${breach.found}, and ${named} goes by it`,
      fixCommand(breach, path, { name: 'root', uid: ownAccount().uid }),
    );
  if (!mayRun(path)) throw refuse(`this account may not run ${named}`, `chmod a+rx ${quoteForShell(path)}`);
}

/** How a hook ended. */
export interface HookEnd {
  hook: Moment;
  program: string;
  status: number | null;
  signal: NodeJS.Signals | null;
  durationMs: number;
  /** The last lines that it said, on either stream, escaped. */
  words: string[];
  /** How many lines it said before those. */
  wordsLost: number;
  /** Why it did not do what it was for; undefined: it did, or `before` said "not now". */
  failed: string | undefined;
}

/** The hooks of one run: `before` at most once, then exactly one of the others, whatever happens. */
export class HookedRun {
  readonly #hooks: Hooks;
  readonly #facts: Facts;
  readonly #tell: (end: HookEnd) => void;
  #isBegun = false;

  /** @param facts what every hook of this run is told; @param tell is told of each hook that has ended */
  constructor(hooks: Hooks, facts: Facts, tell: (end: HookEnd) => void) {
    this.#hooks = hooks;
    this.#facts = facts;
    this.#tell = tell;
  }

  /**
   * The run begins: `before` is run.
   * @param mostMs a limit besides `timeout`
   * @returns false where `before` wants this run left out: then no other hook runs
   * @throws Fault why `before` failed, or the signal's reason; `end` is to be called all the same
   */
  async begin(tried: string, signal: AbortSignal, mostMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    this.#isBegun = true;
    signal.throwIfAborted();
    const end = await this.#run('before', {}, Math.min(mostMs, this.#hooks.timeout), signal);
    if (end?.status === SKIP_STATUS && !signal.aborted) {
      this.#isBegun = false;
      return false;
    }
    signal.throwIfAborted();
    if (end?.failed === undefined) return true;
    const found = `the hook "before" ("${escapeText(end.program)}") ${end.failed}`;
    throw new Fault({ tried, found, next: 'see what it said, and dialback help hooks' });
  }

  /**
   * The run is over: `after` or `failed` is run, once, and not where it never began or was left out. Never throws.
   * @returns why the hook failed, if it did
   */
  async end(isWell: boolean, facts: Facts): Promise<Fault | undefined> {
    if (!this.#isBegun) return undefined;
    this.#isBegun = false;
    const moment = isWell ? 'after' : 'failed';
    try {
      const end = await this.#run(moment, facts, this.#hooks.timeout, undefined);
      if (end?.failed === undefined) return undefined;
      return new Fault({
        tried: `finish with the hook "${moment}"`,
        found: `"${escapeText(end.program)}" ${end.failed}`,
        next: 'see what it said, and dialback help hooks',
      });
    } catch (error) {
      if (error instanceof Fault) return error;
      const found = escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
      return new Fault({ tried: `finish with the hook "${moment}"`, found });
    }
  }

  async #run(
    moment: Moment,
    facts: Facts,
    mostMs: number,
    signal: AbortSignal | undefined,
  ): Promise<HookEnd | undefined> {
    const found = this.#hooks[moment];
    if (!found) return undefined;
    requireProgram(moment, found); // it could have been changed since
    const command = commandOf(found, { ...this.#facts, ...facts, HOOK: moment });
    const end = await runToItsEnd(moment, command, found.path, mostMs, signal);
    this.#tell(end);
    return end;
  }
}

/**
 * In a session of its own: no terminal to ask at, and Ctrl-C reaches us and not the program that is to clean up. Without
 * capabilities, whatever this process was started with: what a hook may do is what the account may.
 */
function commandOf({ path, args }: Program, facts: Facts): Command {
  const { name, home } = ownAccount();
  const told = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  const environment = Object.fromEntries(told.map(([key, value]) => [`DIALBACK_${key}`, plainLine(value)]));
  const bare = ['--inh-caps=-all', '--ambient-caps=-all', '--', programPath('setsid')];
  return {
    ...standard('setpriv', [...bare, path, ...args]),
    environment: { ...PLAIN_ENVIRONMENT, HOME: home, USER: name, LOGNAME: name, ...environment },
  };
}

/** What a terminal obeys or hides becomes `?`; the escapes of the messages stay as they are. */
function plainLine(value: string | number | null): string {
  return String(value)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?')
    .slice(0, REASON_LENGTH);
}

async function runToItsEnd(
  hook: Moment,
  command: Command,
  path: string,
  mostMs: number,
  signal: AbortSignal | undefined,
): Promise<HookEnd> {
  const started = monotonicMs();
  const words: string[] = [];
  let wordsLost = 0;
  const hear = (line: string): void => {
    words.push(escapeText(line, WORD_LENGTH));
    if (words.length <= WORDS_KEPT) return;
    words.shift();
    wordsLost += 1;
  };
  const pipe = await makeWordsPipe();
  let child: Child;
  try {
    child = await start(command, ['nothing', pipe?.writing ?? 'pipe', pipe?.writing ?? 'pipe']);
  } catch (error) {
    if (pipe) close(pipe.reading);
    throw error;
  } finally {
    if (pipe) close(pipe.writing);
  }
  const heard = pipe && descriptorStream(pipe.reading, { readable: true });
  const silent = new Promise<void>(resolve => heard?.once('close', resolve));
  for (const stream of heard ? [heard] : [child.stdout, child.stderr])
    eachLine(stream, WORD_LENGTH + 1, hear);
  using deadline = deadlineSignal(mostMs, () => new Fault({ tried: `run "${path}"`, found: 'it is late' }));
  const life = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
  let isEnded = false;
  try {
    await abortable(life, child.exited);
  } catch {
    isEnded = true;
  }
  // Also where it has ended by itself: something that it left behind may hold its pipes, and is not waited for.
  await child.end(GRACE_MS);
  const ending = await child.exited;
  if (heard) await Promise.race([silent, sleep(LAST_WORDS_MS)]);
  heard?.destroy();
  return {
    hook,
    program: path,
    ...ending,
    durationMs: Math.round(monotonicMs() - started),
    words,
    wordsLost,
    failed: isEnded
      ? deadline.signal.aborted
        ? `did not end within ${limitText(mostMs)}, and was ended`
        : 'was ended, since the run was'
      : failureText(hook, ending),
  };
}

/**
 * A true pipe. node's own are sockets, which no name below /dev opens: `echo … >/dev/stderr` would fail in a hook.
 * @returns undefined where the temporary folder has no room for one; node's has to do then
 */
async function makeWordsPipe(): Promise<{ reading: number; writing: number } | undefined> {
  let folder: string | undefined;
  try {
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-hook-`);
    return await makePipe(`${folder}/words`);
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}

function failureText(hook: Moment, ending: ExitResult): string | undefined {
  if (ending.status === 0 || (hook === 'before' && ending.status === SKIP_STATUS)) return undefined;
  return ending.signal ? `was ${endingText(ending)}` : endingText(ending);
}

function limitText(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : `${ms / 1000} s`;
}

/** `dialback help hooks`. */
export function hooksHelp(): string {
  const variables = Object.entries(VARIABLES).map(([name, says]) => `  DIALBACK_${name.padEnd(13)} ${says}`);
  return [
    'Hooks: programs of yours that run before a backup, after a good one, or after one that failed.',
    '',
    'In client.toml, in host.toml, or in both; each may be left out:',
    '',
    '  [hooks]',
    '  before = "/etc/dialback/before"                      # a program',
    '  after = ["/etc/dialback/told", "ok", "two words"]    # a program and its arguments; there is no shell',
    '  failed = ["/etc/dialback/told", "not ok"]',
    '  timeout = "10m"                                      # for each; the default',
    '',
    'On the client they run once for each remote and run, around all of it, further tries included; not for --dry-run, nor',
    'where another run of this client is under way. On the host, once for each run of a client that was let in: not for a',
    'request that is refused, nor for --dry-run. `before` there has 60 s at most, since the client waits 90 s for the host to',
    'begin; the others run when the client has heard the outcome, and until they have ended it may not come again (exit 11).',
    '',
    'Where `before` ends with',
    '  0    the run begins.',
    '  75   the run is left out: quietly, exit status 0, `skipped` in the journal and in --json; no other hook runs. On the',
    '       host: the client is told to come again later (its exit status is 12).',
    '  else, by a signal too, or not in time: the run has failed (exit status 1; on the host the client is told no more than',
    '       that), and `failed` runs.',
    'Once `before` has run, or would have, exactly one of the other two runs, whatever happens to the run, a signal or its',
    'deadline too; only where dialback itself is killed (SIGKILL, a power cut), none. `after` runs where there is a snapshot,',
    'incomplete or not, `failed` where there is none. Where `after` fails, the snapshot stands: a message, and exit status 3.',
    'Where `failed` fails: a message. On the host both stand in its logs alone.',
    '',
    'Whoever could write the program, or a folder above it, could do what this account can: so only root and this account may',
    'be able to. Else nothing is run at all (exit status 2), nor where the program is not there.',
    '',
    'A hook runs in the folder /, with nothing on its standard input and no other descriptor, in a session of its own, with',
    'no capability, as the account that runs dialback. At the end of its time it gets SIGTERM, and 10 s later SIGKILL; so do',
    'its children. `deadline` counts the run without its hooks. What a hook says is printed where it failed (the last 20',
    "lines), and with -v always; on the host it stands in the client's journal. The other machine hears nothing of it.",
    'Its variables are HOME, USER, LOGNAME, PATH, LC_ALL=C and:',
    '',
    ...variables,
    '',
    'Ready ones are in share/dialback/hooks (make install lays them down): postgresql, mariadb, sqlite, lvm-snapshot,',
    'btrfs-snapshot, healthchecks, ntfy, skip-on-battery, skip-on-metered. Each says at its beginning what to set.',
    '',
  ].join('\n');
}
