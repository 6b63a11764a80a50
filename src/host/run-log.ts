/**
 * The host's record of a request: a line in the client's journal in the store, and one in the system's log. They hold the reason of a
 * failure as text, which the client does not get.
 */
import { Fault } from '../fault.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { type ClientStore, recordEvent } from '../store/store.ts';
import { FAILURES, type OutcomeEvent } from '../wire/events.ts';
import { escapeText } from '../wire/text.ts';

const LOGGER_MS = 5_000;

/** The record of one request. Its fields are filled while the request is served. */
export class RunLog {
  /** Whether lines go to the system's log (`syslog` in host.toml). */
  hasSyslog = true;
  /** The client's folder, once it is open. Before that there is no journal. */
  client: ClientStore | undefined;
  /** The caller's address. */
  peer: string | undefined;
  /** Set for a fetch: the id of its offer, once it is known, and the action of the request. */
  fetch: { offer: string | null; action: string | null } | undefined;
  readonly #name: string;

  /** @param name the name that the client's key is enrolled under */
  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Writes the outcome to the journal and to the system's log.
   * @returns false if the store was there and the journal could not be written, except for a lack of space
   */
  async writeOutcome(outcome: OutcomeEvent, fault: Fault | undefined, durationMs: number): Promise<boolean> {
    const { missing: _, event: __, ...numbers } = outcome;
    const event = this.fetch ? fetchEvent(outcome) : journalEvent(outcome);
    let isRecorded = true;
    try {
      if (this.client) {
        recordEvent(this.client, event, {
          peer: this.peer ?? null,
          ...this.fetch,
          ...(this.fetch
            ? { outcome: outcome.outcome, code: outcome.code, snapshot: outcome.snapshot }
            : numbers),
          reason: fault?.message ?? null,
          duration_ms: durationMs,
        });
      }
    } catch (error) {
      // On a full disk only the system's log has the reason.
      isRecorded = error instanceof Fault && error.exit === 'noSpace';
    }
    if (event === 'queued') return isRecorded;
    const reason = fault ? ` (${escapeText(fault.message, 1000)})` : '';
    const snapshot = outcome.snapshot ? ` ${outcome.snapshot}` : '';
    await this.writeSyslog(`${outcome.outcome}${snapshot}${reason}`);
    return isRecorded;
  }

  /** Writes a line to the system's log, if there is one. Never throws. */
  async writeSyslog(text: string): Promise<void> {
    if (!this.hasSyslog || !hasProgram('logger')) return;
    const line = `${this.#name}: ${text}`;
    try {
      await run(standard('logger', ['-t', 'dialback', '-p', 'daemon.notice', '--', line]), {
        timeoutMs: LOGGER_MS,
      });
    } catch {
      // Without a log daemon only the journal has the line.
    }
  }
}

/** The same for a fetch, which is no run of the client. */
function fetchEvent({ code }: OutcomeEvent): 'fetch' | 'fetch-refused' {
  return code !== null && FAILURES[code][0] === 'refused' ? 'fetch-refused' : 'fetch';
}

/** The name of the journal's event for an outcome. */
function journalEvent({ code }: OutcomeEvent): 'run' | 'refused' | 'queued' {
  if (code === 'full') return 'queued';
  return code !== null && FAILURES[code][0] === 'refused' ? 'refused' : 'run';
}
