/**
 * The transport `local`: the store is on this machine, on a disk that may be absent. `backup` starts `dialback grab` as its
 * child instead of ssh. The rest is the channel's (client/channel.ts): the same gate, ticket, jails and scope.
 */
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { asBytes } from '../os/byte-path.ts';
import { sleep } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { failedWith, fileFault, lastVisible, lstat, realPath, stat, whatFailed } from '../os/files.ts';
import { inText, isWithin, type MountEntry, mountOf, readMountTable, rootBeside } from '../os/mounts.ts';
import { endingText, PLAIN_ENVIRONMENT } from '../os/process.ts';
import { findConfig, pathKey, readConfig } from '../shared/toml.ts';
import type { FailureCode } from '../wire/events.ts';
import { localGrab, STORE_FILE } from '../wire/local.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { Callee } from './call.ts';
import { carryOverChannel } from './channel.ts';
import { type ClientConfig, clientName, type Remote, remoteName } from './config.ts';
import type { OpenTransport } from './transport.ts';

/** The code of the fault of a run that is skipped because its disk is absent, as the config asks for. */
export const SKIPPED = 'skipped';

/** The time between two looks whether the disk is mounted. */
const LOOK_MS = 2_000;

/** Opens the transport `local`. Waits for the disk where the config says so. @throws Fault as `findStore()` */
export const openLocal: OpenTransport = async ({ config, remote, interrupt, events }, hung) => {
  const waits = (): void => events.waiting('disk', null);
  const hostConfig = await findStore(config, remote, interrupt, waits, hung);
  return {
    prepare: async () => async (held, attempt) =>
      await carryOverChannel(held, attempt, 'local', async () => grabHere(config, remote, hostConfig)),
  };
};

/** Whether the store of a remote is on this machine. */
export function isLocal(remote: Remote): boolean {
  return remote.transport === 'local';
}

/** The one key of host.toml that the client reads. grab reads the rest, and refuses a wrong key. */
const STORE_OF = v.looseObject({ store: pathKey });

/** The host.toml for grab: the remote's `host_config`, or else the usual file. @throws Fault (exit 2) where there is none */
export function hostConfigOf(config: ClientConfig, remote: Remote): string {
  const path = remote.host_config ?? findConfig('host.toml');
  if (path !== undefined) return path;
  throw new Fault({
    tried: `keep backups in "${remote.target}"`,
    found: 'there is no host.toml, which configures the store',
    next: enrollCommand(config, remote),
    exit: 'usage',
  });
}

/** The command that makes the store and enrolls this client in it. */
function enrollCommand(config: ClientConfig, { target, host_config: file }: Remote): string {
  const named = file === undefined ? '' : ` --config ${quoteForShell(file)}`;
  return `dialback enroll ${clientName(config)} --local --store ${quoteForShell(target)}${named}`;
}

/**
 * Waits for the store where the config says so, and checks that it is the right one. Creates no folder: without its disk there is
 * only an empty mount point.
 * @param waits is called once, when it has to wait
 * @param hung mount points of file systems that do not answer: paths below them are not looked at
 * @returns the path of host.toml
 * @throws Fault with the code `SKIPPED` (exit 10) where the config says to skip an absent disk
 */
async function findStore(
  config: ClientConfig,
  remote: Remote,
  interrupt: AbortSignal,
  waits: () => void,
  hung: readonly string[],
): Promise<string> {
  const hostConfig = hostConfigOf(config, remote);
  const why = await awaitStore(remote, interrupt, waits);
  if (why !== undefined) {
    throw new Fault({
      tried: `back up to "${remoteName(remote)}"`,
      found: why,
      next: 'mount its disk',
      exit: 'noStore',
      ...(remote.absent === 'skip' ? { code: SKIPPED } : {}),
    });
  }
  requireSameStore(config, remote, hostConfig);
  requireApart(config, remote, hung);
  return hostConfig;
}

/**
 * Waits for the store where the config says so.
 * @param waits is called once, when it has to wait
 * @returns why there is no store; undefined where there is one
 * @throws Fault where the run is interrupted, or the store cannot be looked into
 */
export async function awaitStore(
  remote: Remote,
  interrupt: AbortSignal,
  waits: () => void,
): Promise<string | undefined> {
  const why = whyAbsent(remote.target);
  if (why === undefined || remote.absent !== 'wait') return why;
  waits();
  try {
    while (whyAbsent(remote.target) !== undefined) await sleep(LOOK_MS, interrupt);
    return undefined;
  } catch (error) {
    if (!(error instanceof Fault) || error.exit === 'interrupted') throw error;
    return `${why}, and it did not come before the deadline`;
  }
}

/**
 * Looks for the store.
 * @returns why it is absent; undefined where it is there
 * @throws Fault where this account may not look: then the disk is mounted, and its permissions are wrong
 */
export function whyAbsent(target: string): string | undefined {
  try {
    lstat(`${target}/${STORE_FILE}`);
    return undefined;
  } catch (error) {
    if (failedWith(error, 'EACCES') || failedWith(error, 'EPERM'))
      throw fileFault(error, `look into the store "${target}"`, {
        next: `${inspectCommand(target)}: it must belong to ${ownAccount().name}`,
      });
    if (!failedWith(error, 'ENOENT') && !failedWith(error, 'ENOTDIR'))
      return `"${target}" cannot be read (${whatFailed(error)})`;
    return isThere(target) ? `there is no store in "${target}"` : `"${target}" is not there`;
  }
}

function isThere(path: string): boolean {
  return stat(path, { throwIfNoEntry: false }) !== undefined;
}

/** Refuses a host.toml that names another store than client.toml. @throws Fault (exit 2) */
export function requireSameStore(config: ClientConfig, remote: Remote, hostConfig: string): void {
  const { store } = readConfig(hostConfig, STORE_OF, 'host.toml');
  if (realPlace(store) === realPlace(remote.target)) return;
  const other = `${hostConfig.slice(0, hostConfig.lastIndexOf('/'))}/${clientName(config)}-local.toml`;
  throw new Fault({
    tried: `back up to "${remote.target}"`,
    found: `"${hostConfig}" keeps its backups in another store, "${escapeText(store)}"`,
    next:
      remote.host_config === undefined
        ? `write one of its own for this store: ${enrollCommand(config, { ...remote, host_config: other })}; then host_config = "${other}" in the [[remote]]`
        : 'let `host_config` name the host.toml of this store',
    exit: 'usage',
  });
}

/** A path without symbolic links; the same path where this account cannot see that. */
export function realPlace(path: string): string {
  try {
    return realPath(path);
  } catch {
    return path;
  }
}

/** The mount point of a store's disk. Without the disk, the folder that is left: findmnt(8) does not accept a missing path. */
function mountPoint(target: string): string {
  const at = lastVisible(target);
  const mount = mountOf(inText(readMountTable()), at)?.path ?? '/';
  return mount === '/' ? at : mount;
}

/**
 * Refuses a store that holds a root, or that is on the same file system as one: both would be lost together.
 * @param hung mount points of file systems that do not answer: roots below them are not looked at
 * @throws Fault (exit 2)
 */
export function requireApart(config: ClientConfig, remote: Remote, hung: readonly string[] = []): void {
  const roots = config.scope.roots.filter(root => !hung.some(each => isWithin(each, asBytes(root))));
  const tried = `back up to "${remote.target}"`;
  const store = realPlace(remote.target);
  const inside = roots.find(root => isWithin(store, realPlace(root)));
  if (inside !== undefined)
    throw new Fault({
      tried,
      found: `the root "${inside}" is in that store, which is never part of a backup`,
      next: 'set `roots` in client.toml',
      exit: 'usage',
    });
  const beside = remote.same_filesystem
    ? undefined
    : rootBeside(inText(readMountTable()), roots.map(realPlace), store);
  if (beside === undefined) return;
  throw new Fault({
    tried,
    found: `it is on the same file system as the root "${beside}", so both would be lost together`,
    next: 'name a folder on another disk; or, if that is meant: same_filesystem = true in the [[remote]]',
    exit: 'usage',
  });
}

/**
 * Looks for other files on the disk of the store that are backed up, and so onto their own disk. Pure.
 * @param store its path without symbolic links
 * @returns the mount point of that disk; undefined where the scope leaves these files out, or there are none
 */
export function diskInScope(
  table: MountEntry[],
  scope: Pick<ClientConfig['scope'], 'roots' | 'mounts' | 'never'>,
  store: string,
): string | undefined {
  const mount = mountOf(table, store)?.path ?? '/';
  const isTaken =
    mount !== store &&
    scope.mounts !== 'one' &&
    scope.roots.some(root => root !== mount && isWithin(root, mount)) &&
    !scope.never.some(never => isWithin(never, mount));
  return isTaken ? mount : undefined;
}

/** Words and next step for a failure of the host where the host is this machine: no other administrator, and no other log. */
export function adviceHere(
  code: FailureCode,
  config: ClientConfig,
  remote: Remote,
): { found?: string; next?: string } {
  const { target } = remote;
  switch (code) {
    case 'no-store':
      return {
        found: `the store "${target}" disappeared, or its disk does not accept writes any more`,
        next: `findmnt -T ${quoteForShell(mountPoint(target))}; once its disk is there again, the next run goes on from there`,
      };
    case 'no-space':
      return { found: `no space is left for "${target}"`, next: 'dialback prune; or a larger disk' };
    case 'config':
      return { next: 'dialback doctor' };
    case 'unenrolled':
      return { next: enrollCommand(config, remote) };
    case 'no-answer':
      return { found: 'rsync did not start', next: 'dialback doctor' };
    case 'internal':
    case 'rsync':
      return { next: `the reason is at the end of ${target}/clients/${clientName(config)}/journal.jsonl` };
    default:
      return {};
  }
}

/** Starts `dialback grab` instead of ssh. It exits when we do. */
function grabHere(config: ClientConfig, remote: Remote, hostConfig: string): Callee {
  return {
    command: {
      program: ownExecutable(),
      args: localGrab(clientName(config), hostConfig),
      environment: { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home },
      deathSignal: 'TERM', // so that it can abandon its snapshot
      // Ctrl-C does not reach it. rsync keeps a half received file only if it is its peer that exits.
      ownSession: true,
    },
    explainEnd: ending =>
      new Fault({
        tried: `back up to "${remoteName(remote)}"`,
        found: `the part that writes the store ${endingText(ending)}, without an outcome`,
        next: 'dialback doctor',
      }),
    worksOn: true,
  };
}
