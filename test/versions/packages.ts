/**
 * A whole machine of a suite, backed up with and without a list of `dialback packages`, and rebuilt from the smaller backup by the
 * commands of docs/recover.md.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { commandsOf } from '../support/document.ts';
import type { Machine } from '../support/machine.ts';
import { diffManifests, type Manifest, manifest } from '../support/manifest.ts';
import type { Done } from '../support/world.ts';
import { copyNetwork } from './fresh.ts';
import { bootRoot, ENVIRONMENT, type Root } from './roots.ts';
import type { Package } from './station.ts';

const DOCUMENT = join(import.meta.dirname, '../../docs/recover.md');
const LIST = '/var/lib/dialback/packages/list';
const STEP_MS = 15 * 60_000;

/** Folders at the top that are in the backup and hold files of packages or of the administrator. */
const COMPARED = ['boot', 'etc', 'home', 'media', 'opt', 'root', 'usr', 'var'];
/** Links into /usr. */
const LINKS = ['bin', 'lib', 'lib64', 'sbin'];
/**
 * What differs after the rebuild (docs/recover.md, "What is not in the backup"): share/excludes has it, or dialback itself writes it
 * during the backup.
 */
const DOCUMENTED = [
  /^tmp$/,
  /^var\/cache(\/|$)/,
  /^var\/lib\/apt\/lists(\/|$)/,
  /^var\/lib\/dialback\/\.local\/state\/dialback(\/|$)/,
];

/** The changes of an administrator. None of these files may be left out. */
const CHANGES = `
  set -eu
  echo '# a change' >>/etc/login.defs
  echo '# a change' >>/usr/share/perl5/Debconf/Config.pm 2>/dev/null || echo '# a change' >>/usr/share/debconf/confmodule
  chmod 700 /usr/bin/chfn
  setcap cap_net_raw=ep /usr/bin/perl
  dpkg-divert --quiet --add --rename --divert /usr/bin/who.real /usr/bin/who
  printf '#!/bin/sh\\nexec who.real\\n' >/usr/bin/who && chmod 755 /usr/bin/who
  dpkg-statoverride --add --update root adm 0750 /usr/bin/wall 2>/dev/null || dpkg-statoverride --add --update root adm 0750 /usr/bin/yes
  mkdir /usr/share/doc/own && echo own >/usr/share/doc/own/file
  rm -r /usr/share/doc/coreutils
  ln -sf /usr/bin/env /etc/alternatives/own
  useradd --create-home anna && echo letter >/home/anna/letter && chown anna: /home/anna/letter
`;

/** One machine with its accounts and configs. */
class Whole {
  readonly machine: Machine;
  readonly #environment: Record<string, string>;

  constructor(machine: Machine) {
    this.machine = machine;
    this.#environment = { ...ENVIRONMENT, ...copyNetwork(machine) };
  }

  /** Runs a script that must succeed. @returns its output */
  async run(account: 'root' | 'dialback', script: string): Promise<string> {
    const home = account === 'root' ? '/root' : '/var/lib/dialback';
    const become =
      account === 'root' ? [] : ['setpriv', '--reuid=dialback', '--regid=dialback', '--init-groups'];
    const { status, output } = await this.machine.run(
      [...become, 'env', '-C', home, '/bin/sh', '-c', script],
      {
        folder: '/',
        environment: { ...this.#environment, HOME: home },
        timeoutMs: STEP_MS,
      },
    );
    assert.equal(status, 0, `${script}\n${output}`);
    return output.trimEnd();
  }

  /** @param store its name below /srv @param lists the files of `exclude_from` */
  async backup(store: string, lists: string[]): Promise<Done> {
    await this.run('root', `mkdir -m 700 /srv/${store} && chown dialback: /srv/${store}`);
    const folder = `/var/lib/dialback/.config/dialback`;
    await this.run(
      'dialback',
      `rm -f ${folder}/host.toml; dialback enroll old --local --store /srv/${store} 2>&1`,
    );
    const toml = [
      'name = "old"',
      '[[remote]]',
      'name = "disk"',
      'transport = "local"',
      `target = "/srv/${store}"`,
      'same_filesystem = true',
      '[scope]',
      'roots = ["/"]',
      `exclude_from = ${JSON.stringify(lists)}`,
      'exclude = ["/srv/", "/mnt/"]',
      '[limits]',
      'nice = 0',
      'ionice = "none"',
    ];
    await this.run('dialback', `umask 077; cat >${folder}/client.toml <<'END'\n${toml.join('\n')}\nEND`);
    const output = await this.run('dialback', 'dialback backup --json');
    const last = JSON.parse(output.split('\n').at(-1) ?? '') as Done;
    assert.equal(last.outcome, 'full', output);
    assert.doesNotMatch(output, /"code":"packages"/);
    return last;
  }

  /**
   * The entries below a folder of the machine, without the documented ones, and without sparse regions: a restore makes one where a file
   * has zeros.
   */
  entries(top: string): Manifest {
    const all: Manifest = new Map();
    for (const name of COMPARED) {
      const folder = this.machine.path(join(top, name));
      if (!existsSync(folder)) continue;
      for (const [path, entry] of manifest(folder, { without: ['holes'] })) {
        const whole = path === '.' ? name : `${name}/${path}`;
        const link = entry.link === undefined ? {} : { link: `${name}/${entry.link}` };
        if (!DOCUMENTED.some(each => each.test(whole))) all.set(whole, { ...entry, ...link });
      }
    }
    return all;
  }
}

/** Removes the times of folders that a pattern leaves out with everything in the folder above them, as the document says. */
function withoutFoldedTimes(entries: Manifest, folded: readonly string[]): Manifest {
  for (const [path, entry] of entries)
    if (entry.type === 'folder' && folded.some(each => path.startsWith(`${each}/`))) delete entry.mtimeNs;
  return entries;
}

/**
 * Backs a machine up twice and rebuilds it.
 * @returns the sizes of both backups in bytes, and of the files that were put back
 * @throws if a file differs that the document does not name
 */
export async function runPackages(root: Root, { folder, script }: Package): Promise<string> {
  const machine = await bootRoot(root);
  try {
    const whole = new Whole(machine);
    execFileSync('cp', ['-a', '--no-preserve=ownership', `${folder}/.`, machine.path('/')]);
    await whole.run('root', script);
    await whole.run('root', 'apt-get update -q 2>&1');
    await whole.run('root', CHANGES);
    const all = await whole.backup('all', ['/etc/dialback/excludes']);
    await whole.run('dialback', `mkdir -m 700 ${LIST.slice(0, -5)}; dialback packages --write ${LIST} 2>&1`);
    const some = await whole.backup('some', ['/etc/dialback/excludes', LIST]);
    assert.ok(some.bytes < all.bytes * 0.7, `${all.bytes} -> ${some.bytes}`);
    await whole.run('root', 'rm -r /srv/all');
    const host = '/var/lib/dialback/.config/dialback/host.toml';
    await whole.run('root', `dialback restore old --config ${host} --to /mnt 2>&1`);
    const before = whole.entries('/');
    for (const each of LINKS)
      assert.equal(readlinkSync(machine.path(`/mnt/${each}`)), readlinkSync(machine.path(`/${each}`)));
    assert.ok(!existsSync(machine.path('/mnt/usr/bin/dpkg')), 'the backup has no file of dpkg');
    const steps = commandsOf(readFileSync(DOCUMENT, 'utf8'), 'Without the files of packages');
    const output = await whole.run(
      'root',
      ['set -e', ...steps.map(each => `${each.command} 2>&1`)].join('\n'),
    );
    const folded = readFileSync(machine.path(LIST), 'latin1')
      .split('\n')
      .filter(each => each.endsWith('/*'))
      .map(each => each.slice(1, -2));
    const [source, rebuilt] = [before, whole.entries('/mnt')].map(each => withoutFoldedTimes(each, folded));
    assert.ok(source && rebuilt && source.size > 5000, `${source?.size} entries`);
    assert.deepEqual(diffManifests(source, rebuilt), [], output);
    assert.deepEqual(
      readdirSync(machine.path('/mnt')).filter(each => each.startsWith('.')),
      [],
    );
    // The changed files, and no other ones: dpkg of the rebuilt system finds what it finds in the old one.
    const verify = async (command: string): Promise<string[]> =>
      (await whole.run('root', command)).split('\n').filter(line => {
        const path = line.slice(line.indexOf('/') + 1);
        return !DOCUMENTED.some(each => each.test(path));
      });
    assert.deepEqual(await verify('chroot /mnt dpkg --verify'), await verify('dpkg --verify'));
    return `${all.bytes} -> ${some.bytes} bytes; ${/put back .*/.exec(output)?.[0]}`;
  } finally {
    await machine.end();
  }
}
