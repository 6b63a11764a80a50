/** `dialback restore`: files of a snapshot, written below a folder of the backup host. */
import { resolve } from 'node:path';
import type { ExitName } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { DAMAGES } from '../output/damage.ts';
import { jsonText } from '../output/json.ts';
import { clientPath, manifestPath } from '../output/path.ts';
import { openProgressLine } from '../output/progress.ts';
import { moreText } from '../output/table.ts';
import { showAge, showBytes } from '../output/units.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import {
  type Planned,
  planRestore,
  type RestoreOptions,
  type RestorePlan,
  type RestoreResult,
  restore as restoreFiles,
} from '../store/restore.ts';
import type { DifferenceCount, Kind } from '../store/restore-difference.ts';
import { escapeText, type JsonName, quoteForShell, showName } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget } from './target.ts';

interface RestoreRequest {
  client: string;
  snapshot: string;
  paths: string[];
  config: string | undefined;
  to: string;
  force: boolean;
  inert: boolean;
  dryRun: boolean;
  json: boolean;
}

export const restore: Command<RestoreRequest> = {
  name: 'restore',
  usage: 'restore NAME[@SNAPSHOT] [PATH…] --to DIR [--config F] [--force] [--inert] [--dry-run] [--json]',
  side: 'host',
  summary:
    'write files below DIR; as root with all attributes; --inert: no set-id bits, devices, file capabilities',
  options: [
    HOST_CONFIG,
    { name: 'to', value: 'DIR', help: 'the folder to write to; it is made if it does not exist' },
    { name: 'force', help: 'write to a folder that is not empty, and replace what is there' },
    { name: 'inert', help: 'leave out set-id bits, devices and file capabilities' },
    { name: 'dry-run', help: 'only show what would be written' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME[@SNAPSHOT]' }, { name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(restore, words);
    const [first = '', ...paths] = given.positionals;
    return {
      ...readTarget(first),
      paths,
      config: given.path('config'),
      to: resolve(given.need('to')),
      force: given.has('force'),
      inert: given.has('inert'),
      dryRun: given.has('dry-run'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const options = { ...request, store: hostStore(request.config) };
    const asked = { ...request, isRootUser: ownAccount().uid === 0 };
    if (request.dryRun) return await dryRun(options, asked, request.json, io);
    const result = await showProgress(options, request.json, io);
    io.print(request.json ? jsonText(restoredJson(result)) : restoreText(request.to, result));
    io.warn(restoreProblems(result, asked));
    return result.notGivenBackCount + result.damagedCount > 0 ? 'incomplete' : 'done';
  },
};

async function dryRun(options: RestoreOptions, asked: Asked, json: boolean, io: Io): Promise<ExitName> {
  let separator = '{"paths":[\n';
  const result = await planRestore(options, io.interruption(), planned => {
    io.print(json ? `${separator}${jsonText(plannedJson(planned)).trimEnd()}` : plannedText(planned));
    separator = ',\n';
  });
  if (json) io.print(`${separator === ',\n' ? '' : separator}\n],${jsonText(result).trimStart().slice(1)}`);
  else io.print(planText(asked.to, result));
  io.warn(planProblems(result, asked));
  return result.notGivenBackCount > 0 || result.lostAttributes ? 'incomplete' : 'done';
}

/** The progress line is gone before anything else is printed. */
async function showProgress(options: RestoreOptions, json: boolean, io: Io): Promise<RestoreResult> {
  const interrupt = io.interruption();
  using line = json ? undefined : openProgressLine(io.environment, interrupt);
  return await restoreFiles(options, interrupt, line && (each => line.hearRestore(each)));
}

function plannedJson({ path }: Planned): JsonName {
  return clientPath(path);
}

function plannedText({ path, type, isReplacing }: Planned): string {
  const slash = type === 'folder' && path.length > 0 ? '/' : '';
  return `${showName(clientPath(path))}${slash}${isReplacing ? ' (replaces what is there)' : ''}\n`;
}

function planText(to: string, result: RestorePlan): string {
  const notes = snapshotNotes(result);
  const note = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return `would restore ${amountText(result)}${note} to "${escapeText(to)}"\n`;
}

/** Notes on the snapshot: the newest full one, which is the default, can be older than the user expects. */
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

/** The last line of a restore. */
export function restoreText(to: string, result: RestoreResult): string {
  const notes = [
    ...snapshotNotes(result),
    ...(result.checked ? [] : ['not compared with a manifest: there is no usable one']),
    ...(result.closedTop === null
      ? []
      : [`the folder stays closed to others (mode 0700); the client's "/" had mode ${result.closedTop}`]),
  ];
  const note = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return `restored ${amountText(result)}${note} to "${escapeText(to)}"\n`;
}

function restoredJson(result: RestoreResult): object {
  const damaged = result.damaged.map(each => ({ ...each, path: manifestPath(each.path) }));
  return { ...result, damaged };
}

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

function differenceLine({ kind, count, examples }: DifferenceCount): string {
  const [first] = examples;
  const example =
    first === undefined ? '' : `, ${count === 1 ? '' : 'such as '}"${escapeText(showName(first), 4200)}"`;
  return `${count} ${KIND_WORDS[kind]}${example}`;
}

/** Lines of a list that are printed; the others are counted. */
const SHOWN = 15;

/** The request and the account, for the commands and the reasons in messages. */
interface Asked {
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
