/** The hooks of a client's run: which facts they get, and how a hook changes the outcome of the run. */
import { EXIT, Fault } from '../fault.ts';
import { monotonicMs, now } from '../os/clock.ts';
import { appendJournal } from '../os/journal.ts';
import { type Facts, HookedRun, hasHooks } from '../shared/hooks.ts';
import { clientName } from './config.ts';
import type { Run, RunOutcome } from './run-events.ts';

/**
 * Runs `work` between the hook `before` and the hook `after` or `failed`. The hooks surround all attempts, not each one.
 * @param work records its own end in the journal; a run that does not get as far is recorded here
 * @returns the outcome of `work`; a skipped run where `before` asked for that; a failed run where a hook failed
 */
export async function runWithHooks(run: Run, work: () => Promise<RunOutcome>): Promise<RunOutcome> {
  const { config, events, interrupt } = run;
  const { remote } = events;
  if (!hasHooks(config.hooks)) return await work();
  const started = monotonicMs();
  const record = (event: string, more: Record<string, unknown>): void =>
    appendJournal(`${run.state}/journal.jsonl`, { time: now().toISOString(), event, remote, ...more });
  const facts: Facts = { SIDE: 'client', CLIENT: clientName(config), REMOTE: remote };
  const hooked = new HookedRun(config.hooks, facts, end => {
    const { hook, program, status, signal, durationMs, failed } = end;
    events.hook(end);
    record('hook', { hook, program, status, signal, duration_ms: durationMs, reason: failed ?? null });
  });
  const ended = (more: Partial<RunOutcome>): RunOutcome => ({
    remote,
    outcome: undefined,
    fault: undefined,
    exit: EXIT.done,
    durationMs: Math.round(monotonicMs() - started),
    ...more,
  });
  let outcome: RunOutcome;
  try {
    if (!(await hooked.begin(`back up to "${remote}"`, interrupt))) {
      const skipped = 'the hook "before" said "not now"';
      record('skipped', { reason: skipped });
      return ended({ skipped });
    }
    outcome = await work();
  } catch (error) {
    // Even if the journal cannot be written: the last hook must undo what `before` did.
    if (!(error instanceof Fault)) {
      await hooked.end(false, { OUTCOME: 'failed', EXIT: EXIT.failed, REASON: String(error) });
      throw error;
    }
    outcome = ended({ fault: error, exit: EXIT[error.exit] });
    try {
      record('finished', {
        outcome: 'failed',
        snapshot: null,
        transferred_bytes: 0,
        reason: error.message,
      });
    } catch {
      // The first fault is this one, or matters more.
    }
  }
  return withLastHook(outcome, await hooked.end(hasSucceeded(outcome), factsOf(outcome)));
}

/** A failed hook makes a good run an incomplete one. */
function withLastHook(outcome: RunOutcome, hookFault: Fault | undefined): RunOutcome {
  if (!hookFault) return outcome;
  return { ...outcome, hookFault, exit: outcome.exit === EXIT.done ? EXIT.incomplete : outcome.exit };
}

function hasSucceeded({ fault, outcome }: RunOutcome): boolean {
  return fault === undefined && outcome !== undefined && outcome.outcome !== 'failed';
}

/** The facts that the hook at the end of a run gets. */
function factsOf({ outcome, fault, exit, durationMs }: RunOutcome): Facts {
  const common: Facts = { EXIT: exit, DURATION: Math.round(durationMs / 1000) };
  if (fault || !outcome || outcome.outcome === 'failed')
    return { ...common, OUTCOME: 'failed', REASON: fault?.message ?? null };
  return {
    ...common,
    OUTCOME: outcome.outcome,
    SNAPSHOT: outcome.snapshot,
    FILES: outcome.files,
    BYTES: outcome.bytes,
    SENT_BYTES: outcome.transferred_bytes,
  };
}
