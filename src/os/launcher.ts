/**
 * The two programs of the launcher as the rest of dialback sees them: their places, their arguments and their output.
 * `launch` (src/launcher/launch.c) has the capability, for the rsync that reads; `jail` (jail.c) has none, for the rsync that writes.
 * They stand beside this executable, PREFIX/bin/dialback and PREFIX/libexec/dialback/, as `make install` puts them; an executable
 * that was only built has neither.
 */
import { dirname, join } from 'node:path';
import { Fault } from '../fault.ts';
import { CAPABILITY, parseGetcap } from './capability-text.ts';
import { ownExecutable } from './executable.ts';
import { exists, failedWith, fileFault, lstat, mayRun } from './files.ts';
import { inheritStep, installStep } from './install-steps.ts';
import { type Command, endingText, PLAIN_ENVIRONMENT, type Result, run, standard } from './process.ts';
import { programPath } from './programs.ts';
import { kernelRelease } from './uname.ts';

/** The administrator's list of paths that no backup may read. The launcher enforces it. */
export const NEVER_LIST = '/etc/dialback/never';

/** Where `launch` is, if it is installed. */
export function launcherPath(): string {
  return join(dirname(ownExecutable()), '../libexec/dialback/launch');
}

/** Where `jail` is, if it is installed. */
export function jailPath(): string {
  return join(dirname(ownExecutable()), '../libexec/dialback/jail');
}

/**
 * Whether `launch` exists. One that does not work, or cannot be seen, is no reason to go without.
 * @throws Fault when a folder above it cannot be searched
 */
export function hasLauncher(): boolean {
  return isInstalled(launcherPath());
}

/** The same for `jail`. */
export function hasJail(): boolean {
  return isInstalled(jailPath());
}

function isInstalled(path: string): boolean {
  try {
    lstat(path);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return false;
    throw fileFault(error, `look for the launcher "${path}"`, { next: 'dialback doctor', code: 'config' });
  }
}

/**
 * Refuses to go without a jail where the config leaves it open and the last run had one.
 * @param path the program that does not exist any more
 * @param file the config, for the message; @param ways the lines that would say what is meant
 */
export function launcherHasGone(path: string, file: string, ways: string): Fault {
  return new Fault({
    tried: "go without the kernel's jail",
    found: `the last run had it, the launcher "${path}" is gone, and ${file} does not say what to do`,
    next: `${installStep()}; or write ${ways} into ${file}`,
    code: 'config',
  });
}

/** Whether `launch` exists and was built for this account. If it was built for another one, it says so. */
export async function launcherServesUs(): Promise<boolean> {
  if (!mayRun(launcherPath())) return false;
  const { stderr } = await run(launcherCommand(['send', '/'])); // not a run folder: it refuses in any case
  return !stderr.includes('it was made for uid ');
}

/**
 * The command line of `launch`.
 * @throws Fault when it does not exist, or this account may not run it
 */
export function launcherCommand(args: string[]): Command {
  return commandOf(launcherPath(), args);
}

/**
 * The command line of `jail`.
 * @param deathSignal what it gets when this process dies
 * @throws Fault when it does not exist, or this account may not run it
 */
export function jailCommand(args: string[], deathSignal?: 'KILL' | 'TERM'): Command {
  return { ...commandOf(jailPath(), args), ...(deathSignal ? { deathSignal } : {}) };
}

function commandOf(program: string, args: string[]): Command {
  if (!mayRun(program)) {
    const found = exists(program) ? 'this account may not run it' : 'it is not there';
    throw new Fault({
      tried: `run the launcher "${program}"`,
      found,
      next: 'dialback doctor',
      code: 'config',
    });
  }
  return { program, args, environment: PLAIN_ENVIRONMENT };
}

/** A jail in force. */
export interface Jail {
  /** The kernel's Landlock ABI. */
  landlockAbi: number;
  /** Whether the receiver has a root file system of its own, with nothing in it but this client's folder. */
  hasOwnRoot: boolean;
}

/**
 * Reads the line that both programs print on standard error when the whole jail is in force.
 * @returns undefined for any other line
 */
export function readJailLine(line: string): Jail | undefined {
  const found = /^dialback-launch: landlock_abi (\d{1,4})( own_root)?$/.exec(line.trim());
  return found ? { landlockAbi: Number(found[1]), hasOwnRoot: found[2] !== undefined } : undefined;
}

/** The dynamic loader by the name that an executable has it by (LOADER_PATH in src/launcher/rsync.h). */
const LOADER = process.arch === 'arm64' ? '/lib/ld-linux-aarch64.so.1' : '/lib64/ld-linux-x86-64.so.2';

/**
 * The shared libraries that rsync is loaded with, which the sender's jail has to grant. The dynamic loader lists them (ld.so(8), --list,
 * as ldd(1) does). LD_TRACE_LOADED_OBJECTS does not work: if rsync has a file capability, the loader ignores it and exits with 5.
 * @returns their paths; none for a static rsync
 */
export async function rsyncLibraries(): Promise<string[]> {
  if (!exists(LOADER)) return [];
  const command = { program: LOADER, args: ['--list', programPath('rsync')], environment: PLAIN_ENVIRONMENT };
  const { stdout } = await run(command);
  return [...stdout.toString('latin1').matchAll(/^\t(?:.* => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].flatMap(
    found => found[1] ?? [],
  );
}

/**
 * Starts rsync in the sender's jail once, without a peer, and waits for its greeting. So capability, Landlock, seccomp and rsync are
 * known to work before the client calls its host.
 * @param runFolder with its scope and rsyncd folder written
 * @returns the jail
 * @throws Fault with the launcher's line
 */
export async function tryConfinement(runFolder: string): Promise<Jail> {
  const result = await run(launcherCommand(['send', runFolder]), { timeoutMs: 60_000 });
  return readTrial(result, /^@RSYNCD:/, sendWithout);
}

/**
 * Has rsync print its version in the receiver's jail.
 * @param tree an empty folder of this account
 * @returns the jail
 * @throws Fault with the launcher's line
 */
export async function tryReceiving(tree: string): Promise<Jail> {
  const command = jailCommand(['receive', tree, '--', '--version']);
  const result = await run(command, { timeoutMs: 60_000 });
  return readTrial(result, /^rsync +version /, receiveWithout);
}

/** Next steps for a kernel without Landlock, one for each side. They can ask a package manager. */
export const sendWithout = (): string =>
  `${inheritStep()}, and then \`capability = "inherited"\` in client.toml`;
export const receiveWithout = (): string => '`confined = false` in host.toml';

/** @param expected rsync's first output if the jail works; @param without what works on a kernel without Landlock */
function readTrial(result: Result, expected: RegExp, without: () => string): Jail {
  const lines = result.stderr.split('\n').filter(line => line !== '');
  const jail = lines.map(readJailLine).find(found => found !== undefined);
  if (jail !== undefined && expected.test(result.stdout.toString('latin1'))) return jail;
  throw notConfined(result, without);
}

const NO_LANDLOCK = 'no-landlock';

/** Whether a jail failed because this kernel has no Landlock, or too old a one. */
export function lacksLandlock(error: unknown): error is Fault {
  return error instanceof Fault && error.code === NO_LANDLOCK;
}

/** The Landlock ABI that a trial of a jail has found: 0 if the kernel has none, undefined if the trial failed for another reason. */
export function landlockAbiOf(tried: Jail | Fault | undefined): number | undefined {
  if (tried === undefined) return undefined;
  if (tried instanceof Fault) return lacksLandlock(tried) ? 0 : undefined;
  return tried.landlockAbi;
}

/**
 * A Fault with the line of a program of the launcher, or with its exit status.
 * @param result its standard error and its end
 * @param without the next step on a kernel without Landlock, beside another kernel
 */
export function notConfined(result: Omit<Result, 'stdout'>, without: () => string): Fault {
  const lines = result.stderr.split('\n').filter(line => line !== '' && readJailLine(line) === undefined);
  const words = lines.join(' | ');
  const kernel = /this kernel(?: has no Landlock|'s Landlock is too old).*/.exec(words)?.[0];
  if (kernel !== undefined)
    return new Fault({
      tried: 'confine rsync',
      found: kernel.replace('this kernel', `Linux ${kernelRelease()}`),
      next: `boot a kernel with Landlock; or ${without()}`,
      code: NO_LANDLOCK,
    });
  return new Fault({
    tried: 'confine rsync',
    found: words === '' ? endingText(result) : words.replace(/^dialback-launch: /, ''),
    next: 'dialback doctor',
  });
}

/**
 * Asks the launcher where each `never` leads: it can look where this account cannot.
 * @param runFolder with its scope written
 * @returns three texts for each fact, a NUL behind each text; one character a byte
 * @throws Fault with the launcher's line
 */
export async function askPlaces(runFolder: string): Promise<string> {
  const result = await run(launcherCommand(['never', runFolder]), { timeoutMs: 60_000 });
  if (result.status === 0) return result.stdout.toString('latin1');
  throw notConfined(result, sendWithout);
}

/**
 * Checks the file capabilities that `capability = "inherited"` needs: `launch` `ep`, this executable `i`, rsync `ei`. Without this
 * check, a run whose rsync has lost its capability (to a package upgrade) would not fail, but read less.
 * @throws Fault that names the file and the command that repairs it
 */
export async function requireInheritance(): Promise<void> {
  const chain: [string, string][] = [
    [launcherCommand([]).program, 'ep'],
    [ownExecutable(), 'i'],
    [programPath('rsync'), 'ei'],
  ];
  for (const [path, flags] of chain) {
    const { stdout } = await run(standard('getcap', ['--', path]));
    const has = parseGetcap(stdout.toString('utf8'), path);
    if (has === `${CAPABILITY}=${flags}`) continue;
    throw new Fault({
      tried: `lend "${path}" the capability to read`,
      found: `its file capability is ${has === '' ? 'not set' : `"${has}"`}, and should be ${CAPABILITY}=${flags}`,
      next: `setcap ${CAPABILITY}=${flags} '${path}'`,
    });
  }
}
