/**
 * Clients that were unenrolled. A file in the client's folder records it. So it also stops runs that a remaining key
 * line, an open ssh connection or another account's command could start. `grab` checks the file first, checks it
 * again right before a commit, and ends a run when the file appears. `enroll` removes it.
 */
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, removeFileIfThere } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { watchFolder } from '../os/watch.ts';
import { failure } from '../wire/events.ts';
import { quoteForShell } from '../wire/text.ts';
import { dropRetirement } from './kept-client.ts';
import { type ClientStore, recordEvent } from './store.ts';

const FILE = 'unenrolled';
const LIMIT = 64;
/** A run that must end waits for its rsync first, and then stores what has arrived. */
const END_SECONDS = 45;

/** @returns when the client was unenrolled (ISO 8601; `unknown` if the file is damaged); undefined if it is enrolled */
export function retiredSince({ folder }: Pick<ClientStore, 'folder'>): string | undefined {
  const path = `${folder}/${FILE}`;
  if (!exists(path)) return undefined;
  try {
    const text = readWhole(path, LIMIT).toString('utf8').trim();
    return Number.isNaN(Date.parse(text)) ? 'unknown' : new Date(text).toISOString();
  } catch {
    return 'unknown';
  }
}

/** Records that a client is unenrolled. From then on no run of it begins, and none is committed. */
export function retire(client: ClientStore): void {
  if (retiredSince(client) !== undefined) return;
  replaceFile(`${client.folder}/${FILE}`, `${now().toISOString()}\n`);
  recordEvent(client, 'unenrolled', {});
}

/** Removes that record, and the one that its snapshots are kept. Does nothing for an enrolled client. */
export function unretire({ folder }: Pick<ClientStore, 'folder'>): void {
  dropRetirement({ folder });
  removeFileIfThere(`${folder}/${FILE}`);
  syncFolder(folder);
}

/** @throws Fault `unenrolled` when the client was unenrolled */
export function requireEnrolled(client: ClientStore): void {
  if (retiredSince(client) !== undefined) throw failure('unenrolled', `"${client.name}" was unenrolled`);
}

/**
 * Watches whether a client is unenrolled, until `held` is released.
 * @param lost is called then, with the fault of `requireEnrolled`
 */
export function watchEnrollment(
  held: DisposableHolder,
  client: ClientStore,
  lost: (fault: Fault) => void,
): void {
  const look = (): void => {
    try {
      requireEnrolled(client);
    } catch (error) {
      if (error instanceof Fault) lost(error);
    }
  };
  held.defer(watchFolder(client.folder, look));
  look(); // it may have been unenrolled before the watch began
}

/** Waits until the client's active run has ended. @throws Fault when it does not end in time */
export async function awaitLastRun(client: ClientStore): Promise<void> {
  await using held = new AsyncDisposableStack();
  if (!exists(`${client.folder}/lock`)) return;
  if ((await takeLock(held, `${client.folder}/lock`, END_SECONDS)) !== undefined) return;
  throw new Fault({
    tried: `end the active run of "${client.name}"`,
    found: `it did not end within ${END_SECONDS} s; it will not make a snapshot`,
    next: `fuser -v ${quoteForShell(`${client.folder}/lock`)} shows the process: kill it`,
  });
}
