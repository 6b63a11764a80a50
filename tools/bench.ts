/**
 * `make bench`: the cost of the jails and the time that --insecure-links saves in them, as ratios to other ways in the same run.
 *
 * The tree has 50,000 small files on a fresh ext4 image: an older file system is slower, and differs from day to day. After a first
 * backup, each of these ways runs in turn, five times, over the unchanged tree. It prints medians.
 *
 *     jailed   dialback backup, both rsyncs in the launcher's jails and so with --insecure-links
 *     open     dialback backup without the launcher
 *     stock    rsync by hand over ssh, with the same options and --link-dest, as the backup host's user
 *
 * Needs root: two temporary users, a loop device. It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { World } from '../test/support/world.ts';

const FILES = Number(process.env.BENCH_FILES ?? 50_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const PER_FOLDER = 100;

function sh(program: string, args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function bench(world: World, disk: string): Promise<void> {
  const { client, host } = world;
  const data = join(disk, 'data');
  mkdirSync(data);
  for (let index = 0; index < FILES; index += 1) {
    const folder = join(data, `folder ${Math.floor(index / PER_FOLDER)}`);
    if (index % PER_FOLDER === 0) mkdirSync(folder);
    writeFileSync(join(folder, `file ${index}`), `${index} `.repeat(1 + (index % 300)));
  }
  sh('/usr/bin/chown', ['-R', `${client.uid}:${client.gid}`, data]);
  const hostHome = join(disk, 'host');
  mkdirSync(hostHome, { mode: 0o700 });
  chownSync(hostHome, host.uid, host.gid);
  const store = join(hostHome, 'store');
  const hostToml = (more: string): void =>
    world.write(host, world.hostToml, `${more}store = "${store}"\nsyslog = false\n`);
  hostToml('');
  await world.enroll(world.name, readFileSync(join(client.home, '.ssh/id_ed25519.pub'), 'utf8'));

  async function dialback(isJailed: boolean): Promise<void> {
    world.configure({
      top: `name = "${world.name}"\ncapability = "${isJailed ? 'confined' : 'none'}"`,
      scope: `roots = ["${data}"]`,
      limits: 'nice = 0\nionice = "none"',
    });
    hostToml(`confined = ${isJailed}\n`);
    const { status, stdout, stderr } = await world.backup();
    if (status !== 0) throw new Error(`${stdout}${stderr}`);
  }

  // For `stock`: an sshd of the client's user, and the tree of the backup before.
  const sshd = createServer({ pauseOnConnect: true }, socket => {
    const child = spawn('/usr/sbin/sshd', ['-i', '-f', join(client.home, 'sshd_config')], {
      env: {},
      cwd: '/',
      uid: client.uid,
      gid: client.gid,
      stdio: [socket, socket, 'ignore'],
    });
    child.once('spawn', () => socket.destroy());
  });
  await new Promise<void>(resolve => sshd.listen(0, '127.0.0.1', resolve));
  const address = sshd.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  world.keygen(client, join(client.home, 'sshd_key'));
  world.keygen(host, join(host.home, 'stock_key'));
  world.write(client, join(client.home, 'authorized'), readFileSync(join(host.home, 'stock_key.pub')));
  world.write(
    client,
    join(client.home, 'sshd_config'),
    [
      `HostKey "${client.home}/sshd_key"`,
      `AuthorizedKeysFile "${client.home}/authorized"`,
      'UsePAM no',
      'PidFile none',
      'StrictModes no',
      '',
    ].join('\n'),
  );
  const hostKey = readFileSync(join(client.home, 'sshd_key.pub'), 'utf8').trim();
  world.write(host, join(host.home, 'stock_known'), `[127.0.0.1]:${port} ${hostKey}\n`);
  let stocked = 0;
  async function stock(): Promise<void> {
    const folder = join(hostHome, 'stock');
    const ssh = `ssh -F none -p ${port} -l ${client.login} -i '${host.home}/stock_key' -o 'UserKnownHostsFile="${host.home}/stock_known"' -o BatchMode=yes`;
    stocked += 1;
    const args = ['-aHAXS', '--numeric-ids', '--fake-super', '--relative', '--modify-window=-1', '--stats'];
    const basis = stocked > 1 ? [`--link-dest=${folder}/${stocked - 1}`] : [];
    if (stocked === 1) {
      mkdirSync(folder);
      chownSync(folder, host.uid, host.gid);
    }
    const running = world.start(host, '/usr/bin/rsync', [
      ...args,
      ...basis,
      '-e',
      ssh,
      '--',
      `127.0.0.1:${data}`,
      `${folder}/${stocked}/`,
    ]);
    const { status, stderr } = await running.done;
    if (status !== 0) throw new Error(stderr);
  }

  const ways: [string, () => Promise<void>][] = [
    ['jailed', () => dialback(true)],
    ['open', () => dialback(false)],
    ['stock', stock],
  ];
  const seconds = async (run: () => Promise<void>): Promise<number> => {
    spawnSync('sync');
    const start = performance.now();
    await run();
    return (performance.now() - start) / 1000;
  };
  const first = await seconds(() => dialback(true));
  const firstStock = await seconds(stock);
  // Snapshots are named by the second.
  const found = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, run] of ways) found.get(name)?.push(await seconds(run));
  }
  sshd.close();
  const of = (name: string): number => median(found.get(name) ?? []);
  process.stdout.write(
    `${FILES} files; first run: jailed ${first.toFixed(2)} s, stock ${firstStock.toFixed(2)} s\n`,
  );
  for (const [name, values] of found) {
    const list = values.map(value => value.toFixed(2)).join(' ');
    process.stdout.write(`unchanged, ${name.padEnd(6)} median ${median(values).toFixed(2)} s   (${list})\n`);
  }
  process.stdout.write(`jailed/open  ${(of('jailed') / of('open')).toFixed(2)}   (at most 1.05 is wanted)\n`);
  process.stdout.write(
    `jailed/stock ${(of('jailed') / of('stock')).toFixed(2)}   (at most 0.60 is wanted)\n`,
  );
}

const world = await World.make({ launcher: true });
const image = join(world.base, 'image');
const disk = join(world.base, 'disk');
try {
  sh('/usr/bin/truncate', ['-s', '6G', image]);
  sh('/usr/sbin/mkfs.ext4', ['-q', '-F', '-N', '600000', image]);
  mkdirSync(disk);
  sh('/usr/bin/mount', ['-o', 'loop', image, disk]);
  try {
    await bench(world, disk);
  } finally {
    sh('/usr/bin/umount', [disk]);
  }
} finally {
  rmSync(image, { force: true });
  await world.dispose();
}
