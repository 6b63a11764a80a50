// Goal: `export` takes less than 40 MB of memory for itself, however many files there are and however many of them are hard links
// within the export.
//
// Counted is what the process has for itself (test/support/memory.ts).
// EXPORT_FILES=10000 makes fewer files.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, linkSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MemoryWatch } from '../../support/memory.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const FILES = Number(process.env.EXPORT_FILES ?? 500_000);
const LIMIT_KIB = 40_000_000 / 1024;
const PER_FOLDER = 100;
const LONG_MS = 30 * 60_000;

describe(`the memory of an export, ${FILES} files`, { skip: NEEDS_ROOT }, () => {
  let world: World;
  let disk: string;
  let watch: MemoryWatch;
  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'x');
    assert.equal((await world.backup()).status, 0);
    disk = join(world.base, 'disk');
    const image = join(world.base, 'image');
    mkdirSync(disk);
    execFileSync('/usr/bin/truncate', ['-s', '20G', image]);
    const inodes = String(FILES * 2 + 50_000);
    execFileSync('mkfs.ext4', ['-q', '-F', '-N', inodes, '-E', 'lazy_itable_init=1', image]);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    rmSync(image); // the loop device holds it: it goes with the mount
    execFileSync('cp', ['-a', world.store, join(disk, 'store')]);
    chownSync(disk, world.host.uid, world.host.gid);
    world.write(world.host, world.hostToml, `store = "${disk}/store"\nsyslog = false\n`);
    fillSnapshot();
    watch = new MemoryWatch(new Map([[world.binary, 'dialback']]), 20);
  });
  after(async () => {
    watch.end();
    try {
      execFileSync('umount', [disk]);
    } finally {
      await world.dispose();
    }
  });

  /** Makes files in the tree as rsync stores them. Each fifth is a second name of the one before it. */
  function fillSnapshot(): void {
    const snapshots = join(disk, 'store/clients/acorn/snapshots');
    const top = join(snapshots, readdirSync(snapshots)[0] ?? '', 'tree', world.data);
    let folder = '';
    let last = '';
    for (let index = 0; index < FILES; index += 1) {
      if (index % PER_FOLDER === 0) {
        folder = join(top, `folder ${index / PER_FOLDER}`);
        mkdirSync(folder);
      }
      const path = join(folder, `some file of no importance ${index}.txt`);
      if (index % 5 === 4) linkSync(last, path);
      else writeFileSync(path, index % 4 === 0 ? `${index}` : '');
      last = path;
    }
    const stat = 'user.rsync.%stat';
    const setAll = `find "$0" -print0 | xargs -0 setfattr -n ${stat} -v "100644 0,0 12345:12345"`;
    execFileSync('/bin/sh', ['-c', setAll, top]);
    execFileSync('chown', ['-R', `${world.host.uid}:${world.host.gid}`, top]);
  }

  it('is little', async () => {
    const script = '"$1" export acorn --config "$2" | tar -t | wc -l';
    const words = ['-c', `set -o pipefail; ${script}`, 'bash', world.binary, world.hostToml];
    const started = performance.now();
    const { status, stdout, stderr } = await world.start(world.host, '/bin/bash', words, {
      timeoutMs: LONG_MS,
    }).done;
    assert.equal(status, 0, stderr);
    assert.ok(Number(stdout) > FILES * (1 + 1 / PER_FOLDER), stdout);
    const peak = watch.peaks.get('dialback export');
    assert.ok(peak !== undefined && peak.samples > 10);
    const mib = (kib: number): string => (kib / 1024).toFixed(1);
    console.log(
      `${((performance.now() - started) / 1000).toFixed(0)} s, ${mib(peak.own)} MiB of its own (and ${mib(peak.file)} of files)`,
    );
    assert.ok(peak.own < LIMIT_KIB, `${mib(peak.own)} MiB`);
  });
});
