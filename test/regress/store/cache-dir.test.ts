// Goal: with `cache_dir` in host.toml no SQLite file is in the store. Every command honors it, prints the same as with the caches in the
// store, and makes what is lost there again. The web server's jail reads the index there. A folder that others can change is refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { itLong, itShort } from '../../support/long.ts';
import { findingOf, nextOf } from '../../support/steps.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const RETENTION = '[retention]\nlast = 1\nmin_keep = 1\nmin_age = "0s"\n';

describe('caches outside of the store', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let caches: string;
  /** What the commands print with the caches in the store. */
  let expected: string[];
  before(async () => {
    world = await World.make();
    caches = join(world.host.home, 'caches of the store');
    for (const content of ['first', 'second']) {
      writeFileSync(join(world.data, 'file that changes'), content);
      writeFileSync(join(world.data, 'file'), 'the same');
      assert.equal((await world.backup()).status, 0);
    }
    await until('all has ended', () => world.processes().length === 0);
    expected = await answers();
  });
  after(async () => {
    await world?.dispose();
  });

  const configure = (more = `cache_dir = "${caches}"\n`): void =>
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n${more}`);
  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);
  const ok = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await host(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  /** The output of the commands that use the index and the catalog. */
  async function answers(): Promise<string[]> {
    const texts = [
      await ok('find', world.name, 'file*', '--json'),
      await ok('prune', '--dry-run', '--json'),
      await ok('metrics'),
    ];
    // Numbers that change with the time of the call, and with the free space.
    return texts.map(each =>
      each.replaceAll(/^dialback_(.*(age|free|seconds|forecast|full_at|store_).*)$/gm, ''),
    );
  }
  const sqliteBelow = (folder: string): string[] =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
          .filter(each => each.endsWith('.sqlite'))
          .sort()
      : [];
  const inStore = (): string[] => sqliteBelow(world.store);
  const clear = (): void => {
    for (const each of inStore())
      for (const end of ['', '-wal', '-shm']) rmSync(join(world.store, `${each}${end}`), { force: true });
  };
  const own = (): string => join(caches, world.store);

  it('moves them, and the results are equal', async () => {
    assert.deepEqual(inStore(), ['catalog.sqlite', `clients/${world.name}/index.sqlite`]);
    clear();
    configure();
    assert.deepEqual(await answers(), expected);
    assert.deepEqual(inStore(), []);
    assert.deepEqual(sqliteBelow(own()), ['catalog.sqlite', `clients/${world.name}/index.sqlite`]);
    for (const each of [caches, own(), join(own(), 'clients', world.name)]) {
      const { mode, uid } = statSync(each);
      assert.deepEqual([mode & 0o777, uid], [0o700, world.host.uid], each);
    }
  });

  itLong('makes them again when they are lost or damaged', async () => {
    rmSync(caches, { recursive: true });
    assert.deepEqual(await answers(), expected);
    writeFileSync(join(own(), 'catalog.sqlite'), 'x'.repeat(5000));
    writeFileSync(join(own(), 'clients', world.name, 'index.sqlite'), 'x'.repeat(5000));
    assert.deepEqual(await answers(), expected);
    assert.deepEqual(inStore(), []);
  });

  itShort('is used by a run, verify and the readers of another account', async () => {
    rmSync(caches, { recursive: true });
    assert.equal((await world.backup()).status, 0);
    await until('all has ended', () => world.processes().length === 0);
    await ok('verify', world.name);
    assert.match(await ok('find', world.name, 'file'), /file/);
    const asRoot = await world.run('root', ['find', world.name, 'file', '--config', world.hostToml]);
    assert.equal(asRoot.status, 0, asRoot.stderr);
    assert.deepEqual(inStore(), []);
    for (const each of readdirSync(caches, { recursive: true, encoding: 'utf8' }))
      assert.equal(statSync(join(caches, each)).uid, world.host.uid, each);
  });

  itLong('works without the folder, which this account cannot make', async () => {
    const locked = join(world.host.home, 'locked');
    mkdirSync(locked, { mode: 0o755 });
    configure(`cache_dir = "${locked}/caches"\n`);
    assert.equal(JSON.parse(await ok('find', world.name, 'file', '--json')).length > 0, true);
    assert.match(await ok('metrics'), /dialback_/);
    const { stdout } = await host('verify', world.name, '--json');
    assert.match(stdout, /"unrecorded": ?"[^"]/);
    assert.deepEqual(readdirSync(locked), []);
    const doctor = async (): Promise<Finding> => {
      const { stdout: found } = await host('doctor', '--host', '--json');
      return findingOf(JSON.parse(found) as Finding[], 'host.caches');
    };
    const { state, next } = await doctor();
    assert.equal(state, 'warning');
    execFileSync('/bin/sh', ['-c', next?.replace(/^as root: /, '') ?? '']);
    assert.equal((await doctor()).state, 'ok');
    await ok('find', world.name, 'file');
    assert.equal(sqliteBelow(locked).length, 1);
    assert.deepEqual(inStore(), []);
  });

  itLong('refuses a folder that another account can change', async () => {
    const open = join(world.host.home, 'open');
    mkdirSync(open);
    world.own(world.host, open);
    chmodSync(open, 0o777);
    configure(`cache_dir = "${open}"\n`);
    let next = '';
    for (const args of [['find', world.name, 'file'], ['metrics'], ['prune']]) {
      const refused = await host(...args);
      assert.equal(refused.status, 2, refused.stderr);
      next = nextOf(refused);
    }
    assert.deepEqual(readdirSync(open), []);
    execFileSync('/bin/sh', ['-c', next]);
    await ok('find', world.name, 'file');
    assert.equal(sqliteBelow(open).length, 1);
  });

  itShort('prune counts with the index there', async () => {
    configure(`cache_dir = "${caches}"\n${RETENTION}`);
    assert.equal(world.snapshots().length, 3);
    await ok('prune');
    assert.ok(world.snapshots().length < 3);
    assert.deepEqual(inStore(), []);
  });

  itShort('follows rename, and goes with remove-client', async () => {
    configure();
    await ok('find', world.name, 'file');
    const before = statSync(join(own(), 'clients', world.name, 'index.sqlite')).ino;
    await ok('rename', world.name, 'desk', '--authorized-keys', world.authorizedKeys);
    assert.ok(!existsSync(join(own(), 'clients', world.name)));
    await ok('find', 'desk', 'file');
    assert.equal(statSync(join(own(), 'clients/desk/index.sqlite')).ino, before);
    await ok('unenroll', 'desk', '--authorized-keys', world.authorizedKeys);
    await ok('remove-client', 'desk', '--confirm', 'desk');
    assert.ok(!existsSync(join(own(), 'clients/desk')));
    assert.deepEqual(inStore(), []);
  });
});
