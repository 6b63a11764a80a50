/** A store on an ext4 of its own, and files of a client's with very many names. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { World } from './world.ts';

/** ext4's. */
export const LIMIT = 65_000;

/** A world whose store is on an ext4 of its own, and whose data is on a file system without a limit. */
export class Site {
  readonly world: World;

  private constructor(world: World) {
    this.world = world;
  }

  static async make(options: { launcher?: boolean } = {}): Promise<Site> {
    const world = await World.make(options);
    const image = join(world.base, 'disk');
    closeSync(openSync(image, 'w'));
    truncateSync(image, 2 * 1024 ** 3);
    execFileSync('mkfs.ext4', ['-q', '-F', '-N', '50000', image]);
    rmSync(world.store, { recursive: true });
    mkdirSync(world.store);
    execFileSync('mount', ['-o', 'loop', image, world.store]);
    chownSync(world.store, world.host.uid, world.host.gid);
    chmodSync(world.store, 0o700);
    const { uid, gid } = world.client;
    const own = `size=512m,nr_inodes=1m,uid=${uid},gid=${gid}`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', own, 'none', world.data]);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    return new Site(world);
  }

  async dispose(): Promise<void> {
    for (const each of [this.world.data, this.world.store]) execFileSync('umount', [each]);
    await this.world.dispose();
  }

  /** Makes one file of the client with this number of names, in folders of 1,000, and with unusual times and mode. */
  group(name: string, names: number, content = `${name}\n`.repeat(3000)): void {
    const { client, data } = this.world;
    const first = join(data, name, '00/0');
    for (let index = 0; index < names; index += 1) {
      const folder = join(data, name, String(Math.floor(index / 1000)).padStart(2, '0'));
      const path = join(folder, String(index));
      if (index % 1000 === 0) mkdirSync(folder, { recursive: true });
      if (index > 0) linkSync(first, path);
      else writeFileSync(path, content, { mode: 0o640 });
    }
    chmodSync(first, 0o751);
    execFileSync('/usr/bin/setfattr', ['-n', 'user.test', '-v', name, first]);
    utimesSync(first, 1_000_000, 1_234_567.25);
    for (const folder of readdirSync(join(data, name)))
      utimesSync(join(data, name, folder), 2_000_000, 2_345_678 + Number(folder));
    utimesSync(join(data, name), 3_000_000, 3_456_789);
    execFileSync('chown', ['-R', `${client.uid}:${client.gid}`, join(data, name)]);
  }

  /** A backup of everything. @returns its tree's own part, what is below the data */
  async keep(): Promise<{ snapshot: string; tree: string; flags: string[] }> {
    const { world } = this;
    const { status, last, stderr } = await world.backup();
    const journal = JSON.stringify(world.journal('host').slice(-2));
    assert.equal(status, 0, `${JSON.stringify(last)} ${stderr} ${journal}`);
    assert.equal(last.outcome, 'full');
    const snapshot = last.snapshot ?? assert.fail();
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
    const record = JSON.parse(
      readFileSync(join(world.shelf, 'snapshots', snapshot, 'snapshot.json'), 'utf8'),
    ) as { state: string; flags: string[] };
    assert.equal(record.state, 'full');
    return { snapshot, tree: join(world.tree(snapshot), world.data), flags: record.flags };
  }

  /** Gives an inode of the store more names, as older snapshots would. */
  fill(path: string, links: number): void {
    const { ino, nlink } = lstatSync(path);
    const folder = join(this.world.store, `more of ${ino}`);
    mkdirSync(folder);
    for (let at = nlink; at < links; at += 1) linkSync(path, join(folder, String(at)));
    assert.equal(lstatSync(path).nlink, links);
  }
}

/** How many names each inode below a folder has there, the most first; the contents of all of them are looked at. */
export function inodes(folder: string, content: string): number[] {
  const names = new Map<number, number>();
  for (const part of readdirSync(folder))
    for (const name of readdirSync(join(folder, part))) {
      const path = join(folder, part, name);
      const { ino } = lstatSync(path);
      if (!names.has(ino)) assert.equal(readFileSync(path, 'utf8'), content);
      names.set(ino, (names.get(ino) ?? 0) + 1);
    }
  return [...names.values()].sort((one, other) => other - one);
}

export function sum(numbers: number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}
