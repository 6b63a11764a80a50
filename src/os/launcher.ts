/**
 * The launcher (src/launcher/launch.c) as the rest of dialback sees it: where it is, what it is told, what it says.
 * It stands beside this executable, `PREFIX/bin/dialback` and `PREFIX/libexec/dialback/launch`, as `make install` puts
 * the two; an executable that was only built has none.
 */
import { dirname, join } from 'node:path';
import { Fault } from '../fault.ts';
import { readWhole } from './content.ts';
import { ownExecutable } from './executable.ts';
import { CAPABILITY, parseGetcap } from './file-capability.ts';
import { exists, failedWith, fileFault, lstat, mayRun } from './files.ts';
import { type Command, endingText, PLAIN_ENVIRONMENT, type Result, run, standard } from './process.ts';
import { programPath } from './programs.ts';
import { kernelRelease } from './uname.ts';

/** The administrator's list of what no backup may read, which the launcher enforces. */
export const NEVER_LIST = '/etc/dialback/never';
const NEVER_LIMIT = 1024 * 1024;

/** Where the launcher is, if it is installed. */
export function launcherPath(): string {
  return join(dirname(ownExecutable()), '../libexec/dialback/launch');
}

/**
 * Whether there is a launcher. One that does not work, or cannot even be seen, is no reason to go without.
 * @throws Fault when a folder above it cannot be looked into
 */
export function hasLauncher(): boolean {
  const path = launcherPath();
  try {
    lstat(path);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return false;
    throw fileFault(error, `look for the launcher "${path}"`, { next: 'dialback doctor', code: 'config' });
  }
}

/**
 * Refuses to go without the launcher where the config leaves it open and the last run had it.
 * @param file the config, for the message; @param ways the lines that would say what is meant
 */
export function launcherHasGone(file: string, ways: string): Fault {
  return new Fault({
    tried: "go without the kernel's jail",
    found: `the last run had it, the launcher "${launcherPath()}" is gone, and ${file} does not say what to do`,
    next: `make install, or write ${ways} into ${file}`,
    code: 'config',
  });
}

/** Whether the launcher is there and lends its capability to this account: it was made for one, and says for which. */
export async function launcherServesUs(): Promise<boolean> {
  if (!mayRun(launcherPath())) return false;
  const { stderr } = await run(launcherCommand(['send', '/'])); // which is no run folder, if it comes so far
  return !stderr.includes('it was made for uid ');
}

/**
 * The launcher's command line.
 * @throws Fault when it is not there, or is not ours to run
 */
export function launcherCommand(args: string[], deathSignal?: 'KILL' | 'TERM'): Command {
  const program = launcherPath();
  if (!mayRun(program)) {
    const found = exists(program) ? 'this account may not run it' : 'it is not there';
    throw new Fault({
      tried: `run the launcher "${program}"`,
      found,
      next: 'dialback doctor',
      code: 'config',
    });
  }
  return { program, args, environment: PLAIN_ENVIRONMENT, ...(deathSignal ? { deathSignal } : {}) };
}

/** A jail that stands. */
export interface Jail {
  /** The kernel's Landlock ABI. */
  landlockAbi: number;
  /** Whether the receiver has a root file system of its own, with nothing in it but this client's folder. */
  hasOwnRoot: boolean;
}

/** What the launcher says on standard error when all of a jail stands. */
export function readJailLine(line: string): Jail | undefined {
  const found = /^dialback-launch: landlock_abi (\d{1,4})( own_root)?$/.exec(line.trim());
  return found ? { landlockAbi: Number(found[1]), hasOwnRoot: found[2] !== undefined } : undefined;
}

/** The dynamic loader by the name that an executable has it by (LOADER_PATH in launch.c). */
const LOADER = process.arch === 'arm64' ? '/lib/ld-linux-aarch64.so.1' : '/lib64/ld-linux-x86-64.so.2';

/**
 * The shared libraries that rsync is loaded with, for the sender's jail: rsync itself cannot be read about them, so the
 * dynamic loader is asked (ld.so(8), --list; it is what ldd(1) does). A static rsync has none. Not by rsync's own start
 * with LD_TRACE_LOADED_OBJECTS: where rsync has a file capability, the loader takes no such order and ends with 5.
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
 * Starts rsync in the sender's jail once, without a peer, and sees that it comes as far as its greeting: so capability,
 * Landlock, seccomp and rsync are known to work before a backup host is called.
 * @param runFolder with its scope and rsyncd folder written
 * @returns the jail
 * @throws Fault with the launcher's own line
 */
export async function tryConfinement(runFolder: string): Promise<Jail> {
  const result = await run(launcherCommand(['send', runFolder]), { timeoutMs: 60_000 });
  return readTrial(result, /^@RSYNCD:/, SEND_WITHOUT);
}

/**
 * Has rsync tell its version in the receiver's jail.
 * @param tree an empty folder of our own
 * @returns the jail
 * @throws Fault with the launcher's own line
 */
export async function tryReceiving(tree: string): Promise<Jail> {
  const command = launcherCommand(['receive', tree, '--', '--version']);
  const result = await run(command, { timeoutMs: 60_000 });
  return readTrial(result, /^rsync +version /, RECEIVE_WITHOUT);
}

/** What works on a kernel without Landlock. */
export const SEND_WITHOUT =
  'make install INHERITED=1, as root, in dialback\'s sources, and then `capability = "inherited"` in client.toml';
export const RECEIVE_WITHOUT = '`confined = false` in host.toml';

/** @param expected what rsync says first when all is well; @param without what works where the kernel has no Landlock */
function readTrial(result: Result, expected: RegExp, without: string): Jail {
  const lines = result.stderr.split('\n').filter(line => line !== '');
  const jail = lines.map(readJailLine).find(found => found !== undefined);
  if (jail !== undefined && expected.test(result.stdout.toString('latin1'))) return jail;
  throw notConfined(result, without);
}

const NO_LANDLOCK = 'no-landlock';

/** Whether a jail did not stand because this kernel has no Landlock, or not enough of it. */
export function lacksLandlock(error: unknown): error is Fault {
  return error instanceof Fault && error.code === NO_LANDLOCK;
}

/** The Landlock ABI that a trial of a jail has found: 0 where it found none, undefined where it cannot tell. */
export function landlockAbiOf(tried: Jail | Fault | undefined): number | undefined {
  if (tried === undefined) return undefined;
  if (tried instanceof Fault) return lacksLandlock(tried) ? 0 : undefined;
  return tried.landlockAbi;
}

/** The launcher's own words, or how it ended. */
function notConfined(result: Result, without: string): Fault {
  const lines = result.stderr.split('\n').filter(line => line !== '' && readJailLine(line) === undefined);
  const words = lines.join(' | ');
  const kernel = /this kernel(?: has no Landlock|'s Landlock is too old).*/.exec(words)?.[0];
  if (kernel !== undefined)
    return new Fault({
      tried: 'confine rsync',
      found: kernel.replace('this kernel', `Linux ${kernelRelease()}`),
      next: `boot a kernel with Landlock; or ${without}`,
      code: NO_LANDLOCK,
    });
  return new Fault({
    tried: 'confine rsync',
    found: words === '' ? endingText(result) : words.replace(/^dialback-launch: /, ''),
    next: 'dialback doctor',
  });
}

/**
 * Has the launcher say where each `never` is: it can look where this account cannot.
 * @param runFolder with its scope written
 * @returns three texts for each fact, a NUL behind each text; a character a byte
 * @throws Fault with the launcher's own line
 */
export async function askPlaces(runFolder: string): Promise<string> {
  const result = await run(launcherCommand(['never', runFolder]), { timeoutMs: 60_000 });
  if (result.status === 0) return result.stdout.toString('latin1');
  throw notConfined(result, SEND_WITHOUT);
}

/**
 * Sees that the chain of `capability = "inherited"` is whole: launcher `ep`, this executable `i`, rsync `ei`. A link that
 * has lost its capability (a package upgrade takes rsync's) would not fail, but read less.
 * @throws Fault that names the file and the command that mends it
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

/** The paths of the administrator's list; none where there is no launcher to enforce it. */
export function readNeverList(): string[] {
  if (!exists(NEVER_LIST)) return []; // the launcher refuses to go without
  let bytes: Buffer;
  try {
    bytes = readWhole(NEVER_LIST, NEVER_LIMIT);
  } catch (error) {
    if (!(error instanceof Fault) || !failedWith(error.cause, 'EACCES')) throw error;
    throw new Fault({ tried: error.tried, found: error.found, next: `as root: chmod 644 ${NEVER_LIST}` });
  }
  return bytes
    .toString('utf8')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.replace(/(?<=.)\/+$/, ''));
}
