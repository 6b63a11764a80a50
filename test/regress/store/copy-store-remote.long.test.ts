// Goal: copy-store to HOST:DIR copies over a real ssh to another account: with the same attributes for an account of the same
// number, and with the same true owners for another one. It trusts no unknown host, resumes after a kill, and checks the copy there.
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { linksIn, StoreOfThree, sizeOf, snapshotsIn, storedFacts } from '../../support/copied-store.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { QUICK_EXCHANGE } from '../../support/sshd.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, type Result, until, type World } from '../../support/world.ts';

describe('copy-store to another machine', { skip: NEEDS_ROOT }, () => {
  let three: StoreOfThree;
  let world: World;
  let far: Party;
  let copy: string;
  /** By the name in the ssh config of the store's account. */
  const hosts = new Map<string, { port: number; party: Party; key: string }>();
  const servers: (() => void)[] = [];

  before(async () => {
    three = await StoreOfThree.make();
    world = three.world;
    far = world.client;
    copy = join(far.home, 'the copy');
    for (const [name, party] of [
      ['of the host', world.host],
      ['of the client', world.client],
    ] as const) {
      writeFileSync(join(world.data, name), name);
      chownSync(join(world.data, name), party.uid, party.gid);
    }
    await three.backUp();
    world.keygen(world.host, join(world.host.home, '.ssh/id_ed25519'));
    await serve('far', far, []);
    await serve('with-dialback', far, [`SetEnv "PATH=${join(world.base, 'bin')}:/usr/bin:/bin"`]);
    await serve('self', world.host, []);
    trust([...hosts.keys()]);
  });
  after(async () => {
    for (const end of servers) end();
    await world.dispose();
  });

  /** Starts an sshd of an account that lets the store's account in. */
  async function serve(name: string, party: Party, more: string[]): Promise<void> {
    const folder = join(party.home, `sshd ${name}`);
    mkdirSync(folder);
    world.own(party, folder);
    world.keygen(party, join(folder, 'key'));
    const public_ = readFileSync(join(world.host.home, '.ssh/id_ed25519.pub'), 'utf8');
    world.write(party, join(folder, 'keys'), public_);
    const config = [
      `HostKey "${folder}/key"`,
      `AuthorizedKeysFile "${folder}/keys"`,
      'UsePAM no',
      'PidFile none',
    ];
    world.write(party, join(folder, 'config'), [...config, QUICK_EXCHANGE, ...more, ''].join('\n'));
    const port = await freePort();
    const args = ['-D', '-e', '-o', `ListenAddress=127.0.0.1:${port}`, '-f', join(folder, 'config')];
    const running = world.start(party, '/usr/sbin/sshd', args, { timeoutMs: 15 * 60_000 });
    let said = '';
    running.child.stderr?.on('data', (text: string) => {
      said += text;
    });
    await until(`${name} listens`, () => /Server listening/.test(said));
    servers.push(() => running.child.kill('SIGTERM'));
    const [type, key] = readFileSync(join(folder, 'key.pub'), 'utf8').split(' ');
    hosts.set(name, { port, party, key: `[127.0.0.1]:${port} ${type} ${key}` });
  }

  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    await new Promise(resolve => server.close(resolve));
    return port;
  }

  /** Writes the ssh config of the store's account, and the host keys that it knows. */
  function trust(names: readonly string[]): void {
    const { home } = world.host;
    const config = [...hosts].map(
      ([name, { port, party }]) =>
        `Host ${name}\n  HostName 127.0.0.1\n  Port ${port}\n  User ${party.login}\n`,
    );
    world.write(world.host, join(home, '.ssh/config'), config.join(''));
    const known = names.map(name => `${hosts.get(name)?.key}\n`).join('');
    world.write(world.host, join(home, '.ssh/known_hosts'), known);
  }

  const refused = async (to: string, status: number, found: RegExp): Promise<void> => {
    const result = await three.copy(to);
    assert.equal(result.status, status, `${to}: ${result.stdout}${result.stderr}`);
    assert.match(result.stderr, found);
  };
  /** Runs a command on the copy as the account that it belongs to. */
  const there = async (...words: string[]): Promise<Result> =>
    await world.run(far, [...words, '--config', join(copy, 'copy.toml')]);

  it('does not trust an unknown host', async () => {
    trust([]);
    await refused(`far:${copy}`, 13, /Host key verification failed/);
    const { stderr } = await three.copy(`far:${copy}`);
    const next = /^next: (.*)$/m.exec(stderr)?.[1] ?? '';
    const shown = await world.start(world.host, '/bin/sh', ['-c', next]).done;
    assert.match(shown.stderr, /Host key verification failed/);
    trust([...hosts.keys()]);
    assert.ok(!existsSync(copy));
    assert.equal((await world.start(world.host, '/bin/sh', ['-c', next]).done).status, 0);
  });

  it('refuses what is no host and no folder, before it calls', async () => {
    await refused('-oProxyCommand=x:/copy', 2, /./);
    await refused('a b:/copy', 2, says('not-a-host'));
    await refused('far:', 2, says('folder-needs-a-name'));
    await refused('far:/a\nb', 2, says('folder-needs-a-name'));
  });

  it('shows what it would do, by a path below the home folder too', async () => {
    const { status, stdout, stderr } = await three.copy('far:the copy', '--dry-run');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^acorn: 1 snapshots to copy/m);
    assert.ok(!existsSync(copy));
  });

  it('killed in the middle shows no part of a snapshot, and is resumed', async () => {
    const words = ['copy-store', `far:${copy}`, '--config', world.hostToml];
    const running = world.start(world.host, world.binary, words);
    const isAt = (): boolean =>
      world.processes().some(({ command }) => /rsync .*\/copying\/birch\//.test(command));
    await until('birch is being copied', isAt);
    running.child.kill('SIGKILL');
    await running.done;
    const before = snapshotsIn(copy);
    assert.ok(before.length >= 1 && before.length < 3, before.join());
    const { status, stdout, stderr } = await three.copy(`far:${copy}`);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, matchingLines`: 3 snapshots ${says('compared-with-the-store')}$`);
    assert.deepEqual(snapshotsIn(copy), snapshotsIn(world.store));
    assert.deepEqual(linksIn(copy), linksIn(world.store));
    const [one, other] = [sizeOf(world.store), sizeOf(copy)];
    // Files of the account there need no attribute for their owner.
    assert.ok(other <= one * 1.01, `${one} KiB and ${other} KiB`);
  });

  it('keeps the true owners for an account of another number', async () => {
    const verified = await there('verify');
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    for (const [name, words] of [
      ['status', ['status']],
      ['ls', ['ls', 'acorn@latest']],
    ] as const)
      assert.equal((await there(...words)).status, 0, name);
    const to = join(world.base, 'restored');
    const toml = join(copy, 'copy.toml');
    const restored = await world.run('root', ['restore', world.name, '--to', to, '--config', toml]);
    assert.equal(restored.status, 0, restored.stderr);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  });

  it('verifies a new snapshot with the dialback there', async () => {
    await three.backUp();
    const { status, stdout, stderr } = await three.copy(`with-dialback:${copy}`);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /: 3 snapshots verified$/m);
    assert.equal((await there('verify')).status, 0);
  });

  it('copies the attributes as they are stored for an account of the same number', async () => {
    const same = join(world.host.home, 'same');
    const { status, stdout, stderr } = await three.copy(`self:${same}`);
    assert.equal(status, 0, stdout + stderr);
    assert.deepEqual(storedFacts(same), storedFacts(world.store));
    rmSync(join(same, 'copy.json'));
    await refused(`self:${same}`, 12, says('store-and-no-copy'));
  });

  it('refuses a folder there that it must not write to', async () => {
    const at = (name: string): string => join(far.home, name);
    await refused(`self:${world.store}`, 12, says('store-and-no-copy'));
    await refused(`self:${world.store}/clients/copy`, 12, says('copy-inside-the-store'));
    mkdirSync(at('open'), { mode: 0o755 });
    world.own(far, at('open'));
    await refused(`far:${at('open')}`, 12, /not private/);
    world.write(far, at('open/file'), 'x');
    await refused(`far:${at('open')}`, 12, /is not empty/);
    await refused(`far:${at('open/file')}`, 12, says('it-is-not-a-folder'));
  });
});
