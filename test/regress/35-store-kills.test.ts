// Goal: whatever tends the store (prune, the deleting of trash, verify with its manifests, the index, what grab leaves to be
// done after the commit) may be killed with SIGKILL at any moment: no finished snapshot that the policy wants is lost or
// changed, nothing that it does not want comes back, and the next command carries on unaided.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../support/checkout.ts';
import { diffManifests, type Manifest, manifest } from '../support/manifest.ts';
import { NEEDS_ROOT, type Result, until, World } from '../support/world.ts';

const SNAPSHOTS = 8;
/** What `last` says; a pin can keep more (a run that is unlike the others pins the one before it). */
const LAST = 3;
const FILES = 60;
/** How many kills; `KILLS=100 npm test -- regress/35` for more. */
const KILLS = Number(process.env.KILLS ?? 30);
const share = (percent: number): number => Math.ceil((KILLS * percent) / 100);

interface Pruned {
  snapshots: { snapshot: string; keep: boolean }[];
}

describe('kills of what tends the store', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let template: string;
  let names: string[];
  /** What the policy wants, by a dry run; host/retention.ts has its own tests. */
  let wanted: string[];
  const trees = new Map<string, Manifest>();
  let seed = 20261123;

  before(async () => {
    world = await World.make();
    for (let run = 0; run < SNAPSHOTS; run += 1) {
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
    execFileSync('/usr/bin/cp', ['-a', world.store, template]);
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

  /** xorshift32: the same points in each run of this file, and none that suits us. */
  function random(): number {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  }

  /** The store as it was after the last backup; without what can be made anew, where that is to be made. */
  function reset(without: ('index' | 'manifests')[]): void {
    rmSync(world.store, { recursive: true, force: true });
    execFileSync('/usr/bin/cp', ['-a', template, world.store]);
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

  /** Runs a command to its end, once, for the time that it takes. */
  async function measure(args: string[], without: ('index' | 'manifests')[]): Promise<number> {
    reset(without);
    const startedMs = performance.now();
    await good(...args);
    return performance.now() - startedMs;
  }

  /** @returns whether it was killed before its end */
  async function killed(args: string[], afterMs: number): Promise<boolean> {
    const running = world.start(world.host, world.binary, [...args, '--config', world.hostToml], {
      detached: true,
    });
    const timer = setTimeout(() => {
      try {
        process.kill(-(running.child.pid ?? 0), 'SIGKILL');
      } catch {
        // it has ended by itself in between
      }
    }, afterMs);
    const { signal } = await running.done;
    clearTimeout(timer);
    return signal === 'SIGKILL';
  }

  /** What must hold at any moment: what the policy wants is there, and everything that is there is as it was. */
  function requireWhole(when: string): void {
    const there = world.snapshots();
    for (const name of wanted) assert.ok(there.includes(name), `${when}: ${name} is there`);
    for (const name of there) {
      const before = trees.get(name);
      assert.ok(before, `${when}: ${name} was there before`);
      assert.deepEqual(diffManifests(before, manifest(world.tree(name))), [], `${when}: ${name}`);
    }
  }

  /** The next commands, unaided: and the index says the same as one that is made anew. */
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
    { args: ['prune'], without: [], times: share(40) },
    { args: ['prune'], without: ['index'], times: share(15) },
    { args: ['verify'], without: ['index', 'manifests'], times: share(30) },
  ];

  for (const { args, without, times } of victims) {
    const what = `${args.join(' ')}${without.length > 0 ? ` that makes ${without.join(' and ')}` : ''}`;
    it(`${what}: ${times} times`, async () => {
      const wholeMs = await measure(args, without);
      let hits = 0;
      for (let time = 0; time < times; time += 1) {
        reset(without);
        const afterMs = random() * wholeMs;
        if (await killed(args, afterMs)) hits += 1;
        await until('nothing of it is left', () => world.processes().length === 0);
        const when = `${what}, killed after ${Math.round(afterMs)} ms`;
        requireWhole(when);
        await requireCarriesOn(when);
      }
      // With a time out of the whole of its life most are hit; were none, nothing would be shown.
      assert.ok(hits >= times / 3, `${hits} of ${times}`);
    });
  }

  it('a run, from its commit to the end of what comes after it', async () => {
    reset([]);
    const config = `store = "${world.store}"\nsyslog = false\n`;
    world.write(world.host, world.hostToml, config);
    for (let time = 0; time < share(15); time += 1) {
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
      await new Promise(resolve => setTimeout(resolve, random() * 400));
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
});
