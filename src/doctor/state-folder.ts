/** The folder in which each run works, on either side. */
import { dirname } from 'node:path';
import { ownAccount } from '../os/account.ts';
import { exists, mayWrite, stat, statfs } from '../os/files.ts';
import { requireStateFolder, requireStateName } from '../os/runfolder.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const CLIENT_STATE = new Topic(
  'client.state',
  'each run works in it, and sshd trusts no key below a folder that others can change',
);
/** A run leaves a few small files; a disk with fewer free bytes is full. */
const STATE_FREE_BYTES = 16 * 1024 * 1024;

/** @param path the state folder of client.toml */
export function collectClientState(path: string): Finding {
  try {
    requireStateName(path);
    if (!exists(path)) return checkNewClientState(path);
    requireStateFolder(path);
    if (!mayWrite(path))
      return CLIENT_STATE.critical(
        `this account cannot write to "${path}"`,
        `chmod 700 ${quoteForShell(path)}; findmnt -T ${quoteForShell(path)}`,
      );
    const { bavail, bsize } = statfs(path);
    if (bavail * bsize < STATE_FREE_BYTES)
      return CLIENT_STATE.critical(`the disk of "${path}" is full`, `df -h ${quoteForShell(path)}`);
    return CLIENT_STATE.ok(`"${path}" is private to this account`);
  } catch (error) {
    return CLIENT_STATE.fault(error, 'set `state` in client.toml');
  }
}

/** The first run creates the folder and its parents, so this account must be able to write to the nearest one that exists. */
function checkNewClientState(path: string): Finding {
  const at = existingParent(path);
  return mayWrite(at)
    ? CLIENT_STATE.ok(`"${path}" does not exist yet: the first run creates it`)
    : CLIENT_STATE.critical(
        `"${path}" does not exist, and this account cannot create it in "${at}"`,
        `install -d -o ${ownAccount().name} -m 700 ${quoteForShell(path)}`,
      );
}

function existingParent(path: string): string {
  let at = dirname(path);
  while (!exists(at)) at = dirname(at);
  return at;
}

const HOST_STATE = new Topic(
  'host.state',
  'each run works in it; among other files it holds the socket of the agent that has the one-time key',
);
/** The path of a unix socket has at most 107 bytes (unix(7)); the agent's is STATE/run-XXXXXX/agent. */
const STATE_PATH_BYTES = 107 - '/run-XXXXXX/agent'.length;

/** @param path the state folder of the account */
export function collectHostState(path: string): Finding {
  try {
    requireStateName(path);
  } catch (error) {
    return HOST_STATE.fault(error, shorterHome());
  }
  try {
    if (Buffer.byteLength(path) > STATE_PATH_BYTES)
      return HOST_STATE.critical(
        `the path "${path}" is too long for the agent's socket in it (at most ${STATE_PATH_BYTES} bytes)`,
        shorterHome(),
      );
    if (!exists(path)) return checkNewHostState(path);
    requireStateFolder(path);
    return mayWrite(path)
      ? HOST_STATE.ok(`"${path}" is private to this account`)
      : HOST_STATE.critical(`this account cannot write to "${path}"`, `chmod 700 ${quoteForShell(path)}`);
  } catch (error) {
    return HOST_STATE.fault(error, `chmod 700 ${quoteForShell(path)}`);
  }
}

function checkNewHostState(path: string): Finding {
  const at = existingParent(path);
  return mayWrite(at)
    ? HOST_STATE.ok(`"${path}" does not exist yet: the first run creates it`)
    : HOST_STATE.critical(
        `"${path}" does not exist, and this account cannot create it in "${at}"`,
        letCreate(at, path),
      );
}

/** Leaves the home folder in its place, because authorized_keys and the configs name paths in it, and gives the account a link. */
function shorterHome(): string {
  const { home, name } = ownAccount();
  return `as root: ln -s ${quoteForShell(home)} DIR && usermod --home DIR ${name}, with a short DIR of letters and digits`;
}

/** @param at the nearest folder above the state folder that exists, in which this account cannot create anything */
function letCreate(at: string, path: string): string {
  const { uid, name, home } = ownAccount();
  if (stat(at).uid === uid) return `chmod u+rwx ${quoteForShell(at)}`;
  return at.startsWith(`${home}/`)
    ? `as root: chown -R ${name} ${quoteForShell(at)}`
    : `as root: install -d -o ${name} -m 700 ${quoteForShell(path)}`;
}
