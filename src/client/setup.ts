/**
 * `dialback init`: the client's part of the way to the first backup. Called plainly, it makes the client's key; called
 * with what `enroll` printed on the host, it writes down that host's key and the config. Keys go from one machine to the
 * other by people's hands: nothing is fetched, and nothing is trusted on first use. The name service alone is asked, for the
 * host's address, to see whether the host can probably connect back.
 */

import { Fault, type FaultParts, type Parsed } from '../fault.ts';
import { ownAccount, refuseRoot } from '../os/account.ts';
import { withTimeout } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, makeFolder, mayRead, realPath, removeFileIfThere, stat } from '../os/files.ts';
import { hasLauncher, lacksLandlock, launcherServesUs, requireInheritance } from '../os/launcher.ts';
import { addressesOf, sourceTowards } from '../os/network.ts';
import { run, standard } from '../os/process.ts';
import { placeFile, replaceFile } from '../os/replace.ts';
import {
  type DisposableHolder,
  defaultStateFolder,
  makeRunFolder,
  prepareStateFolder,
  takeLock,
} from '../os/runfolder.ts';
import { findBreachOnTheWay, writableByOthers } from '../os/trust.ts';
import { hostLabel } from '../os/uname.ts';
import { configPlace, ownConfigFolder, parseConfig } from '../shared/toml.ts';
import {
  fingerprint,
  type PublicKey,
  parseHostKey,
  parsePublicKey,
  readEd25519Line,
  showKey,
} from '../wire/key.ts';
import { shelfOf } from '../wire/local.ts';
import { knownHostsName, targetPlace } from '../wire/ssh.ts';
import { escapeText, LOGIN, NAME, quoteForShell, TARGET, unfold } from '../wire/text.ts';
import { findNat, type Way } from './addresses.ts';
import {
  type Capability,
  CLIENT_SCHEMA,
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
import { endReader } from './gate.ts';
import { tryJail } from './jail.ts';
import { requireLogin } from './run.ts';
import { findHungMounts, findRoots } from './scope.ts';

export interface InitOptions {
  /** What the host calls this client; undefined: what the config says, else the host name's first label. */
  name: string | undefined;
  /** The host, as `enroll` printed it there; both or none. */
  target: string | undefined;
  hostKey: string | undefined;
  /** Undefined: direct, unless something stands in its way. */
  transport: Transport | undefined;
  config: string | undefined;
}

type Transport = Exclude<Remote['transport'], 'local'>;

export interface InitResult {
  name: string;
  key: { path: string; publicKey: string; isNew: boolean };
  /** Only where a host was named. */
  setUp: SetUp | undefined;
}

/** How the client is set up for its host. */
export interface SetUp {
  config: string;
  isNew: boolean;
  target: string;
  roots: string[];
  isConfined: boolean;
  /** Why there is no jail, or what is wrong with it; undefined where nothing is, or where nothing was tried. */
  jail: JailNote | undefined;
  /** Why the transport is channel, where nobody asked for it. */
  channelBecause: string | undefined;
  /** Of the host's key, for two people to compare. */
  fingerprint: string;
}

/** What init found when it tried the jail. */
export interface JailNote {
  /** What it wrote because of that. */
  capability: Capability;
  found: string;
  next: string | undefined;
}

/** A host as it was named on the command line, checked. */
interface Host {
  target: string;
  /** Its name in known_hosts. */
  knownAs: string;
  key: PublicKey;
}

/** What init makes: all of it below the account's home folder, and nobody else's business. */
interface OwnFiles {
  folder: string;
  identity: string;
  knownHosts: string;
}

/** The home folder's part is named as the config has it, so that a second call finds the same words. */
function ownFiles(): OwnFiles {
  const folder = ownConfigFolder();
  // A key of its own: one that is used for other things must not be enrolled by accident, nor can it be without a passphrase.
  return { folder, identity: `${folder}/id_ed25519`, knownHosts: `${folder}/known_hosts` };
}

/**
 * Makes what is missing, and nothing twice: called again with the same words it changes nothing; with others it refuses.
 * @param interrupt aborts on a signal; what is half done then does not stand in the way of the next call
 */
export async function init(options: InitOptions, interrupt: AbortSignal): Promise<InitResult> {
  try {
    return await setUpClient(options, interrupt);
  } catch (error) {
    // Ctrl-C ends our children too: their end is not what went wrong, and it can be heard of before the signal itself.
    await sleep(SIGNAL_MS);
    throw interrupt.aborted ? interrupt.reason : error;
  }
}

const SIGNAL_MS = 30;

async function setUpClient(options: InitOptions, interrupt: AbortSignal): Promise<InitResult> {
  refuseRoot('init');
  const host = parseHost(options);
  const place = configPlace('client.toml', options.config);
  const config = place.isThere ? readClientConfig(place.path) : undefined;
  const name = chooseName(options.name, config);
  const files = ownFiles();
  if (config) {
    requireSame({ path: place.path, config, files, name, host, transport: options.transport });
    if (config.remote.some(each => each.transport === 'direct')) requireLogin();
  }
  const chosen = host && !config ? await chooseTransport(options.transport, host, interrupt) : undefined;

  const state = config ? stateFolder(config, undefined) : defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  prepareFolder(files.folder);
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${state}/init.lock`);
  // The other one may have come to its end between our look and our lock.
  if (lock === undefined || (!config && configPlace('client.toml', options.config).isThere)) {
    throw new Fault({ tried: 'set this client up', found: 'another init is under way', exit: 'locked' });
  }
  const key = await ownKey({ held, state, path: files.identity, comment: name, interrupt });
  if (!host) return { name, key, setUp: undefined };
  // The config last: with it the client is set up, and without it the next call goes on from here.
  rememberHostKey(files.knownHosts, host);
  const jail =
    chosen &&
    (await writeConfig(place.path, state, {
      name,
      target: host.target,
      files,
      transport: chosen.transport,
    }));
  const written = config ?? readClientConfig(place.path);
  const setUp: SetUp = {
    config: place.path,
    isNew: config === undefined,
    target: host.target,
    roots: written.scope.roots,
    isConfined: capabilityOf(written) === 'confined',
    jail,
    channelBecause: chosen?.because,
    fingerprint: fingerprint(host.key),
  };
  return { name, key, setUp };
}

/** What init did for a store on this machine. */
export interface LocalInitResult {
  name: string;
  config: string;
  isNew: boolean;
  target: string;
  roots: string[];
  isConfined: boolean;
  jail: JailNote | undefined;
  /** Whether the store is there, and has a folder for this client. */
  isEnrolled: boolean;
}

/**
 * The same for a store on a disk of this machine: there is no key, and nobody to know by one. It writes the config alone; the
 * store is for `enroll` to make.
 */
export async function initLocal(
  options: Omit<InitOptions, 'transport'>,
  interrupt: AbortSignal,
): Promise<LocalInitResult> {
  refuseRoot('init');
  const { target, hostKey } = options;
  const tried = 'set this client up for a store on this machine';
  if (target === undefined) throw usage({ tried, found: '--target is missing: the folder of the store' });
  if (hostKey !== undefined) throw usage({ tried, found: '--host-key has no effect: nobody is called' });
  if (!isStorePath(target))
    throw usage({ tried, found: `"${escapeText(target, 100)}" cannot be the path of a store` });
  const place = configPlace('client.toml', options.config);
  const config = place.isThere ? readClientConfig(place.path) : undefined;
  const name = chooseName(options.name, config);
  if (config) requireLocal(place.path, config, name, target);
  const state = config ? stateFolder(config, undefined) : defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${state}/init.lock`);
  if (lock === undefined || (!config && configPlace('client.toml', options.config).isThere))
    throw new Fault({ tried, found: 'another init is under way', exit: 'locked' });
  interrupt.throwIfAborted();
  const jail = config
    ? undefined
    : await writeConfig(place.path, state, { name, target, files: undefined, transport: 'local' });
  const written = config ?? readClientConfig(place.path);
  return {
    name,
    config: place.path,
    isNew: config === undefined,
    target,
    roots: written.scope.roots,
    isConfined: capabilityOf(written) === 'confined',
    jail,
    isEnrolled: exists(shelfOf(target, name)),
  };
}

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

function usage(parts: Omit<FaultParts, 'exit'>): Fault {
  return new Fault({ ...parts, exit: 'usage' });
}

const HOST_HINT = 'take both words as `dialback enroll` printed them on the host';

function parseHost(options: InitOptions): Host | undefined {
  const { target, hostKey, transport } = options;
  if (target === undefined && hostKey === undefined) {
    if (transport === undefined) return undefined;
    const found = '--target and --host-key are missing: --transport is how that host is called';
    throw usage({ tried: 'set this client up', found, next: HOST_HINT });
  }
  if (target === undefined || hostKey === undefined) {
    const found = `--${target === undefined ? 'target' : 'host-key'} is missing: they belong together`;
    throw usage({ tried: 'set this client up', found, next: HOST_HINT });
  }
  const tried = `call the host "${escapeText(target, 100)}"`;
  if (!TARGET.test(target))
    throw usage({ tried, found: 'it is not [user@]host or ssh://[user@]host[:port]', next: HOST_HINT });
  const knownAs = knownHostsName(target);
  if (knownAs === undefined) throw usage({ tried, found: 'there is no such port', next: HOST_HINT });
  const key = parseHostKey(hostKey);
  if ('reason' in key)
    throw usage({ tried: "take that as the host's key", found: key.reason, next: HOST_HINT });
  return { target, knownAs, key: key.value };
}

/**
 * How the host is to be called: as asked for; else direct, unless it is plain that no host can connect back.
 * @throws Fault (exit 2) where direct was asked for and this account cannot be dialled
 */
async function chooseTransport(
  asked: Transport | undefined,
  { target }: Host,
  interrupt: AbortSignal,
): Promise<{ transport: Transport; because?: string | undefined }> {
  if (asked === 'direct') requireLogin();
  if (asked !== undefined) return { transport: asked };
  const { name } = ownAccount();
  if (!LOGIN.test(name))
    return {
      transport: 'channel',
      because: `no host connects back to an account called "${escapeText(name)}"`,
    };
  const way = await wayTo(targetPlace(target).host, interrupt);
  const because = way && findNat(way);
  return { transport: because === undefined ? 'direct' : 'channel', because };
}

/** A name service that takes longer says nothing. */
const LOOKUP_MS = 5_000;

/** The way that a call would take, by the name service and this machine's routes: the host hears nothing of it. */
async function wayTo(host: string, interrupt: AbortSignal): Promise<Way | undefined> {
  const late = (): Fault => new Fault({ tried: `resolve "${host}"`, found: 'no answer' });
  const peers = await withTimeout(interrupt, LOOKUP_MS, addressesOf(host), late).catch(() => []);
  interrupt.throwIfAborted();
  for (const peer of peers) {
    const source = await sourceTowards(peer);
    if (source !== undefined) return { source: unfold(source), peer: unfold(peer) };
  }
  return undefined; // the first backup says that it cannot be called
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

/** A config that is there is never changed: it has to say what the command line says, or the call is a mistake. */
function requireSame(options: {
  path: string;
  config: ClientConfig;
  files: OwnFiles;
  name: string;
  host: Host | undefined;
  transport: Transport | undefined;
}): void {
  const { path, config, files, name, host, transport } = options;
  const refuse = (found: string): never => {
    throw usage({
      tried: `set this client up as "${name}"${host ? ` for "${host.target}"` : ''}`,
      found: `"${path}" is there already, and ${found}`,
      next: 'change that file by hand; or, to begin anew, move it away and say the same again',
    });
  };
  const configured = clientName(config);
  if (configured !== name) refuse(`calls it "${configured}"`);
  const isOwn = (each: Remote): boolean =>
    each.transport !== 'local' && callFiles(each).identity === files.identity;
  if (!host) {
    const identity = calledRemotes(config).map(each => callFiles(each).identity)[0];
    if (identity === undefined) refuse('calls nobody: its stores are on this machine');
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
  if (knownHosts !== files.knownHosts) refuse(`knows it by another file, "${knownHosts}"`);
  if (transport !== undefined && remote.transport !== transport)
    refuse(`calls it with transport = "${remote.transport}"`);
}

/** ssh and the config's reader ask the same: nobody else may write here. */
function prepareFolder(folder: string): void {
  makeFolder(folder, { parents: true });
  const others = writableByOthers(folder, ownAccount().uid);
  if (others === undefined) return;
  throw usage({
    tried: `keep a key in "${folder}"`,
    found: others,
    next: 'let nobody else write there (chmod go-w)',
  });
}

interface KeyOptions {
  held: DisposableHolder;
  state: string;
  path: string;
  comment: string;
  interrupt: AbortSignal;
}

/** The client's key: the one that is there, if it is what it should be; else a new one. */
async function ownKey(options: KeyOptions): Promise<InitResult['key']> {
  const { path, comment } = options;
  const half = `${path}.pub`;
  removeFileIfThere(`${path}.new`); // a private key, where a call was killed in between
  const isNew = !isThere(path);
  if (isNew && isThere(half)) {
    throw usage({
      tried: `make the key "${path}"`,
      found: `there is "${half}", the public half of a key whose private half is gone`,
      next: `put that back, or: rm ${quoteForShell(half)}`,
    });
  }
  const publicKey = isNew ? await makeKey(options) : await readKey(options);
  // The private half comes first, and the other can be had from it: so a call that was killed in between is no harm.
  if (!isThere(half)) placeFile(half, `${publicKey} ${comment}\n`, 0o644);
  requireHalf(path, half, publicKey);
  return { path, publicKey, isNew };
}

/** A link that leads nowhere is there too. */
function isThere(path: string): boolean {
  return lstat(path, { throwIfNoEntry: false }) !== undefined;
}

/** On a slow machine with other work ssh-keygen takes more than 15 s (measured in emulation). */
const KEYGEN_TIMEOUT_MS = 60_000;
const KEY_BYTES = 16 * 1024;

/** Without a passphrase, for nobody is there to be asked. It is made in a run folder, which is never backed up. */
async function makeKey({ held, state, path, comment, interrupt }: KeyOptions): Promise<string> {
  const folder = await makeRunFolder(held, state, endReader);
  const fresh = `${folder}/new_key`;
  const { status: ended, stderr } = await keygen(interrupt, [
    '-t',
    'ed25519',
    '-N',
    '',
    '-C',
    comment,
    '-f',
    fresh,
  ]);
  if (ended !== 0) {
    const exit = /No space left/.test(stderr) ? ({ exit: 'noSpace' } as const) : {};
    throw new Fault({ tried: 'make a key', found: lastWords(stderr), ...exit });
  }
  const publicKey = readEd25519Line(readWhole(`${fresh}.pub`, KEY_BYTES).toString('latin1'));
  if (publicKey === undefined)
    throw new Fault({ tried: 'make a key', found: 'ssh-keygen wrote something else' });
  placeFile(path, readWhole(fresh, KEY_BYTES));
  return publicKey;
}

/** The public half of the key that is there, out of its private half. */
async function readKey({ path, interrupt }: KeyOptions): Promise<string> {
  const tried = `use the key "${path}"`;
  const found = stat(path);
  const { uid } = ownAccount();
  if (!found.isFile()) throw usage({ tried, found: 'it is not a plain file' });
  if (found.uid !== uid) throw usage({ tried, found: `it belongs to uid ${found.uid}` });
  // ssh would not take it either.
  if ((found.mode & 0o077) !== 0)
    throw usage({ tried, found: 'others may read or write it', next: `chmod 600 ${quoteForShell(path)}` });
  const next = 'move it away, and its .pub: then init makes another one';
  const { status: ended, stdout, stderr } = await keygen(interrupt, ['-y', '-P', '', '-f', path]);
  if (/passphrase/.test(stderr))
    throw usage({
      tried,
      found: 'it has a passphrase, and nobody is there to be asked when a backup runs',
      next,
    });
  if (ended !== 0) throw usage({ tried, found: lastWords(stderr), next });
  const publicKey = readEd25519Line(stdout.toString('latin1'));
  if (publicKey === undefined) throw usage({ tried, found: 'it is not an ed25519 key', next });
  return publicKey;
}

async function keygen(interrupt: AbortSignal, args: string[]) {
  return await run(standard('ssh-keygen', ['-q', ...args]), {
    timeoutMs: KEYGEN_TIMEOUT_MS,
    signal: interrupt,
  });
}

function lastWords(stderr: string): string {
  return escapeText(stderr.trim().split('\n').at(-1) ?? '') || 'ssh-keygen failed without a word';
}

/** ssh offers what the public half says: with another one the call would fail, and nobody would know why. */
function requireHalf(path: string, half: string, publicKey: string): void {
  const parsed = parsePublicKey(readWhole(half, KEY_BYTES).toString('utf8'));
  if ('value' in parsed && showKey(parsed.value) === publicKey) return;
  throw usage({
    tried: `use the key "${path}"`,
    found: `"${half}" is not its public half`,
    next: `rm ${quoteForShell(half)} (init writes it anew)`,
  });
}

/**
 * Puts a host's key among the lines of a known_hosts file. Pure.
 * @param knownAs the host's name there
 * @returns the file's text, or why not: a host has one key here, and another one is never put beside it
 */
export function placeHostKey(text: string, knownAs: string, key: PublicKey): Parsed<string> {
  const own = `${knownAs} ${showKey(key)}`;
  for (const line of text.split(/\r?\n/)) {
    const [hosts = '', type = '', blob = ''] = line.trim().split(/\s+/);
    if (!hosts.toLowerCase().split(',').includes(knownAs)) continue;
    if (type === key.type && blob === key.blob) return { value: text };
    return { reason: `it has another key for ${knownAs}` };
  }
  return { value: `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${own}\n` };
}

const KNOWN_HOSTS_BYTES = 1024 * 1024;

function rememberHostKey(path: string, host: Host): void {
  const isNew = !isThere(path);
  // A character a byte: what others wrote into the file need not be UTF-8.
  const text = isNew ? '' : readWhole(path, KNOWN_HOSTS_BYTES).toString('latin1');
  const placed = placeHostKey(text, host.knownAs, host.key);
  if ('reason' in placed) {
    throw new Fault({
      tried: `know the host "${host.target}" by that key`,
      found: `"${path}": ${placed.reason}`,
      next: `ask the host's administrator which is right; to forget the old one: ssh-keygen -R '${host.knownAs}' -f ${quoteForShell(path)}`,
      exit: 'refused',
    });
  }
  if (isNew) placeFile(path, placed.value);
  else if (placed.value !== text) replaceFile(realPath(path), Buffer.from(placed.value, 'latin1'));
}

type ConfigWords = Omit<Parameters<typeof clientToml>[0], 'roots' | 'capability' | 'excludeFrom'>;

/** @returns what is to be said of the jail */
async function writeConfig(path: string, state: string, words: ConfigWords): Promise<JailNote | undefined> {
  const { roots, capability, jail } = await ownScope(state, words);
  const text = clientToml({ ...words, roots, capability, excludeFrom: excludesFor(roots) });
  parseConfig(text, path, CLIENT_SCHEMA); // what is written can be read
  makeFolder(path.slice(0, path.lastIndexOf('/')) || '/', { parents: true });
  placeFile(path, text);
  return jail;
}

/** The list that `make install` lays down, for a whole machine: caches, /tmp, swap files. One that cannot be used is left out. */
function excludesFor(roots: string[]): string | undefined {
  if (!roots.includes('/') || !mayRead(MACHINE_EXCLUDES)) return undefined;
  const isTrusted = findBreachOnTheWay(MACHINE_EXCLUDES, 0) === undefined;
  return isTrusted ? MACHINE_EXCLUDES : undefined;
}

const MACHINE_EXCLUDES = '/etc/dialback/excludes';

interface OwnScope {
  roots: string[];
  capability: Capability | undefined;
  jail?: JailNote;
}

/**
 * What is read, and how: all of the machine, where this account may be lent the right to; else what is its own. A
 * launcher that is there for another account would make every run fail: then the config says that there is to be none.
 *
 * So would a jail that this kernel cannot build. Then rsync reads without one: the whole machine where root has prepared that
 * (make install INHERITED=1), and else what this account may read. A jail that fails for another reason can be repaired.
 */
async function ownScope(state: string, words: ConfigWords): Promise<OwnScope> {
  const own: OwnScope = { roots: [realPath(ownAccount().home)], capability: 'none' };
  if (!(await launcherServesUs())) return { ...own, capability: hasLauncher() ? 'none' : undefined };
  const whole: OwnScope = { roots: ['/'], capability: 'confined' };
  const config = parseConfig(clientToml({ ...words, ...whole }), 'client.toml', CLIENT_SCHEMA);
  const hung = await findHungMounts(config);
  const { jail } = await tryJail(config, state, findRoots(config, hung), hung);
  if (!(jail instanceof Fault)) return whole;
  const { message: found, next } = jail;
  if (!lacksLandlock(jail)) return { ...whole, jail: { capability: 'confined', found, next } };
  const isPrepared = await requireInheritance().then(
    () => true,
    () => false,
  );
  return isPrepared
    ? { ...whole, capability: 'inherited', jail: { capability: 'inherited', found, next: undefined } }
    : { ...own, jail: { capability: 'none', found, next } };
}

const TRANSPORT_LINES: Record<Remote['transport'], string[]> = {
  direct: [
    '# Where the host connects back to. Default: any port. Name one where a firewall has to let it through.',
    '#listen = "[::]:8022"',
  ],
  channel: ['# Over the call itself: nobody connects to this machine.', 'transport = "channel"'],
  local: [
    '# A store on a disk of this machine. Where that is not there: "fail", "skip" (say nothing) or "wait".',
    'transport = "local"',
    '#absent = "skip"',
  ],
};

const CAPABILITY_LINES: Record<Capability, string> = {
  confined: "# rsync reads every file, in the kernel's jail. Without the launcher there is no backup.",
  inherited:
    '# rsync reads every file, by a file capability of its own. This kernel has no Landlock, so there is no jail.',
  none: '# rsync reads what this account may read, without a jail.',
};

/** The config that init writes. Pure. */
export function clientToml(options: {
  name: string;
  target: string;
  /** Undefined where nobody is called. */
  files: { identity: string; knownHosts: string } | undefined;
  transport: Remote['transport'];
  roots: string[];
  capability: Capability | undefined;
  /** A list of patterns; undefined: none. */
  excludeFrom?: string | undefined;
}): string {
  const { name, target, files, transport, roots, capability, excludeFrom } = options;
  // JSON's strings are TOML's basic strings, but for DEL, which no path of ours may have.
  const quote = (text: string): string => JSON.stringify(text);
  return [
    '# client.toml, as `dialback init` wrote it. It has more keys: share/client.toml names each, with its default.',
    `name = ${quote(name)}`,
    ...(capability ? [CAPABILITY_LINES[capability], `capability = ${quote(capability)}`] : []),
    '',
    '[[remote]]',
    `target = ${quote(target)}`,
    ...(files ? [`identity = ${quote(files.identity)}`, `known_hosts = ${quote(files.knownHosts)}`] : []),
    ...TRANSPORT_LINES[transport],
    '',
    '[scope]',
    `roots = [${roots.map(quote).join(', ')}]`,
    transport === 'local'
      ? '# Whoever has the disk can read what is backed up: leave out keys and passwords that open other doors.'
      : '# What is backed up can be read on the host: leave out keys and passwords that open other doors.',
    'exclude = [".ssh/", ".cache/"]',
    ...(excludeFrom === undefined
      ? []
      : ['# What a restored machine does without.', `exclude_from = ${quote(excludeFrom)}`]),
    '',
    '[schedule]',
    '# For runs that nobody watches: so long a host that cannot be reached is called again.',
    '#retry = "30m"',
    '',
  ].join('\n');
}
