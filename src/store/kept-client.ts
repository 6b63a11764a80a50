/**
 * Clients whose snapshots all stay, whatever the rules say. A retired client has the file retired.json in its folder, with the time. For a
 * client that is being renamed, `rename` writes STORE/renaming.json first and removes it last.
 */
import { dirname } from 'node:path';
import { Fault, type Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, removeFileIfThere } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { parseJson } from '../wire/json.ts';
import { NAME, quoteForShell } from '../wire/text.ts';
import type { ClientStore } from './store.ts';

const LIMIT = 4096;

/** Why all snapshots of a client stay. */
export interface Kept {
  /** Short enough for a table. */
  reason: string;
  /** Until when (ISO 8601); null: without an end. */
  until: string | null;
}

/** The content of retired.json. */
export interface Retirement {
  version: 1;
  /** When the client was retired (ISO 8601). */
  since: string;
  /** For how long its snapshots are kept, in milliseconds; null: without an end. */
  keep_ms: number | null;
}

/** The content of renaming.json. */
export interface Renaming {
  version: 1;
  from: string;
  to: string;
}

const retiredPath = ({ folder }: Pick<ClientStore, 'folder'>): string => `${folder}/retired.json`;
const renamingPath = (store: string): string => `${store}/renaming.json`;

/** Reads retired.json. Pure. */
function decodeRetirement(text: string): Parsed<Retirement> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const found = (parsed.value ?? {}) as Partial<Record<keyof Retirement, unknown>>;
  const { version, since, keep_ms: keepMs } = found;
  const isTime = typeof since === 'string' && !Number.isNaN(Date.parse(since));
  const isSpan = keepMs === null || (Number.isSafeInteger(keepMs) && Number(keepMs) >= 0);
  return version === 1 && isTime && isSpan ? { value: found as Retirement } : { reason: 'it is no record' };
}

/** Reads renaming.json. Pure. */
function decodeRenaming(text: string): Parsed<Renaming> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const found = (parsed.value ?? {}) as Partial<Record<keyof Renaming, unknown>>;
  const isGood = [found.from, found.to].every(each => typeof each === 'string' && NAME.test(each));
  return found.version === 1 && isGood ? { value: found as Renaming } : { reason: 'it is no record' };
}

/** @returns undefined for a client that is not retired; for a damaged file a retirement without an end, which keeps everything */
export function readRetirement(client: Pick<ClientStore, 'folder'>): Retirement | undefined {
  const path = retiredPath(client);
  if (!exists(path)) return undefined;
  const endless: Retirement = { version: 1, since: new Date(0).toISOString(), keep_ms: null };
  try {
    const decoded = decodeRetirement(readWhole(path, LIMIT).toString('utf8'));
    return 'value' in decoded ? decoded.value : endless;
  } catch {
    return endless;
  }
}

/** Writes it. From then on no rule removes a snapshot of the client before its time. */
export function writeRetirement(client: ClientStore, retirement: Retirement): void {
  replaceFile(retiredPath(client), `${JSON.stringify(retirement)}\n`);
}

/** Removes it. Does nothing for a client that is not retired. */
export function dropRetirement(client: Pick<ClientStore, 'folder'>): void {
  if (!exists(retiredPath(client))) return;
  removeFileIfThere(retiredPath(client));
  syncFolder(client.folder);
}

/** Until when the snapshots of a retired client are kept (ISO 8601); null: without an end. */
export function keptUntil({ since, keep_ms: keepMs }: Retirement): string | null {
  return keepMs === null ? null : new Date(Date.parse(since) + keepMs).toISOString();
}

/** @returns the renaming that is not complete; undefined if there is none @throws Fault for a damaged file */
export function readRenaming(store: string): Renaming | undefined {
  const path = renamingPath(store);
  if (!exists(path)) return undefined;
  const decoded = decodeRenaming(readWhole(path, LIMIT).toString('utf8'));
  if ('value' in decoded) return decoded.value;
  throw new Fault({
    tried: `read "${path}"`,
    found: decoded.reason,
    next: `complete the renaming by hand: clients/, host.toml and authorized_keys; then rm ${quoteForShell(path)}`,
  });
}

/** The fault of a command that an incomplete renaming stands against. */
export function renamingFault(tried: string, { from, to }: Renaming): Fault {
  return new Fault({
    tried,
    found: `the renaming of "${from}" to "${to}" was interrupted`,
    next: `dialback rename ${from} ${to}`,
    exit: 'refused',
  });
}

/** Records that a client is being renamed. */
export function writeRenaming(store: string, names: { from: string; to: string }): void {
  replaceFile(renamingPath(store), `${JSON.stringify({ version: 1, ...names })}\n`);
}

/** Records that it is complete. */
export function dropRenaming(store: string): void {
  removeFileIfThere(renamingPath(store));
  syncFolder(store);
}

/** The renaming of the store that has this client's folder. @throws as `readRenaming()` */
export function renamingOf(folder: string): Renaming | undefined {
  return readRenaming(dirname(dirname(folder)));
}

/** Whether a client is being renamed, under either name. A damaged record may be about each client. */
function isRenamed({ name, folder }: ClientStore): boolean {
  try {
    const renaming = renamingOf(folder);
    return renaming !== undefined && [renaming.from, renaming.to].includes(name);
  } catch {
    return true;
  }
}

/** @returns why all snapshots of a client stay now; undefined if the rules decide */
export function keptNow(client: ClientStore, now: Date): Kept | undefined {
  if (isRenamed(client)) return { reason: 'its client is being renamed', until: null };
  const retirement = readRetirement(client);
  if (retirement === undefined) return undefined;
  const until = keptUntil(retirement);
  if (until === null) return { reason: 'its client is retired', until };
  return now.getTime() < Date.parse(until)
    ? { reason: `its client is retired; kept until ${until.slice(0, 10)}`, until }
    : undefined;
}
