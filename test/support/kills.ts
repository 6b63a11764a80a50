/**
 * Kills of all that takes part in a run: transport/kills has some points of it, transport/kills.long the others.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from './checkout.ts';
import { diffManifests, type Manifest, manifest } from './manifest.ts';
import { says } from './wording.ts';
import { type Found, NEEDS_ROOT, until, World } from './world.ts';

const MIB = 1024 * 1024;
const LARGE = 6 * MIB;
/** Content that repeats nowhere, so that data which are not sent again were matched in the right file. */
function noise(size: number, seed: string): Buffer {
  const blocks: Buffer[] = [];
  let block = createHash('sha512').update(seed).digest();
  for (let length = 0; length < size; length += block.length) {
    blocks.push(block);
    block = createHash('sha512').update(block).digest();
  }
  return Buffer.concat(blocks).subarray(0, size);
}

/** The process that is killed, and whether the incomplete file survives it. */
interface Victim {
  what: string;
  pattern: RegExp;
  group?: boolean;
  keepsPartial: boolean;
}
/** When: by the share of the large file that has arrived. */
type Kind = Victim & { shares: number[] };

const KINDS: Victim[] = [
  { what: 'backup', pattern: /dialback backup --json --config /, keepsPartial: true },
  {
    what: "the whole group of the client's backup",
    pattern: /dialback backup --json --config /,
    group: true,
    keepsPartial: true,
  },
  { what: "the client's ssh", pattern: /^\/usr\/bin\/ssh -F none -T -E /, keepsPartial: true },
  { what: 'the one-time sshd', pattern: /^sshd: dbtest-client-.*@/, keepsPartial: true },
  { what: "the client's rsync", pattern: /rsync --server --daemon --config=/, keepsPartial: true },
  { what: 'grab', pattern: /dialback grab --client /, keepsPartial: true },
  {
    what: "the whole group of the host's grab",
    pattern: /dialback grab --client /,
    group: true,
    keepsPartial: false,
  },
  { what: "the host's ssh", pattern: /^\/usr\/bin\/ssh -F .*ssh_config/, keepsPartial: true },
  { what: "the host's rsync", pattern: /^\/usr\/bin\/rsync -aHAXS/, keepsPartial: false },
];

/**
 * Two lanes side by side, each with users, a store and an sshd of its own: most of the time is spent on waiting.
 * @param sharesOf when a victim is killed, by the share of the large file that has arrived: 0 as soon as it is there; never, if empty
 */
export function killsSuite(title: string, sharesOf: (victim: string) => number[]): void {
  describe(title, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE, concurrency: true }, () => {
    const kinds = KINDS.map(kind => ({ ...kind, shares: sharesOf(kind.what) })).filter(
      ({ shares }) => shares.length > 0,
    );
    if (kinds.length < 3) {
      describe('one after the other', { concurrency: false }, () => laneTests(kinds));
      return;
    }
    const isLong = ({ what }: Kind): boolean => /grab|host's rsync/.test(what);
    const lane = (of: string, its: Kind[]): void => {
      // One after the other within it: `concurrency` is inherited.
      describe(of, { concurrency: false }, () => laneTests(its));
    };
    lane(
      'of what ends at once',
      kinds.filter(kind => !isLong(kind)),
    );
    lane('of grab, whose agent ends ten seconds later', kinds.filter(isLong));
  });
}

function laneTests(kinds: Kind[]): void {
  let world: World;
  let round = 0;
  /** Every snapshot so far, as it was when it was finished. */
  const finished = new Map<string, Manifest>();

  before(async () => {
    world = await World.make();
    for (let index = 0; index < 120; index += 1) put(`file ${index}`, `content ${index} `.repeat(100));
    assert.equal((await world.backup()).status, 0);
    remember();
  });
  after(async () => {
    await world.dispose();
  });

  function put(name: string, content: string | Buffer): void {
    writeFileSync(join(world.data, name), content);
    chownSync(join(world.data, name), world.client.uid, world.client.gid);
  }

  function remember(): void {
    for (const name of world.snapshots()) {
      if (!finished.has(name)) finished.set(name, manifest(world.tree(name), { includeInode: true }));
    }
  }

  /** Changes files as a day would, between a kill and the next run. */
  function disturb(): void {
    const path = (index: number): string => join(world.data, `file ${index}`);
    const at = (round * 7) % 100;
    chmodSync(path(at), 0o600 + (round % 64));
    chownSync(path(at + 1), world.client.uid, 4000 + round);
    execFileSync('/usr/bin/setfattr', ['-n', 'user.round', '-v', String(round), path(at + 2)]);
    execFileSync('/usr/bin/setfacl', ['-m', `u:${5000 + round}:r`, path(at + 3)]);
    utimesSync(path(at + 4), 1_500_000_000, 1_500_000_000 + round);
    renameSync(path(at + 5), `${path(at + 5)}.away`);
    renameSync(`${path(at + 5)}.away`, path(at + 5));
    truncateSync(path(at + 6), 10 + (round % 50));
    writeFileSync(`${path(at + 7)}.new`, `replaced ${round}`);
    renameSync(`${path(at + 7)}.new`, path(at + 7));
    for (const index of [at, at + 2, at + 3, at + 7])
      chownSync(path(index), world.client.uid, world.client.gid);
  }

  /** The bytes of the large file of this round that lie in the store, under its own name or a temporary one. */
  function arrivedOf(name: string): { whole: boolean; bytes: number } {
    let bytes = 0;
    let whole = false;
    for (const each of readdirSync(join(world.shelf, 'arriving'))) {
      const folder = join(world.shelf, 'arriving', each, 'tree', world.data);
      if (!existsSync(folder)) continue;
      for (const found of readdirSync(folder)) {
        if (found !== name && !found.startsWith(`.${name}.`)) continue;
        // One that has got its own name in between is there the next time that it is asked for.
        bytes = Math.max(bytes, statSync(join(folder, found), { throwIfNoEntry: false })?.size ?? 0);
        if (found === name) whole = true;
      }
    }
    return { whole, bytes };
  }

  const own = (pattern: RegExp): Found | undefined =>
    world.processes().find(each => pattern.test(each.command));

  for (const { shares, ...kind } of kinds) {
    it(`SIGKILL of ${kind.what} at ${shares.length} points of a run`, async () => {
      for (const [point, share] of shares.entries()) {
        round += 1;
        const name = `large ${kind.what.replaceAll('/', ' ')} ${point}`;
        put(name, noise(LARGE, name));
        put('small', `small ${round}`);
        world.configure({ limits: 'bwlimit = "6M"' });
        const args = ['backup', '--json', '--config', world.clientToml];
        const running = world.start(world.client, world.binary, args, { detached: true });
        let isOver = false;
        void running.done.then(() => {
          isOver = true;
        });
        if (share > 0)
          await until('enough has arrived', () => isOver || arrivedOf(name).bytes >= share * LARGE * 0.95);
        await until(`${kind.what} is there`, () => isOver || own(kind.pattern) !== undefined);
        const target = own(kind.pattern);
        if (target) {
          try {
            process.kill(kind.group ? -groupOf(target.pid) : target.pid, 'SIGKILL');
          } catch {
            // it has ended by itself in between
          }
        }
        await running.done;
        await until(
          `only run folders are left: ${world.leftovers().join('; ')}`,
          () => world.leftovers().every(each => each.startsWith('folder ')),
          15_000,
        );
        const left = arrivedOf(name);
        disturb();
        world.configure();
        const { status, last } = await world.backup();
        assert.equal(
          status,
          0,
          `${kind.what}, point ${point}: ${JSON.stringify(last)} ${JSON.stringify(world.journal('host').at(-1))}`,
        );
        // Data that were stored under the file's own name are not sent again. Small files may be.
        const most = left.whole ? LARGE - left.bytes + 256 * 1024 : LARGE + 256 * 1024;
        assert.ok(
          last.transferred_bytes <= most,
          `${kind.what}, point ${point}: ${last.transferred_bytes} sent, ${JSON.stringify(left)}`,
        );
        if (kind.keepsPartial && left.bytes > MIB)
          assert.ok(left.whole, `${kind.what}, point ${point}: the half-arrived file was kept`);
        assert.deepEqual(world.leftovers(), [], 'the next run has removed the run folders');
        assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
        rmSync(join(world.data, name));
        remember();
      }
    });
  }

  it('has left every older snapshot as it was', () => {
    assert.ok(finished.size > kinds.flatMap(({ shares }) => shares).length, `${finished.size} snapshots`);
    for (const [name, before] of finished) {
      assert.deepEqual(diffManifests(before, manifest(world.tree(name), { includeInode: true })), [], name);
    }
  });

  // In one of the lanes.
  if (!kinds.some(({ what }) => what === 'grab')) return;
  it('never lets two write at once: grab is killed while its rsync still writes, and a new request comes at once', async () => {
    put('long', noise(LARGE, 'long'));
    world.configure({ limits: 'bwlimit = "2M"' });
    const running = world.start(world.client, world.binary, [
      'backup',
      '--json',
      '--config',
      world.clientToml,
    ]);
    await until('some has arrived', () => arrivedOf('long').bytes > MIB);
    const grab = own(/dialback grab --client /);
    const rsyncs = world.processes().filter(each => each.command.startsWith('/usr/bin/rsync -aHAXS'));
    assert.ok(grab && rsyncs.length > 0);
    // Stopped, its rsync cannot end with its parent: it stands for one that takes long.
    for (const each of rsyncs) process.kill(each.pid, 'SIGSTOP');
    process.kill(grab.pid, 'SIGKILL');
    const state = join(world.client.home, 'another state');
    const second = await world.backup(['--state', state]);
    assert.equal(second.status, 11);
    assert.match(second.last.error ?? '', says('still-at-work-on-another'));
    for (const each of rsyncs) process.kill(each.pid, 'SIGCONT');
    await running.done;
    await until('all has ended', () => world.processes().length === 0, 15_000);
    world.configure();
    assert.equal((await world.backup()).status, 0);
  });
}

function groupOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[2]);
}
