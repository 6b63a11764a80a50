/** The host that a fetch calls, by client.toml or by the command line, and the account that calls it. */
import { Fault } from '../fault.ts';
import { findAccount, findSubject, ownAccount, type Subject } from '../os/account.ts';
import { exists, stat } from '../os/files.ts';
import { writeNew } from '../os/replace.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { hostLabel } from '../os/uname.ts';
import { configPath, findConfig } from '../shared/toml.ts';
import { showKey } from '../wire/key.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { escapeText, NAME } from '../wire/text.ts';
import {
  type ClientConfig,
  calledRemotes,
  type Remote,
  readClientConfig,
  remoteName,
  stateFolder,
} from './config.ts';
import { parseHost } from './named-host.ts';

/** How the command line names the host. */
export interface EndpointOptions {
  config: string | undefined;
  /** With `hostKey`, the host; without it, the name or the target of a [[remote]] of the config. */
  target: string | undefined;
  hostKey: string | undefined;
  identity: string | undefined;
}

/** A host to call. */
export interface Endpoint {
  /** The client's name in the call. */
  name: string;
  /** The options of the call, without those of one call. */
  call: Omit<CallOptions, 'logFile' | 'command' | 'knownHosts'>;
  /** The known_hosts file, or the text of one that is still to be written. */
  knownHosts: { path: string } | { text: string };
  /** The account that ssh runs as; undefined: our own. */
  account: Subject | undefined;
  /** Our own state folder. */
  state: string;
  idleSeconds: number;
  /** The roots of client.toml; undefined without one. */
  roots: readonly string[] | undefined;
}

const CONNECT_SECONDS = 30;
const IDLE_SECONDS = 300;
/** The account that `make install` creates. */
const SERVICE_ACCOUNT = 'dialback';

/** @throws Fault `usage` where the host is not named, or named twice */
export async function findEndpoint(options: EndpointOptions): Promise<Endpoint> {
  return options.hostKey === undefined ? await configured(options) : named(options);
}

function named(options: EndpointOptions): Endpoint {
  const own = ownAccount();
  if (options.config !== undefined)
    throw new Fault({
      tried: 'choose the host',
      found: '--target names one, and the config another one',
      next: 'omit --config',
      exit: 'usage',
    });
  const host = parseHost({ ...options, transport: undefined });
  if (host === undefined) throw new Error('no host'); // the caller has checked that one is named
  const candidates = [`${own.home}/.config/dialback/id_ed25519`, `${own.home}/.ssh/id_ed25519`];
  const identity = options.identity ?? candidates.find(exists);
  if (identity === undefined || !exists(identity)) throw noKey(identity ?? candidates[1] ?? '');
  const label = hostLabel();
  return {
    name: NAME.test(label) ? label : 'client',
    call: {
      target: host.target,
      identity,
      connectSeconds: CONNECT_SECONDS,
      idleSeconds: IDLE_SECONDS,
      more: [],
    },
    knownHosts: { text: `${host.knownAs} ${showKey(host.key)}\n` },
    account: undefined,
    state: defaultStateFolder(own),
    idleSeconds: IDLE_SECONDS,
    roots: undefined,
  };
}

async function configured(options: EndpointOptions): Promise<Endpoint> {
  const own = ownAccount();
  const path =
    options.config ?? findConfig('client.toml') ?? serviceConfig() ?? configPath('client.toml', undefined);
  const config = readClientConfig(path);
  const remote = chooseRemote(config, options.target);
  const account = own.uid === 0 ? await ownerOf(path) : undefined;
  const { home } = account ?? own;
  const identity = options.identity ?? remote.identity ?? `${home}/.ssh/id_ed25519`;
  if (!exists(identity)) throw noKey(identity);
  const idleSeconds = Math.ceil(config.limits.idle_timeout / 1000);
  const label = config.name ?? hostLabel();
  return {
    name: NAME.test(label) ? label : 'client',
    call: {
      target: remote.target,
      identity,
      connectSeconds: CONNECT_SECONDS,
      idleSeconds,
      more: remote.ssh_options,
    },
    knownHosts: { path: remote.known_hosts ?? `${home}/.ssh/known_hosts` },
    account,
    // Root does not write into the folder of another account.
    state: account === undefined ? stateFolder(config, undefined) : defaultStateFolder(own),
    idleSeconds,
    roots: config.scope.roots,
  };
}

/** Root also finds the config of the account that makes the backups. */
function serviceConfig(): string | undefined {
  const service = ownAccount().uid === 0 ? findAccount(SERVICE_ACCOUNT) : undefined;
  const path = service && `${service.home}/.config/dialback/client.toml`;
  return path !== undefined && exists(path) ? path : undefined;
}

/** The account that a config belongs to, if that is not root: ssh then runs as this account, since its config decides what ssh does. */
async function ownerOf(path: string): Promise<Subject | undefined> {
  const { uid } = stat(path);
  if (uid === 0) return undefined;
  const found = await findSubject(uid);
  if (found !== undefined) return found;
  throw new Fault({
    tried: `use the config "${escapeText(path)}"`,
    found: `it belongs to uid ${uid}, which is no account of this machine`,
    next: 'name the host with --target, --host-key and --identity',
    exit: 'usage',
  });
}

function chooseRemote(config: ClientConfig, wanted: string | undefined): Remote {
  const remotes = calledRemotes(config);
  const chosen = remotes.filter(
    each => wanted === undefined || remoteName(each) === wanted || each.target === wanted,
  );
  const [remote] = chosen;
  if (remote !== undefined && chosen.length === 1) return remote;
  const names = remotes.map(each => escapeText(remoteName(each))).join(', ');
  const tried = 'choose the host';
  if (remotes.length === 0)
    throw new Fault({
      tried,
      found: 'the stores of this config are on this machine',
      next: 'dialback restore NAME --to DIR',
      exit: 'usage',
    });
  throw new Fault({
    tried,
    found:
      wanted === undefined ? `the config has several: ${names}` : `the config has no "${escapeText(wanted)}"`,
    next: `--target NAME, with one of: ${names}; or --target and --host-key for another host`,
    exit: 'usage',
  });
}

function noKey(path: string): Fault {
  return new Fault({
    tried: `use the key "${escapeText(path)}"`,
    found: 'it does not exist',
    next: 'name the private key with --identity',
    exit: 'usage',
  });
}

/** The known_hosts file of an endpoint, written into the run folder if it is not there yet. */
export function knownHostsFile({ knownHosts }: Endpoint, runFolder: string): string {
  if ('path' in knownHosts) return knownHosts.path;
  const path = `${runFolder}/known_hosts`;
  if (!exists(path)) writeNew(path, knownHosts.text);
  return path;
}
