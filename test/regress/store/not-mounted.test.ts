// Goal: while the disk of a store is not mounted, no command makes another, empty store in its place, and none proposes to. Once
// the disk is there again, all goes on.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('a store whose disk is not mounted', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let away: string;
  let key: string;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
    away = join(world.host.home, 'the disk');
    world.keygen(world.client, join(world.client.home, 'second'));
    key = readFileSync(join(world.client.home, 'second.pub'), 'utf8');
  });
  after(async () => {
    await world.dispose();
  });
  beforeEach(() => {
    renameSync(world.store, away);
    mkdirSync(world.store, { mode: 0o700 }); // the mount point
    world.own(world.host, world.store);
  });
  afterEach(() => {
    rmSync(world.store, { recursive: true });
    renameSync(away, world.store);
  });

  const host = async (...words: string[]): Promise<Result> =>
    await world.run(world.host, [...words, '--config', world.hostToml]);
  const refused = ({ status, stderr }: Result): void => {
    assert.equal(status, 10, stderr);
    assert.match(
      stderr,
      matching`Cannot make the store ".*": .* ${says('existed-before-and-is-missing')}\n${says('mount-its-disk')}\n$`,
    );
    assert.deepEqual(readdirSync(world.store), []);
  };

  it('is not replaced by enroll, for another client, the same one or this machine', async () => {
    const before = readFileSync(world.authorizedKeys, 'utf8');
    refused(await world.enroll('second', key));
    refused(await world.enroll('second', key, ['--store', world.store]));
    const own = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    refused(await world.enroll(world.name, own));
    refused(await host('enroll', 'second', '--local'));
    assert.equal(readFileSync(world.authorizedKeys, 'utf8'), before);
  });

  it('nor where no key is enrolled any more', async () => {
    const text = readFileSync(world.authorizedKeys, 'utf8');
    world.write(world.host, world.authorizedKeys, '');
    refused(await world.enroll('second', key));
    world.write(world.host, world.authorizedKeys, text);
  });

  it('is not replaced on the word of doctor, or of any command that misses it', async () => {
    for (const result of [
      await host('doctor', '--host'),
      await host('list'),
      await host('status'),
      await host('restore', world.name, '--to', join(world.host.home, 'to')),
    ]) {
      const text = result.stdout + result.stderr;
      assert.notEqual(result.status, 0);
      assert.match(text, says('mount-its-disk'));
      assert.doesNotMatch(text, /next: .*enroll/);
    }
  });

  it('is used again once it is mounted', async () => {
    rmSync(world.store, { recursive: true });
    renameSync(away, world.store);
    try {
      assert.equal((await world.enroll('second', key)).status, 0);
      assert.equal((await world.backup()).status, 0);
      assert.equal(world.snapshots().length, 2);
    } finally {
      renameSync(world.store, away);
      mkdirSync(world.store, { mode: 0o700 });
    }
  });
});

describe('a store that never was', { skip: NEEDS_ROOT }, () => {
  it('is made where a new host.toml names it, in an empty folder or none', async () => {
    const world = await World.make(); // which does the second
    try {
      const store = join(world.host.home, 'another store');
      const toml = join(world.host.home, 'another.toml');
      mkdirSync(store, { mode: 0o700 });
      world.own(world.host, store);
      world.write(world.host, toml, `store = "${store}"\n`);
      const { status, stderr } = await world.run(world.host, ['enroll', 'desk', '--local', '--config', toml]);
      assert.equal(status, 0, stderr);
      assert.ok(readdirSync(store).includes('store.json'));
    } finally {
      await world.dispose();
    }
  });
});
