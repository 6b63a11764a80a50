/** `dialback metrics`: the state of all backups for Prometheus, on standard output or in a file of node_exporter. */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { storeSettings } from '../host/config.ts';
import { fixCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { lstat, whatFailed } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { findBreachOnTheWay } from '../os/trust.ts';
import { encodeMetrics } from '../output/open-metrics.ts';
import { overviewMetrics } from '../output/overview-metrics.ts';
import { overviewOf } from '../store/overview.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';
import { tellAll } from './silences.ts';
import { VERSION } from './version.ts';

interface MetricsRequest {
  textfile: string | undefined;
  config: string | undefined;
}

export const metrics: Command<MetricsRequest> = {
  name: 'metrics',
  usage: 'metrics [--textfile F] [--config F]',
  side: 'host',
  summary: 'print the state of all backups for Prometheus (OpenMetrics)',
  options: [
    {
      name: 'textfile',
      value: 'F',
      help: "replace this file instead: a name that ends in .prom, in the folder of node_exporter's textfile collector",
    },
    HOST_CONFIG,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(metrics, words);
    const textfile = given.path('textfile');
    if (textfile !== undefined && !textfile.endsWith('.prom'))
      throw given.refuse(
        `--textfile is "${escapeText(textfile, 200)}", and should end in .prom: node_exporter reads no other file`,
      );
    return { textfile, config: given.path('config') };
  },

  async run({ textfile, config }, io) {
    if (textfile !== undefined) requirePlace(textfile);
    const host = hostConfig(config);
    const signal = io.interruption();
    const overview = await overviewOf(storeSettings(host), signal);
    const text = encodeMetrics(overviewMetrics(overview, VERSION));
    if (textfile === undefined) io.print(text);
    // node_exporter runs as another account.
    else replaceFile(textfile, text, 0o644);
    return await tellAll(host, overview.clients, io, signal);
  },
};

/**
 * Refuses a folder that another account can change: it could put a link in place of the new file before it is renamed.
 * @throws Fault
 */
function requirePlace(path: string): void {
  const tried = `write "${escapeText(path)}"`;
  const { uid } = ownAccount();
  const folder = dirname(path);
  try {
    const breach = findBreachOnTheWay(folder, uid);
    const found = lstat(path, { throwIfNoEntry: false });
    if (breach !== undefined)
      throw new Fault({
        tried,
        found: breach.found,
        next: fixCommand(breach, folder, { name: 'root', uid }),
        exit: 'usage',
      });
    if (found !== undefined && !found.isFile())
      throw new Fault({
        tried,
        found: 'it is not a plain file',
        next: `ls -ld ${quoteForShell(path)}`,
        exit: 'usage',
      });
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault({
      tried,
      found: whatFailed(error),
      next: `ls -ld ${quoteForShell(folder)}`,
      exit: 'usage',
    });
  }
}
