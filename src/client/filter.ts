/**
 * The scope: what a client lets be read, as the filter file of its one-time rsync daemon. Pure: it makes text out of
 * lists, and does not touch the machine.
 *
 * The daemon's filter is asked for every name, first match wins, and no peer can add to it or clear it. So the order
 * of its lines is the policy: `never` and foreign file systems, then the excludes, then the roots, then nothing.
 */
import { Fault } from '../fault.ts';
import { isWithin, type MountEntry } from '../os/mounts.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { MODULE_PATH } from '../wire/rsync.ts';

/** File systems that hold no files of anybody's: reading them is senseless or (devices, secrets) harmful. */
const PSEUDO = new Set([
  'autofs',
  'binfmt_misc',
  'bpf',
  'cgroup',
  'cgroup2',
  'configfs',
  'debugfs',
  'devpts',
  'devtmpfs',
  'efivarfs',
  'fuse.portal',
  'fuse.gvfsd-fuse',
  'fusectl',
  'hugetlbfs',
  'mqueue',
  'nsfs',
  'proc',
  'pstore',
  'ramfs',
  'rpc_pipefs',
  'securityfs',
  'selinuxfs',
  'sysfs',
  'tmpfs',
  'tracefs',
]);
/** Of these no byte leaves, whatever `mounts` says (design: always in `never`). */
const NEVER_TYPES = new Set([
  'configfs',
  'debugfs',
  'devpts',
  'devtmpfs',
  'proc',
  'securityfs',
  'sysfs',
  'tracefs',
]);
/** File systems of another machine; it has a backup of its own. */
const NETWORK =
  /^(9p|afs|beegfs|ceph|cifs|coda|fuse\.(ceph|glusterfs|s3fs|sshfs|rclone)|gfs2?|glusterfs|lustre|ncpfs|nfs4?|ocfs2|smb3?|smbfs|virtiofs)$/;

/** Whether a file system is the kernel's own: no server, no program and no disk is asked for it. */
export function isKernelsOwn(type: string): boolean {
  return PSEUDO.has(type);
}

/** Whether a call that looks at a file system may never return: a server or a program answers for it. */
export function canHang(type: string): boolean {
  return NETWORK.test(type) || /^fuse(?:blk|$|\.)/.test(type) || type === 'autofs';
}

/**
 * Which mount points are left out.
 * @param mounts with names as bytes, and so the roots
 * @param mode `local`: pseudo and network file systems; `one`: every mount below a root; `all`: none but devices,
 *   proc and sysfs
 * @param roots a root that is itself such a mount point is wanted, and stays (devices, proc and sysfs apart)
 */
export function mountsLeftOut(
  mounts: readonly MountEntry[],
  mode: 'local' | 'all' | 'one',
  roots: readonly string[],
): string[] {
  // An automount point counts as what is mounted on it: a later mount at the same path hides the earlier one.
  const seen = new Map(mounts.map(mount => [mount.path, mount]));
  const left = mounts.filter(mount => {
    if (NEVER_TYPES.has(mount.type)) return true;
    if (seen.get(mount.path) !== mount) return false;
    if (roots.includes(mount.path)) return false;
    const below = roots.some(root => isWithin(root, mount.path));
    if (!below || mode === 'all') return false;
    return mode === 'one' || PSEUDO.has(mount.type) || NETWORK.test(mount.type);
  });
  return [...new Set(left.map(mount => mount.path))].sort();
}

/**
 * Reads an exclude list: a pattern a line (rsync(1), PATTERN MATCHING RULES), `- ` before it allowed; empty lines and
 * those that begin with `#` or `;` say nothing.
 * @param source names the list in the fault
 * @throws Fault that names the line: rules of another kind (`+`, `!`, `:`, `.`, merge files) could open the scope or
 *   read other files, so there are none
 */
export function parseExcludes(lines: string[], source: string): string[] {
  return parseExcludeLines(lines, source).map(each => each.pattern);
}

/** One pattern of an exclude list. */
export interface Exclude {
  pattern: string;
  /** Where it stands, for messages: `line 3 of "FILE"`. */
  where: string;
}

/**
 * The same with the place of each pattern.
 * @param home the account's home folder, for patterns that begin with `~/`; without it they are taken as they are
 */
export function parseExcludeLines(lines: string[], source: string, home?: string): Exclude[] {
  const patterns: Exclude[] = [];
  for (const [index, raw] of lines.entries()) {
    const fault = (found: string, next?: string): Fault =>
      new Fault({
        tried: `use line ${index + 1} of ${source}`,
        found,
        exit: 'usage',
        ...(next ? { next } : {}),
      });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(raw))
      throw fault('it has a control character or a line break in it');
    if (/^\s*$/.test(raw) || /^[#;]/.test(raw)) continue;
    const written = raw.startsWith('- ') ? raw.slice(2) : raw;
    const pattern = home === undefined ? written : expandHome(written, home);
    if (pattern === '') throw fault('it has no pattern after the dash');
    if (/^\/+$|\/\/$/.test(pattern)) throw fault('it ends in slashes that rsync would match with nothing');
    const idle = whyNoMatch(pattern);
    if (idle !== undefined) throw fault(`it cannot match anything: ${idle}`);
    if (/[*?[]/.test(pattern) && /(?<!\\)(?:\\\\)*\\$/.test(pattern)) {
      throw fault('it ends in a backslash, which escapes nothing');
    }
    if (/^!\s*$|^[-+:.]C$|^[-+:.][-+,!/CserpxnwR]*\s/.test(pattern)) {
      throw fault(
        'it is a filter rule, and only exclude patterns are taken',
        "a name that looks like one is written with a wildcard: '[+] name'",
      );
    }
    if (Buffer.byteLength(pattern) > PATTERN_LIMIT) throw fault(`it is longer than ${PATTERN_LIMIT} bytes`);
    patterns.push({ pattern, where: `line ${index + 1} of ${source}` });
  }
  if (patterns.length > EXCLUDES_LIMIT) {
    throw new Fault({
      tried: `use ${source}`,
      found: `it has more than ${EXCLUDES_LIMIT} patterns`,
      exit: 'usage',
    });
  }
  return patterns;
}

/** Why no name in a backup can match a pattern, or undefined. rsync compares it with names in their shortest form. */
function whyNoMatch(pattern: string): string | undefined {
  if (pattern.includes('//')) return 'no name has two slashes side by side';
  const part = pattern.split('/').find(each => each === '.' || each === '..');
  if (part !== undefined) return `no name has a part "${part}"`;
  const variable = /^\$\{[^}/]*\}|^\$[A-Z_]+(?=\/)/.exec(pattern)?.[0];
  if (variable !== undefined) return `"${variable}" is not expanded; only "~/", "$HOME/" and "\${HOME}/" are`;
  if (hasOpenBracket(pattern))
    return 'a "[" in it has no "]"; a backslash before it makes it a plain character';
  return undefined;
}

/** Whether a wildcard's bracket is not closed (rsync's lib/wildmatch.c then matches nothing). */
function hasOpenBracket(pattern: string): boolean {
  const member = String.raw`\[:[^\]]*:\]|\\.|\[(?!:[^\]]*:\])|[^\]\\[]`;
  const bracket = new RegExp(String.raw`\\.|\[(?:[!^]|(?![!^]))(?:\]|${member})(?:${member})*\]|(\[)`, 'g');
  return [...pattern.matchAll(bracket)].some(found => found[1] !== undefined);
}

/**
 * A pattern that begins with the home folder by one of its usual names, with the folder itself. rsync expands none of them.
 * @param home the account's home folder, bytes as the pattern's
 */
export function expandHome(pattern: string, home: string): string {
  const found = /^(?:~|\$HOME|\$\{HOME\})(?=\/)/.exec(pattern)?.[0];
  if (found === undefined) return pattern;
  const rest = pattern.slice(found.length);
  // A backslash is an escape only in a pattern with a wildcard.
  return /[*?[]/.test(home + rest) ? home.replace(/[\\*?[]/g, '\\$&') + rest : home + rest;
}

const PATTERN_LIMIT = 2000; // rsync reads lines of 4096 bytes (MAXPATHLEN)
const EXCLUDES_LIMIT = 10_000;

/**
 * A path as a pattern that matches only itself: `\` is an escape only in a pattern with a wildcard (rsync(1)).
 * A line end, which only a mount point's name can have, would begin a rule of its own: `?` stands for it.
 */
export function literalPattern(path: string): string {
  if (!/[*?[\n\r]/.test(path)) return path;
  return path.replace(/[\\*?[]/g, '\\$&').replace(/[\n\r]/g, '?');
}

/** What the filter is made of. */
export interface Scope {
  roots: string[];
  /** Absolute paths that are kept back with all below them. */
  never: string[];
  /** Patterns of the exclude list. */
  excludes: string[];
  /** Folders that are stored, and nothing below them (client/mount-points.ts). */
  empty?: string[];
}

/**
 * The filter file: every line begins with `- ` or `+ `, so that no pattern can be read as a rule.
 *
 * Each name that is kept back stands there twice, with and without `/**`: a peer's merge rule is checked against the
 * file's own name only, not against its parents (rsync 3.5.0, exclude.c, parse_filter_file), and would otherwise have
 * a file below an excluded folder read as rules.
 *
 * The first line excludes the module's path: it keeps a peer's merge rules from reading any file at all (MODULE_PATH).
 */
export function scopeFilter(scope: Scope): string {
  const lines = [`- ${MODULE_PATH}/**`];
  for (const path of scope.never) {
    const exact = literalPattern(path);
    // A rule that is too long rsync leaves out; with `?` for each mark it fits, and a few neighbours stay behind too.
    const pattern = Buffer.byteLength(exact) <= PATH_LIMIT - 3 ? exact : path.replace(/[\\*?[\n\r]/g, '?');
    lines.push(`- ${pattern}`, `- ${below(pattern)}`);
  }
  for (const path of scope.empty ?? []) lines.push(`- ${below(literalPattern(path))}`);
  for (const pattern of scope.excludes) {
    lines.push(`- ${pattern}`);
    // `**/` and `*/` mean all folders: what is below them is kept back with them, and files beside them are not.
    if (!/(?:^|\/)\*+\/$/.test(pattern)) lines.push(`- ${below(pattern)}`);
  }
  if (!scope.roots.includes('/')) {
    const ancestors = new Set<string>();
    for (const root of scope.roots) {
      for (let at = parent(root); at !== '/'; at = parent(at)) ancestors.add(at);
    }
    for (const folder of [...ancestors].sort()) lines.push(`+ ${literalPattern(folder)}/`);
    for (const root of scope.roots)
      lines.push(`+ ${literalPattern(root)}`, `+ ${below(literalPattern(root))}`);
    lines.push('- /**');
  }
  return lines.map(line => `${line}\n`).join('');
}

/**
 * The scope as the launcher reads it: records with a NUL behind each. The kernel keeps to roots and `never` whatever names
 * a file has; excludes are by name and stand in the filter alone.
 * @param scope `empty`: mount points, which are kept back by their name and not looked at; they come first, so that no root on
 *   one of them is
 * @param libraries what rsync is loaded with, to be read besides
 * @param listsAll whether this rsync must be able to list folders outside of the roots too (client/trial.ts)
 */
export function scopeRecords(
  scope: Pick<Scope, 'roots' | 'never' | 'empty'>,
  libraries: string[],
  listsAll = false,
): string {
  return [
    ...(scope.empty ?? []).map(path => `mount ${path}`),
    ...scope.roots.map(path => `root ${path}`),
    ...scope.never.map(path => `never ${path}`),
    ...libraries.map(path => `library ${path}`),
    ...(listsAll ? ['list /'] : []),
  ]
    .map(record => `${record}\0`)
    .join('');
}

/**
 * The folders whose children the launcher grants one by one, since a `never` is somewhere below. A file that is put in the
 * place of another one there, while a run is on, cannot be read in that run.
 */
export function enumeratedFolders(scope: Pick<Scope, 'roots' | 'never' | 'empty'>): string[] {
  const found = new Set<string>();
  for (const path of [...scope.never, ...(scope.empty ?? [])]) {
    if (path === '/') continue;
    for (let at = parent(path); ; at = parent(at)) {
      if (scope.roots.some(root => isWithin(root, at))) found.add(at);
      if (at === '/') break;
    }
  }
  return [...found].sort();
}

/** A pattern for all that is below what `pattern` matches. */
function below(pattern: string): string {
  const folder = pattern.replace(/\/+$/, '');
  // `**` makes it a pattern with a wildcard, in which a backslash must be escaped.
  return `${/[*?[]/.test(folder) ? folder : folder.replaceAll('\\', '\\\\')}/**`;
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}
