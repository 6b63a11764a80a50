/** Trees as rsnapshot leaves them, for store/adopt and its long tests. */
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { World } from './world.ts';

/** Some files of the client, in folders of fifty. */
export class ClientFiles {
  readonly #world: World;
  readonly count: number;

  constructor(world: World, count: number) {
    this.#world = world;
    this.count = count;
    for (let file = 0; file < count; file += 1) this.write(file, `file ${file}, as it was first\n`);
  }

  path(file: number): string {
    return join(this.#world.data, `folder ${Math.floor(file / 50)}`, `file ${file}`);
  }

  /** Writes a file with a time of its own. */
  write(file: number, content: string): void {
    const { client } = this.#world;
    const folder = join(this.path(file), '..');
    mkdirSync(folder, { recursive: true });
    chownSync(folder, client.uid, client.gid);
    writeFileSync(this.path(file), content, { mode: file % 3 === 0 ? 0o600 : 0o644 });
    chownSync(this.path(file), client.uid, client.gid);
  }
}

/** rsnapshot's rsync: the whole data of the client into a backup point, linked to the interval before. */
export function makeInterval(world: World, folder: string, before: string | undefined, time: Date): void {
  mkdirSync(folder, { recursive: true });
  const point = join(folder, 'localhost');
  mkdirSync(point);
  const links = before === undefined ? [] : [`--link-dest=${join(before, 'localhost')}`];
  const args = ['-a', '--delete', '--numeric-ids', '--relative', '--delete-excluded', ...links];
  execFileSync('rsync', [...args, `${world.data}/`, `${point}/`], { stdio: 'pipe' });
  utimesSync(folder, time, time);
}

/** Everything about a tree that adopting must not change: inodes, times of every kind but reading, modes, owners, contents. */
export function stateOf(tree: string): string {
  const format = '%P %i %n %m %U:%G %s %T@ %C@ %l\\n';
  const listed = execFileSync('find', [tree, '-printf', format], { maxBuffer: 1 << 28 }).toString('latin1');
  return listed.split('\n').sort().join('\n');
}

/** The records of a client's snapshots, oldest first. */
export function recordsIn(world: World): {
  snapshot: string;
  flags: string[];
  basis: string | null;
  confined: { send: boolean; receive: boolean; own_root: boolean };
  counts: Record<string, number>;
}[] {
  const folder = join(world.shelf, 'snapshots');
  return readdirSync(folder)
    .sort()
    .map(name => JSON.parse(readFileSync(join(folder, name, 'snapshot.json'), 'utf8')));
}

/** Gives a file another inode and content, and the same size and times. */
export function forge(path: string, content: string): void {
  const { uid, gid, mode } = statSync(path);
  writeFileSync(`${path} forged`, content, { mode });
  chownSync(`${path} forged`, uid, gid);
  execFileSync('touch', ['-r', path, `${path} forged`]); // node has no nanoseconds
  renameSync(`${path} forged`, path);
}
