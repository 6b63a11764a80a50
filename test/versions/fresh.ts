/**
 * A fresh machine: a Debian with node, npm and make, and a checkout. `make try` must install missing packages, build, and restore the
 * same files. `make test` must install its own packages, and pass.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { copyCheckout, loginEnvironment } from '../support/checkout.ts';
import type { Machine } from '../support/machine.ts';
import { bootRoot, ENVIRONMENT, type Root } from './roots.ts';

export interface Fresh {
  title: string;
  suite: string;
  /** Whether the suite's rsync is already installed. */
  hasRsync: boolean;
  /** Whether its package lists are a month old; otherwise there are none. */
  hasOldLists: boolean;
}

export const FRESH: Fresh[] = [
  { title: 'Debian 12 of July 2026, no rsync', suite: 'bookworm-main', hasRsync: false, hasOldLists: true },
  {
    title: 'Debian 12 of July 2026 with its rsync',
    suite: 'bookworm-main',
    hasRsync: true,
    hasOldLists: true,
  },
  { title: 'Debian 12 with security updates', suite: 'bookworm', hasRsync: false, hasOldLists: false },
  { title: 'Debian 11', suite: 'bullseye', hasRsync: false, hasOldLists: false },
  { title: 'Debian 13', suite: 'trixie', hasRsync: false, hasOldLists: false },
];

/** Packages of a root that a fresh machine does not have. The rest is part of every Debian, or make. */
const ADDED = ['openssh-client', 'openssh-server', 'openssh-sftp-server', 'acl', 'attr'];
const FOLDER = '/srv/dialback';
const TRY_MS = 15 * 60_000;
const TEST_MS = 60 * 60_000;

/** This machine's node and npm: Debian's own are too old before 13. */
function copyNode(machine: Machine): void {
  const { PATH = '' } = loginEnvironment('/root');
  const find = (program: string): string =>
    realpathSync(
      execFileSync('sh', ['-c', `command -v ${program}`], { env: { PATH }, encoding: 'utf8' }).trim(),
    );
  const npm = dirname(dirname(find('npm'))); // NPM/bin/npm-cli.js
  mkdirSync(machine.path('/usr/local/lib'), { recursive: true });
  cpSync(find('node'), machine.path('/usr/local/bin/node'));
  cpSync(npm, machine.path('/usr/local/lib/npm'), { recursive: true, verbatimSymlinks: true });
  symlinkSync('../lib/npm/bin/npm-cli.js', machine.path('/usr/local/bin/npm'));
}

/** The network settings of this machine: npm's config, and the certificates that it and the environment name. */
export function copyNetwork(machine: Machine): Record<string, string> {
  const { PATH: _, HOME: __, ...network } = loginEnvironment('/root');
  const names = [
    '/root/.npmrc',
    '/etc/npmrc',
    '/etc/ssl/certs/ca-certificates.crt',
    ...Object.values(network),
  ];
  for (const name of names) {
    if (!name.startsWith('/') || !existsSync(name) || existsSync(machine.path(name))) continue;
    mkdirSync(dirname(machine.path(name)), { recursive: true });
    cpSync(name, machine.path(name), { recursive: true, dereference: true });
  }
  return network;
}

/**
 * @param what the targets for make: `try`, or also `test` after it
 * @returns the output of the last target
 * @throws if a target fails
 */
export async function runFresh(fresh: Fresh, root: Root, what: 'try' | 'test'): Promise<string> {
  const machine = await bootRoot(root);
  try {
    let environment: Record<string, string> = ENVIRONMENT;
    const run = async (script: string, timeoutMs = TRY_MS): Promise<string> => {
      const { status, output } = await machine.run(['sh', '-c', script], {
        folder: FOLDER,
        environment,
        timeoutMs,
      });
      assert.equal(status, 0, `${script}\n${output}`);
      return output;
    };
    copyCheckout(machine.path(FOLDER));
    const purged = [...ADDED, ...(fresh.hasRsync ? [] : ['rsync'])].join(' ');
    await run(`dpkg --purge ${purged} 2>&1; rm /usr/sbin/policy-rc.d`);
    assert.equal(await run(`for each in ssh sshd getfattr gcc; do command -v $each; done; true`), '');
    await run(`${fresh.hasRsync ? '' : '! '}command -v rsync`);
    if (fresh.hasOldLists) {
      await run('apt-get update -q 2>&1');
      await run("find /var/lib/apt -exec touch -d '31 days ago' {} +");
    }
    copyNode(machine);
    environment = { ...ENVIRONMENT, ...copyNetwork(machine) };
    const output = await run('make try 2>&1');
    assert.match(output, /^All of it is removed again: .*\. It took [\d.]+ m?s\.$/m);
    // What `make install` compiles there.
    assert.match(
      await run('make launcher SERVICE_UID=1000 >&2 && tools/launcher.sh --uid dist/launch'),
      /^1000$/m,
    );
    if (what === 'try') return output;
    environment = { ...environment, DIALBACK_CLEAN_MACHINE: '1' };
    return await run('make test 2>&1', TEST_MS);
  } finally {
    await machine.end();
  }
}

/** Where the output of a fresh machine is kept, for people. */
export function transcriptPath(folder: string, fresh: Fresh): string {
  return join(folder, `${fresh.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.txt`);
}
