/** `dialback adopt`: makes snapshots of existing trees, such as those of rsnapshot. */
import { resolve } from 'node:path';
import { type AdoptedTree, type AdoptResult, adopt as adoptTrees } from '../host/adopt.ts';
import { jsonText } from '../output/json.ts';
import { table } from '../output/table.ts';
import { showBytes } from '../output/units.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';

interface AdoptRequest {
  client: string;
  folders: string[];
  at: string | undefined;
  point: string | undefined;
  time: string | undefined;
  times: 'name' | 'mtime' | undefined;
  rsnapshotConfig: string | undefined;
  isFakeSuper: boolean;
  mayLink: boolean;
  dryRun: boolean;
  config: string | undefined;
  json: boolean;
}

export const adopt: Command<AdoptRequest> = {
  name: 'adopt',
  usage:
    'adopt NAME FOLDER… [--at PATH] [--point NAME] [--time WHEN | --times name|mtime] [--rsnapshot-conf F] [--fake-super] [--link] [--dry-run] [--config F] [--json]',
  side: 'host',
  summary:
    'make snapshots of existing trees: the intervals of rsnapshot, or plain trees; the next backup links to them',
  options: [
    { name: 'at', value: 'PATH', help: 'the folder of the client that each FOLDER holds' },
    {
      name: 'point',
      value: 'NAME',
      help: "rsnapshot: the client's folder below an interval, such as localhost",
    },
    {
      name: 'time',
      value: 'WHEN',
      help: 'the time for the only FOLDER: 2026-05-01, or 2026-05-01T03:15:00Z',
    },
    {
      name: 'times',
      value: 'name|mtime',
      help: 'where the time of a FOLDER comes from: its name, or its modification time, as always for rsnapshot',
    },
    {
      name: 'rsnapshot-conf',
      value: 'F',
      help: 'the rsnapshot.conf of these intervals; /etc/rsnapshot.conf by default',
    },
    { name: 'fake-super', help: 'the trees were written with --fake-super: owners are in user.rsync.%stat' },
    {
      name: 'link',
      help: "link the account's own files instead of copying them; no program may write into them any more",
    },
    HOST_CONFIG,
    { name: 'dry-run', help: 'adopt nothing; show each snapshot that would be made, and the bytes to copy' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME' }, { name: 'FOLDER', isRepeated: true }],

  parse(words) {
    const given = new Arguments(adopt, words);
    const [client = '', ...folders] = given.positionals;
    const [at, time, times] = [given.text('at'), given.text('time'), given.text('times')];
    if (at !== undefined && !/^\/$|^(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/.test(at))
      throw given.refuse('--at takes an absolute path without ".", ".." and a slash at its end');
    if (times !== undefined && times !== 'name' && times !== 'mtime')
      throw given.refuse('--times takes name or mtime');
    if (time !== undefined && times !== undefined)
      throw given.refuse('--time and --times contradict each other');
    return {
      client,
      folders: folders.map(each => resolve(each)),
      ...{ at, time, times },
      point: given.text('point')?.replace(/\/+$/, ''),
      rsnapshotConfig: given.path('rsnapshot-conf'),
      isFakeSuper: given.has('fake-super'),
      mayLink: given.has('link'),
      dryRun: given.has('dry-run'),
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run({ config, json, ...request }, io) {
    const isWatched = !json && io.isTerminal(2);
    const options = { ...request, config: hostConfig(config) };
    const result = await adoptTrees(options, io.interruption(), ({ tree, number, count, step }) => {
      if (isWatched) io.warn(`${tree.snapshot}: ${step} (${number} of ${count})\n`);
    });
    io.print(json ? jsonText(result) : adoptedText(result));
    return 'done';
  },
};

/** A line for each tree, and a sum. */
function adoptedText({ dry_run: isDry, client, trees, skipped }: AdoptResult): string {
  const rows = trees.map(each => [
    each.snapshot,
    each.files === null ? '' : String(each.files),
    each.linked === null ? '' : String(each.linked),
    each.new_bytes === null ? '' : showBytes(each.new_bytes),
    escapeText(each.source),
    each.at,
    each.isPresent ? 'adopted before' : '',
  ]);
  const fresh = trees.filter(each => !each.isPresent);
  const bytes = fresh.reduce((sum, each) => sum + (each.new_bytes ?? 0), 0);
  const did = isDry
    ? `would adopt ${countOf(fresh)}, and copy ${showBytes(bytes)} at most`
    : `adopted ${countOf(fresh)}`;
  return [
    ...(rows.length > 0
      ? [table(['snapshot', 'files', 'linked', 'new', 'from', 'holds', ''], rows, [1, 2, 3])]
      : []),
    ...skipped.map(each => `${escapeText(each)}: it does not have the backup point\n`),
    `${client}: ${did}\n`,
  ].join('');
}

const countOf = (trees: AdoptedTree[]): string =>
  `${trees.length} ${trees.length === 1 ? 'snapshot' : 'snapshots'}`;
