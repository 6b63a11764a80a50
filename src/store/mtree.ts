/**
 * The text of a manifest: mtree(5), one line for each entry. bsdtar(1) (libarchive) and mtree(8) read it too.
 *
 *     #mtree
 *     # dialback manifest 1
 *     . type=dir mode=0755 uid=0 gid=0 time=1700000000.000000000 tags=xattrs-sha256-HEX
 *     ./a\040file type=file mode=0644 uid=1000 gid=1000 size=3 time=1700000000.123456789 sha256digest=HEX tags=…
 *     # end, 2 entries
 *
 * Type, size, time and content are the stored ones; a symlink is a plain file that holds its target. Mode, uid and gid
 * are the true ones. An entry that could not be read has `tags=unread` in place of its digests, and its stored mode, uid
 * and gid. Each entry can be written in one way only, and the reader accepts no other.
 */
import type { Parsed } from '../fault.ts';
import { unescapeOctal } from '../os/byte-path.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { ID_LIMIT } from './fake-super.ts';
import { formatTime, parseTime } from './file-time.ts';

/** The beginning of every manifest. libarchive recognizes mtree by the first line. */
export const MANIFEST_HEAD = '#mtree\n# dialback manifest 1\n';

/** The most characters of a line: a path with every byte escaped, and room for the keywords. */
export const LINE_LIMIT = 4 * PATH_LIMIT + 512;

/** A file or folder of a snapshot. */
export interface ManifestEntry {
  /** Below the tree, one character (latin1) per byte; empty for the tree itself. */
  path: string;
  /** The stored type: symlinks, devices, FIFOs and sockets are files. */
  type: 'file' | 'dir';
  /** The true permissions with set-id and sticky bits, without the type. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the stored file; 0 for a folder. */
  size: number;
  /** The time of the last change in nanoseconds since 1970; may be negative. */
  mtimeNs: bigint;
  /** SHA-256 of the stored content in hexadecimal; empty for a folder and for an unreadable file. */
  sha256: string;
  /** SHA-256 of all extended attributes (attributesDigest() in manifest.ts) in hexadecimal; empty if unreadable. */
  xattrs: string;
}

/** Whether the entry could not be read when its manifest was made. Then only its lstat(2) values are known. */
export function isUnread(entry: ManifestEntry): boolean {
  return entry.xattrs === '';
}

/** Btrfs and tmpfs keep all 64 bits of time_t, and a client chooses the value. */
const SECONDS_LIMIT = 1n << 63n;

/** Writes an entry as a line, with the newline. */
export function encodeEntry(entry: ManifestEntry): string {
  const { path, type, mode, uid, gid, size, mtimeNs, sha256, xattrs } = entry;
  const words = [
    path === '' ? '.' : `./${escapePath(path)}`,
    `type=${type}`,
    `mode=0${mode.toString(8).padStart(3, '0')}`,
    `uid=${uid}`,
    `gid=${gid}`,
    ...(type === 'file' ? [`size=${size}`] : []),
    `time=${formatTime(mtimeNs)}`,
    ...(type === 'file' && !isUnread(entry) ? [`sha256digest=${sha256}`] : []),
    isUnread(entry) ? UNREAD : `tags=${XATTRS}${xattrs}`,
  ];
  return `${words.join(' ')}\n`;
}

/** The parts of a line that tell how it can be used without reading all of it. */
export interface LineHead {
  /** As in `ManifestEntry`. */
  path: string;
  isFolder: boolean;
  /** As `isUnread()`. */
  isUnread: boolean;
}

/**
 * Reads the head of an entry's line in a manifest that is known to be as it was written.
 * @param line without its newline
 * @returns undefined for a line that is no entry
 */
export function headOf(line: string): LineHead | undefined {
  if (line.startsWith('#')) return undefined;
  const end = line.indexOf(' ');
  const name = line.slice(PATH_START, end);
  return {
    path: name.includes('\\') ? unescapeOctal(name) : name,
    isFolder: line.startsWith('type=dir ', end + 1),
    isUnread: line.endsWith(UNREAD),
  };
}

/** The length of `./`. */
const PATH_START = 2;

/** Writes the last line. @param count the number of entries before it */
export function encodeEnd(count: number): string {
  return `# end, ${count} entries\n`;
}

const XATTRS = 'xattrs-sha256-';
/** Stands in place of both digests. */
const UNREAD = 'tags=unread';

/**
 * Escapes as vis(3) does with VIS_OCTAL, VIS_WHITE and VIS_GLOB. mtree(8) reads a bare `*` as a pattern and `#` as a
 * comment.
 */
function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9!$%&'()+,./:;<>@^_`{|}~-]/g, octal);
}

function octal(character: string): string {
  return `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
}

/**
 * Reads a manifest line by line. Each reason names the line's number; after one nothing more is to be read.
 */
export class ManifestReader {
  /** Lines so far. */
  #line = 0;
  #count = 0;
  #last: string | undefined;
  #hasEnded = false;

  /**
   * @param line without its newline, bytes as characters (latin1)
   * @returns the entry; undefined for a line that is none
   */
  line(line: string): Parsed<ManifestEntry | undefined> {
    this.#line += 1;
    const found = this.#read(line);
    return 'reason' in found ? { reason: `line ${this.#line}: ${found.reason}` } : found;
  }

  /** Ends the input. @returns the number of entries, or the reason why the manifest is not complete */
  end(): Parsed<number> {
    if (this.#hasEnded) return { value: this.#count };
    return { reason: `line ${this.#line + 1}: unexpected end` };
  }

  #read(line: string): Parsed<ManifestEntry | undefined> {
    if (line.length > LINE_LIMIT) return { reason: `more than ${LINE_LIMIT} bytes` };
    if (this.#hasEnded) return { reason: 'text after the end' };
    const head = HEAD_LINES[this.#line - 1];
    if (head !== undefined) return line === head ? { value: undefined } : { reason: `expected "${head}"` };
    if (line.startsWith('# end')) {
      if (`${line}\n` !== encodeEnd(this.#count))
        return { reason: `expected "# end, ${this.#count} entries"` };
      this.#hasEnded = true;
      return { value: undefined };
    }
    const found = decodeEntry(line);
    if ('reason' in found) return found;
    const { path } = found.value;
    // As strings of bytes: so compare strings of latin1 characters.
    if (this.#last !== undefined && path <= this.#last)
      return { reason: path === this.#last ? 'repeated path' : 'path out of order' };
    if (this.#last === undefined && path !== '') return { reason: 'the first entry is not "."' };
    this.#last = path;
    this.#count += 1;
    return found;
  }
}

const HEAD_LINES = MANIFEST_HEAD.trimEnd().split('\n');

/** One entry's line, without its newline. */
function decodeEntry(line: string): Parsed<ManifestEntry> {
  const [name = '', kind, ...rest] = line.split(' ');
  const path = decodePath(name);
  if ('reason' in path) return path;
  const type = kind === 'type=file' ? 'file' : kind === 'type=dir' ? 'dir' : undefined;
  if (type === undefined) return { reason: kind?.startsWith('type=') ? 'unknown type' : '"type" is missing' };
  if (type === 'file' && path.value === '') return { reason: 'the tree itself is not a folder' };
  const values: Partial<Record<Keyword, string>> = {};
  const isUnreadEntry = rest.at(-1) === UNREAD;
  if (isUnreadEntry) rest.pop();
  const keywords = KEYWORDS[type].filter(each => !isUnreadEntry || !DIGESTS.includes(each));
  for (const keyword of keywords) {
    const word = rest.shift();
    if (!word?.startsWith(`${keyword}=`)) return { reason: `"${keyword}" is missing` };
    const value = word.slice(keyword.length + 1);
    if (!FORMS[keyword].test(value)) return { reason: `invalid "${keyword}"` };
    values[keyword] = value;
  }
  if (rest.length > 0) return { reason: 'text after the last keyword' };
  const { mode = '', uid, gid, size = '0', time = '', sha256digest = '', tags = '' } = values;
  const seconds = BigInt(time.split('.')[0] ?? '');
  const entry: ManifestEntry = {
    path: path.value,
    type,
    mode: Number.parseInt(mode, 8),
    uid: Number(uid),
    gid: Number(gid),
    size: Number(size),
    mtimeNs: parseTime(time),
    sha256: sha256digest,
    xattrs: tags.slice(XATTRS.length),
  };
  if (entry.uid > ID_LIMIT || entry.gid > ID_LIMIT) return { reason: 'invalid uid or gid' };
  if (!Number.isSafeInteger(entry.size)) return { reason: 'invalid "size"' };
  if (seconds >= SECONDS_LIMIT || seconds < -SECONDS_LIMIT) return { reason: 'invalid "time"' };
  return { value: entry };
}

type Keyword = keyof typeof FORMS;

const FORMS = {
  mode: /^0(?:[1-7][0-7]{3}|[0-7]{3})$/,
  uid: /^(?:0|[1-9]\d{0,9})$/,
  gid: /^(?:0|[1-9]\d{0,9})$/,
  size: /^(?:0|[1-9]\d{0,15})$/,
  time: /^(?:0|-?[1-9]\d{0,18})\.\d{9}$/,
  sha256digest: /^[0-9a-f]{64}$/,
  tags: /^xattrs-sha256-[0-9a-f]{64}$/,
};

const KEYWORDS: Record<ManifestEntry['type'], Keyword[]> = {
  file: ['mode', 'uid', 'gid', 'size', 'time', 'sha256digest', 'tags'],
  dir: ['mode', 'uid', 'gid', 'time', 'tags'],
};

/** Keywords that an entry lacks if its file could not be read. */
const DIGESTS: Keyword[] = ['sha256digest', 'tags'];

/** A path as it stands in a line. It cannot lead out of the tree. */
function decodePath(name: string): Parsed<string> {
  if (name === '.') return { value: '' };
  if (!name.startsWith('./')) return { reason: 'no path at the beginning' };
  const written = name.slice(2);
  const path = unescapeOctal(written);
  // Only one way to write a path: a backslash that is part of a name is written as an escape too.
  if (escapePath(path) !== written) return { reason: 'the path is not escaped as required' };
  if (path.length > PATH_LIMIT) return { reason: `the path has more than ${PATH_LIMIT} bytes` };
  if (path.includes('\0')) return { reason: 'the path has a zero byte' };
  if (path.split('/').some(each => each === '' || each === '.' || each === '..'))
    return { reason: 'the path is not in its shortest form' };
  return { value: path };
}
