/**
 * Root file systems of Debian's and Ubuntu's suites, each with its own rsync, OpenSSH, coreutils and glibc.
 *
 *     node_modules/.bin/node test/versions/roots.ts make SUITE…      builds it, or finds it in the cache
 *     node_modules/.bin/node test/versions/roots.ts enter SUITE [--net] [--bind FROM:TO]… -- COMMAND…
 *     node_modules/.bin/node test/versions/roots.ts list
 *
 * `enter` runs a command as root in a machine of namespaces. The root file system is under an overlay in memory, so all changes are
 * lost when the command exits. `--net` gives the machine a network of its own, which has only loopback. `--bind` mounts a folder of
 * this machine there.
 *
 * The packages come from the mirror that apt uses on this machine, Ubuntu's from the folder `ubuntu` beside its `debian`.
 * DIALBACK_VERSIONS_MIRROR names another mirror (without `/debian`), DIALBACK_VERSIONS_UBUNTU another one of Ubuntu (with `/ubuntu`).
 * The cache is /var/tmp/dialback-versions, or DIALBACK_VERSIONS_CACHE. A root is built again when it is older than
 * MAX_AGE_DAYS, or when the list of its packages or archives has changed here. The archives' Release files are not compared: those of
 * security suites change several times a day, and most changes do not matter.
 * A build works in a folder of its own and renames it at the end. A shared lock keeps a root in place while a machine uses it.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Base, Machine } from '../support/machine.ts';
import { findSuite, PACKAGES, SUITES, type Suite } from './suites.ts';

const CACHE = process.env.DIALBACK_VERSIONS_CACHE ?? '/var/tmp/dialback-versions';
const MAX_AGE_DAYS = 7;
export const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Where the package ubuntu-keyring has it; Debian has that package from trixie on. */
const UBUNTU_KEYRING = '/usr/share/keyrings/ubuntu-archive-keyring.gpg';
const KEYRING_SUITE = 'trixie';
/** The packages whose versions identify a root. */
const NAMED = ['rsync', 'openssh-server', 'libc6', 'coreutils'] as const;
/** A limit for a busy machine. */
const BUILD_MS = 30 * 60_000;
const DAY_MS = 24 * 60 * 60_000;

/** The reason why a suite is not available here, which is not a failure. */
export class Unavailable extends Error {}

export type Versions = Record<(typeof NAMED)[number], string>;

export interface Root extends Base {
  suite: Suite;
  /** RFC 3339. */
  built: string;
  versions: Versions;
}

/** The record of a finished root. */
interface Record_ {
  made_of: string;
  built: string;
  versions: Versions;
}

/** The folder of the mirror that holds `debian`, `debian-security` and `ubuntu`, as apt uses it on this machine. */
function findMirror(): string {
  mirror ??= process.env.DIALBACK_VERSIONS_MIRROR?.replace(/\/+$/, '') ?? askApt();
  return mirror;
}

let mirror: string | undefined;

function askApt(): string {
  const format = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'];
  const addresses = execFileSync('apt-get', format, { encoding: 'utf8' }).split('\n');
  const found = addresses.find(each => /\/debian\/?$/.test(each));
  if (!found) throw new Error('Cannot find a Debian mirror: apt has none in its sources');
  return found.replace(/\/debian\/?$/, '');
}

/** The lines of sources.list(5). */
export function listSources(suite: Suite, keyring: string): string[] {
  return suite.archives.map(([folder, name, components]) => {
    const address = folder === 'ubuntu' ? findUbuntu() : `${findMirror()}/${folder}`;
    return `deb [signed-by=${keyring}] ${address} ${name} ${components}`;
  });
}

function findUbuntu(): string {
  return process.env.DIALBACK_VERSIONS_UBUNTU ?? `${findMirror()}/ubuntu`;
}

/** A hash of everything that determines the content of a root, except time. */
function describeRoot(suite: Suite): string {
  const parts = [listSources(suite, ''), listOptions(suite)];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

function packagesOf(suite: Suite): string[] {
  return suite.name === KEYRING_SUITE ? [...PACKAGES, 'ubuntu-keyring'] : PACKAGES;
}

function folderOf(name: string): string {
  return join(CACHE, name);
}

/** A root that is in the cache, is not too old, and was built as this program builds it. */
function findRoot(suite: Suite): Root | undefined {
  const record = join(folderOf(suite.name), 'record.json');
  if (!existsSync(record)) return undefined;
  const { made_of, built, versions } = JSON.parse(readFileSync(record, 'utf8')) as Record_;
  const isOld = Date.now() - Date.parse(built) > MAX_AGE_DAYS * DAY_MS;
  if (made_of !== describeRoot(suite) || isOld) return undefined;
  return { suite, folder: join(folderOf(suite.name), 'root'), lock: lockOf(suite), built, versions };
}

function lockOf(suite: Suite): string {
  return join(CACHE, `${suite.name}.lock`);
}

/** Root file systems contain old setuid programs, so only root may enter the folder. */
function makeCache(): void {
  mkdirSync(CACHE, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(CACHE);
  if (!lstatSync(CACHE).isDirectory() || uid !== 0 || (mode & 0o077) !== 0)
    throw new Error(`Cannot use "${CACHE}" as cache: it is not a folder of root's with mode 0700`);
}

/** Runs a function while this process holds an exclusive lock. */
async function withLock<T>(path: string, run: () => Promise<T>): Promise<T> {
  closeSync(openSync(path, 'a', 0o600));
  const holder = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(holder, 'exit');
  try {
    await Promise.race([
      once(holder.stdout, 'data'),
      exited.then(([status]) => Promise.reject(new Error(`flock ended with ${status}`))),
    ]);
    return await run();
  } finally {
    holder.stdin.end();
    await exited;
  }
}

/**
 * Builds a root, or finds it in the cache.
 * @param say prints a step that takes time
 * @throws {Unavailable} where the mirror does not have the distribution
 */
export async function makeRoot(suite: Suite, say: (line: string) => void = () => {}): Promise<Root> {
  makeCache();
  const keyring =
    suite.distribution === 'debian'
      ? DEBIAN_KEYRING
      : join((await makeRoot(findSuite(KEYRING_SUITE), say)).folder, UBUNTU_KEYRING);
  const cached = findRoot(suite);
  if (cached) return cached;
  await checkMirror(suite);
  const wait = setTimeout(
    () => say(`${suite.name}: waiting for another process that builds or uses it`),
    2_000,
  );
  return await withLock(lockOf(suite), async () => {
    clearTimeout(wait);
    const built = findRoot(suite); // by another process, meanwhile
    if (built) return built;
    say(`${suite.name}: building its root file system`);
    await build(suite, keyring);
    const root = findRoot(suite);
    if (!root) throw new Error(`Cannot find the root of ${suite.name} after building it`);
    return root;
  });
}

/** @throws {Unavailable} where there is no Ubuntu; what Debian's archive lacks is an error that mmdebstrap reports */
async function checkMirror(suite: Suite): Promise<void> {
  if (suite.distribution === 'debian') return;
  const address = `${findUbuntu()}/dists/${suite.name}/InRelease`;
  const file = join(CACHE, `.${suite.name}.${process.pid}.InRelease`);
  // apt's own downloader: it goes through the same proxies as the rest.
  const download = promisify(execFile)('/usr/lib/apt/apt-helper', ['download-file', address, file]);
  await download
    .catch((error: { stderr?: string }) => {
      const reason = (error.stderr ?? '').match(/^E: (.*)$/m)?.[1] ?? 'it cannot be reached';
      throw new Unavailable(`the mirror has no Ubuntu (${address}: ${reason})`);
    })
    .finally(() => removeFolder(file));
}

/** Forbids services, and removes this machine's network settings, which mmdebstrap copies. */
function finish(root: string): void {
  writeFileSync(join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  for (const name of readdirSync(join(root, 'etc/ssh')))
    if (name.startsWith('ssh_host_')) rmSync(join(root, 'etc/ssh', name));
  rmSync(join(root, 'etc/resolv.conf'), { force: true });
  writeFileSync(join(root, 'etc/resolv.conf'), '');
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n');
}

function listOptions(suite: Suite): string[] {
  return [
    '--mode=root',
    '--variant=apt',
    `--include=${packagesOf(suite).join(',')}`,
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=APT::Sandbox::User "root"',
    '--dpkgopt=force-unsafe-io',
    // Not /usr/share/doc: `doctor` reads in the changelogs what a package's security updates have fixed.
    '--dpkgopt=path-exclude=/usr/share/man/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
  ];
}

async function build(suite: Suite, keyring: string): Promise<void> {
  const work = join(CACHE, `.${suite.name}.${process.pid}`);
  removeFolder(work);
  // Folders of killed builds. We hold the lock, so no other process builds this suite.
  for (const name of readdirSync(CACHE))
    if (name.startsWith(`.${suite.name}.`)) removeFolder(join(CACHE, name));
  mkdirSync(work, { mode: 0o755 });
  try {
    const archive = suite.archives[0]?.[1] ?? '';
    const words = [...listOptions(suite), archive, join(work, 'root'), ...listSources(suite, keyring)];
    await run('mmdebstrap', words, {
      // mmdebstrap may call python3 for each package: use the system's.
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      TMPDIR: work,
    });
    const root = join(work, 'root');
    finish(root);
    const asked = ['--admindir', join(root, 'var/lib/dpkg'), '--show', ...NAMED];
    const lines = execFileSync('dpkg-query', asked, { encoding: 'utf8' }).trim().split('\n');
    // NAME or NAME:ARCHITECTURE, a tab, VERSION.
    const versions = Object.fromEntries(lines.map(each => each.split(/(?::\w*)?\t/))) as Versions;
    const record: Record_ = { made_of: describeRoot(suite), built: new Date().toISOString(), versions };
    writeFileSync(join(work, 'record.json'), JSON.stringify(record));
    removeFolder(folderOf(suite.name));
    renameSync(work, folderOf(suite.name));
  } finally {
    removeFolder(work);
  }
}

/** Runs a program and shows its output only if it fails. SIGINT and SIGTERM of this process kill it. */
async function run(program: string, args: string[], environment: Record<string, string>): Promise<void> {
  const child = spawn(program, args, {
    cwd: '/',
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: BUILD_MS,
    killSignal: 'SIGINT', // it unmounts what it has mounted, and removes its folder
  });
  builds.add(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const [status] = (await once(child, 'close')) as [number | null];
  builds.delete(child);
  if (status !== 0)
    throw new Error(`Cannot build a root: ${program} ended with ${status}\n${said.slice(-4000)}`);
}

const builds = new Set<ChildProcess>();

/** Ends the builds that run, and waits for them. */
export async function endBuilds(): Promise<void> {
  await Promise.all(
    [...builds].map(async child => {
      const closed = once(child, 'close');
      child.kill('SIGINT');
      await closed;
    }),
  );
}

/** A killed build can leave /proc, /sys or /dev mounted in it; this does not enter them. */
function removeFolder(path: string): void {
  if (!existsSync(path)) return;
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')
    .filter(each => each.startsWith(`${path}/`));
  for (const each of mounts.reverse()) execFileSync('umount', ['--recursive', each], { stdio: 'pipe' });
  execFileSync('rm', ['-rf', '--one-file-system', '--', path], { stdio: 'pipe' });
}

const booted: Machine[] = [];
let areMachinesEnded = false;

/** A machine that has a root under it; see test/support/machine.ts. @throws after endMachines() */
export async function bootRoot(root: Root, options: { ownNetwork?: boolean } = {}): Promise<Machine> {
  const machine = await Machine.boot({ ...options, base: root });
  booted.push(machine);
  if (areMachinesEnded) {
    await machine.end();
    throw new Error('interrupted');
  }
  return machine;
}

/** Ends all machines of this process, with everything that runs in them. */
export async function endMachines(): Promise<void> {
  areMachinesEnded = true;
  await Promise.all(booted.map(each => each.end()));
}

/** The environment of root in such a machine. */
export const ENVIRONMENT = {
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
};

async function enter(suite: string, words: string[]): Promise<number> {
  const at = words.indexOf('--');
  const [options, command] = at < 0 ? [words, []] : [words.slice(0, at), words.slice(at + 1)];
  const binds: [string, string][] = [];
  let ownNetwork = false;
  while (options.length > 0) {
    const word = options.shift() ?? '';
    if (word === '--net') ownNetwork = true;
    else if (word === '--bind') binds.push((options.shift() ?? '').split(':') as [string, string]);
    else throw new Error(`Cannot understand "${word}"`);
  }
  const root = await makeRoot(findSuite(suite), line => process.stderr.write(`${line}\n`));
  const machine = await bootRoot(root, { ownNetwork });
  try {
    for (const [from, to] of binds) {
      mkdirSync(machine.path(to), { recursive: true });
      // The machine's shell is in a chroot; its mount namespace has all of this machine as well.
      const mount = ['--target', String(machine.pid), '--mount', 'mount', '--bind', from, `/mnt/root${to}`];
      execFileSync('nsenter', mount, { stdio: 'inherit' });
    }
    const [program = '', ...args] = machine.command(command.length > 0 ? command : ['bash'], { folder: '/' });
    // On Ctrl-C the command decides; then the machine ends with it.
    process.on('SIGINT', () => {});
    const child = spawn(program, args, {
      env: { ...ENVIRONMENT, TERM: process.env.TERM ?? 'dumb' },
      stdio: 'inherit',
    });
    const [status] = (await once(child, 'close')) as [number | null];
    return status ?? 1;
  } finally {
    await machine.end();
  }
}

function list(): void {
  for (const suite of SUITES) {
    const root = existsSync(CACHE) ? findRoot(suite) : undefined;
    const versions = root
      ? `${root.built.slice(0, 16)}  ${NAMED.map(each => `${each} ${root.versions[each]}`).join('  ')}`
      : 'not built, or too old';
    process.stdout.write(`${suite.name.padEnd(14)} ${suite.title.padEnd(36)} ${versions}\n`);
  }
}

async function main([verb, ...words]: string[]): Promise<number> {
  if (verb === 'make' && words.length > 0) {
    // The build then fails, and removes what it has made.
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void endBuilds());
    for (const name of words) {
      const root = await makeRoot(findSuite(name), line => process.stderr.write(`${line}\n`));
      process.stdout.write(`${root.folder}\n`);
    }
    return 0;
  }
  if (verb === 'enter' && words[0] !== undefined) return await enter(words[0], words.slice(1));
  if (verb === 'list' && words.length === 0) {
    list();
    return 0;
  }
  process.stderr.write(
    'usage: roots.ts make SUITE… | enter SUITE [--net] [--bind FROM:TO]… [-- COMMAND…] | list\n',
  );
  return 2;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`roots: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof Unavailable ? 77 : 1;
  }
}
