/**
 * Part of `make bench`: the gain of compression, and its cost where it gains nothing.
 *
 * It makes first backups of text, of media files and of compressed data, between two network namespaces with tbf(8), over links of 10
 * Mbit/s to 10 Gbit/s. `compress` is "no" and "zstd" in turn. It prints medians, and ratios to "no".
 *
 * Text is this machine's documentation. Media files are the pictures and sounds of a package (MEDIA_PACKAGE). Compressed data is that
 * package, whose content is compressed by xz(1), in files without a suffix: rsync cannot tell from the name.
 *
 * Needs root, and the network for the package. It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Network } from '../test/support/network.ts';
import { World } from '../test/support/world.ts';

const FILE_BYTES = 1_000_000;
const MEDIA_PACKAGE = 'supertux-data';
const MEDIA_NAME = /\.(ogg|png|jpe?g|webp|mp3)$/;
/** `rate` for tc(8); `megabytes` keep a run within seconds. */
const LINKS = [
  { rate: '10mbit', megabytes: 12, rounds: 1 },
  { rate: '100mbit', megabytes: 100, rounds: 3 },
  { rate: '1gbit', megabytes: 300, rounds: 5 },
  { rate: '10gbit', megabytes: 300, rounds: 5 },
];
const WAYS = ['no', 'zstd'] as const;

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Different texts, one after the other. */
function readText(): Buffer {
  const tar = ['-c', '--sort=name', '-C', '/usr/share/doc', '.'];
  return execFileSync('/usr/bin/tar', tar, { maxBuffer: 2 ** 31, stdio: ['ignore', 'pipe', 'ignore'] });
}

/** The package, and the contents of its pictures and sounds. */
function readPackage(): { whole: Buffer; media: Buffer[] } {
  const folder = mkdtempSync(join(tmpdir(), 'dialback-media-'));
  try {
    const options = { cwd: folder, stdio: 'pipe' } as const;
    execFileSync('/usr/bin/apt-get', ['-o', 'APT::Sandbox::User=root', 'download', MEDIA_PACKAGE], options);
    const [archive = ''] = readdirSync(folder);
    execFileSync('/usr/bin/dpkg-deb', ['-x', archive, 'files'], options);
    const names = readdirSync(join(folder, 'files'), { recursive: true, encoding: 'utf8' });
    const media = names.filter(name => MEDIA_NAME.test(name));
    return {
      whole: readFileSync(join(folder, archive)),
      media: media.map(name => readFileSync(join(folder, 'files', name))),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Cuts bytes into files of one size, from the beginning again at the end. */
function* cut(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; ; from += FILE_BYTES) {
    const start = from % Math.max(1, bytes.length - FILE_BYTES);
    yield bytes.subarray(start, start + FILE_BYTES);
  }
}

function* repeat(files: Buffer[]): Generator<Buffer> {
  for (;;) yield* files;
}

interface Kind {
  name: string;
  suffix: string;
  files: () => Generator<Buffer>;
}

/** Writes files into an empty folder until they have `bytes`. */
function fill(folder: string, kind: Kind, bytes: number, { uid, gid }: { uid: number; gid: number }): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  let written = 0;
  for (const file of kind.files()) {
    if (written >= bytes) return;
    const path = join(folder, `file ${written}${kind.suffix}`);
    writeFileSync(path, file);
    chownSync(path, uid, gid);
    written += file.length;
  }
}

const text = readText();
const { whole, media } = readPackage();
const KINDS: Kind[] = [
  { name: 'text', suffix: '', files: () => cut(text) },
  { name: 'media', suffix: '.ogg', files: () => repeat(media) },
  { name: 'compressed', suffix: '', files: () => cut(whole) },
];

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
  for (const { rate, megabytes, rounds } of LINKS) {
    const shape = ['tbf', 'rate', rate, 'burst', '256kb', 'latency', '200ms'];
    network.run('client', ['/usr/sbin/tc', 'qdisc', 'replace', 'dev', 'uplink', 'root', ...shape]);
    for (const kind of KINDS) {
      fill(data, kind, megabytes * 1e6, client);
      const seconds = { no: [] as number[], zstd: [] as number[] };
      const sent = { no: 0, zstd: 0 };
      for (let round = 0; round < rounds; round += 1) {
        for (const way of WAYS) {
          world.configure({
            remote: 'name = "vault"\nfrom = ["192.168.8.1"]\nlisten = "0.0.0.0:0"',
            limits: `compress = "${way}"\nnice = 0\nionice = "none"`,
          });
          const started = performance.now();
          const { status, stdout, stderr, last } = await world.backup();
          seconds[way].push((performance.now() - started) / 1000);
          if (status !== 0) throw new Error(`${stdout}${stderr}`);
          sent[way] = last.transferred_bytes;
          // The next backup is a first one too.
          rmSync(join(world.shelf, 'snapshots', last.snapshot ?? ''), { recursive: true });
        }
      }
      const [no, zstd] = [median(seconds.no), median(seconds.zstd)];
      console.log(
        `${rate.padEnd(8)} ${kind.name.padEnd(10)} ${megabytes} MB: no ${no.toFixed(2)} s, zstd ${zstd.toFixed(2)} s, ` +
          `${(zstd / no).toFixed(2)} of "no"; ${(sent.no / 1e6).toFixed(1)} and ${(sent.zstd / 1e6).toFixed(1)} MB sent`,
      );
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
