/**
 * Hooks, on either side: programs of the user that run before a backup, after a successful one, or after one that failed.
 *
 * They run as all our programs do (os/process.ts): without a shell, input or our descriptors, and with a timeout. They get only the
 * variables that are listed here, and are killed with all their children. An account that can change such a program could do all that
 * this account can. So a program that other accounts can write is refused.
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
import type { HOOK_VARIABLES } from './hooks-text.ts';
import { durationKey, pathKey } from './toml.ts';

/** The moments of a run at which a hook runs. */
const RUN_MOMENTS = ['before', 'after', 'failed'] as const;
/** All moments. `silent` is no part of a run, and only the host has it. */
export const MOMENTS = [...RUN_MOMENTS, 'silent'] as const;
type Moment = (typeof MOMENTS)[number];

/** A hook's program and its arguments. */
interface Program {
  path: string;
  args: string[];
}

/** The exit status of `before` for "not now": EX_TEMPFAIL of sysexits.h. */
const SKIP_STATUS = 75;
/** The time between SIGTERM and SIGKILL, for example to unmount. */
const GRACE_MS = 10_000;
/** How long the last output is read after the end, if a process that the hook left behind still holds its pipe. */
const LAST_OUTPUT_MS = 500;
/** The number of last lines of a hook's output that are kept, and the characters of each. */
const LINES_KEPT = 20;
const LINE_LENGTH = 400;
/** The longest value of a variable. */
const VALUE_LENGTH = 1000;

/** The values of a hook's variables, by name. A variable is not set if its value is null. */
export type Facts = Partial<Record<keyof typeof HOOK_VARIABLES, string | number | null>>;

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

/** The table `[hooks]` of host.toml. */
export const hostHooksTable = v.strictObject({ ...hooksTable.entries, silent: v.optional(program) });

export type HostHooks = v.InferOutput<typeof hostHooksTable>;

/** Whether the config has a hook of a run. */
export function hasHooks(hooks: Hooks): boolean {
  return RUN_MOMENTS.some(moment => hooks[moment] !== undefined);
}

/**
 * Refuses hooks of a run that do not exist, that this account may not run, or that other accounts can change.
 * @throws Fault `usage` that names the hook
 */
export function requireHooks(hooks: Hooks): void {
  for (const moment of RUN_MOMENTS) {
    const found = hooks[moment];
    if (found) requireProgram(moment, found);
  }
}

/** Refuses the program of one hook. @throws Fault `usage` that names it */
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
      `${breach.found}, on the path of ${named}`,
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
  /** The last lines of its output, from both streams, escaped. */
  words: string[];
  /** The number of lines before these. */
  wordsLost: number;
  /** Why it failed; undefined if it succeeded, or if `before` said "not now". */
  failed: string | undefined;
}

/** The hooks of one run: `before` at most once, then exactly one of the others, however the run ends. */
export class HookedRun {
  readonly #hooks: Hooks;
  readonly #facts: Facts;
  readonly #tell: (end: HookEnd) => void;
  #isBegun = false;

  /** @param facts the variables that all hooks of this run get @param tell is called with each hook that has ended */
  constructor(hooks: Hooks, facts: Facts, tell: (end: HookEnd) => void) {
    this.#hooks = hooks;
    this.#facts = facts;
    this.#tell = tell;
  }

  /**
   * Runs `before`.
   * @param tried what the run tries, for the Fault
   * @param mostMs a timeout besides the config's
   * @returns false if `before` asks to skip this run; then no other hook runs
   * @throws Fault if `before` failed, or the signal's reason; `end` must be called nevertheless
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
    throw new Fault({ tried, found, next: 'read its output, and dialback help hooks' });
  }

  /**
   * Runs `after` or `failed`, once, unless the run did not begin or was skipped. Never throws.
   * @param isWell whether the run succeeded
   * @returns the reason if the hook failed
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
        next: 'read its output, and dialback help hooks',
      });
    } catch (error) {
      if (error instanceof Fault) return error;
      const found = escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
      return new Fault({ tried: `finish with the hook "${moment}"`, found });
    }
  }

  async #run(
    moment: (typeof RUN_MOMENTS)[number],
    facts: Facts,
    mostMs: number,
    signal: AbortSignal | undefined,
  ): Promise<HookEnd | undefined> {
    const found = this.#hooks[moment];
    if (!found) return undefined;
    requireProgram(moment, found); // it may have been changed since
    const command = commandOf(found, { ...this.#facts, ...facts, HOOK: moment });
    const end = await runHook(moment, command, found.path, mostMs, signal);
    this.#tell(end);
    return end;
  }
}

/** How the hook `silent` ended. */
interface SilentEnd {
  /** Why it failed; undefined if it succeeded. */
  fault: Fault | undefined;
  /** undefined if it could not start */
  end: HookEnd | undefined;
}

/** Runs the hook `silent`, if there is one. It fails like the others, and never throws. */
export async function runSilentHook(hooks: HostHooks, facts: Facts, signal: AbortSignal): Promise<SilentEnd> {
  const { silent, timeout } = hooks;
  if (!silent) return { fault: undefined, end: undefined };
  const tried = `run the hook "silent" for "${facts.CLIENT}"`;
  try {
    requireProgram('silent', silent);
    const end = await runHook(
      'silent',
      commandOf(silent, { ...facts, HOOK: 'silent' }),
      silent.path,
      timeout,
      signal,
    );
    if (end.failed === undefined) return { fault: undefined, end };
    const found = `"${escapeText(end.program)}" ${end.failed}`;
    return { fault: new Fault({ tried, found, next: 'read its output, and dialback help hooks' }), end };
  } catch (error) {
    const fault =
      error instanceof Fault ? error : new Fault({ tried, found: escapeText(String(error), 2000) });
    return { fault, end: undefined };
  }
}

/**
 * The command of a hook. It runs in a session of its own, without a terminal, so that Ctrl-C does not reach a program that has to clean up.
 * It runs without the capabilities of this process, so that it may only do what the account may.
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

/** Replaces characters that a terminal obeys or hides by `?`. The escapes in messages stay as they are. */
function plainLine(value: string | number | null): string {
  return String(value)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?')
    .slice(0, VALUE_LENGTH);
}

/**
 * Runs a hook, and kills it with its children when it is over, late, or no longer wanted.
 * @param mostMs its timeout
 */
async function runHook(
  hook: Moment,
  command: Command,
  path: string,
  mostMs: number,
  signal: AbortSignal | undefined,
): Promise<HookEnd> {
  const started = monotonicMs();
  const words: string[] = [];
  let wordsLost = 0;
  const keepLine = (line: string): void => {
    words.push(escapeText(line, LINE_LENGTH));
    if (words.length <= LINES_KEPT) return;
    words.shift();
    wordsLost += 1;
  };
  const { child, closed } = await startHook(command, keepLine);
  using deadline = deadlineSignal(mostMs, () => new Fault({ tried: `run "${path}"`, found: 'it is late' }));
  const life = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
  let isKilled = false;
  try {
    await abortable(life, child.exited);
  } catch {
    isKilled = true;
  }
  // Even if the hook has exited: a process that it left behind may hold its pipes, and is not waited for.
  await child.end(GRACE_MS);
  const ending = await child.exited;
  await closed();
  const killed = deadline.signal.aborted
    ? `did not end within ${limitText(mostMs)}, and was killed`
    : 'was killed, since the run was aborted';
  return {
    hook,
    program: path,
    ...ending,
    durationMs: Math.round(monotonicMs() - started),
    words,
    wordsLost,
    failed: isKilled ? killed : failureText(hook, ending),
  };
}

/** Starts a hook. @returns its process; `closed` waits for the end of its output, and closes our end */
async function startHook(
  command: Command,
  keepLine: (line: string) => void,
): Promise<{ child: Child; closed: () => Promise<void> }> {
  const pipe = await makeOutputPipe();
  let child: Child;
  try {
    child = await start(command, ['nothing', pipe?.writing ?? 'pipe', pipe?.writing ?? 'pipe']);
  } catch (error) {
    if (pipe) close(pipe.reading);
    throw error;
  } finally {
    if (pipe) close(pipe.writing);
  }
  const output = pipe && descriptorStream(pipe.reading, { readable: true });
  const ended = new Promise<void>(resolve => output?.once('close', resolve));
  for (const stream of output ? [output] : [child.stdout, child.stderr])
    eachLine(stream, LINE_LENGTH + 1, keepLine);
  const closed = async (): Promise<void> => {
    if (output) await Promise.race([ended, sleep(LAST_OUTPUT_MS)]);
    output?.destroy();
  };
  return { child, closed };
}

/**
 * Makes a pipe for a hook's output. Node's own are sockets, and `echo … >/dev/stderr` in a hook would fail with these.
 * @returns undefined if the temporary folder has no space for it; then node's is used
 */
async function makeOutputPipe(): Promise<{ reading: number; writing: number } | undefined> {
  let folder: string | undefined;
  try {
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-hook-`);
    return await makePipe(`${folder}/output`);
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
