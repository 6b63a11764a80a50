/** `dialback explain`: why a snapshot is as large as it is. */
import { explanationJson, explanationText, manifestWarnings } from '../output/explanation.ts';
import { jsonText } from '../output/json.ts';
import { Unread } from '../output/unread.ts';
import { explainSnapshot } from '../store/explain.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget, splitTarget } from './target.ts';

interface ExplainRequest {
  client: string;
  snapshot: string;
  other: string | undefined;
  paths: string[];
  config: string | undefined;
  json: boolean;
}

export const explain: Command<ExplainRequest> = {
  name: 'explain',
  usage: 'explain NAME[@A] [B] [PATH…] [--config F] [--json]',
  side: 'host',
  summary: 'show why files of a snapshot are not linked to the older one, by cause and by folder',
  options: [HOST_CONFIG, JSON_OPTION],
  positionals: [
    { name: 'NAME[@A]' },
    { name: 'B', isOptional: true },
    { name: 'PATH', isOptional: true, isRepeated: true },
  ],

  parse(words) {
    const given = new Arguments(explain, words);
    const [first = '', ...rest] = given.positionals;
    const { client, snapshot } = readTarget(first);
    // A PATH is absolute, and the name of a snapshot has no slash.
    const second = rest[0]?.startsWith('/') ? undefined : rest.shift();
    const [owner, other] = second?.includes('@') ? splitTarget(second) : [client, second];
    if (owner !== client) throw given.refuse('the two snapshots are not of the same client');
    return { client, snapshot, other, paths: rest, config: given.path('config'), json: given.has('json') };
  },

  async run(request, io) {
    const unread = new Unread();
    const options = { ...request, store: hostStore(request.config) };
    const found = await explainSnapshot(options, io.interruption(), unread.complain);
    io.print(request.json ? jsonText(explanationJson(found)) : explanationText(found));
    io.warn(manifestWarnings(found));
    return unread.report(io.warn);
  },
};
