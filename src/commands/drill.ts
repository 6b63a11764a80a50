/** `dialback drill`: restores random files of the newest snapshots into a scratch folder, and compares them. */

import { storeSettings } from '../host/config.ts';
import { drillProblems, drillText } from '../output/drill.ts';
import { failedClientsText } from '../output/failed-clients.ts';
import { jsonText } from '../output/json.ts';
import { manifestPath } from '../output/path.ts';
import { type Drilled, drill as drillStore } from '../store/drill.ts';
import { parseSize } from '../wire/quantity.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';

interface DrillRequest {
  client: string | undefined;
  sample: number;
  maxBytes: number;
  config: string | undefined;
  json: boolean;
}

const DEFAULT_SAMPLE = '20';
const MOST_SAMPLE = 1000;
const DEFAULT_MAX_BYTES = '1G';

export const drill: Command<DrillRequest> = {
  name: 'drill',
  usage: 'drill [NAME] [--sample 20] [--max-bytes 1G] [--config F] [--json]',
  side: 'host',
  summary: 'rehearse a restore: give random files and folders back into a scratch folder, and compare them',
  options: [
    {
      name: 'sample',
      value: 'COUNT',
      help: `choose this number of files and folders of each client; ${DEFAULT_SAMPLE} unless given`,
    },
    {
      name: 'max-bytes',
      value: 'SIZE',
      help: `restore at most this much of each client, and no larger file; ${DEFAULT_MAX_BYTES} unless given`,
    },
    HOST_CONFIG,
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME', isOptional: true }],

  parse(words) {
    const given = new Arguments(drill, words);
    const sample = /^\d{1,4}$/.exec(given.text('sample') ?? DEFAULT_SAMPLE)?.[0];
    if (sample === undefined || Number(sample) < 1 || Number(sample) > MOST_SAMPLE)
      throw given.refuse(`--sample should be a number from 1 to ${MOST_SAMPLE}`);
    const maxBytes = parseSize(given.text('max-bytes') ?? DEFAULT_MAX_BYTES);
    if (maxBytes === undefined || maxBytes === 0)
      throw given.refuse('--max-bytes should be a size such as "1G"');
    return {
      client: given.positionals[0],
      sample: Number(sample),
      maxBytes,
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run({ client, sample, maxBytes, config, json }, io) {
    const settings = storeSettings(hostConfig(config));
    const results = await drillStore({ settings, client, sample, maxBytes }, io.interruption());
    io.print(json ? jsonText(results.map(drilledJson)) : results.map(drillText).join(''));
    io.warn(drillProblems(results) + failedClientsText('drill', results));
    if (results.some(each => each.failed !== null)) return 'failed';
    return results.some(each => each.problems > 0) ? 'incomplete' : 'done';
  },
};

function drilledJson(result: Drilled): object {
  const damaged = result.damaged.map(each => ({ ...each, path: manifestPath(each.path) }));
  return { ...result, damaged };
}
