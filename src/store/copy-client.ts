/** Copies the snapshots of one client, and the files beside them (copy-store.ts). */
import { close, exists, fstat, realPath, statusExact } from '../os/files.ts';
import { writeUnnamed } from '../os/scratch.ts';
import { RSYNC_EXIT } from '../wire/rsync-output.ts';
import { attemptsOf, type CopyPlace, nextAttempt, type PlaceFacts, parseAttempt } from './copy-place.ts';
import {
  type CopyEnd,
  clientArguments,
  compareArguments,
  copyFault,
  linkedArguments,
  MOST_LINK_DESTS,
  recordArguments,
  runCopy,
  snapshotArguments,
} from './copy-rsync.ts';
import type { CopiedClient, CopyProgress } from './copy-store.ts';
import { openIndex, type StoreIndex } from './file-index.ts';
import type { LinkedElsewhere } from './index-links.ts';
import { MANIFEST, SUMS } from './manifest.ts';
import { makeQuietly } from './manifest-writer.ts';
import { candidateOf } from './retention.ts';
import { PIN, readSnapshot, snapshotNames } from './snapshot.ts';
import { type ClientStore, openClient } from './store.ts';

/** A copy of a store that is under way. */
interface Copying {
  store: string;
  place: CopyPlace;
  facts: PlaceFacts;
  /** As `PlaceFacts` has them, after attempts that cannot be trusted were removed. */
  attempts: PlaceFacts['attempts'];
  signal: AbortSignal;
  tell: (progress: CopyProgress) => void;
}

/**
 * Copies the planned snapshots of a client, then the files beside them. A snapshot that cannot be copied whole does
 * not stop the others.
 * @param result has the plan, and gets the result
 * @throws Fault when the place fails or has no more room; the signal's reason
 */
export async function copyClient(copying: Copying, result: CopiedClient): Promise<void> {
  const { store, place, facts, signal, tell } = copying;
  const client = openClient(store, result.client);
  const planned = result.copied;
  result.copied = [];
  await place.addClient(client.name);
  const useless = (each: string): boolean => !planned.includes(parseAttempt(each)?.snapshot ?? '');
  await place.discard(client.name, (copying.attempts.get(client.name) ?? []).filter(useless));
  await makeQuietly(client, signal);
  await using held = new AsyncDisposableStack();
  const index = planned.length === 0 ? undefined : await openIndex(held, client, signal);
  const there = new Set(facts.snapshots.get(client.name));
  for (const [at, snapshot] of planned.entries()) {
    tell({ client: client.name, snapshot: at + 1, snapshots: planned.length });
    if (index === undefined) break;
    const did = await copySnapshot(copying, { client, index, there, result }, snapshot);
    if (did !== 'copied') continue;
    there.add(snapshot);
    result.copied.push(snapshot);
  }
  await copyRecords(copying, client, [...there]);
}

/** A client that is being copied. */
interface ClientCopy {
  client: ClientStore;
  index: StoreIndex;
  /** The snapshots that the copy has. */
  there: ReadonlySet<string>;
  result: CopiedClient;
}

/** Attempts of the same snapshot to link against. Each killed copy leaves one or two: the second is `Attempt.links`. */
const MOST_ATTEMPTS = 10;

async function copySnapshot(
  { place, attempts, signal }: Copying,
  copy: ClientCopy,
  snapshot: string,
): Promise<'copied' | 'removed' | 'failed'> {
  const { client, result } = copy;
  const from = `${client.folder}/snapshots/${snapshot}`;
  const identity = identityOf(from);
  const earlier = attemptsOf(attempts.get(client.name) ?? [], snapshot);
  await place.discard(client.name, earlier.slice(MOST_ATTEMPTS));
  const left = earlier.slice(0, MOST_ATTEMPTS);
  const links = nextAttempt(snapshot, earlier);
  const attempt = nextAttempt(snapshot, [links]);
  await place.begin(client.name, attempt);
  const ended = await runAttempt(place, copy, { snapshot, attempt, left, links }, signal);
  result.written_bytes += ended.bytes;
  // A prune renames a snapshot before it deletes the files. rsync does not notice an entry that is gone before it has
  // read the folder.
  if (identity === undefined || identityOf(from) !== identity) {
    await place.discard(client.name, [attempt, links, ...left]);
    result.removed.push(snapshot);
    return 'removed';
  }
  if (ended.status !== 0) {
    const fault = copyFault(`copy "${client.name}@${snapshot}" to "${place.name}"`, ended);
    if (ended.isFull || ended.status !== RSYNC_EXIT.partial) throw fault;
    result.failed.push({ snapshot, found: fault.found });
    return 'failed';
  }
  await place.finish(client.name, attempt);
  await place.discard(client.name, [links, ...left]);
  return 'copied';
}

function identityOf(folder: string): string | undefined {
  if (!exists(folder)) return undefined;
  const { dev, ino } = statusExact(folder);
  return `${dev} ${ino}`;
}

/** The most files that rsync leaves out at first. It compares each pattern with every name. */
const MOST_LEFT_OUT = 1000;

/** Bytes of a pattern; rsync ignores one of more than 4096. */
const PATTERN_BYTES = 4000;

/** An attempt and the older ones of the same snapshot. */
interface Attempt {
  snapshot: string;
  attempt: string;
  left: readonly string[];
  /** The folder for the files that are linked to other paths of older snapshots. */
  links: string;
}

/**
 * Runs rsync for one snapshot. rsync links a file to an older one with the same size, time and attributes, without a
 * look at the content. In the store the two can be different: a run compared contents, or sent a file again that a power
 * cut had damaged. Such a file is left out at first, and copied by a second rsync, which links to no older snapshot.
 */
async function runAttempt(
  place: CopyPlace,
  copy: ClientCopy,
  { snapshot, attempt, left, links }: Attempt,
  signal: AbortSignal,
): Promise<CopyEnd> {
  const { client, index, there } = copy;
  const bases = chooseBases(client, index, snapshot, there);
  const unlinked = index.alikeButUnlinked(snapshot, bases.known, MOST_LEFT_OUT + 1);
  const alike = unlinked.map(exactPattern);
  const isTooMuch = alike.length > MOST_LEFT_OUT || alike.some(each => each.length > PATTERN_BYTES);
  const linked = await copyLinked(place, copy, { snapshot, base: bases.known[0], links, unlinked }, signal);
  const own = [...(linked ? [`../${links}/${snapshot}`] : []), ...left.map(each => `../${each}`)];
  const all = [...own, ...bases.all.map(each => `../../../clients/${client.name}/snapshots/${each}`)];
  await using held = new AsyncDisposableStack();
  const common = {
    from: `${client.folder}/snapshots/${snapshot}`,
    to: `${place.root}/copying/${client.name}/${attempt}`,
  };
  const run = async (more: { linkDests: string[]; checksum: boolean }, list?: number) =>
    await runInto(
      place,
      snapshotArguments({ ...common, ...more, hasExcludes: list !== undefined }, place.options),
      list,
      signal,
    );
  let excludes: number | undefined;
  if (alike.length > 0 && !isTooMuch) {
    const list = writeUnnamed(alike.flatMap(each => [each, NUL]));
    held.defer(() => close(list));
    excludes = list;
  }
  const checksum = isTooMuch || bases.known.length < bases.all.length;
  const first = await run({ linkDests: all.slice(0, MOST_LINK_DESTS), checksum }, excludes);
  if (excludes === undefined || first.status !== 0) return first;
  const second = await run({ linkDests: own, checksum: false });
  return { ...second, bytes: first.bytes + second.bytes };
}

/** Runs an rsync that makes files below copying/. @param list a descriptor for its standard input */
async function runInto(
  { folder, environment }: CopyPlace,
  args: readonly string[],
  list: number | undefined,
  signal: AbortSignal,
): Promise<CopyEnd> {
  const into = folder === undefined ? undefined : realPath(folder);
  return await runCopy(args, { into, environment, input: list, signal });
}

/**
 * Copies the files that are linked to another path of an older snapshot, such as moved ones, into a folder beside the attempt, as links
 * to the copy's older snapshots. The attempt is then linked to them. rsync makes links of the names of one call (-H), and finds the
 * older name by --link-dest.
 * @returns whether there are such files
 */
async function copyLinked(
  place: CopyPlace,
  { client, index, there }: ClientCopy,
  {
    snapshot,
    base,
    links,
    unlinked,
  }: { snapshot: string; base?: string | undefined; links: string; unlinked: Buffer[] },
  signal: AbortSignal,
): Promise<boolean> {
  if (base === undefined) return false;
  await using held = new AsyncDisposableStack();
  const alike = new Set(unlinked.map(each => each.toString('latin1')));
  const isAlike = (path: Buffer): boolean => alike.has(path.toString('latin1'));
  const list = writeUnnamed(listLinked(index.linkedElsewhere({ snapshot, base, there }, isAlike), snapshot));
  held.defer(() => close(list));
  if (fstat(list).size === 0) return false;
  await place.begin(client.name, links);
  const snapshots = `clients/${client.name}/snapshots`;
  const from = `${client.folder}/snapshots`;
  const to = `${place.root}/copying/${client.name}/${links}`;
  const args = linkedArguments({ from, to, linkDest: `../../../${snapshots}` }, place.options);
  const ended = await runInto(place, args, list, signal);
  // The attempt copies the files that are missing here. If a prune has removed the snapshot, copySnapshot() notices it.
  const isUsable = [0, RSYNC_EXIT.partial, RSYNC_EXIT.vanished].some(each => each === ended.status);
  if (ended.isFull || !isUsable)
    throw copyFault(`copy "${client.name}@${snapshot}" to "${place.name}"`, ended);
  return true;
}

const NUL = Buffer.from([0]);

/** The paths of each file below the client's snapshots, each with a NUL behind it. */
function* listLinked(files: Iterable<LinkedElsewhere>, snapshot: string): Generator<Buffer> {
  for (const { older, olderPath, paths } of files) {
    const names: [string, Buffer][] = [[older, olderPath]];
    for (const path of paths) names.push([snapshot, path]);
    yield Buffer.concat(names.flatMap(([name, path]) => [Buffer.from(`${name}/tree/`), path, NUL]));
  }
}

/** A pattern that matches only this path below the tree. A backslash escapes only in a pattern with a wildcard (rsync(1)). */
function exactPattern(path: Buffer): Buffer {
  const text = path.toString('latin1');
  const exact = /[*?[]/.test(text) ? text.replace(/[\\*?[]/g, '\\$&') : text;
  return Buffer.from(`/tree/${exact}`, 'latin1');
}

/** Snapshots to link against, besides the one before and the last full one. */
const MOST_GAPS = 6;

/**
 * Chooses the snapshots of the copy that a new one links against.
 * @returns all of them, best first, and those whose files the index of the store knows. If the store has none of the
 *   copy's snapshots any more, there is one that it does not know.
 */
function chooseBases(
  client: ClientStore,
  index: StoreIndex,
  snapshot: string,
  there: ReadonlySet<string>,
): { all: string[]; known: string[] } {
  const own = new Set(snapshotNames(client));
  const candidates = (names: readonly string[]): string[] => {
    const past = names.filter(each => each < snapshot);
    return past.length > 0 ? past.reverse() : [...names];
  };
  const known = candidates([...there].filter(each => own.has(each)).sort());
  const newest = known[0];
  if (newest === undefined) return { all: candidates([...there].sort()).slice(0, 1), known: [] };
  const full = known.find(each => candidateOf(readSnapshot(client, each)).state === 'full');
  const gaps = index.sharedAcrossGap(snapshot, MOST_GAPS).filter(each => there.has(each));
  const chosen = [...new Set([newest, ...(full === undefined ? [] : [full]), ...gaps])];
  return { all: chosen, known: chosen };
}

/**
 * Copies the files of a client that can change: journal, ledger and marks, and the pins and manifests of snapshots. A pin
 * that the store lacks is removed from the copy, without rsync: with --delete-missing-args Debian's rsync 3.2.3 refuses its
 * own list (invalid file mode 00).
 */
async function copyRecords(
  { store, place, signal }: Copying,
  client: ClientStore,
  there: readonly string[],
): Promise<void> {
  const from = `${store}/clients/${client.name}`;
  const to = `${place.root}/clients/${client.name}`;
  const run = async (args: string[], input?: Buffer): Promise<void> => {
    const ended = await runCopy(args, { into: undefined, environment: place.environment, input, signal });
    if (ended.status !== 0) throw copyFault(`copy the records of "${client.name}" to "${place.name}"`, ended);
  };
  await run(clientArguments(from, to, place.remoteShell));
  const own = snapshotNames(client).filter(each => there.includes(each));
  const files = own.flatMap(name => [MANIFEST, SUMS, PIN].map(each => `${name}/${each}`));
  const input = files.filter(each => exists(`${from}/snapshots/${each}`)).map(each => `${each}\0`);
  if (input.length > 0)
    await run(
      recordArguments(`${from}/snapshots`, `${to}/snapshots`, place.remoteShell),
      Buffer.from(input.join('')),
    );
  const unpinned = own.filter(each => !exists(`${from}/snapshots/${each}/${PIN}`));
  if (unpinned.length > 0) await place.unpin(client.name, unpinned);
}

/** Lists what differs between a snapshot and its copy. @returns undefined if the store has no such snapshot any more */
export async function compareSnapshot(
  store: string,
  place: CopyPlace,
  name: string,
  snapshot: string,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  const from = `${store}/clients/${name}/snapshots/${snapshot}/tree`;
  const to = `${place.root}/clients/${name}/snapshots/${snapshot}/tree`;
  const run = { into: undefined, environment: place.environment, signal };
  const ended = await runCopy(compareArguments(from, to, place.options), run);
  if (!exists(from)) return undefined;
  if (ended.status === 0) return ended.lines;
  throw copyFault(`compare "${name}@${snapshot}" with its copy in "${place.name}"`, ended);
}
