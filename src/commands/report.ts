/** `dialback report`: the overview of all clients as one HTML file. */
import { Fault } from '../fault.ts';
import { storeSettings } from '../host/config.ts';
import { lstat } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { overviewOf } from '../store/overview.ts';
import { reportOf } from '../web/pages/report.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';

interface ReportRequest {
  /** Undefined: standard output. */
  output: string | undefined;
  config: string | undefined;
}

/** The mode of a new file: reasons of failures can name paths of a client. */
const MODE = 0o600;

export const report: Command<ReportRequest> = {
  name: 'report',
  usage: 'report -o F.html [--config F]',
  side: 'host',
  summary: 'write the state of all clients as one HTML file, for mail or a web server',
  options: [
    {
      name: 'output',
      short: 'o',
      value: 'F',
      help: 'the file; an existing one is replaced and keeps its mode, a new one has 0600. "-" is standard output',
    },
    HOST_CONFIG,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(report, words);
    const output = given.need('output') === '-' ? undefined : given.path('output');
    return { output, config: given.path('config') };
  },

  async run({ output, config }, io) {
    const mode = output === undefined ? MODE : modeOf(output);
    const overview = await overviewOf(storeSettings(hostConfig(config)), io.interruption());
    const text = reportOf(overview);
    if (output === undefined) io.print(text);
    else replaceFile(output, text, mode);
    return 'done';
  },
};

/** The mode of an existing file. @throws Fault for a device, a folder or a link, which a rename would replace */
function modeOf(path: string): number {
  let found: ReturnType<typeof lstat>;
  try {
    found = lstat(path, { throwIfNoEntry: false });
  } catch {
    return MODE; // the write fails, with the reason
  }
  if (found === undefined) return MODE;
  if (found.isFile()) return found.mode & 0o777;
  throw new Fault({
    tried: `write "${escapeText(path)}"`,
    found: 'it is not a plain file',
    next: 'name a plain file, or "-" for standard output',
    exit: 'usage',
  });
}
