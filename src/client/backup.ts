/** `dialback backup`: one run for each remote, with its locks, its hooks and as many attempts as it takes. */

import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { refuseRoot } from '../os/account.ts';
import { deadlineSignal, monotonicMs, now, sleep } from '../os/clock.ts';
import { appendJournal } from '../os/journal.ts';
import { randomShare } from '../os/random.ts';
import { awaitLock, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { type HookEnd, requireHooks } from '../shared/hooks.ts';
import { configPath } from '../shared/toml.ts';
import { FAILURES, type FailureCode, type OutcomeEvent, type UnstoredEvent } from '../wire/events.ts';
import { escapeText } from '../wire/text.ts';
import { isChecksumDue, noteChecksum } from './checksum.ts';
import type { Compression } from './compression.ts';
import {
  type ClientConfig,
  type Remote,
  readClientConfig,
  remoteLock,
  remoteName,
  stateFolder,
} from './config.ts';
import { runWithHooks } from './hooks.ts';
import { awaitStore, isLocal, SKIPPED, wordsHere } from './local.ts';
import { decideRetry, isPassing, jitterWait } from './retry.ts';
import { lateFault, makeAttempt, type Run, waitsForDisk, warn } from './run.ts';

/** A signal is handled this long after it was sent, at the latest. */
const LATE_SIGNAL_MS = 500;

export interface BackupOptions {
  config: string | undefined;
  state: string | undefined;
  remote: string | undefined;
  dryRun: boolean;
  /** Whether somebody sits before it. */
  isAttended: boolean;
}

/** What a run says while it is under way. */
export type RunNews =
  | {
      event: 'phase';
      remote: string;
      phase: 'keys' | 'calling' | 'admitted' | 'dialling' | 'copying' | 'committing';
    }
  | {
      event: 'progress';
      remote: string;
      bytes: number;
      percent: number;
      /** Null where the host has not told; `percent` as in the event of that name (wire/events.ts). */
      files: { done: number; total: number; percent: number | null } | null;
    }
  /** Nothing is open meanwhile. `jitter`, `lock`, `disk`: before it begins; `retry`, `turn`: before it begins again. */
  | {
      event: 'waiting';
      remote: string;
      why: 'jitter' | 'lock' | 'disk' | 'retry' | 'turn';
      /** null: as long as the other run takes, or until the disk comes */
      ms: number | null;
      /** Why the last attempt failed, where there was one. */
      found: string | null;
    }
  | ({ event: 'compression'; remote: string } & Compression)
  /** `code`: of what it warns, where a person has to hear of it in any case. */
  | { event: 'warning'; remote: string; code?: string; message: string }
  | ({ event: 'hook'; remote: string } & HookEnd);

/** How the run of one remote ended. */
export interface RunOutcome {
  remote: string;
  /** The host's word; for a run that it said nothing of, undefined. */
  outcome: OutcomeEvent | undefined;
  /** What the host could not store, of an incomplete run. */
  unstored?: UnstoredEvent | undefined;
  /** Why it failed. */
  fault: Fault | undefined;
  /** Why it was left out, as the config or the hook `before` wants it; then there is no fault. */
  skipped?: string | undefined;
  exit: ExitStatus;
  durationMs: number;
  /** Why the hook at its end failed. */
  hookFault?: Fault;
}

/**
 * Backs up to each remote in turn, or to the one named; what befalls one does not stop the others.
 * @param interrupt aborts on a signal: then all is cleaned up, and no further remote is begun
 */
export async function backup(
  options: BackupOptions,
  interrupt: AbortSignal,
  tell: (news: RunNews) => void,
): Promise<RunOutcome[]> {
  refuseRoot('backup');
  const config = readClientConfig(configPath('client.toml', options.config));
  const remotes = config.remote.filter(
    each => options.remote === undefined || remoteName(each) === options.remote,
  );
  if (remotes.length === 0) {
    const known = config.remote.map(remoteName).join(', ');
    throw new Fault({
      tried: `find the remote "${options.remote}"`,
      found: `there are: ${known}`,
      exit: 'usage',
    });
  }
  if (!options.dryRun) requireHooks(config.hooks);
  const state = stateFolder(config, options.state);
  prepareStateFolder(state);
  const { dryRun, isAttended } = options;
  const jitterMs = jitterWait(config.schedule.jitter, isAttended || dryRun, randomShare());
  if (jitterMs > 0) {
    for (const remote of remotes.map(remoteName))
      tell({ event: 'waiting', remote, why: 'jitter', ms: jitterMs, found: null });
    await sleep(jitterMs, interrupt);
  }
  const outcomes: RunOutcome[] = [];
  for (const remote of remotes) {
    const outcome = await runOne({ config, remote, state, dryRun, interrupt, tell });
    outcomes.push(outcome);
    if (interrupt.aborted) break;
  }
  return outcomes;
}

/** The run of one remote, within one deadline: first it waits for what has to be there, then come its hooks, and its attempts. */
async function runOne(whole: Run): Promise<RunOutcome> {
  const remote = remoteName(whole.remote);
  const started = monotonicMs();
  const { deadline: deadlineMs } = whole.config.limits;
  const end: Ending = ({ outcome, unstored, fault, skipped }) => {
    const exit = fault ? EXIT[fault.exit] : outcome?.outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
    const durationMs = Math.round(monotonicMs() - started);
    return { remote, outcome, unstored, fault, skipped, exit, durationMs };
  };
  await using held = new AsyncDisposableStack();
  using deadline = deadlineSignal(deadlineMs, () => lateFault(remote, 'the deadline has passed'));
  const interrupt = AbortSignal.any([whole.interrupt, deadline.signal]);
  const run = { ...whole, interrupt };
  let isAbsent: boolean;
  try {
    await lockRemote(held, whole, interrupt);
    isAbsent =
      isLocal(run.remote) && (await awaitStore(run.remote, interrupt, waitsForDisk(run))) !== undefined;
  } catch (error) {
    // What befalls one remote does not stop the others, be it a mistake of ours.
    return end({
      outcome: undefined,
      unstored: undefined,
      fault: asFault(error, remote),
      skipped: undefined,
    });
  }
  const attempts = async (): Promise<RunOutcome> =>
    await attemptAll(run, whole.interrupt, () => deadlineMs - (monotonicMs() - started), end);
  // A run that is left out for want of its disk has nothing before it, and nothing after it.
  if (run.dryRun || (isAbsent && run.remote.absent === 'skip')) return await attempts();
  const tell = (hook: HookEnd): void => run.tell({ event: 'hook', remote, ...hook });
  const { config, state } = run;
  return await runWithHooks({ config, remote, journal: `${state}/journal.jsonl`, interrupt, tell }, attempts);
}

type Ending = (found: Pick<Attempt, 'outcome' | 'unstored' | 'fault' | 'skipped'>) => RunOutcome;

/** As many attempts as it takes. @param interrupted the user's wish alone; @param leftMs until the deadline */
async function attemptAll(
  run: Run,
  interrupted: AbortSignal,
  leftMs: () => number,
  end: Ending,
): Promise<RunOutcome> {
  const remote = remoteName(run.remote);
  let failures = 0;
  let turns = 0;
  let failingSinceMs = 0;
  for (let count = 1; ; count += 1) {
    const attempt = await attemptOne(run);
    const last = end({ ...attempt, fault: counted(attempt.fault, count) });
    if (run.interrupt.aborted) return last;
    failures = isPassing(attempt) ? failures + 1 : 0;
    if (failures === 1) failingSinceMs = monotonicMs();
    turns = attempt.code === 'full' ? turns + 1 : 0;
    const limits = {
      failures,
      turns,
      failingMs: monotonicMs() - failingSinceMs,
      retryMs: run.config.schedule.retry,
      leftMs: leftMs(),
    };
    const retry = decideRetry(attempt, limits, randomShare());
    if (retry === undefined) return last;
    const found = attempt.fault?.message ?? null;
    run.tell({ event: 'waiting', remote, why: retry.why, ms: retry.waitMs, found });
    try {
      await sleep(retry.waitMs, run.interrupt);
    } catch (error) {
      return interrupted.aborted ? end({ ...attempt, fault: asFault(error, remote) }) : last;
    }
  }
}

/** A fault that says how often it was tried. */
function counted(fault: Fault | undefined, count: number): Fault | undefined {
  if (fault === undefined || count === 1) return fault;
  const { tried, found, next, exit, code } = fault;
  const more = { ...(next === undefined ? {} : { next }), ...(code === undefined ? {} : { code }) };
  return new Fault({ tried, found: `${found} (${count} attempts)`, exit, ...more });
}

function asFault(error: unknown, remote: string): Fault {
  const first = firstError(error);
  if (first instanceof Fault) return first.exit === 'interrupted' ? interruptedFault(remote, first) : first;
  return new Fault({ tried: `back up to "${remote}"`, found: describe(first) });
}

/** One run of a remote at a time; of those that wait for it, one: what comes later has nothing to add. */
async function lockRemote(held: AsyncDisposableStack, run: Run, interrupt: AbortSignal): Promise<void> {
  const remote = remoteName(run.remote);
  const path = remoteLock(run.state, run.remote);
  const locked = (found: string): Fault =>
    new Fault({ tried: `back up to "${remote}"`, found, exit: 'locked' });
  if ((await takeLock(held, path)) !== undefined) return;
  if (run.config.schedule.when_locked === 'fail') throw locked('another run is under way');
  await using waiting = new AsyncDisposableStack();
  if ((await takeLock(waiting, `${path}.next`)) === undefined)
    throw locked('another run is under way, and the next one waits for it already');
  run.tell({ event: 'waiting', remote, why: 'lock', ms: null, found: null });
  try {
    await awaitLock(held, path, interrupt);
  } catch (error) {
    if (!interrupt.aborted || run.interrupt.aborted) throw error;
    throw locked('another run has been under way until the deadline');
  }
}

/** How an attempt ended. */
interface Attempt {
  outcome: OutcomeEvent | undefined;
  unstored: UnstoredEvent | undefined;
  fault: Fault | undefined;
  /** Why it was left out. */
  skipped: string | undefined;
  code: FailureCode | null;
  toldMs: number | undefined;
}

/** One attempt, and its two lines in the journal. */
async function attemptOne(run: Run): Promise<Attempt> {
  const remote = remoteName(run.remote);
  const journal = `${run.state}/journal.jsonl`;
  let outcome: OutcomeEvent | undefined;
  let unstored: UnstoredEvent | undefined;
  let fault: Fault | undefined;
  let skipped: string | undefined;
  let toldMs: number | undefined;
  const checksums = { every: run.config.limits.checksum_every, remote, state: run.state };
  try {
    appendJournal(journal, { time: now().toISOString(), event: 'started', remote, dry_run: run.dryRun });
    const checksum = !run.dryRun && isChecksumDue(checksums);
    const heard = await makeAttempt({ ...run, checksum });
    outcome = heard.outcome;
    unstored = outcome.outcome === 'incomplete' ? heard.unstored : undefined;
    if (outcome.code === null && !run.dryRun) {
      try {
        await noteChecksum(checksums, checksum);
      } catch (error) {
        warn(run, error); // the outcome stands
      }
    }
    toldMs = heard.waitMs;
    fault = outcomeFault(run.config, run.remote, outcome, heard);
  } catch (error) {
    // Ctrl-C ends our ssh too, and that can be known before the signal is.
    await sleep(LATE_SIGNAL_MS, run.interrupt).catch(() => {});
    const { reason } = run.interrupt;
    const isEnded = reason instanceof Fault && reason.exit === 'interrupted';
    const first = asFault(isEnded ? reason : error, remote);
    if (first.code === SKIPPED) skipped = first.found;
    else fault = first;
  }
  try {
    appendJournal(journal, {
      time: now().toISOString(),
      event: 'finished',
      remote,
      outcome: skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
      snapshot: outcome?.snapshot ?? null,
      transferred_bytes: outcome?.transferred_bytes ?? 0,
      reason: skipped ?? fault?.message ?? null,
    });
  } catch (error) {
    warn(run, error); // the outcome stands, on record or not
  }
  return { outcome, unstored, fault, skipped, code: outcome?.code ?? null, toldMs };
}

function describe(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

/** Nothing is lost by Ctrl-C. */
function interruptedFault(remote: string, { found }: Fault): Fault {
  const next = 'dialback backup (it goes on from what has arrived)';
  return new Fault({ tried: `back up to "${remote}"`, found, next, exit: 'interrupted' });
}

/**
 * A failed outcome in words: the code's sentence, never the host's own text.
 * @param heard sshdWords: what our own sshd complained of, which is often why the host was not let in
 */
function outcomeFault(
  config: ClientConfig,
  remote: Remote,
  outcome: OutcomeEvent,
  { sshdWords, waitMs }: { sshdWords: string; waitMs: number | undefined },
): Fault | undefined {
  if (outcome.code === null) return undefined;
  const [exit, sentence, usualNext] = FAILURES[outcome.code];
  const isTimed =
    ['too-early', 'full'].includes(outcome.code) && waitMs !== undefined && waitMs <= MOST_WAIT_MS;
  const here = isLocal(remote) ? wordsHere(outcome.code, config, remote) : undefined;
  const next = isTimed ? `try again in ${waitText(waitMs)}` : (here?.next ?? usualNext);
  const status =
    outcome.code !== 'rsync' || outcome.rsync_exit === null
      ? ''
      : ` (rsync's exit status ${outcome.rsync_exit})`;
  const sshd = outcome.code === 'denied' && sshdWords !== '' ? ` (our sshd: ${escapeText(sshdWords)})` : '';
  const found = `${here?.found ?? sentence}${status}${sshd}`;
  return new Fault({ tried: `back up to "${remoteName(remote)}"`, found, exit, ...(next ? { next } : {}) });
}

/** A host that says more says nothing. */
const MOST_WAIT_MS = 1000 * 86_400_000;

/** Rounded up: whoever comes after that time is not too early again. */
function waitText(ms: number): string {
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
