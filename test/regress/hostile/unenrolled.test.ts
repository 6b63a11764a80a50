// Goal: after `unenroll` nothing that a client does becomes a snapshot: its run ends, and an ssh connection that it has open starts
// none. A client that is gone is no alarm; it can be enrolled again, get another name, or be removed with all that it has.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lastOutcome } from '../../support/hostile-client.ts';
import { itLong } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matching, says } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

describe('a client that is unenrolled', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'small'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);
  const unenroll = async (name = world.name): Promise<Result> =>
    await host('unenroll', name, '--authorized-keys', world.authorizedKeys);
  const key = (): string => readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
  const statusOf = async (name: string): Promise<Record<string, unknown>> => {
    const { stdout } = await host('status', '--json', '--max-age', '1s');
    const all = JSON.parse(stdout) as Record<string, unknown>[];
    return all.find(each => each.client === name) ?? assert.fail(stdout);
  };

  it('has its run ended, of which nothing becomes a snapshot', async () => {
    writeFileSync(join(world.data, 'large'), randomBytes(8 * MIB));
    world.configure({ remote: 'name = "vault"\ntransport = "channel"', limits: 'bwlimit = "200K"' });
    const before = world.snapshots();
    const run = world.start(world.client, world.binary, ['backup', '--json', '--config', world.clientToml]);
    await until('something has arrived', () => readdirSync(join(world.shelf, 'arriving')).length > 0);
    const { status, stderr } = await unenroll();
    assert.equal(status, 0, stderr);
    // The run is over when unenroll is.
    assert.equal(world.journal('host').at(-1)?.code, 'unenrolled');
    const result = await run.done;
    assert.equal(result.status, 12, result.stdout);
    assert.match(lastLine(result).error ?? '', says('does-not-take-backups-of'));
    assert.deepEqual(world.snapshots(), before);
    await until('nothing is left', () => world.leftovers().length === 0);
  });

  it('is no alarm, however old its snapshots are', async () => {
    const found = await statusOf(world.name);
    assert.equal(found.level, 'ok');
    assert.deepEqual(found.problems, []);
    assert.match(String(found.retired), /^\d{4}-/);
    const { status, stdout } = await host('status', '--max-age', '1s');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /acorn: retired/);
  });

  it('is taken back by enroll', async () => {
    assert.equal((await unenroll()).status, 1);
    assert.equal((await world.enroll(world.name, key())).status, 0);
    world.configure();
    assert.equal((await world.backup()).status, 0);
    assert.equal((await statusOf(world.name)).retired, null);
  });

  it('gets nothing by an ssh connection that it has open', async () => {
    const { client, address, port, host: account, name } = world;
    const control = join(client.home, 'control');
    const keyFile = join(client.home, '.ssh/id_ed25519');
    const options = ['-F', 'none', '-o', 'BatchMode=yes', '-i', keyFile, '-S', control, '-p', String(port)];
    const where = ['-l', account.login, address];
    const master = world.start(client, '/usr/bin/ssh', [...options, '-M', '-N', ...where], {
      keepsInput: true,
    });
    await until('the connection is open', () => existsSync(control));
    const call = async (): Promise<string | null | undefined> => {
      const session = world.start(client, '/usr/bin/ssh', [...options, ...where, `${name}:channel`], {
        input: 'nonsense\n',
      });
      return lastOutcome((await session.done).stderr)?.code;
    };
    assert.equal(await call(), 'request');
    assert.equal((await unenroll()).status, 0);
    assert.equal(await call(), 'unenrolled');
    master.child.kill();
    await master.done;
  });

  itLong('can get another name, as the README says', async () => {
    const before = manifest(world.tree(world.snapshots()[0] ?? ''), { includeInode: true });
    renameSync(world.shelf, join(world.store, 'clients/oak'));
    assert.equal((await world.enroll('oak', key())).status, 0);
    world.configure({ top: 'name = "oak"' });
    const result = await world.run(world.client, ['backup', '--json', '--config', world.clientToml]);
    assert.equal(result.status, 0, result.stdout);
    await world.settled();
    const shelf = join(world.store, 'clients/oak');
    const names = readdirSync(join(shelf, 'snapshots')).sort();
    const after = manifest(join(shelf, 'snapshots', names[0] ?? '', 'tree'), { includeInode: true });
    assert.deepEqual(diffManifests(before, after), []);
    const record = JSON.parse(
      readFileSync(join(shelf, 'snapshots', names.at(-1) ?? '', 'snapshot.json'), 'utf8'),
    );
    assert.equal(record.client, 'oak');
    assert.equal(record.basis, names.at(-2));
    assert.equal((await host('verify', 'oak')).status, 0);
    assert.equal((await statusOf('oak')).retired, null);
  });

  itLong('can be removed, once it is unenrolled and named twice', async () => {
    const there = (): boolean => existsSync(join(world.store, 'clients/oak'));
    const enrolled = await host('remove-client', 'oak', '--confirm', 'oak');
    assert.equal(enrolled.status, 12);
    assert.match(enrolled.stderr, /next: dialback unenroll oak/);
    assert.equal((await unenroll('oak')).status, 0);
    const dry = await host('remove-client', 'oak', '--dry-run');
    assert.match(dry.stdout, /^would remove "oak", with 3 snapshots/);
    for (const confirm of [[], ['--confirm', 'acorn']]) {
      const refused = await host('remove-client', 'oak', ...confirm);
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, /--confirm oak$/m);
    }
    assert.equal(there(), true);
    const { status, stdout } = await host('remove-client', 'oak', '--confirm', 'oak');
    assert.equal(status, 0);
    assert.match(stdout, /^removed "oak"/);
    assert.deepEqual(readdirSync(join(world.store, 'clients')), []);
    assert.equal((await host('list')).status, 0);
  });

  itLong('on its own machine, without a key, is unenrolled in the same way', async () => {
    const toml = join(world.client.home, 'host.toml');
    const store = join(world.client.home, 'local store');
    world.write(world.client, toml, `store = "${store}"\nsyslog = false\n`);
    const local = async (...args: string[]): Promise<Result> =>
      await world.run(world.client, [...args, '--config', toml]);
    assert.equal((await local('enroll', 'elm', '--local')).status, 0);
    const remote = `transport = "local"\nhost_config = "${toml}"\nsame_filesystem = true`;
    world.configure({ top: 'name = "elm"', remote, scope: `roots = ["${world.data}"]` });
    const text = readFileSync(world.clientToml, 'utf8').replace(/^target = .*$/m, `target = "${store}"`);
    world.write(world.client, world.clientToml, text);
    const backup = async (): Promise<number | null> =>
      (await world.run(world.client, ['backup', '--config', world.clientToml])).status;
    assert.equal(await backup(), 0);
    const { status, stdout } = await local('unenroll', 'elm');
    assert.equal(status, 0);
    assert.match(stdout, matching`"elm" ${says('is-unenrolled-no-key-of')}`);
    assert.equal(await backup(), 12);
    assert.equal((await local('status', '--max-age', '1s')).status, 0);
    assert.equal((await local('unenroll', 'elm')).status, 1);
    assert.equal((await local('enroll', 'elm', '--local')).status, 0);
    assert.equal(await backup(), 0);
  });
});
