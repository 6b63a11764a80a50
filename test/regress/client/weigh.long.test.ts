// Goal: as client/weigh, with all of its tests; `weigh` equals du(1) on /usr, and weighs 1,000,000 files in bounded memory of its own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MemoryWatch, type Peak } from '../../support/memory.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';
import './weigh.test.ts';

/** Private memory of the process of `weigh`, which does not grow with the number of files. */
const MOST_KIB = 60 * 1024;

describe('weigh with many files', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make({ launcher: true, isSetUp: false });
  });
  after(async () => {
    await world.dispose();
  });

  async function weigh(): Promise<{ bytes: number; files: number; peaks: Map<string, Peak> }> {
    const watch = new MemoryWatch(new Map([[world.binary, 'dialback']]), 100);
    const words = ['weigh', '--config', world.clientToml, '--json'];
    const { status, stdout, stderr } = await world.run(world.client, words, { timeoutMs: 600_000 });
    watch.end();
    assert.equal(status, 0, stderr);
    const { bytes, files } = JSON.parse(stdout) as { bytes: number; files: number };
    return { bytes, files, peaks: watch.peaks };
  }

  it('equals du on /usr', async () => {
    world.configure({ scope: 'roots = ["/usr"]\nexclude = ["*.no such name"]' });
    const found = execFileSync('find', ['/usr', '(', '-type', 'f', '-o', '-type', 'l', ')', '-print0'], {
      maxBuffer: 2 ** 30,
    });
    const options = ['--apparent-size', '-B1', '-c', '-s', '--files0-from=-'];
    const sums = execFileSync('du', options, { input: found, maxBuffer: 2 ** 30 }).toString('latin1');
    const real = Number(/(\d+)\ttotal\n$/.exec(sums)?.[1]);
    const { bytes } = await weigh();
    assert.ok(Math.abs(bytes - real) <= real / 100, `${bytes} and not ${real}`);
  });

  it('weighs 1,000,000 files in bounded memory', async () => {
    for (let folder = 0; folder < 1000; folder += 1) {
      const path = join(world.data, `folder ${folder}`);
      mkdirSync(path);
      for (let at = 0; at < 1000; at += 1) writeFileSync(join(path, `file ${at}`), '');
    }
    world.configure({ scope: `roots = ["${world.data}"]\nexclude = ["*.tmp"]` });
    const { files, peaks } = await weigh();
    assert.equal(files, 1_000_000);
    const own = peaks.get('dialback weigh')?.own ?? Number.POSITIVE_INFINITY;
    console.log(`1,000,000 files: ${JSON.stringify(Object.fromEntries(peaks))}`);
    assert.ok(own < MOST_KIB, `${own} KiB`);
  });
});
