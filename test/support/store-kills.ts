/** Kills of commands that maintain the store: store/store-kills has some, store/store-kills.long many. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IN_CLEAN_MACHINE } from './checkout.ts';
import { stretch } from './fair-time.ts';
import { diffManifests, type Manifest, manifest } from './manifest.ts';
import { tracedCalls } from './traced-changes.ts';
import { NEEDS_ROOT, type Result, until, World } from './world.ts';

/** The value of `last`. A pin can keep more: an unusual run pins the snapshot before it. */
const LAST = 2;
const FILES = 60;
/** System calls that change the disk: a kill comes right before one of them. */
const CHANGES =
  'openat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,pwrite64,write,fsync';

interface Pruned {
  snapshots: { snapshot: string; keep: boolean }[];
}

/** The number of kills of each command, spread evenly over its changes; of 0 there is no test. */
export interface Times {
  prune: number;
  pruneWithoutIndex: number;
  verify: number;
  run: number;
  snapshots: number;
}

export function storeKillsSuite(title: string, times: Times): void {
  describe(title, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => storeKillsTests(times));
}

function storeKillsTests(numbers: Times): void {
  let world: World;
  let template: string;
  let names: string[];
  /** The snapshots that the policy keeps, by a dry run; store/retention.ts has its own tests. */
  let wanted: string[];
  const trees = new Map<string, Manifest>();

  before(async () => {
    world = await World.make();
    for (let run = 0; run < numbers.snapshots; run += 1) {
      for (let file = 0; file < FILES; file += 1) {
        if (run > 0 && (file + run) % 5 > 0) continue;
        const path = join(world.data, `file ${file}`);
        writeFileSync(path, `content ${run} ${file} `.repeat(1 + file * 40));
        chownSync(path, world.client.uid, world.client.gid);
      }
      assert.equal((await world.backup()).status, 0);
    }
    await until('all has ended', () => world.processes().length === 0);
    names = world.snapshots();
    for (const name of names) trees.set(name, manifest(world.tree(name)));
    template = join(world.base, 'template');
    execFileSync('cp', ['-a', world.store, template]);
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[retention]\nlast = ${LAST}\nmin_keep = 0\nmin_age = "0s"\n`,
    );
    const [client] = (JSON.parse(await good('prune', '--dry-run', '--json')) as { clients: Pruned[] })
      .clients;
    wanted = client?.snapshots.filter(each => each.keep).map(each => each.snapshot) ?? [];
    assert.ok(wanted.length >= LAST && wanted.length < names.length - 1, wanted.join());
  });
  after(async () => {
    await world.dispose();
  });

  /** Restores the store as it was after the last backup, without files that a command is to rebuild. */
  function reset(without: ('index' | 'manifests')[]): void {
    rmSync(world.store, { recursive: true, force: true });
    execFileSync('cp', ['-a', template, world.store]);
    if (without.includes('index'))
      for (const each of ['', '-wal', '-shm'])
        rmSync(join(world.shelf, `index.sqlite${each}`), { force: true });
    if (!without.includes('manifests')) return;
    for (const name of names)
      for (const each of ['manifest.mtree.gz', 'sha256sums'])
        rmSync(join(world.shelf, 'snapshots', name, each), { force: true });
  }

  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);

  async function good(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await host(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Runs a command as the host under strace(1), in a process group of its own. */
  async function traced(strace: string[], args: string[]): Promise<Result> {
    const words = ['-f', '-qq', '--seccomp-bpf', ...strace, '--', world.binary, ...args];
    const running = world.start(world.host, '/usr/bin/strace', [...words, '--config', world.hostToml], {
      detached: true,
    });
    const ended = await running.done;
    try {
      process.kill(-(running.child.pid ?? 0), 'SIGKILL'); // its children
    } catch {
      // all of it has ended
    }
    return ended;
  }

  /** Runs a command to its end, once. @returns the changes that its main thread makes, each as strace(1) names it for an injection */
  async function changesOf(args: string[], without: ('index' | 'manifests')[]): Promise<string[]> {
    reset(without);
    const log = join(world.host.home, 'trace');
    const { status, stderr } = await traced(['-e', `trace=${CHANGES}`, '-o', log], args);
    assert.equal(status, 0, stderr);
    const text = readFileSync(log, 'latin1');
    rmSync(log);
    return tracedCalls(text).map(({ at }) => at);
  }

  /** Checks the conditions for any moment: the snapshots that the policy keeps exist, and all snapshots are unchanged. */
  function requireWhole(when: string): void {
    const there = world.snapshots();
    for (const name of wanted) assert.ok(there.includes(name), `${when}: ${name} is there`);
    for (const name of there) {
      const before = trees.get(name);
      assert.ok(before, `${when}: ${name} was there before`);
      assert.deepEqual(diffManifests(before, manifest(world.tree(name))), [], `${when}: ${name}`);
    }
  }

  /** Runs the next commands, and compares the index with a new one. */
  async function requireCarriesOn(when: string): Promise<void> {
    await good('prune');
    assert.deepEqual(world.snapshots(), wanted, when);
    assert.deepEqual(readdirSync(join(world.shelf, 'trash')), [], when);
    const made = JSON.parse(await good('verify', '--json')) as {
      damaged_count: number;
      records: unknown[];
    }[];
    assert.deepEqual(
      made.map(each => [each.damaged_count, each.records]),
      [[0, []]],
      when,
    );
    requireWhole(when);
    const said = await good('find', world.name, '*', '--json');
    for (const each of ['', '-wal', '-shm'])
      rmSync(join(world.shelf, `index.sqlite${each}`), { force: true });
    assert.equal(await good('find', world.name, '*', '--json'), said, `${when}: the index`);
  }

  const victims: { args: string[]; without: ('index' | 'manifests')[]; times: number }[] = [
    { args: ['prune'], without: [], times: numbers.prune },
    { args: ['prune'], without: ['index'], times: numbers.pruneWithoutIndex },
    { args: ['verify'], without: ['index', 'manifests'], times: numbers.verify },
  ];

  for (const { args, without, times } of victims) {
    if (times === 0) continue;
    const what = `${args.join(' ')}${without.length > 0 ? ` that makes ${without.join(' and ')}` : ''}`;
    it(`${what}: ${times} times`, async () => {
      const changes = await changesOf(args, without);
      for (let time = 1; time <= times; time += 1) {
        reset(without);
        const at = Math.ceil((changes.length * time) / (times + 1));
        const change = changes[at] ?? assert.fail();
        const ended = await traced(['-e', `inject=${change}`], args);
        const when = `${what}, killed at its change ${at} of ${changes.length} (${change})`;
        assert.equal(ended.signal, 'SIGKILL', when); // strace ends as its program does
        await until('nothing of it is left', () => world.processes().length === 0);
        requireWhole(when);
        await requireCarriesOn(when);
      }
    });
  }

  if (numbers.run === 0) return;
  it('a run, from its commit to the end of what comes after it', async () => {
    reset([]);
    const config = `store = "${world.store}"\nsyslog = false\n`;
    world.write(world.host, world.hostToml, config);
    for (let time = 0; time < numbers.run; time += 1) {
      writeFileSync(join(world.data, 'file 1'), `again ${time}`);
      const before = world.snapshots();
      const running = world.start(world.client, world.binary, [
        ...['backup', '--json', '--config', world.clientToml],
      ]);
      let isOver = false;
      void running.done.then(() => {
        isOver = true;
      });
      const record = (): string | undefined =>
        readdirSync(join(world.shelf, 'arriving')).find(each =>
          existsSync(join(world.shelf, 'arriving', each, 'snapshot.json')),
        );
      await until('the commit begins', () => isOver || record() !== undefined);
      // From the commit's beginning to after its end, which is longer on a busy machine.
      await sleep((400 * stretch() * time) / numbers.run);
      for (const each of world.processes())
        if (/dialback (grab|manifest) --client/.test(each.command)) process.kill(each.pid, 'SIGKILL');
      await running.done;
      await until('all has ended', () => world.processes().length === 0);
      for (const name of world.snapshots()) {
        const known = trees.get(name) ?? manifest(world.tree(name));
        trees.set(name, known);
        assert.deepEqual(diffManifests(known, manifest(world.tree(name))), [], name);
      }
      for (const name of before) assert.ok(world.snapshots().includes(name), name);
      assert.equal((await world.backup()).status, 0);
      await until('what comes after has ended', () => world.processes().length === 0);
      const [made] = JSON.parse(await good('verify', '--json')) as {
        damaged_count: number;
        made: string[];
      }[];
      assert.deepEqual([made?.damaged_count, made?.made], [0, []], 'manifests of both were made');
    }
  });
}
