/** `dialback cat`: the content of one file of a snapshot. */
import { printFile } from '../store/browse.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget } from './target.ts';

interface CatRequest {
  client: string;
  snapshot: string;
  path: string;
  config: string | undefined;
}

export const cat: Command<CatRequest> = {
  name: 'cat',
  usage: 'cat NAME[@SNAPSHOT] PATH [--config F]',
  side: 'host',
  summary: 'write the content of a file to standard output',
  options: [HOST_CONFIG],
  positionals: [{ name: 'NAME[@SNAPSHOT]' }, { name: 'PATH' }],

  parse(words) {
    const given = new Arguments(cat, words);
    const [first = '', path = ''] = given.positionals;
    return { ...readTarget(first), path, config: given.path('config') };
  },

  async run(request, io) {
    const look = { ...request, store: hostStore(request.config) };
    await printFile(look, request.path, io.interruption());
    return 'done';
  },
};
