/** `dialback export`: files of a snapshot as a tar archive on standard output. */
import type { ExitName } from '../fault.ts';
import { Fault } from '../fault.ts';
import { exportNotes, exportText } from '../output/export-text.ts';
import { openProgressLine } from '../output/progress.ts';
import { Unread } from '../output/unread.ts';
import { exportFiles } from '../store/export.ts';
import { Arguments, type Command, type Io } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget } from './target.ts';

interface ExportRequest {
  client: string;
  snapshot: string;
  paths: string[];
  config: string | undefined;
}

export const exportArchive: Command<ExportRequest> = {
  name: 'export',
  usage: 'export NAME[@SNAPSHOT] [PATH…] [--config F]',
  side: 'host',
  summary: 'write files as a tar archive with all attributes to standard output',
  options: [HOST_CONFIG],
  positionals: [{ name: 'NAME[@SNAPSHOT]' }, { name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(exportArchive, words);
    const [first = '', ...paths] = given.positionals;
    return { ...readTarget(first), paths, config: given.path('config') };
  },

  async run(request, io) {
    if (io.isTerminal(1))
      throw new Fault({
        tried: 'write the archive',
        found: 'standard output is a terminal',
        next: 'write it to a file or a pipe: dialback export NAME > FILE.tar',
        exit: 'usage',
      });
    return await writeArchive(request, io);
  },
};

async function writeArchive(request: ExportRequest, io: Io): Promise<ExitName> {
  const options = { ...request, store: hostStore(request.config) };
  const signal = io.interruption();
  const unread = new Unread();
  const { complain } = unread;
  const result = await (async () => {
    // The progress line is gone before anything else is printed.
    using line = openProgressLine(io.environment, signal);
    return await exportFiles(options, { signal, complain, tell: at => line?.hearExport(at) });
  })();
  if (result === undefined) return 'done';
  if (io.isTerminal(2)) io.warn(exportText(result));
  io.warn(exportNotes(result));
  const exit = unread.report(io.warn, 'the archive lacks them, or has zeros in their place');
  return exit === 'done' && !result.lostAttributes ? 'done' : 'incomplete';
}
