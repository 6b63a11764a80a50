/** The problems of a fetch, for standard error: files that could not be given back, damage in the store, and an unconfirmed offer. */
import type { FetchResult } from '../client/fetch.ts';
import { escapeText, quoteForShell, showName } from '../wire/text.ts';
import { DAMAGES } from './damage.ts';
import { manifestPath } from './path.ts';
import { differenceLine } from './restore-problems.ts';
import { moreText } from './table.ts';

/** Lines of a list that are printed; the others are counted. */
const SHOWN = 15;

/** The folder and the account, for the commands and the reasons in messages. */
interface Asked {
  to: string;
  isRootUser: boolean;
}

/** For standard error; '' without a problem. */
export function fetchProblems(result: FetchResult, asked: Asked): string {
  return [
    lacksText(result, asked),
    damagedText(result),
    notesText(result),
    openText(result, asked),
    uncomparedText(result),
    unconfirmedText(result),
  ].join('');
}

function lacksText(
  { notGivenBack: lines, notGivenBackCount: count, differences }: FetchResult,
  { isRootUser }: Asked,
): string {
  if (count === 0) return '';
  const shown = lines.slice(0, SHOWN);
  return [
    `dialback: Cannot give everything back: ${count} differ from the snapshot\n`,
    ...differences.filter(each => each.lacking > 0).map(each => `  ${differenceLine(each)}\n`),
    ...shown.map(line => `  ${escapeText(line, 5000)}\n`),
    moreText(lines.length, shown),
    `next: ${isRootUser ? 'fetch to a folder on ext4, XFS or Btrfs, where these can be kept' : 'fetch as root, with another offer'}\n`,
  ].join('');
}

function notesText({ differences }: FetchResult): string {
  const kinds = differences.filter(each => each.lacking === 0);
  if (kinds.length === 0) return '';
  return [
    'dialback: Note: not as they were, since only root may set it, or the store could not keep it:\n',
    ...kinds.map(each => `  ${differenceLine(each)}\n`),
  ].join('');
}

function damagedText({ damaged, damagedCount: count, snapshot }: FetchResult): string {
  if (count === 0) return '';
  const shown = damaged.slice(0, SHOWN);
  return [
    `dialback: Cannot give back as it was: ${count} files differ from the manifest of ${snapshot}\n`,
    ...shown.map(({ path, difference }) => `  ${showName(manifestPath(path))}: ${DAMAGES[difference]}\n`),
    moreText(count, shown),
    "next: ask the host's administrator to run dialback verify, and for an offer of another snapshot\n",
  ].join('');
}

function openText({ openTo }: FetchResult, { to, isRootUser }: Asked): string {
  if (openTo === null) return '';
  const what = isRootUser
    ? 'and run setuid programs and use devices there'
    : 'as far as the modes of the files allow';
  return [
    `dialback: Note: other accounts can get into "${escapeText(to)}" (mode ${openTo}), ${what}\n`,
    `next: chmod 700 ${quoteForShell(to)}\n`,
  ].join('');
}

function uncomparedText({ compared, unchecked }: FetchResult): string {
  const attributes = compared
    ? ''
    : 'dialback: Note: attributes are not compared: getfattr is not installed\nnext: apt-get install attr\n';
  const content =
    unchecked === 0
      ? ''
      : `dialback: Note: the content of ${unchecked} files is not compared: the host has no digest of them, or this account may not read them\n`;
  return attributes + content;
}

function unconfirmedText({ unconfirmed }: FetchResult): string {
  if (unconfirmed === null) return '';
  return `dialback: Note: the backup host does not know that all has arrived: ${escapeText(unconfirmed, 400)}\nnext: dialback offer NAME --revoke ID there, or wait until the offer expires\n`;
}
