/**
 * What a restore has written, compared with the snapshot: type, content, mode, owner, times and attributes of each entry. And
 * the snapshot itself, compared with its manifest: what the store has changed, a restore cannot give back. Reads only.
 */
import { hash } from 'node:crypto';
import { digestFile } from '../os/content.ts';
import { exists, failedWith, lstat, readlink, statusExact } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import { type JsonName, jsonName } from '../wire/text.ts';
import {
  BATCH,
  type EntryType,
  entryOf,
  listTree,
  readXattrsOfEach,
  type StoredEntry,
  type TreeEntry,
  type TreeOptions,
  type Xattr,
} from './fake-super.ts';
import { LostAttributes } from './lost-attributes.ts';
import { below, DamagedManifest, describeEntry, inBatches, manifestOf, readManifest } from './manifest.ts';
import { isUnread, type ManifestEntry } from './mtree.ts';
import { type Pair, pairEntries } from './pairs.ts';
import { readAcl } from './posix-acl.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { isAtTimeLimit } from './time-limits.ts';
import { DAMAGED_SHOWN } from './verify.ts';

/** In what an entry can differ from the snapshot once it is restored. */
export type Kind =
  | 'missing'
  | 'device' // not made
  | 'type'
  | 'link target'
  | 'owner'
  | 'group'
  | 'set-id bits'
  | 'mode'
  | 'time'
  | 'cut time' // by the store's file system, before the restore
  | 'ACL'
  | 'user attribute'
  | 'system attribute'; // of another namespace than `user.`

/** Who restores. */
export interface Giver {
  uid: number;
  /** All groups that files may be given to. */
  groups: readonly number[];
  /** Whether set-id bits, devices and file capabilities are left out on purpose. */
  inert: boolean;
}

/** One difference. One that does not matter is a note: this account could not set it, or it was left out as asked. */
export interface Lack {
  kind: Kind;
  matters: boolean;
}

const SETUID_OR_SETGID = 0o6000;
const CAPABILITY = 'security.capability';

/**
 * What will be lacking of an entry, whoever writes it: what the account may not set, and what is left out.
 * @param entry as it was on the client
 */
export function lackingIn(entry: TreeEntry, giver: Giver): Lack[] {
  const isRootUser = giver.uid === 0;
  if (entry.device) return isRootUser && !giver.inert ? [] : [{ kind: 'device', matters: !giver.inert }];
  const names = entry.xattrs.map(each => each.name.toString('latin1'));
  const systemNames = names.filter(each => !each.startsWith('user.'));
  const lacks: Lack[] = isAtTimeLimit(entry.mtimeNs) ? [{ kind: 'cut time', matters: false }] : [];
  const leavesSetId = entry.type === 'folder' ? giver.inert : giver.inert || !isRootUser;
  if ((entry.mode & SETUID_OR_SETGID) !== 0 && leavesSetId && entry.type !== 'symlink')
    lacks.push({ kind: 'set-id bits', matters: !giver.inert });
  if (giver.inert && names.includes(CAPABILITY)) lacks.push({ kind: 'system attribute', matters: false });
  if (isRootUser) return lacks;
  if (entry.uid !== giver.uid) lacks.push({ kind: 'owner', matters: false });
  if (!giver.groups.includes(entry.gid)) lacks.push({ kind: 'group', matters: false });
  const isTold = lacks.some(each => each.kind === 'system attribute');
  if (systemNames.length > 0 && !isTold) lacks.push({ kind: 'system attribute', matters: false });
  return lacks;
}

/** An entry that was restored. */
export interface Restored
  extends Pick<TreeEntry, 'type' | 'mode' | 'uid' | 'gid' | 'device' | 'mtimeNs' | 'target'> {
  /** Undefined where they cannot be read. */
  xattrs: readonly Xattr[] | undefined;
}

/**
 * In what a restored entry differs from what it was. Pure.
 * @param entry as it was on the client @param found undefined: it is not there
 */
export function differencesOf(entry: TreeEntry, found: Restored | undefined, giver: Giver): Lack[] {
  const expected = lackingIn(entry, giver);
  if (found === undefined)
    return expected.some(each => each.kind === 'device') ? expected : [{ kind: 'missing', matters: true }];
  if (found.type !== entry.type) return [{ kind: 'type', matters: true }];
  const kinds = new Set<Kind>();
  if (entry.target !== null && !(found.target ?? Buffer.alloc(0)).equals(entry.target))
    kinds.add('link target');
  if (entry.device && !isSameDevice(entry.device, found.device)) kinds.add('device');
  if (found.uid !== entry.uid) kinds.add('owner');
  if (found.gid !== entry.gid) kinds.add('group');
  const changed = entry.type === 'symlink' ? 0 : found.mode ^ entry.mode; // a link has no mode of its own
  if ((changed & SETUID_OR_SETGID) !== 0) kinds.add('set-id bits');
  if ((changed & ~SETUID_OR_SETGID) !== 0) kinds.add('mode');
  if (found.mtimeNs !== entry.mtimeNs) kinds.add('time');
  if (found.xattrs !== undefined) for (const kind of changedAttributes(entry, found.xattrs)) kinds.add(kind);
  const cut = expected.filter(each => each.kind === 'cut time');
  return [...[...kinds].map(kind => ({ kind, matters: matters(kind, entry, expected, giver) })), ...cut];
}

/** A folder's set-id bits mean no program, and the kernel drops them where the group is not the account's. */
function matters(kind: Kind, entry: TreeEntry, expected: readonly Lack[], giver: Giver): boolean {
  const known = expected.find(each => each.kind === kind);
  if (known !== undefined) return known.matters;
  return !(kind === 'set-id bits' && entry.type === 'folder' && giver.uid !== 0);
}

function isSameDevice(one: TreeEntry['device'], other: TreeEntry['device']): boolean {
  return one?.major === other?.major && one?.minor === other?.minor;
}

/** Attributes that only the restored entry has are its file system's own: a label, say. */
function changedAttributes(entry: TreeEntry, found: readonly Xattr[]): Kind[] {
  const values = new Map(found.map(each => [each.name.toString('latin1'), each.value]));
  const kinds = new Set<Kind>();
  for (const { name, value } of entry.xattrs) {
    const key = name.toString('latin1');
    if (key.startsWith('user.rsync.%')) continue; // rsync's own, and none that it could read
    if (values.get(key)?.equals(value)) continue;
    kinds.add(key.startsWith('user.') ? 'user attribute' : 'system attribute');
  }
  if (entry.acl !== null && !hasAcl(entry.acl, readAcl(values))) kinds.add('ACL');
  return [...kinds];
}

/** Whether the entries for single users and groups, and a folder's default ones, are there. The rest is the mode. */
function hasAcl(wanted: string, found: readonly string[]): boolean {
  const there = new Set(found);
  return wanted.split(',').every(each => !/^(?:d:)?[ug]:\d/.test(each) || there.has(each));
}

/** Paths of a kind that are named. */
const EXAMPLES = 3;

/** All entries that differ in one thing. */
export interface DifferenceCount {
  kind: Kind;
  /** Entries that differ. */
  count: number;
  /** Those where it matters: the rest this account could not set, or left out as asked. */
  lacking: number;
  /** As on the client; the first few. */
  examples: JsonName[];
}

/** Counts differences by their kind: a large tree has too many to list. */
export class Differences {
  readonly #kinds = new Map<Kind, DifferenceCount>();
  /** Entries that differ in something that matters. */
  lacking = 0;

  /** @param path below the tree */
  add(path: Buffer, lacks: readonly Lack[]): void {
    if (lacks.some(each => each.matters)) this.lacking += 1;
    for (const { kind, matters: isLacking } of lacks) {
      const known = this.#kinds.get(kind) ?? { kind, count: 0, lacking: 0, examples: [] };
      known.count += 1;
      if (isLacking) known.lacking += 1;
      if (known.examples.length < EXAMPLES) known.examples.push(jsonName(Buffer.concat([SLASH, path])));
      this.#kinds.set(kind, known);
    }
  }

  /** What matters first. */
  get list(): DifferenceCount[] {
    return [...this.#kinds.values()].sort(
      (one, other) => Number(other.lacking > 0) - Number(one.lacking > 0),
    );
  }
}

const SLASH = Buffer.from('/');

/** In what a file of the store is not as its manifest says. */
export type StoreDifference = 'missing' | 'type' | 'content' | 'attributes' | 'size' | 'time';

/** What a comparison found. */
export interface Compared {
  files: number;
  bytes: number;
  /** False where getfattr(1) is missing: what was true of an entry is in its attributes. */
  isCompared: boolean;
  differences: Differences;
  /** False where there is no manifest, or one that cannot be trusted. */
  isChecked: boolean;
  /** Below the tree; a character a byte. At most DAMAGED_SHOWN. */
  damaged: { path: string; difference: StoreDifference }[];
  /** Of all of them. */
  damagedCount: number;
  hasLostAttributes: boolean;
  /** Why the manifest is of no use, or undefined. */
  found: string | undefined;
}

/**
 * Compares what lies below `base` with the snapshot, and the snapshot with its manifest.
 * @param base where the restored entries are, at their paths below the tree
 * @param options isLenient: whether an entry of the store that cannot be read is passed over; isMissingTold: whether the names
 *   that are missing are told already
 */
export async function compareRestored(
  selection: Selection,
  base: string,
  giver: Giver,
  options: ComparisonOptions,
): Promise<Compared> {
  const comparison = new RestoreComparison(selection, base, giver, options);
  for (const pass of passesOf(selection)) await comparison.run(pass);
  return comparison.result();
}

interface ComparisonOptions {
  isLenient: boolean;
  isMissingTold: boolean;
  signal: AbortSignal;
}

class RestoreComparison {
  readonly #selection: Selection;
  readonly #base: string;
  readonly #giver: Giver;
  readonly #options: ComparisonOptions;
  readonly #signal: AbortSignal;
  readonly #lost = new LostAttributes();
  readonly #compared: Compared = {
    files: 0,
    bytes: 0,
    isCompared: hasProgram('getfattr'),
    differences: new Differences(),
    isChecked: false,
    damaged: [],
    damagedCount: 0,
    hasLostAttributes: false,
    found: undefined,
  };

  constructor(selection: Selection, base: string, giver: Giver, options: ComparisonOptions) {
    this.#selection = selection;
    this.#base = base;
    this.#giver = giver;
    this.#options = options;
    this.#signal = options.signal;
  }

  /** Of what is passed over rsync has spoken. */
  get #complain(): (() => void) | undefined {
    return this.#options.isLenient ? () => {} : undefined;
  }

  result(): Compared {
    const { client, snapshot } = this.#selection;
    const { isCompared, found } = this.#compared;
    const isChecked = isCompared && exists(manifestOf(client, snapshot.name)) && found === undefined;
    return { ...this.#compared, isChecked, hasLostAttributes: this.#lost.areLost };
  }

  async run(pass: Pick<TreeOptions, 'paths' | 'depth'>): Promise<void> {
    const { tree } = this.#selection.snapshot;
    const stored = listTree(tree, { ...pass, complain: this.#complain, signal: this.#signal });
    if (!this.#compared.isCompared) {
      for await (const entry of stored) this.#countStored(entry);
      return;
    }
    for await (const batch of inBatches(pairEntries(this.#manifest(pass), stored), BATCH))
      await this.#take(batch);
  }

  /** What the manifest says of a pass; nothing from where it cannot be trusted. */
  async *#manifest({ paths, depth }: Pick<TreeOptions, 'paths' | 'depth'>): AsyncGenerator<ManifestEntry> {
    const { client, snapshot } = this.#selection;
    if (!exists(manifestOf(client, snapshot.name)) || this.#compared.found !== undefined) return;
    const tops = paths?.map(path => path.toString('latin1'));
    const isWanted = (path: string): boolean =>
      tops === undefined || tops.some(top => path === top || (depth !== 0 && path.startsWith(`${top}/`)));
    try {
      for await (const entry of readManifest(client, snapshot.name, this.#signal))
        if (isWanted(entry.path)) yield entry;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof DamagedManifest)) throw error;
      this.#compared.found = error.found;
    }
  }

  async #take(batch: Pair[]): Promise<void> {
    const { tree } = this.#selection.snapshot;
    for (const { wanted, found } of batch) if (wanted && !found) this.#damage(wanted.path, 'missing');
    const there = batch.filter((each): each is Pair & { found: StoredEntry } => each.found !== undefined);
    const stored = await readXattrsOfEach(
      tree,
      there.map(each => each.found),
      this.#signal,
    );
    const entries = there.map(({ found }, at) => ({
      found,
      entry: entryOf(tree, found, stored[at] ?? [], this.#complain),
    }));
    const restored = await readRestored(
      this.#base,
      entries.map(each => each.entry),
      this.#signal,
    );
    for (const [at, { found, entry }] of entries.entries()) {
      const wanted = there[at]?.wanted;
      const xattrs = stored[at];
      if (wanted !== undefined && xattrs !== undefined) await this.#checkStore(wanted, found, xattrs);
      if (entry.path.length === 0 && !this.#selection.isWholeMachine) continue;
      this.#count(entry);
      const state = restored[at];
      // The top is DIR itself, which gets its attributes last.
      if (entry.path.length === 0 || state === 'unknown') continue;
      if (state === undefined && this.#options.isMissingTold && entry.device === null) continue;
      this.#compared.differences.add(entry.path, differencesOf(entry, state, this.#giver));
    }
  }

  /** A link lies in the store as a file that holds where it leads. */
  #countStored({ path, isFolder, size }: StoredEntry): void {
    if (isFolder || (path.length === 0 && !this.#selection.isWholeMachine)) return;
    this.#compared.files += 1;
    this.#compared.bytes += size;
  }

  #count({ type, size }: TreeEntry): void {
    if (type !== 'folder') this.#compared.files += 1;
    if (type === 'file' || type === 'symlink') this.#compared.bytes += size;
  }

  async #checkStore(wanted: ManifestEntry, found: StoredEntry, xattrs: readonly Xattr[]): Promise<void> {
    this.#lost.take(wanted, xattrs);
    if ((wanted.type === 'dir') !== found.isFolder) {
      this.#damage(wanted.path, 'type');
      return;
    }
    // When its manifest was made it could not be read, so there is nothing to compare it with.
    if (isUnread(wanted)) return;
    if (!found.isFolder) await this.#checkContent(wanted, found);
    const is = describeEntry(found, xattrs, wanted.sha256);
    const attributes = (each: ManifestEntry): string => [each.mode, each.uid, each.gid, each.xattrs].join();
    if (attributes(is) !== attributes(wanted)) this.#damage(wanted.path, 'attributes');
    if (is.size !== wanted.size) this.#damage(wanted.path, 'size');
    if (is.mtimeNs !== wanted.mtimeNs) this.#damage(wanted.path, 'time');
  }

  /** Reads what was written; what cannot be, or has no content of its own, is read in the store. */
  async #checkContent(wanted: ManifestEntry, { path }: StoredEntry): Promise<void> {
    const sha256 = await digestRestored(
      below(this.#base, path),
      below(this.#selection.snapshot.tree, path),
      this.#signal,
    );
    if (sha256 === wanted.sha256 || sha256 === 'special') return;
    this.#damage(wanted.path, sha256 === undefined ? 'missing' : 'content');
  }

  #damage(path: string, difference: StoreDifference): void {
    const { damaged } = this.#compared;
    this.#compared.damagedCount += 1;
    if (damaged.length < DAMAGED_SHOWN) damaged.push({ path, difference });
  }
}

/** @returns undefined where there is nothing; `special` for what has no content of its own */
async function digestRestored(
  path: Buffer,
  stored: Buffer,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const status = lstat(path);
    if (status.isSymbolicLink()) return hash('sha256', readlink(path), 'hex');
    if (!status.isFile()) return 'special';
    return (await digestFile(path, signal)).sha256.toString('hex');
  } catch {
    signal.throwIfAborted();
  }
  // An ordinary user may not read what has come back without that right, and gets no devices: then what rsync has read is
  // looked at.
  try {
    return (await digestFile(stored, signal)).sha256.toString('hex');
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** `unknown`: this account may not look. */
type State = Restored | undefined | 'unknown';

/** @returns what there is at the paths of some entries, in their order */
async function readRestored(
  base: string,
  entries: readonly TreeEntry[],
  signal: AbortSignal,
): Promise<State[]> {
  const states = entries.map(({ path }) => readState(below(base, path)));
  const there = entries.filter((_, at) => typeof states[at] === 'object');
  const xattrs = await readXattrsOfEach(base, there, signal, '-');
  let at = 0;
  return states.map(state => (typeof state === 'object' ? { ...state, xattrs: xattrs[at++] } : state));
}

function readState(path: Buffer): State {
  try {
    const found = statusExact(path);
    const type = typeOf(found);
    const isDevice = type === 'char device' || type === 'block device';
    return {
      type,
      mode: Number(found.mode & 0o7777n),
      uid: Number(found.uid),
      gid: Number(found.gid),
      device: isDevice ? deviceOf(found.rdev) : null,
      mtimeNs: found.mtimeNs,
      target: type === 'symlink' ? readlink(path) : null,
      xattrs: undefined,
    };
  } catch (error) {
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return undefined;
    if (failedWith(error, 'EACCES')) return 'unknown'; // the folder came back without the right to enter it
    throw error;
  }
}

function typeOf(status: ReturnType<typeof statusExact>): EntryType {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'folder';
  if (status.isSymbolicLink()) return 'symlink';
  if (status.isFIFO()) return 'fifo';
  if (status.isSocket()) return 'socket';
  return status.isCharacterDevice() ? 'char device' : 'block device';
}

/** makedev(3), the other way round. */
function deviceOf(rdev: bigint): { major: number; minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return { major: Number(major), minor: Number(minor) };
}
