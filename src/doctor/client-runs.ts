/** What `doctor` learns from the journal of this machine: whether the last runs failed, whatever the reason was. */

import { ALARMING_FAILURES } from '../store/health.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const RUNS = new Topic(
  'client.runs',
  'where run after run fails there is no new backup, whatever else looks well',
);

/**
 * @param journal of the state folder, the oldest entry first
 * @param remote its label
 */
export function checkRuns(journal: readonly Record<string, unknown>[], remote: string): Finding[] {
  const ended = journal.filter(each => each.event === 'finished' && each.remote === remote);
  const since = ended.slice(ended.findLastIndex(each => each.outcome !== 'failed') + 1);
  const last = since.at(-1);
  if (last === undefined || since.length < ALARMING_FAILURES) return [];
  const reason = typeof last.reason === 'string' ? last.reason : 'no reason is on record';
  return [
    RUNS.critical(
      `"${remote}": the last ${since.length} runs failed, the newest at ${String(last.time)}: ${escapeText(reason)}`,
      `dialback backup -v --remote ${remote}`,
    ),
  ];
}
