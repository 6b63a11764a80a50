/**
 * Clients that were unenrolled. That stands in a file in the client's folder, so that it holds whatever a key's line, an open ssh
 * connection or another account's command may still start: `grab` looks for it before anything else, again right before a commit, and
 * ends a run during which it appears. `enroll` removes it.
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
import { type ClientStore, recordEvent } from './store.ts';

const FILE = 'unenrolled';
const LIMIT = 64;
/** A run that is told to end has its rsync end first, and puts aside what has come. */
const END_SECONDS = 45;

/** @returns when a client was unenrolled (ISO 8601, `unknown` where the file is damaged); undefined: it is enrolled */
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

/** Notes that a client is unenrolled. From then on no run of it begins, and none is committed. */
export function retire(client: ClientStore): void {
  if (retiredSince(client) !== undefined) return;
  replaceFile(`${client.folder}/${FILE}`, `${now().toISOString()}\n`);
  recordEvent(client, 'unenrolled', {});
}

/** Takes that back; a client that is enrolled stays as it is. */
export function unretire({ folder }: Pick<ClientStore, 'folder'>): void {
  removeFileIfThere(`${folder}/${FILE}`);
  syncFolder(folder);
}

/** @throws Fault `unenrolled` */
export function requireEnrolled(client: ClientStore): void {
  if (retiredSince(client) !== undefined) throw failure('unenrolled', `"${client.name}" was unenrolled`);
}

/**
 * Ends what a client is let to do as soon as it is unenrolled.
 * @param lost is called then, with the fault that `requireEnrolled` throws
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
  look(); // it can have been unenrolled in between
}

/** Waits until the client's run has ended, where one is under way. @throws Fault when it does not end */
export async function awaitLastRun(client: ClientStore): Promise<void> {
  await using held = new AsyncDisposableStack();
  if (!exists(`${client.folder}/lock`)) return;
  if ((await takeLock(held, `${client.folder}/lock`, END_SECONDS)) !== undefined) return;
  throw new Fault({
    tried: `end the run of "${client.name}" that is under way`,
    found: `it did not end within ${END_SECONDS} s; nothing of it will be kept as a snapshot`,
    next: `fuser -v ${quoteForShell(`${client.folder}/lock`)} names the process: end it`,
  });
}
