/**
 * Part of `make bench`: the processor time that the host spends after a run, for the index and the manifest of the new snapshot.
 *
 *     node tools/bench-manifest.ts                            # the files of /usr/share; BENCH_SOURCE=FOLDER
 *     BENCH_FILES=1000000 node tools/bench-manifest.ts        # that number of small files
 *
 * It makes snapshots with rsync as a backup does: a first one, unchanged ones, and ones with 1% of the files changed. After each one it
 * runs `dialback manifest` and adds the processor times of that process and its children. Then it removes the manifest and runs the
 * command again: the index is up to date then, and the difference is the index's part. It prints medians of five.
 *
 * It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';

const DIALBACK = join(import.meta.dirname, '../dist/dialback');
const FILES = Number(process.env.BENCH_FILES ?? 0);
const SOURCE = process.env.BENCH_SOURCE ?? '/usr/share';
const ROUNDS = 5;
const PER_FOLDER = 50;
/** One file of this number changes. */
const CHANGED = 100;
const DAY_MS = 86_400_000;

const pathOf = (folder: string, file: number): string =>
  `${folder}/part ${Math.floor(file / 5000)}/folder ${Math.floor(file / PER_FOLDER)}/some file of no importance ${file}.txt`;

/** @returns the folder with the files to back up, which belongs to this program */
function makeSource(scratch: string): string {
  const source = `${scratch}/source`;
  if (FILES === 0) execFileSync('/usr/bin/cp', ['-a', '--', SOURCE, source]);
  for (let file = 0; file < FILES; file += 1) {
    if (file % PER_FOLDER === 0) mkdirSync(join(pathOf(source, file), '..'), { recursive: true });
    writeFileSync(pathOf(source, file), file % 4 === 0 ? `${file}` : '');
  }
  return source;
}

/** The plain files below a folder, without those in names that are no text. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(each => each.isFile())
    .map(each => join(each.parentPath, each.name));
}

/** A client's store that gets one snapshot after the other. */
class Snapshots {
  readonly #client: ClientStore;
  readonly #source: string;
  #day = 0;

  constructor(client: ClientStore, source: string) {
    this.#client = client;
    this.#source = source;
  }

  get #name(): string {
    return snapshotName(new Date(Date.UTC(2026, 0, 1) + this.#day * DAY_MS));
  }

  get #folder(): string {
    return `${this.#client.folder}/snapshots/${this.#name}`;
  }

  add(): void {
    const basis = `${this.#folder}/tree`;
    this.#day += 1;
    const tree = `${this.#folder}/tree`;
    mkdirSync(tree, { recursive: true });
    const link = this.#day > 1 ? [`--link-dest=${basis}`] : [];
    // The owner is not this account, so that each entry has an attribute.
    const owner = ['--chown=4321:4322', '--numeric-ids', '--fake-super'];
    execFileSync('/usr/bin/rsync', ['-aHAXS', ...owner, ...link, '--', `${this.#source}/`, `${tree}/`]);
    const counts = { files: 1, folders: 1, bytes: 1, new_bytes: 1 };
    const times = { started: '2026-01-01T00:00:00Z', finished: '2026-01-01T00:00:00Z' };
    // Without `durable` the next step would look for doubtful files.
    const record = {
      version: 1,
      ...times,
      state: 'full',
      durable: true,
      counts,
      scope: { roots: [] },
      flags: [],
    };
    writeFileSync(
      `${this.#folder}/snapshot.json`,
      JSON.stringify({ ...record, client: this.#client.name, snapshot: this.#name }),
    );
  }

  removeManifest(): void {
    rmSync(`${this.#folder}/manifest.mtree.gz`);
  }
}

/** Runs a command. @returns the processor seconds of it and its children */
function processorSeconds(command: string[]): number {
  const script = 'TIMEFORMAT="%U %S"; exec 3>&2 2>&1; time "$@" 2>&3';
  const printed = execFileSync('/bin/bash', ['-c', script, 'bash', ...command], { encoding: 'utf8' });
  return printed
    .trim()
    .split(' ')
    .map(Number)
    .reduce((one, other) => one + other, 0);
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function bench(scratch: string): void {
  const source = makeSource(scratch);
  const store = `${scratch}/store`;
  createStore(store);
  const snapshots = new Snapshots(createClient(store, 'a'), source);
  const config = `${scratch}/host.toml`;
  writeFileSync(config, `store = "${store}"\nsyslog = false\n`, { mode: 0o600 });
  const describe = (): number =>
    processorSeconds([DIALBACK, 'manifest', '--client', 'a', '--config', config]);
  const files = filesBelow(source);
  process.stdout.write(`${files.length} files; processor seconds after a run\n`);
  const say = (what: string, prepare: () => void, rounds: number): void => {
    const [all, manifest]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      prepare();
      snapshots.add();
      all.push(describe());
      snapshots.removeManifest();
      manifest.push(describe());
    }
    const parts = `${(median(all) - median(manifest)).toFixed(2)} the index, ${median(manifest).toFixed(2)} the manifest`;
    process.stdout.write(`${what.padEnd(12)} ${median(all).toFixed(2)}   (${parts})\n`);
  };
  say('first', () => {}, 1);
  say('unchanged', () => {}, ROUNDS);
  let round = 0;
  const changeSome = (): void => {
    round += 1;
    for (let at = round; at < files.length; at += CHANGED)
      writeFileSync(files[at] ?? '', `changed in round ${round}\n`);
  };
  say('1% changed', changeSome, ROUNDS);
}

const scratch = mkdtempSync(join(tmpdir(), 'dialback-bench-manifest-'));
try {
  bench(scratch);
} finally {
  rmSync(scratch, { recursive: true });
}
