/** The mount table (proc_pid_mountinfo(5)): which mount a path is on, and which other names a place has by other mounts. */
import { asText } from '../wire/text.ts';
import { joinPath, tailBehind, unescapeOctal } from './byte-path.ts';
import { readWhole } from './content.ts';

const TABLE_BYTES = 16 * 1024 * 1024;

/** A line of mountinfo. Its paths are bytes (os/byte-path.ts); `inText()` turns them into text. */
export interface MountEntry {
  path: string;
  /** The folder of the file system that is mounted at `path`. */
  root: string;
  device: string;
  /** Of this mount only: ro, nosuid, … */
  options: string[];
  type: string;
  /** The uid of the user whose program serves it (FUSE); undefined for root. */
  user?: number;
}

/**
 * Reads the mount table of this process.
 * @returns in the order of mountinfo: the later one of two mounts at the same path hides the earlier one
 * @throws Fault where /proc cannot be read
 */
export function readMountTable(): MountEntry[] {
  return parseMountTable(readWhole('/proc/self/mountinfo', TABLE_BYTES).toString('latin1'));
}

/** The mount table for callers that can work without it: empty if /proc cannot be read. */
export function mountTableInBytes(): MountEntry[] {
  try {
    return readMountTable();
  } catch {
    return [];
  }
}

/** The same with paths as text. */
export function mountTable(): MountEntry[] {
  return inText(mountTableInBytes());
}

/** Parses mountinfo, one character for each byte. Lines of another form are left out. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap(line => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , device, root, path, options] = before.split(' ');
    const [type, , more = ''] = after.split(' ');
    const user = type?.startsWith('fuse') ? /(?:^|,)user_id=(\d+)/.exec(more)?.[1] : undefined;
    if (!device || !root || !path || !options || !type) return [];
    if (path.endsWith('//deleted')) return []; // Its folder has been removed, so the name leads nowhere.
    const entry = {
      path: unescapeOctal(path),
      root: unescapeOctal(root),
      device,
      options: options.split(','),
      type,
    };
    return [user === undefined || user === '0' ? entry : { ...entry, user: Number(user) }];
  });
}

/** The same table with its paths as text, to compare them with paths that are text. */
export function inText(table: readonly MountEntry[]): MountEntry[] {
  return table.map(each => ({ ...each, path: asText(each.path), root: asText(each.root) }));
}

/** Whether `path` is `folder` or below it. */
export function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

/** The mount that a path is on: the one with the longest path, and of two at the same path the later one. */
export function mountOf(table: readonly MountEntry[], path: string): MountEntry | undefined {
  return table
    .filter(each => isWithin(each.path, path))
    .reduce<MountEntry | undefined>(
      (best, each) => (best && best.path.length > each.path.length ? best : each),
      undefined,
    );
}

/**
 * Other names of a place, by other mounts of the same file system (bind mounts).
 * @returns sorted; without names that a later mount hides
 */
export function namesByMounts(table: readonly MountEntry[], path: string): string[] {
  const own = mountOf(table, path);
  if (!own) return [];
  const inner = joinPath(own.root, tailBehind(own.path, path));
  const names = table
    .filter(each => each !== own && each.device === own.device && isWithin(each.root, inner))
    .map(each => {
      const name = joinPath(each.path, tailBehind(each.root, inner));
      return mountOf(table, name) === each ? name : path;
    });
  return [...new Set(names)].filter(name => name !== path).sort();
}

/**
 * Places outside of a path where other mounts (bind mounts) show the path, or a part of the tree below it.
 * @returns sorted; without names that a later mount hides
 */
export function otherNames(table: readonly MountEntry[], path: string): string[] {
  const own = mountOf(table, path);
  if (!own) return [];
  // The path itself, and whole file systems that are mounted below it.
  const pieces = [
    { mount: own, inner: joinPath(own.root, tailBehind(own.path, path)) },
    ...table
      .filter(each => each.path !== path && isWithin(path, each.path))
      .map(mount => ({ mount, inner: mount.root })),
  ];
  const names = new Set<string>();
  for (const { mount, inner } of pieces) {
    for (const other of table) {
      if (other === mount || other.device !== mount.device) continue;
      const name = isWithin(other.root, inner)
        ? joinPath(other.path, tailBehind(other.root, inner))
        : isWithin(inner, other.root)
          ? other.path
          : undefined;
      // A name inside of the path is kept back with the path.
      if (name !== undefined && !isWithin(path, name) && mountOf(table, name) === other) names.add(name);
    }
  }
  return [...names].sort();
}

/**
 * Finds the first root on the store's file system. It compares the devices in mountinfo: subvolumes of a btrfs and bind mounts
 * have the same one, and the paths need not be readable.
 * @param roots without symbolic links, and so is `store`
 */
export function rootBeside(table: MountEntry[], roots: string[], store: string): string | undefined {
  const device = mountOf(table, store)?.device;
  return roots.find(root => device !== undefined && mountOf(table, root)?.device === device);
}
