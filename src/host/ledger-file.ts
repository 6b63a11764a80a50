/** The file ledger.json in a client's folder of the store (ledger.ts). */
import { readWhole } from '../os/content.ts';
import { exists } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { snapshotNames } from '../store/snapshot.ts';
import { type ClientStore, recordEvent } from '../store/store.ts';
import { snapshotTime } from '../wire/text.ts';
import { type Ledger, newLedger, parseLedger } from './ledger.ts';

/** Bytes of ledger.json that are read. */
const LEDGER_LIMIT = 1024 * 1024;

/**
 * Reads a client's ledger. A damaged ledger is replaced by a new one, and the client's journal says so. A new ledger takes the time of
 * the newest snapshot as the start of the last run.
 * @throws Fault if the file or the client's snapshots cannot be read
 */
export function readLedger(client: ClientStore): Ledger {
  const path = `${client.folder}/ledger.json`;
  if (exists(path)) {
    const found = parseLedger(readWhole(path, LEDGER_LIMIT).toString('utf8'));
    if ('value' in found) return found.value;
    recordEvent(client, 'ledger', { reason: `replaced by a new ledger: ${found.reason}` });
  }
  const last = snapshotNames(client).at(-1);
  return newLedger(last === undefined ? null : (snapshotTime(last)?.getTime() ?? null));
}

/** Replaces a client's ledger. @throws Fault if it cannot be written, for example on a full disk */
export function writeLedger(client: ClientStore, ledger: Ledger): void {
  replaceFile(`${client.folder}/ledger.json`, `${JSON.stringify(ledger)}\n`);
}
