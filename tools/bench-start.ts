/**
 * Part of `make bench`: the time from the start of `dialback backup` to the first byte of rsync's stream on the host, over loopback. It
 * measures both transports and a bare `ssh HOST true` with the same sshd, account and options of ssh.
 *
 * Both sides are as `make install` and `init` leave them: in the launcher's jails, with their limits, compressed. The time ends when
 * backup prints the phase `copying`. The host sends that event when its end of rsync's remote shell (`pump`) has received the first
 * byte from the client's rsync (src/host/relay.ts). So the time is never too short; it includes the way back of the event. The three
 * run in turn, twenty times, and it prints medians.
 *
 * Needs root: two temporary users. It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { callArguments } from '../src/wire/ssh.ts';
import { snapshotName } from '../src/wire/text.ts';
import { until, World } from '../test/support/world.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 20);

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** Seconds from the start of a backup to its phase `copying`. */
async function startBackup(world: World, transport: 'direct' | 'channel'): Promise<number> {
  const direct = '\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"';
  world.configure({
    remote: `name = "vault"\ntransport = "${transport}"${transport === 'direct' ? direct : ''}`,
    limits: 'compress = "zstd"',
  });
  // Snapshots are named by the second, so a backup waits for the next second.
  const last = world.snapshots().at(-1) ?? '';
  await until('it is another second', () => snapshotName(new Date()) > last);
  const startedMs = performance.now();
  let copyingMs = Number.NaN;
  const { status, stdout, stderr } = await world.backup([], {
    onLine: line => {
      if (line.includes('"phase":"copying"')) copyingMs = performance.now();
    },
  });
  const { confined } = JSON.parse(
    readFileSync(join(world.shelf, 'snapshots', world.snapshots().at(-1) ?? '', 'snapshot.json'), 'utf8'),
  ) as { confined: { send: boolean; receive: boolean } };
  if (status !== 0 || !confined.send || !confined.receive) throw new Error(`${stdout}${stderr}`);
  return (copyingMs - startedMs) / 1000;
}

/** Seconds of a whole `ssh HOST true`. */
async function bareCall(world: World, identity: string): Promise<number> {
  const args = callArguments({
    target: world.target,
    identity,
    knownHosts: join(world.client.home, '.ssh/known_hosts'),
    logFile: '/dev/null',
    connectSeconds: 30,
    idleSeconds: 300,
    more: [],
    command: 'true',
  });
  const startedMs = performance.now();
  const { status, stderr } = await world.start(world.client, '/usr/bin/ssh', args).done;
  if (status !== 0) throw new Error(stderr);
  return (performance.now() - startedMs) / 1000;
}

const world = await World.make({ launcher: true });
try {
  const { client, host } = world;
  world.write(client, join(world.data, 'a file'), 'some text\n');
  world.write(host, world.hostToml, `store = "${world.store}"\n`);
  const identity = join(client.home, '.ssh/plain');
  world.keygen(client, identity);
  const enrolled = readFileSync(world.authorizedKeys, 'utf8');
  world.write(host, world.authorizedKeys, enrolled + readFileSync(`${identity}.pub`, 'utf8'));
  const ways: [string, () => Promise<number>][] = [
    ['ssh true', () => bareCall(world, identity)],
    ['direct', () => startBackup(world, 'direct')],
    ['channel', () => startBackup(world, 'channel')],
  ];
  // The first of each does not count: it tries rsync, makes folders and fills caches.
  for (const [, run] of ways) await run();
  const found = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1)
    for (const [name, run] of ways) found.get(name)?.push(await run());
  const bare = median(found.get('ssh true') ?? []);
  const wanted = new Map([
    ['direct', ', under 1.0 s is wanted'],
    ['channel', ', under 0.5 s is wanted'],
  ]);
  console.log(`from the start to rsync's first byte on the host, ${ROUNDS} times each, in turn`);
  for (const [name, values] of found) {
    const ratio = (median(values) / bare).toFixed(1);
    console.log(
      `${name.padEnd(8)} median ${median(values).toFixed(3)} s, ${ratio} of "ssh true"${wanted.get(name) ?? ''}`,
    );
    console.log(`         ${values.map(value => value.toFixed(2)).join(' ')}`);
  }
  console.log(readFileSync('/proc/loadavg', 'utf8').trim());
} finally {
  await world.dispose();
}
