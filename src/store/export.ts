/** Writes the files of a snapshot as a PAX archive, as they were on the client. Only reads the store. */
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { openQuietly } from '../os/content.ts';
import { close, readSync, whatFailed } from '../os/files.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { archiveEntryOf } from './archive-entry.ts';
import { type ListedEntry, listForArchive } from './archive-list.ts';
import { ArchiveOutput, type ArchiveSink, ReaderGone } from './archive-output.ts';
import type { Xattr } from './fake-super.ts';
import { FileContent } from './file-content.ts';
import { BLOCK_BYTES } from './find-records.ts';
import { hasLostAttributes } from './lost-attributes.ts';
import { type ArchiveEntry, END, encodeHeader, paddingOf, type Range } from './pax.ts';
import {
  type Choice,
  describeSnapshot,
  passesOf,
  type Selection,
  type SnapshotFacts,
  select,
} from './restore-selection.ts';
import type { Complain } from './sorted-find.ts';
import { entryOf, inBatches, readXattrsOfEach, requireReaders } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/** The progress of an export. */
export interface ExportProgress {
  files: number;
  /** The size of the archive so far. */
  bytes: number;
}

/** The result of an export. */
export interface ExportResult extends SnapshotFacts, ExportProgress {
  /** Sockets, which an archive cannot have. */
  sockets: number;
  /** Whether the store's files have lost their attributes, because the store was copied without them. */
  lostAttributes: boolean;
}

/**
 * Writes an archive to standard output.
 * @param complain receives a text for each entry that is not in the archive, or not with its content
 * @param tell receives the progress
 * @returns undefined if the reader has closed its end
 * @throws Fault when a PATH is wrong, before anything is written; when standard output cannot be written; the signal's
 *   reason
 */
export async function exportFiles(
  options: Choice,
  { signal, complain, tell }: { signal: AbortSignal; complain: Complain; tell: (at: ExportProgress) => void },
): Promise<ExportResult | undefined> {
  const selection = select(options, 'export');
  requireReaders();
  const { client, snapshot } = selection;
  const lostAttributes = await hasLostAttributes(client, snapshot.name, signal);
  await using output = await ArchiveOutput.open(signal);
  const sockets = await writeArchive(selection, output, { signal, complain, tell });
  return sockets && { ...describeSnapshot(selection), ...sockets, lostAttributes };
}

interface WriteOptions {
  signal: AbortSignal;
  /** Receives a text for each entry that is not in the archive, or not with its content. */
  complain: Complain;
  tell: (at: ExportProgress) => void;
  /** The content of NOTE, which the archive gets as its last file; undefined for none. Called behind all other entries. */
  note?: () => Buffer | undefined;
}

/**
 * Writes an archive.
 * @returns its size and the number of its entries; undefined if the reader has gone
 * @throws Fault when it cannot be written; the signal's reason
 */
export async function writeArchive(
  selection: Selection,
  output: ArchiveSink,
  { signal, complain, tell, note }: WriteOptions,
): Promise<Pick<ExportResult, 'files' | 'bytes' | 'sockets'> | undefined> {
  const archive = new Archive(selection, output, complain, tell);
  try {
    await archive.write(signal);
    await archive.end(note?.());
  } catch (error) {
    if (error instanceof ReaderGone) return undefined;
    throw error;
  }
  return { ...archive.progress, sockets: archive.sockets };
}

/** The file that lists the missing entries. */
const NOTE = 'NOT-IN-THIS-ARCHIVE.txt';

/** An archive that is being written. */
class Archive {
  readonly progress: ExportProgress = { files: 0, bytes: 0 };
  sockets = 0;
  readonly #selection: Selection;
  readonly #output: ArchiveSink;
  readonly #complain: Complain;
  readonly #tell: (at: ExportProgress) => void;
  /** First names that are not in the archive, one character per byte: no link can refer to them. */
  readonly #absent = new Set<string>();

  constructor(
    selection: Selection,
    output: ArchiveSink,
    complain: Complain,
    tell: (at: ExportProgress) => void,
  ) {
    this.#selection = selection;
    this.#output = output;
    this.#complain = complain;
    this.#tell = tell;
  }

  async write(signal: AbortSignal): Promise<void> {
    const { snapshot, isWholeMachine } = this.#selection;
    const { tree } = snapshot;
    const list = listForArchive(tree, passesOf(this.#selection), { complain: this.#complain, signal });
    for await (const batch of inBatches(list)) {
      const xattrs = await readXattrsOfEach(tree, batch, signal);
      for (const [at, entry] of batch.entries())
        if (entry.path.length > 0 || isWholeMachine) await this.#add(entry, xattrs[at], signal);
    }
  }

  /** @param note the content of NOTE */
  async end(note: Buffer | undefined): Promise<void> {
    if (note !== undefined) {
      const mtimeNs = BigInt(now().getTime()) * 1_000_000n;
      const entry = { path: Buffer.from(NOTE), type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs } as const;
      await this.#put(encodeHeader({ ...entry, size: note.length }));
      await this.#put(Buffer.concat([note, Buffer.alloc(paddingOf(note.length))]));
    }
    await this.#put(END);
    await this.#output.end();
  }

  async #add(listed: ListedEntry, xattrs: Xattr[] | undefined, signal: AbortSignal): Promise<void> {
    if (xattrs === undefined) return this.#leaveOut(listed, 'its attributes cannot be read');
    const { tree } = this.#selection.snapshot;
    let found: string | undefined;
    const entry = entryOf(tree, listed, xattrs, text => {
      found = text;
    });
    if (entry.type === 'socket') {
      this.sockets += 1;
      return;
    }
    const { first } = listed;
    if (first !== undefined && this.#absent.has(first.toString('latin1')))
      return this.#leaveOut(listed, 'it is a hard link to a file that is not in the archive');
    const made = archiveEntryOf(entry, first);
    if ('reason' in made) return this.#leaveOut(listed, found ?? made.reason);
    if (made.value.type !== 'file') await this.#put(encodeHeader(made.value));
    else if (!(await this.#addFile(made.value, listed, signal))) return;
    if (entry.type !== 'folder') this.progress.files += 1;
    this.#tell(this.progress);
  }

  #leaveOut({ path, links }: Pick<ListedEntry, 'path' | 'links'>, found: string): void {
    if (links > 1) this.#absent.add(path.toString('latin1'));
    this.#complain(`/${showName(jsonName(path))}: ${found}`);
  }

  /** Reads the map of a sparse file before its header is written. A file that cannot be read is not in the archive. */
  async #addFile(entry: ArchiveEntry, listed: ListedEntry, signal: AbortSignal): Promise<boolean> {
    let descriptor: number | undefined;
    let content: FileContent;
    try {
      descriptor = openQuietly(joinPath(this.#selection.snapshot.tree, listed.path));
      content = await FileContent.open(descriptor, listed.blocks * BLOCK_BYTES, signal);
    } catch (error) {
      if (descriptor !== undefined) close(descriptor);
      signal.throwIfAborted();
      this.#leaveOut(listed, error instanceof Fault ? error.found : escapeText(whatFailed(error)));
      return false;
    }
    try {
      await this.#put(encodeHeader({ ...entry, ...content.sizes }));
      await this.#put(content.map);
      for (const range of content.ranges) await this.#copy(descriptor, range, listed);
      await this.#put(Buffer.alloc(paddingOf(content.sizes.size)));
    } finally {
      close(descriptor);
    }
    return true;
  }

  /** The header has promised the bytes, so zeros replace bytes that cannot be read. */
  async #copy(descriptor: number, { start, end }: Range, { path }: ListedEntry): Promise<void> {
    let at = start;
    let found: string | undefined;
    await this.#output.fill(end - start, into => {
      let got = 0;
      try {
        if (found === undefined) got = readSync(descriptor, into, 0, into.length, at);
        if (got === 0) found ??= 'the file has become shorter';
      } catch (error) {
        found = whatFailed(error);
      }
      if (got === 0) into.fill(0);
      const taken = got || into.length;
      at += taken;
      this.progress.bytes += taken;
      this.#tell(this.progress);
      return taken;
    });
    if (found !== undefined)
      this.#complain(
        `/${showName(jsonName(path))}: a part of it is zeros in the archive: ${escapeText(found)}`,
      );
  }

  async #put(bytes: Buffer): Promise<void> {
    await this.#output.put(bytes);
    this.progress.bytes += bytes.length;
  }
}
