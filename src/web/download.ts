/** Downloads: a file as it is, and a folder as a PAX archive. A reader that takes no bytes stops the reading too. */
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Fault } from '../fault.ts';
import { readingStream } from '../os/content.ts';
import { lstat } from '../os/files.ts';
import { BufferedSink, ReaderGone } from '../store/archive-output.ts';
import { writeArchive } from '../store/export.ts';
import type { TreeEntry } from '../store/fake-super.ts';
import { select } from '../store/restore-selection.ts';
import { openSnapshot } from '../store/snapshot.ts';
import { readTree } from '../store/stored-tree.ts';
import { joinPath, pathInside } from '../store/tree-path.ts';
import { escapeText } from '../wire/text.ts';
import { attachment } from './headers.ts';

/** A file or a folder of a snapshot that is to be sent. */
export interface Download {
  headers: Record<string, string>;
  /** @throws the error that cut the response short */
  send: (response: ServerResponse, signal: AbortSignal) => Promise<void>;
}

/** Bytes of an archive that are collected before they are sent. */
const CHUNK_BYTES = 64 * 1024;

/**
 * Finds the file or folder of `/download/NAME/SNAPSHOT/PATH…`.
 * @param log receives a line for each entry that is not in an archive, or not whole
 * @throws Fault if it does not exist, or cannot be downloaded
 */
export async function findDownload(
  store: string,
  path: readonly string[],
  { signal, log }: { signal: AbortSignal; log: (text: string) => void },
): Promise<Download> {
  const [, client, snapshot, ...names] = path;
  if (client === undefined || snapshot === undefined)
    throw new Fault({ tried: 'find the page', found: 'it names no client and no snapshot', exit: 'usage' });
  const wanted = `/${names.join('/')}`;
  const tried = `download "${escapeText(wanted)}"`;
  const found = openSnapshot({ store, client, snapshot });
  const inside = pathInside(found.snapshot, wanted, tried);
  const entry = await readOne(found.snapshot.tree, inside, signal);
  if (entry?.type === 'file') return fileDownload(joinPath(found.snapshot.tree, inside), names.at(-1) ?? '');
  if (entry !== undefined && entry.type !== 'folder')
    throw new Fault({ tried, found: `it is a ${entry.type}` });
  const choice = { store, client, snapshot: found.snapshot.name, paths: names.length === 0 ? [] : [wanted] };
  return archiveDownload(choice, names.at(-1) ?? client, log);
}

async function readOne(tree: string, path: Buffer, signal: AbortSignal): Promise<TreeEntry | undefined> {
  if (path.length === 0) return undefined;
  for await (const entry of readTree(tree, { paths: [path], depth: 0, signal })) return entry;
  return undefined;
}

function fileDownload(path: Buffer, name: string): Download {
  const { size } = lstat(path);
  return {
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(size),
      'Content-Disposition': attachment(name),
    },
    send: async (response, signal) => await pipeline(readingStream(path), response, { signal }),
  };
}

function archiveDownload(
  choice: Parameters<typeof select>[0],
  name: string,
  log: (text: string) => void,
): Download {
  const selection = select(choice, 'export');
  return {
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': attachment(`${name}-${selection.snapshot.name}.tar`),
    },
    send: async (response, signal) => {
      const missing = new Missing();
      const complain = (found: string): void => {
        log(`the archive of ${selection.client.name}@${selection.snapshot.name} lacks ${found}`);
        missing.add(found);
      };
      const sink = new ResponseSink(response);
      const note = (): Buffer | undefined => missing.text();
      await writeArchive(selection, sink, { signal, complain, tell: () => {}, note });
    },
  };
}

/** Texts about entries that are not in an archive, which become a file of it. */
class Missing {
  readonly #lines: string[] = [];
  #more = 0;

  add(line: string): void {
    if (this.#lines.length < MISSING_LINES) this.#lines.push(line);
    else this.#more += 1;
  }

  text(): Buffer | undefined {
    if (this.#lines.length === 0) return undefined;
    const more = this.#more > 0 ? [`and ${this.#more} more`] : [];
    return Buffer.from(
      `These are not in the archive, or not whole:\n${[...this.#lines, ...more].join('\n')}\n`,
    );
  }
}
const MISSING_LINES = 1000;

/** A response as the output of an archive. */
class ResponseSink extends BufferedSink {
  readonly #response: ServerResponse;
  #written: (isWritten: boolean) => void = () => {};

  constructor(response: ServerResponse) {
    super(CHUNK_BYTES);
    this.#response = response;
    response.once('close', () => this.#written(false));
  }

  async end(): Promise<void> {
    await this.flush();
    this.#response.end();
  }

  /** Waits until the system has taken the bytes: so a slow reader holds one chunk. */
  protected async write(bytes: Buffer): Promise<void> {
    const isWritten = await new Promise<boolean>(resolve => {
      this.#written = resolve;
      if (this.#response.destroyed) resolve(false);
      else this.#response.write(bytes, error => resolve(!error));
    });
    if (!isWritten) throw new ReaderGone();
  }
}
