// Checks that the installed rsync can serve files as dialback's daemon, and that it obeys the filter: `node tools/rsync-trial.ts` exits
// with 0 if it does. Otherwise it prints one line with the version and the reason, and exits with 1. tools/prepare.sh calls it before the build. The config
// and the request are those of src/, without the launcher's jail. `dialback backup` makes the same check with its own config.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeAttack } from '../src/client/attack.ts';
import { scopeFilter } from '../src/client/filter.ts';
import { Fault } from '../src/fault.ts';
import { PLAIN_ENVIRONMENT } from '../src/os/process.ts';
import { programPath } from '../src/os/programs.ts';
import { ATTACKED_FILES, attacksOn, KEPT, SERVED } from '../src/wire/attacks.ts';
import { daemonArguments, daemonConfig, trialArguments } from '../src/wire/rsync.ts';

const RSYNC = programPath('rsync');
const WORDS_LIMIT = 400;
const { signal } = new AbortController();
const late = (): Fault => new Fault({ tried: 'try rsync', found: 'it does not answer' });

/** @returns undefined if it works, otherwise its error */
async function tryRsync(folder: string): Promise<string | undefined> {
  const [filter, config, shell, served, tree] = ['filter', 'rsyncd.conf', 'shell', 'served', 'out'].map(
    name => join(folder, name),
  ) as [string, string, string, string, string];
  mkdirSync(served);
  for (const [name, content] of Object.entries(ATTACKED_FILES))
    writeFileSync(join(served, name), content, { mode: 0o644 });
  writeFileSync(filter, scopeFilter({ roots: ['/'], never: [join(served, KEPT)], excludes: [] }));
  writeFileSync(
    config,
    daemonConfig({ filter, idleSeconds: 60, confined: false, checksum: true, compress: true }),
  );
  writeFileSync(shell, `#!/bin/sh\nexec '${RSYNC}' --server --daemon --config='${config}' .\n`, {
    mode: 0o755,
  });
  mkdirSync(tree);
  const file = join(served, SERVED);
  const { stderr, error } = spawnSync(RSYNC, trialArguments({ file, tree, shell: `'${shell}'` }), {
    env: PLAIN_ENVIRONMENT,
    timeout: 60_000,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'latin1',
  });
  if (error) return error.message;
  const arrived = join(tree, file);
  if (existsSync(arrived) && readFileSync(arrived, 'latin1') === ATTACKED_FILES[SERVED]) {
    const sender = { program: RSYNC, args: daemonArguments(config, 0), environment: PLAIN_ENVIRONMENT };
    for (const each of attacksOn(served))
      if (each.succeeds(await makeAttack(sender, each, { signal, timeoutMs: 60_000, late })))
        return `it gives away what the filter keeps back when a host ${each.how}`;
    return undefined;
  }
  return (
    stderr
      .trim()
      .replace(/[^ -~]+/g, ' | ')
      .slice(0, WORDS_LIMIT) || 'no file came, and it said nothing'
  );
}

// As root, rsync's daemon runs as the user `nobody`, which must be able to enter the folder.
const folder = mkdtempSync(join(tmpdir(), 'dialback-rsync-'));
try {
  chmodSync(folder, 0o755);
  const found = await tryRsync(folder);
  if (found !== undefined) {
    const { stdout } = spawnSync(RSYNC, ['--version'], { env: PLAIN_ENVIRONMENT, encoding: 'latin1' });
    const version = /version (\S+)/.exec(stdout ?? '')?.[1] ?? 'unknown';
    process.stdout.write(`rsync ${version} cannot serve a file as a daemon: ${found}\n`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
