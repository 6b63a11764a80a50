/**
 * Whole backups beside other programs, from the start of the command until all is on the disk: over ssh on this machine, from one
 * account to another. Each round lets every program do the same work, in another order. It prints medians, and writes all samples
 * as JSON after each work, so that an interrupted run leaves what it had. tools/performance.ts makes docs/performance.md from it.
 *
 *     node tools/bench-runs.ts [--sets real,small,large] [--filesystems ext4,xfs,btrfs] [--cache warm,cold] [--peers NAME,…]
 *         [--works WORK,…] [--rounds N] [--files N] [--large-files N] [--large-mib N] [--gib N] [--mount OPTIONS] [--json FILE] [--short]
 *     node tools/bench-runs.ts --slope 1000,10000,100000,1000000 [--rounds N] [--peers NAME,…] [--json FILE]
 *
 * Sets: `real` is 50,000 files of /usr/share (--files), `small` is 1,000,000 files of up to 1.5 kB (--files), `large` is 20 files of
 * 500 MiB (--large-files, --large-mib). Each combination of a set, a file system and a cache is a part of its own on fresh file
 * systems of --gib GiB. Options choose parts, so all results can come from several runs. PEERS and WORKS are
 * names or their beginnings.
 * --mount has more options of mount(8). `--short` is 2,000 real files, warm, on ext4, in 2 rounds: some minutes. `--slope` measures
 * dialback with several numbers of small files, and the memory of each of its processes.
 *
 * Needs root. It leaves nothing behind, and judges nothing.
 */
import { chownSync, mkdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MemoryWatch } from '../test/support/memory.ts';
import { MEMORY_METHOD } from './runs/accounting.ts';
import { Bed } from './runs/bed.ts';
import { enterOwnNetwork } from './runs/network.ts';
import { allPeers, type Peer } from './runs/peers.ts';
import { findPrograms } from './runs/programs.ts';
import {
  costTable,
  describeCommand,
  describeCommit,
  describeMachine,
  MEASURES,
  markdown,
  median,
  type Part,
  type RunRecord,
  slope,
  WORKS,
  type Work,
  writeRecord,
} from './runs/results.ts';
import { SETS, type SetName, WorkSet } from './runs/work-sets.ts';

findPrograms(); // which may need the network
enterOwnNetwork();

const text = (value: string) => ({ type: 'string', default: value }) as const;
const { values } = parseArgs({
  options: {
    sets: text('real'),
    filesystems: text('ext4'),
    cache: text('warm'),
    peers: text(''),
    works: text(''),
    rounds: { type: 'string' },
    files: { type: 'string' },
    'large-files': text('20'),
    'large-mib': text('500'),
    gib: text('100'),
    mount: text(''),
    json: { type: 'string' },
    slope: { type: 'string' },
    short: { type: 'boolean', default: false },
  },
});

const ROUNDS = Number(values.rounds ?? (values.short ? 2 : 5));
const FILES: Record<SetName, number> = {
  real: Number(values.files ?? (values.short ? 2000 : 50_000)),
  small: Number(values.files ?? (values.short ? 2000 : 1_000_000)),
  large: Number(values['large-files']),
};
const JSON_FILE =
  values.json ??
  join(import.meta.dirname, `../dist/bench/runs-${new Date().toISOString().replaceAll(':', '-')}.json`);
const SLOPE_PEERS = 'dialback-channel';
const SLOPE_WORKS: Work[] = ['first', 'unchanged', '1 % changed', 'removal of the oldest', 'verification'];
/** rdiff-backup counts only backups with a change, and its removal needs one more than it removes. */
const CHANGES: Work[] = ['1 % changed', 'one byte of a large file', 'a folder moved'];
const MEMORY_MS = 100;
const KIBIBYTE = 1024;

interface Plan {
  set: SetName;
  files: number;
  fileSystem: string;
  isCold: boolean;
  peers: string[];
  works: readonly Work[];
  watchesProcesses: boolean;
}

const listOf = (words: string): string[] => words.split(',').filter(each => each !== '');

/** Finds the members of a list that the words name, whole or by their beginning; without words all. @throws for a word that chooses nothing */
function choose<T extends string>(all: readonly T[], words: readonly string[]): T[] {
  for (const word of words)
    if (!all.some(each => each.startsWith(word)))
      throw new Error(`Cannot find "${word}": there are ${all.join('; ')}`);
  const isMeant = (each: T, word: string): boolean =>
    all.some(other => other === word) ? each === word : each.startsWith(word);
  return all.filter(each => words.length === 0 || words.some(word => isMeant(each, word)));
}

function plans(): Plan[] {
  const works = choose(WORKS, listOf(values.works));
  if (values.slope !== undefined)
    return listOf(values.slope).map(files => ({
      set: 'small',
      files: Number(files),
      fileSystem: values.filesystems,
      isCold: false,
      peers: listOf(values.peers === '' ? SLOPE_PEERS : values.peers),
      works: SLOPE_WORKS,
      watchesProcesses: true,
    }));
  return choose(SETS, listOf(values.sets)).flatMap(set =>
    choose(['ext4', 'xfs', 'btrfs'], listOf(values.filesystems)).flatMap(fileSystem =>
      choose(['warm', 'cold'], listOf(values.cache)).map(cache => ({
        ...{ set, files: FILES[set], fileSystem, isCold: cache === 'cold' },
        ...{ peers: listOf(values.peers), works, watchesProcesses: false },
      })),
    ),
  );
}

class Measuring {
  readonly part: Part;
  readonly versions: Record<string, string> = {};
  readonly #bed: Bed;
  readonly #set: WorkSet;
  readonly #plan: Plan;
  readonly #save: () => void;
  #peers: Peer[] = [];

  /** @param save is called after each work */
  constructor(bed: Bed, plan: Plan, save: () => void) {
    this.#bed = bed;
    this.#plan = plan;
    this.#save = save;
    this.#set = new WorkSet(plan.set, bed.data, plan.files, Number(values['large-mib']));
    const { set, fileSystem, isCold } = plan;
    const head = { set, files: plan.files, bytes: 0, fileSystem, cache: isCold ? 'cold' : 'warm' } as const;
    this.part = { ...head, rounds: ROUNDS, costs: {} };
  }

  async run(): Promise<void> {
    Object.assign(this.part, this.#set.plant());
    const { free, needed } = this.#space();
    if (needed > free) {
      const figures = `about ${(needed / 1e9).toFixed(0)} GB are needed, and ${(free / 1e9).toFixed(0)} GB are free`;
      throw new Error(
        `Cannot measure in "${tmpdir()}": ${figures}\nnext: choose fewer --peers or smaller files`,
      );
    }
    await this.#first();
    await this.#backups('unchanged', () => {});
    await this.#backups('1 % changed', round => this.#set.changeSome(round));
    await this.#backups('one byte of a large file', round => this.#set.changeByte(round));
    await this.#backups('a folder moved', round => this.#set.moveFolder(round));
    await this.#rounds('restore', peer => peer.restore && (() => this.#restore(peer)));
    const changes = this.#plan.works.filter(each => CHANGES.includes(each)).length;
    if (changes < 2) await this.#makeOld();
    await this.#rounds('removal of the oldest', peer => peer.removeOldest);
    await this.#rounds('verification', peer => peer.verify);
  }

  /** Makes backups to remove, which are not measured. */
  async #makeOld(): Promise<void> {
    if (!this.#plan.works.includes('removal of the oldest')) return;
    for (let round = 0; round <= ROUNDS; round += 1) {
      this.#set.changeSome(round);
      for (const peer of this.#peers) await peer.backup();
    }
  }

  #space(): { free: number; needed: number } {
    const { bavail, bsize } = statfsSync(tmpdir());
    const copies = this.#choosePeers(0).length + 1; // the restored one
    return { free: bavail * bsize, needed: this.part.bytes * copies };
  }

  #choosePeers(generation: number): Peer[] {
    const all = allPeers(this.#bed, generation);
    const names = choose(
      all.map(each => each.name),
      this.#plan.peers,
    );
    return all.filter(({ name }) => names.includes(name));
  }

  /** First backups go to fresh file systems, and the last ones stay for the next works. */
  async #first(): Promise<void> {
    const rounds = this.#plan.works.includes('first') ? ROUNDS : 1;
    for (let round = 0; round < rounds; round += 1) {
      if (round > 0) this.#bed.renewHost();
      this.#peers = this.#choosePeers(round);
      for (const peer of this.#peers) {
        this.versions[peer.name] = peer.version();
        await peer.prepare();
      }
      for (const peer of this.#inTurn(round)) await this.#measure('first', peer, peer.backup);
    }
    this.#save();
  }

  /** Each round begins with another program. */
  #inTurn(round: number): Peer[] {
    const at = round % this.#peers.length;
    return [...this.#peers.slice(at), ...this.#peers.slice(0, at)];
  }

  async #backups(work: Work, change: (round: number) => void): Promise<void> {
    await this.#rounds(work, peer => peer.backup, change);
  }

  async #rounds(
    work: Work,
    commandOf: (peer: Peer) => (() => Promise<void>) | undefined,
    change: (round: number) => void = () => {},
  ): Promise<void> {
    if (!this.#plan.works.includes(work)) return;
    for (let round = 0; round < ROUNDS; round += 1) {
      change(round);
      for (const peer of this.#inTurn(round)) {
        const command = commandOf(peer);
        if (command !== undefined) await this.#measure(work, peer, command);
      }
    }
    this.#save();
  }

  async #restore(peer: Peer): Promise<void> {
    await peer.restore?.(this.#restored);
  }

  get #restored(): string {
    return join(this.#bed.clientDisk, 'restored');
  }

  async #measure(work: Work, peer: Peer, command: () => Promise<void>): Promise<void> {
    const { uid, gid } = this.#bed.world.client;
    if (work === 'restore') {
      mkdirSync(this.#restored, { mode: 0o700 });
      chownSync(this.#restored, uid, gid);
    }
    const cost = await this.#bed.measure(command, this.#plan.isCold);
    if (work === 'restore') rmSync(this.#restored, { recursive: true });
    if (!this.#plan.works.includes(work)) return;
    this.part.costs[work] ??= {};
    const row = this.part.costs[work];
    row[peer.name] = [...(row[peer.name] ?? []), cost];
    process.stderr.write(`${work}, ${peer.name}: ${cost.seconds.toFixed(2)} s\n`);
  }
}

async function measurePart(plan: Plan, record: RunRecord): Promise<void> {
  const inodes = (plan.files + 20_000) * 12;
  const { fileSystem } = plan;
  await using bed = await Bed.make({ fileSystem, gib: Number(values.gib), inodes, mount: values.mount });
  const measuring = new Measuring(bed, plan, () => writeRecord(JSON_FILE, record));
  record.parts.push(measuring.part);
  const { world } = bed;
  const programs = new Map([
    [world.binary, 'dialback'],
    [world.launcher, 'launch'],
    [world.jail, 'jail'],
  ]);
  const watch = plan.watchesProcesses ? new MemoryWatch(programs, MEMORY_MS) : undefined;
  try {
    await measuring.run();
  } finally {
    watch?.end();
  }
  Object.assign(record.versions, measuring.versions);
  if (watch)
    measuring.part.processes = Object.fromEntries(
      [...watch.peaks].sort().map(([name, { own }]) => [name, own * KIBIBYTE]),
    );
  writeRecord(JSON_FILE, record);
}

function printPart(part: Part): void {
  const { set, files, bytes, fileSystem, cache, rounds } = part;
  console.log(
    `\n## ${set}: ${files} files, ${(bytes / 1e6).toFixed(0)} MB, ${fileSystem}, ${cache}, ${rounds} rounds`,
  );
  for (const measure of MEASURES) console.log(`\n${measure.title}:\n\n${costTable(part, measure)}`);
}

/** A line for each work, with the seconds for each number of files, and the slope between the last two. */
function printSlopes({ parts }: RunRecord): void {
  for (const { title, read, digits } of MEASURES) {
    const rows = SLOPE_WORKS.map(work => {
      const points = parts.map(({ files, costs }): [number, number] => {
        const samples = Object.values(costs[work] ?? {}).flat();
        return [files, median(samples.map(read))];
      });
      const [from, to] = points.slice(-2);
      const last = from && to ? slope(from, to).toFixed(2) : '';
      return [work, ...points.map(([, cost]) => cost.toFixed(digits)), last];
    });
    const head = ['', ...parts.map(each => `${each.files} files`), 'slope of the last two'];
    console.log(`\n${title}:\n\n${markdown([head, ...rows])}`);
  }
  const names = [...new Set(parts.flatMap(each => Object.keys(each.processes ?? {})))].sort();
  const rows = names.map(name => [
    name,
    ...parts.map(each => ((each.processes?.[name] ?? Number.NaN) / 1e6).toFixed(1)),
  ]);
  console.log(`\nMost private memory of one process, MB:\n`);
  console.log(markdown([['', ...parts.map(each => `${each.files} files`)], ...rows]));
}

const record: RunRecord = {
  kind: values.slope === undefined ? 'runs' : 'slope',
  date: new Date().toISOString(),
  command: describeCommand('bench-runs.ts'),
  machine: describeMachine(),
  versions: { commit: describeCommit() },
  memoryMethod: MEMORY_METHOD,
  parts: [],
};
for (const plan of plans()) {
  await measurePart(plan, record);
  if (record.kind === 'runs') {
    const [part] = record.parts.slice(-1);
    if (part) printPart(part);
  }
}
if (record.kind === 'slope') printSlopes(record);
console.log('');
for (const [program, version] of Object.entries(record.versions)) console.log(`${program}: ${version}`);
console.log(`All samples: ${JSON_FILE}`);
