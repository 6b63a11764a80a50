/** `dialback restore`: files of a snapshot, written below a folder of the backup host. */
import { resolve } from 'node:path';
import type { ExitName } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { jsonText } from '../output/json.ts';
import { clientPath, manifestPath } from '../output/path.ts';
import { openProgressLine } from '../output/progress.ts';
import { type Asked, planProblems, restoreProblems } from '../output/restore-problems.ts';
import { snapshotNotes } from '../output/snapshot-notes.ts';
import { showBytes } from '../output/units.ts';
import {
  type Planned,
  planRestore,
  type RestoreOptions,
  type RestorePlan,
  type RestoreResult,
  restore as restoreFiles,
} from '../store/restore.ts';
import { escapeText, type JsonName, showName } from '../wire/text.ts';
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

function amountText({ files, bytes, snapshot }: RestorePlan): string {
  return `${files} ${files === 1 ? 'file' : 'files'}, ${showBytes(bytes)}, of ${snapshot}`;
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
