// Goal: `explain` takes little memory for itself, and time that grows with the number of files and no faster, also where no file is
// linked and where one file has 60,000 names.
//
// EXPLAIN_FILES=1000000 makes so many files instead of 50,000; that takes about ten minutes.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SnapshotRecord } from '../../../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore } from '../../../src/store/store.ts';
import { makeScratch } from '../../daemon.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { record } from '../../support/client-store.ts';
import { MemoryWatch } from '../../support/memory.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const FILES = Number(process.env.EXPLAIN_FILES ?? 50_000);
const NAMES = 60_000;
const PER_FOLDER = 100;
const LIMIT_KIB = 40_000_000 / 1024;
const BINARY = join(import.meta.dirname, '../../../dist/dialback');
const SNAPSHOTS = ['2026-11-01T00-00-00Z', '2026-11-02T00-00-00Z', '2026-11-03T00-00-00Z'] as const;
const [OLDER, NEWER, NEWEST] = SNAPSHOTS;

describe(`explain, ${FILES} files`, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let scratch: ReturnType<typeof makeScratch>;
  let disk: string;
  let config: string;
  let client: ClientStore;

  before(() => {
    scratch = makeScratch('explain');
    disk = join(scratch.path, 'disk');
    config = join(scratch.path, 'host.toml');
    mkdirSync(disk);
    const image = join(scratch.path, 'image');
    execFileSync('/usr/bin/truncate', ['-s', '40G', image]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-N', String(FILES * 3 + 50_000), image]);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    rmSync(image); // the loop device holds it: it goes with the mount
    createStore(join(disk, 'store'));
    client = createClient(join(disk, 'store'), 'many');
    writeFileSync(config, `store = "${disk}/store"\nsyslog = false\n`);
    const tree = begin(OLDER, null);
    fill(tree);
    const later = begin(NEWER, OLDER);
    execFileSync('cp', ['-a', `${tree}/.`, later]);
    renameSync(join(later, 'second'), join(later, 'renamed'));
    execFileSync('chmod', ['-R', 'g+w', join(later, 'first'), join(later, 'group')]);
    execFileSync(BINARY, ['manifest', '--client', 'many', '--config', config]);
    // The newest one shares the files, so that each of them can be one of an older snapshot.
    const newest = begin(NEWEST, NEWER);
    for (const each of ['first', 'renamed']) execFileSync('cp', ['-al', join(later, each), newest]);
  });
  after(() => {
    execFileSync('umount', [disk]);
    scratch[Symbol.dispose]();
  });

  /** Makes the record of a snapshot. @returns its tree */
  function begin(name: string, basis: string | null): string {
    const folder = `${client.folder}/snapshots/${name}`;
    mkdirSync(`${folder}/tree`, { recursive: true });
    const made: SnapshotRecord = {
      ...record(name),
      ...{ client: 'many', basis, durable: true },
      rsync: { client: '3.5.0', host: '3.5.0', exit: 0, options: [] },
    };
    writeFileSync(`${folder}/snapshot.json`, JSON.stringify(made));
    return `${folder}/tree`;
  }

  function fill(tree: string): void {
    for (let index = 0; index < FILES; index += 1) {
      const half = index < FILES / 2 ? 'first' : 'second';
      const folder = join(tree, half, `folder ${Math.floor(index / PER_FOLDER)}`);
      if (index % PER_FOLDER === 0) mkdirSync(folder, { recursive: true });
      writeFileSync(
        join(folder, `some file of no importance ${index}.txt`),
        index % 4 === 0 ? `${index}` : '',
      );
    }
    mkdirSync(join(tree, 'group'));
    writeFileSync(join(tree, 'group/0'), 'many names');
    for (let index = 1; index < NAMES; index += 1)
      linkSync(join(tree, 'group/0'), join(tree, 'group', String(index)));
  }

  /** Runs explain, and prints the time and the memory that it took. */
  async function explain(words: string[]): Promise<{ files: number; linked: number; causes: Cause[] }> {
    const watch = new MemoryWatch(new Map([[BINARY, 'dialback']]), 50);
    const started = performance.now();
    const child = spawn(BINARY, ['explain', ...words, '--json', '--config', config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const status = await new Promise(resolve => child.once('close', resolve));
    watch.end();
    const { own = 0 } = watch.peaks.get('dialback explain') ?? {};
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`explain ${words.join(' ')}: ${seconds} s, ${(own / 1024).toFixed(1)} MiB of its own`);
    assert.equal(status, 0);
    assert.ok(own > 0 && own < LIMIT_KIB, `${own} KiB`);
    return JSON.parse(stdout);
  }

  interface Cause {
    cause: string;
    what: string[];
    files: number;
  }

  const EXPECTED = { 'attributes mode': FILES / 2 + NAMES, moved: FILES / 2 };
  const counts = (causes: Cause[]): Record<string, number> =>
    Object.fromEntries(causes.map(each => [[each.cause, ...each.what].join(' '), each.files]));

  it('explains a snapshot none of whose files is linked', async () => {
    for (const what of ['while the index is updated', 'again']) {
      const { files, linked, causes } = await explain([`many@${NEWER}`]);
      assert.deepEqual([files, linked], [FILES + NAMES, 0], what);
      assert.deepEqual(counts(causes), EXPECTED);
    }
  });

  it('explains a snapshot all of whose files are linked', async () => {
    const { files, linked } = await explain([`many@${NEWEST}`]);
    assert.deepEqual([files, linked], [FILES, FILES]);
  });

  it('reads the files where there is no manifest', async () => {
    const path = `${client.folder}/snapshots/${NEWER}/manifest.mtree.gz`;
    const content = readFileSync(path);
    rmSync(path);
    const { causes } = await explain([`many@${NEWER}`]);
    const { moved, ...rest } = EXPECTED;
    assert.deepEqual(counts(causes), { ...rest, new: moved });
    writeFileSync(path, content);
  });
});
