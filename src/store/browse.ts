/** `dialback ls` and `dialback cat`: list the entries of a snapshot as they were on the client, and print a file. */

import { posix } from 'node:path';
import { Fault } from '../fault.ts';
import { openPlain } from '../os/content.ts';
import { close, fileFault } from '../os/files.ts';
import { standard, start } from '../os/process.ts';
import { decodeName, escapeText, jsonName, quoteForShell, showName } from '../wire/text.ts';
import type { TreeEntry } from './fake-super.ts';
import { openSnapshot, type SnapshotChoice } from './snapshot.ts';
import type { Complain } from './sorted-find.ts';
import { readTree } from './stored-tree.ts';
import { joinPath, pathInside } from './tree-path.ts';

interface ListOptions extends SnapshotChoice {
  /** Absolute, as on the client. If empty, the top `/`. */
  paths: string[];
  /** Lists everything below a folder, instead of its entries only. */
  isRecursive: boolean;
  /** Lists a folder itself, instead of its entries. */
  isItself: boolean;
}

/**
 * Lists the PATHs one after the other: the entries of a folder, or the file itself, sorted by bytes.
 * @param complain receives a text for each entry that cannot be read; if left out, such an entry is a Fault
 * @throws Fault before the first entry when a PATH is wrong
 */
export async function* listEntries(
  options: ListOptions,
  signal: AbortSignal,
  complain?: Complain,
): AsyncGenerator<TreeEntry> {
  const { snapshot } = openSnapshot(options);
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
 * Writes a plain file's content to standard output. cat(1) does it, so that a blocked write(2) does not keep us from
 * receiving signals. A reader that closes the pipe ends it without an error.
 * @param path absolute, as on the client
 * @throws Fault when it is not a plain file; when standard output cannot be written
 */
export async function printFile(look: SnapshotChoice, path: string, signal: AbortSignal): Promise<void> {
  const { snapshot } = openSnapshot(look);
  const tried = `print "${escapeText(path)}"`;
  const inside = pathInside(snapshot, path, tried);
  for await (const entry of readTree(snapshot.tree, { paths: [inside], depth: 0, signal }))
    requireFile(entry, look, tried);
  let descriptor: number;
  try {
    descriptor = openPlain(joinPath(snapshot.tree, inside));
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

function requireFile(entry: TreeEntry, look: SnapshotChoice, tried: string): void {
  const { type, path, target } = entry;
  if (type === 'file') return;
  const at = (where: string): string =>
    `${quoteForShell(`${look.client}@${look.snapshot}`)} ${quoteForShell(where)}`;
  if (type === 'folder') {
    const next = `dialback ls ${at(`/${decodeName(path)}`)}`;
    throw new Fault({ tried, found: 'it is a folder', next: escapeText(next, NEXT_LIMIT) });
  }
  if (type !== 'symlink') throw new Fault({ tried, found: `it is a ${type}` });
  if (target === null) throw new Fault({ tried, found: 'it is a symlink, and its target cannot be read' });
  const leads = posix.resolve('/', posix.dirname(decodeName(path)), decodeName(target));
  throw new Fault({
    tried,
    found: `it is a symlink to "${showName(jsonName(target))}"`,
    next: escapeText(`dialback cat ${at(leads)}`, NEXT_LIMIT),
  });
}

/** A command in a message may be as long as a path. */
const NEXT_LIMIT = 5000;
