/** `dialback ls` and `dialback cat`: what a snapshot has, as it was on the client, and what is in a file of it. */
import { posix } from 'node:path';
import { Fault } from '../fault.ts';
import { openPlain } from '../os/content.ts';
import { close, fileFault } from '../os/files.ts';
import { standard, start } from '../os/process.ts';
import { decodeName, escapeText, jsonName, quoteForShell, showName } from '../wire/text.ts';
import { readTree, type TreeEntry } from './fake-super.ts';
import type { Complain } from './sorted-find.ts';
import { findSnapshot, openClient, openStore, pathInside, type Snapshot } from './store.ts';

/** What is looked at. */
export interface Look {
  store: string;
  client: string;
  /** As findSnapshot takes it. */
  snapshot: string;
}

/** The snapshot that a command line means. */
function openSnapshot({ store, client, snapshot }: Look): Snapshot {
  openStore(store);
  return findSnapshot(openClient(store, client), snapshot);
}

export interface ListOptions extends Look {
  /** Absolute, as on the client; none: the top, `/`. */
  paths: string[];
  /** All below a folder, not its entries alone. */
  isRecursive: boolean;
  /** Of a folder the folder itself, and not what is in it. */
  isItself: boolean;
}

/**
 * What PATHs have: of a folder its entries, else the file itself; one PATH after the other, each sorted by its bytes.
 * @param complain is told of what cannot be read; left out: that is a Fault
 * @throws Fault before the first entry where a PATH is wrong
 */
export async function* listEntries(
  options: ListOptions,
  signal: AbortSignal,
  complain?: Complain,
): AsyncGenerator<TreeEntry> {
  const snapshot = openSnapshot(options);
  const wanted = options.paths.length === 0 ? ['/'] : options.paths;
  const inside = wanted.map(path => pathInside(snapshot, path, `list "${escapeText(path)}"`));
  const isTopKnown = snapshot.record.scope.roots.includes('/');
  if (options.isItself && !isTopKnown && inside.some(path => path.length === 0))
    throw new Fault({
      tried: 'list "/"',
      found: `snapshot ${snapshot.name} has what is below it, not the folder itself`,
    });
  const depth = options.isItself ? 0 : options.isRecursive ? undefined : 1;
  for (const path of inside) {
    const look = { paths: [path], signal, complain, ...(depth === undefined ? {} : { depth }) };
    for await (const entry of readTree(snapshot.tree, look)) {
      const isTop = entry.path.equals(path);
      if (options.isItself || !isTop || entry.type !== 'folder') yield entry;
    }
  }
}

/**
 * Writes a plain file's content to our standard output, by cat(1): it blocks in write(2) while we hear signals. A reader
 * that goes away ends it quietly.
 * @param path absolute, as on the client
 * @throws Fault when it is no plain file; when standard output cannot be written
 */
export async function printFile(look: Look, path: string, signal: AbortSignal): Promise<void> {
  const snapshot = openSnapshot(look);
  const tried = `print "${escapeText(path)}"`;
  const inside = pathInside(snapshot, path, tried);
  for await (const entry of readTree(snapshot.tree, { paths: [inside], depth: 0, signal }))
    requireFile(entry, look, tried);
  let descriptor: number;
  try {
    descriptor = openPlain(Buffer.concat([Buffer.from(`${snapshot.tree}/`), inside]));
  } catch (error) {
    throw error instanceof Fault ? new Fault({ tried, found: error.found }) : fileFault(error, tried);
  }
  try {
    await copyOut(descriptor, tried, signal);
  } finally {
    close(descriptor);
  }
}

async function copyOut(descriptor: number, tried: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = await start(standard('cat', []), [descriptor, 1, 'pipe']);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('latin1')).slice(0, SAID_KEPT);
  });
  const abort = (): void => void child.end();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const { status, signal: ended } = await child.ended;
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  if (status === 0 || ended === 'SIGPIPE') return;
  const found = /cat: (.*)$/m.exec(said)?.[1] ?? 'cat failed';
  throw new Fault({ tried, found: escapeText(found) });
}

const SAID_KEPT = 1000;

function requireFile(entry: TreeEntry, look: Look, tried: string): void {
  const { type, path, target } = entry;
  if (type === 'file') return;
  const at = (where: string): string =>
    `${quoteForShell(`${look.client}@${look.snapshot}`)} ${quoteForShell(where)}`;
  if (type === 'folder') {
    const next = `dialback ls ${at(`/${decodeName(path)}`)}`;
    throw new Fault({ tried, found: 'it is a folder', next: escapeText(next, NEXT_LIMIT) });
  }
  if (type !== 'symlink') throw new Fault({ tried, found: `it is a ${type}` });
  if (target === null) throw new Fault({ tried, found: 'it is a link, and where it leads cannot be read' });
  const leads = posix.resolve('/', posix.dirname(decodeName(path)), decodeName(target));
  throw new Fault({
    tried,
    found: `it is a link to "${showName(jsonName(target))}"`,
    next: escapeText(`dialback cat ${at(leads)}`, NEXT_LIMIT),
  });
}

/** A command in a message may be as long as a path. */
const NEXT_LIMIT = 5000;
