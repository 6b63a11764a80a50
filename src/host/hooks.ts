/** The host's hooks around one run. The client gets no information about them. */
import type { ExitStatus, Fault } from '../fault.ts';
import { type Facts, HookedRun, type Hooks } from '../shared/hooks.ts';
import { type ClientStore, recordEvent } from '../store/store.ts';
import type { OutcomeEvent } from '../wire/events.ts';
import { failure } from '../wire/events.ts';

/** A client gives up 90 s after its call if the host has not begun by then (client/run.ts, TAKEN_MS). */
const BEFORE_MOST_MS = 60_000;

/** The hooks of one run. Each hook that has ended is recorded in the client's journal. */
export class HostHooks {
  readonly #hooked: HookedRun;
  readonly #client: ClientStore;

  constructor(hooks: Hooks, client: ClientStore) {
    this.#client = client;
    this.#hooked = new HookedRun(hooks, { SIDE: 'host', CLIENT: client.name }, end => {
      const { hook, program, status, signal, durationMs, words, failed } = end;
      const how = { hook, program, status, signal, duration_ms: durationMs };
      recordEvent(client, 'hook', { ...how, words, reason: failed ?? null });
    });
  }

  /**
   * Runs `before`.
   * @throws Fault `too-early` if it says "not now"; a Fault without a code if it failed, which the client gets as `internal`
   */
  async begin(signal: AbortSignal): Promise<void> {
    const tried = `begin a run of "${this.#client.name}"`;
    if (await this.#hooked.begin(tried, signal, BEFORE_MOST_MS)) return;
    throw failure('too-early', 'the hook "before" said "not now"');
  }

  /** Runs `after` or `failed`, if `begin` was called. @returns the reason if that hook failed */
  async end(
    outcome: OutcomeEvent,
    fault: Fault | undefined,
    { exit, durationMs }: { exit: ExitStatus; durationMs: number },
  ): Promise<Fault | undefined> {
    const common: Facts = { OUTCOME: outcome.outcome, EXIT: exit, DURATION: Math.round(durationMs / 1000) };
    const isWell = outcome.code === null;
    const facts: Facts = isWell
      ? {
          SNAPSHOT: outcome.snapshot,
          SNAPSHOT_PATH: `${this.#client.folder}/snapshots/${outcome.snapshot}`,
          FILES: outcome.files,
          BYTES: outcome.bytes,
          SENT_BYTES: outcome.transferred_bytes,
        }
      : { REASON: fault?.message ?? null };
    return await this.#hooked.end(isWell, { ...common, ...facts });
  }
}
