// Goal: while moved files are linked, kills lose nothing. Each time the client has renamed its folder, and often has made copies under
// the old name; the host's processes are killed at once, or its grab ends in order, in the middle of the linking. No finished
// snapshot changes. The next run that is let alone ends full and restores exactly, `verify` finds no damage, and in the end each file
// of the client is stored once in all snapshots together. KILLS=100 (the default is 30) is how many.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const KILLS = Number(process.env.KILLS ?? 30);
const FOLDERS = 40;
const FILES = 50;
const LARGE = 4;
const LARGE_BYTES = 32 * 1024 * 1024;
/** Every so many kills a run is let alone. */
const WHOLE_EVERY = 6;

describe('kills while moved files are linked', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let moves = 0;
  const images = new Map<string, Manifest>();
  const source = (name: string): string => join(world.data, name);
  const folder = (): string => source(`folder ${moves}`);

  before(async () => {
    world = await World.make({ launcher: true });
    for (let at = 0; at < FOLDERS; at += 1) {
      mkdirSync(join(folder(), `inner ${at}`), { recursive: true });
      for (let file = 0; file < FILES; file += 1)
        writeFileSync(
          join(folder(), `inner ${at}`, `file ${file}`),
          `${file % 7} the same in some\n`.repeat(1 + (at % 5)),
        );
    }
    for (let at = 0; at < LARGE; at += 1)
      writeFileSync(join(folder(), `large ${at}`), randomBytes(LARGE_BYTES));
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
    execFileSync('find', [folder(), '-exec', 'touch', '-d', '2020-02-02 02:02:02.123456789', '{}', '+']);
  });
  after(async () => {
    await world.dispose();
  });

  /** Renames the folder; half of the time some of its files are copied back to their old names. */
  function move(): void {
    const old = folder();
    moves += 1;
    renameSync(old, folder());
    if (moves % 2 === 0) return;
    mkdirSync(join(old, 'inner 0'), { recursive: true });
    execFileSync('cp', ['-a', join(folder(), 'inner 1'), join(old, 'inner 1')]);
    execFileSync('cp', ['-a', join(folder(), 'inner 0', 'file 3'), join(old, 'inner 0')]);
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, old]);
  }

  function isLinking(): boolean {
    const arriving = join(world.shelf, 'arriving');
    return readdirSync(arriving).some(each => existsSync(join(arriving, each, 'work/times')));
  }

  function ofHost(): number[] {
    return world.processes().flatMap(({ pid, command }) => {
      try {
        const text = readFileSync(`/proc/${pid}/status`, 'latin1');
        const isHost = Number(/^Uid:\s+(\d+)/m.exec(text)?.[1]) === world.host.uid;
        return isHost && / grab |rsync/.test(command) ? [pid] : [];
      } catch {
        return [];
      }
    });
  }

  function signalAll(signals: NodeJS.Signals[]): void {
    const all = ofHost();
    for (const signal of signals)
      for (const pid of all) {
        try {
          process.kill(pid, signal);
        } catch {
          // it ended with its parent
        }
      }
  }

  /** @returns whether it was in the middle of the linking */
  async function interrupt(kill: number): Promise<boolean> {
    const running = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    let isOver = false;
    void running.done.then(() => {
      isOver = true;
    });
    await until('the linking begins', () => isOver || isLinking(), 60_000);
    await sleep((kill * 37) % 150);
    const isInMiddle = !isOver && isLinking();
    signalAll(kill % 3 === 0 ? ['SIGTERM'] : ['SIGSTOP', 'SIGKILL']);
    await running.done;
    await until('nothing of the host runs', () => ofHost().length === 0, 60_000);
    await world.settled();
    return isInMiddle;
  }

  function requireUnchanged(): void {
    for (const [name, image] of images)
      assert.deepEqual(diffManifests(image, manifest(world.tree(name), { includeInode: true })), [], name);
  }

  async function letAlone(): Promise<void> {
    const { status, stderr, last } = await world.backup();
    assert.equal(status, 0, stderr);
    const to = join(world.base, 'back');
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    rmSync(to, { recursive: true });
    images.set(last.snapshot ?? '', manifest(world.tree(last.snapshot ?? ''), { includeInode: true }));
    const verified = await world.run(world.host, ['verify', world.name, '--config', world.hostToml]);
    assert.equal(verified.status, 0, verified.stderr);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  }

  let inMiddle = 0;

  it('begin with a backup of it', async () => {
    await letAlone();
  });

  for (let from = 1; from <= KILLS; from += WHOLE_EVERY) {
    const to = Math.min(KILLS, from + WHOLE_EVERY - 1);
    it(`lose nothing: kills ${from} to ${to}`, async () => {
      for (let kill = from; kill <= to; kill += 1) {
        move();
        if (await interrupt(kill)) inMiddle += 1;
        requireUnchanged();
      }
      await letAlone();
      requireUnchanged();
    });
  }

  it('came in the middle, and each file is stored once', async () => {
    await world.run(world.host, ['prune', '--config', world.hostToml]);
    const inodes = (...folders: string[]): number => {
      const found = execFileSync('find', [...folders, '-type', 'f', '-printf', '%i\\n'])
        .toString()
        .trim();
      return new Set(found.split('\n')).size;
    };
    // Nothing was removed on the client: copies under old names stay.
    assert.equal(inodes(...world.snapshots().map(each => world.tree(each))), inodes(world.data));
    assert.ok(inMiddle >= KILLS / 2, `${inMiddle} of ${KILLS} kills came in the middle`);
    console.log(`${inMiddle} of ${KILLS} kills in the middle`);
  });
});
