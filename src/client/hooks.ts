/** The hooks of one remote's run: what they are told, and what they make of its outcome. */
import { EXIT, Fault } from '../fault.ts';
import { monotonicMs, now } from '../os/clock.ts';
import { appendJournal } from '../os/journal.ts';
import { type Facts, type HookEnd, HookedRun, hasHooks } from '../shared/hooks.ts';
import type { RunOutcome } from './backup.ts';
import { type ClientConfig, clientName } from './config.ts';

/** A run as its hooks see it. */
export interface Hooked {
  config: ClientConfig;
  remote: string;
  /** The journal's path. */
  journal: string;
  interrupt: AbortSignal;
  /** Is told of each hook that has ended. */
  tell: (end: HookEnd) => void;
}

/**
 * A run with its hooks around it: all of it, whatever `work` does to make it go well.
 * @param work has to note what it does in the journal itself; a run that does not come to it is noted here
 */
export async function runWithHooks(
  { config, remote, journal, interrupt, tell }: Hooked,
  work: () => Promise<RunOutcome>,
): Promise<RunOutcome> {
  if (!hasHooks(config.hooks)) return await work();
  const started = monotonicMs();
  const note = (event: string, more: Record<string, unknown>): void =>
    appendJournal(journal, { time: now().toISOString(), event, remote, ...more });
  const facts: Facts = { SIDE: 'client', CLIENT: clientName(config), REMOTE: remote };
  const hooked = new HookedRun(config.hooks, facts, end => {
    const { hook, program, status, signal, durationMs, failed } = end;
    tell(end);
    note('hook', { hook, program, status, signal, duration_ms: durationMs, reason: failed ?? null });
  });
  const ended = (more: Partial<RunOutcome>): RunOutcome => ({
    remote,
    outcome: undefined,
    fault: undefined,
    exit: EXIT.done,
    durationMs: Math.round(monotonicMs() - started),
    ...more,
  });
  let run: RunOutcome;
  try {
    if (!(await hooked.begin(`back up to "${remote}"`, interrupt))) {
      const skipped = 'the hook "before" said "not now"';
      note('skipped', { reason: skipped });
      return ended({ skipped });
    }
    run = await work();
  } catch (error) {
    // A journal that cannot be written, above all: nothing is to be left as `before` made it.
    const fault = error instanceof Fault ? error : undefined;
    if (!fault) {
      await hooked.end(false, { OUTCOME: 'failed', EXIT: EXIT.failed, REASON: String(error) });
      throw error;
    }
    run = ended({ fault, exit: EXIT[fault.exit] });
    try {
      note('finished', { outcome: 'failed', snapshot: null, transferred_bytes: 0, reason: fault.message });
    } catch {
      // it is what the fault says, or the fault says what matters more
    }
  }
  const isWell = run.fault === undefined && run.outcome !== undefined && run.outcome.outcome !== 'failed';
  const hookFault = await hooked.end(isWell, factsOf(run));
  if (!hookFault) return run;
  return { ...run, hookFault, exit: run.exit === EXIT.done ? EXIT.incomplete : run.exit };
}

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
