/**
 * Part of `make bench`: the gain of compression over links of several speeds, and its cost on a fast link.
 *
 * It makes first backups of 100 MB of text from this machine's documentation, between two network namespaces with tbf(8). `compress`
 * is "no", "zstd" and "auto" in turn. It prints medians, and ratios to "no".
 *
 * Needs root. It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Network } from '../test/support/network.ts';
import { World } from '../test/support/world.ts';

const MB = Number(process.env.BENCH_MB ?? 100);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const FILE_BYTES = 1_000_000;
/** Rates for tc(8); undefined: without a limit. */
const LINKS: (string | undefined)[] = ['20mbit', '100mbit', '1gbit', undefined];

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const network = await Network.make(['client', 'host']);
let world: World | undefined;
try {
  network.connect(
    { machine: 'client', name: 'uplink', address: '192.168.8.2/24' },
    { machine: 'host', name: 'uplink', address: '192.168.8.1/24' },
  );
  const places = { client: network.pid('client'), host: network.pid('host'), address: '192.168.8.1' };
  world = await World.make({ launcher: true, places });
  const { data, client } = world;
  // Many different texts, cut into files of one size.
  const tar = ['-c', '--sort=name', '-C', '/usr/share/doc', '.'];
  const text = execFileSync('/usr/bin/tar', tar, { maxBuffer: 2 ** 31, stdio: ['ignore', 'pipe', 'ignore'] });
  for (let index = 0; index < MB; index += 1) {
    const path = join(data, `text ${index}`);
    const from = (index * FILE_BYTES) % Math.max(1, text.length - FILE_BYTES);
    writeFileSync(path, text.subarray(from, from + FILE_BYTES));
    chownSync(path, client.uid, client.gid);
  }
  for (const rate of LINKS) {
    const shape = (): void => {
      const how = ['tbf', 'rate', rate ?? '', 'burst', '128kb', 'latency', '200ms'];
      network.run('client', ['/usr/sbin/tc', 'qdisc', 'replace', 'dev', 'uplink', 'root', ...how]);
    };
    if (rate === undefined)
      network.run('client', ['/usr/sbin/tc', 'qdisc', 'delete', 'dev', 'uplink', 'root']);
    else shape();
    const results = new Map<string, { seconds: number; sent: number; said: string }>();
    for (const way of ['no', 'zstd', 'auto']) {
      const seconds: number[] = [];
      let sent = 0;
      let said = '';
      for (let round = 0; round < (rate === '20mbit' ? 1 : ROUNDS); round += 1) {
        world.configure({
          remote: 'name = "vault"\nfrom = ["192.168.8.1"]\nlisten = "0.0.0.0:0"',
          limits: `compress = "${way}"\nnice = 0\nionice = "none"`,
        });
        rmSync(join(world.clientState, 'links.json'), { force: true });
        const started = performance.now();
        const { status, stdout, stderr, last } = await world.backup();
        seconds.push((performance.now() - started) / 1000);
        if (status !== 0) throw new Error(`${stdout}${stderr}`);
        sent = last.transferred_bytes;
        said = stdout.split('\n').find(line => line.includes('"compression"')) ?? '';
        // The next backup is a first one too.
        rmSync(join(world.shelf, 'snapshots', last.snapshot ?? ''), { recursive: true });
      }
      results.set(way, { seconds: median(seconds), sent, said });
    }
    const plain = results.get('no')?.seconds ?? Number.NaN;
    console.log(`${rate ?? 'unlimited'}, ${MB} MB:`);
    for (const [way, { seconds, sent, said }] of results) {
      const ratio = (seconds / plain).toFixed(2);
      console.log(
        `  ${way.padEnd(5)} ${seconds.toFixed(2)} s, ${ratio} of "no"; ${(sent / 1e6).toFixed(1)} MB sent`,
      );
      if (way === 'auto') console.log(`  ${said}`);
    }
  }
  console.log(readFileSync('/proc/loadavg', 'utf8').trim());
} finally {
  try {
    await world?.dispose();
  } finally {
    await network.end();
  }
}
