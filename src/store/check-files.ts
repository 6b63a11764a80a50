/** Compares the files of one snapshot with its manifest, for `verify`. */
import { hash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { digestFile } from '../os/content.ts';
import type { Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { LOST_ATTRIBUTES, LostAttributes } from './lost-attributes.ts';
import {
  changedRecords,
  DamagedManifest,
  describeEntry,
  hasSameAttributes,
  MANIFEST,
  type ManifestPair,
  pairEntries,
  readManifest,
} from './manifest.ts';
import { encodeEntry, isUnread, type ManifestEntry } from './mtree.ts';
import type { ClientStore } from './store.ts';
import { BATCH, inBatches, listTree, readXattrsOfEach } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';
import type { Difference, Pass } from './verify-pass.ts';

/** How much was compared and read. */
interface ReadCount {
  names: number;
  files_read: number;
  bytes_read: number;
}

/** Compares one snapshot with its manifest. */
export class FileCheck {
  readonly #client: ClientStore;
  readonly #name: string;
  readonly #tree: string;
  readonly #pass: Pass;
  readonly #count: ReadCount;
  readonly #report: () => void;
  readonly #signal: AbortSignal;
  readonly #lost = new LostAttributes();
  /** Why a part of the tree could not be listed. */
  #unlisted: string | undefined;

  /** @param count is increased from its present values @param report is called after each change of `count` */
  constructor(
    client: ClientStore,
    name: string,
    pass: Pass,
    count: ReadCount,
    report: () => void,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#name = name;
    this.#tree = `${client.folder}/snapshots/${name}/tree`;
    this.#pass = pass;
    this.#count = count;
    this.#report = report;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    const pass = this.#pass;
    pass.drop(this.#name);
    const changed = await changedRecords(this.#client, this.#name, this.#signal);
    for (const each of changed) pass.noteRecord(this.#name, each, 'its SHA-256 is different');
    // A damaged manifest would report good files as damaged.
    if (changed.includes(MANIFEST)) return;
    try {
      const wanted = readManifest(this.#client, this.#name, this.#signal);
      const complain = (found: string): void => {
        this.#unlisted ??= found;
      };
      const stored = listTree(this.#tree, { signal: this.#signal, complain });
      for await (const batch of inBatches(pairEntries(wanted, stored), BATCH)) await this.#compare(batch);
      if (this.#unlisted !== undefined) pass.noteRecord(this.#name, 'tree', this.#unlisted);
      if (this.#lost.areLost) pass.noteRecord(this.#name, 'tree', LOST_ATTRIBUTES);
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof Fault)) throw error;
      const isManifest = error instanceof DamagedManifest;
      if (isManifest) pass.drop(this.#name);
      pass.noteRecord(this.#name, isManifest ? MANIFEST : 'tree', error.found);
    }
  }

  async #compare(batch: ManifestPair[]): Promise<void> {
    this.#report();
    const toRead: { wanted: ManifestEntry; found: StoredEntry }[] = [];
    for (const { wanted, found } of batch) {
      this.#count.names += 1;
      if (wanted === undefined || found === undefined) this.#noteAlone(wanted, found);
      else if (this.#isWell(wanted, found)) toRead.push({ wanted, found });
    }
    const entries = toRead.map(each => each.found);
    const xattrs = await readXattrsOfEach(this.#tree, entries, this.#signal);
    for (const [at, { wanted, found }] of toRead.entries()) {
      const own = xattrs[at];
      if (own === undefined) this.#note(found, 'unreadable');
      else await this.#read(wanted, found, own);
    }
  }

  #noteAlone(wanted: ManifestEntry | undefined, found: StoredEntry | undefined): void {
    if (found) this.#note(found, 'extra');
    else if (wanted) this.#pass.noteDamage(this.#name, Buffer.from(wanted.path, 'latin1'), 0n, 'missing');
  }

  #note(found: StoredEntry, difference: Difference): void {
    const inode = found.isFolder || difference === 'extra' ? 0n : found.inode;
    this.#pass.noteDamage(this.#name, found.path, inode, difference);
  }

  /**
   * Compares what lstat(2) returned, and notes differences.
   * @returns whether the content and attributes must be read too
   */
  #isWell(wanted: ManifestEntry, found: StoredEntry): boolean {
    if ((wanted.type === 'dir') !== found.isFolder) {
      this.#note(found, 'type');
      return false;
    }
    if (wanted.mtimeNs !== found.mtimeNs) this.#note(found, 'time');
    if (found.isFolder) return true;
    if (wanted.size !== found.size) this.#note(found, 'size');
    return this.#pass.isInSample(found.inode) && !this.#pass.isKnown(found.inode, factsOf(wanted));
  }

  async #read(wanted: ManifestEntry, found: StoredEntry, xattrs: Xattr[]): Promise<void> {
    let sha256 = '';
    if (!found.isFolder) {
      try {
        const digested = await digestFile(joinPath(this.#tree, found.path), this.#signal);
        sha256 = digested.sha256.toString('hex');
        this.#count.files_read += 1;
        this.#count.bytes_read += digested.size;
        this.#report();
      } catch {
        this.#signal.throwIfAborted();
        this.#note(found, 'unreadable');
        return;
      }
    }
    this.#lost.take(wanted, found, xattrs);
    const is = describeEntry(found, xattrs, sha256);
    // The entry could not be read when its manifest was made, so there is no digest to compare with.
    if (isUnread(wanted)) return;
    if (is.sha256 !== wanted.sha256) this.#note(found, 'content');
    const isSame = hasSameAttributes(wanted, found, xattrs);
    if (!isSame) this.#note(found, 'attributes');
    const facts = isSame ? { ...is, xattrs: wanted.xattrs } : is;
    if (!found.isFolder) this.#pass.noteRead(found.inode, factsOf(facts));
  }
}

/** A digest of an entry's line without the path, so that a pass can store it in few bytes. */
function factsOf(entry: ManifestEntry): Uint8Array {
  return hash('sha256', encodeEntry({ ...entry, path: 'x' }), 'buffer');
}
