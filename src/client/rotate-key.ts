/**
 * `dialback rotate-key`: gives the client a new key, in two calls. The first one makes the key in the state folder, which no backup contains,
 * and the client goes on with the old one. The host then accepts both (`enroll --rotate`). The second call asks each host whether it accepts
 * the new key, and only then puts it in the place of the old one. So there is no moment at which the client has a key that its host does
 * not accept. The host accepts only the new key after the first good run with it.
 *
 * Each step can be done twice: a call that is killed is completed by the next one.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { refuseRoot } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, realPath, removeFileIfThere } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { FAILURES, type FailureCode } from '../wire/events.ts';
import { escapeText } from '../wire/text.ts';
import { ownKey } from './client-key.ts';
import {
  type ClientConfig,
  calledRemotes,
  callFiles,
  clientName,
  type Remote,
  readClientConfig,
  remoteName,
  stateFolder,
} from './config.ts';
import { ANSWER_MS, type Answer, AS_GOOD, probeCall } from './probe-call.ts';

const KEY_BYTES = 16 * 1024;
const CONNECT_SECONDS = 30;

interface RotateOptions {
  /** The path of client.toml. */
  config: string;
  /** The key, where the config has several. */
  identity: string | undefined;
  /** Whether to drop the new key. */
  cancel: boolean;
}

/** The result of `rotateKey()`. */
export interface Rotated {
  client: string;
  /** `made`: there is a new key, and the old one is in use; `switched`: the new one is in use; `canceled`: there is no new key any more. */
  did: 'made' | 'switched' | 'canceled';
  identity: string;
  /** `ssh-ed25519 BASE64`; undefined if it was dropped. */
  publicKey: string | undefined;
  /** The hosts that are called with this key. */
  hosts: string[];
}

/** A new key that a host does not accept. */
export class NotAccepted extends Fault {
  readonly client: string;
  readonly publicKey: string;

  constructor(parts: ConstructorParameters<typeof Fault>[0], client: string, publicKey: string) {
    super(parts);
    this.client = client;
    this.publicKey = publicKey;
  }
}

/**
 * Makes the new key, or puts it into use.
 * @throws NotAccepted if a host does not accept it yet; the old key stays in use. Fault if there is no key to rotate
 */
export async function rotateKey(options: RotateOptions, interrupt: AbortSignal): Promise<Rotated> {
  refuseRoot('rotate-key');
  const config = readClientConfig(options.config);
  const client = clientName(config);
  const { identity, remotes } = chooseKey(config, options.identity);
  const state = stateFolder(config, undefined);
  prepareStateFolder(state);
  await using held = new AsyncDisposableStack();
  if ((await takeLock(held, `${state}/init.lock`)) === undefined)
    throw new Fault({
      tried: 'rotate the key of this client',
      found: 'another rotate-key or init is active',
      exit: 'locked',
    });
  const fresh = `${state}/next-key-${createHash('sha256').update(identity).digest('hex').slice(0, 8)}`;
  const hosts = remotes.map(remoteName);
  if (options.cancel) {
    requireNew(fresh, identity);
    dropNew(fresh);
    return { client, did: 'canceled', identity, publicKey: undefined, hosts };
  }
  const key = await ownKey({ held, state, path: fresh, comment: client, interrupt });
  const { publicKey } = key;
  if (key.isNew) return { client, did: 'made', identity, publicKey, hosts };
  for (const remote of remotes) await requireAccepted({ config, remote, fresh, client, publicKey });
  interrupt.throwIfAborted();
  putIntoUse(fresh, identity);
  return { client, did: 'switched', identity, publicKey, hosts };
}

/** The key to rotate, and the hosts that are called with it. */
function chooseKey(config: ClientConfig, named: string | undefined): { identity: string; remotes: Remote[] } {
  const called = calledRemotes(config);
  const all = [...new Set(called.map(each => callFiles(each).identity))];
  const [first] = all;
  const identity = named ?? (all.length === 1 ? first : undefined);
  if (identity !== undefined && all.includes(identity)) {
    if (!exists(identity))
      throw usage(`use the key "${escapeText(identity)}"`, 'it does not exist', 'run init, which makes one');
    return { identity, remotes: called.filter(each => callFiles(each).identity === identity) };
  }
  const names = all.map(each => `"${escapeText(each)}"`).join(', ');
  const found = all.length === 0 ? 'the stores of this config are on this machine' : `its keys are ${names}`;
  throw usage(
    'choose the key',
    found,
    all.length === 0 ? 'no key is needed' : 'name one of them with --identity',
  );
}

function usage(tried: string, found: string, next: string): Fault {
  return new Fault({ tried, found, next, exit: 'usage' });
}

function requireNew(fresh: string, identity: string): void {
  if (lstat(fresh, { throwIfNoEntry: false }) !== undefined) return;
  throw new Fault({ tried: 'drop the new key', found: `there is none beside "${escapeText(identity)}"` });
}

/** Asks a host whether it accepts the new key. */
async function requireAccepted(asked: {
  config: ClientConfig;
  remote: Remote;
  fresh: string;
  client: string;
  publicKey: string;
}): Promise<void> {
  const { config, remote, fresh, client, publicKey } = asked;
  const call = {
    target: remote.target,
    identity: fresh,
    knownHosts: callFiles(remote).knownHosts,
    logFile: '/dev/null',
    connectSeconds: CONNECT_SECONDS,
    idleSeconds: Math.ceil(config.limits.idle_timeout / 1000),
    more: remote.ssh_options,
    command: '',
  };
  const answer = await probeCall(call, client);
  if (AS_GOOD.has(answer)) return;
  const { found, exit } = describeAnswer(answer);
  throw new NotAccepted(
    {
      tried: `use the new key for "${escapeText(remoteName(remote))}"`,
      found: `${found}; the old key stays in use`,
      next: 'on the backup host: dialback enroll NAME KEYFILE --rotate; then rotate-key again; or drop it: rotate-key --cancel',
      exit,
    },
    client,
    publicKey,
  );
}

function describeAnswer(answer: Answer): Pick<Fault, 'found' | 'exit'> {
  if (answer instanceof Fault) return answer;
  if (answer === 'late') return { found: `no answer within ${ANSWER_MS / 1000} s`, exit: 'unreachable' };
  if (answer === 'ended' || answer === 'accepted')
    return { found: 'it ended the call without an answer', exit: 'failed' };
  const [exit, found] = FAILURES[answer as FailureCode];
  return { found, exit };
}

/**
 * Replaces the old key. ssh uses a private key without its public half, and refuses one with the half of another, so that half goes first.
 * The new key is removed last: until then the next call does all of this again.
 */
function putIntoUse(fresh: string, identity: string): void {
  const path = realPath(identity);
  const [content, half] = [readWhole(fresh, KEY_BYTES), readWhole(`${fresh}.pub`, KEY_BYTES)];
  removeFileIfThere(`${path}.pub`);
  replaceFile(path, content);
  replaceFile(`${path}.pub`, half, 0o644);
  dropNew(fresh);
}

function dropNew(fresh: string): void {
  removeFileIfThere(`${fresh}.pub`);
  removeFileIfThere(fresh);
}
