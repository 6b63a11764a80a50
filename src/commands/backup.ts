/** `dialback backup`: asks each backup host to fetch a backup of this machine, and reports the runs. */

import { backup as runBackup } from '../client/backup.ts';
import type { RunNews, RunOutcome } from '../client/run-events.ts';
import { EXIT, type ExitName } from '../fault.ts';
import { jsonPath } from '../os/byte-path.ts';
import { jsonText } from '../output/json.ts';
import { missingCount, missingFiles, missingText } from '../output/missing.ts';
import { openProgressLine, type ProgressLine } from '../output/progress.ts';
import { hookJson, hookWordsText, newsText } from '../output/run-news.ts';
import { showBytes, showDuration } from '../output/units.ts';
import { showName } from '../wire/text.ts';
import { Arguments, type Command, exitName, type Io, JSON_OPTION } from './command.ts';

type Volume = 'quiet' | 'normal' | 'verbose';

interface BackupRequest {
  config: string | undefined;
  state: string | undefined;
  remote: string | undefined;
  dryRun: boolean;
  json: boolean;
  volume: Volume;
}

export const backup: Command<BackupRequest> = {
  name: 'backup',
  usage: 'backup [--config F] [--state DIR] [--remote NAME] [--dry-run] [--json] [-q|-v]',
  side: 'client',
  summary: 'have this machine backed up now; -v prints each phase, -q only failures, --json is for programs',
  options: [
    { name: 'config', value: 'F', help: 'read this client.toml' },
    { name: 'state', value: 'DIR', help: 'keep locks, one-time keys and the journal in this folder' },
    { name: 'remote', value: 'NAME', help: 'back up to this [[remote]] of client.toml only' },
    { name: 'dry-run', help: 'transfer and keep nothing; show how much would be in the backup' },
    JSON_OPTION,
    { name: 'quiet', short: 'q', help: 'print failures only' },
    { name: 'verbose', short: 'v', help: 'print a line for each phase of a run' },
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(backup, words);
    if (given.has('quiet') && given.has('verbose')) throw given.refuse('-q and -v contradict each other');
    return {
      config: given.path('config'),
      state: given.path('state'),
      remote: given.text('remote'),
      dryRun: given.has('dry-run'),
      json: given.has('json'),
      volume: given.has('quiet') ? 'quiet' : given.has('verbose') ? 'verbose' : 'normal',
    };
  },

  async run(request, io) {
    const runs = await runAll(request, io);
    for (const run of runs) printRun(run, runs, request, io);
    return worstOf(runs);
  },
};

/** A run that failed matters more than one that is incomplete. */
function worstOf(runs: RunOutcome[]): ExitName {
  const statuses = runs.map(run => run.exit);
  const failed = statuses.find(status => status !== EXIT.done && status !== EXIT.incomplete);
  if (failed !== undefined) return exitName(failed);
  return statuses.includes(EXIT.incomplete) ? 'incomplete' : 'done';
}

/** Prints the events of the runs as they come. The progress line is gone before anything else is printed. */
async function runAll(request: BackupRequest, io: Io): Promise<RunOutcome[]> {
  const interrupt = io.interruption();
  const isUnwanted = request.json || request.volume === 'quiet';
  using line = isUnwanted ? undefined : openProgressLine(io.environment, interrupt);
  const isAttended = io.isTerminal(1) || io.isTerminal(2);
  return await runBackup({ ...request, isAttended }, interrupt, news => {
    if (request.json) io.print(news.event === 'hook' ? hookJson(news) : jsonText(news));
    else printNews(news, request.volume, line, io);
  });
}

function printNews(news: RunNews, volume: Volume, line: ProgressLine | undefined, io: Io): void {
  const isVerbose = volume === 'verbose';
  const hookWords = news.event === 'hook' ? hookWordsText(news, isVerbose) : '';
  const isUrgent =
    news.event === 'warning' && (line !== undefined || (news.code !== undefined && volume !== 'quiet'));
  const text = isVerbose || isUrgent ? newsText(news) : '';
  if (hookWords + text !== '') line?.clear();
  io.warn(hookWords);
  io.print(text);
  line?.hearRun(news);
}

/** Prints how a run ended. cron mails all output of a command: a success is reported only to a terminal or with -v. */
function printRun(run: RunOutcome, runs: RunOutcome[], { json, volume }: BackupRequest, io: Io): void {
  if (json) io.print(outcomeJson(run));
  else if (volume === 'verbose' || (volume === 'normal' && io.isTerminal(1))) io.print(summaryText(run));
  if (json) return;
  // Of several runs, say which one it was; most messages name the remote already.
  const isNamed = runs.length === 1 || run.fault?.message.includes(`"${run.remote}"`);
  if (run.fault) io.warn(io.plain(`dialback: ${isNamed ? '' : `${run.remote}: `}${run.fault.text()}\n`));
  else io.warn(missingText(run, runs.slice(0, runs.indexOf(run))));
  if (run.hookFault) io.warn(io.plain(`dialback: ${run.hookFault.text()}\n`));
}

/** The last JSON line of a run (docs/design.md, "JSON"). */
export function outcomeJson(run: RunOutcome): string {
  const { outcome, fault, hookFault } = run;
  const missing = missingFiles(run);
  const leftOut = run.leftOut?.folders ?? [];
  return jsonText({
    event: 'done',
    remote: run.remote,
    outcome: run.skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
    snapshot: outcome?.snapshot ?? null,
    files: outcome?.files ?? 0,
    bytes: outcome?.bytes ?? 0,
    transferred_bytes: outcome?.transferred_bytes ?? 0,
    duration_ms: run.durationMs,
    vanished: outcome?.vanished ?? 0,
    changed_during_run: outcome?.changed_during_run ?? 0,
    missing: missing.map(each => each.path),
    missing_reasons: missing.map(each => each.why),
    missing_count: missingCount(run),
    left_out_by_tag: leftOut.map(each => ({ path: jsonPath(each.path), tag: each.tag })),
    left_out_by_tag_new: (run.leftOut?.added ?? []).map(jsonPath),
    exit: run.exit,
    error: fault?.message ?? hookFault?.message ?? null,
    next: (fault ?? hookFault)?.next ?? null,
  });
}

/** One line on a run that has made a snapshot or was skipped; '' for one that failed, which its fault explains. */
export function summaryText(run: RunOutcome): string {
  const { outcome, remote } = run;
  if (run.skipped !== undefined) return `${remote}: skipped: ${run.skipped}\n`;
  if (!outcome || outcome.outcome === 'failed') return '';
  const vanished = outcome.vanished > 0 ? `; ${outcome.vanished} vanished before they were read` : '';
  const changed =
    outcome.changed_during_run > 0
      ? `; ${outcome.changed_during_run} changed during the run and will be in the next one`
      : '';
  const tagged = leftOutText(run.leftOut);
  const size = `${outcome.files} files and folders, ${showBytes(outcome.bytes)}`;
  if (outcome.snapshot === null)
    return `${remote}: dry run: ${size} would be in the backup; no file was kept${tagged}${vanished}${changed}\n`;
  const state = outcome.outcome === 'full' ? 'backed up' : 'backed up in part';
  const cost = `${showBytes(outcome.transferred_bytes)} sent, in ${showDuration(run.durationMs)}`;
  return `${remote}: ${state}: ${size}, in snapshot ${outcome.snapshot} (${cost})${tagged}${vanished}${changed}\n`;
}

/** New folders that are named. */
const ADDED_SHOWN = 5;

/** The folders that were left out by their tags; '' where there are none. */
function leftOutText(leftOut: RunOutcome['leftOut']): string {
  if (leftOut === undefined || leftOut.folders.length === 0) return '';
  const { folders, added } = leftOut;
  const count = folders.length === 1 ? 'one folder' : `${folders.length} folders`;
  const names = added.slice(0, ADDED_SHOWN).map(each => `"${showName(jsonPath(each))}"`);
  const news = added.length === 0 ? '' : `, ${added.length} of them new: ${names.join(', ')}`;
  const more = added.length > names.length ? ' and others' : '';
  return `; the contents of ${count} left out by tags${news}${more}`;
}
