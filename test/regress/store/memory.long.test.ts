// Goal: no process of ours takes more than 40 MB of memory for itself, however many files there are: neither while a backup is
// under way, on either side, nor in any of the commands that look through the store. rsync's memory is rsync's, and is printed.
//
// Counted is what a process has for itself (test/support/memory.ts); the executable's own pages are printed beside it.
//
// MEMORY_FILES=500000 makes as many files instead of 1,000; on a quiet machine that takes some twenty minutes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { MemoryWatch, type Peak } from '../../support/memory.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const FILES = Number(process.env.MEMORY_FILES ?? 1000);
const LIMIT_KIB = 40_000_000 / 1024;
/** A long run has enough looks in any case, and they cost a third of a processor at 10 ms. */
const LOOK_MS = FILES > 10_000 ? 50 : 10;
const PER_FOLDER = 100;
const LONG_MS = 40 * 60_000;
/** A name that is no shorter than real ones. */
const nameOf = (index: number): string =>
  `folder ${Math.floor(index / PER_FOLDER)}/some file of no importance ${index}.txt`;

describe(`memory, ${FILES} files`, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let watch: MemoryWatch;
  let disk: string;
  const seen = new Map<string, Peak>();

  before(async () => {
    world = await World.make({ launcher: true });
    disk = join(world.base, 'disk');
    const image = join(world.base, 'image');
    mkdirSync(disk);
    execFileSync('/usr/bin/truncate', ['-s', '20G', image]);
    const inodes = String(FILES * 6 + 50_000);
    execFileSync('mkfs.ext4', ['-q', '-F', '-N', inodes, '-E', 'lazy_itable_init=1', image]);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    rmSync(image); // the loop device holds it: it goes with the mount
    const data = join(disk, 'data');
    for (let index = 0; index < FILES; index += 1) {
      if (index % PER_FOLDER === 0) mkdirSync(join(data, nameOf(index), '..'), { recursive: true });
      put(index, index % 4 === 0 ? `${index}` : '');
    }
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, data]);
    mkdirSync(join(disk, 'host'), { mode: 0o700 });
    chownSync(join(disk, 'host'), world.host.uid, world.host.gid);
    const retention = '[retention]\nlast = 1\nmin_keep = 1\nmin_age = "1s"\n';
    world.write(world.host, world.hostToml, `store = "${disk}/host/store"\nsyslog = false\n${retention}`);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    watch = new MemoryWatch(
      new Map([
        [world.binary, 'dialback'],
        [world.launcher, 'launch'],
        [world.jail, 'jail'],
        ['/usr/bin/rsync', 'rsync'],
      ]),
      LOOK_MS,
    );
  });
  after(async () => {
    watch.end();
    for (const [what, { own, file, samples }] of [...seen].sort())
      console.log(
        `${what.padEnd(20)} ${mib(own)} MiB of its own (and ${mib(file)} of files), ${samples} looks`,
      );
    try {
      execFileSync('umount', [disk]);
    } finally {
      await world.dispose();
    }
  });

  function mib(kib: number): string {
    return (kib / 1024).toFixed(1).padStart(6);
  }

  function put(index: number, content: string): void {
    writeFileSync(join(disk, 'data', nameOf(index)), content);
  }

  /** Asserts that these were seen, and were small. */
  function assertSmall(...wanted: string[]): void {
    const peaks = [...watch.peaks];
    watch.peaks.clear();
    for (const [what, peak] of peaks) {
      const old = seen.get(what);
      if (old === undefined || old.own < peak.own) seen.set(what, peak);
    }
    const had = new Set(peaks.map(([what]) => what));
    for (const each of wanted) assert.ok(had.has(each), `"${each}" was never seen`);
    const large = peaks.filter(([what, { own }]) => !what.startsWith('rsync') && own >= LIMIT_KIB);
    assert.deepEqual(
      large.map(([what, { own }]) => `${what} took ${mib(own)} MiB`),
      [],
    );
  }

  for (const transport of ['direct', 'channel']) {
    it(`is little in a backup, ${transport}, and in what makes the manifest`, async () => {
      for (let index = 0; index < FILES; index += transport === 'direct' ? 100 : 10)
        put(index, `changed for ${transport}`);
      const more = transport === 'direct' ? 'from = ["127.0.0.1"]\nlisten = "127.0.0.1:0"' : '';
      world.configure({
        top: `name = "${world.name}"\ncapability = "confined"`,
        remote: `name = "vault"\ntransport = "${transport}"\n${more}`,
        scope: `roots = ["${disk}/data"]`,
        limits: 'nice = 0\nionice = "none"\ndeadline = "1h"',
      });
      const args = ['backup', '--json', '--config', world.clientToml];
      const { status, stdout, stderr } = await world.run(world.client, args, { timeoutMs: LONG_MS });
      assert.equal(status, 0, stdout.slice(-1000) + stderr);
      await made();
      assertSmall('dialback backup', 'dialback grab', 'dialback manifest', 'jail pump');
    });
  }

  /** The manifests are made by a process that nobody waits for. */
  async function made(): Promise<void> {
    const isGoing = (): boolean =>
      world.processes().some(({ command }) => command === '' || / manifest --client /.test(command));
    while (isGoing()) await new Promise(resolve => setTimeout(resolve, 20));
  }

  /** As what; OLDER and NEWER stand for the snapshots, and DIR for a folder of this command's own. */
  const commands: [line: string, party?: 'root'][] = [
    ['list'],
    ['status'],
    ['ls acorn -R'],
    ['ls acorn -R --json'],
    ['diff acorn@OLDER NEWER'],
    ['diff acorn@OLDER NEWER --json'],
    ['explain acorn@NEWER OLDER'],
    ['find acorn *'],
    ['find acorn *[13579].txt --json'],
    ['export acorn'],
    ['verify'],
    ['verify acorn --sample 50% --json'],
    ['restore acorn --to DIR --dry-run', 'root'],
    ['restore acorn --to DIR --dry-run --json', 'root'],
    ['restore acorn --to DIR', 'root'],
    // Of each file it tells that its owner cannot be given back.
    ['restore acorn --to DIR --dry-run'],
    ['restore acorn --to DIR'],
    ['prune --dry-run'],
    ['prune'],
  ];
  for (const [line, party] of commands) {
    it(`is little in \`${line}\``, async () => {
      const [older = '', newer = ''] = readdirSync(join(disk, 'host/store/clients/acorn/snapshots')).sort();
      const places = new Map([
        ['DIR', join(disk, party === 'root' ? 'restored' : 'host/restored')],
        ['acorn@OLDER', `acorn@${older}`],
        ['acorn@NEWER', `acorn@${newer}`],
        ['OLDER', older],
        ['NEWER', newer],
      ]);
      const words = line.split(' ').map(word => places.get(word) ?? word);
      await assertCommandSmall(words, party ?? world.host);
    });
  }

  async function assertCommandSmall(words: string[], party: World['host'] | 'root'): Promise<void> {
    const [verb = ''] = words;
    watch.peaks.clear();
    const started = performance.now();
    // Nobody keeps what it says: a file takes it.
    const args = [...words, '--config', world.hostToml];
    const { status, stderr } = await world.start(
      party,
      '/bin/sh',
      ['-c', 'exec "$0" "$@" >/dev/null', world.binary, ...args],
      { timeoutMs: LONG_MS },
    ).done;
    assert.ok(status === 0 || (verb === 'status' && status !== null), `${status} ${stderr.slice(-1000)}`);
    if (verb === 'restore' && party !== 'root')
      assert.ok(Number(/^ {2}(\d+) another owner, /m.exec(stderr)?.[1]) > FILES, stderr.slice(0, 200));
    console.log(`${words.join(' ')}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    assertSmall(`dialback ${verb}`);
  }
});
