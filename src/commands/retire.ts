/** `dialback retire`: unenrolls a client for good, and keeps its snapshots for a stated time. */
import { type Retired, retireClient } from '../host/retire.ts';
import { jsonText } from '../output/json.ts';
import { configPath } from '../shared/toml.ts';
import { parseDuration } from '../wire/quantity.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface RetireRequest {
  name: string;
  keepMs: number | undefined;
  config: string | undefined;
  authorizedKeys: string | undefined;
  json: boolean;
}

/** A hundred years. */
const MOST_MS = 36_525 * 86_400_000;

export const retire: Command<RetireRequest> = {
  name: 'retire',
  usage: 'retire NAME [--keep TIME] [--config F] [--authorized-keys F] [--json]',
  side: 'host',
  summary: 'unenroll a client for good: no alarms, and its snapshots are kept for a time; `enroll` undoes it',
  options: [
    {
      name: 'keep',
      value: 'TIME',
      help: 'keep all its snapshots for this time, such as 365d; then the rules decide; without it, for ever',
    },
    HOST_CONFIG,
    {
      name: 'authorized-keys',
      value: 'F',
      help: "change this file in place of the account's authorized_keys",
    },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME' }],

  parse(words) {
    const given = new Arguments(retire, words);
    const [name = ''] = given.positionals;
    const text = given.text('keep');
    const keepMs = text === undefined ? undefined : parseDuration(text);
    if (text !== undefined && (keepMs === undefined || keepMs > MOST_MS))
      throw given.refuse(`--keep is "${escapeText(text, 60)}", and should be a time such as "365d"`);
    return {
      ...{ name, keepMs, config: given.path('config') },
      ...{ authorizedKeys: given.path('authorized-keys'), json: given.has('json') },
    };
  },

  async run(request, io) {
    const config = configPath('host.toml', request.config);
    const retired = await retireClient({ ...request, config });
    io.print(request.json ? jsonText(retired) : retiredText(retired));
    return 'done';
  },
};

function retiredText({ client, changed, since, kept_until: until, snapshots }: Retired): string {
  const did = changed ? `retired "${client}"` : `unchanged: "${client}" was retired at ${since}`;
  const kept =
    until === null
      ? `are kept without an end; to state a time: dialback retire ${client} --keep TIME`
      : `are kept until ${until}; then the rules of [retention] decide`;
  return `${did}\n${snapshots === 1 ? 'its snapshot' : `all its ${snapshots} snapshots`} ${kept}\n`;
}
