/**
 * The growth of the store and the times when a client renames a folder of 10 GB: a backup, the rename, another backup, a verification.
 *
 *     node tools/bench-moved.ts          # BENCH_LARGE=2560 files of 4 MiB, BENCH_SMALL=20000 small ones
 *
 * Needs root: two temporary users, 20 GB below /tmp. It leaves nothing behind. It prints numbers and fails no check: people judge.
 */
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { World } from '../test/support/world.ts';

const LARGE = Number(process.env.BENCH_LARGE ?? 2560);
const SMALL = Number(process.env.BENCH_SMALL ?? 20_000);
const LARGE_BYTES = 4 * 1024 * 1024;
const PER_FOLDER = 100;

function plant(folder: string): void {
  const block = Buffer.alloc(LARGE_BYTES);
  for (let at = 0; at < LARGE + SMALL; at += 1) {
    const inner = join(folder, `inner ${Math.floor(at / PER_FOLDER)}`);
    if (at % PER_FOLDER === 0) mkdirSync(inner, { recursive: true });
    writeFileSync(
      join(inner, `file ${at}`),
      at < LARGE ? randomFillSync(block) : `${at} `.repeat(1 + (at % 300)),
    );
  }
}

const world = await World.make({ launcher: true });
try {
  const bytes = (): number =>
    Number(execFileSync('du', ['-s', '-B1', world.shelf]).toString().split('\t')[0]);
  const timed = async (what: string, action: () => Promise<unknown>): Promise<void> => {
    const started = performance.now();
    await action();
    console.log(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  };
  const backUp = async (): Promise<void> => {
    const { status, stdout, stderr } = await world.backup([], { timeoutMs: 3_600_000 });
    if (status !== 0) throw new Error(`${stdout}${stderr}`);
    console.log(
      `  the run itself: ${world.journal('host').findLast(each => each.event === 'run')?.duration_ms} ms`,
    );
  };
  plant(join(world.data, 'before'));
  execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
  world.configure({ limits: 'deadline = "1h"' });
  await timed('first backup and its manifest', backUp);
  const before = bytes();
  renameSync(join(world.data, 'before'), join(world.data, 'after'));
  await timed('backup of the renamed folder and its manifest', backUp);
  const grown = bytes() - before;
  console.log(`store: ${before} bytes, then ${grown} more (${((100 * grown) / before).toFixed(3)}%)`);
  const record = join(world.shelf, 'snapshots', world.snapshots().at(-1) ?? '', 'snapshot.json');
  console.log(JSON.stringify(JSON.parse(readFileSync(record, 'utf8')).counts));
  await timed('verify', async () => {
    const { status, stderr } = await world.run(
      world.host,
      ['verify', world.name, '--config', world.hostToml],
      {
        timeoutMs: 3_600_000,
      },
    );
    console.log(`  verify ends with ${status} ${stderr}`);
  });
} finally {
  await world.dispose();
}
