/**
 * Folders with a tag, which says that a backup need not have their contents: a CACHEDIR.TAG (https://bford.info/cachedir/), or a
 * file with a name of `exclude_if_present`. The sender of a backup lists them, so root-only folders are found too, and no link is
 * followed.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { isUtf8 } from 'node:buffer';
import { nameOf } from '../os/byte-path.ts';
import { readWhole } from '../os/content.ts';
import { makeFolder, removeAll } from '../os/files.ts';
import { eachLine } from '../os/records.ts';
import { useScratchFolder } from '../os/scratch.ts';
import { sortRecords } from '../store/sorted-find.ts';
import { encodeFact, listedText } from '../wire/listing.ts';
import { copyArguments, listedRoots } from '../wire/rsync.ts';
import { asText } from '../wire/text.ts';
import type { ClientConfig } from './config.ts';
import { scopeRecords } from './filter.ts';
import { startOwnPull } from './own-pull.ts';
import { writeSenderFiles } from './prepared-sender.ts';
import { type Asked, listScope, type Unseen } from './scope-list.ts';
import { senderCommand, writeScope } from './sender.ts';
import { readState, writeState } from './state-file.ts';
import {
  CACHE_TAG,
  chooseLeftOut,
  doesCount,
  type LeftOutFolder,
  SIGNATURE,
  type TaggedFolder,
  tagNames,
} from './tag-rules.ts';
import { FACT, type File, type Folder, type Sink, WeightTree } from './weight-tree.ts';

/** The most tags that are looked at, so that a user with many of them cannot fill our memory. */
const MOST_TAGS = 10_000;
/** A larger file is no CACHEDIR.TAG. */
const TAG_BYTES = 1024 * 1024;

/**
 * Finds the folders with tags.
 * @param names file names that count as tags; a CACHEDIR.TAG needs its signature
 * @param paths the part of the scope to look into, as text
 * @param warn receives a sentence where there are too many tags
 * @returns sorted by path; in each one all tags that count
 */
export async function findTagged(
  asked: Asked,
  names: readonly string[],
  paths: readonly string[],
  warn: (message: string) => void,
): Promise<TaggedFolder[]> {
  useScratchFolder(asked.folder);
  const sink = new TagSink(names);
  const tree = new WeightTree('/', [sink]);
  const records = sortRecords(tagRecords(asked, names, paths), {
    order: [],
    signal: asked.signal,
    tried: 'sort the list of folders',
  });
  for await (const record of records) if (record.length > 0) tree.take(record.toString('latin1'));
  tree.end();
  if (sink.count > MOST_TAGS)
    warn(`Cannot look at all ${sink.count} tags of folders: the first ${MOST_TAGS} count`);
  const caches = sink.found.filter(each => each.tag === CACHE_TAG).map(each => each.folder);
  const real = new Set(await withSignature(asked, caches));
  const folders = new Map<string, string[]>();
  for (const { folder, tag } of sink.found)
    if (tag !== CACHE_TAG || real.has(folder)) folders.set(folder, [...(folders.get(folder) ?? []), tag]);
  return [...folders].map(([path, tags]) => ({ path, tags })).sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Lists folders and files with the names of tags. */
async function* tagRecords(
  asked: Asked,
  names: readonly string[],
  paths: readonly string[],
): AsyncGenerator<Buffer> {
  const more = ['+ */', ...names.map(name => `+ ${name}`), '- *'].map(rule => `--filter=${rule}`);
  const unseen: Unseen = { paths: [], count: 0 }; // the run itself reports them
  const { excludes } = asked.chosen;
  for await (const entries of listScope(asked, { name: 'tags00', excludes, paths, more }, unseen)) {
    const records = entries.map(each =>
      encodeFact({ kind: FACT.taken, path: each.path, text: listedText(each) }),
    );
    yield Buffer.from(records.join('\0'), 'latin1');
  }
}

/** Collects the tags that count. */
class TagSink implements Sink {
  readonly found: { folder: string; tag: string }[] = [];
  count = 0;
  readonly #names: ReadonlySet<string>;

  constructor(names: readonly string[]) {
    this.#names = new Set(names.map(name => Buffer.from(name).toString('latin1')));
  }

  file(file: File, above: Folder): void {
    const tag = nameOf(file.path);
    if (file.type !== 'file' || !this.#names.has(tag) || !doesCount(above, file)) return;
    this.count += 1;
    if (this.count <= MOST_TAGS) this.found.push({ folder: above.path, tag: asText(tag) });
  }
}

/** The bytes of paths that fit into the arguments of one rsync. */
const ARGUMENT_BYTES = 64 * 1024;

/** @returns the folders whose CACHEDIR.TAG has its signature */
async function withSignature(asked: Asked, folders: readonly string[]): Promise<string[]> {
  // A path that is not UTF-8 cannot be an argument, so its tag does not count.
  const usable = folders.filter(each => isUtf8(Buffer.from(each, 'latin1')));
  const found: string[] = [];
  for (let at = 0, count = 0; at < usable.length; count += 1) {
    let size = 0;
    const some: string[] = [];
    for (; at < usable.length && size < ARGUMENT_BYTES; at += 1) {
      const folder = usable[at] ?? '/';
      some.push(folder);
      size += folder.length;
    }
    found.push(...(await readSignatures(asked, some, `sign${String(count % 100).padStart(2, '0')}`)));
  }
  return found;
}

/** Copies some tags through the sender, and looks at the copies. */
async function readSignatures(asked: Asked, folders: readonly string[], name: string): Promise<string[]> {
  const { chosen, sender, libraries, folder, signal } = asked;
  const [runFolder, tree] = [`${folder}/run-${name}`, `${folder}/tree-${name}`];
  await using held = new AsyncDisposableStack();
  for (const path of [runFolder, tree]) {
    held.defer(() => removeAll(path));
    makeFolder(path);
  }
  const paths = folders.map(each => asText(`${each === '/' ? '' : each}/${CACHE_TAG}`));
  const isConfined = chosen.capability === 'confined';
  const listsAll = sender.listsAll || (isConfined && listedRoots(paths).length > 0);
  writeScope(runFolder, scopeRecords(chosen.scope, libraries, listsAll));
  writeSenderFiles(runFolder, chosen, sender, { compress: false, excludes: chosen.excludes });
  const { idleSeconds } = sender.daemon;
  const { serving, receiving } = await startOwnPull(held, {
    ...{ folder: runFolder, capability: chosen.capability, idleSeconds },
    sender: senderCommand(runFolder, chosen.capability, 0),
    receiver: shell => copyArguments({ paths, tree, shell, idleSeconds, maxSize: TAG_BYTES }),
  });
  receiving.stdout?.resume();
  for (const { stderr } of [serving, receiving]) eachLine(stderr, 1, () => {}); // a tag that did not arrive does not count
  const abort = (): void => void receiving.end(500);
  signal.addEventListener('abort', abort, { once: true });
  held.defer(() => signal.removeEventListener('abort', abort));
  await receiving.ended;
  signal.throwIfAborted();
  return folders.filter((_, index) => hasSignature(`${tree}${paths[index]}`));
}

function hasSignature(path: string): boolean {
  try {
    return readWhole(path, TAG_BYTES).subarray(0, SIGNATURE.length).toString('latin1') === SIGNATURE;
  } catch {
    return false;
  }
}

/**
 * Finds the folders that a run leaves out by their tags.
 * @param warn as for `chooseLeftOut()`
 * @returns none where the config does not ask for it
 */
export async function findLeftOut(
  asked: Asked,
  config: ClientConfig,
  warn: (message: string) => void,
): Promise<LeftOutFolder[]> {
  const names = tagNames(config);
  if (names.length === 0) return [];
  const roots = asked.chosen.roots.map(each => each.path);
  const tagged = await findTagged(asked, names, roots.map(asText), warn);
  return chooseLeftOut(tagged, names, roots, warn);
}

/** The folders that a run has left out, for its result. */
export interface LeftOutReport {
  folders: LeftOutFolder[];
  /** Those that the last successful run did not leave out. */
  added: string[];
}

const pathIn = (state: string): string => `${state}/tagged.json`;

/**
 * Compares the folders with those of the last successful run.
 * @param remote its name
 */
export function reportLeftOut(state: string, remote: string, folders: LeftOutFolder[]): LeftOutReport {
  const known = readState(pathIn(state), remote);
  const paths = Array.isArray(known) ? new Set<unknown>(known) : undefined;
  return { folders, added: folders.map(each => each.path).filter(each => paths && !paths.has(each)) };
}

/** Keeps the folders of a successful run. @throws Fault where that cannot be written */
export async function noteLeftOut(
  state: string,
  remote: string,
  folders: readonly LeftOutFolder[],
): Promise<void> {
  const paths = folders.map(each => each.path);
  // A config without tags needs no file.
  if (paths.length === 0 && readState(pathIn(state), remote) === undefined) return;
  await writeState(pathIn(state), remote, paths);
}
