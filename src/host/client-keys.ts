/**
 * Which keys of a client are accepted while one is rotated: the file keys.json in the client's folder. `grab` reads it at each call, so a key
 * that was replaced is refused from that moment on, also by a connection that it has open, and whatever authorized_keys has.
 * Without the file only a key without an id is accepted, which is that of a plain `enroll`.
 */
import { Fault, type Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, removeFileIfThere } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { type ClientStore, failureText, recordEvent, recordQuietly } from '../store/store.ts';
import { failure } from '../wire/events.ts';
import { enrolledName, lineKeyId, openKeys, writeKeys } from './authorized-keys.ts';
import { acceptsKey, type KeyIds, parseKeyIds } from './key-ids.ts';

const LIMIT = 64 * 1024;
/** It is held for moments. */
const LOCK_SECONDS = 5;

const pathOf = ({ folder }: Pick<ClientStore, 'folder'>): string => `${folder}/keys.json`;

function readIds(client: ClientStore): Parsed<KeyIds & { authorizedKeys: string }> | undefined {
  if (!exists(pathOf(client))) return undefined;
  return parseKeyIds(readWhole(pathOf(client), LIMIT).toString('utf8'));
}

/** The ids of a client's keys; undefined if no key was rotated. @throws Fault for a damaged file */
export function keyIdsOf(client: ClientStore): KeyIds | undefined {
  const found = readIds(client);
  if (found === undefined || 'value' in found) return found?.value;
  throw new Fault({
    tried: `read "${pathOf(client)}"`,
    found: found.reason,
    next: `dialback enroll ${client.name} KEYFILE --replace`,
  });
}

/** @param id of the key that called @throws Fault `unenrolled` if it is not accepted */
export function requireKey(client: ClientStore, id: string | undefined): void {
  const found = readIds(client);
  if (found !== undefined && 'reason' in found) throw failure('config', `keys.json: ${found.reason}`);
  const isGood = found === undefined ? id === undefined : acceptsKey(found.value, id);
  if (!isGood) throw failure('unenrolled', `the key ${id ?? 'without an id'} was replaced by a rotation`);
}

/** Writes the ids, or removes the file. @throws Fault `locked` if a run settles a rotation just now */
export async function writeKeyIds(
  client: ClientStore,
  ids: KeyIds | undefined,
  authorizedKeys: string,
): Promise<void> {
  if (ids === undefined && !exists(pathOf(client))) return;
  await using held = new AsyncDisposableStack();
  if (!(await takeIdsLock(held, client)))
    throw new Fault({
      tried: `change the keys of "${client.name}"`,
      found: 'a run changes them',
      exit: 'locked',
    });
  if (ids === undefined) {
    removeFileIfThere(pathOf(client));
    syncFolder(client.folder);
    return;
  }
  writeRecord(client, ids, authorizedKeys);
}

function writeRecord(client: ClientStore, { current, pending }: KeyIds, authorizedKeys: string): void {
  const record = { version: 1, current, pending, authorized_keys: authorizedKeys };
  replaceFile(pathOf(client), `${JSON.stringify(record)}\n`);
}

async function takeIdsLock(held: DisposableHolder, { folder }: ClientStore): Promise<boolean> {
  return (await takeLock(held, `${folder}/keys.lock`, LOCK_SECONDS)) !== undefined;
}

/**
 * Completes a rotation after a good run with the new key: it is the only one from now on. The line of the old key is removed from
 * authorized_keys too. If that fails, the old key is refused all the same, and `enroll` removes its line later.
 * @param id of the key that has made the run
 */
export async function settleKey(client: ClientStore, id: string): Promise<void> {
  await using held = new AsyncDisposableStack();
  if (!(await takeIdsLock(held, client))) return; // the next run does it
  const found = readIds(client);
  if (found === undefined || 'reason' in found || found.value.pending !== id) return;
  const { authorizedKeys } = found.value;
  writeRecord(client, { current: id, pending: null }, authorizedKeys);
  recordEvent(client, 'key-rotated', { key: id });
  try {
    await dropOthers(authorizedKeys, client.name, id);
  } catch (error) {
    recordQuietly(client, 'key-line-left', { reason: failureText(error) });
  }
}

async function dropOthers(file: string, name: string, id: string): Promise<void> {
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  const rest = lines.filter(line => enrolledName(line) !== name || lineKeyId(line) === id);
  if (rest.length < lines.length) writeKeys(file, rest);
}
