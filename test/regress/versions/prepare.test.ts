// Goal: `make try` and `make test` upgrade rsync only where the installed one cannot work, which a trial with one file tells and
// no version number; and package lists are refreshed if they are absent or older than a day. An ordinary user gets the command.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const DAY_MS = 86_400_000;

/**
 * In a mount namespace: what prepare.sh may write is copied, what it asks is replaced. $1: the folder, $2: the user. An obedient
 * one has root do what is said, and tries again.
 */
const SCRIPT = `
  set -eu
  mkdir -p "$1/upper" "$1/work"
  mount -t tmpfs none "$1/upper" && mkdir "$1/upper/u" "$1/upper/w"
  mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$1/upper/u,workdir=$1/upper/w" none /usr/sbin
  mount --bind "$1/lists" /var/lib/apt/lists
  if [ -e "$1/rsync" ]; then mount --bind "$1/rsync" /usr/bin/rsync; fi
  export PATH="$1/bin:/usr/bin:/bin"
  if [ "$2" = root ]; then exec tools/prepare.sh try; fi
  try() { setpriv --reuid=65534 --regid=65534 --clear-groups tools/prepare.sh try; }
  if [ "$2" = obedient ]; then
    step=$(try 2>&1 | sed -n 's/^next: sudo //p')
    eval "$step"
  fi
  try
`;

describe('tools/prepare.sh and an rsync that cannot work', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let folder: string;
  const log = (): string[] =>
    existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8').trim().split('\n') : [];
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'dialback-prepare-'));
    chmodSync(folder, 0o777);
    mkdirSync(join(folder, 'bin'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** @param isNewer whether the lists have another rsync; its installation uncovers the real one */
  function prepare(options: {
    works?: boolean;
    isNewer?: boolean;
    user?: 'root' | 'nobody' | 'obedient';
    lists?: 'fresh' | 'old' | 'absent';
  }): { status: number | null; output: string } {
    const { works = false, isNewer = true, user = 'root', lists = 'fresh' } = options;
    for (const name of ['log', 'rsync', 'lists', 'upper', 'work'])
      rmSync(join(folder, name), { recursive: true, force: true });
    mkdirSync(join(folder, 'lists/partial'), { recursive: true });
    if (lists !== 'absent') writeFileSync(join(folder, 'lists/a_Packages'), '');
    const changed = new Date(Date.now() - (lists === 'old' ? 2 : 0.5) * DAY_MS);
    for (const name of ['lists/partial', 'lists']) utimesSync(join(folder, name), changed, changed);
    if (!works)
      writeFileSync(join(folder, 'rsync'), '#!/bin/sh\necho "rsync  version 9.9.9  protocol" >&2\nexit 1\n', {
        mode: 0o755,
      });
    const apt = [
      '#!/bin/sh',
      `echo "$*" >>'${folder}/log'`,
      `case "$*" in *--simulate*) ${isNewer ? "echo 'Inst rsync [1] (2)'" : ':'} ;; install*) umount /usr/bin/rsync ;; esac`,
    ];
    writeFileSync(join(folder, 'bin/apt-get'), `${apt.join('\n')}\n`, { mode: 0o755 });
    // The checkout's own node_modules will do, however old; npm would put others in their place.
    writeFileSync(join(folder, 'bin/npm'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    const args = ['--mount', '--propagation', 'private', '/bin/sh', '-c', SCRIPT, 'sh', folder, user];
    const { status, stdout, stderr } = spawnSync('unshare', args, {
      cwd: TOP,
      encoding: 'utf8',
      timeout: 120_000,
    });
    return { status, output: stdout + stderr };
  }
  const installs = (): string[] =>
    log().filter(each => each.startsWith('install') && !each.includes('--simulate'));

  it('leaves an rsync that works alone, whatever the lists have', () => {
    const { status, output } = prepare({ works: true, lists: 'old' });
    assert.equal(status, 0, output);
    assert.deepEqual(log(), []);
  });

  it('upgrades one that does not work, as root, and says so', () => {
    const { status, output } = prepare({});
    assert.equal(status, 0, output);
    assert.match(output, /^prepare: upgrading rsync$/m);
    assert.equal(installs().length, 1);
    assert.match(installs()[0] ?? '', / rsync$/);
  });

  it('gives an ordinary user the command, and installs nothing', () => {
    const { status, output } = prepare({ user: 'nobody' });
    assert.equal(status, 1, output);
    assert.match(output, /^next: sudo .*apt-get install rsync/m);
    assert.deepEqual(installs(), []);
  });

  it('gives an ordinary user a command that mends it', () => {
    const { status, output } = prepare({ user: 'obedient' });
    assert.equal(status, 0, output);
    assert.deepEqual(installs(), ['install rsync']);
  });

  it('says it where there is none that could take its place', () => {
    const { status, output } = prepare({ isNewer: false });
    assert.equal(status, 1, output);
    assert.match(output, matchingLines`^${says('prepare-cannot-use-the-installed')}: `);
    assert.match(output, /^next: install a newer rsync/m);
    assert.deepEqual(installs(), []);
  });

  for (const [lists, isRefreshed] of [
    ['fresh', false],
    ['old', true],
    ['absent', true],
  ] as const)
    it(`refreshes package lists before it installs: ${lists}, ${isRefreshed}`, () => {
      const { status, output } = prepare({ lists });
      assert.equal(status, 0, output);
      const at = log().findIndex(each => each.startsWith('update'));
      assert.equal(at >= 0, isRefreshed, log().join('\n'));
      assert.ok(at < log().findIndex(each => installs().includes(each)));
    });
});

describe('tools/prepare.sh and the node that npm brings', { skip: IN_CLEAN_MACHINE }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'dialback-npm-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A checkout and an npm that makes these files. @returns what `.bin/node` prints then */
  function prepare(made: string[]): { status: number | null; output: string; printed: string } {
    const checkout = join(folder, 'checkout');
    rmSync(folder, { recursive: true, force: true });
    for (const each of ['bin', 'checkout/tools']) mkdirSync(join(folder, each), { recursive: true });
    copyFileSync(join(TOP, 'tools/prepare.sh'), join(checkout, 'tools/prepare.sh'));
    writeFileSync(join(checkout, 'package-lock.json'), '{}');
    const node = '#!/bin/sh\necho "$0"\n';
    const lines = made.map(
      each =>
        `mkdir -p "$(dirname ${each})"; printf '${node.replaceAll('\n', '\\n')}' >${each}; chmod 755 ${each}`,
    );
    const npm = ['#!/bin/sh', 'mkdir -p node_modules/.bin', ...lines, ''].join('\n');
    writeFileSync(join(folder, 'bin/npm'), npm, { mode: 0o755 });
    const { status, stdout, stderr } = spawnSync('tools/prepare.sh', ['build'], {
      cwd: checkout,
      env: { PATH: `${join(folder, 'bin')}:/usr/bin:/bin` },
      encoding: 'utf8',
    });
    const { stdout: printed } = spawnSync(join(checkout, 'node_modules/.bin/node'), { encoding: 'utf8' });
    return { status, output: stdout + stderr, printed };
  }

  const cpu = process.arch;
  it('makes the link to it that the npm of node 18 to 22 leaves out', () => {
    const { status, output, printed } = prepare([`node_modules/node-linux-${cpu}/bin/node`]);
    assert.equal(status, 0, output);
    assert.match(printed, /node_modules\/\.bin\/node\n$/);
  });

  it('leaves a link alone that is there', () => {
    const { status, output } = prepare([`node_modules/node-linux-${cpu}/bin/node`, 'node_modules/.bin/node']);
    assert.equal(status, 0, output);
    assert.ok(!lstatSync(join(folder, 'checkout/node_modules/.bin/node')).isSymbolicLink());
  });

  it('says so when npm brings none for this processor', () => {
    const { status, output } = prepare(['node_modules/node-linux-other/bin/node']);
    assert.equal(status, 1, output);
    assert.match(output, matchingLines`^${says('prepare-cannot-build-here-there')} `);
  });
});
