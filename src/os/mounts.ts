/** The mount table (proc_pid_mountinfo(5)): which mount a path is on, and its other names through bind mounts. */
import { readProc } from './files.ts';

/** A line of mountinfo. Names have one character per byte, since they need not be UTF-8; `inText()` decodes them. */
export interface MountEntry {
  path: string;
  /** The folder of the file system that is visible at `path`. */
  root: string;
  device: string;
  /** The options of this mount: ro, nosuid, … */
  options: string[];
  type: string;
  /** For FUSE: the uid that mounted it, whose program serves it. */
  user?: number;
}

/** The mount table of this process, with names as text. Empty where /proc cannot be read. */
export function mountTable(): MountEntry[] {
  return inText(mountTableInBytes());
}

/** The same with names as bytes, a character each: for paths that need not be UTF-8. */
export function mountTableInBytes(): MountEntry[] {
  return parseMountTable(readProc('self/mountinfo') ?? '');
}

/** Reads the text of mountinfo, one character per byte. It skips lines that it does not understand. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap(line => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , device, root, path, options] = before.split(' ');
    const [type, , more = ''] = after.split(' ');
    const user = type?.startsWith('fuse') ? /(?:^|,)user_id=(\d+)/.exec(more)?.[1] : undefined;
    if (!device || !root || !path || !options || !type) return [];
    if (path.endsWith('//deleted')) return []; // the folder was removed, so the name leads nowhere
    const entry = {
      path: unfoldName(path),
      root: unfoldName(root),
      device,
      options: options.split(','),
      type,
    };
    return [user === undefined || user === '0' ? entry : { ...entry, user: Number(user) }];
  });
}

/** Replaces each `\040` and the like by its byte. */
export function unfoldName(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Decodes the names of a table, for comparison with paths that are text. */
export function inText(table: MountEntry[]): MountEntry[] {
  const text = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');
  return table.map(each => ({ ...each, path: text(each.path), root: text(each.root) }));
}

/** Whether `path` is `folder` or is below it. */
export function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

/** The mount that a path is on: the one with the longest name, and of two at the same place the later one, which hides the first. */
export function mountOf(table: MountEntry[], path: string): MountEntry | undefined {
  return table
    .filter(each => isWithin(each.path, path))
    .reduce<MountEntry | undefined>(
      (best, each) => (best && best.path.length > each.path.length ? best : each),
      undefined,
    );
}

/** The other names of a path, through other mounts of its file system (bind mounts). It omits names that a later mount hides. */
export function namesByMounts(table: MountEntry[], path: string): string[] {
  const own = mountOf(table, path);
  if (!own) return [];
  const rest = own.path === '/' ? (path === '/' ? '' : path) : path.slice(own.path.length);
  const inner = `${own.root === '/' ? '' : own.root}${rest}` || '/';
  const names = table
    .filter(each => each !== own && each.device === own.device && isWithin(each.root, inner))
    .map(each => {
      const tail = each.root === '/' ? (inner === '/' ? '' : inner) : inner.slice(each.root.length);
      const name = `${each.path === '/' ? '' : each.path}${tail}` || '/';
      return mountOf(table, name) === each ? name : path;
    });
  return [...new Set(names)].filter(name => name !== path).sort();
}

/** The other names of a path and of everything below it, through other mounts (bind mounts). */
export function otherNames(table: MountEntry[], path: string): string[] {
  const own = mountOf(table, path);
  if (!own) return [];
  const join = (folder: string, rest: string): string => `${folder === '/' ? '' : folder}${rest}` || '/';
  const rest = own.path === '/' ? (path === '/' ? '' : path) : path.slice(own.path.length);
  // The path itself, and file systems that are mounted below it.
  const pieces = [
    { mount: own, inner: join(own.root, rest) },
    ...table
      .filter(each => each.path !== path && isWithin(path, each.path))
      .map(mount => ({ mount, inner: mount.root })),
  ];
  const names = new Set<string>();
  for (const { mount, inner } of pieces) {
    for (const other of table) {
      if (other === mount || other.device !== mount.device) continue;
      const tail = other.root === '/' ? (inner === '/' ? '' : inner) : inner.slice(other.root.length);
      const name = isWithin(other.root, inner)
        ? join(other.path, tail)
        : isWithin(inner, other.root)
          ? other.path
          : undefined;
      // Skip a name inside the path itself, and one that a later mount hides.
      if (name !== undefined && !isWithin(path, name) && mountOf(table, name) === other) names.add(name);
    }
  }
  return [...names].sort();
}
