/**
 * `dialback init`: sets this client up. Without a host it makes the client's key. With the two words that `enroll` printed on the
 * host, it also writes that host's key and the config. People carry the keys from one machine to the other: init fetches no
 * key, and trusts no key on first use. It asks only the name service, for the host's address, to see whether the host can probably
 * connect back.
 */

import { Fault, type FaultParts } from '../fault.ts';
import { ownAccount, refuseRoot } from '../os/account.ts';
import { sleep } from '../os/clock.ts';
import { exists, makeFolder } from '../os/files.ts';
import { type DisposableHolder, defaultStateFolder, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { writableByOthers } from '../os/trust.ts';
import { hostLabel } from '../os/uname.ts';
import { configPlace, ownConfigFolder } from '../shared/toml.ts';
import { fingerprint } from '../wire/key.ts';
import { shelfOf } from '../wire/local.ts';
import { escapeText, NAME } from '../wire/text.ts';
import { type ClientKey, ownKey } from './client-key.ts';
import {
  type ClientConfig,
  calledRemotes,
  callFiles,
  capabilityOf,
  clientName,
  isStorePath,
  type Remote,
  readClientConfig,
  stateFolder,
} from './config.ts';
import { requireLogin } from './direct.ts';
import { rememberHostKey } from './known-hosts.ts';
import { type CallTransport, chooseTransport, type NamedHost, parseHost } from './named-host.ts';
import { type JailNote, writeConfig } from './new-config.ts';

interface InitOptions {
  /** The client's name; undefined: the name in the config, or else the first label of the host name. */
  name: string | undefined;
  /** The host, as `enroll` printed it there; both or none. */
  target: string | undefined;
  hostKey: string | undefined;
  /** Undefined: direct, unless the host probably cannot connect back. */
  transport: CallTransport | undefined;
  config: string | undefined;
  /** The roots and the excludes of a new config; undefined: those that suit this account. */
  roots?: string[] | undefined;
  exclude?: string[] | undefined;
}

/** The result of `init`. */
export interface InitResult {
  name: string;
  key: ClientKey;
  /** Undefined where no host was named. */
  setUp: SetUp | undefined;
}

/** How the client is set up for its host. */
interface SetUp {
  config: string;
  /** Whether this call has written the config. */
  isNew: boolean;
  target: string;
  roots: string[];
  isConfined: boolean;
  /** Why there is no jail, or how it failed; undefined where it works, or was not tried. */
  jail: JailNote | undefined;
  /** Why the transport is channel, where the command line did not name it. */
  channelBecause: string | undefined;
  /** The fingerprint of the host's key, for two people to compare. */
  fingerprint: string;
  /** Whether this call has written that key into known_hosts. */
  isHostKeyNew: boolean;
  transport: Remote['transport'];
}

/** The files that init makes in the account's home folder, as the config names them. */
interface OwnFiles {
  folder: string;
  identity: string;
  knownHosts: string;
}

function ownFiles(): OwnFiles {
  const folder = ownConfigFolder();
  // A separate key: a key for other purposes must not be enrolled by accident, and it may need a passphrase.
  return { folder, identity: `${folder}/id_ed25519`, knownHosts: `${folder}/known_hosts` };
}

/** Ctrl-C kills our children too, and we can see that before our own signal. It arrives within this time. */
const SIGNAL_MS = 30;

/**
 * Makes what is missing. A second call with the same words changes nothing; one with other words is refused.
 * @param interrupt aborts on a signal. The next call then completes the work
 * @throws Fault where the words, the config or the files do not fit together
 */
export async function init(options: InitOptions, interrupt: AbortSignal): Promise<InitResult> {
  try {
    return await setUpClient(options, interrupt);
  } catch (error) {
    await sleep(SIGNAL_MS);
    throw interrupt.aborted ? interrupt.reason : error;
  }
}

async function setUpClient(options: InitOptions, interrupt: AbortSignal): Promise<InitResult> {
  refuseRoot('init');
  const host = parseHost(options);
  const { path, config } = readPresent(options.config);
  const name = chooseName(options.name, config);
  const files = ownFiles();
  if (config) {
    requireSame({ path, config, files, name, host, transport: options.transport });
    requireSameScope(path, config, options);
    if (config.remote.some(each => each.transport === 'direct')) requireLogin();
  }
  const chosen = host && !config ? await chooseTransport(options.transport, host, interrupt) : undefined;

  await using held = new AsyncDisposableStack();
  const state = await lockSetup(held, options.config, config, 'set this client up');
  prepareFolder(files.folder);
  const key = await ownKey({ held, state, path: files.identity, comment: name, interrupt });
  if (!host) return { name, key, setUp: undefined };
  const isHostKeyNew = rememberHostKey(files.knownHosts, host);
  // The config is the last file: without it, the next call continues here.
  const jail =
    chosen &&
    (await writeConfig(path, state, {
      ...{ name, target: host.target, files, transport: chosen.transport },
      ...{ roots: options.roots, exclude: options.exclude },
    }));
  const written = config ?? readClientConfig(path);
  const setUp: SetUp = {
    config: path,
    isNew: config === undefined,
    target: host.target,
    roots: written.scope.roots,
    isConfined: capabilityOf(written) === 'confined',
    jail,
    channelBecause: chosen?.because,
    fingerprint: fingerprint(host.key),
    isHostKeyNew,
    transport: written.remote.find(each => each.target === host.target)?.transport ?? 'direct',
  };
  return { name, key, setUp };
}

/** Reads the config that is there. @returns its path, or the path where it will be */
function readPresent(named: string | undefined): { path: string; config: ClientConfig | undefined } {
  const { path, isThere } = configPlace('client.toml', named);
  return { path, config: isThere ? readClientConfig(path) : undefined };
}

/**
 * Locks the state folder against another init.
 * @param config the config that was there before the lock
 * @returns the state folder
 */
async function lockSetup(
  held: DisposableHolder,
  named: string | undefined,
  config: ClientConfig | undefined,
  tried: string,
): Promise<string> {
  const state = config ? stateFolder(config, undefined) : defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  const lock = await takeLock(held, `${state}/init.lock`);
  // Another init can have written the config before we had the lock.
  if (lock === undefined || (!config && configPlace('client.toml', named).isThere))
    throw new Fault({ tried, found: 'another init is under way', exit: 'locked' });
  return state;
}

/** The result of `init --transport local`. */
export interface LocalInitResult {
  name: string;
  config: string;
  isNew: boolean;
  target: string;
  roots: string[];
  isConfined: boolean;
  jail: JailNote | undefined;
  /** Whether the store is there and has a folder for this client. */
  isEnrolled: boolean;
}

/**
 * Sets this client up for a store on a disk of this machine. There are no keys, so it writes only the config; `enroll` makes the
 * store.
 * @throws Fault as `init()`
 */
export async function initLocal(
  options: Omit<InitOptions, 'transport'>,
  interrupt: AbortSignal,
): Promise<LocalInitResult> {
  refuseRoot('init');
  const { target, hostKey } = options;
  const tried = 'set this client up for a store on this machine';
  if (target === undefined) throw usage({ tried, found: '--target is missing: the folder of the store' });
  if (hostKey !== undefined) throw usage({ tried, found: '--host-key has no effect: no host is called' });
  if (!isStorePath(target))
    throw usage({ tried, found: `"${escapeText(target, 100)}" cannot be the path of a store` });
  const { path, config } = readPresent(options.config);
  const name = chooseName(options.name, config);
  if (config) {
    requireLocal(path, config, name, target);
    requireSameScope(path, config, options);
  }
  await using held = new AsyncDisposableStack();
  const state = await lockSetup(held, options.config, config, tried);
  interrupt.throwIfAborted();
  const jail = config
    ? undefined
    : await writeConfig(path, state, {
        ...{ name, target, files: undefined, transport: 'local' as const },
        ...{ roots: options.roots, exclude: options.exclude },
      });
  const written = config ?? readClientConfig(path);
  return {
    name,
    config: path,
    isNew: config === undefined,
    target,
    roots: written.scope.roots,
    isConfined: capabilityOf(written) === 'confined',
    jail,
    isEnrolled: exists(shelfOf(target, name)),
  };
}

function chooseName(named: string | undefined, config: ClientConfig | undefined): string {
  const found = named ?? (config ? clientName(config) : hostLabel());
  if (NAME.test(found)) return found;
  throw usage({
    tried: `call this client "${escapeText(found, 100)}"`,
    found: 'a name is 1 to 63 of a-z, 0-9, ".", "_", "-", and does not begin with a mark',
    next: 'dialback init --name NAME',
  });
}

/** Refuses a config that has another name, or lacks this store. init never changes a config. */
function requireLocal(path: string, config: ClientConfig, name: string, target: string): void {
  const tried = `set this client up as "${name}" for "${target}"`;
  const configured = clientName(config);
  if (configured !== name)
    throw usage({ tried, found: `"${path}" is there already, and calls it "${configured}"` });
  if (config.remote.some(each => each.transport === 'local' && each.target === target)) return;
  throw usage({
    tried,
    found: `"${path}" is there already, and has no such remote`,
    next: `add to that file: [[remote]], and below it transport = "local" and target = ${JSON.stringify(target)}`,
  });
}

/** Refuses a config with another scope than the one that is asked for. */
function requireSameScope(
  path: string,
  { scope }: ClientConfig,
  wanted: Pick<InitOptions, 'roots' | 'exclude'>,
): void {
  for (const key of ['roots', 'exclude'] as const) {
    const list = wanted[key];
    if (list === undefined || JSON.stringify(list) === JSON.stringify(scope[key])) continue;
    throw usage({
      tried: `set this client up with ${key} = ${escapeText(JSON.stringify(list), 200)}`,
      found: `"${path}" is there already, and has ${escapeText(JSON.stringify(scope[key]), 200)}`,
      next: 'change that file by hand; or, to start again, move it away and repeat the command',
    });
  }
}

/** Refuses a config that differs from the command line. init never changes a config. */
function requireSame(options: {
  path: string;
  config: ClientConfig;
  files: OwnFiles;
  name: string;
  host: NamedHost | undefined;
  transport: CallTransport | undefined;
}): void {
  const { path, config, files, name, host, transport } = options;
  const refuse = (found: string): never => {
    throw usage({
      tried: `set this client up as "${name}"${host ? ` for "${host.target}"` : ''}`,
      found: `"${path}" is there already, and ${found}`,
      next: 'change that file by hand; or, to start again, move it away and repeat the command',
    });
  };
  const configured = clientName(config);
  if (configured !== name) refuse(`calls it "${configured}"`);
  const isOwn = (each: Remote): boolean =>
    each.transport !== 'local' && callFiles(each).identity === files.identity;
  if (!host) {
    const identity = calledRemotes(config).map(each => callFiles(each).identity)[0];
    if (identity === undefined) refuse('calls no host: its stores are on this machine');
    if (!config.remote.some(isOwn)) refuse(`calls with another key, "${identity}"`);
    return;
  }
  const remote = config.remote.find(each => each.target === host.target);
  if (remote === undefined) {
    const targets = config.remote.map(each => `"${escapeText(each.target)}"`).join(', ');
    throw refuse(`calls ${targets}`);
  }
  if (!isOwn(remote)) refuse(`calls it with another key, "${callFiles(remote).identity}"`);
  const { knownHosts } = callFiles(remote);
  if (knownHosts !== files.knownHosts) refuse(`verifies it by another file, "${knownHosts}"`);
  if (transport !== undefined && remote.transport !== transport)
    refuse(`calls it with transport = "${remote.transport}"`);
}

/** Makes the folder of the keys. ssh and the reader of the config refuse one that others can write to. */
function prepareFolder(folder: string): void {
  makeFolder(folder, { parents: true });
  const others = writableByOthers(folder, ownAccount().uid);
  if (others === undefined) return;
  throw usage({
    tried: `keep a key in "${folder}"`,
    found: others,
    next: 'take the right to write there from others (chmod go-w)',
  });
}

function usage(parts: Omit<FaultParts, 'exit'>): Fault {
  return new Fault({ ...parts, exit: 'usage' });
}
