// Goal: a client can use up neither the disk nor the patience of its host. Real runs on a small file system: what a full
// disk, too few inodes, low water, a budget and an interval do to the run that meets them, and that they do nothing to
// snapshots that are to stay; and that an unusual run is flagged, and pins what was there before it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { removeSnapshot } from '../../../src/store/remove.ts';
import { openClient } from '../../../src/store/store.ts';
import { emptyTrash } from '../../../src/store/trash.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { fairClock } from '../../support/fair-time.ts';
import { describeLong, describeShort, itLong } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

/** A world whose data is written by its client, and whose host.toml is the usual one and some lines more. */
class Site {
  readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  configure(more = ''): void {
    const { world } = this;
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n${more}\n`);
  }

  put(name: string, content: string | Buffer): void {
    writeFileSync(join(this.world.data, name), content);
    this.world.own(this.world.client, join(this.world.data, name));
  }

  /** Random bytes, 4 MiB a file. */
  fill(folder: string, mebibytes: number): void {
    const path = join(this.world.data, folder);
    mkdirSync(path, { recursive: true });
    this.world.own(this.world.client, path);
    for (let part = 0; part < mebibytes / 4; part += 1) this.put(`${folder}/${part}`, randomBytes(4 * MIB));
  }

  remove(name: string): void {
    rmSync(join(this.world.data, name), { recursive: true, force: true });
  }

  /** A backup that works. @returns its snapshot */
  async keep(): Promise<string> {
    const { status, last, stderr } = await this.world.backup();
    assert.equal(
      status,
      0,
      `${JSON.stringify(last)} ${stderr} ${JSON.stringify(this.world.journal('host').slice(-3))}`,
    );
    return last.snapshot ?? assert.fail();
  }

  record(snapshot: string): { flags: string[]; counts: Record<string, number> } {
    const path = join(this.world.shelf, 'snapshots', snapshot, 'snapshot.json');
    return JSON.parse(readFileSync(path, 'utf8')) as { flags: string[]; counts: Record<string, number> };
  }

  pin(snapshot: string): string | undefined {
    const path = join(this.world.shelf, 'snapshots', snapshot, 'pinned');
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
  }

  image(snapshot: string): Manifest {
    return manifest(this.world.tree(snapshot), { includeInode: true });
  }

  /** What `prune` comes to. */
  async prune(snapshot: string): Promise<void> {
    const client = openClient(this.world.store, this.world.name);
    removeSnapshot(client, snapshot, 'a test');
    await emptyTrash(client.folder);
  }
}

/** 96 MiB of ext4 as the store. @param inodes how many it has */
async function smallDisk(inodes: number): Promise<{ site: Site; unmount: () => void }> {
  const world = await World.make();
  const image = join(world.base, 'disk');
  writeFileSync(image, '');
  truncateSync(image, 96 * MIB);
  execFileSync('mkfs.ext4', ['-q', '-F', '-N', String(inodes), image]);
  rmSync(world.store, { recursive: true });
  mkdirSync(world.store);
  execFileSync('mount', ['-o', 'loop', image, world.store]);
  chownSync(world.store, world.host.uid, world.host.gid);
  chmodSync(world.store, 0o700);
  const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
  assert.equal((await world.enroll(world.name, key)).status, 0);
  return { site: new Site(world), unmount: () => execFileSync('umount', [world.store]) };
}

const FULL = `${wording('cannot-back-up-to-the', 'vault')} ${wording('has-no-space-left')}`;

describeShort('a store of 96 MiB', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  let unmount = (): void => {};
  const images = new Map<string, Manifest>();
  let [small, large, fresh] = ['', '', ''];
  before(async () => {
    ({ site, unmount } = await smallDisk(5000));
    for (let file = 0; file < 20; file += 1) site.put(`file ${file}`, `content ${file}`);
    small = await site.keep();
    site.fill('old', 36);
    large = await site.keep();
    site.remove('old');
    for (const each of [small, large]) images.set(each, site.image(each));
  });
  after(async () => {
    unmount();
    await site.world.dispose();
  });
  /** What a snapshot holds must never change, whatever happens. */
  afterEach(() => {
    for (const [snapshot, image] of images) assert.deepEqual(diffManifests(image, site.image(snapshot)), []);
  });

  it('that gets full in the middle of a run: one clear line, and what has arrived is there', async () => {
    site.fill('new', 64);
    const { status, last } = await site.world.backup();
    assert.equal(status, 14, JSON.stringify(last));
    assert.equal(last.error, FULL);
    assert.deepEqual(site.world.snapshots(), [small, large]);
    assert.equal(readdirSync(join(site.world.shelf, 'arriving')).length, 1);
  });

  it('goes on from there once there is room', async () => {
    images.delete(large);
    await site.prune(large);
    fresh = await site.keep();
    images.set(fresh, site.image(fresh));
    const { counts } = site.record(fresh);
    assert.ok((counts.transferred_bytes ?? 0) < 48 * MIB, `${counts.transferred_bytes} bytes were sent`);
    assert.deepEqual(readdirSync(join(site.world.shelf, 'arriving')), []);
  });

  it('at low water from the start: refused, with nothing begun', async () => {
    const { bavail, bsize } = statfsSync(site.world.store);
    site.configure(`[space]\nmin_free = "${bavail * bsize + MIB}"`);
    const { status, last } = await site.world.backup();
    assert.equal(status, 14);
    assert.equal(last.error, FULL);
    assert.equal(site.world.snapshots().length, 2);
    assert.deepEqual(readdirSync(join(site.world.shelf, 'arriving')), []);
    const told = site.world.journal('host').at(-1);
    assert.match(
      String(told?.reason),
      matching`${says('bytes-are-free-and-min')} \d+, ${says('and-nothing-more-may-be')}`,
    );
  });

  it('at low water makes room: trash, what is left of interrupted runs, then what no rule wants', async () => {
    site.configure('[retention]\nlast = 1\nmin_keep = 0\nmin_age = "0s"');
    site.remove('new');
    const lean = await site.keep();
    images.delete(fresh);
    // `fresh` holds 64 MiB; `small` next to nothing, and it is pinned: 36 MiB came after it.
    assert.match(String(site.pin(small)), /^by itself: /);
    const { bavail, bsize } = statfsSync(site.world.store);
    const least = bavail * bsize + 25 * MIB;
    site.configure(`[retention]\nlast = 1\nmin_keep = 0\nmin_age = "0s"\n[space]\nmin_free = "${least}"`);
    const left = join(site.world.shelf, 'arriving/2026-01-01T00-00-00Z/tree');
    execFileSync('/usr/bin/install', ['-d', '-o', site.world.host.login, left, join(left, '..')]);
    const last = await site.keep();
    const removed = site.world.journal('host').filter(each => each.event === 'removed');
    const room = removed.filter(each =>
      matching`^${says('free-space-was-needed')}`.test(String(each.reason)),
    );
    assert.deepEqual(
      room.map(each => each.what),
      ['arriving/2026-01-01T00-00-00Z', `snapshots/${fresh}`],
    );
    assert.equal(room[1]?.reason, `${wording('free-space-was-needed')} (${wording('no-rule-keeps-it')})`);
    // It stops as soon as there is enough.
    assert.deepEqual(site.world.snapshots(), [small, lean, last]);
  });

  it('at low water takes from the client that holds most, the oldest first, and from none that is at work', async () => {
    const { world } = site;
    const key = join(world.client.home, 'another');
    world.keygen(world.client, key);
    site.configure();
    assert.equal((await world.enroll('birch', readFileSync(`${key}.pub`, 'utf8'))).status, 0);
    // Snapshots of another client, as its runs would have left them.
    const shelf = join(world.store, 'clients/birch');
    const names = ['2026-01-01T00-00-00Z', '2026-01-02T00-00-00Z', '2026-01-03T00-00-00Z'];
    for (const name of names) {
      const folder = join(shelf, 'snapshots', name);
      mkdirSync(join(folder, 'tree'), { recursive: true });
      writeFileSync(join(folder, 'tree/file'), randomBytes(4 * MIB));
      const record = { ...site.record(world.snapshots()[0] ?? ''), client: 'birch', snapshot: name };
      writeFileSync(join(folder, 'snapshot.json'), JSON.stringify(record));
    }
    execFileSync('chown', ['-R', `${world.host.uid}:${world.host.gid}`, shelf]);
    const { bavail, bsize } = statfsSync(world.store);
    const rules = '[retention]\nlast = 1\nmin_keep = 0\nmin_age = "0s"';
    site.configure(`${rules}\n[space]\nmin_free = "${bavail * bsize + 2 * MIB}"`);

    const lock = world.start(
      world.host,
      '/usr/bin/flock',
      [join(shelf, 'lock'), 'sh', '-c', 'echo held; cat'],
      {
        keepsInput: true,
      },
    );
    await new Promise(resolve => lock.child.stdout?.once('data', resolve));
    assert.equal((await world.backup()).status, 14);
    assert.deepEqual(readdirSync(join(shelf, 'snapshots')).sort(), names);
    lock.child.stdin?.end();
    await lock.done;

    await site.keep();
    assert.deepEqual(readdirSync(join(shelf, 'snapshots')).sort(), names.slice(1));
    assert.deepEqual(readdirSync(join(shelf, 'trash')), []);
    const told = readFileSync(join(shelf, 'journal.jsonl'), 'utf8').trim().split('\n').at(-1) ?? '';
    assert.match(
      told,
      /"removed","what":"snapshots\/2026-01-01T00-00-00Z","reason":"free space was needed \(no rule/,
    );
  });

  it('at low water removes nothing that a rule wants, and refuses', async () => {
    const before = site.world.snapshots();
    site.configure('[retention]\nlast = 100\n[space]\nmin_free = "94M"');
    const { status } = await site.world.backup();
    assert.equal(status, 14);
    assert.deepEqual(site.world.snapshots(), before);
  });
});

describeLong('a store with few inodes', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  let unmount = (): void => {};
  before(async () => {
    ({ site, unmount } = await smallDisk(1000));
    for (let file = 0; file < 20; file += 1) site.put(`file ${file}`, `content ${file}`);
  });
  after(async () => {
    unmount();
    await site.world.dispose();
  });

  it('runs out of them in the middle of a run: one clear line, and the older snapshot is whole', async () => {
    const first = await site.keep();
    const image = site.image(first);
    for (let file = 0; file < 2000; file += 1) site.put(`more ${file}`, '');
    for (let round = 0; round < 2; round += 1) {
      const { status, last } = await site.world.backup();
      assert.equal(status, 14, JSON.stringify(last));
      assert.equal(last.error, FULL);
    }
    assert.deepEqual(site.world.snapshots(), [first]);
    assert.deepEqual(diffManifests(image, site.image(first)), []);
    for (let file = 100; file < 2000; file += 1) site.remove(`more ${file}`);
    await site.keep();
  });
});

describe('a client that wants too much', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  before(async () => {
    site = new Site(await World.make());
    for (let file = 0; file < 40; file += 1) site.put(`file ${file}`, `content ${file}`);
  });
  after(async () => await site.world.dispose());

  it('is refused when it comes too early, and told when to come again', async () => {
    const first = await site.keep();
    site.configure('[requests]\nmin_interval = "2h"');
    const { world } = site;
    const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(status, 12);
    assert.match(
      stderr,
      matching`^${says('cannot-back-up')} to "vault": ${says('the-backup-host-takes-the')}\n${says('try-again-in')} (2 h 0 min|1 h 59 min)\n$`,
    );
    assert.deepEqual(world.snapshots(), [first]);
    assert.equal(world.journal('host').at(-1)?.event, 'refused');
    assert.equal((await world.backup(['--dry-run'])).status, 0);
  });

  it('may come when that time has passed since its last start: refusals and dry runs are none', async () => {
    const path = join(site.world.shelf, 'ledger.json');
    const ledger = JSON.parse(readFileSync(path, 'utf8')) as { lastStart: number };
    ledger.lastStart -= 2 * 3_600_000;
    writeFileSync(path, JSON.stringify(ledger));
    await site.keep();
  });

  it('may send a first backup of any size', async () => {
    site.configure('[space]\ngrowth_budget = "20M"');
    await site.keep();
  });

  itLong('is ended when it adds more than its budget, and goes on from there when it may', async () => {
    const { world } = site;
    site.fill('much', 64);
    const before = world.snapshots();
    const over = await world.backup();
    assert.equal(over.status, 14, JSON.stringify(over.last));
    assert.match(String(over.last.error), says('this-machine-has-added-as'));
    const again = await world.backup();
    assert.equal(again.status, 14);
    assert.deepEqual(world.snapshots(), before);
    assert.match(
      String(world.journal('host').at(-1)?.reason),
      matching`growth_budget \(\d+ ${says('bytes-in-24-hours-is')}`,
    );
    site.configure('[client."acorn".space]\ngrowth_budget = "1G"');
    const { counts } = site.record(await site.keep());
    assert.ok((counts.transferred_bytes ?? 0) < 48 * MIB, `${counts.transferred_bytes} bytes were sent`);
  });

  itLong('is ended in the middle of a slow run, too', async () => {
    const { world } = site;
    world.configure({ limits: 'bwlimit = "8M"\ndeadline = "5m"' });
    site.configure('[client."acorn".space]\ngrowth_budget = "8M"');
    rmSync(join(world.shelf, 'ledger.json')); // a new day
    site.fill('slow', 160);
    const clock = fairClock();
    const { status } = await world.backup();
    assert.equal(status, 14);
    assert.ok(clock() < 15_000, 'it was ended, and did not end by itself');
    assert.equal(readdirSync(join(world.shelf, 'arriving')).length, 1);
    await until('nothing is left running', () => world.processes().length === 0);
  });
});

describeLong('a run that is like no other', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  before(async () => {
    site = new Site(await World.make());
    for (let file = 0; file < 40; file += 1) site.put(`file ${file}`, `content ${file}`);
  });
  after(async () => await site.world.dispose());

  it('is none before there is a full one: after half a backup the other half may come', async () => {
    const half = Array.from({ length: 30 }, (_, file) => join(site.world.data, `file ${file}`));
    for (const path of half) chmodSync(path, 0);
    assert.equal((await site.world.backup()).status, 3);
    for (const path of half) chmodSync(path, 0o644);
    const { flags, counts } = site.record(await site.keep());
    assert.deepEqual(flags, []);
    assert.equal(counts.new, 30);
  });

  it('is flagged, and pins what was there before; usual ones are not and do not', async () => {
    const first = await site.keep();
    site.put('file 1', 'changed');
    const good = await site.keep();
    assert.deepEqual(
      [first, good].map(each => site.record(each).flags),
      [[], []],
    );
    for (let file = 0; file < 40; file += 1) site.put(`file ${file}`, randomBytes(100));
    const bad = await site.keep();
    assert.deepEqual(site.record(bad).flags, ['unusual']);
    assert.match(
      String(site.pin(good)),
      /^by itself: unusual change in .* \(fresh 102% in 24 hours, usually 0%; lost 102%/,
    );
    assert.equal(site.pin(first), undefined);
    assert.equal(site.world.journal('host').filter(each => each.event === 'unusual').length, 1);
    const same = await site.keep();
    assert.deepEqual(site.record(same).flags, ['unusual'], 'it is compared with the last good one');
    for (let file = 2; file < 40; file += 1) site.remove(`file ${file}`);
    assert.deepEqual(site.record(await site.keep()).flags, ['unusual']);
    assert.equal(site.pin(bad), undefined);
  });

  it('is over when all is back: that is shared with the last good one, and is not unusual', async () => {
    for (let file = 0; file < 40; file += 1) site.remove(`file ${file}`);
    const good = site.world.snapshots()[3] ?? '';
    const { world } = site;
    execFileSync('cp', ['-a', `${world.tree(good)}${world.data}/.`, world.data]);
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
    const back = await site.keep();
    assert.deepEqual(site.record(back).flags, []);
    assert.equal(site.record(back).counts.new, 0);
  });
});
