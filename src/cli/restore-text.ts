/** What a restore and its dry run say. */

import { showAge, showBytes } from '../output/units.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import type { Planned, RestorePlan, RestoreResult } from '../store/restore.ts';
import type { DifferenceCount, Kind } from '../store/restore-difference.ts';
import { escapeText, type JsonName, quoteForShell, showName } from '../wire/text.ts';
import { clientPath, DAMAGES, damagedPath, moreText } from './print.ts';

/** A name that a restore would write, for --json. */
export function plannedJson({ path }: Planned): JsonName {
  return clientPath(path);
}

/** A name that a restore would write, on a line. */
export function plannedText({ path, type, isReplacing }: Planned): string {
  const slash = type === 'folder' && path.length > 0 ? '/' : '';
  return `${showName(clientPath(path))}${slash}${isReplacing ? ' (replaces what is there)' : ''}\n`;
}

/** What a dry run of a restore says at its end. */
export function planText(to: string, result: RestorePlan): string {
  const notes = snapshotNotes(result);
  const note = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return `would restore ${amountText(result)}${note} to "${escapeText(to)}"\n`;
}

/** What a user of `latest` must know: it can be older than it seems. */
function snapshotNotes({ state, age_ms, newer }: RestorePlan): string[] {
  return [
    ...(state === 'incomplete' ? ['the snapshot is incomplete'] : []),
    ...(newer.length > 0
      ? [`it is ${showAge(age_ms)} old; newer ones are incomplete or from the future: ${newer.join(', ')}`]
      : []),
  ];
}

function amountText({ files, bytes, snapshot }: RestorePlan): string {
  return `${files} files, ${showBytes(bytes)}, of ${snapshot}`;
}

/** What a restore gave back, and what it could not. */
export function restoreText(to: string, result: RestoreResult): string {
  const notes = [
    ...snapshotNotes(result),
    ...(result.checked ? [] : ['not compared with a manifest: there is none to go by']),
    ...(result.closedTop === null
      ? []
      : [`the folder stays closed to others (mode 0700); the client's "/" had mode ${result.closedTop}`]),
  ];
  const note = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return `restored ${amountText(result)}${note} to "${escapeText(to)}"\n`;
}

/** What a restore gave back, for programs. */
export function restoredJson(result: RestoreResult): object {
  const damaged = result.damaged.map(each => ({ ...each, path: damagedPath(each.path) }));
  return { ...result, damaged };
}

const KIND_WORDS: Record<Kind, string> = {
  missing: 'missing',
  device: 'devices, not made',
  type: 'of another type',
  'link target': 'links that lead elsewhere',
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

function differenceLine({ kind, count, examples }: DifferenceCount): string {
  const [first] = examples;
  const example =
    first === undefined ? '' : `, ${count === 1 ? '' : 'such as '}"${escapeText(showName(first), 4200)}"`;
  return `${count} ${KIND_WORDS[kind]}${example}`;
}

/** Lines of a list that are printed; the rest is counted. */
const SHOWN = 15;

/** Who restored, and what: for the commands in messages. */
export interface Asked {
  client: string;
  to: string;
  inert: boolean;
  isRootUser: boolean;
}

/** For standard error: what could not be given back, what is not as it was in the store, and who can get into DIR. */
export function restoreProblems(result: RestoreResult, asked: Asked): string {
  return [
    lacksText(result, asked, 'differ from the snapshot'),
    damagedFilesText(result, asked),
    ...sharedProblems(result, asked),
    uncomparedText(result),
  ].join('');
}

/** The same of a dry run. */
export function planProblems(plan: RestorePlan, asked: Asked): string {
  return [lacksText(plan, asked, 'would differ from the snapshot'), ...sharedProblems(plan, asked)].join('');
}

function sharedProblems(plan: RestorePlan, asked: Asked): string[] {
  return [lostText(plan), notesText(plan, asked), openText(plan, asked)];
}

/** What matters: messages of rsync, and one line for each kind of difference. */
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

/** What this account could not set, what was left out as asked, and what the store itself has changed. */
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
  return `dialback: Note: what was restored is not compared with the snapshot: getfattr is not installed\nnext: apt-get install attr\n`;
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

/** The files that a restore gave back otherwise than they were backed up. */
export function damagedFilesText(
  { snapshot, damaged, damagedCount: count }: RestoreResult,
  { client }: Pick<Asked, 'client'>,
): string {
  if (count === 0) return '';
  const shown = damaged.slice(0, SHOWN);
  return [
    `dialback: Cannot give back as it was: ${count} files of ${snapshot} are damaged in the store\n`,
    ...shown.map(({ path, difference }) => `  ${showName(damagedPath(path))}: ${DAMAGES[difference]}\n`),
    moreText(count, shown),
    `next: dialback verify ${client} (it tells which snapshots share them), and restore them from another one\n`,
  ].join('');
}
