/** `dialback enroll` and `unenroll`: which key may ask for a backup of which client. */
import { dirname } from 'node:path';
import { Fault, type Parsed } from '../fault.ts';
import { asUid, ownAccount, refuseRoot } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { isPackaged, ownExecutable } from '../os/executable.ts';
import { exists, failedWith, fileFault, makeFolder, mayRun, mayWrite, realPath, stat } from '../os/files.ts';
import { hasLauncher, lacksLandlock, launcherPath } from '../os/launcher.ts';
import { placeFile, replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { readStandardInput } from '../os/streams.ts';
import { writableByOthers } from '../os/trust.ts';
import { hostName } from '../os/uname.ts';
import { configPlace, parseConfig } from '../shared/toml.ts';
import { probeFileSystem } from '../store/file-system.ts';
import { noteStore, requireNoOtherStore } from '../store/known-stores.ts';
import { awaitLastRun, retire, retiredSince, unretire } from '../store/retirement.ts';
import { createClient, createStore } from '../store/store.ts';
import { type PublicKey, parseHostKey, parsePublicKey } from '../wire/key.ts';
import { STORE_FILE, shelfOf } from '../wire/local.ts';
import { escapeText, NAME, quoteForShell, TARGET } from '../wire/text.ts';
import { HOST_SCHEMA, readHostConfig } from './config.ts';
import { tryReceiveJail } from './jail.ts';

const KEY_LIMIT = 16 * 1024;

/** The command that an enrolled key is bound to, as sshd hands it to the account's shell. */
export function enrolledCommand(options: { executable: string; name: string; config: string }): string {
  const { executable, name, config } = options;
  return `${quoteForShell(executable)} grab --client ${name} --config ${quoteForShell(config)}`;
}

/** The line of authorized_keys for a client (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
export function enrolledLine(options: {
  executable: string;
  name: string;
  config: string;
  key: PublicKey;
}): string {
  const { type, blob, comment } = options.key;
  const quoted = enrolledCommand(options).replaceAll('"', '\\"');
  return `restrict,command="${quoted}" ${type} ${blob}${comment === '' ? '' : ` ${comment}`}`;
}

/** Whose line of authorized_keys this is: a client's of ours, or undefined. */
export function enrolledName(line: string): string | undefined {
  return /^restrict,command="'(?:[^"\\]|\\.)*' grab --client ([a-z0-9][a-z0-9._-]{0,62}) --config '/.exec(
    line,
  )?.[1];
}

/** What a new line does to the file. */
export type Change = { lines: string[]; did: 'added' | 'kept' | 'updated' | 'replaced' };

/**
 * Puts a client's line among those of an authorized_keys file. Pure.
 * @param lines the file's, without newlines
 */
export function placeLine(
  lines: string[],
  name: string,
  key: PublicKey,
  line: string,
  replace: boolean,
): Parsed<Change> {
  const sameKey = lines.filter(each => !each.startsWith('#') && hasKey(each, key));
  for (const each of sameKey) {
    const other = enrolledName(each);
    if (other === undefined)
      return { reason: 'the key is in it already, without a command of dialback: it would open a login' };
    if (other !== name) return { reason: `the key is enrolled already, for "${other}"` };
  }
  const own = lines.filter(each => enrolledName(each) === name);
  if (own.length === 0) return { value: { lines: [...lines, line], did: 'added' } };
  if (own.length === 1 && own[0] === line) return { value: { lines, did: 'kept' } };
  const isSameKey = own.every(each => hasKey(each, key));
  if (!isSameKey && !replace) return { reason: `"${name}" is enrolled already, with another key` };
  const rest = lines.filter(each => enrolledName(each) !== name);
  return { value: { lines: [...rest, line], did: isSameKey ? 'updated' : 'replaced' } };
}

function hasKey(line: string, key: PublicKey): boolean {
  return line.split(/\s+/).includes(key.blob);
}

export interface EnrollOptions extends StoreOptions {
  name: string;
  /** A path, or `-` for standard input. */
  keyFile: string;
  replace: boolean;
  authorizedKeys: string | undefined;
}

interface StoreOptions {
  /** The config that was named. */
  config: string | undefined;
  /** For the config that is written where there is none yet; else a folder in the account's home. */
  store: string | undefined;
}

export interface EnrollResult {
  did: Change['did'];
  authorizedKeys: string;
  /** The config that was written, with its store. */
  configWritten: { path: string; store: string } | undefined;
  /** Why the config that was written goes without a jail, where it is the kernel that cannot build one. */
  noJail: string | undefined;
  storeCreated: string | undefined;
  /** How this host is called from a client that knows it by the machine's own name. */
  target: string;
  /** The key that this machine's sshd has, as far as its files tell. */
  hostKey: { key: PublicKey; path: string } | undefined;
}

/** Enrols a client: its folder in the store (and the store, where there is none), its key in authorized_keys. */
export async function enroll(options: EnrollOptions): Promise<EnrollResult> {
  requireName(options.name);
  const account = ownAccount();
  const place = configPlace('host.toml', options.config);
  const store = chooseStore(options, place);
  const keyFile = options.keyFile === '-' ? '-' : quoteForShell(options.keyFile);
  requireReceiver(store, `enroll ${options.name} ${keyFile}`);
  const executable = trustedExecutable();
  const configPath = prepareConfig(place);
  requireQuotable(configPath);
  const key = readKey(options.keyFile);
  const file = options.authorizedKeys ?? `${account.home}/.ssh/authorized_keys`;
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  // As openKeys reads the file: a character a byte.
  const text = enrolledLine({ executable, name: options.name, config: configPath, key });
  const line = Buffer.from(text, 'utf8').toString('latin1');
  if (place.isThere) requireNoOtherStore(store, place.path);
  const change = placeLine(lines, options.name, key, line, options.replace);
  if ('reason' in change) {
    throw new Fault({
      tried: `enrol "${options.name}" in "${file}"`,
      found: change.reason,
      next: /another key$/.test(change.reason)
        ? 'say --replace if the new key is to take its place'
        : `on the client: ssh-keygen -t ed25519 -N '' -f KEY; then here: dialback enroll ${options.name} KEY.pub; and there: identity = "KEY" in client.toml`,
      exit: 'refused',
    });
  }
  const storeCreated = createStore(store) ? store : undefined;
  // After the store: a folder that cannot be one must not get into the config, nor stand in the way of the next try.
  const noJail = place.isThere ? undefined : await whyNoJail();
  const isConfined = mayRun(launcherPath()) && noJail === undefined;
  // A launcher that is another account's must not make every run fail.
  if (!place.isThere) placeFile(configPath, hostToml(store, isConfined, hasLauncher() && !isConfined));
  noteStore(store, configPath);
  const client = createClient(store, options.name);
  // What is under way is the old key's.
  if (change.value.did === 'replaced') retire(client);
  if (change.value.did !== 'kept') writeKeys(file, change.value.lines);
  if (change.value.did === 'replaced') await awaitLastRun(client);
  unretire(client);
  return {
    did: change.value.did,
    authorizedKeys: file,
    configWritten: place.isThere ? undefined : { path: configPath, store },
    noJail,
    storeCreated,
    target: ownTarget(account.name, hostName()),
    hostKey: readHostKey(),
  };
}

/** What `enrollLocally` did. */
export interface LocalEnrollResult {
  /** Whether the client was not there before. */
  isNew: boolean;
  store: string;
  config: string;
  isConfigNew: boolean;
  noJail: string | undefined;
  isStoreNew: boolean;
}

/**
 * Takes the machine itself into a store on one of its own disks, without key and sshd: for transport "local". Like every
 * enrolment it makes what is missing, the store too, which nothing else does.
 */
export async function enrollLocally(options: StoreOptions & { name: string }): Promise<LocalEnrollResult> {
  const { name } = options;
  requireName(name);
  const place = configPlace('host.toml', options.config);
  const store = chooseStore(options, place);
  requireReceiver(store, `enroll ${name} --local`);
  if (place.isThere) requireNoOtherStore(store, place.path);
  if (!exists(`${store}/${STORE_FILE}`)) await requireFileSystem(store);
  const config = prepareConfig(place);
  const isStoreNew = createStore(store);
  const noJail = place.isThere ? undefined : await whyNoJail();
  const isConfined = mayRun(launcherPath()) && noJail === undefined;
  // A launcher that is another account's must not make every run fail.
  if (!place.isThere) placeFile(config, hostToml(store, isConfined, hasLauncher() && !isConfined));
  const isNew = !exists(shelfOf(store, name));
  noteStore(store, config);
  unretire(createClient(store, name));
  return { isNew, store, config, isConfigNew: !place.isThere, isStoreNew, noJail };
}

/** Tries the receiver's jail where there is a launcher. @returns what is missing, if this kernel cannot build the jail */
async function whyNoJail(): Promise<string | undefined> {
  if (!mayRun(launcherPath())) return undefined;
  const tried = await tryReceiveJail();
  return lacksLandlock(tried) ? tried.message : undefined;
}

/** A USB disk comes with a file system that can keep no backup: said before anything is made there. */
async function requireFileSystem(store: string): Promise<void> {
  let at = store;
  while (!exists(at)) at = dirname(at);
  if (!mayWrite(at)) return; // making the store says what to do
  const { type, xattrs, links } = await probeFileSystem(at);
  const found = xattrs ?? links;
  if (found === undefined) return;
  throw new Fault({
    tried: `keep backups in "${store}"`,
    found: `its file system (${type}) does not keep owners, modes and hard links: ${found}`,
    next: 'name a folder on ext4, XFS or Btrfs; mkfs.ext4 makes a disk one, and deletes all that is on it',
    exit: 'usage',
  });
}

type Place = ReturnType<typeof configPlace>;

/** The store: the config's, else the one that is asked for, else a folder of the account's own. */
function chooseStore({ config, store }: StoreOptions, place: Place): string {
  if (!place.isThere) {
    if (config !== undefined && store === undefined) {
      throw new Fault({
        tried: `read the config "${place.path}"`,
        found: 'there is no such file or folder',
        next: 'say --store DIR too: then it is written',
        exit: 'usage',
      });
    }
    const chosen = store ?? `${ownAccount().home}/dialback-store`;
    parseConfig(hostToml(chosen, false), place.path, HOST_SCHEMA); // what is written can be read
    return chosen;
  }
  const configured = readHostConfig(realPath(place.path)).store;
  if (store === undefined || store === configured) return configured;
  throw new Fault({
    tried: `use the store "${escapeText(store)}"`,
    found: `"${place.path}" is there already, and has the store "${configured}"`,
    next: 'leave --store out, change that file by hand, or name another one to be written: --config F',
    exit: 'usage',
  });
}

const OPEN = "# No jail holds rsync: the launcher is another account's, or this kernel has no Landlock.";

/** The config that enroll writes. Pure. @param isOpen the launcher is there, and cannot be used */
export function hostToml(store: string, isConfined: boolean, isOpen = false): string {
  return [
    '# host.toml, as `dialback enroll` wrote it. It has more keys: share/host.toml names each, with its default.',
    `store = ${JSON.stringify(store)}`, // JSON's strings are TOML's
    ...(isConfined ? ['confined = true'] : []),
    ...(isOpen ? [OPEN, 'confined = false'] : []),
    '',
  ].join('\n');
}

/** The config's real path, which goes into authorized_keys; of one that is still to be written, its folder's. */
function prepareConfig({ path, isThere }: Place): string {
  if (isThere) return realPath(path);
  const folder = path.slice(0, path.lastIndexOf('/')) || '/';
  makeFolder(folder, { parents: true });
  return `${realPath(folder)}${path.slice(path.lastIndexOf('/'))}`;
}

/** `USER@HOST`, or placeholders where a name is one that no client could call. */
export function ownTarget(user: string, host: string): string {
  const target = `${user}@${host}`;
  return TARGET.test(target) && !host.includes(':') ? target : 'USER@HOST';
}

/** Where sshd keeps its keys unless told otherwise (sshd_config(5), HostKey); anybody may read the public halves. */
const HOST_KEY_FILES = ['ed25519', 'ecdsa', 'rsa'].map(type => `/etc/ssh/ssh_host_${type}_key.pub`);

/** The first of this machine's keys that is what it should be. */
function readHostKey(): EnrollResult['hostKey'] {
  for (const path of HOST_KEY_FILES) {
    try {
      const parsed = parseHostKey(readWhole(path, KEY_LIMIT).toString('utf8'));
      if ('value' in parsed) return { key: parsed.value, path };
    } catch {
      // It is not there, or not readable: the next one will do. Without any the client's administrator is told what to do.
    }
  }
  return undefined;
}

export interface UnenrollOptions {
  name: string;
  config: string;
  authorizedKeys: string | undefined;
}

/** What `unenroll` did. */
export interface UnenrollResult {
  /** The file that had the client's key; undefined where it had none: a store on the client's own machine needs no key. */
  authorizedKeys: string | undefined;
  folder: string;
}

/**
 * Takes a client's key out of authorized_keys and ends what is under way of it: after this nothing that it sends becomes a
 * snapshot. Its snapshots stay.
 */
export async function unenroll(options: UnenrollOptions): Promise<UnenrollResult> {
  requireName(options.name);
  const config = readHostConfig(options.config);
  requireReceiver(config.store, `unenroll ${options.name}`);
  const file = options.authorizedKeys ?? `${ownAccount().home}/.ssh/authorized_keys`;
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  const rest = lines.filter(line => enrolledName(line) !== options.name);
  const client = { name: options.name, folder: shelfOf(config.store, options.name) };
  const isThere = exists(client.folder);
  const hasKey = rest.length < lines.length;
  if (!hasKey && (!isThere || retiredSince(client) !== undefined)) {
    throw new Fault({
      tried: `take "${options.name}" out of "${file}"`,
      found: 'no key is enrolled there under that name',
      next: 'dialback list',
    });
  }
  // First: a run that begins now finds it.
  if (isThere) retire(client);
  if (hasKey) writeKeys(file, rest);
  if (isThere) await awaitLastRun(client);
  return { authorizedKeys: hasKey ? file : undefined, folder: client.folder };
}

function requireName(name: string): void {
  if (NAME.test(name)) return;
  throw new Fault({
    tried: `use the name "${escapeText(name)}"`,
    found: 'a name is 1 to 63 of a-z, 0-9, ".", "_", "-", and does not begin with a mark',
    exit: 'usage',
  });
}

/** The verb must run as the account that receives: it owns the store, and its authorized_keys is written. */
function requireReceiver(store: string, verb: string): void {
  let owner: number | undefined;
  try {
    owner = stat(store).uid;
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw fileFault(error, `use the store "${store}"`, { exit: 'usage' });
  }
  const { uid, name } = ownAccount();
  if (owner === undefined || owner === 0) refuseRoot(verb);
  if (owner === undefined || owner === uid) return;
  throw new Fault({
    tried: `run "${verb}" as ${name}`,
    found: `the store "${store}" belongs to uid ${owner}, and that is the account that receives`,
    next: owner === 0 ? receiverText(store, name) : asUid(owner, `dialback ${verb}`),
    exit: 'usage',
  });
}

/** Root does not receive: a folder that root has made for the store is given to the account. */
function receiverText(store: string, name: string): string {
  const own = quoteForShell(store);
  if (exists(`${store}/${STORE_FILE}`)) return `as root: chown -R ${name} ${own}`;
  return `as root: install -d -o ${name} -m 700 ${quoteForShell(`${store}/dialback`)}; and make that the store`;
}

/** This executable, as sshd will run it: packaged, and nobody else's to change. */
function trustedExecutable(): string {
  const path = ownExecutable();
  if (!isPackaged()) {
    throw new Fault({
      tried: 'enrol a client',
      found: 'this is not the packaged executable',
      next: 'npm run build, then dist/dialback enroll …',
      exit: 'usage',
    });
  }
  requireQuotable(path);
  const others = writableByOthers(path, ownAccount().uid);
  if (others)
    throw new Fault({
      tried: `have sshd run "${path}"`,
      found: others,
      next: 'install it where only root or you can write',
      exit: 'usage',
    });
  return path;
}

/** authorized_keys has no escape but \" in a command; the shell none in single quotes. */
function requireQuotable(path: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (!/["'\\\u0000-\u001f\u007f]/.test(path)) return;
  throw new Fault({
    tried: `write "${escapeText(path)}" into authorized_keys`,
    found: 'its name has a quote, a backslash or a control character',
    exit: 'usage',
  });
}

function readKey(keyFile: string): PublicKey {
  const text = (keyFile === '-' ? readStandardInput(KEY_LIMIT) : readWhole(keyFile, KEY_LIMIT)).toString(
    'utf8',
  );
  const parsed = parsePublicKey(text);
  if ('value' in parsed) return parsed.value;
  const place = keyFile === '-' ? 'standard input' : escapeText(keyFile);
  throw new Fault({
    tried: `read the key "${place}"`,
    found: parsed.reason,
    next: 'on the client: dialback init (it prints this command, with the key)',
    exit: 'usage',
  });
}

/** The lines of an authorized_keys file; locked until `held` is released, so that two enrolments do not meet. */
async function openKeys(held: DisposableHolder, file: string): Promise<string[]> {
  const folder = file.slice(0, file.lastIndexOf('/')) || '/';
  if (!exists(folder)) makeFolder(folder);
  if ((await takeLock(held, `${folder}/.dialback-lock`)) === undefined) {
    throw new Fault({ tried: `change "${file}"`, found: 'another enrolment is under way', exit: 'locked' });
  }
  if (!exists(file)) return [];
  const text = readWhole(file, 16 * 1024 * 1024).toString('latin1');
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

function writeKeys(file: string, lines: string[]): void {
  const target = exists(file) ? realPath(file) : file;
  const mode = exists(target) ? stat(target).mode & 0o777 : 0o600;
  // A character a byte: what others wrote into the file need not be UTF-8.
  replaceFile(target, Buffer.from(lines.map(line => `${line}\n`).join(''), 'latin1'), mode);
}
