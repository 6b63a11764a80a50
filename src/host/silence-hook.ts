/**
 * The hook `silent` of host.toml: it runs once for each silence of a client. `prune` and `metrics` run it, after their own work.
 * `status` does not, because a monitoring plugin has to answer within seconds.
 *
 * clients/NAME/silence.json remembers it. It is written before the hook starts: after a power cut in the middle it does not run
 * again, since it may have sent its message. If the hook fails, it runs again after an hour at the earliest. A lock for the whole
 * store excludes a second process.
 */
import type { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { stat } from '../os/files.ts';
import { takeLockOrFolder } from '../os/runfolder.ts';
import { type HostHooks, runSilentHook } from '../shared/hooks.ts';
import type { ClientOverview } from '../store/overview.ts';
import { isToldOf, type Silence, type Told } from '../store/silence.ts';
import { forgetTold, readTold, writeTold } from '../store/silence-record.ts';
import { type ClientStore, openClient, recordQuietly } from '../store/store.ts';

/** A hook that failed is not tried again before this time. */
const AGAIN_MS = 3_600_000;

/**
 * Runs the hook for each client whose silence it was not run for, and forgets the silences that have ended. Another account than the
 * store's owner does nothing.
 * @param clients of an overview that was just made
 * @returns a fault for each client whose hook failed
 * @throws the signal's reason
 */
export async function tellSilences(
  store: string,
  hooks: HostHooks,
  clients: readonly Pick<ClientOverview, 'client' | 'silent' | 'problems'>[],
  signal: AbortSignal,
): Promise<Fault[]> {
  if (stat(store).uid !== ownAccount().uid) return [];
  const readable = clients.filter(({ problems }) => !problems.some(({ code }) => code === 'unreadable'));
  const due = readable.filter(each => isDue(openClient(store, each.client), each.silent, hooks));
  if (due.length === 0) return [];
  await using held = new AsyncDisposableStack();
  if ((await takeLockOrFolder(held, `${store}/silence.lock`, store)) === undefined) return [];
  const faults: Fault[] = [];
  for (const { client: name, silent } of due) {
    const client = openClient(store, name);
    // Another process can have told it before we had the lock.
    if (!isDue(client, silent, hooks)) continue;
    if (silent === null) forgetTold(client);
    else faults.push(...(await tell(client, silent, hooks, signal)));
  }
  return faults;
}

/** Whether the record of a client has to change. */
function isDue(client: ClientStore, silent: Silence | null, hooks: HostHooks): boolean {
  const told = readTold(client);
  if (silent === null) return told !== undefined;
  if (hooks.silent === undefined) return false;
  return !isToldOf(told, silent) || (told?.result === 'failed' && isLongAgo(told));
}

/** Whether an hour has passed. A time in the future is of a clock that was set back. */
function isLongAgo({ told }: Told): boolean {
  const ms = now().getTime() - Date.parse(told);
  return ms < 0 || ms >= AGAIN_MS;
}

async function tell(
  client: ClientStore,
  { last_full, max_age_ms, reason }: Silence,
  hooks: HostHooks,
  signal: AbortSignal,
): Promise<Fault[]> {
  const told = now().toISOString();
  writeTold(client, { last_full, told, result: 'started' });
  const facts = {
    ...{ SIDE: 'host', CLIENT: client.name, OUTCOME: 'silent', REASON: reason },
    ...{ SNAPSHOT: last_full, MAX_AGE: Math.round(max_age_ms / 1000) },
  };
  const { fault, end } = await runSilentHook(hooks, facts, signal);
  if (end !== undefined) {
    const { hook, program, status, signal: killer, durationMs, words, failed } = end;
    const how = { hook, program, status, signal: killer, duration_ms: durationMs };
    recordQuietly(client, 'hook', { ...how, words, reason: failed ?? null });
  }
  writeTold(client, { last_full, told, result: fault === undefined ? 'done' : 'failed' });
  signal.throwIfAborted();
  return fault === undefined ? [] : [fault];
}
