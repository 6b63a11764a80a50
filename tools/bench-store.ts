/**
 * `make bench`, the second half: what a store of 200 snapshots of 50,000 files answers, and how fast one goes.
 *
 * A store made by hand on a fresh ext4 image: hard-linked trees, a day apart, 1% of the files new in each. The index is made
 * first, since a run keeps it up to date; then each command of the executable five times, medians. The peers are what one
 * would do without an index: find(1) over all trees, and rm -rf, as idly, of a snapshot that is like the next.
 *
 * Needs root, for the loop device alone. Nothing of it stays. Timings fail nothing: this prints, and people judge.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { snapshotNames } from '../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';

const DIALBACK = join(import.meta.dirname, '../dist/dialback');
const SNAPSHOTS = Number(process.env.BENCH_SNAPSHOTS ?? 200);
const FILES = Number(process.env.BENCH_FILES ?? 50_000);
const ROUNDS = 5;
const PER_FOLDER = 100;
const CHANGED = 0.01;
const DAY_MS = 86_400_000;

function sh(program: string, args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function seconds(action: () => void): number {
  const startedMs = performance.now();
  action();
  return (performance.now() - startedMs) / 1000;
}

const pathOf = (tree: string, file: number): string =>
  `${tree}/data/folder ${Math.floor(file / PER_FOLDER)}/file ${file}`;

function addSnapshot(client: ClientStore, day: number, before: string | undefined): string {
  const started = new Date(Date.now() - (SNAPSHOTS - day) * DAY_MS);
  const name = snapshotName(started);
  const folder = `${client.folder}/snapshots/${name}`;
  const tree = `${folder}/tree`;
  mkdirSync(folder);
  if (before === undefined) {
    for (let file = 0; file < FILES; file += 1) {
      if (file % PER_FOLDER === 0) mkdirSync(join(pathOf(tree, file), '..'), { recursive: true });
      writeFileSync(pathOf(tree, file), `${file} `.repeat(1 + (file % 100)));
    }
  } else {
    sh('/usr/bin/cp', ['-al', before, tree]);
    for (let change = 0; change < FILES * CHANGED; change += 1) {
      const file = (day * 7919 + change * 101) % FILES;
      unlinkSync(pathOf(tree, file));
      writeFileSync(pathOf(tree, file), `${day} ${file} `.repeat(1 + (file % 100)));
    }
  }
  const times = { started: started.toISOString(), finished: started.toISOString() };
  const counts = { files: FILES, folders: FILES / PER_FOLDER + 1, bytes: FILES * 300, new_bytes: FILES * 3 };
  const record = { version: 1, client: client.name, snapshot: name, ...times, state: 'full', counts };
  // Only that it is there: a prune makes those that are missing, once it has removed what goes.
  writeFileSync(`${folder}/manifest.mtree.gz`, '');
  writeFileSync(
    `${folder}/snapshot.json`,
    JSON.stringify({ ...record, scope: { roots: ['/data'] }, flags: [] }),
  );
  return tree;
}

function bench(disk: string): void {
  const store = join(disk, 'store');
  mkdirSync(store, { mode: 0o700 });
  createStore(store);
  const client = createClient(store, 'web');
  let tree: string | undefined;
  for (let day = 0; day < SNAPSHOTS; day += 1) tree = addSnapshot(client, day, tree);
  const config = join(disk, 'host.toml');
  writeFileSync(config, `store = "${store}"\n[retention]\ndaily = 14\nweekly = 8\nmonthly = 12\n`, {
    mode: 0o600,
  });
  const dialback = (...args: string[]): void => {
    sh(DIALBACK, [...args, '--config', config]);
  };
  const ofMany = (action: () => void): number =>
    median(Array.from({ length: ROUNDS }, () => seconds(action)));
  const say = (what: string, found: number, wanted: string): void => {
    process.stdout.write(`${what.padEnd(24)} ${found.toFixed(2)}   (${wanted})\n`);
  };
  process.stdout.write(`${SNAPSHOTS} snapshots of ${FILES} files\n`);
  say(
    'making the index, s',
    seconds(() => dialback('prune', '--dry-run')),
    'once, and after a loss',
  );
  say(
    'list, s',
    ofMany(() => dialback('list')),
    'under 1 s is wanted',
  );
  say(
    'status, s',
    ofMany(() => spawnSync(DIALBACK, ['status', '--config', config])),
    'under 1 s is wanted',
  );
  say(
    'prune --dry-run, s',
    ofMany(() => dialback('prune', '--dry-run')),
    'under 1 s is wanted',
  );
  say(
    'find of one name, s',
    ofMany(() => dialback('find', 'web', 'file 4242')),
    'under 5 s is wanted',
  );
  const walked = seconds(() => {
    sh('/usr/bin/find', [`${client.folder}/snapshots`, '-name', 'file 4242']);
  });
  say('find(1) over all, s', walked, 'the peer');
  benchRemoval(client, config, say);
}

/** One snapshot by `prune`, the next by rm -rf, in turn: like amounts, and each a tree of its own. */
function benchRemoval(
  client: ClientStore,
  config: string,
  say: (what: string, found: number, wanted: string) => void,
): void {
  const [ours, deleting, theirs]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [first, second] = snapshotNames(client);
    if (first === undefined || second === undefined) return;
    // Of all rules but this one each keeps all: so one goes at a time.
    const keep = snapshotNames(client).length - 1;
    const store = join(client.folder, '../..');
    writeFileSync(config, `store = "${store}"\n[retention]\nlast = ${keep}\nmin_age = "0s"\n`, {
      mode: 0o600,
    });
    sh('/usr/bin/sync', []);
    ours.push(seconds(() => void sh(DIALBACK, ['prune', '--config', config])));
    deleting.push(lastDeletion(client));
    sh('/usr/bin/sync', []);
    const idly = ['-n', '19', '/usr/bin/ionice', '-c3', '/usr/bin/rm', '-rf'];
    theirs.push(seconds(() => void sh('/usr/bin/nice', [...idly, `${client.folder}/snapshots/${second}`])));
  }
  say('prune of one, s', median(ours), 'all of it: starting, deciding, the index, deleting');
  say('its deleting, s', median(deleting), 'the part that rm does');
  say('rm -rf of one, s', median(theirs), 'the peer, with nice and ionice as a prune has them');
  say('deleting/rm', median(deleting) / median(theirs), 'at most 1 is wanted');
}

/** Seconds that the last deletion took, as the journal has it. */
function lastDeletion(client: ClientStore): number {
  const lines = readFileSync(join(client.folder, 'journal.jsonl'), 'utf8').trim().split('\n');
  const events = lines.map(line => JSON.parse(line) as { event: string; duration_ms?: number });
  return (events.findLast(each => each.event === 'deleted')?.duration_ms ?? Number.NaN) / 1000;
}

const base = mkdtempSync(join(tmpdir(), 'dialback bench '));
const image = join(base, 'image');
const disk = join(base, 'disk');
try {
  sh('/usr/bin/truncate', ['-s', '12G', image]);
  sh('/usr/sbin/mkfs.ext4', ['-q', '-F', '-N', '3000000', image]);
  mkdirSync(disk);
  sh('/usr/bin/mount', ['-o', 'loop', image, disk]);
  try {
    bench(disk);
  } finally {
    sh('/usr/bin/umount', [disk]);
  }
} finally {
  rmSync(base, { recursive: true, force: true });
}
