/** A store with three clients, and comparisons with its copy: for store/copy-store and its soak. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeTortureTree } from './tree.ts';
import { type Result, World } from './world.ts';

/** The clients beside the world's own one, whose data is the torture tree. */
const OTHERS = ['birch', 'cedar'];
const FILES = 40;

/** A world whose store has three clients. */
export class StoreOfThree {
  readonly world: World;
  readonly clients: string[];
  #round = 0;

  private constructor(world: World) {
    this.world = world;
    this.clients = [world.name, ...OTHERS];
  }

  static async make(): Promise<StoreOfThree> {
    const three = new StoreOfThree(await World.make());
    const { world } = three;
    makeTortureTree(join(world.data, 'tree'), {
      asRoot: true,
      owner: world.client,
    });
    for (const name of OTHERS) await three.#addClient(name);
    return three;
  }

  async #addClient(name: string): Promise<void> {
    const { client } = this.world;
    const identity = join(client.home, `.ssh/${name}`);
    this.world.keygen(client, identity);
    const enrolled = await this.world.enroll(name, readFileSync(`${identity}.pub`, 'utf8'));
    assert.equal(enrolled.status, 0, enrolled.stderr);
    mkdirSync(this.dataOf(name));
    this.world.own(client, this.dataOf(name));
    this.world.write(
      client,
      this.tomlOf(name),
      [
        `name = "${name}"\nstate = "${client.home}/state of ${name}"`,
        `[[remote]]\nname = "vault"\ntarget = "${this.world.target}"\nidentity = "${identity}"\ntransport = "channel"`,
        `[scope]\nroots = ["${this.dataOf(name)}"]\n[limits]\nnice = 0\nionice = "none"\ncompress = "no"\n`,
      ].join('\n'),
    );
  }

  dataOf(name: string): string {
    return name === this.world.name ? this.world.data : join(this.world.client.home, `data of ${name}`);
  }

  tomlOf(name: string): string {
    return name === this.world.name ? this.world.clientToml : join(this.world.client.home, `${name}.toml`);
  }

  /** Changes some files of each client and renames one, and backs all of them up. */
  async backUp(): Promise<void> {
    const { world } = this;
    this.#round += 1;
    for (const name of this.clients) {
      const data = this.dataOf(name);
      if (this.#round > 1) renameSync(join(data, 'file 9'), join(data, `file 9 of round ${this.#round - 1}`));
      for (let file = 0; file < FILES; file += 1) {
        const path = join(data, `file ${file}`);
        if (existsSync(path) && (file + this.#round) % 4 > 0) continue;
        writeFileSync(path, `${name} ${this.#round} ${file} `.repeat(1 + file * 60));
        chownSync(path, world.client.uid, world.client.gid);
        if (file % 10 === 0 && !existsSync(`${path} again`)) linkSync(path, `${path} again`);
      }
      const backup = await world.run(world.client, ['backup', '--json', '--config', this.tomlOf(name)]);
      assert.equal(backup.status, 0, `${name}: ${backup.stdout}${backup.stderr}`);
    }
    await world.settled();
  }

  /** Runs copy-store as the store's account. */
  async copy(to: string, ...more: string[]): Promise<Result> {
    const { world } = this;
    return await world.run(world.host, ['copy-store', to, '--config', world.hostToml, ...more]);
  }

  /** Writes a host.toml that names the copy. @returns its path */
  configFor(copy: string): string {
    const path = join(this.world.host.home, 'copy.toml');
    this.world.write(this.world.host, path, `store = "${copy}"\nsyslog = false\n`);
    return path;
  }
}

/** The snapshots of a store, `NAME@SNAPSHOT`; none where there is no store yet. */
export function snapshotsIn(store: string): string[] {
  return globSync('clients/*/snapshots/*', { cwd: store }).map(path => {
    const [, client, , name] = path.split('/');
    return `${client}@${name}`;
  });
}

/** The space of all snapshots, in KiB, by du(1): a file with several names counts once. */
export function sizeOf(store: string): number {
  return Number(execFileSync('du', ['-sk', join(store, 'clients')], { encoding: 'utf8' }).split('\t')[0]);
}

const UNLIKE = ['%P', '%y', '%m', '%s', '%T@', '%n', '%U', '%G'];

/**
 * Everything below the snapshots: names, types, modes, sizes, times, link counts, owners and all extended attributes as they are
 * stored, a line each.
 */
export function storedFacts(store: string): string[] {
  const cwd = join(store, 'clients');
  const find = (...words: string[]): Buffer =>
    execFileSync('find', ['.', '-path', './*/snapshots/*', ...words], { cwd, maxBuffer: 2 ** 28 });
  const entries = find('-printf', `${UNLIKE.join(' ')}\\0`)
    .toString('latin1')
    .split('\0');
  const names = find('-print0');
  const attributes = execFileSync('xargs', ['-0', 'getfattr', '-h', '-d', '-m', '-', '-e', 'hex', '--'], {
    cwd,
    input: names,
    maxBuffer: 2 ** 28,
  }).toString('latin1');
  const own = entries.filter(each => !/^\w+\/snapshots\/\S+ d /.test(each)); // a pin changes the time of this folder
  return [...own, ...attributes.split('\n\n').map(each => each.split('\n').sort().join(' '))].sort();
}

/** The names that share an inode, one line for each group with several names: how the snapshots are linked. */
export function linksIn(store: string): string[] {
  const cwd = join(store, 'clients');
  const words = ['.', '-path', './*/snapshots/*', '-type', 'f', '-links', '+1', '-printf', '%i %P\\0'];
  const groups = new Map<string, string[]>();
  for (const line of execFileSync('find', words, { cwd, maxBuffer: 2 ** 28 })
    .toString('latin1')
    .split('\0')) {
    const [inode = '', ...name] = line.split(' ');
    groups.set(inode, [...(groups.get(inode) ?? []), name.join(' ')]);
  }
  return [...groups.values()].map(each => each.sort().join('|')).sort();
}
