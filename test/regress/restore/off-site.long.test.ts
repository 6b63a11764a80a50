// Goal: the hooks restic and rclone store a snapshot in a repository of these programs. The other program and GNU tar alone, without
// dialback, make the same tree of it, with all attributes. A second, nearly unchanged snapshot costs restic little space. An export that
// fails leaves no archive that looks complete.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const HOOKS = join(import.meta.dirname, '../../../share/hooks');
const TAR = "tar --xattrs --xattrs-include='*' --acls --warning=no-unknown-keyword -xpf -";
/** A tar archive has no sockets. */
const SOCKET = 'nodes/socket: entry: socket -> none';

describe('snapshots in a repository of another program', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let source: Manifest;
  let file: string;
  let remote: string;
  let bin: string;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    // The same bytes as in no other file, more than the whole tree has: the space of the second snapshot shows.
    execFileSync('sh', ['-c', 'head -c 30000000 /dev/urandom >"$1/random"', 'sh', world.data]);
    execFileSync('chown', [`${world.client.uid}:${world.client.gid}`, join(world.data, 'random')]);
    source = manifest(world.data);
    await backUp();
    const { home } = world.host;
    [bin, file, remote] = [join(home, 'bin'), join(home, 'restic env'), join(home, 'far away')];
    mkdirSync(bin);
    dialback('exec "$@"');
    const password = join(home, 'password');
    world.write(world.host, password, 'a password\n');
    world.write(
      world.host,
      file,
      `RESTIC_REPOSITORY='${join(home, 'repository')}'\nRESTIC_PASSWORD_FILE='${password}'\n`,
    );
    for (const each of [bin, password, file]) world.own(world.host, each);
    await asHost('set -a; . "$1"; restic init', [file]);
  });
  after(async () => {
    await world?.dispose();
  });

  async function backUp(): Promise<void> {
    const { status, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
    await until('all has ended', () => world.processes().length === 0);
  }
  /** The program that the hooks find. @param lines what it does with the call of dialback, "$@" */
  function dialback(lines: string): void {
    const path = join(bin, 'dialback');
    writeFileSync(path, `#!/bin/sh\nset -- '${world.binary}' "$@" --config '${world.hostToml}'\n${lines}\n`);
    chmodSync(path, 0o755);
  }
  /** Runs a shell command. `$1` and so on are the words. */
  async function shell(script: string, words: string[], party: World['host'] | 'root'): Promise<Result> {
    const cache = join(party === 'root' ? world.base : world.host.home, 'restic cache');
    const path = `PATH='${bin}':/usr/bin:/bin; XDG_CACHE_HOME='${cache}'; export PATH XDG_CACHE_HOME\n`;
    return await world.start(party, '/bin/sh', ['-c', `${path}${script}`, 'sh', ...words]).done;
  }
  async function asHost(script: string, words: string[]): Promise<string> {
    const { status, stdout, stderr } = await shell(script, words, world.host);
    assert.equal(status, 0, `${script}: ${stderr}`);
    return stdout;
  }
  /** Unpacks an archive as root. @param from a shell command that prints it */
  async function requireEqual(from: string, words: string[], to: string): Promise<void> {
    const { status, stderr } = await shell(
      `mkdir -p "$1" && { ${from}; } | ${TAR} -C "$1"`,
      [to, ...words],
      'root',
    );
    assert.equal(status, 0, stderr);
    assert.deepEqual(diffManifests(source, manifest(join(to, world.data))), [SOCKET]);
  }
  const snapshot = (): string => world.snapshots().at(-1) ?? '';
  const hook = (name: string): string => `'${join(HOOKS, name)}'`;
  const told = (): string => `DIALBACK_CLIENT='${world.name}' DIALBACK_SNAPSHOT='${snapshot()}'`;
  const restic = async (command: string): Promise<string> =>
    await asHost(`set -a; . "$1"; ${command}`, [file]);
  const repositoryBytes = (): number =>
    Number(
      execFileSync('du', ['-sb', join(world.host.home, 'repository')], { encoding: 'utf8' }).split('\t')[0],
    );

  it('restic gives back what the hook stored', async () => {
    await asHost(`${told()} ${hook('restic')} "$1"`, [file]);
    await requireEqual(
      `set -a; . "$2"; restic dump --no-lock --host '${world.name}' --tag complete latest '/${world.name}.tar'`,
      [file],
      join(world.base, 'from restic'),
    );
  });

  it('restic stores equal parts once', async () => {
    const before = repositoryBytes();
    writeFileSync(join(world.data, 'one more file'), 'new');
    execFileSync('chown', [`${world.client.uid}:${world.client.gid}`, join(world.data, 'one more file')]);
    await backUp();
    source = manifest(world.data);
    // By name, as a timer does it: the latest full snapshot.
    await asHost(`${hook('restic')} "$1" "$2"`, [file, world.name]);
    const more = repositoryBytes() - before;
    assert.ok(more > 0 && more < 15_000_000, `${more} bytes more`);
    assert.match(await restic(`restic snapshots --json --tag complete,${snapshot()}`), /"short_id"/);
  });

  it('rclone gives back what the hook stored', async () => {
    await asHost(`${told()} ${hook('rclone')} "$1"`, [remote]);
    await asHost(`${hook('rclone')} "$1" "$2"`, [remote, world.name]);
    assert.equal(
      await asHost('rclone lsf -R --files-only "$1"', [remote]),
      `${world.name}/${snapshot()}.tar\n`,
    );
    await requireEqual(
      `rclone cat "$2/${world.name}/${snapshot()}.tar"`,
      [remote],
      join(world.base, 'from rclone'),
    );
  });

  it('a failed export leaves nothing that looks complete', async () => {
    await backUp();
    dialback('case "$2" in export) "$@" | head -c 100000; exit 1 ;; esac; exec "$@"');
    for (const [name, place] of [
      ['restic', file],
      ['rclone', remote],
    ] as const) {
      const { status, stderr } = await shell(`${told()} ${hook(name)} "$1"`, [place], world.host);
      assert.equal(status, 1, stderr);
      assert.ok(stderr.includes(`${world.name}@${snapshot()}`), stderr);
    }
    assert.equal((await restic(`restic snapshots --json --tag complete,${snapshot()}`)).trim(), '[]');
    assert.match(await restic(`restic snapshots --json --tag partial,${snapshot()}`), /"short_id"/);
    assert.deepEqual(
      (await asHost('rclone lsf -R --files-only "$1"', [remote]))
        .trim()
        .split('\n')
        .filter(each => each.includes(snapshot())),
      [`${world.name}/${snapshot()}.tar.partial`],
    );
  });
});
