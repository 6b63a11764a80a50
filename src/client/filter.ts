/**
 * The scope as text: the filter file of the rsync daemon, and the records for the launcher. Pure: it does not touch the machine.
 *
 * The daemon checks every name against its filter, the first match wins, and no peer can add to the filter or clear it. So the
 * order of its lines is the policy: `never` and foreign file systems, then the excludes, then the roots, then "exclude all".
 */
import { Fault } from '../fault.ts';
import { asBytes, parentOf } from '../os/byte-path.ts';
import { isWithin, type MountEntry } from '../os/mounts.ts';
import { below, literalPattern } from '../wire/filter-pattern.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { MODULE_PATH } from '../wire/rsync.ts';

/** File systems without files of users: to read them is useless, or harmful (devices, secrets). */
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
/** File systems that are never read, whatever `mounts` says (docs/design.md, `never`). */
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
/** File systems of another machine, which has its own backup. */
const NETWORK =
  /^(9p|afs|beegfs|ceph|cifs|coda|fuse\.(ceph|glusterfs|s3fs|sshfs|rclone)|gfs2?|glusterfs|lustre|ncpfs|nfs4?|ocfs2|smb3?|smbfs|virtiofs)$/;

/** Whether the kernel itself serves a file system, without a server, a program or a disk. */
export function isKernelsOwn(type: string): boolean {
  return PSEUDO.has(type);
}

/** Whether a call on a file system may never return, because a server or a program must answer it. */
export function canHang(type: string): boolean {
  return NETWORK.test(type) || /^fuse(?:blk|$|\.)/.test(type) || type === 'autofs';
}

/**
 * Chooses the mount points that are left out. All paths are bytes (os/byte-path.ts).
 * @param mode `local`: pseudo and network file systems; `one`: every mount below a root; `all`: only devices, proc, sysfs
 *   and the like
 * @param roots a root that is such a mount point itself is backed up, unless its file system is never read
 * @returns sorted
 */
export function mountsLeftOut(
  mounts: readonly MountEntry[],
  mode: 'local' | 'all' | 'one',
  roots: readonly string[],
): string[] {
  // A later mount at the same path hides the earlier one. So an automount point counts as the file system mounted on it.
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

/** One pattern of an exclude list. */
export interface Exclude {
  pattern: string;
  /** Its place, for messages: `line 3 of "FILE"`. */
  where: string;
  /** It matches no folder whose entries a run would have to hide too: a file, or everything in a folder. */
  isLeaf?: boolean;
}

/**
 * Parses an exclude list: a pattern a line (rsync(1), PATTERN MATCHING RULES), with an optional `- ` before it. Empty lines and
 * lines that begin with `#` or `;` are comments.
 * @param source names the list in a fault
 * @param home the account's home folder, for patterns that begin with `~/`; undefined: such patterns stay as they are
 * @throws Fault that names the line. Rules of another kind (`+`, `!`, `:`, `.`, merge files) are refused: they could open the
 *   scope or read other files
 */
export function parseExcludes(lines: string[], source: string, home?: string): Exclude[] {
  const patterns: Exclude[] = [];
  for (const [index, raw] of lines.entries()) {
    const where = `line ${index + 1} of ${source}`;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    const hasControl = /[\u0000-\u0008\u000a-\u001f\u007f]/.test(raw);
    if (!hasControl && (/^\s*$/.test(raw) || /^[#;]/.test(raw))) continue;
    const written = raw.startsWith('- ') ? raw.slice(2) : raw;
    const pattern = home === undefined ? written : expandHome(written, home);
    const wrong = hasControl ? 'it has a control character or a line break in it' : checkPattern(pattern);
    if (wrong === undefined) {
      patterns.push({ pattern, where });
      continue;
    }
    const next =
      wrong === FILTER_RULE ? "a name that looks like one is written with a wildcard: '[+] name'" : undefined;
    throw new Fault({ tried: `use ${where}`, found: wrong, exit: 'usage', ...(next ? { next } : {}) });
  }
  refuseTooMany(patterns, source);
  return patterns;
}

/** Refuses more patterns than a run takes. @param source as for `parseExcludes()`, or all lists together */
export function refuseTooMany(patterns: readonly Exclude[], source: string): void {
  if (patterns.length <= EXCLUDES_LIMIT) return;
  throw new Fault({ tried: `use ${source}`, found: `more than ${EXCLUDES_LIMIT} patterns`, exit: 'usage' });
}

/** The two lists of patterns that `scopeFilter()` takes. */
export function splitExcludes(excludes: readonly Exclude[]): Required<Pick<Scope, 'excludes' | 'leaves'>> {
  const { whole = [], leaf = [] } = Object.groupBy(excludes, each => (each.isLeaf ? 'leaf' : 'whole'));
  return { excludes: whole.map(each => each.pattern), leaves: leaf.map(each => each.pattern) };
}

const FILTER_RULE = 'it is a filter rule, and only exclude patterns are allowed';

/** @returns why a pattern is refused; undefined where it is accepted */
function checkPattern(pattern: string): string | undefined {
  if (pattern === '') return 'it has no pattern after the dash';
  if (/^\/+$|\/\/$/.test(pattern)) return 'it ends in slashes, so rsync would match it with nothing';
  const idle = whyNoMatch(pattern);
  if (idle !== undefined) return `it cannot match anything: ${idle}`;
  if (/[*?[]/.test(pattern) && /(?<!\\)(?:\\\\)*\\$/.test(pattern))
    return 'it ends in a backslash, which escapes nothing';
  if (/^!\s*$|^[-+:.]C$|^[-+:.][-+,!/CserpxnwR]*\s/.test(pattern)) return FILTER_RULE;
  if (Buffer.byteLength(pattern) > PATTERN_LIMIT) return `it is longer than ${PATTERN_LIMIT} bytes`;
  return undefined;
}

/** @returns why no name in a backup can match; undefined where one can. rsync compares with names in their shortest form */
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

/** Whether the bracket of a wildcard is not closed; then rsync matches no name (lib/wildmatch.c). */
function hasOpenBracket(pattern: string): boolean {
  const member = String.raw`\[:[^\]]*:\]|\\.|\[(?!:[^\]]*:\])|[^\]\\[]`;
  const bracket = new RegExp(String.raw`\\.|\[(?:[!^]|(?![!^]))(?:\]|${member})(?:${member})*\]|(\[)`, 'g');
  return [...pattern.matchAll(bracket)].some(found => found[1] !== undefined);
}

/** Replaces `~`, `$HOME` or `${HOME}` at the beginning of a pattern, which rsync does not expand. @param home bytes */
function expandHome(pattern: string, home: string): string {
  const found = /^(?:~|\$HOME|\$\{HOME\})(?=\/)/.exec(pattern)?.[0];
  if (found === undefined) return pattern;
  const rest = pattern.slice(found.length);
  // A backslash escapes only in a pattern with a wildcard.
  return /[*?[]/.test(home + rest) ? home.replace(/[\\*?[]/g, '\\$&') + rest : home + rest;
}

const PATTERN_LIMIT = 2000; // rsync reads lines of 4096 bytes (MAXPATHLEN)
const EXCLUDES_LIMIT = 10_000;

/** The lists that the filter is made from. Paths are bytes (os/byte-path.ts). */
interface Scope {
  roots: string[];
  /** Paths that are kept back, with everything below them. */
  never: string[];
  /** Patterns of the exclude list. */
  excludes: string[];
  /** Further ones, which match no folder whose entries must be hidden too. */
  leaves?: string[];
  /** Folders that are stored with their tag only (client/tagged.ts). */
  tagged?: readonly { path: string; tag: string }[];
  /** Folders that are stored without anything below them (client/mount-points.ts). */
  empty?: string[];
}

/**
 * Writes the filter file. Every line begins with `- ` or `+ `, so that rsync cannot read a pattern as another rule.
 *
 * Each path that is kept back has two lines, one with `/**`. rsync checks the merge rule of a peer only against the name of the
 * file itself, not against its parents (rsync 3.5.0, exclude.c, parse_filter_file). With one line it would read a file below an
 * excluded folder as rules.
 *
 * The first line excludes the path of the module. It keeps the merge rules of a peer from reading any file (MODULE_PATH).
 */
export function scopeFilter(scope: Scope): string {
  const lines = [`- ${MODULE_PATH}/**`];
  for (const path of scope.never) {
    const exact = literalPattern(path);
    // rsync skips a rule that is too long. With `?` for each special character it fits, and hides a few more names.
    const pattern = Buffer.byteLength(exact) <= PATH_LIMIT - 3 ? exact : path.replace(/[\\*?[\n\r]/g, '?');
    lines.push(`- ${pattern}`, `- ${below(pattern)}`);
  }
  for (const path of scope.empty ?? []) lines.push(`- ${below(literalPattern(path))}`);
  // One line each: a wildcard costs rsync five times as much as a plain name, and `packages` writes thousands of patterns.
  for (const pattern of scope.leaves ?? []) lines.push(`- ${pattern}`);
  for (const pattern of scope.excludes) {
    lines.push(`- ${pattern}`);
    // `**/` and `*/` mean all folders. Everything below them is excluded with them; files beside them are not.
    if (!/(?:^|\/)\*+\/$/.test(pattern)) lines.push(`- ${below(pattern)}`);
  }
  for (const { path, tag } of scope.tagged ?? []) {
    const folder = path === '/' ? '' : path;
    lines.push(`+ ${literalPattern(`${folder}/${asBytes(tag)}`)}`, `- ${below(literalPattern(path))}`);
  }
  if (!scope.roots.includes('/')) {
    const ancestors = new Set<string>();
    for (const root of scope.roots) {
      for (let at = parentOf(root); at !== '/'; at = parentOf(at)) ancestors.add(at);
    }
    for (const folder of [...ancestors].sort()) lines.push(`+ ${literalPattern(folder)}/`);
    for (const root of scope.roots)
      lines.push(`+ ${literalPattern(root)}`, `+ ${below(literalPattern(root))}`);
    lines.push('- /**');
  }
  return lines.map(line => `${line}\n`).join('');
}

/**
 * Writes the scope for the launcher: records, each with a NUL behind it. The kernel enforces roots and `never` for every name of
 * a file. Excludes are names, so only the filter has them.
 * @param scope `empty`: mount points that are kept back by name and not looked at. They come first, so that a root on one of
 *   them is not looked at either
 * @param libraries the shared libraries of rsync, which it must be able to read
 * @param listsAll whether this rsync must list folders outside of the roots too (client/trial.ts)
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
 * Finds the folders whose children the launcher grants one by one, because a `never` is somewhere below. A file that is replaced
 * there during a run cannot be read in that run.
 * @returns sorted
 */
export function enumeratedFolders(scope: Pick<Scope, 'roots' | 'never' | 'empty'>): string[] {
  const found = new Set<string>();
  for (const path of [...scope.never, ...(scope.empty ?? [])]) {
    if (path === '/') continue;
    for (let at = parentOf(path); ; at = parentOf(at)) {
      if (scope.roots.some(root => isWithin(root, at))) found.add(at);
      if (at === '/') break;
    }
  }
  return [...found].sort();
}
