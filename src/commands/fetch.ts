/** `dialback fetch`: gets files back that the backup host has offered. */
import { resolve } from 'node:path';
import { type FetchOptions, type FetchResult, fetchFiles, listOffered } from '../client/fetch.ts';
import type { ExitName } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { fetchProblems } from '../output/fetch-problems.ts';
import { jsonText } from '../output/json.ts';
import { clientPath, manifestPath } from '../output/path.ts';
import { openProgressLine } from '../output/progress.ts';
import { showBytes } from '../output/units.ts';
import { escapeText, showName } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';

interface FetchRequest extends FetchOptions {
  dryRun: boolean;
  json: boolean;
}

export const fetch: Command<FetchRequest> = {
  name: 'fetch',
  usage:
    'fetch CODE [--to DIR] [--in-place] [--dry-run] [--json] [--config F] [--target T --host-key K] [--identity F]',
  side: 'client',
  summary: 'get back the files that the backup host has offered with this code; as root with all attributes',
  options: [
    { name: 'to', value: 'DIR', help: 'the folder to write to; it is made if it does not exist' },
    { name: 'in-place', help: 'put the files back where they were, and keep replaced files aside' },
    { name: 'dry-run', help: 'only show the offered files' },
    JSON_OPTION,
    { name: 'config', value: 'F', help: 'read this client.toml' },
    {
      name: 'target',
      value: 'T',
      help: 'call this host; without --host-key: a [[remote]] of client.toml, by name or target',
    },
    { name: 'host-key', value: 'KEY', help: 'the public key of that host, as `offer` printed it' },
    { name: 'identity', value: 'F', help: 'the private key to call with' },
  ],
  positionals: [{ name: 'CODE' }],

  parse(words) {
    const given = new Arguments(fetch, words);
    const to = given.path('to');
    const [isInPlace, dryRun] = [given.has('in-place'), given.has('dry-run')];
    if (to === undefined && !isInPlace && !dryRun) throw given.refuse('--to or --in-place is missing');
    return {
      code: given.positionals[0] ?? '',
      to: to ?? resolve('/'),
      isInPlace,
      dryRun,
      json: given.has('json'),
      config: given.path('config'),
      target: given.text('target'),
      hostKey: given.text('host-key'),
      identity: given.path('identity'),
    };
  },

  async run(request, io) {
    if (request.dryRun) return await dryRun(request, io);
    const result = await showProgress(request, io);
    io.print(request.json ? jsonText(fetchedJson(result)) : fetchedText(request, result));
    io.warn(fetchProblems(result, { to: request.to, isRootUser: ownAccount().uid === 0 }));
    return result.notGivenBackCount + result.damagedCount > 0 ? 'incomplete' : 'done';
  },
};

async function dryRun(request: FetchRequest, io: Io): Promise<ExitName> {
  let [files, bytes] = [0, 0];
  let separator = '{"paths":[\n';
  const head = await listOffered(request, io.interruption(), ({ entry }) => {
    if (entry.type !== 'folder') files += 1;
    bytes += entry.size;
    const path = clientPath(entry.path);
    const slash = entry.type === 'folder' && entry.path.length > 0 ? '/' : '';
    io.print(request.json ? `${separator}${jsonText(path).trimEnd()}` : `${showName(path)}${slash}\n`);
    separator = ',\n';
  });
  const { snapshot, state } = head;
  if (!request.json)
    io.print(`offered: ${files} ${files === 1 ? 'file' : 'files'}, ${showBytes(bytes)}, of ${snapshot}\n`);
  else
    io.print(
      `${separator === ',\n' ? '' : separator}\n],${jsonText({ snapshot, state, files, bytes }).slice(1)}`,
    );
  return 'done';
}

/** The progress line is gone before anything else is printed. */
async function showProgress(request: FetchRequest, io: Io): Promise<FetchResult> {
  const interrupt = io.interruption();
  using line = request.json ? undefined : openProgressLine(io.environment, interrupt);
  return await fetchFiles(request, interrupt, line && (each => line.hearRestore(each)));
}

function fetchedText({ to, isInPlace }: FetchRequest, result: FetchResult): string {
  const { files, bytes, snapshot, state, replaced } = result;
  const notes = state === 'incomplete' ? ' (the snapshot is incomplete)' : '';
  const where = isInPlace ? 'where they were' : `to "${escapeText(to)}"`;
  const below = isInPlace && to !== '/' ? ` below "${escapeText(to)}"` : '';
  return [
    `fetched ${files} ${files === 1 ? 'file' : 'files'}, ${showBytes(bytes)}, of ${snapshot}${notes} ${where}${below}\n`,
    replaced === null ? '' : `files that were replaced are in "${escapeText(replaced)}"\n`,
  ].join('');
}

function fetchedJson(result: FetchResult): object {
  const damaged = result.damaged.map(each => ({ ...each, path: manifestPath(each.path) }));
  return { ...result, damaged };
}
