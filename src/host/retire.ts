/** `dialback retire`: unenrolls a client for good, and keeps its snapshots for a stated time. */
import { now } from '../os/clock.ts';
import { keptUntil, type Retirement, readRetirement, writeRetirement } from '../store/kept-client.ts';
import { retiredSince } from '../store/retirement.ts';
import { listSnapshots } from '../store/snapshot.ts';
import { openClient, openStore, recordEvent } from '../store/store.ts';
import { readHostConfig } from './config.ts';
import { requireName, requireReceiver } from './enroll.ts';
import { unenroll } from './unenroll.ts';

interface RetireOptions {
  name: string;
  /** The path of host.toml. */
  config: string;
  /** The path of authorized_keys, if it is not the account's own. */
  authorizedKeys: string | undefined;
  /** For how long the snapshots are kept, in milliseconds; undefined: as before, or without an end. */
  keepMs: number | undefined;
}

/** The result of `retireClient()`. */
export interface Retired {
  client: string;
  changed: boolean;
  /** When it was retired (ISO 8601). */
  since: string;
  /** Until when its snapshots stay whatever the rules say (ISO 8601); null: without an end. */
  kept_until: string | null;
  snapshots: number;
  /** The file that had the client's key; null if it had none. */
  authorized_keys: string | null;
}

/**
 * Removes a client's key, ends its run, and keeps its snapshots. The time counts from the moment at which the client was unenrolled, so
 * that a second call with the same time changes nothing.
 * @throws Fault if there is no such client; else as `unenroll()`
 */
export async function retireClient(options: RetireOptions): Promise<Retired> {
  const { name, keepMs } = options;
  requireName(name);
  const { store } = readHostConfig(options.config);
  requireReceiver(store, `retire ${name}`);
  openStore(store);
  const client = openClient(store, name);
  const before = readRetirement(client);
  const since = before?.since ?? knownTime(retiredSince(client)) ?? now().toISOString();
  const retirement: Retirement = { version: 1, since, keep_ms: keepMs ?? before?.keep_ms ?? null };
  const isNew = before === undefined || before.keep_ms !== retirement.keep_ms;
  // First, so that no rule removes a snapshot once the client makes no new ones.
  if (isNew) {
    writeRetirement(client, retirement);
    recordEvent(client, 'retired', { keep_until: keptUntil(retirement) });
  }
  const { isChanged, authorizedKeys } = await unenroll({ ...options, isRepeatable: true });
  return {
    client: name,
    changed: isNew || isChanged,
    since,
    kept_until: keptUntil(retirement),
    snapshots: listSnapshots(client).length,
    authorized_keys: authorizedKeys ?? null,
  };
}

/** The time of an earlier `unenroll`; undefined if its file is damaged. */
function knownTime(since: string | undefined): string | undefined {
  return since === 'unknown' ? undefined : since;
}
