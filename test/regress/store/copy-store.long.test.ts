// Goal: three clients with 20 snapshots each (ROUNDS=30: 30 each) are copied in spite of ten kills at different moments: the copy
// has the same links, space and attributes, and is clean for verify. A snapshot that is removed while it is copied leaves nothing. The next steps of a folder
// that is not private work as they are printed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { linksIn, StoreOfThree, sizeOf, snapshotsIn, storedFacts } from '../../support/copied-store.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, type World } from '../../support/world.ts';

const ROUNDS = Number(process.env.ROUNDS ?? 20);
const KILLS = 10;

describe(`copy-store of ${3 * ROUNDS} snapshots`, { skip: NEEDS_ROOT }, () => {
  let three: StoreOfThree;
  let world: World;
  let copy: string;

  before(async () => {
    three = await StoreOfThree.make();
    world = three.world;
    copy = join(world.host.home, 'the copy');
    for (let round = 0; round < ROUNDS; round += 1) await three.backUp();
  });
  after(async () => {
    await world.dispose();
  });

  const host = async (...words: string[]): Promise<Result> => await world.run(world.host, words);

  /** Starts a copy, kills it a moment after so many snapshots are there, and waits until its children have ended. */
  async function killAt(count: number, delayMs: number, pattern: RegExp): Promise<void> {
    const running = world.start(world.host, world.binary, ['copy-store', copy, '--config', world.hostToml]);
    const hasEnded = (): boolean => running.child.exitCode !== null || running.child.signalCode !== null;
    await until(`${count} snapshots are copied`, () => hasEnded() || snapshotsIn(copy).length >= count);
    await sleep(delayMs);
    const killed = (): boolean => {
      const victim = world.processes().find(({ command }) => pattern.test(command));
      try {
        return victim !== undefined && process.kill(victim.pid, 'SIGKILL');
      } catch {
        return false; // it has ended by itself in between
      }
    };
    await until('it is killed', () => hasEnded() || killed());
    await until('it has ended', hasEnded);
    await running.done;
    await until('rsync has ended', () => world.processes().length === 0);
  }

  it('survives ten kills, each of which shows whole snapshots only', async context => {
    const checked = new Set<string>();
    const counts: number[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      // The delays differ, so that the kills meet different steps.
      await killAt(
        Math.round((3 * ROUNDS * kill) / (KILLS + 1)),
        20 * kill,
        kill % 3 === 2 ? /^\S*rsync / : /dialback copy-store/,
      );
      const there = snapshotsIn(copy);
      counts.push(there.length);
      for (const each of there.filter(name => !checked.has(name))) {
        const [client = '', name = ''] = each.split('@');
        const folder = (store: string): string => join(store, 'clients', client, 'snapshots', name);
        assert.deepEqual(diffManifests(manifest(folder(world.store)), manifest(folder(copy))), [], each);
        checked.add(each);
      }
    }
    context.diagnostic(`snapshots after each kill: ${counts.join(' ')}`);
    assert.ok(new Set(counts).size > KILLS / 2, `kills at different moments: ${counts.join(' ')}`);
  });

  it('is completed by the same command, equal and clean', async context => {
    const { status, stdout, stderr } = await three.copy(copy);
    assert.equal(status, 0, stdout + stderr);
    context.diagnostic(stdout);
    assert.deepEqual(snapshotsIn(copy), snapshotsIn(world.store));
    assert.equal(snapshotsIn(copy).length, 3 * ROUNDS);
    assert.deepEqual(storedFacts(copy), storedFacts(world.store));
    assert.deepEqual(linksIn(copy), linksIn(world.store));
    const [one, other] = [sizeOf(world.store), sizeOf(copy)];
    context.diagnostic(`du: ${one} KiB and ${other} KiB`);
    assert.ok(Math.abs(one - other) <= one / 100, `${one} KiB and ${other} KiB`);
    const verified = await host('verify', '--config', three.configFor(copy));
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    context.diagnostic(verified.stdout);
  });

  it('drops a snapshot that is removed while it is copied', async () => {
    await three.backUp();
    await three.backUp();
    const name = snapshotsIn(world.store)
      .filter(each => each.startsWith('birch@'))
      .sort()
      .at(-2);
    const running = world.start(world.host, world.binary, ['copy-store', copy, '--config', world.hostToml]);
    const pattern = new RegExp(`rsync .*/birch/snapshots/${name?.slice('birch@'.length)}/`);
    let stopped: number[] = [];
    await until('it is copied', () => {
      stopped = world
        .processes()
        .filter(({ command }) => pattern.test(command))
        .map(({ pid }) => pid);
      for (const pid of stopped) process.kill(pid, 'SIGSTOP');
      return stopped.length > 0;
    });
    await host('unpin', name ?? '', '--config', world.hostToml);
    const removed = await host('remove', name ?? '', '--confirm', name ?? '', '--config', world.hostToml);
    assert.equal(removed.status, 0, removed.stderr);
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    const { status, stdout, stderr } = await running.done;
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, matchingLines`^birch: 1 snapshots copied .*; 1 ${says('removed-while-copied')}$`);
    assert.deepEqual(snapshotsIn(copy), snapshotsIn(world.store));
    assert.deepEqual(linksIn(copy), linksIn(world.store));
  });

  it('copies a store that is mounted read-only', async () => {
    const mounted = join(world.host.home, 'read-only');
    mkdirSync(mounted);
    execFileSync('mount', ['--bind', world.store, mounted]);
    try {
      execFileSync('mount', ['-o', 'remount,ro,bind', mounted]);
      const toml = three.configFor(mounted);
      const to = join(world.host.home, 'rescued');
      const { status, stdout, stderr } = await host('copy-store', to, '--config', toml);
      assert.equal(status, 0, stdout + stderr);
      assert.deepEqual(storedFacts(to), storedFacts(world.store));
    } finally {
      execFileSync('umount', [mounted]);
    }
  });

  it('follows the next steps for a folder that is not private', async () => {
    const to = join(world.host.home, 'open');
    mkdirSync(to, { mode: 0o755 });
    for (const asRoot of [true, false]) {
      const { status, stderr } = await three.copy(to);
      assert.equal(status, 12, stderr);
      const next = /^next: (as root: )?(.*)$/m.exec(stderr);
      assert.equal(next?.[1] !== undefined, asRoot, stderr);
      const account = asRoot ? {} : { uid: world.host.uid, gid: world.host.gid };
      execFileSync('/bin/sh', ['-c', next?.[2] ?? ''], account);
    }
    const { status, stderr } = await three.copy(to);
    assert.equal(status, 0, stderr);
  });
});
