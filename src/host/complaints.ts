/**
 * The messages that a pull's rsync writes on standard error, counted: files of the client that are missing or that changed while they
 * were read, and errors of the host.
 */
import { dirname } from 'node:path';
import { MISSING_LIMIT, type Missing } from '../wire/events.ts';
import { readComplaint } from '../wire/rsync-output.ts';
import { escapeText } from '../wire/text.ts';
import { UnstoredEntries } from './unstored.ts';

const EACCES = 13;
/** The errno that rsync reports for a file that became shorter while it was read (fileio.c, map_ptr()). */
const ENODATA = 61;
/** The most errors of the host that are kept, and the most changed files whose second attempt is not known yet. */
const WORDS_LIMIT = 20;
const PENDING_LIMIT = 1000;

/** The messages of one pull. */
export class Complaints {
  /** At most MISSING_LIMIT; `missingCount` has all. */
  readonly missing: Missing[] = [];
  missingCount = 0;
  /** The number of files that the client's rsync listed and could not open. */
  unopened = 0;
  /** How often a file could be opened but not be read to its end. */
  unread = 0;
  vanished = 0;
  changedDuringRun = 0;
  /** The first messages that are not about the client's files; `wordCount` counts all of them. */
  readonly words: string[] = [];
  wordCount = 0;
  isOutOfSpace = false;
  /** The client's entries that this host could not store. */
  readonly unstored: UnstoredEntries;
  readonly #enumerated: ReadonlySet<string>;
  /** Files that changed while they were read. Whether rsync's second attempt succeeded is known at the end. */
  readonly #pending = new Map<string, { missing: Missing; hasFailed: boolean }>();
  /** The keys of the files in `missing`. */
  readonly #named = new Set<string>();

  /**
   * @param enumerated folders whose children the client's kernel grants one by one (wire/request.ts)
   * @param tree the folder that rsync writes into
   */
  constructor(enumerated: readonly string[], tree: string) {
    this.#enumerated = new Set(enumerated);
    this.unstored = new UnstoredEntries(tree);
  }

  /** Takes a line of standard error. */
  take(line: string): void {
    const complaint = readComplaint(line);
    if (complaint === undefined) return;
    if ('vanished' in complaint) this.vanished += 1;
    else if ('unverified' in complaint) this.#retry(complaint.unverified, complaint.isLast);
    else if ('ours' in complaint) this.#own(complaint.ours);
    else {
      const { missing, isUnopened, isUnread } = complaint;
      if (isUnopened) this.unopened += 1;
      if (isUnread) this.unread += 1;
      if (isUnread && missing.errno === ENODATA) this.#retry(missing, false);
      else if (isUnopened && this.#isReplaced(missing)) this.changedDuringRun += 1;
      else this.#miss(missing);
    }
  }

  /** Counts a file that was left out as missing. */
  leaveOut(missing: Missing): void {
    this.#miss(missing);
  }

  /** Finishes after the last line. A file that changed while it was read is missing only if both of rsync's attempts failed. */
  finish(): void {
    for (const [key, { missing, hasFailed }] of this.#pending) {
      if (this.#named.has(key)) continue;
      if (hasFailed) this.#miss({ ...missing, errno: ENODATA });
      else this.changedDuringRun += 1;
    }
    this.#pending.clear();
    this.unstored.finish();
  }

  #retry(missing: Missing, hasFailed: boolean): void {
    const key = keyOf(missing);
    const known = this.#pending.get(key);
    if (known) known.hasFailed ||= hasFailed;
    else if (this.#pending.size < PENDING_LIMIT) this.#pending.set(key, { missing, hasFailed });
    else this.#miss({ ...missing, errno: ENODATA });
  }

  #miss(missing: Missing): void {
    this.missingCount += 1;
    if (this.#named.size < PENDING_LIMIT) this.#named.add(keyOf(missing));
    if (this.missing.length < MISSING_LIMIT) this.missing.push(missing);
  }

  /**
   * Whether a file that could not be opened was created during the run: it lies in a folder whose children the client's kernel grants one
   * by one. rsync does not try to open files that are `never`. This only holds for opening a file. The kernel's
   * jail lets rsync stat every name and list every folder there, so a refusal of these comes from the file system, and will come again.
   */
  #isReplaced({ path, errno }: Missing): boolean {
    return errno === EACCES && typeof path === 'string' && this.#enumerated.has(dirname(path));
  }

  #own(text: string): void {
    this.wordCount += 1;
    this.unstored.take(text);
    // ext4 reports "no space" also for an attribute that does not fit beside the others. The disk is not full then.
    const isAttribute = /xattr|acl/i.test(text.split('"')[0] ?? '');
    if (/No space left on device|Disk quota exceeded/.test(text) && !isAttribute) this.isOutOfSpace = true;
    if (this.words.length < WORDS_LIMIT) this.words.push(escapeText(text));
  }
}

function keyOf({ path }: Missing): string {
  return typeof path === 'string' ? path : `base64 ${path.base64}`;
}
