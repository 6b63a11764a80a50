/** Looks up entries of a tree in its manifest, without holding the manifest in memory. */
import { exists } from '../os/files.ts';
import type { StoredEntry } from './find-records.ts';
import { manifestOf, readManifestPart } from './manifest.ts';
import { isUnread, type ManifestEntry } from './mtree.ts';
import type { ClientStore } from './store.ts';

/** One manifest. The first lookup opens it. */
export class ManifestLookup {
  readonly #entries: AsyncGenerator<ManifestEntry>;
  readonly #isMissing: boolean;
  #next: ManifestEntry | undefined;
  #hasBegun = false;
  #damage: string | undefined;

  constructor(client: ClientStore, snapshot: string, signal: AbortSignal) {
    this.#isMissing = !exists(manifestOf(client, snapshot));
    this.#entries = readManifestPart(client, snapshot, {}, signal, found => {
      this.#damage = found;
    });
  }

  /** Why a lookup could not use the manifest; undefined if each could, or if there was none. */
  get problem(): 'missing' | { damage: string } | undefined {
    if (this.#isMissing && this.#hasBegun) return 'missing';
    return this.#damage === undefined ? undefined : { damage: this.#damage };
  }

  /**
   * Looks up one entry. The lookups must come in the order of the paths' bytes.
   * @returns undefined if the manifest does not have it, could not be read that far, or describes another file or an unreadable one
   * @throws the signal's reason
   */
  async find({ path, isFolder, size, mtimeNs }: StoredEntry): Promise<ManifestEntry | undefined> {
    const wanted = path.toString('latin1');
    if (!this.#hasBegun) await this.#step();
    while (this.#next && this.#next.path < wanted) await this.#step();
    const found = this.#next;
    if (found?.path !== wanted || isUnread(found) || isFolder !== (found.type === 'dir')) return undefined;
    return isFolder || (found.size === size && found.mtimeNs === mtimeNs) ? found : undefined;
  }

  async #step(): Promise<void> {
    this.#hasBegun = true;
    this.#next = (await this.#entries.next()).value ?? undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries.return(undefined);
  }
}
