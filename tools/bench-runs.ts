/**
 * Whole backups beside other programs, from the start of the command until all is on the disk: over ssh on this machine, from one
 * account to another. Each round lets every program do the same work in turn. It prints medians and writes all values as JSON.
 *
 *     node tools/bench-runs.ts [--files N] [--rounds N] [--fs ext4|xfs|btrfs] [--peers NAME,…] [--cold] [--tree FOLDER] [--json F]
 *
 * The files are those of FOLDER (/usr/share), a copy of them where N is more, or small ones that it makes with `--tree small`. The
 * work: a first backup; unchanged ones; one with 1 % of the files changed; one with a folder moved; a restore; the removal of the
 * oldest; a verification. Needs root. It leaves nothing behind, and judges nothing.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bed, type Cost } from './runs/bed.ts';
import { allPeers, type Peer } from './runs/peers.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '50000' },
    rounds: { type: 'string', default: '5' },
    fs: { type: 'string', default: 'ext4' },
    peers: { type: 'string', default: '' },
    tree: { type: 'string', default: '/usr/share' },
    cold: { type: 'boolean', default: false },
    gib: { type: 'string', default: '40' },
    json: { type: 'string' },
  },
});
const FILES = Number(values.files);
const ROUNDS = Number(values.rounds);
const PER_FOLDER = 100;
const NOTHING = '—';

type Results = Map<string, Map<string, Cost[]>>;

function plantFiles(data: string): void {
  let count = 0;
  if (values.tree === 'small')
    for (; count < FILES; count += 1) {
      const folder = join(data, `folder ${Math.floor(count / PER_FOLDER)}`);
      if (count % PER_FOLDER === 0) mkdirSync(folder);
      writeFileSync(join(folder, `file ${count}`), `${count} `.repeat(1 + (count % 300)));
    }
  else
    for (let copy = 0; count < FILES; copy += 1) {
      execFileSync('cp', ['-a', '--no-preserve=ownership', values.tree, join(data, `tree ${copy}`)]);
      count += files(join(data, `tree ${copy}`)).length;
    }
  execFileSync('chown', ['-R', '--reference', data, data]);
}

/** The plain files below a folder, in a fixed order. */
function files(folder: string): string[] {
  return execFileSync('find', [folder, '-type', 'f', '-print0'], { maxBuffer: 1 << 30, encoding: 'latin1' })
    .split('\0')
    .filter(each => each !== '')
    .sort();
}

async function run(bed: Bed, peers: readonly Peer[]): Promise<Results> {
  const results: Results = new Map();
  const measure = async (work: string, peer: Peer, command: () => Promise<void>): Promise<void> => {
    const cost = await bed.measure(command, values.cold);
    const row = results.get(work) ?? new Map<string, Cost[]>();
    results.set(work, row);
    row.set(peer.name, [...(row.get(peer.name) ?? []), cost]);
    process.stderr.write(`${work}, ${peer.name}: ${cost.seconds.toFixed(2)} s\n`);
  };
  const backUp = async (work: string, rounds: number, change: (round: number) => void): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      change(round);
      for (const peer of peers) await measure(work, peer, peer.backup);
    }
  };
  for (const peer of peers) await peer.prepare();
  await backUp('first', 1, () => {});
  await backUp('unchanged', ROUNDS, () => {});
  const all = files(bed.data);
  await backUp('1 % changed', ROUNDS, round => {
    for (let at = round; at < all.length; at += 100)
      appendFileSync(Buffer.from(all[at] ?? '', 'latin1'), 'x');
  });
  const [top = ''] = readdirSync(bed.data);
  await backUp('a folder moved', 1, () => {
    renameSync(join(bed.data, top), join(bed.data, 'moved'));
  });
  for (const peer of peers) {
    const to = join(bed.disk, 'restored');
    if (peer.restore === undefined) continue;
    mkdirSync(to, { mode: 0o700 });
    execFileSync('chown', ['--reference', bed.data, to]);
    await measure('restore', peer, async () => await peer.restore?.(to));
    rmSync(to, { recursive: true });
  }
  for (const peer of peers)
    if (peer.removeOldest) await measure('removal of the oldest', peer, peer.removeOldest);
  for (const peer of peers) if (peer.verify) await measure('verification', peer, peer.verify);
  return results;
}

function median(all: readonly number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

/** A table of Markdown: a line for each work. @param read the number of a cell */
function table(results: Results, peers: readonly Peer[], read: (cost: Cost) => number): string {
  const lines = [...results].map(([work, row]) => {
    const cells = peers.map(({ name }) => {
      const costs = row.get(name);
      return costs === undefined ? NOTHING : median(costs.map(read)).toFixed(2);
    });
    return `| ${[work, ...cells].join(' | ')} |`;
  });
  const head = ['', ...peers.map(each => each.name)];
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...lines].join('\n');
}

await using bed = await Bed.make(values.fs, Number(values.gib));
const wanted = values.peers.split(',').filter(each => each !== '');
const peers = allPeers(bed).filter(
  ({ name }) => wanted.length === 0 || wanted.some(each => name.startsWith(each)),
);
plantFiles(bed.data);
const count = files(bed.data).length;
const results = await run(bed, peers);
const parts: [string, (cost: Cost) => number][] = [
  ['Seconds until all is on the disk', cost => cost.seconds],
  ['Processor seconds of the client', cost => cost.client],
  ['Processor seconds of the host', cost => cost.host],
];
console.log(
  `${count} files of ${values.tree}, ${values.fs}, ${values.cold ? 'cold' : 'warm'}, ${ROUNDS} rounds`,
);
for (const peer of peers) console.log(`${peer.name}: ${peer.version()}`);
for (const [title, read] of parts) console.log(`\n${title}:\n\n${table(results, peers, read)}`);
if (values.json !== undefined) {
  const plain = Object.fromEntries([...results].map(([work, row]) => [work, Object.fromEntries(row)]));
  writeFileSync(values.json, `${JSON.stringify({ ...values, count, results: plain }, null, 2)}\n`);
}
