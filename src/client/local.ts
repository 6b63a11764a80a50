/**
 * The transport `local`: the store is on this machine, on a disk that may not be there. In the place of ssh `backup` starts
 * `dialback grab` as its child; the rest is the channel's (client/channel.ts): same gate, same ticket, same jails, same scope.
 */
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { sleep } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { failedWith, fileFault, lastVisible, lstat, realPath, stat, whatFailed } from '../os/files.ts';
import { isWithin, type MountEntry, mountOf, mountTable } from '../os/mounts.ts';
import { PLAIN_ENVIRONMENT } from '../os/process.ts';
import { findConfig, pathKey, readConfig } from '../shared/toml.ts';
import type { FailureCode } from '../wire/events.ts';
import { localGrab, STORE_FILE } from '../wire/local.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { Callee } from './call.ts';
import { type ClientConfig, clientName, type Remote, remoteName } from './config.ts';

/** The code of the fault of a run that was left out because its disk is not there, as the config wants it. */
export const SKIPPED = 'skipped';

/** So often it is looked whether the disk has come. */
const LOOK_MS = 2_000;

/** A remote whose store is on this machine. */
export function isLocal(remote: Remote): boolean {
  return remote.transport === 'local';
}

/** host.toml, of which the client reads one key; grab reads the rest, and refuses what is wrong there. */
const STORE_OF = v.looseObject({ store: pathKey });

/** The host.toml that grab goes by: the remote's own, else the one in the usual place. @throws Fault where there is none */
export function hostConfigOf(config: ClientConfig, remote: Remote): string {
  const path = remote.host_config ?? findConfig('host.toml');
  if (path !== undefined) return path;
  throw new Fault({
    tried: `keep backups in "${remote.target}"`,
    found: 'there is no host.toml, which says how',
    next: enrolCommand(config, remote),
    exit: 'usage',
  });
}

/** The command that makes the store, or takes this client into one that is there. */
function enrolCommand(config: ClientConfig, { target, host_config: file }: Remote): string {
  const named = file === undefined ? '' : ` --config ${quoteForShell(file)}`;
  return `dialback enroll ${clientName(config)} --local --store ${quoteForShell(target)}${named}`;
}

/**
 * Waits, where the config says so, until the store is there, and makes sure that it is the one that is meant. Nothing is made:
 * where a disk is not mounted there stays nothing but its mount point.
 * @param waits is called once, when there is something to wait for
 * @param hung mount points of file systems that do not answer: what is there is not looked at
 * @returns host.toml's path
 * @throws Fault: `SKIPPED` (with exit 10) where an absent disk is to be passed over in silence
 */
export async function findStore(
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
 * Waits, where the config says so, until the store is there.
 * @param waits as `findStore`
 * @returns why there is none, or undefined
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

/** Why a store is not there. @throws Fault where that cannot be seen: then the disk is there, and something else is wrong */
export function whyAbsent(target: string): string | undefined {
  try {
    lstat(`${target}/${STORE_FILE}`);
    return undefined;
  } catch (error) {
    if (failedWith(error, 'EACCES') || failedWith(error, 'EPERM'))
      throw fileFault(error, `look into the store "${target}"`, {
        next: `${inspectCommand(target)}: it is to belong to ${ownAccount().name}`,
      });
    if (!failedWith(error, 'ENOENT') && !failedWith(error, 'ENOTDIR'))
      return `"${target}" cannot be read (${whatFailed(error)})`;
    return isThere(target) ? `there is no store in "${target}"` : `"${target}" is not there`;
  }
}

function isThere(path: string): boolean {
  return stat(path, { throwIfNoEntry: false }) !== undefined;
}

/** What is backed up must get where client.toml says, and not where host.toml does. */
export function requireSameStore(config: ClientConfig, remote: Remote, hostConfig: string): void {
  const { store } = readConfig(hostConfig, STORE_OF, 'host.toml');
  if (realPlace(store) === realPlace(remote.target)) return;
  const other = `${hostConfig.slice(0, hostConfig.lastIndexOf('/'))}/${clientName(config)}-local.toml`;
  throw new Fault({
    tried: `back up to "${remote.target}"`,
    found: `"${hostConfig}" keeps its backups in another store, "${escapeText(store)}"`,
    next:
      remote.host_config === undefined
        ? `write one of its own for this store: ${enrolCommand(config, { ...remote, host_config: other })}; then host_config = "${other}" in the [[remote]]`
        : 'let `host_config` name the host.toml of this store',
    exit: 'usage',
  });
}

/** Where a path is without links, as far as this account can see. */
export function realPlace(path: string): string {
  try {
    return realPath(path);
  } catch {
    return path;
  }
}

/** Where a store's disk is mounted, or was: a folder that stays when the disk goes. findmnt(8) finds nothing for a path that is gone. */
function mountPoint(target: string): string {
  const at = lastVisible(target);
  const mount = mountOf(mountTable(), at)?.path ?? '/';
  return mount === '/' ? at : mount;
}

/** A backup beside what it is a backup of is lost with it. */
export function requireApart(config: ClientConfig, remote: Remote, hung: readonly string[] = []): void {
  const roots = config.scope.roots.filter(
    root => !hung.some(each => isWithin(each, Buffer.from(root, 'utf8').toString('latin1'))),
  );
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
  const beside = remote.same_filesystem ? undefined : rootBeside(mountTable(), roots.map(realPlace), store);
  if (beside === undefined) return;
  throw new Fault({
    tried,
    found: `it is on the same file system as the root "${beside}": what takes the one takes the other`,
    next: 'name a folder on another disk; or, if that is meant: same_filesystem = true in the [[remote]]',
    exit: 'usage',
  });
}

/**
 * The first root on the store's file system. By mountinfo's device, which subvolumes of a btrfs and bind mounts have in
 * common, and for which nothing has to be readable.
 * @param roots without links, as `store`
 */
export function rootBeside(table: MountEntry[], roots: string[], store: string): string | undefined {
  const device = mountOf(table, store)?.device;
  return roots.find(root => device !== undefined && mountOf(table, root)?.device === device);
}

/** What a failure of the host's means where it is this machine: there is no other administrator, and no other log. */
export function wordsHere(
  code: FailureCode,
  config: ClientConfig,
  remote: Remote,
): { found?: string; next?: string } {
  const { target } = remote;
  switch (code) {
    case 'no-store':
      return {
        found: `the store "${target}" went away, or its disk does not take what is written any more`,
        next: `findmnt -T ${quoteForShell(mountPoint(target))}; once its disk is there again, the next run goes on from there`,
      };
    case 'no-space':
      return { found: `no space is left for "${target}"`, next: 'dialback prune; or a larger disk' };
    case 'config':
      return { next: 'dialback doctor' };
    case 'unenrolled':
      return { next: enrolCommand(config, remote) };
    case 'no-answer':
      return { found: 'rsync did not start', next: 'dialback doctor' };
    case 'internal':
    case 'rsync':
      return { next: `the reason is at the end of ${target}/clients/${clientName(config)}/journal.jsonl` };
    default:
      return {};
  }
}

/** `dialback grab`, in the place of ssh: it dies with us, and what it says means the same. */
export function grabHere(config: ClientConfig, remote: Remote, hostConfig: string): Callee {
  return {
    command: {
      program: ownExecutable(),
      args: localGrab(clientName(config), hostConfig),
      environment: { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home },
      deathSignal: 'TERM', // it has an arriving tree to put aside
      ownSession: true, // at Ctrl-C too: rsync keeps a file that has half arrived where it is its peer that ends
    },
    whyEnded: code =>
      new Fault({
        tried: `back up to "${remoteName(remote)}"`,
        found: `the part that writes the store ended without an outcome (status ${code ?? 'unknown'})`,
        next: 'dialback doctor',
      }),
    waitsForIt: true,
  };
}
