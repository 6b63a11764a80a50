/** The differences between an entry of a snapshot and the restored entry: pure decisions, and their counts. */
import { type JsonName, jsonName } from '../wire/text.ts';
import type { TreeEntry, Xattr } from './fake-super.ts';
import { isAtTimeLimit } from './file-time.ts';
import { readAcl } from './posix-acl.ts';

/** How a restored entry can differ from the snapshot. */
export type Kind =
  | 'missing'
  | 'device' // the device was not made
  | 'type'
  | 'link target'
  | 'owner'
  | 'group'
  | 'set-id bits'
  | 'mode'
  | 'time'
  | 'cut time' // the store's file system cut it, before the restore
  | 'ACL'
  | 'user attribute'
  | 'system attribute'; // in another namespace than `user.`

/** The account that restores, and its options. */
export interface Giver {
  uid: number;
  /** All groups that it may give files to. */
  groups: readonly number[];
  /** Whether set-id bits, devices and file capabilities are left out on purpose. */
  inert: boolean;
}

/** One difference. It does not matter if this account cannot set the value, or if it was left out on request. */
interface Lack {
  kind: Kind;
  matters: boolean;
}

const SETUID_OR_SETGID = 0o6000;

const CAPABILITY = 'security.capability';

/**
 * Predicts the differences of an entry: attributes that the account may not set, and attributes that restore leaves out
 * on purpose.
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
  const isListed = lacks.some(each => each.kind === 'system attribute');
  if (systemNames.length > 0 && !isListed) lacks.push({ kind: 'system attribute', matters: false });
  return lacks;
}

/** A restored entry. */
export interface Restored
  extends Pick<TreeEntry, 'type' | 'mode' | 'uid' | 'gid' | 'device' | 'mtimeNs' | 'target'> {
  /** Undefined if they cannot be read. */
  xattrs: readonly Xattr[] | undefined;
}

/**
 * Compares a restored entry with the original. Pure.
 * @param entry as it was on the client
 * @param found undefined if it does not exist
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

/** A folder's set-id bits grant no rights, and the kernel drops them if the group is not the account's. */
function matters(kind: Kind, entry: TreeEntry, expected: readonly Lack[], giver: Giver): boolean {
  const known = expected.find(each => each.kind === kind);
  if (known !== undefined) return known.matters;
  return !(kind === 'set-id bits' && entry.type === 'folder' && giver.uid !== 0);
}

function isSameDevice(one: TreeEntry['device'], other: TreeEntry['device']): boolean {
  return one?.major === other?.major && one?.minor === other?.minor;
}

/** Additional attributes of the restored entry come from its file system, for example a label. */
function changedAttributes(entry: TreeEntry, found: readonly Xattr[]): Kind[] {
  const values = new Map(found.map(each => [each.name.toString('latin1'), each.value]));
  const kinds = new Set<Kind>();
  for (const { name, value } of entry.xattrs) {
    const key = name.toString('latin1');
    if (key.startsWith('user.rsync.%')) continue; // rsync's own attribute, which it could not parse
    if (values.get(key)?.equals(value)) continue;
    kinds.add(key.startsWith('user.') ? 'user attribute' : 'system attribute');
  }
  if (entry.acl !== null && !hasAcl(entry.acl, readAcl(values))) kinds.add('ACL');
  return [...kinds];
}

/**
 * Whether the entries for single users and groups, and a folder's default entries, are present. The mode holds the
 * others.
 */
function hasAcl(wanted: string, found: readonly string[]): boolean {
  const there = new Set(found);
  return wanted.split(',').every(each => !/^(?:d:)?[ug]:\d/.test(each) || there.has(each));
}

/** Paths to name for each kind. */
const EXAMPLES = 3;

/** All entries with the same kind of difference. */
export interface DifferenceCount {
  kind: Kind;
  /** Entries with this difference. */
  count: number;
  /** Entries where it matters. For the others, this account cannot set the value, or it was left out on request. */
  lacking: number;
  /** The first few, as on the client. */
  examples: JsonName[];
}

/** Counts differences by kind; a large tree has too many to list. */
export class Differences {
  readonly #kinds = new Map<Kind, DifferenceCount>();
  /** Entries with a difference that matters. */
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

  /** Kinds that matter come first. */
  get list(): DifferenceCount[] {
    return [...this.#kinds.values()].sort(
      (one, other) => Number(other.lacking > 0) - Number(one.lacking > 0),
    );
  }
}

const SLASH = Buffer.from('/');
