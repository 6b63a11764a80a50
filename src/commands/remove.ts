/** `dialback remove`: removes one snapshot, whatever the rules of [retention] say. */

import type { ExitName } from '../fault.ts';
import { storeSettings } from '../host/config.ts';
import { jsonText } from '../output/json.ts';
import { showBytes } from '../output/units.ts';
import { type Removal, remove as removeFromStore } from '../store/remove.ts';
import { Arguments, type Command, type Io, JSON_OPTION, type Option } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';
import { splitTarget } from './target.ts';

/** A request to remove one snapshot, or a whole client. */
export interface RemoveRequest {
  client: string;
  /** Undefined: the client with all its snapshots. */
  snapshot: string | undefined;
  confirm: string | undefined;
  dryRun: boolean;
  config: string | undefined;
  json: boolean;
}

/** The options of `remove` and `remove-client`. @param value the argument of --confirm */
export function removeOptions(value: string): Option[] {
  return [
    { name: 'confirm', value, help: 'the same name again; without it only --dry-run is possible' },
    HOST_CONFIG,
    { name: 'dry-run', help: 'remove nothing; show what would go' },
    JSON_OPTION,
  ];
}

export const remove: Command<RemoveRequest> = {
  name: 'remove',
  usage: 'remove NAME@SNAPSHOT --confirm NAME@SNAPSHOT|--dry-run [--config F] [--json]',
  side: 'host',
  summary: 'remove this snapshot, whatever the rules say; not a pinned one, nor the last full one',
  options: removeOptions('NAME@SNAPSHOT'),
  positionals: [{ name: 'NAME@SNAPSHOT' }],

  parse(words) {
    const given = new Arguments(remove, words);
    const [first = ''] = given.positionals;
    if (!first.includes('@')) throw given.refuse('it takes one snapshot, by name');
    const [client, snapshot] = splitTarget(first);
    return { client, snapshot, ...readRemoveOptions(given) };
  },

  run: runRemove,
};

/** @throws Fault `usage` where both --confirm and --dry-run are given */
export function readRemoveOptions(given: Arguments): Omit<RemoveRequest, 'client' | 'snapshot'> {
  if (given.has('dry-run') && given.text('confirm') !== undefined)
    throw given.refuse('--dry-run and --confirm contradict each other');
  return {
    confirm: given.text('confirm'),
    dryRun: given.has('dry-run'),
    config: given.path('config'),
    json: given.has('json'),
  };
}

/** Runs either command. */
export async function runRemove(request: RemoveRequest, io: Io): Promise<ExitName> {
  const settings = storeSettings(hostConfig(request.config));
  const removal = await removeFromStore(settings, request, io.interruption());
  io.print(request.json ? jsonText(removal) : removalText(removal));
  return 'done';
}

function removalText({ dry_run: isDry, named, snapshots, pinned, frees }: Removal): string {
  const pins = pinned === 0 ? '' : `, ${pinned} of them pinned`;
  const count = named.includes('@') ? '' : `, with ${snapshots} snapshots${pins}`;
  const bytes = frees === null ? '' : `; that ${isDry ? 'would free' : 'frees'} ${showBytes(frees.bytes)}`;
  return `${isDry ? 'would remove' : 'removed'} "${named}"${count}${bytes}\n`;
}
