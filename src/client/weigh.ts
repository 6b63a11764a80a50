/**
 * `dialback weigh`: the sizes of all files that a backup would read, folder by folder. There are two lists of the scope, with the
 * excludes and without them. sort(1) makes one stream of both, so that memory does not grow with the number of files.
 */
import { Fault } from '../fault.ts';
import { refuseRoot } from '../os/account.ts';
import { asBytes, showPath } from '../os/byte-path.ts';
import { failedWith, realPath } from '../os/files.ts';
import { rsyncLibraries } from '../os/launcher.ts';
import { isWithin, readMountTable } from '../os/mounts.ts';
import { makeRunFolder, prepareStateFolder } from '../os/runfolder.ts';
import { useScratchFolder } from '../os/scratch.ts';
import { rsyncWords } from '../os/versions.ts';
import { configPath } from '../shared/toml.ts';
import { sortRecords } from '../store/sorted-find.ts';
import { encodeFact, listedText } from '../wire/listing.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { asText } from '../wire/text.ts';
import { type ClientConfig, readClientConfig, stateFolder } from './config.ts';
import { Heaviest } from './heaviest.ts';
import { type Changes, HEAVY_BYTES, HEAVY_FILES, noteHeavyFiles } from './heavy-files.ts';
import { hungWarning } from './mount-points.ts';
import { hasPackageLists, packagedPaths } from './packaged.ts';
import { chooseScope, prepareSender, type SenderOwner } from './prepared-sender.ts';
import { findHungMounts } from './scope.ts';
import { type Asked, listScope, type Unseen } from './scope-list.ts';
import { CACHE_TAG, chooseLeftOut, type LeftOutFolder, type TaggedFolder, tagNames } from './tag-rules.ts';
import { findTagged } from './tagged.ts';
import { FACT, type File, type Folder, type Sink, sizeOf, WeightTree } from './weight-tree.ts';

/** The options of `weigh`. */
export interface WeighOptions {
  config: string | undefined;
  state: string | undefined;
  /** Absolute, as bytes; undefined: the whole scope. */
  path: string | undefined;
}

/** How far the lists are. */
export interface WeighProgress {
  files: number;
  bytes: number;
}

/** The result of `weigh`, apart from all that its sinks received. */
export interface Weighed {
  top: Folder;
  unseen: Unseen;
  /** Whether the packages of this machine are known. */
  knowsPackages: boolean;
  /** Large files that were different in most of the last looks. */
  changes: Map<string, Changes>;
}

/** A scope that is ready to be listed. */
interface Ground {
  asked: Asked;
  config: ClientConfig;
  /** The folder that contains everything that is weighed. */
  top: string;
  /** The paths to list. */
  paths: string[];
  /** All folders with tags, and those that a run leaves out. */
  tagged: TaggedFolder[];
  leftOut: LeftOutFolder[];
}

/**
 * Weighs the scope of client.toml, or the part of it below a path.
 * @param sinks receive the folders and files
 * @param hear receives warnings and the progress
 * @throws Fault where the scope cannot be read, or the path is not in it; the signal's reason
 */
export async function weigh(
  options: WeighOptions,
  signal: AbortSignal,
  sinks: readonly Sink[],
  hear: { warn: (message: string) => void; tell: (progress: WeighProgress) => void },
): Promise<Weighed> {
  refuseRoot('weigh');
  const config = readClientConfig(configPath('client.toml', options.config));
  const state = stateFolder(config, options.state);
  prepareStateFolder(state);
  const owner: SenderOwner = { config, state, interrupt: signal, remote: undefined, warn: hear.warn };
  await using held = new AsyncDisposableStack();
  const folder = await makeRunFolder(held, state);
  useScratchFolder(folder);
  const ground = await prepareGround(owner, folder, options.path);
  const unseen: Unseen = { paths: [], count: 0 };
  const heavy = new HeavySink();
  const tree = new WeightTree(ground.top, [...sinks, heavy], config.limits.max_size);
  const records = sortRecords(factsOf(ground, unseen, hear.tell), {
    order: [],
    signal,
    tried: 'sort the list of the scope',
  });
  for await (const record of records) if (record.length > 0) tree.take(record.toString('latin1'));
  if (options.path !== undefined) forgetExcluded(unseen, ground.top);
  const top = tree.end();
  // A part of the scope does not have the largest files of all.
  const changes = await noteHeavyFiles(state, heavy.files(), options.path !== undefined);
  return { top, unseen, knowsPackages: hasPackageLists(), changes };
}

/** Collects the largest files of a backup. */
class HeavySink implements Sink {
  readonly #files = new Heaviest<File>(HEAVY_FILES, sizeOf);

  file(file: File): void {
    if (file.fate === 'taken' && sizeOf(file) >= HEAVY_BYTES && file.mtime !== undefined)
      this.#files.take(file);
  }

  files(): { path: string; mtime: number }[] {
    return this.#files.list().flatMap(({ path, mtime }) => (mtime === undefined ? [] : [{ path, mtime }]));
  }
}

/** For rsync, a path that the excludes leave out does not exist. This account has just seen it. */
function forgetExcluded(unseen: Unseen, path: string): void {
  const name = asText(path);
  const others = unseen.paths.filter(each => each.path !== name || each.errno !== ENOENT);
  unseen.count -= unseen.paths.length - others.length;
  unseen.paths = others;
}

/** errno(3), No such file or directory. */
const ENOENT = 2;

async function prepareGround(owner: SenderOwner, folder: string, path: string | undefined): Promise<Ground> {
  const { config } = owner;
  const table = readMountTable();
  const hung = await findHungMounts(config, undefined, table);
  for (const each of hung) owner.warn(hungWarning(each));
  const chosen = chooseScope(owner, hung, table);
  const roots = chosen.roots.map(each => each.path);
  const all = pathsBelow('/', roots);
  const top = path === undefined ? (all.length === 1 ? (all[0] ?? '/') : '/') : realPlace(path);
  const paths = pathsBelow(top, roots);
  const libraries = chosen.capability === 'confined' ? await rsyncLibraries() : [];
  const hasZstd = knowsZstd(await rsyncWords());
  const asked = paths.map(asText);
  const facts = { runFolder: folder, libraries, hasZstd, checksum: false, asked };
  const sender = await prepareSender(owner, chosen, facts);
  const over = sender.scope.never.find(each => isWithin(each, top));
  if (over !== undefined)
    throw new Fault({
      tried: `weigh "${showPath(top)}"`,
      found: `\`never\` covers ${over === top ? 'it' : `"${showPath(over)}" above it`}`,
      exit: 'usage',
    });
  const ready = { chosen, sender, libraries, folder, signal: owner.interrupt };
  const names = tagNames(config);
  const tagged = await findTagged(ready, [...new Set([...names, CACHE_TAG, NO_BACKUP])], asked, owner.warn);
  const leftOut = chooseLeftOut(tagged, names, roots, owner.warn);
  return { asked: ready, config, top, paths: asked, tagged, leftOut };
}

/** A name that other backup tools use for a tag. */
const NO_BACKUP = '.nobackup';

/** The path without symbolic links. @throws Fault where it does not exist */
function realPlace(path: string): string {
  const bytes = Buffer.from(path, 'latin1');
  try {
    return realPath(bytes, 'buffer').toString('latin1');
  } catch (error) {
    // The launcher can look where this account cannot.
    if (failedWith(error, 'EACCES')) return path;
    throw new Fault({
      tried: `weigh "${showPath(path)}"`,
      found: 'there is no such file or folder',
      exit: 'usage',
    });
  }
}

/** The part of the scope that is below a folder. @throws Fault where it is empty */
function pathsBelow(top: string, roots: readonly string[]): string[] {
  if (roots.some(root => isWithin(root, top))) return [top];
  const inside = roots.filter(root => isWithin(top, root));
  const paths = inside.filter(root => !inside.some(other => other !== root && isWithin(other, root)));
  if (paths.length > 0) return paths;
  throw new Fault({
    tried: `weigh "${showPath(top)}"`,
    found: `no root of client.toml has it: ${roots.map(each => `"${showPath(each)}"`).join(', ')}`,
    next: 'name a path in one of them',
    exit: 'usage',
  });
}

/** All that is known about the paths, as portions of records for sort(1). */
async function* factsOf(
  { asked, top, paths, tagged, leftOut }: Ground,
  unseen: Unseen,
  tell: (progress: WeighProgress) => void,
): AsyncGenerator<Buffer> {
  const { scope } = asked.sender;
  const { excludes } = asked.chosen;
  const isInside = (path: string): boolean => isWithin(top, path) || isWithin(path, top);
  const facts = (kind: string, found: readonly string[]): Buffer =>
    portion(found.map(path => encodeFact({ kind, path, text: '' })));
  yield facts(
    FACT.never,
    scope.never.filter(isInside).map(each => each.slice(1)),
  );
  yield facts(
    FACT.mount,
    scope.empty.filter(isInside).map(each => each.slice(1)),
  );
  yield portion(
    tagged.map(({ path, tags }) =>
      encodeFact({ kind: FACT.tagged, path: path.slice(1), text: tags[0] ?? '' }),
    ),
  );
  yield facts(
    FACT.emptied,
    leftOut.map(each => each.path.slice(1)),
  );
  const lists = [{ kind: FACT.taken, name: 'taken0', excludes, tagged: leftOut }];
  const whole = { kind: FACT.whole, name: 'whole0', excludes: [], tagged: [] };
  const progress = { files: 0, bytes: 0 };
  const inside = paths.map(asBytes);
  for (const list of excludes.length + leftOut.length > 0 ? [...lists, whole] : lists) {
    // Paths that only the second list has are left out, so they are not missing in a backup.
    const own = list.kind === FACT.taken ? unseen : { paths: [], count: 0 };
    for await (const listed of listScope(asked, { ...list, paths }, own)) {
      // Without the folders above the roots.
      const entries = listed.filter(each => inside.some(root => isWithin(root, `/${each.path}`)));
      for (const each of list.kind === FACT.taken ? entries : []) {
        progress.files += 1;
        progress.bytes += sizeOf(each);
      }
      tell(progress);
      yield portion(
        entries.map(each => encodeFact({ kind: list.kind, path: each.path, text: listedText(each) })),
      );
    }
  }
  if (hasPackageLists()) for (const found of packagedPaths()) yield facts(FACT.packaged, found);
}

/** Several records as one: sortRecords() adds the last NUL. */
function portion(records: readonly string[]): Buffer {
  return Buffer.from(records.join('\0'), 'latin1');
}
