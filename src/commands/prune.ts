/** `dialback prune`: removes the snapshots that the rules of [retention] do not keep. */
import { storeSettings } from '../host/config.ts';
import { failedClientsText } from '../output/failed-clients.ts';
import { jsonText } from '../output/json.ts';
import { FSCK_HINT } from '../output/missing.ts';
import { table } from '../output/table.ts';
import { showBytes, showDuration } from '../output/units.ts';
import { overviewOf } from '../store/overview.ts';
import { type PruneResult, prune as pruneStore } from '../store/prune.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';
import { tellAll } from './silences.ts';

interface PruneRequest {
  client: string | undefined;
  dryRun: boolean;
  isVerbose: boolean;
  config: string | undefined;
  json: boolean;
}

export const prune: Command<PruneRequest> = {
  name: 'prune',
  usage: 'prune [NAME] [--dry-run] [-v] [--config F] [--json]',
  side: 'host',
  summary:
    'remove the snapshots that no rule of [retention] keeps; print the reason for each, and the freed space',
  options: [
    HOST_CONFIG,
    {
      name: 'dry-run',
      help: 'remove nothing; show the snapshots that prune would remove, and the space that this would free',
    },
    { name: 'verbose', short: 'v', help: 'show the same table where the output is not a terminal' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME', isOptional: true }],

  parse(words) {
    const given = new Arguments(prune, words);
    return {
      client: given.positionals[0],
      dryRun: given.has('dry-run'),
      isVerbose: given.has('verbose'),
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const host = hostConfig(request.config);
    const settings = storeSettings(host);
    const signal = io.interruption();
    const result = await pruneStore(settings, request, signal);
    // cron mails all output of a command.
    const isWanted = request.dryRun || request.isVerbose || io.isTerminal(1);
    if (request.json) io.print(jsonText(result));
    else if (isWanted) io.print(pruneText(result));
    io.warn([...result.clients.map(undeletedText), failedClientsText('prune', result.clients)].join(''));
    const isPruned = result.clients.every(each => each.failed === null);
    if (request.dryRun || host.hooks.silent === undefined) return isPruned ? 'done' : 'failed';
    const { clients } = await overviewOf(settings, signal);
    const named = clients.filter(each => request.client === undefined || each.client === request.client);
    const told = await tellAll(host, named, io, signal);
    return isPruned ? told : 'failed';
  },
};

/** A line for each snapshot with the reasons, and a sum. */
function pruneText({ dry_run: isDry, clients }: PruneResult): string {
  const cells = clients.flatMap(({ client, snapshots }) =>
    snapshots.map(each => [
      client,
      each.snapshot,
      each.state,
      each.keep ? 'keep' : 'remove',
      each.frees ? showBytes(each.frees.bytes) : '',
      each.frees ? String(each.frees.inodes) : '',
      each.reasons.join(', '),
    ]),
  );
  const busy = clients.filter(each => each.busy);
  const removed = clients.filter(each => !each.busy).flatMap(each => each.snapshots.filter(one => !one.keep));
  const bytes = removed.reduce((sum, each) => sum + (each.frees?.bytes ?? 0), 0);
  const inodes = removed.reduce((sum, each) => sum + (each.frees?.inodes ?? 0), 0);
  const ms = clients.reduce((sum, each) => sum + each.estimated_ms, 0);
  const isKnown = removed.every(each => each.frees !== null);
  const size = isKnown ? `${showBytes(bytes)} and ${inodes} inodes` : 'of unknown size, since no index fits';
  const what = `${removed.length} of ${cells.length} snapshots, ${size}`;
  return [
    ...(cells.length > 0
      ? [table(['client', 'snapshot', 'state', '', 'frees', 'inodes', 'why'], cells, [4, 5])]
      : []),
    ...busy.map(({ client }) => `${client}: a run is under way; its snapshots are left for the next prune\n`),
    isDry ? `would remove ${what}, in about ${showDuration(ms)}\n` : `removed ${what}\n`,
  ].join('');
}

/** A snapshot that was removed and could not be deleted. */
function undeletedText({ client, undeleted }: PruneResult['clients'][number]): string {
  if (undeleted === undefined) return '';
  return `dialback: Note: removed snapshots of "${client}" still take up space: ${undeleted}\nnext: ${FSCK_HINT}\n`;
}
