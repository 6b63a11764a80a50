/** The list of an offer: it is kept in a file, since it can be longer than memory, and read entry by entry. */
import { Fault } from '../fault.ts';
import { readingStream } from '../os/content.ts';
import { close, open, openFlags, writeSync } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import type { TreeEntry } from '../store/fake-super.ts';
import { covers } from '../store/tree-path.ts';
import {
  decodeOfferedEntry,
  decodeOfferHead,
  ENTRY_LIMIT,
  nameBytes,
  type OfferedEntry,
  type OfferHead,
} from '../wire/fetch.ts';

const NEWLINE = 0x0a;

/** An entry as it was on this machine. */
export interface Wanted {
  entry: TreeEntry;
  sha256: string | null;
  damage: OfferedEntry['damage'];
}

/** Receives the pieces of an answer. Each line is checked before it is used. */
export class OfferList {
  readonly #path: string;
  readonly #file: number;
  #rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #head: OfferHead | undefined;
  #paths: Buffer[] = [];
  #hasLabels = false;

  /** @param path a free name in a private folder */
  constructor(path: string) {
    this.#path = path;
    this.#file = open(path, openFlags.O_WRONLY | openFlags.O_CREAT | openFlags.O_EXCL, 0o600);
  }

  /** @throws Fault where a line is not one of an offer */
  take(piece: Buffer): void {
    dropGarbage();
    const whole = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    let [bytes, done] = [whole, 0];
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
      this.#takeLine(bytes.toString('utf8', 0, end));
      done += end + 1;
      bytes = bytes.subarray(end + 1);
    }
    if (done > 0) writeSync(this.#file, whole, 0, done);
    if (bytes.length > ENTRY_LIMIT) throw malformed('a line is too long');
    this.#rest = Buffer.from(bytes);
  }

  /** Ends the list. @returns its first line @throws Fault where it is not complete */
  end(): OfferHead {
    close(this.#file);
    if (this.#head === undefined || this.#rest.length > 0) throw malformed('it is not complete');
    return this.#head;
  }

  /** The offered paths below `/`; the empty one for a whole machine. */
  get paths(): readonly Buffer[] {
    return this.#paths;
  }

  /** Whether an entry has a `security.` attribute that is not a file capability, such as a label of SELinux. */
  get hasLabels(): boolean {
    return this.#hasLabels;
  }

  #takeLine(line: string): void {
    if (this.#head === undefined) {
      const head = decodeOfferHead(line);
      if ('reason' in head) throw malformed(head.reason);
      this.#head = head.value;
      this.#paths = head.value.paths.map(path => (nameBytes(path) ?? Buffer.from('/')).subarray(1));
      return;
    }
    const entry = decodeOfferedEntry(line);
    if ('reason' in entry) throw malformed(entry.reason);
    this.#hasLabels ||= entry.value.xattrs.some(
      ([name]) => typeof name === 'string' && name.startsWith('security.') && name !== 'security.capability',
    );
    const path = nameBytes(entry.value.path) ?? Buffer.alloc(0);
    // An offered path, something below one, or a folder above one.
    if (!this.#paths.some(each => covers(each, path) || covers(path, each)))
      throw malformed('an entry is outside of the offer');
  }

  /** Reads the entries again, in their order. */
  async *entries(): AsyncGenerator<Wanted> {
    let rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
    let isFirst = true;
    for await (const chunk of readingStream(this.#path) as AsyncIterable<Buffer>) {
      dropGarbage();
      let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
        const line = bytes.toString('utf8', 0, end);
        bytes = bytes.subarray(end + 1);
        if (!isFirst) yield wantedOf(line);
        isFirst = false;
      }
      rest = Buffer.from(bytes);
    }
  }
}

function malformed(found: string): Fault {
  return new Fault({
    tried: 'read the list of the backup host',
    found,
    next: 'compare `dialback version` on both machines',
    exit: 'unreachable',
  });
}

/** @param line was checked when it came, and has been in a private folder since */
function wantedOf(line: string): Wanted {
  const value = JSON.parse(line) as OfferedEntry;
  const [major = 0, minor = 0] = value.device ?? [];
  const entry: TreeEntry = {
    path: nameBytes(value.path) ?? Buffer.alloc(0),
    type: value.type,
    mode: value.mode,
    uid: value.uid,
    gid: value.gid,
    device: value.device === null ? null : { major, minor },
    size: value.size,
    mtimeNs: BigInt(value.mtime),
    inode: 0n,
    links: 1,
    target: value.target === null ? null : (nameBytes(value.target) ?? null),
    acl: value.acl,
    xattrs: value.xattrs.map(([name, content]) => ({
      name: nameBytes(name) ?? Buffer.alloc(0),
      value: Buffer.from(content, 'base64'),
    })),
  };
  return { entry, sha256: value.sha256, damage: value.damage };
}
