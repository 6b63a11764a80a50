/** Parsers for rsync's output. */
import type { Missing, Unstored } from './events.ts';
import { PATH_LIMIT } from './request.ts';
import { jsonName } from './text.ts';

/** Whether an rsync can compress with zstd. @param version the output of `rsync --version` */
export function knowsZstd(version: string): boolean {
  return /^Compress list:\n +(?:\S+ )*zstd\b/m.test(version);
}

/**
 * Reads a line of rsync's standard output about a file that is larger than `--max-size`.
 * @returns the file, as a missing one; undefined for any other line
 */
export function readOversized(line: string): Missing | undefined {
  const name = /^(.+) is over max-size$/.exec(line)?.[1];
  return name === undefined ? undefined : { path: pathOf(name), errno: EFBIG };
}

/** errno(3), File too large. */
const EFBIG = 27;

/** The counts of a pull. */
export interface PullCounts {
  files: number;
  folders: number;
  bytes: number;
  /** Bytes of content that the client sent; for a compressed run, all received bytes, if they are fewer. */
  transferred_bytes: number;
  linked: number;
  new: number;
  content_changed: number;
  attributes_changed: number;
  /** Bytes of plain files that are not shared with an older snapshot. */
  new_bytes: number;
}

/** The reasons why a run does not link a file, as rsync reports them. A file can have several. */
export interface UnlinkedCounts {
  /** The older snapshot does not have the path. */
  new: number;
  /** Another size, content (in a run that compares it), or link target. */
  content: number;
  /** Another time and the same size. rsync sends such a file again. */
  time: number;
  mode: number;
  owner: number;
  acl: number;
  xattrs: number;
}

/** A number that the client's rsync influences, limited to the largest that a record and an event can hold. */
function countOf(number: string | number | undefined): number {
  return Math.min(Number(number), Number.MAX_SAFE_INTEGER);
}

/** Reads rsync's standard output line by line, and counts. */
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
  /** Entries that rsync has processed and knows, and whether it knows all of them. Undefined before its first report. */
  reached: { done: number; total: number; isWhole: boolean } | undefined;
  /** Plain files in the client's list, and those of them whose content was sent. */
  regularFiles = 0;
  sentFiles = 0;
  /** Entries that are no folders and are not linked, by reason. */
  readonly unlinked: UnlinkedCounts = {
    new: 0,
    content: 0,
    time: 0,
    mode: 0,
    owner: 0,
    acl: 0,
    xattrs: 0,
  };
  #linkedTwins = 0;
  /** Whether rsync has printed its statistics, its last output. */
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

  /**
   * Computes how much of a run is done. rsync's percentage is of all bytes and counts the sent ones, which is right for a first run.
   * A later run links most files and sends little. Then the share of the names that rsync has compared counts, and the bytes of a
   * large file add to it while that is sent.
   * @param isFirst whether there is no tree to link from
   * @returns undefined before rsync has reported any name; `percent` is null while rsync still lists names
   */
  filesDone(isFirst: boolean): { done: number; total: number; percent: number | null } | undefined {
    if (this.reached === undefined) return undefined;
    const { done, total, isWhole } = this.reached;
    const names = (100 * done) / Math.max(1, total);
    const sent = this.progress.percent;
    const percent = isFirst ? sent : Math.floor(names + (sent * (100 - names)) / 100);
    return { done, total, percent: isWhole ? percent : null };
  }

  #item(done: string, type: string, flags: string, length: number): void {
    if (type === 'd') return;
    // A hard link inside this tree, which has no inode of its own.
    if (done === 'h') {
      this.#linkedTwins += 1;
      return;
    }
    if (flags.startsWith('+')) this.counts.new += 1;
    else if (done === '>' || /^[cs]/.test(flags.replace(/^\./, '')) || flags[1] === 's')
      this.counts.content_changed += 1;
    else this.counts.attributes_changed += 1;
    this.#noteReasons(flags);
    if (type === 'f') this.counts.new_bytes = countOf(this.counts.new_bytes + length);
  }

  /** @param flags the letters `cstpoguax` of rsync(1), --itemize-changes, each or a dot in its place */
  #noteReasons(flags: string): void {
    const { unlinked } = this;
    if (flags.startsWith('+')) {
      unlinked.new += 1;
      return;
    }
    const has = (letters: string): boolean => [...letters].some(each => flags.includes(each));
    if (has('cs')) unlinked.content += 1;
    else if (has('tT')) unlinked.time += 1;
    if (has('p')) unlinked.mode += 1;
    if (has('og')) unlinked.owner += 1;
    if (has('a')) unlinked.acl += 1;
    if (has('x')) unlinked.xattrs += 1;
  }

  #statistic(line: string): void {
    const progress = /^\s*(\d+)\s+(\d{1,3})%\s/.exec(line);
    if (progress) {
      // `ir`: rsync is still receiving the list of names (rsync(1), --info=progress2)
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
    // The last line of the statistics. Without compression it is at least the size of the content.
    const received = /^Total bytes received: (\d+)$/.exec(line)?.[1];
    if (received !== undefined)
      this.counts.transferred_bytes = Math.min(this.counts.transferred_bytes, countOf(received));
    const size = /^(Total file size|Literal data): (\d+) bytes$/.exec(line);
    if (size?.[1] === 'Total file size') this.counts.bytes = countOf(size[2]);
    else if (size) this.counts.transferred_bytes = countOf(size[2]);
  }
}

/**
 * A line of rsync's standard error about a file of the client. `isUnopened`: rsync could not open it. `isUnread`: rsync could not read
 * it to its end, and tries again. `unverified`: the received content is not the sent content, since the file changed meanwhile; rsync
 * tries again unless `isLast`. `ours`: any other line.
 */
type PullComplaint =
  | { missing: Missing; isUnopened?: true; isUnread?: true }
  | { unverified: Missing; isLast: boolean }
  | { vanished: true }
  | { ours: string };

/**
 * Reads one line of the pull's standard error. The sender's messages name files in module `root`. rsync writes bytes outside printable
 * ASCII as \#ooo (rsync(1), --8-bit-output).
 * @returns undefined for a line without new information
 */
export function readComplaint(line: string): PullComplaint | undefined {
  if (/^file has vanished: ".*" \(in root\)$/.test(line)) return { vanished: true };
  // Greedy, since a name can contain quotes, and `" (in root)` too.
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

/** A failure of the host's own rsync with an entry of the tree that it writes. */
export interface OwnFailure {
  /** The entry's path below the tree. More than one if the message names a temporary file that several entries can have. */
  names: [Buffer, ...Buffer[]];
  errno: number | null;
  part: Unstored['part'];
}

/** The text after a path in a message. The path itself can contain quotes. */
const BEHIND_PATH = /"(?: failed|: |,| -> "| => | \(from )/;
/** In such a message an attribute's name follows the path. It can contain quotes too. */
const XATTR_CALL = /(?:set|remove)xattr\($/;
const OF_ATTRIBUTES = /xattr|acl|failed to (?:set|modify) /;
/** rsync's receiver.c, get_tmpname(): a dot before the name, unless the name begins with one, and a suffix. */
const TEMPORARY = /^(.*\/)?\.([^/]+)\.[A-Za-z0-9]{6}$/s;

/**
 * Reads a message of the host's own rsync (`ours` of `readComplaint`).
 * @param tree the folder that rsync writes into, as in its arguments
 * @returns undefined if the message does not name an entry below the tree
 */
export function readOwnFailure(line: string, tree: string): OwnFailure | undefined {
  const top = `"${Buffer.from(tree).toString('latin1')}/`;
  const text = unescapeName(line);
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

/** Decodes a path of the client that rsync has printed. Some versions omit the first slash. */
function pathOf(text: string): Missing['path'] {
  const name = unescapeName(text);
  const path = Buffer.from(name.startsWith('/') ? name : `/${name}`, 'latin1');
  // A file cannot have a longer name. It is cut, because the client refuses a longer one in an event.
  return jsonName(path.subarray(0, PATH_LIMIT));
}

/**
 * Decodes a name that rsync has printed. It writes each byte that is not printable ASCII as \#ooo (rsync(1), --8-bit-output), and a
 * backslash before a `#` too.
 * @returns bytes, one character each
 */
export function unescapeName(text: string): string {
  return text.replace(/\\#([0-3][0-7]{2})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** The exit statuses of rsync that we act on (rsync(1), EXIT VALUES). */
export const RSYNC_EXIT = { partial: 23, vanished: 24, timeout: 30, connectTimeout: 35, fileIo: 11 } as const;
