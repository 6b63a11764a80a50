/** The result of a drill as text: a line for each client, and for standard error what was not given back. */
import type { Drilled } from '../store/drill.ts';
import { problemsText } from '../store/drill-record.ts';
import { escapeText, showName } from '../wire/text.ts';
import { DAMAGES } from './damage.ts';
import { manifestPath } from './path.ts';
import { differenceLine } from './restore-problems.ts';
import { moreText } from './table.ts';
import { showBytes } from './units.ts';

/** Lines of each list that are printed; the others are counted. */
const SHOWN = 15;

/** One line about a client. */
export function drillText(result: Drilled): string {
  const { client, snapshot, entries, chosen, files, bytes, problems, too_large: tooLarge } = result;
  if (result.failed !== null) return `${client}: not drilled\n`;
  if (snapshot === null) return `${client}: there is no snapshot yet\n`;
  const limit = `; ${tooLarge} larger than ${showBytes(result.max_bytes)} are never chosen`;
  const end = problems === 0 ? 'all as they were' : problemsText(problems);
  return `${client}: ${chosen} of ${entries} entries of ${snapshot}, with ${files} files (${showBytes(bytes)}), restored and compared: ${end}${tooLarge > 0 ? limit : ''}\n`;
}

/** For standard error; '' if everything was given back. */
export function drillProblems(results: readonly Drilled[]): string {
  const wrong = results.filter(each => each.problems > 0);
  const [first] = wrong;
  if (first === undefined) return '';
  const count = wrong.reduce((sum, each) => sum + each.problems, 0);
  return [
    `dialback: Cannot give back all that was backed up: ${problemsText(count)}\n`,
    ...wrong.map(problemsOf),
    `next: dialback verify ${first.client} (it tells which snapshots share the damaged files)\n`,
  ].join('');
}

function problemsOf({ client, snapshot, ...result }: Drilled): string {
  const { damaged, damaged_count: count, differences, messages } = result;
  const shown = damaged.slice(0, SHOWN);
  return [
    `  ${client}@${snapshot}\n`,
    ...shown.map(({ path, difference }) => `  ${showName(manifestPath(path))}: ${DAMAGES[difference]}\n`),
    moreText(count, shown),
    ...differences.map(each => `  ${differenceLine(each)}\n`),
    ...messages.slice(0, SHOWN).map(line => `  ${escapeText(line, 5000)}\n`),
    moreText(messages.length, messages.slice(0, SHOWN)),
  ].join('');
}
