/** `dialback packages`: leaves files out of a backup that the package manager can put back, and puts them back. */
import { examinePackages } from '../client/packages.ts';
import { putBack } from '../client/put-back.ts';
import type { ExitName } from '../fault.ts';
import { jsonText } from '../output/json.ts';
import {
  packagesJson,
  packagesNotes,
  packagesText,
  putBackJson,
  putBackNotes,
  putBackText,
} from '../output/packages-text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';

interface PackagesRequest {
  write: string | undefined;
  putBack: string | undefined;
  archives: string | undefined;
  system: string;
  json: boolean;
}

export const packages: Command<PackagesRequest> = {
  name: 'packages',
  usage: 'packages [--write F | --put-back F [--archives DIR | --debs DIR]] [--root DIR] [--json]',
  side: 'client',
  summary:
    'find the files that the package manager can put back unchanged, and write an exclude list for them',
  options: [
    {
      name: 'write',
      value: 'F',
      help: 'write the exclude list to this file, and lists for a rebuild of the system to the folder F.rebuild',
    },
    {
      name: 'put-back',
      value: 'F',
      help: 'after a restore: print the packages whose files this list has left out; with --archives, put the files back',
    },
    {
      name: 'archives',
      value: 'DIR',
      help: 'the folder with the archives of these packages: .deb, .rpm or .pkg.tar files',
    },
    { name: 'debs', value: 'DIR', help: 'the same as --archives' },
    { name: 'root', value: 'DIR', help: 'the system in this folder; / unless given' },
    JSON_OPTION,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(packages, words);
    const [write, list] = [given.path('write'), given.path('put-back')];
    const [archives, debs] = [given.path('archives'), given.path('debs')];
    if (write !== undefined && list !== undefined)
      throw given.refuse('--write and --put-back contradict each other');
    if (archives !== undefined && debs !== undefined)
      throw given.refuse('--archives and --debs are the same: give one of them');
    const folder = archives ?? debs;
    if (folder !== undefined && list === undefined)
      throw given.refuse(`--${archives === undefined ? 'debs' : 'archives'} needs --put-back`);
    return {
      write,
      putBack: list,
      archives: folder,
      system: given.path('root') ?? '/',
      json: given.has('json'),
    };
  },

  async run(request, io) {
    if (request.putBack !== undefined) return await putBackFrom(request.putBack, request, io);
    const { write, system, json } = request;
    const result = await examinePackages({ system, write }, io.interruption());
    io.print(json ? jsonText(packagesJson(result, write)) : io.plain(packagesText(result)));
    io.warn(io.plain(packagesNotes(result)));
    if (write !== undefined && !json) io.print(`wrote "${write}" and "${write}.rebuild"\n`);
    return 'done';
  },
};

async function putBackFrom(
  list: string,
  { system, archives, json }: PackagesRequest,
  io: Io,
): Promise<ExitName> {
  const result = await putBack({ system, list, archives }, io.interruption());
  io.print(json ? jsonText(putBackJson(result)) : io.plain(putBackText(result, archives !== undefined)));
  if (archives === undefined) return 'done';
  io.warn(io.plain(putBackNotes(result)));
  const { needed, different, unplaced } = result;
  return needed.length + different.length + unplaced.length > 0 ? 'incomplete' : 'done';
}
