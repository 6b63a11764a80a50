/**
 * The outcome of a pull: full, incomplete or failed. rsync's report and the arriving tree decide, not only the exit status: the client's
 * rsync can make ours exit with any status (MSG_ERROR_EXIT, `@RSYNCD: EXIT`).
 */
import { readdir } from '../os/files.ts';
import { standard, start } from '../os/process.ts';
import { recordsOf } from '../os/records.ts';
import type { Arrival } from '../store/arrival.ts';
import { type FailureCode, failedOutcome, type OutcomeEvent } from '../wire/events.ts';
import { RSYNC_EXIT } from '../wire/rsync-output.ts';
import type { PullEnd } from './pull.ts';

/** An outcome, and the reason for the host's log if it is a failure. */
interface PullOutcome {
  outcome: OutcomeEvent;
  reason: string;
}

/** The facts besides rsync's end that decide the outcome. */
interface PullContext {
  arrival: Pick<Arrival, 'name' | 'tree'>;
  isDryRun: boolean;
  /** Whether the client's first byte has arrived. */
  hasSpoken: boolean;
  signal: AbortSignal;
}

/** rsync's exit statuses for errors in socket I/O and in its data stream (rsync(1), EXIT VALUES), and ssh's for any error. */
const CONNECTION_STATUSES = [10, 12, 255];

/**
 * Decides the outcome of a pull. rsync's exit status 23 is incomplete, and 24 is full.
 * @throws Fault if the tree cannot be read; or the signal's reason
 */
export async function outcomeOf(end: PullEnd, context: PullContext): Promise<PullOutcome> {
  const { arrival, isDryRun } = context;
  const { status } = end.ending;
  if (end.isRefusedByLauncher)
    return { outcome: failedOutcome('config'), reason: 'the launcher did not confine rsync' };
  const exit = status ?? 255;
  const failed = (code: FailureCode, reason: string) => ({ outcome: failedOutcome(code, status), reason });
  // Files that changed while they were read make rsync exit with "partial". Unlike missing files, they need no report.
  const isOnlyChanged =
    exit === RSYNC_EXIT.partial && end.changedDuringRun > 0 && end.missingCount + end.wordCount === 0;
  const isWhole = exit === 0 || exit === RSYNC_EXIT.vanished || isOnlyChanged;
  if (!isWhole && exit !== RSYNC_EXIT.partial) return failed(...abortReason(end, exit, context.hasSpoken));
  if (end.isOutOfSpace) return failed('no-space', 'the store is full');
  if (isWhole && !end.hasStatistics)
    return failed('rsync', `rsync exited with ${exit}, but did not report what it did`);
  if (!isWhole && end.counts.files + end.counts.folders === 0)
    return failed('nothing', 'none of the roots could be read');
  // If a partial transfer stored nothing at all, the host has failed. It is not that something is missing on the client.
  if (!isWhole && !isDryRun && readdir(arrival.tree).length === 0)
    return failed('rsync', 'no entry could be stored');
  if (end.missingCount > 0 && end.counts.files === 0)
    return failed('nothing', 'no folder that has files could be listed');
  // A dry run opens no file.
  const isDoubtful = end.unopened > 0 || (!isWhole && end.regularFiles > 0);
  if (isDoubtful && !isDryRun && !(await hasContent(end, context)))
    return failed('nothing', `none of ${end.regularFiles} files could be read`);
  return { outcome: successOf(end, arrival, isWhole), reason: '' };
}

/** The code and the reason for a pull that rsync did not finish. */
function abortReason(end: PullEnd, exit: number, hasSpoken: boolean): [code: FailureCode, reason: string] {
  const { signal } = end.ending;
  if (end.isOutOfSpace) return ['no-space', 'the store is full'];
  if (signal) return ['interrupted', `rsync was killed by ${signal}`];
  // The output of a start-up file of the client's account comes before rsync's greeting. rsync's message can be cut off after that
  // output. rsync prints the second message also if no line or no byte came at all.
  const isForeign = (message: string): boolean =>
    message.startsWith('rsync: server sent "') ||
    (hasSpoken && message.startsWith('rsync: did not see server greeting'));
  if (end.words.some(isForeign)) return ['no-answer', 'another program than rsync wrote first'];
  if (exit === RSYNC_EXIT.timeout || end.isIdle) return ['idle', 'no data arrived for too long'];
  if (!hasSpoken) return ['no-answer', `the connection ended before rsync answered (exit status ${exit})`];
  if (CONNECTION_STATUSES.includes(exit)) return ['broken', `rsync's connection broke (exit status ${exit})`];
  return ['rsync', `rsync's exit status is ${exit}`];
}

function successOf(end: PullEnd, arrival: Pick<Arrival, 'name' | 'tree'>, isWhole: boolean): OutcomeEvent {
  const { files, bytes, transferred_bytes } = end.counts;
  return {
    event: 'outcome',
    outcome: isWhole && end.missingCount + end.unstored.count === 0 ? 'full' : 'incomplete',
    code: null,
    rsync_exit: end.ending.status,
    snapshot: arrival.name,
    files,
    bytes,
    transferred_bytes,
    vanished: end.vanished,
    changed_during_run: end.changedDuringRun,
    missing_count: end.missingCount,
    missing: end.missing,
  };
}

/**
 * Whether the tree has the content of at least one file. Links, devices and other entries arrive without being opened. They are regular
 * files too in a fake-super tree, so the tree must have more regular files than the client has such entries.
 */
async function hasContent(end: PullEnd, { arrival, signal }: PullContext): Promise<boolean> {
  // Each file that was sent and is not complete has a message. If there are more files than messages, one is complete.
  if (end.sentFiles > end.missingCount + end.wordCount) return true;
  // --partial keeps the part of a file that arrived before a read error.
  let others = end.counts.files - end.regularFiles + Math.floor(end.unread / 2);
  // rsync does not list a file that it links from the last snapshot, so the tree itself is counted, until there are enough.
  const words = ['-P', arrival.tree, '-type', 'f', '-printf', '\\0'];
  const find = await start(standard('find', words), ['nothing', 'pipe', 'nothing']);
  try {
    for await (const records of recordsOf(find, 1)) {
      signal.throwIfAborted();
      others -= records.length;
      if (others < 0) return true;
    }
    return false;
  } finally {
    await find.end();
  }
}
