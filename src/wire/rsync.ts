/** rsync's command lines and its daemon's config. */
import type { Parsed } from '../fault.ts';

/** The priority of a program: nice(1)'s number and ionice(1)'s class. */
export interface Niceness {
  /** 0 to 19. */
  nice: number;
  /** null: unchanged. `level`: 0 to 7. */
  ionice: { class: 'idle' } | { class: 'best-effort'; level: number } | null;
}

/** The only command that the gate accepts from a host, byte for byte. */
const ALLOWED = /^(?:nice -n(\d|1\d) )?(?:ionice -c(?:(3)|2(?: -n([0-7]))?) )?rsync --server --daemon \.$/;
const IONICE = / ?ionice -c/;
const DEFAULT_LEVEL = 4; // ionice(1)

/**
 * Parses SSH_ORIGINAL_COMMAND.
 * @returns the requested priority, or why the command is refused
 */
export function parseGateCommand(command: string | undefined): Parsed<Niceness> {
  if (command === undefined) return { reason: 'a login was asked for' };
  const found = ALLOWED.exec(command);
  if (!found) return { reason: 'something else than rsync as a daemon was asked for' };
  const [, nice, idle, level] = found;
  const ionice: Niceness['ionice'] = idle
    ? { class: 'idle' }
    : IONICE.test(command)
      ? { class: 'best-effort', level: level === undefined ? DEFAULT_LEVEL : Number(level) }
      : null;
  return { value: { nice: Number(nice ?? 0), ionice } };
}

/** The lower priority of two, for CPU and I/O separately: a host can only lower the priority that the client has set. */
export function nicer(one: Niceness, other: Niceness): Niceness {
  const rank = (ionice: Niceness['ionice']): number =>
    ionice === null ? -1 : ionice.class === 'idle' ? 8 : ionice.level;
  return {
    nice: Math.max(one.nice, other.nice),
    ionice: rank(one.ionice) >= rank(other.ionice) ? one.ionice : other.ionice,
  };
}

/** ionice(1)'s arguments, or undefined if the class stays unchanged. */
export function ioniceArguments(ionice: Niceness['ionice']): string[] | undefined {
  if (ionice === null) return undefined;
  return ionice.class === 'idle' ? ['-c3'] : ['-c2', `-n${ionice.level}`];
}

/** The one module that the daemon serves. */
export const MODULE = 'root';
/**
 * Another name of `/`, as the module's path. With `/` itself some versions of rsync fail to open any file and report EINVAL: 3.4.3,
 * and distributions' backports of its fix for CVE-2026-29518 (RsyncProject/rsync issue 897, fixed in 3.4.4). rsync before 3.5.0
 * prefixes a peer's merge file with this path when it looks the file up in the filter (CVE-2026-53786). Rules of the scope would
 * not match such a path, so the filter's first line excludes everything below it (client/filter.ts).
 */
export const MODULE_PATH = '/proc/self/root';

/** The options that a backup needs. The daemon refuses all others with `*`. */
export const NEEDED = [
  'archive',
  'recursive',
  'links',
  'perms',
  'times',
  'owner',
  'group',
  'devices',
  'specials',
  'hard-links',
  'acls',
  'xattrs',
  'sparse',
  'relative',
  'numeric-ids',
  'timeout',
  'bwlimit',
  'verbose',
  'no-msgs2stderr', // see pullArguments()
];
/** Options that a backup does not need, and that `*` does not cover (rsync's options.c, set_refuse_options). */
const NOT_BY_WILDCARD = ['secluded-args', 'protect-args', 'from0', 'log-format', 'checksum-seed', 'iconv'];

/**
 * rsyncd.conf(5) for the client's daemon.
 * @param options.filter the file with the scope's rules
 * @param options.idleSeconds the daemon's timeout
 * @param options.confined it runs in the launcher's jail, where it can neither write a file nor reach syslog
 * @param options.checksum this run may compare contents, for which it reads all files
 * @param options.compress it may compress, which costs CPU time here; the host cannot choose the level (`compress-level`)
 */
export function daemonConfig(options: {
  filter: string;
  idleSeconds: number;
  confined: boolean;
  checksum?: boolean;
  compress?: boolean;
}): string {
  const needed = [
    ...NEEDED,
    ...(options.checksum ? ['checksum'] : []),
    ...(options.compress ? ['compress', 'compress-choice'] : []),
  ];
  return moduleConfig({ ...options, path: MODULE_PATH, needed, more: [] });
}

/**
 * rsyncd.conf(5) for a daemon with one module that is only read.
 * @param options.path the module's folder
 * @param options.needed the options that its peer may use
 * @param options.more further lines for the module
 */
export function moduleConfig(options: {
  path: string;
  filter: string;
  idleSeconds: number;
  confined: boolean;
  needed: readonly string[];
  more: readonly string[];
}): string {
  return [
    ...(options.confined ? [] : ['log file = /dev/null']), // the default is syslog; our journal has the grant
    'pid file =',
    'use chroot = no', // needs root; the filter and the launcher's jail enforce the scope
    'munge symlinks = no', // back up symlinks as they are
    'open noatime = no', // needs the owner or CAP_FOWNER: without them EPERM and an empty backup
    'max verbosity = 1', // -vv would print the excludes
    'reverse lookup = no', // no DNS queries
    'dont compress =', // compress files with all suffixes
    `timeout = ${options.idleSeconds}`,
    `[${MODULE}]`,
    `path = ${options.path}`,
    'read only = yes', // the server refuses to be a receiver
    'list = no',
    'max connections = 0', // a limit would want a lock file
    `exclude from = ${options.filter}`, // the daemon's own list, which a peer cannot clear
    `refuse options = * ${options.needed.map(name => `!${name}`).join(' ')} ${NOT_BY_WILDCARD.join(' ')}`,
    ...options.more,
  ]
    .join('\n')
    .concat('\n');
}

/** The daemon's arguments. @param bwlimitKib KiB per second, 0 for no limit; a peer can only ask for less */
export function daemonArguments(config: string, bwlimitKib: number): string[] {
  const limit = bwlimitKib > 0 ? [`--bwlimit=${bwlimitKib}`] : [];
  return ['--server', '--daemon', `--config=${config}`, ...limit, '.'];
}

/** The command that the host's ssh sends to the gate. */
export const DAEMON_REQUEST = 'rsync --server --daemon .';

/**
 * Compares times in nanoseconds. Without it rsync compares seconds. Then it misses a change of a file within the second of its last
 * backup. And if a folder changes within the second of the backup, its time becomes slightly wrong (measured, rsync 3.5.0).
 */
export const NANOSECONDS = '--modify-window=-1';

/**
 * A fake-super tree stores `security.capability` as `user.rsync.security.capability`, and a restore converts it back. Any user of the
 * client can write the latter on a file of theirs, and root's restore would turn it into a capability (measured, rsync 3.5.0). So
 * the sender must exclude it. With an xattr filter rsync no longer excludes `system.` itself; -A transfers ACLs. A pattern with one
 * asterisk matches only the part of a name after the last slash.
 */
const NO_DISGUISE = ['--filter=-xs user.rsync.**', '--filter=-x system.**'];

/**
 * A fake-super tree stores ACLs in these two attributes. rsync sets a folder's attributes twice. The second time it removes each
 * attribute that the client's folder does not have (xattrs.c, rsync_xal_set()), and of its own attributes it keeps only `%stat`. It
 * does not set the ACL again, so a folder with an ACL and another attribute lost the ACL (measured, rsync 3.5.0). A receiver's rule
 * protects the two from that removal; rsync updates ACLs in another place (acls.c).
 */
const KEEPS_ACLS = ['--filter=-xr user.rsync.%aacl', '--filter=-xr user.rsync.%dacl'];

/** Since rsync 3.5.0: open each path with one call, not folder by folder. Older versions always do, and do not know the option. */
export const INSECURE_LINKS = '--insecure-links';

/** Options of the host's pull. */
interface PullOptions {
  roots: string[];
  /** A fresh, empty folder. */
  tree: string;
  /** Finished or interrupted trees to link against, best first; rsync accepts 20. */
  linkDests: string[];
  /** The remote shell, for rsync's -e. */
  shell: string;
  /** Whether to pass `--insecure-links`: rsync runs in the launcher's jail, and knows the option. */
  insecureLinks: boolean;
  idleSeconds: number;
  dryRun: boolean;
  /** Whether rsync compares the content of files, not only size and time. */
  checksum: boolean;
  /** Whether to compress, at rsync's default level. */
  compress: boolean;
  /** In bytes: rsync skips larger files, whatever older snapshots have of them. */
  maxSize: number;
}

/**
 * The timeout of a run that compares contents: it is silent while it reads a large file. ssh still notices a lost connection.
 */
export const CHECKSUM_IDLE_SECONDS = 6 * 3600;

/** rsync's arguments on the host. */
export function pullArguments(options: PullOptions): string[] {
  return [
    '-aHAXS', // archive, hard links, ACLs, xattrs, sparse files
    '--numeric-ids', // store the client's numbers: its names have no meaning here
    '--fake-super', // store owners and devices in xattrs of plain files, which needs no privilege
    '--relative', // each root at its own path
    NANOSECONDS,
    ...NO_DISGUISE,
    ...KEEPS_ACLS,
    '--partial', // keep an incomplete file, so that the next run continues it
    // The sender reports unreadable files over the protocol, so all reports arrive before rsync exits. rsync before 3.2.3 does
    // not know the newer name, --stderr=client.
    '-M--no-msgs2stderr',
    '--stats',
    '--no-human-readable', // plain numbers
    '--info=progress2,skip1', // skip1: the names of files that are too large
    `--max-size=${options.maxSize}`, // the receiver decides; the option does not reach the client's rsync
    '--out-format=%i %l', // the change of each entry and its size; we do not need names
    `--timeout=${options.idleSeconds}`,
    // No xattrs: a dry run would copy those of a basis' folders to folders that do not exist (rsync 3.5.0).
    ...(options.dryRun ? ['--dry-run', '--no-xattrs'] : []),
    ...(options.checksum ? ['--checksum'] : []),
    ...(options.compress ? ['--compress-choice=zstd'] : []), // implies --compress
    // rsync then opens each path with one call instead of checking each folder for symlinks: 2.2 times as fast. It is safe only
    // in the jail, whose Landlock rules hold wherever a symlink leads.
    ...(options.insecureLinks ? [INSECURE_LINKS] : []),
    ...options.linkDests.map(path => `--link-dest=${path}`),
    '-e',
    options.shell,
    '--',
    ...options.roots.map(root => `client::${MODULE}${asArgument(root, options.roots)}`),
    `${options.tree}/`,
  ];
}

/**
 * rsync's arguments for a trial of the sender (client/trial.ts): one file, named in the same form as the roots of a backup. It sets no
 * attributes, so that it works with a state folder on any file system.
 */
export function trialArguments(options: { file: string; tree: string; shell: string }): string[] {
  const { file, tree, shell } = options;
  return [
    '--relative',
    '-M--no-msgs2stderr',
    '-e',
    shell,
    '--',
    `client::${MODULE}${asArgument(file, [])}`,
    `${tree}/`,
  ];
}

/** The fields of a line of a list, for rsync's --out-format (wire/listing.ts). rsync writes times in the local time zone. */
const LIST_FORMAT = '%i %l %U %B %M %f';

/**
 * rsync's arguments for a list of a scope, without content (client/scope-list.ts). It is the dry run of a pull, because --list-only
 * does not tell which names are hard links.
 * @param options.roots paths in the scope
 * @param options.tree an empty folder
 * @param options.more further arguments, such as filter rules
 */
export function listArguments(options: {
  roots: readonly string[];
  tree: string;
  shell: string;
  idleSeconds: number;
  more?: readonly string[];
}): string[] {
  const { roots, tree, shell, idleSeconds, more = [] } = options;
  return [
    '--dry-run',
    '-aH',
    '--numeric-ids',
    '--relative',
    '-M--no-msgs2stderr',
    `--out-format=${LIST_FORMAT}`,
    `--timeout=${idleSeconds}`,
    ...more,
    '-e',
    shell,
    '--',
    ...roots.map(root => `client::${MODULE}${asArgument(root, [...roots])}`),
    `${tree}/`,
  ];
}

/**
 * rsync's arguments for copies of some small files of the scope, which only this account can read.
 * @param options.maxSize in bytes; larger files are not copied
 */
export function copyArguments(options: {
  paths: readonly string[];
  tree: string;
  shell: string;
  idleSeconds: number;
  maxSize: number;
}): string[] {
  const { paths, tree, shell, idleSeconds, maxSize } = options;
  return [
    '--relative',
    '--perms',
    '--chmod=D700,F600',
    '-M--no-msgs2stderr',
    `--max-size=${maxSize}`,
    `--timeout=${idleSeconds}`,
    '-e',
    shell,
    '--',
    ...paths.map(path => `client::${MODULE}${asArgument(path, [...paths])}`),
    `${tree}/`,
  ];
}

const WILD = /[*?[]/;

/**
 * A root as an argument. The daemon takes a name with one of `*?[` for a pattern and lists the folder of the name. If it may not
 * list it, or if no entry in the scope matches, it uses the name as written. So a root is best passed as written. Only if that does
 * not work (`asksByPattern()`), the argument is a pattern with `?` in place of each such character. With backslashes before them the
 * receiver could reject the files (rsync 3.2.7 to 3.5.1).
 */
export function asArgument(root: string, roots: string[]): string {
  if (!asksByPattern(root, roots)) return root;
  return root
    .split('/')
    .map(name => (WILD.test(name) || isMisread(name) ? name.replace(/[\\*?[]/g, '?') : name))
    .join('/');
}

/** The receiver drops a backslash before `]` in a name without a wildcard, and rsync 3.2.7 one at the end (add_implied_include). */
const isMisread = (name: string): boolean => /\\(?:\]|$)/.test(name);

/**
 * Whether a root must be passed as a pattern, for which the sender must be able to list the folders above it. There are three
 * cases:
 * - a wildcard in the name of a folder above: rsync reads that folder
 * - a backslash beside a wildcard, or in a place where rsync misreads it
 * - a `[…]` that could match another root
 */
function asksByPattern(root: string, roots: string[]): boolean {
  const names = root.split('/');
  const last = names.pop() ?? '';
  if (names.some(name => WILD.test(name)) || [...names, last].some(isMisread)) return true;
  if (!WILD.test(last)) return false;
  if (last.includes('\\')) return true;
  const beginning = root.slice(0, root.search(WILD));
  return /\[.*\]/.test(last) && roots.some(each => each !== root && each.startsWith(beginning));
}

/** The roots whose parent folders the sender must be able to list. With `/` as a root it may list all folders anyway. */
export function listedRoots(roots: string[]): string[] {
  return roots.includes('/') ? [] : roots.filter(root => asksByPattern(root, roots));
}
