/** `dialback try`: a whole backup and restore on this machine, with real ssh, sshd and rsync, told step by step. */
import { resolve } from 'node:path';
import { Fault } from '../fault.ts';
import { monotonicMs } from '../os/clock.ts';
import { isPackaged } from '../os/executable.ts';
import { exists, stat } from '../os/files.ts';
import { standard } from '../os/process.ts';
import { showDuration } from '../output/units.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command } from './command.ts';
import { enrollClient, startHostSshd } from './try/host.ts';
import { playRuns } from './try/runs.ts';
import { fillData } from './try/sample.ts';
import { Story, setUp } from './try/stage.ts';

interface TryRequest {
  /** A folder of which a copy is backed up; undefined: a small sample. */
  folder: string | undefined;
}

export const tryOut: Command<TryRequest> = {
  name: 'try',
  usage: 'try [DIR]',
  side: 'both',
  summary: 'make a whole backup and restore on this machine, to see it work; leave nothing behind',
  options: [],
  positionals: [{ name: 'DIR', isOptional: true }],

  parse(words) {
    const [folder] = new Arguments(tryOut, words).positionals;
    return { folder: folder === undefined ? undefined : resolve(folder) };
  },

  async run({ folder }, io) {
    const signal = io.interruption();
    requireMeans(folder);
    const startedMs = monotonicMs();
    const story = new Story(io.print);
    story.tell('dialback try: a backup and a restore on this machine, with real ssh, sshd and rsync\n\n');
    {
      await using held = new AsyncDisposableStack();
      const stage = await setUp(held, story, signal);
      await fillData(stage, folder);
      const port = await startHostSshd(stage);
      await enrollClient(stage, port);
      await playRuns(stage);
    }
    const took = showDuration(monotonicMs() - startedMs);
    story.tell(`\nAll of it is removed again: users, keys, store, copy. It took ${took}.\n`);
    return 'done';
  },
};

/** @throws Fault where this is not the executable, a program is missing, or there is no such folder */
function requireMeans(folder: string | undefined): void {
  if (!isPackaged()) {
    throw new Fault({
      tried: 'try dialback out',
      found: 'this is not the packaged executable',
      next: 'make try',
      exit: 'usage',
    });
  }
  for (const program of ['sshd', 'ssh', 'rsync']) standard(program, []); // throws a Fault that names the package
  if (folder !== undefined && !(exists(folder) && stat(folder).isDirectory())) {
    throw new Fault({
      tried: `back up "${escapeText(folder)}"`,
      found: 'there is no such folder',
      exit: 'usage',
    });
  }
}
