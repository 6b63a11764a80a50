/** `dialback enroll`: which client a key is for. */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { asUid, ownAccount, refuseRoot } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { isPackaged, ownExecutable } from '../os/executable.ts';
import { exists, failedWith, fileFault, makeFolder, mayRun, mayWrite, realPath, stat } from '../os/files.ts';
import { hasJail, jailPath, lacksLandlock } from '../os/launcher.ts';
import { placeFile } from '../os/replace.ts';
import { readStandardInput } from '../os/streams.ts';
import { writableByOthers } from '../os/trust.ts';
import { hostName } from '../os/uname.ts';
import { configPlace, parseConfig } from '../shared/toml.ts';
import { probeFileSystem } from '../store/file-system.ts';
import { readRenaming, renamingFault } from '../store/kept-client.ts';
import { noteStore, requireNoOtherStore } from '../store/known-stores.ts';
import { awaitLastRun, retire, unretire } from '../store/retirement.ts';
import { createClient, createStore } from '../store/store.ts';
import { type PublicKey, parsePublicKey } from '../wire/key.ts';
import { STORE_FILE, shelfOf } from '../wire/local.ts';
import { escapeText, NAME, quoteForShell } from '../wire/text.ts';
import { enrolledLine, type KeyRefusal, openKeys, writeKeys } from './authorized-keys.ts';
import { keyIdsOf, writeKeyIds } from './client-keys.ts';
import { HOST_SCHEMA, hostToml, readHostConfig } from './config.ts';
import { ownTarget, readHostKey } from './host-identity.ts';
import { tryReceiveJail } from './jail.ts';
import { KeyLines } from './key-lines.ts';
import { type PlacedKey, placeKey } from './place-key.ts';

/** Bytes of a key file that are read. */
const KEY_LIMIT = 16 * 1024;

/** The parts of an enrollment that do not depend on the client. */
export interface EnrollPlace extends StoreOptions {
  /** Whether a client's enrolled key may be replaced by another one. */
  replace: boolean;
  /** Whether another key is accepted beside the enrolled one until its first good run. */
  rotate: boolean;
  /** The path of authorized_keys, if it is not the account's own. */
  authorizedKeys: string | undefined;
}

interface EnrollOptions extends EnrollPlace {
  name: string;
  /** The path of the public key, or `-` for standard input. */
  keyFile: string;
}

interface StoreOptions {
  /** The path of host.toml (--config). */
  config: string | undefined;
  /** The store for a config that is still to be written; by default a folder in the account's home. */
  store: string | undefined;
}

/** The result of an enrollment, without the clients. */
interface Enrolled {
  authorizedKeys: string;
  /** The config that was written, with its store; undefined if there was one. */
  configWritten: { path: string; store: string } | undefined;
  /** Why the new config has no jail, if the kernel cannot build it. */
  noJail: string | undefined;
  /** The path of the store, if it was created. */
  storeCreated: string | undefined;
  /** `user@host` for the client, with this machine's own name. */
  target: string;
  /** The key of this machine's sshd, if its files can be read. */
  hostKey: { key: PublicKey; path: string } | undefined;
}

/** The result of `enroll()`. */
export interface EnrollResult extends Enrolled {
  did: PlacedKey['did'];
}

/**
 * Enrolls a client: creates its folder in the store, and adds its key to authorized_keys. Writes host.toml and creates the store if they
 * are missing.
 * @throws Fault if something cannot be used or written
 */
export async function enroll(options: EnrollOptions): Promise<EnrollResult> {
  const { name } = options;
  requireName(name);
  const keyFile = options.keyFile === '-' ? '-' : quoteForShell(options.keyFile);
  const { clients, ...enrolled } = await enrollClients(
    { ...options, verb: `enroll ${name} ${keyFile}` },
    () => [{ name, key: readKey(options.keyFile) }],
    ([refused], file) =>
      new Fault({
        tried: `enroll "${name}" in "${file}"`,
        found: refused.reason,
        next: refused.next,
        exit: 'refused',
      }),
  );
  return { did: clients[0]?.did ?? 'kept', ...enrolled };
}

/** A client to enroll. */
export interface EnrollEntry {
  name: string;
  key: PublicKey;
}

/** An entry that cannot be enrolled. */
export interface RefusedEntry<T extends EnrollEntry> {
  entry: T;
  reason: string;
  next: string;
}

/** The result of `enrollClients()`. */
export interface ClientsEnrolled extends Enrolled {
  clients: { client: string; did: PlacedKey['did'] }[];
}

/**
 * Enrolls clients. All are checked before anything is written, and authorized_keys is written once. A call that is interrupted has enrolled
 * all or none in authorized_keys; the same call again does the rest.
 * @param options `verb`: the command, for the account that it should be run as
 * @param read reads the clients and their keys
 * @param refuse makes the fault for entries that cannot be enrolled
 * @throws Fault if something cannot be used or written
 */
export async function enrollClients<T extends EnrollEntry>(
  options: EnrollPlace & { verb: string },
  read: () => readonly T[],
  refuse: (refused: [RefusedEntry<T>, ...RefusedEntry<T>[]], file: string) => Fault,
): Promise<ClientsEnrolled> {
  const account = ownAccount();
  const place = configPlace('host.toml', options.config);
  const store = chooseStore(options, place);
  requireReceiver(store, options.verb);
  const executable = trustedExecutable();
  const configPath = prepareConfig(place);
  requireQuotable(configPath);
  const entries = read();
  const file = options.authorizedKeys ?? `${account.home}/.ssh/authorized_keys`;
  await using held = new AsyncDisposableStack();
  const before = await openKeys(held, file);
  if (place.isThere) requireNoOtherStore(store, place.path);
  for (const { name } of entries) requireNotRenamed(store, name);
  const command = { executable, config: configPath };
  const { lines, clients, refused } = placeLines(before, entries, { ...options, ...command, store });
  const [first, ...more] = refused;
  if (first !== undefined) throw refuse([first, ...more], file);
  const storeCreated = createStore(store) ? store : undefined;
  // After the store, so that a folder that cannot become a store does not get into the config.
  const noJail = place.isThere ? undefined : await writeConfig(configPath, store);
  noteStore(store, configPath);
  const folders = clients.map(each => ({ ...each, folder: createClient(store, each.client) }));
  // Before its line, so that the old key stays accepted.
  for (const { folder, ids } of folders) if (ids !== undefined) await writeKeyIds(folder, ids, file);
  const replaced = folders.filter(each => each.did === 'replaced').map(each => each.folder);
  // An active run belongs to the old key.
  for (const each of replaced) retire(each);
  if (clients.some(each => each.did !== 'kept')) writeKeys(file, lines);
  for (const each of replaced) await awaitLastRun(each);
  for (const { folder, ids } of folders) if (ids === undefined) await writeKeyIds(folder, undefined, file);
  for (const each of folders) unretire(each.folder);
  return {
    clients: clients.map(({ client, did }) => ({ client, did })),
    authorizedKeys: file,
    configWritten: place.isThere ? undefined : { path: configPath, store },
    noJail,
    storeCreated,
    target: ownTarget(account.name, hostName()),
    hostKey: readHostKey(),
  };
}

type PlacedClient = ClientsEnrolled['clients'][number] & Pick<PlacedKey, 'ids'>;

/** Adds the lines of all entries to those of the file. */
function placeLines<T extends EnrollEntry>(
  before: string[],
  entries: readonly T[],
  options: EnrollPlace & { executable: string; config: string; store: string },
): { lines: string[]; clients: PlacedClient[]; refused: RefusedEntry<T>[] } {
  const { replace, rotate, executable, config, store } = options;
  const mode = rotate ? 'rotate' : replace ? 'replace' : 'add';
  const keys = new KeyLines(before);
  const clients: PlacedClient[] = [];
  const refused: RefusedEntry<T>[] = [];
  for (const entry of entries) {
    const { name, key } = entry;
    // One character for each byte, as in the lines that openKeys() returns.
    const lineOf = (keyId: string | undefined): string =>
      Buffer.from(enrolledLine({ executable, config, name, key, keyId }), 'utf8').toString('latin1');
    // A damaged record stops everything but `--replace`, which drops it.
    const ids = replace ? undefined : keyIdsOf({ name, folder: shelfOf(store, name) });
    const change = placeKey(keys.about(name, key.blob), entry, lineOf, ids, mode);
    if ('reason' in change) {
      refused.push({ entry, reason: change.reason, next: nextForRefused(name, change.why) });
      continue;
    }
    const { did, lines } = change.value;
    // A key that can be placed is in no line of others, so these are the client's own.
    if (did !== 'kept') keys.replace(name, lines);
    clients.push({ client: name, did, ids: change.value.ids });
  }
  return { lines: keys.all(), clients, refused };
}

function nextForRefused(name: string, why: KeyRefusal['why']): string {
  switch (why) {
    case 'not-enrolled':
      return `dialback enroll ${name} KEYFILE, without --rotate`;
    case 'other-key':
      return 'use --replace to replace the enrolled key, or --rotate to accept both until the first good run with this one';
    case 'key-taken':
      return `on the client: ssh-keygen -t ed25519 -N '' -f KEY; then here: dialback enroll ${name} KEY.pub; and there: identity = "KEY" in client.toml`;
  }
}

/** The result of `enrollLocally()`. */
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
 * Enrolls this machine itself in a store on one of its own disks, for the transport "local", which needs no key and no sshd. Writes
 * host.toml and creates the store if they are missing.
 * @throws Fault if something cannot be used or written
 */
export async function enrollLocally(options: StoreOptions & { name: string }): Promise<LocalEnrollResult> {
  const { name } = options;
  requireName(name);
  const place = configPlace('host.toml', options.config);
  const store = chooseStore(options, place);
  requireReceiver(store, `enroll ${name} --local`);
  if (place.isThere) requireNoOtherStore(store, place.path);
  requireNotRenamed(store, name);
  if (!exists(`${store}/${STORE_FILE}`)) await requireFileSystem(store);
  const config = prepareConfig(place);
  const isStoreNew = createStore(store);
  const noJail = place.isThere ? undefined : await writeConfig(config, store);
  const isNew = !exists(shelfOf(store, name));
  noteStore(store, config);
  unretire(createClient(store, name));
  return { isNew, store, config, isConfigNew: !place.isThere, isStoreNew, noJail };
}

/** Writes a host.toml. @returns why it has no jail, if the kernel cannot build it */
async function writeConfig(path: string, store: string): Promise<string | undefined> {
  const noJail = await whyNoJail();
  const isConfined = mayRun(jailPath()) && noJail === undefined;
  // If this account may not run the jail, the config must not require it: every run would fail.
  placeFile(path, hostToml(store, isConfined, hasJail() && !isConfined));
  return noJail;
}

/** Tries the receiver's jail if there is a launcher. @returns the missing feature, if this kernel cannot build the jail */
async function whyNoJail(): Promise<string | undefined> {
  if (!mayRun(jailPath())) return undefined;
  const tried = await tryReceiveJail();
  return lacksLandlock(tried) ? tried.message : undefined;
}

/** Refuses a file system that cannot hold a backup, as USB disks have, before a file is created there. */
async function requireFileSystem(store: string): Promise<void> {
  let at = store;
  while (!exists(at)) at = dirname(at);
  if (!mayWrite(at)) return; // createStore() reports that with a next step
  const { type, xattrs, links } = await probeFileSystem(at);
  const found = xattrs ?? links;
  if (found === undefined) return;
  throw new Fault({
    tried: `keep backups in "${store}"`,
    found: `its file system (${type}) does not keep owners, modes and hard links: ${found}`,
    next: 'use a folder on ext4, XFS or Btrfs; mkfs.ext4 makes an ext4 file system on a disk, and deletes all data on it',
    exit: 'usage',
  });
}

type Place = ReturnType<typeof configPlace>;

/** Chooses the store: the config's, else the one of --store, else a folder in the account's home. */
function chooseStore({ config, store }: StoreOptions, place: Place): string {
  if (!place.isThere) {
    if (config !== undefined && store === undefined) {
      throw new Fault({
        tried: `read the config "${place.path}"`,
        found: 'there is no such file or folder',
        next: 'add --store DIR to write it',
        exit: 'usage',
      });
    }
    const chosen = store ?? `${ownAccount().home}/dialback-store`;
    parseConfig(hostToml(chosen, false), place.path, HOST_SCHEMA); // it must be readable later
    return chosen;
  }
  const configured = readHostConfig(realPath(place.path)).store;
  if (store === undefined || store === configured) return configured;
  throw new Fault({
    tried: `use the store "${escapeText(store)}"`,
    found: `"${place.path}" exists, and has the store "${configured}"`,
    next: 'omit --store, edit that file, or write another one with --config F',
    exit: 'usage',
  });
}

/** The real path of the config, for authorized_keys. Creates the folder of a config that is still to be written. */
function prepareConfig({ path, isThere }: Place): string {
  if (isThere) return realPath(path);
  const folder = path.slice(0, path.lastIndexOf('/')) || '/';
  makeFolder(folder, { parents: true });
  return `${realPath(folder)}${path.slice(path.lastIndexOf('/'))}`;
}

/** Refuses a name that a renaming needs which is not complete. */
function requireNotRenamed(store: string, name: string): void {
  const renaming = readRenaming(store);
  if (renaming === undefined || ![renaming.from, renaming.to].includes(name)) return;
  throw renamingFault(`enroll "${name}"`, renaming);
}

/** @throws Fault `usage` for a text that is not the name of a client */
export function requireName(name: string): void {
  if (NAME.test(name)) return;
  throw new Fault({
    tried: `use the name "${escapeText(name)}"`,
    found:
      'a name has 1 to 63 of the characters a-z, 0-9, ".", "_" and "-", and begins with a letter or digit',
    exit: 'usage',
  });
}

/** Refuses another account than the one that receives, which owns the store and whose authorized_keys is changed. */
export function requireReceiver(store: string, verb: string): void {
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
    found: `the store "${store}" belongs to uid ${owner}, the account that receives`,
    next: owner === 0 ? receiverText(store, name) : asUid(owner, `dialback ${verb}`),
    exit: 'usage',
  });
}

/** The next step if the store belongs to root, who does not receive. @param name the account that should own it */
function receiverText(store: string, name: string): string {
  const own = quoteForShell(store);
  if (exists(`${store}/${STORE_FILE}`)) return `as root: chown -R ${name} ${own}`;
  return `as root: install -d -o ${name} -m 700 ${quoteForShell(`${store}/dialback`)}; and make that the store`;
}

/** The path of this executable for sshd. It must be the packaged one, and no other account may be able to change it. */
export function trustedExecutable(): string {
  const path = ownExecutable();
  if (!isPackaged()) {
    throw new Fault({
      tried: 'enroll a client',
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
      next: 'install it where only root or this account can write',
      exit: 'usage',
    });
  return path;
}

/** Refuses a path that cannot be quoted: authorized_keys only knows the escape \" in a command, and the shell none in single quotes. */
export function requireQuotable(path: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (!/["'\\\u0000-\u001f\u007f]/.test(path)) return;
  throw new Fault({
    tried: `write "${escapeText(path)}" into authorized_keys`,
    found: 'its name has a quote, a backslash or a control character',
    exit: 'usage',
  });
}

/** Reads a client's public key. @param keyFile its path, or `-` for standard input @throws Fault that says why it is no key */
export function readKey(keyFile: string): PublicKey {
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
