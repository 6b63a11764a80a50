/** rsync's command line, both ways, in one table; and what rsync says, understood. */
import type { Parsed } from '../fault.ts';
import type { Missing, Unstored } from './events.ts';
import { PATH_LIMIT } from './request.ts';
import { jsonName } from './text.ts';

/** How nicely a program runs: nice(1)'s number and ionice(1)'s class. */
export interface Niceness {
  /** 0 to 19. */
  nice: number;
  /** null: as it is. `level` 0 to 7, only for best-effort. */
  ionice: { class: 'idle' } | { class: 'best-effort'; level: number } | null;
}

/** What a host may ask the gate for: this, byte for byte, with nothing before, between or behind. */
const ALLOWED = /^(?:nice -n(\d|1\d) )?(?:ionice -c(?:(3)|2(?: -n([0-7]))?) )?rsync --server --daemon \.$/;
const IONICE = / ?ionice -c/;
const DEFAULT_LEVEL = 4; // ionice(1)

/**
 * Reads SSH_ORIGINAL_COMMAND.
 * @returns how nicely rsync was asked for, or why this is refused
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

/** The nicer of two in both respects: the client's limits are a floor, the host may only ask for nicer. */
export function nicer(one: Niceness, other: Niceness): Niceness {
  const rank = (ionice: Niceness['ionice']): number =>
    ionice === null ? -1 : ionice.class === 'idle' ? 8 : ionice.level;
  return {
    nice: Math.max(one.nice, other.nice),
    ionice: rank(one.ionice) >= rank(other.ionice) ? one.ionice : other.ionice,
  };
}

/** ionice(1)'s arguments for a class, or undefined for none. */
export function ioniceArguments(ionice: Niceness['ionice']): string[] | undefined {
  if (ionice === null) return undefined;
  return ionice.class === 'idle' ? ['-c3'] : ['-c2', `-n${ionice.level}`];
}

/** The one module that the daemon serves. */
export const MODULE = 'root';
/**
 * The module's path is `/`, by another name. With the name `/` some rsyncs open no file at all and report EINVAL: 3.4.3 and
 * distributions' backports of its fix for CVE-2026-29518 (RsyncProject/rsync issue 897, fixed in 3.4.4). rsync before 3.5.0
 * puts this path in front of a peer's merge file when it looks that file up in the filter (CVE-2026-53786), so no rule of
 * the scope would match. The filter's first line therefore excludes everything below it (client/filter.ts).
 */
export const MODULE_PATH = '/proc/self/root';

/** The options that a backup needs; the daemon refuses all others by `*`. */
const NEEDED = [
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
/** Options that `*` passes over (rsync's options.c, set_refuse_options) and no backup needs. */
const NOT_BY_WILDCARD = ['secluded-args', 'protect-args', 'from0', 'log-format', 'checksum-seed', 'iconv'];

/**
 * rsyncd.conf(5) for the client's side.
 * @param filter the file with the scope's rules
 * @param idleSeconds after this long without a byte the daemon ends
 * @param confined whether it runs in the launcher's jail, where nothing can be opened for writing, and syslog not be reached
 * @param checksum whether this run, and no other, may compare contents: all files are read for it
 * @param compress whether it may compress: that costs this machine's processor. Not how hard: `compress-level` stays refused
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
  return [
    ...(options.confined ? [] : ['log file = /dev/null']), // else syslog; the grant stands in our journal
    'pid file =',
    'use chroot = no', // needs root; the scope is kept by the filter, and by the kernel once the launcher is there
    'munge symlinks = no', // links are backed up as they are
    'open noatime = no', // needs the owner or CAP_FOWNER: without them EPERM and an empty backup
    'max verbosity = 1', // -vv would print the excludes
    'reverse lookup = no', // no name service on our behalf
    'dont compress =', // rsync's own list of suffixes is for module owners who know their files
    `timeout = ${options.idleSeconds}`,
    `[${MODULE}]`,
    `path = ${MODULE_PATH}`,
    'read only = yes', // the server refuses to be a receiver
    'list = no',
    'max connections = 0', // a limit would want a lock file
    `exclude from = ${options.filter}`, // a list of the daemon's own that no peer can clear
    `refuse options = * ${needed.map(name => `!${name}`).join(' ')} ${NOT_BY_WILDCARD.join(' ')}`,
  ]
    .join('\n')
    .concat('\n');
}

/** The daemon's arguments. @param bwlimitKib KiB a second, 0 for no limit; a peer can only ask for less */
export function daemonArguments(config: string, bwlimitKib: number): string[] {
  const limit = bwlimitKib > 0 ? [`--bwlimit=${bwlimitKib}`] : [];
  return ['--server', '--daemon', `--config=${config}`, ...limit, '.'];
}

/** What ssh asks the gate for: the daemon, over the connection. */
export const DAEMON_REQUEST = 'rsync --server --daemon .';

/**
 * Times are compared to the nanosecond, and set where they differ by one. Without it rsync compares seconds: it takes a
 * file for unchanged that was changed within the second of its last backup, and leaves a folder's time a little off
 * when the folder was changed within the second in which it is backed up (measured, rsync 3.5.0).
 */
export const NANOSECONDS = '--modify-window=-1';

/**
 * A fake-super tree keeps `security.capability` as `user.rsync.security.capability`, and gives it back as the former. Any
 * user of the client can write the latter on a file of his: unless the sender keeps it back, root's restore would make it
 * a capability (measured, rsync 3.5.0). With a filter for xattrs rsync no longer leaves out `system.` by itself; ACLs go by
 * -A. With one asterisk a pattern is compared with what follows the last slash of a name alone.
 */
const NO_DISGUISE = ['--filter=-xs user.rsync.**', '--filter=-x system.**'];

/**
 * A fake-super tree keeps ACLs as these two. rsync sets a folder's attributes twice. The second time it removes each attribute that the
 * client's folder does not have (xattrs.c, rsync_xal_set()), and of its own it spares `%stat` alone. It takes the ACL for set by then: a
 * folder with an ACL and an attribute lost the ACL (measured, rsync 3.5.0). A receiver's rule keeps them from being removed so; what
 * becomes of ACLs is done elsewhere (acls.c).
 */
const KEEPS_ACLS = ['--filter=-xr user.rsync.%aacl', '--filter=-xr user.rsync.%dacl'];

/** Since rsync 3.5.0: open each path at once, not folder by folder. Older ones always do, and do not know the option. */
export const INSECURE_LINKS = '--insecure-links';

/** The host's pull. */
export interface PullOptions {
  roots: string[];
  /** A fresh, empty folder. */
  tree: string;
  /** Finished or interrupted trees to link against, best first; rsync takes 20. */
  linkDests: string[];
  /** The remote shell, as rsync's -e wants it. */
  shell: string;
  /** Whether to pass `--insecure-links`: rsync runs in the launcher's jail, and knows the option. */
  insecureLinks: boolean;
  idleSeconds: number;
  dryRun: boolean;
  /** Whether files are compared by their content, and not by size and time alone. */
  checksum: boolean;
  /** Whether what is sent is compressed, at rsync's usual level. */
  compress: boolean;
  /** Bytes: a larger file is left out, whatever the snapshots before have of it. */
  maxSize: number;
}

/** Whether an rsync can compress with zstd. @param version what `rsync --version` says: a list of names, the best first */
export function knowsZstd(version: string): boolean {
  return /^Compress list:\n +(?:\S+ )*zstd\b/m.test(version);
}

/**
 * A run that compares contents may be silent for as long as one file takes to be read; ssh sees to it that a peer that has
 * gone ends it all the same.
 */
export const CHECKSUM_IDLE_SECONDS = 6 * 3600;

/** rsync's arguments on the host. */
export function pullArguments(options: PullOptions): string[] {
  return [
    '-aHAXS', // archive, hard links, ACLs, xattrs, holes
    '--numeric-ids', // the client's numbers; its names mean nothing here
    '--fake-super', // owners and devices as xattrs of plain files: no privilege needed
    '--relative', // each root at its own path
    NANOSECONDS,
    ...NO_DISGUISE,
    ...KEEPS_ACLS,
    '--partial', // a large file that half arrived is the next run's basis
    // The sender reports unreadable files over the protocol, so that all reports are here before rsync ends. rsync before
    // 3.2.3 does not know the newer name, --stderr=client.
    '-M--no-msgs2stderr',
    '--stats',
    '--no-human-readable', // plain numbers
    '--info=progress2,skip1', // skip1: the names of files that are too large
    `--max-size=${options.maxSize}`, // decided here: the client's rsync does not hear of it
    '--out-format=%i %l', // what was done to each name, and its length; names are not needed
    `--timeout=${options.idleSeconds}`,
    // Without xattrs: a dry run would copy those of a basis' folders to folders that are not there (rsync 3.5.0).
    ...(options.dryRun ? ['--dry-run', '--no-xattrs'] : []),
    ...(options.checksum ? ['--checksum'] : []),
    ...(options.compress ? ['--compress-choice=zstd'] : []), // says --compress too
    // Each of its paths is then opened at once, and not folder by folder against links: 2.2 times as fast. Only where no
    // link can lead out: the jail's Landlock rules hold whatever a name leads to.
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
 * rsync's arguments for a trial of the sender (client/trial.ts): one file, asked for in the same form as a backup's roots.
 * Attributes are not set, so that a state folder on any file system will do.
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

const WILD = /[*?[]/;

/**
 * A root as an argument. In a name with one of `*?[` the daemon sees a pattern and lists the folder that holds the name. If it
 * may not, or if nothing in the scope matches, it takes the name as written, which is therefore the best to ask for. Only
 * where that does not work (`asksByPattern`), the argument is a pattern with `?` in the place of each such character. With
 * backslashes before them the receiver could reject what comes (rsync 3.2.7 to 3.5.1).
 */
function asArgument(root: string, roots: string[]): string {
  if (!asksByPattern(root, roots)) return root;
  return root
    .split('/')
    .map(name => (WILD.test(name) || isMisread(name) ? name.replace(/[\\*?[]/g, '?') : name))
    .join('/');
}

/** Without a wildcard the receiver drops a backslash before `]`, and rsync 3.2.7's one at the end (add_implied_include). */
const isMisread = (name: string): boolean => /\\(?:\]|$)/.test(name);

/**
 * Whether a root has to be asked for by a pattern, so that the sender must be able to list the folders above it: it has a
 * wildcard in the name of a folder above (rsync then reads that folder), a backslash beside one or where it is misread, or a `[…]`,
 * by which it could match another root instead of itself.
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

/** The roots for which the sender must be able to list folders above them. With the whole machine as a root it may already. */
export function listedRoots(roots: string[]): string[] {
  return roots.includes('/') ? [] : roots.filter(root => asksByPattern(root, roots));
}

/**
 * A line of rsync's standard output that names a file which is larger than `--max-size`.
 * @returns the file, as one that is missing; undefined for any other line
 */
export function readOversized(line: string): Missing | undefined {
  const name = /^(.+) is over max-size$/.exec(line)?.[1];
  return name === undefined ? undefined : { path: pathOf(name), errno: EFBIG };
}

/** errno(3), File too large. */
const EFBIG = 27;

/** What a pull did, in numbers. */
export interface PullCounts {
  files: number;
  folders: number;
  bytes: number;
  /** What was sent of the files' content; of a compressed run, all that came, where that is less. */
  transferred_bytes: number;
  linked: number;
  new: number;
  content_changed: number;
  attributes_changed: number;
  /** Bytes in plain files that no older snapshot shares. */
  new_bytes: number;
}

/** A number that the client's rsync has a say in: a record and an event can hold it, however large it claims to be. */
function countOf(number: string | number | undefined): number {
  return Math.min(Number(number), Number.MAX_SAFE_INTEGER);
}

/** Reads rsync's standard output line by line (a carriage return ends a line too) and counts. */
export class PullReader {
  readonly counts: PullCounts = {
    files: 0,
    folders: 0,
    bytes: 0,
    transferred_bytes: 0,
    linked: 0,
    new: 0,
    content_changed: 0,
    attributes_changed: 0,
    new_bytes: 0,
  };
  progress: { bytes: number; percent: number } = { bytes: 0, percent: 0 };
  /** Names that rsync is done with, of those that it knows of; and whether these are all. Undefined before its first word. */
  reached: { done: number; total: number; isWhole: boolean } | undefined;
  /** Plain files in the client's list, and how many of them had content sent. */
  regularFiles = 0;
  sentFiles = 0;
  #linkedTwins = 0;
  /** Whether rsync has come as far as its statistics, which are the last that it does. */
  hasStatistics = false;

  /** Takes one line. */
  line(line: string): void {
    const item = /^([<>ch.])([fdLDS])(\S{9}) (\d+)$/.exec(line);
    if (item) this.#item(item[1] ?? '', item[2] ?? '', item[3] ?? '', countOf(item[4]));
    else this.#statistic(line);
    const { counts } = this;
    if (line.startsWith('Number of files: ')) this.hasStatistics = true;
    const fresh = counts.new + counts.content_changed + counts.attributes_changed + this.#linkedTwins;
    counts.linked = Math.max(0, counts.files - fresh);
  }

  #item(done: string, type: string, flags: string, length: number): void {
    if (type === 'd') return;
    // A hard link to a name of this same tree: no inode of its own.
    if (done === 'h') {
      this.#linkedTwins += 1;
      return;
    }
    if (flags.startsWith('+')) this.counts.new += 1;
    else if (done === '>' || /^[cs]/.test(flags.replace(/^\./, '')) || flags[1] === 's')
      this.counts.content_changed += 1;
    else this.counts.attributes_changed += 1;
    if (type === 'f') this.counts.new_bytes = countOf(this.counts.new_bytes + length);
  }

  #statistic(line: string): void {
    const progress = /^\s*(\d+)\s+(\d{1,3})%\s/.exec(line);
    if (progress) {
      // `ir`: the list of names still comes in (rsync(1), --info=progress2)
      const check = /\(xfr#\d+, (ir|to)-chk=(\d+)\/(\d+)\)\s*$/.exec(line);
      if (check) {
        const total = countOf(check[3]);
        const done = Math.max(0, total - countOf(check[2]));
        this.reached = { done, total, isWhole: check[1] === 'to' };
      }
      this.progress = { bytes: countOf(progress[1]), percent: Math.min(100, countOf(progress[2])) };
      return;
    }
    const files = /^Number of files: (\d+)(?: \((.*)\))?$/.exec(line);
    if (files) {
      this.counts.folders = countOf(/\bdir: (\d+)/.exec(files[2] ?? '')?.[1] ?? 0);
      this.counts.files = Math.max(0, countOf(files[1]) - this.counts.folders);
      this.regularFiles = countOf(/\breg: (\d+)/.exec(files[2] ?? '')?.[1] ?? 0);
      return;
    }
    const sent = /^Number of regular files transferred: (\d+)$/.exec(line)?.[1];
    if (sent !== undefined) this.sentFiles = countOf(sent);
    // The last of them; without compression it is never less than the content that it holds.
    const received = /^Total bytes received: (\d+)$/.exec(line)?.[1];
    if (received !== undefined)
      this.counts.transferred_bytes = Math.min(this.counts.transferred_bytes, countOf(received));
    const size = /^(Total file size|Literal data): (\d+) bytes$/.exec(line);
    if (size?.[1] === 'Total file size') this.counts.bytes = countOf(size[2]);
    else if (size) this.counts.transferred_bytes = countOf(size[2]);
  }
}

/**
 * A line of rsync's standard error that is about a file of the client. `isUnopened`: its content could not be opened. `isUnread`: it
 * could be opened and not be read to its end; then rsync tries once more. `unverified`: what arrived is not what was sent, since
 * the file changed in between; rsync tries once more unless `isLast`.
 */
export type PullComplaint =
  | { missing: Missing; isUnopened?: true; isUnread?: true }
  | { unverified: Missing; isLast: boolean }
  | { vanished: true }
  | { ours: string };

/**
 * Reads one line of the pull's standard error. The sender's messages name files in module `root`; rsync writes
 * bytes outside printable ASCII as \#ooo (rsync(1), --8-bit-output).
 * @returns undefined for a line that says nothing new
 */
export function readComplaint(line: string): PullComplaint | undefined {
  if (/^file has vanished: ".*" \(in root\)$/.test(line)) return { vanished: true };
  // Up to the last mark: a name can hold quotes, and the mark itself.
  const found = /^rsync: \[sender\] [^"]*"(.*)" \(in root\)/.exec(line);
  if (found) {
    const errno = /\((\d{1,3})\)$/.exec(line)?.[1];
    const missing = { path: pathOf(found[1] ?? ''), errno: errno === undefined ? null : Number(errno) };
    if (line.startsWith('rsync: [sender] send_files failed to open ')) return { missing, isUnopened: true };
    return line.startsWith('rsync: [sender] read errors mapping ')
      ? { missing, isUnread: true }
      : { missing };
  }
  const retried = UNVERIFIED.exec(line);
  if (retried) {
    const unverified = { path: pathOf(retried[1] ?? ''), errno: null };
    return { unverified, isLast: retried[2] === undefined };
  }
  if (/^rsync (error|warning): |^\s*$/.test(line)) return undefined;
  return { ours: line };
}

/** What a message of the host's own rsync says of an entry in the tree that it writes. */
export interface OwnFailure {
  /** Where the entry is below the tree. Two where the message names a temporary file, which is called the same for both. */
  names: [Buffer, ...Buffer[]];
  errno: number | null;
  part: Unstored['part'];
}

/** What ends a path in a message; the path itself can have quotes. */
const BEHIND_PATH = /"(?: failed|: |,| -> "| => | \(from )/;
/** Behind a path of such a message comes an attribute's name, which can have quotes too. */
const XATTR_CALL = /(?:set|remove)xattr\($/;
const OF_ATTRIBUTES = /xattr|acl|failed to (?:set|modify) /;
/** rsync's receiver.c, get_tmpname(): a dot before the name unless it has one, and a suffix. */
const TEMPORARY = /^(.*\/)?\.([^/]+)\.[A-Za-z0-9]{6}$/s;

/**
 * Reads a message of the host's own rsync (`ours` of `readComplaint`).
 * @param tree the folder that rsync writes into, as rsync knows it
 * @returns undefined where the message names no entry below the tree
 */
export function readOwnFailure(line: string, tree: string): OwnFailure | undefined {
  const top = `"${Buffer.from(tree).toString('latin1')}/`;
  const text = unescapeName(line).toString('latin1');
  const at = text.indexOf(top);
  if (!/^rsync: \[(?:receiver|generator)\] /i.test(text) || at === -1) return undefined;
  const before = text.slice(0, at);
  const behind = text.slice(at + top.length);
  const end = XATTR_CALL.test(before) ? behind.lastIndexOf('","') : behind.search(BEHIND_PATH);
  if (end === -1) return undefined;
  const path = behind.slice(0, end).replace(/\/+$/, '');
  const errno = /\((\d{1,3})\)$/.exec(text)?.[1];
  const isTemporary = /^rsync: \[receiver\]/.test(text) && TEMPORARY.exec(path);
  const [, folder = '', name = ''] = isTemporary || [];
  const names = isTemporary ? [`${folder}${name}`, `${folder}.${name}`, path] : [path];
  const [first = path, ...others] = names;
  return {
    names: [Buffer.from(first, 'latin1'), ...others.map(each => Buffer.from(each, 'latin1'))],
    errno: errno === undefined ? null : Number(errno),
    part: OF_ATTRIBUTES.test(before) ? 'attributes' : 'entry',
  };
}

/** rsync's receiver.c, recv_files(). */
const UNVERIFIED =
  /^(?:WARNING|ERROR): (.*) failed verification -- update (?:discarded|retained|put into partial-dir)( \(will try again\))?\.$/;

/** A path of the client as rsync printed it. Some versions print it without the first slash. */
function pathOf(text: string): Missing['path'] {
  const name = unescapeName(text);
  const slash = Buffer.from(name[0] === SLASH ? '' : '/');
  // A longer name is no file's: it is cut, so that the client takes what it is told of it.
  return jsonName(Buffer.concat([slash, name]).subarray(0, PATH_LIMIT));
}

const SLASH = 0x2f;

/** A name as rsync printed it, as bytes. */
function unescapeName(text: string): Buffer {
  return Buffer.from(
    text.replace(/\\#([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    'latin1',
  );
}

/** What rsync's exit statuses mean (rsync(1), EXIT VALUES), as far as we act on them. */
export const RSYNC_EXIT = { partial: 23, vanished: 24, timeout: 30, connectTimeout: 35, fileIo: 11 } as const;
