/** A copy of a store in a folder of this machine. */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { unescapeOctal } from '../os/byte-path.ts';
import { readWhole } from '../os/content.ts';
import {
  appendText,
  exists,
  fileFault,
  makeFolder,
  readdir,
  readProc,
  realPath,
  removeFileIfThere,
  rename,
  stat,
} from '../os/files.ts';
import { mountOf, mountTable } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { STORE_FILE } from '../wire/local.ts';
import { asText, escapeText, NAME, quoteForShell, SNAPSHOT } from '../wire/text.ts';
import {
  type CopyCheck,
  type CopyPlace,
  type PlaceFacts,
  type PlaceState,
  parseAttempt,
  parseCopied,
} from './copy-place.ts';
import { RAW_ATTRIBUTES } from './copy-rsync.ts';
import { probeFileSystem } from './file-system.ts';
import { readRoom } from './free-space.ts';
import { syncFileSystem } from './interrupted-tree.ts';
import { PIN, readSnapshot } from './snapshot.ts';
import { createClient, openClient, STORE_CONTENT } from './store.ts';
import { COPY_FILE, type CopyMark, encodeCopyMark, parseCopyMark } from './store-mark.ts';
import { verifyRest } from './verify.ts';

const COPYING = 'copying';
const COPIED = 'copied';
/** In COPYING: the boot and the mount that its attempts were written in. */
const ERA = '.era';
/** Entries of a folder that counts as empty: a disk's own folder, and a killed trial of the file system. */
const IGNORED = /^(?:lost\+found|\.doctor-.{6})$/;
const LIMIT = 64 * 1024 * 1024;
const REMOVE_MS = 24 * 3_600_000;

/** A folder of this machine. */
export class CopyFolder implements CopyPlace {
  readonly name: string;
  readonly root: string;
  readonly folder: string;
  readonly environment = {};
  readonly options = RAW_ATTRIBUTES;
  readonly remoteShell = [];
  readonly #store: string;
  readonly #tried: string;

  /** @param path an absolute path @param store the store to copy */
  constructor(path: string, store: string) {
    this.#store = store;
    this.name = escapeText(path);
    this.root = path;
    this.folder = path;
    this.#tried = `copy the store to "${this.name}"`;
  }

  async look(): Promise<PlaceFacts> {
    const top = this.root;
    const state = this.#state();
    const isCopy = state === 'copy';
    return {
      state,
      mark: isCopy ? parseCopyMark(readText(`${top}/${COPY_FILE}`)) : undefined,
      inside: isAbove(this.#store, top) ? this.#store : storeAbove(top),
      contains: isAbove(top, this.#store),
      snapshots: isCopy
        ? listEach(`${top}/clients`, name => listNames(`${top}/clients/${name}/snapshots`, isSnapshot))
        : new Map(),
      attempts: isCopy
        ? listEach(`${top}/${COPYING}`, name => listNames(`${top}/${COPYING}/${name}`, isAttempt))
        : new Map(),
      copied: isCopy ? parseCopied(readText(`${top}/${COPIED}`)) : new Set(),
      freeBytes: freeBytesOf(top),
    };
  }

  #state(): PlaceState {
    if (!exists(this.root)) return 'absent';
    let names: string[];
    try {
      names = readdir(this.root).filter(each => !IGNORED.test(each));
    } catch (error) {
      throw fileFault(error, this.#tried, { exit: 'refused' });
    }
    if (names.length === 0) return 'empty';
    if (names.includes(COPY_FILE)) return 'copy';
    return names.includes(STORE_FILE) ? 'store' : 'other';
  }

  async prepare(mark: CopyMark): Promise<void> {
    const top = this.root;
    makeFolder(top, { parents: true });
    this.#requirePrivate();
    if (!exists(`${top}/${COPY_FILE}`)) {
      await this.#requireAble();
      replaceFile(`${top}/${COPY_FILE}`, encodeCopyMark(mark));
    }
    for (const each of ['clients', COPYING]) makeFolder(`${top}/${each}`);
    if (!exists(`${top}/${STORE_FILE}`)) replaceFile(`${top}/${STORE_FILE}`, STORE_CONTENT);
    await this.#forgetOtherEra();
  }

  #requirePrivate(): void {
    const { uid, mode } = stat(this.root);
    const own = ownAccount();
    if (uid === own.uid && (mode & 0o077) === 0) return;
    const quoted = quoteForShell(this.root);
    throw new Fault({
      tried: this.#tried,
      found: 'the folder is not private to this account',
      next: uid === own.uid ? `chmod 700 ${quoted}` : `as root: chown ${own.name} ${quoted}`,
      exit: 'refused',
    });
  }

  /** @throws Fault when the file system cannot hold a store */
  async #requireAble(): Promise<void> {
    const { type, xattrs, links, hasNanoseconds } = await probeFileSystem(this.root);
    const why =
      (xattrs && `it keeps no extended attributes of users (${xattrs})`) ??
      (links && `it makes no hard links (${links})`) ??
      (hasNanoseconds ? undefined : 'it does not keep times to the nanosecond');
    if (why === undefined) return;
    throw new Fault({
      tried: this.#tried,
      found: `this file system (${escapeText(type)}) cannot hold a store: ${why}`,
      next: 'name a folder on another file system, such as ext4, XFS or Btrfs',
      exit: 'refused',
    });
  }

  /**
   * Removes attempts of another boot or mount. Their files can have size and time without the content, if the machine
   * lost its power or the disk was pulled out.
   */
  async #forgetOtherEra(): Promise<void> {
    const path = `${this.root}/${COPYING}/${ERA}`;
    const era = eraOf(this.root);
    if (readText(path) === era) return;
    for (const name of readdir(`${this.root}/${COPYING}`)) await this.#remove(`${COPYING}/${name}`);
    replaceFile(path, era);
  }

  async addClient(client: string): Promise<void> {
    createClient(this.root, client);
    makeFolder(`${this.root}/${COPYING}/${client}`);
  }

  async begin(client: string, attempt: string): Promise<void> {
    makeFolder(this.#attempt(client, attempt));
  }

  async finish(client: string, attempt: string): Promise<void> {
    const { root } = this;
    const snapshot = parseAttempt(attempt)?.snapshot ?? '';
    try {
      await this.#sync();
      appendText(`${root}/${COPIED}`, `${client} ${snapshot}\n`, { mode: 0o600, flush: true });
      rename(this.#attempt(client, attempt), `${root}/clients/${client}/snapshots/${snapshot}`);
      syncFolder(`${root}/clients/${client}/snapshots`);
      syncFolder(`${root}/${COPYING}/${client}`);
    } catch (error) {
      throw error instanceof Fault ? error : fileFault(error, this.#tried);
    }
  }

  /** Writes all to the disk. If that fails, the next call deletes every attempt: a second sync could succeed without the lost data. */
  async #sync(): Promise<void> {
    try {
      await syncFileSystem(this.root);
    } catch (error) {
      removeFileIfThere(`${this.root}/${COPYING}/${ERA}`);
      throw error;
    }
  }

  async unpin(client: string, snapshots: readonly string[]): Promise<void> {
    for (const each of snapshots) {
      const { folder, pinned } = readSnapshot(openClient(this.root, client), each);
      if (pinned !== undefined) removeFileIfThere(`${folder}/${PIN}`);
    }
  }

  async discard(client: string, attempts: readonly string[]): Promise<void> {
    for (const each of attempts) await this.#remove(this.#attempt(client, each).slice(this.root.length + 1));
  }

  async verify(clients: readonly string[], signal: AbortSignal): Promise<CopyCheck> {
    return { by: 'manifest', results: await verifyRest(this.root, clients, signal) };
  }

  #attempt(client: string, attempt: string): string {
    if (!NAME.test(client) || parseAttempt(attempt) === undefined)
      throw new Fault({ tried: this.#tried, found: 'this is not the name of a snapshot' });
    return `${this.root}/${COPYING}/${client}/${attempt}`;
  }

  /** @param below the place's folder: COPYING/… */
  async #remove(below: string): Promise<void> {
    const path = `${this.root}/${below}`;
    const rm = standard('rm', ['--recursive', '--force', '--one-file-system', '--', path]);
    const { stderr } = await run(rm, { timeoutMs: REMOVE_MS });
    if (exists(path))
      throw new Fault({
        tried: `delete "${escapeText(path)}"`,
        found: escapeText(stderr.trim().split('\n')[0] ?? ''),
      });
  }
}

const isSnapshot = (name: string): boolean => SNAPSHOT.test(name);
const isAttempt = (name: string): boolean => parseAttempt(name) !== undefined;

function listNames(folder: string, isWanted: (name: string) => boolean): string[] {
  return exists(folder) ? readdir(folder).filter(isWanted).sort() : [];
}

function listEach(folder: string, list: (name: string) => string[]): Map<string, string[]> {
  return new Map(listNames(folder, name => NAME.test(name)).map(name => [name, list(name)]));
}

function readText(path: string): string {
  return exists(path) ? readWhole(path, LIMIT).toString('utf8') : '';
}

/** Free space at the nearest folder that exists; undefined on a file system that does not say it, such as ramfs. */
function freeBytesOf(path: string): number | undefined {
  const at = exists(path) ? path : (foldersAbove(path)[0] ?? '/');
  const { bytes, freeBytes } = readRoom(at);
  return bytes === 0 ? undefined : freeBytes;
}

/** The nearest store that is a folder above; undefined if there is none. @param path may not exist yet */
function storeAbove(path: string): string | undefined {
  return foldersAbove(path).find(each => exists(`${each}/${STORE_FILE}`));
}

/** The folders above a path, the nearest first. @param path may not exist yet */
function foldersAbove(path: string): string[] {
  let at = path;
  while (!exists(at)) at = dirname(at);
  const folders: string[] = at === path ? [] : [realPath(at)];
  for (at = realPath(at); at !== '/'; at = dirname(at)) folders.push(dirname(at));
  return folders;
}

/** Whether one path is the other or a folder above it, under this name or by another mount. */
function isAbove(folder: string, path: string): boolean {
  if (!exists(folder)) return false;
  const { dev, ino } = stat(folder);
  return [...(exists(path) ? [path] : []), ...foldersAbove(path)].some(each => {
    const found = stat(each);
    return found.dev === dev && found.ino === ino;
  });
}

/** A text that differs after a boot, and after the file system was unmounted. */
function eraOf(folder: string): string {
  const boot = readProc('sys/kernel/random/boot_id')?.trim() ?? '';
  const mount = mountOf(mountTable(), realPath(folder))?.path;
  const lines = (readProc('self/mountinfo') ?? '').split('\n').map(line => line.split(' '));
  const id = lines.findLast(fields => asText(unescapeOctal(fields[4] ?? '')) === mount)?.[0] ?? '';
  return `${boot} ${id} ${stat(folder).dev}\n`;
}
