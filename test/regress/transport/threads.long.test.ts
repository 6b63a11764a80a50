// Goal: no thread of V8's works beside the main one. One that compiles while the main thread ends may wait for a collection by that
// one, which waits for it, for ever: a process that was done stayed. With threads, one run in sixty of a busy machine did.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const FILES = 1000;
const RUNS = 4;
/** What such a thread needs to start and to end; with work it has ten times as much and more. */
const IDLE_MS = 5;

describe("V8's threads", { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  const snapshots: string[] = [];
  before(async () => {
    world = await World.make({ launcher: true });
    for (const content of ['old', 'new']) {
      for (let index = 0; index < FILES; index += 1)
        writeFileSync(join(world.data, `file ${index}`), `${index % 3 === 0 ? content : ''} ${index}`);
      const { status, last } = await world.backup();
      assert.equal(status, 0);
      snapshots.push(last.snapshot ?? '');
    }
  });
  after(() => world?.dispose());

  /** Milliseconds that each thread but the first has run, by its name and number (proc(5), schedstat). */
  function workOf(pid: number, work: Map<string, number>): void {
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, 'latin1').trim();
        const [ns = '0'] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ');
        if (Number(thread) !== pid) work.set(`${name} ${thread}`, Number(ns) / 1e6);
      }
    } catch {
      // it has ended in between
    }
  }

  it('do nothing, and every run ends', async () => {
    const [older, newer = ''] = snapshots;
    const args = ['diff', `${world.name}@${older}`, newer, '--json', '--config', world.hostToml];
    let seen = 0;
    const one = async (): Promise<void> => {
      const work = new Map<string, number>();
      const running = world.start(world.host, world.binary, args, { timeoutMs: 60_000 });
      const timer = setInterval(() => workOf(running.child.pid ?? 0, work), 5);
      const { status, signal, stdout } = await running.done;
      clearInterval(timer);
      assert.deepEqual([status, signal], [0, null]);
      assert.ok(JSON.parse(stdout).length > FILES / 4);
      const busy = [...work].filter(([name, ms]) => name.startsWith('V8Worker') && ms > IDLE_MS);
      assert.deepEqual(busy, []);
      seen += [...work.keys()].filter(name => name.startsWith('V8Worker')).length;
    };
    // Several at once: on a machine with time to spare such a thread is done before anybody ends.
    await Promise.all(Array.from({ length: RUNS }, one));
    assert.ok(seen > 0, 'no thread was seen');
  });
});
