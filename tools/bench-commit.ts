/**
 * Ways to bring a run's files to the disk. rsync copies a tree into a fresh file system, once as a whole and once with `--link-dest`
 * to the first copy. This prints the time of rsync, the time from its end until all is on the disk, and the sum. All are medians,
 * without and with another program that writes to the same file system.
 *
 *     node tools/bench-commit.ts [--tree FOLDER] [--rounds N] [--fs ext4|xfs|btrfs] [--ways N] [--early MS]
 *
 * `--ways 2` leaves out the last two, which take half an hour with 50,000 files. Needs root. It leaves nothing behind, and judges
 * nothing. docs/design.md says which way dialback uses, and why.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    tree: { type: 'string', default: '/usr/share' },
    rounds: { type: 'string', default: '5' },
    fs: { type: 'string', default: 'ext4' },
    ways: { type: 'string', default: '4' },
    early: { type: 'string', default: '300' },
    gib: { type: 'string', default: '20' },
  },
});

interface Way {
  name: string;
  /** Further options of rsync. */
  options?: string[];
  /** Whether syncfs(2) is called all the time while rsync copies. */
  isEarly?: boolean;
  /** Brings the rest to the disk. */
  finish(tree: string): void;
}

const syncfs = (tree: string): void => void execFileSync('sync', ['-f', tree]);

/** fsync(2) of each entry of these types. */
function fsync(tree: string, types: string): void {
  // A linked file has more names, and is on the disk already.
  const test = types === 'd' ? ['-type', 'd'] : ['-type', types, '(', '-type', 'd', '-o', '-links', '1', ')'];
  const command = 'find "$0" "$@" -print0 | xargs -0 -r sync';
  execFileSync('sh', ['-c', command, tree, ...test]);
}

const WAYS: Way[] = [
  { name: 'syncfs at the end', finish: syncfs },
  { name: 'syncfs while rsync copies, and at the end', isEarly: true, finish: syncfs },
  { name: 'fsync of each new file and folder', finish: tree => fsync(tree, 'f,d') },
  {
    name: 'rsync --fsync, then fsync of each folder',
    options: ['--fsync'],
    finish: tree => fsync(tree, 'd'),
  },
];

const OPTIONS = ['-aHAXS', '--numeric-ids', '--fake-super'];

/** The median of one way and one work. */
interface Cost {
  rsyncMs: number;
  finishMs: number;
}

const folder = mkdtempSync(join(tmpdir(), 'dialback-bench-'));
const disk = join(folder, 'disk');

async function measure(way: Way, tree: string, basis: string | undefined): Promise<Cost> {
  execFileSync('sync');
  const begunMs = performance.now();
  const links = basis === undefined ? [] : [`--link-dest=${basis}`];
  const rsync = spawn(
    'rsync',
    [...OPTIONS, ...(way.options ?? []), ...links, `${values.tree}/`, `${tree}/`],
    { stdio: 'inherit' },
  );
  const ended = new Promise<number | null>(resolve => rsync.once('close', resolve));
  let timer: NodeJS.Timeout | undefined;
  if (way.isEarly) timer = setInterval(() => spawn('sync', ['-f', disk]), Number(values.early));
  const status = await ended;
  clearInterval(timer);
  if (status !== 0) throw new Error(`rsync: exit status ${status}`);
  const copiedMs = performance.now();
  way.finish(tree);
  return { rsyncMs: copiedMs - begunMs, finishMs: performance.now() - copiedMs };
}

const median = (all: readonly number[]): number =>
  [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;

const seconds = (ms: number): string => (ms / 1000).toFixed(2);

async function compare(): Promise<void> {
  const costs = new Map<string, { first: Cost[]; unchanged: Cost[] }>();
  for (let round = 0; round < Number(values.rounds); round += 1)
    for (const way of WAYS.slice(0, Number(values.ways))) {
      const [one, two] = [join(disk, 'one'), join(disk, 'two')];
      const row = costs.get(way.name) ?? { first: [], unchanged: [] };
      costs.set(way.name, row);
      row.first.push(await measure(way, one, undefined));
      row.unchanged.push(await measure(way, two, one));
      for (const each of [one, two]) rmSync(each, { recursive: true });
      process.stderr.write('.');
    }
  process.stderr.write('\n');
  console.log('| way | first: rsync | then | sum | unchanged: rsync | then | sum |');
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [name, row] of costs) {
    const cells = [row.first, row.unchanged].flatMap(all =>
      [
        (each: Cost) => each.rsyncMs,
        (each: Cost) => each.finishMs,
        (each: Cost) => each.rsyncMs + each.finishMs,
      ].map(read => seconds(median(all.map(read)))),
    );
    console.log(`| ${[name, ...cells].join(' | ')} |`);
  }
}

try {
  const image = join(folder, 'image');
  execFileSync('truncate', ['-s', `${values.gib}G`, image]);
  const quiet = values.fs === 'ext4' ? ['-q', '-F', '-E', 'lazy_itable_init=0'] : ['-q'];
  execFileSync(`mkfs.${values.fs}`, [...quiet, image], { stdio: ['ignore', 'ignore', 'inherit'] });
  mkdirSync(disk);
  execFileSync('mount', ['-o', 'loop', image, disk]);
  rmSync(image); // the loop device holds it
  execFileSync('rsync', ['-a', `${values.tree}/`, `${disk}/warm/`]);
  rmSync(`${disk}/warm`, { recursive: true });
  console.log(
    `${values.tree}, ${values.fs}, ${values.rounds} rounds, medians in seconds\n\nwithout another program:\n`,
  );
  await compare();
  // 50 MB each second, as another client's first backup does. It writes the same file again and again.
  const other = join(disk, 'other');
  const words = [
    '-c',
    'while :; do dd if=/dev/zero of="$0" bs=1M count=25 status=none; sleep 0.5; done',
    other,
  ];
  const writer = spawn('sh', words, { detached: true, stdio: 'ignore' });
  try {
    console.log('\nwhile another program writes 50 MB each second:\n');
    await compare();
  } finally {
    if (writer.pid !== undefined) process.kill(-writer.pid, 'SIGKILL');
  }
} finally {
  if (existsSync(disk)) spawnSync('umount', [disk]);
  rmSync(folder, { recursive: true, force: true });
}
