/**
 * Part of `make bench`: the speed of commands on a store with 200 snapshots of 50,000 files, and of the removal of a snapshot.
 *
 * It makes a store on a fresh ext4 image: hard-linked trees, a day apart, with 1% of the files new in each. It builds the index first,
 * since a run keeps the index up to date. Then it runs each command of the executable five times and prints medians. It compares
 * them with find(1) over all trees, and with rm -rf of a similar snapshot at the same priority.
 *
 * Needs root for the loop device. It leaves nothing behind. It prints times and fails no check: people judge.
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
  // Builds the index of the trees: a prune builds missing ones after it has removed snapshots.
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

/** Removes one snapshot with `prune` and the next with rm -rf, in turn: similar amounts, each in a tree of its own. */
function benchRemoval(
  client: ClientStore,
  config: string,
  say: (what: string, found: number, wanted: string) => void,
): void {
  const [ours, deleting, theirs]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [first, second] = snapshotNames(client);
    if (first === undefined || second === undefined) return;
    // This rule removes one snapshot at a time; each other rule would keep all of them.
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

/** Seconds of the last deletion, from the journal. */
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
