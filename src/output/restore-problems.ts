/** The problems of a restore, for standard error: lost attributes, damaged files, and other accounts that can enter DIR. */
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import type { RestorePlan, RestoreResult } from '../store/restore.ts';
import type { DifferenceCount, Kind } from '../store/restore-difference.ts';
import { escapeText, quoteForShell, showName } from '../wire/text.ts';
import { DAMAGES } from './damage.ts';
import { manifestPath } from './path.ts';
import { moreText } from './table.ts';

const KIND_WORDS: Record<Kind, string> = {
  missing: 'missing',
  device: 'devices, not made',
  type: 'of another type',
  'link target': 'symbolic links with another target',
  owner: 'another owner',
  group: 'another group',
  'set-id bits': 'without setuid and setgid bits',
  mode: 'another mode',
  time: 'another time',
  'cut time': 'a time that the file system of the store has cut',
  ACL: 'another ACL',
  'user attribute': 'other attributes of the namespace user',
  'system attribute': 'other attributes, such as file capabilities',
};

/** One kind of difference, as a line of a list. */
export function differenceLine({ kind, count, examples }: DifferenceCount): string {
  const [first] = examples;
  const example =
    first === undefined ? '' : `, ${count === 1 ? '' : 'such as '}"${escapeText(showName(first), 4200)}"`;
  return `${count} ${KIND_WORDS[kind]}${example}`;
}

/** Lines of a list that are printed; the others are counted. */
const SHOWN = 15;

/** The request and the account, for the commands and the reasons in messages. */
export interface Asked {
  client: string;
  to: string;
  inert: boolean;
  isRootUser: boolean;
}

/** For standard error: files that are missing or differ, damage in the store, and other accounts that can enter DIR. */
export function restoreProblems(result: RestoreResult, asked: Asked): string {
  return [
    lacksText(result, asked, 'differ from the snapshot'),
    damagedFilesText(result, asked),
    ...sharedProblems(result, asked),
    uncomparedText(result),
  ].join('');
}

/** The same for a dry run. */
export function planProblems(plan: RestorePlan, asked: Asked): string {
  return [lacksText(plan, asked, 'would differ from the snapshot'), ...sharedProblems(plan, asked)].join('');
}

function sharedProblems(plan: RestorePlan, asked: Asked): string[] {
  return [lostText(plan), notesText(plan, asked), openText(plan, asked)];
}

/** The differences that make the restore incomplete: a line for each kind, and the messages of rsync. */
function lacksText(plan: RestorePlan, { isRootUser }: Asked, what: string): string {
  const { notGivenBack: lines, notGivenBackCount: count, differences } = plan;
  if (count === 0) return '';
  const shown = lines.slice(0, SHOWN);
  const kinds = differences.filter(each => each.lacking > 0);
  return [
    `dialback: Cannot give everything back: ${count} ${what}\n`,
    ...kinds.map(kindLine),
    ...shown.map(line => `  ${escapeText(line, 5000)}\n`),
    lines.length > shown.length ? moreText(lines.length, shown) : '',
    `next: ${isRootUser ? 'restore to a folder on ext4, XFS or Btrfs, where these can be kept' : 'restore as root'}\n`,
  ].join('');
}

function kindLine(difference: DifferenceCount): string {
  return `  ${differenceLine(difference)}\n`;
}

/** The differences that do not: attributes that only root may set, that --inert leaves out, or that the store had cut. */
function notesText({ differences }: RestorePlan, { inert, isRootUser }: Asked): string {
  const kinds = differences.filter(each => each.lacking === 0);
  const why = inert && isRootUser ? 'left out, as --inert says' : 'left out, since only root may set it';
  const [cut, left] = [true, false].map(isCut => kinds.filter(each => (each.kind === 'cut time') === isCut));
  return [
    ...(left?.length ? [`dialback: Note: ${why}:\n`, ...left.map(kindLine)] : []),
    ...(cut?.length ? [`dialback: Note: not as they were on the client:\n`, ...cut.map(kindLine)] : []),
  ].join('');
}

function uncomparedText({ compared }: RestoreResult): string {
  if (compared) return '';
  return `dialback: Note: the restored files are not compared with the snapshot: getfattr is not installed\nnext: apt-get install attr\n`;
}

function lostText({ lostAttributes, snapshot }: RestorePlan): string {
  if (!lostAttributes) return '';
  return `dialback: Cannot give back ${snapshot} as it was: ${LOST_ATTRIBUTES}\nnext: ${COPY_AGAIN}\n`;
}

function openText({ openTo }: RestorePlan, { to, inert, isRootUser }: Asked): string {
  if (openTo === null) return '';
  const what =
    isRootUser && !inert
      ? "and run the client's setuid programs and use its devices there"
      : "and read the client's files as far as their modes allow";
  return [
    `dialback: Note: other accounts can get into "${escapeText(to)}" (mode ${openTo}), ${what}\n`,
    `next: chmod 700 ${quoteForShell(to)}\n`,
  ].join('');
}

function damagedFilesText(
  { snapshot, damaged, damagedCount: count }: RestoreResult,
  { client }: Pick<Asked, 'client'>,
): string {
  if (count === 0) return '';
  const shown = damaged.slice(0, SHOWN);
  return [
    `dialback: Cannot give back as it was: ${count} files of ${snapshot} are damaged in the store\n`,
    ...shown.map(({ path, difference }) => `  ${showName(manifestPath(path))}: ${DAMAGES[difference]}\n`),
    moreText(count, shown),
    `next: dialback verify ${client} (it tells which snapshots share them), and restore them from another one\n`,
  ].join('');
}
