/** Compares what a fetch has written with the list of the host, entry by entry. Only reads. */
import { digestFile } from '../os/content.ts';
import { hasProgram } from '../os/programs.ts';
import { readRestored, type State } from '../store/restore-compare.ts';
import { Differences, differencesOf, type Giver } from '../store/restore-difference.ts';
import { BATCH, inBatches, readAhead } from '../store/stored-tree.ts';
import { covers, joinPath } from '../store/tree-path.ts';
import type { Damage } from '../store/verify-pass.ts';
import { leadsThroughLink } from './fetch-links.ts';
import type { OfferList, Wanted } from './fetch-list.ts';

/** Files whose store is damaged, or whose content is not that of the manifest; more are counted. */
const DAMAGED_SHOWN = 100;

/** The result of a comparison. */
export interface FetchComparison {
  files: number;
  bytes: number;
  differences: Differences;
  /** False if getfattr(1) is missing: attributes are not compared. */
  isCompared: boolean;
  /** Files without a digest in the list, whose content is not compared. */
  unchecked: number;
  /** Paths below `/`, one character a byte. */
  damaged: { path: string; difference: Damage['differences'][number] }[];
  damagedCount: number;
}

/**
 * Compares the entries below `base`.
 * @param isInPlace folders above the offered paths stay as they are, and are not compared
 * @throws the signal's reason
 */
export async function compareFetched(
  list: OfferList,
  { base, isInPlace }: { base: string; isInPlace: boolean },
  giver: Giver,
  signal: AbortSignal,
): Promise<FetchComparison> {
  const result: FetchComparison = {
    files: 0,
    bytes: 0,
    differences: new Differences(),
    isCompared: hasProgram('getfattr'),
    unchecked: 0,
    damaged: [],
    damagedCount: 0,
  };
  const comparison = new Comparison(
    { base: base === '/' ? '' : base, tops: isInPlace ? list.paths : [Buffer.alloc(0)] },
    giver,
    signal,
    result,
  );
  const wanted = async function* (): AsyncGenerator<Wanted> {
    for await (const each of list.entries())
      if (!isInPlace || list.paths.some(path => covers(path, each.entry.path))) yield each;
  };
  const read = (batch: readonly Wanted[]): Promise<Looked[]> => comparison.look(batch);
  for await (const { result: looked } of readAhead(inBatches(wanted(), BATCH), read))
    await comparison.take(looked);
  return result;
}

/** An entry of the list, and the state at its path. */
type Looked = Wanted & { state: State };

class Comparison {
  readonly #base: string;
  /** The paths that rsync has written: the offered ones, or everything below the base. */
  readonly #tops: readonly Buffer[];
  readonly #giver: Giver;
  readonly #signal: AbortSignal;
  readonly #result: FetchComparison;
  #lastFolder: { path: string; isReal: boolean } | undefined;

  constructor(
    { base, tops }: { base: string; tops: readonly Buffer[] },
    giver: Giver,
    signal: AbortSignal,
    result: FetchComparison,
  ) {
    this.#base = base;
    this.#tops = tops;
    this.#giver = giver;
    this.#signal = signal;
    this.#result = result;
  }

  /** Reads all but the contents. */
  async look(batch: readonly Wanted[]): Promise<Looked[]> {
    const real = batch.filter(
      ({ entry, damage }) => damage !== 'missing' && this.#isBelowFolders(entry.path),
    );
    const entries = real.map(({ entry }) => entry);
    const states = await readRestored(this.#base, entries, this.#signal, this.#result.isCompared);
    const found = new Map(real.map((each, at) => [each, states[at]]));
    return batch.map(each => ({ ...each, state: found.get(each) }));
  }

  async take(batch: readonly Looked[]): Promise<void> {
    for (const each of batch) {
      const { entry, damage, state } = each;
      if (damage === 'missing') {
        // The store has lost it, so that the host could not send it.
        this.#damage(entry.path, damage);
        continue;
      }
      if (entry.type !== 'folder') this.#result.files += 1;
      this.#result.bytes += entry.size;
      if (state === 'unknown') continue;
      this.#result.differences.add(entry.path, differencesOf(entry, state, this.#giver));
      if (damage !== null) this.#damage(entry.path, damage);
      else if (state?.type === 'file' && entry.type === 'file') await this.#compareContent(each);
    }
  }

  async #compareContent({ entry, sha256 }: Wanted): Promise<void> {
    if (sha256 === null) {
      this.#result.unchecked += 1;
      return;
    }
    try {
      const found = await digestFile(joinPath(this.#base, entry.path), this.#signal);
      if (found.sha256.toString('hex') !== sha256) this.#damage(entry.path, 'content');
    } catch {
      this.#signal.throwIfAborted();
      this.#result.unchecked += 1; // an ordinary account may not read every file that it gets
    }
  }

  /** Never reads through a symlink that the host has sent in place of a folder. */
  #isBelowFolders(path: Buffer): boolean {
    const folder = path.subarray(0, Math.max(0, path.lastIndexOf('/'))).toString('latin1');
    if (this.#lastFolder?.path !== folder)
      this.#lastFolder = {
        path: folder,
        isReal: !leadsThroughLink(this.#base, this.#tops, Buffer.from(folder, 'latin1')),
      };
    return this.#lastFolder.isReal;
  }

  #damage(path: Buffer, difference: Damage['differences'][number]): void {
    const { damaged } = this.#result;
    this.#result.damagedCount += 1;
    if (damaged.length < DAMAGED_SHOWN) damaged.push({ path: path.toString('latin1'), difference });
  }
}
