/**
 * Part of `make bench`: the cost of each part of a backup, one by one, beside a plain pull of the same files.
 *
 *     node tools/bench-parts.ts [--files N] [--rounds N]
 *
 * Each row has one part more than the row before it:
 *
 * - a plain rsync over ssh
 * - the same from rsync's daemon, as dialback asks for it
 * - dialback without jails, then with the host's jail, then with both, then compressed
 *
 * Each makes a first backup into an empty store, and then an unchanged one. The rows run in turn. It prints medians: seconds until all is
 * on the disk, and processor seconds of each side, the host's with its manifest. On a busy machine only the latter say much. Needs
 * root; leaves nothing behind.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bed, type Cost } from './runs/bed.ts';

const { values } = parseArgs({
  options: { files: { type: 'string', default: '50000' }, rounds: { type: 'string', default: '3' } },
});
const FILES = Number(values.files);
const ROUNDS = Number(values.rounds);
const PER_FOLDER = 100;
const GIB = 20;
const INODES = 8_000_000;

/** One row. Its backup goes into a store of its own for each round. */
interface Part {
  name: string;
  prepare: (round: number) => Promise<void>;
  backUp: (round: number) => Promise<void>;
}

function plantFiles(bed: Bed): void {
  for (let at = 0; at < FILES; at += 1) {
    const folder = join(bed.data, `folder ${Math.floor(at / PER_FOLDER)}`);
    if (at % PER_FOLDER === 0) mkdirSync(folder);
    writeFileSync(join(folder, `file ${at}`), `${at} `.repeat(1 + (at % 3000)));
  }
  execFileSync('chown', ['-R', '--reference', bed.data, bed.data]);
}

/** rsync by hand, which the host runs. @param isDaemon the client's rsync is a daemon with one module */
function plain(bed: Bed, isDaemon: boolean): Part {
  const { world } = bed;
  const name = isDaemon ? 'rsync, daemon' : 'rsync';
  const folder = (round: number): string => bed.store(`${isDaemon ? 'daemon' : 'plain'}-${round}`);
  const counts = new Map<number, number>();
  const config = join(bed.home('client'), 'rsyncd.conf');
  return {
    name,
    prepare: async round => {
      mkdirSync(folder(round), { mode: 0o700 });
      chownSync(folder(round), world.host.uid, world.host.gid);
      const lines = [
        'use chroot = no',
        'open noatime = no',
        '[all]',
        `path = ${bed.data}`,
        'numeric ids = yes',
      ];
      if (isDaemon) world.write(world.client, config, lines.map(line => `${line}\n`).join(''));
    },
    backUp: async round => {
      const count = (counts.get(round) ?? 0) + 1;
      counts.set(round, count);
      const links = count === 1 ? [] : [`--link-dest=${folder(round)}/${count - 1}`];
      const from = isDaemon
        ? [`--rsync-path=rsync --config=${config}`, '127.0.0.1::all/']
        : [`127.0.0.1:${bed.data}/`];
      const options = ['-aHAXS', '--numeric-ids', '--fake-super', '--modify-window=-1', ...links];
      await bed.run('host', [
        'rsync',
        ...options,
        '-e',
        bed.shell('host'),
        ...from,
        `${folder(round)}/${count}/`,
      ]);
    },
  };
}

/** How each form of dialback differs from the one before it. */
const FORMS = {
  open: 'dialback without jails',
  host: "dialback with the host's jail",
  both: 'dialback with both jails',
  zstd: 'dialback with both jails, compressed',
} as const;

function dialback(bed: Bed, form: keyof typeof FORMS): Part {
  const { world } = bed;
  const isHostJailed = form !== 'open';
  const isClientJailed = isHostJailed && form !== 'host';
  const tomlOf = (round: number): string => join(bed.home('client'), `${form}-${round}.toml`);
  return {
    name: FORMS[form],
    prepare: async round => {
      const name = `oak-${form}-${round}`;
      const hostToml = join(bed.home('host'), `${name}.toml`);
      const identity = join(bed.home('client'), name);
      const store = `store = "${bed.store(name)}"\nsyslog = false\nconfined = ${isHostJailed}\n`;
      world.write(world.host, hostToml, store);
      world.keygen(world.client, identity);
      const made = await world.run(
        world.host,
        ['enroll', name, '-', '--config', hostToml, '--authorized-keys', world.authorizedKeys],
        { input: readFileSync(`${identity}.pub`, 'utf8') },
      );
      if (made.status !== 0) throw new Error(made.stderr);
      const lines = [
        `name = "${name}"`,
        `state = "${world.client.home}/state ${name}"`,
        `capability = "${isClientJailed ? 'confined' : 'none'}"`,
        '[[remote]]',
        'name = "vault"',
        `target = "${world.target}"`,
        `identity = "${identity}"`,
        `known_hosts = "${bed.home('client')}/known"`,
        'transport = "channel"',
        '[scope]',
        `roots = ["${bed.data}"]`,
        '[limits]',
        'nice = 0',
        'ionice = "none"',
        `compress = "${form === 'zstd' ? 'zstd' : 'no'}"`,
        'deadline = "2h"',
      ];
      world.write(world.client, tomlOf(round), lines.map(line => `${line}\n`).join(''));
    },
    backUp: async round =>
      void (await bed.run('client', [world.binary, 'backup', '--config', tomlOf(round)])),
  };
}

function median(all: readonly number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

await using bed = await Bed.make({ fileSystem: 'ext4', gib: GIB, inodes: INODES, mount: '' });
plantFiles(bed);
const parts = [
  plain(bed, false),
  plain(bed, true),
  ...(['open', 'host', 'both', 'zstd'] as const).map(form => dialback(bed, form)),
];
const costs = new Map<string, { first: Cost[]; unchanged: Cost[] }>(
  parts.map(({ name }) => [name, { first: [], unchanged: [] }]),
);
for (let round = 0; round < ROUNDS; round += 1)
  for (const { name, prepare, backUp } of parts) {
    await prepare(round);
    for (const work of ['first', 'unchanged'] as const) {
      const cost = await bed.measure(() => backUp(round));
      costs.get(name)?.[work].push(cost);
      const { seconds, client, host } = cost;
      process.stderr.write(
        `${name}, ${work}: ${seconds.toFixed(2)} s, ${client.toFixed(2)} and ${host.toFixed(2)} s\n`,
      );
    }
  }
console.log(`${FILES} files, ${ROUNDS} rounds; seconds, processor seconds of the client and of the host\n`);
console.log(
  '| | first | client | host | unchanged | client | host |\n| --- | --- | --- | --- | --- | --- | --- |',
);
for (const [name, { first, unchanged }] of costs) {
  const cells = [first, unchanged].flatMap(all => [
    median(all.map(each => each.seconds)),
    median(all.map(each => each.client)),
    median(all.map(each => each.host)),
  ]);
  console.log(`| ${[name, ...cells.map(cell => cell.toFixed(2))].join(' | ')} |`);
}
