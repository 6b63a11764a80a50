// Goal: over any connection a backup is compressed, unless the config says "no" or the rsync of either machine cannot; "auto", the old
// value, means "zstd". Our ssh at either end marks what it sends as background traffic.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Compression } from '../../../src/client/compression.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { describeLong, itLong } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Network } from '../../support/network.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { enrollLocal, shelfOf, useTransport } from '../../support/transports.ts';
import { matchingLines, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;
const OPTION = '--compress-choice=zstd';

/** What one run did. */
interface Ran {
  /** What the client reported; undefined where it reported nothing. */
  decided: Compression | undefined;
  isCompressed: boolean;
  bytes: number;
  sent: number;
}

/** What the host's rsync was called with. */
function optionsOf(world: World, snapshot: string): string[] {
  const path = join(world.shelf, 'snapshots', snapshot, 'snapshot.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { rsync: { options: string[] } }).rsync.options;
}

/** A backup; a compressed one is restored, and compared. */
async function backup(world: World): Promise<Ran> {
  const { status, stdout, stderr, last } = await world.backup();
  assert.equal(status, 0, `${stdout}${stderr}${JSON.stringify(world.journal('host').at(-1))}`);
  const decided = decisions(stdout);
  assert.ok(decided.length < 2, stdout);
  const snapshot = last.snapshot ?? '';
  const isCompressed = optionsOf(world, snapshot).includes(OPTION);
  if (isCompressed) {
    const to = join(world.base, `restored ${snapshot}`);
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    rmSync(to, { recursive: true });
  }
  return { decided: decided[0], isCompressed, bytes: last.bytes, sent: last.transferred_bytes };
}

/** The events about compression in the output of `backup --json`. */
function decisions(stdout: string): Compression[] {
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { event?: string } & Compression)
    .filter(each => each.event === 'compression')
    .map(({ compress, because }) => ({ compress, because }));
}

/** A file that gets much smaller. */
function write(world: World, name: string, times: number): void {
  const path = join(world.data, name);
  writeFileSync(path, Array.from({ length: times }, (_, line) => `${name}, line ${line}\n`).join(''));
  chownSync(path, world.client.uid, world.client.gid);
}

/** @param compress undefined: the default */
const LIMITS = (compress?: string): { limits: string } => ({
  limits: `deadline = "5m"\n${compress === undefined ? '' : `compress = "${compress}"\n`}`,
});

/** For tc(8): 20 Mbit/s. */
const SLOW = ['tbf', 'rate', '20mbit', 'burst', '16kb', 'latency', '200ms'];
/** For nft(8): what is sent, counted by how it is marked; but what the host's own sshd sends, which is its administrator's. */
const MARKED = `table inet marks {
  counter background {}
  counter other {}
  chain out {
    type filter hook output priority filter; policy accept;
    tcp sport 8022 accept
    ip dscp 1 counter name background accept
    counter name other
  }
}`;

for (const transport of ['direct', 'channel'] as const) {
  describeLong(`compression over a slow link, ${transport}`, { skip: SKIP }, () => {
    let network: Network;
    let world: World;
    const remote =
      transport === 'direct'
        ? 'name = "vault"\nfrom = ["192.168.8.1"]\nlisten = "0.0.0.0:0"'
        : 'name = "vault"\ntransport = "channel"';
    before(async () => {
      network = await Network.make(['client', 'host']);
      network.connect(
        { machine: 'client', name: 'uplink', address: '192.168.8.2/24' },
        { machine: 'host', name: 'uplink', address: '192.168.8.1/24' },
      );
      for (const each of ['client', 'host']) {
        network.run(each, ['/usr/sbin/tc', 'qdisc', 'add', 'dev', 'uplink', 'root', ...SLOW]);
        network.filter(each, MARKED);
      }
      const places = { client: network.pid('client'), host: network.pid('host'), address: '192.168.8.1' };
      world = await World.make({ launcher: true, places });
      write(world, 'first', 60_000);
      // Enough to cross the link that the marks can be compared.
      writeFileSync(join(world.data, 'noise'), randomBytes(400_000), { mode: 0o644 });
    });
    after(async () => {
      try {
        await world?.dispose();
      } finally {
        await network?.end();
      }
    });

    /** Bytes that a machine has sent, marked as background traffic (RFC 8622) and otherwise. */
    function sentBy(machine: string): { background: number; other: number } {
      const count = (counter: string): number => {
        const text = network.run(machine, ['/usr/sbin/nft', 'list', 'counter', 'inet', 'marks', counter]);
        return Number(/bytes (\d+)/.exec(text)?.[1]);
      };
      return { background: count('background'), other: count('other') };
    }

    it('is in every run, by default', async () => {
      world.configure({ remote, ...LIMITS() });
      const first = await backup(world);
      assert.deepEqual(first.decided, { compress: true, because: 'set' });
      assert.ok(first.isCompressed, JSON.stringify(first));
      assert.ok(first.sent < first.bytes / 2, `${first.sent} of ${first.bytes} bytes`);
      write(world, 'second', 30_000);
      const second = await backup(world);
      assert.ok(second.isCompressed, JSON.stringify(second));
      assert.ok(second.sent < 500_000, `${second.sent} bytes`);
    });

    it('goes on as background traffic, whichever of our ssh and sshd sends', () => {
      // Keys are exchanged before ssh marks anything.
      const client = sentBy('client');
      assert.ok(client.background > 300_000, JSON.stringify(client));
      assert.ok(client.other < client.background / 10, JSON.stringify(client));
      if (transport === 'channel') return; // nobody dials
      const host = sentBy('host');
      assert.ok(host.background > host.other, JSON.stringify(host));
    });
  });
}

describe('compression on loopback', { skip: SKIP }, () => {
  let world: World;
  before(async () => {
    world = await World.make({ launcher: true });
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  for (const [compress, isWanted] of [
    [undefined, true],
    ['auto', true],
    ['no', false],
  ] as const)
    (compress === 'auto' ? itLong : it)(
      `is ${isWanted ? 'there' : 'absent'} when the config has ${compress ?? 'no value'}`,
      async () => {
        write(world, `by ${compress}`, 20_000);
        world.configure(LIMITS(compress));
        const { decided, isCompressed, sent } = await backup(world);
        assert.deepEqual(decided, { compress: isWanted, because: 'set' });
        assert.equal(isCompressed, isWanted);
        assert.equal(sent < 250_000, isWanted, `${sent} bytes`);
      },
    );

  itLong('is not asked for by a dry run', async () => {
    world.configure(LIMITS());
    const { status, stdout } = await world.backup(['--dry-run']);
    assert.equal(status, 0, stdout);
    assert.deepEqual(decisions(stdout), []);
  });

  itLong('is absent when the store is on this machine', async () => {
    await enrollLocal(world);
    useTransport(world, 'local');
    const { status, stdout, stderr, last } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    assert.deepEqual(decisions(stdout), []);
    const record = join(shelfOf(world, 'local'), 'snapshots', last.snapshot ?? '', 'snapshot.json');
    assert.doesNotMatch(readFileSync(record, 'utf8'), /compress/);
  });
});

describe('compression, with an rsync that has no zstd', { skip: SKIP }, () => {
  let world: World;
  let other: OtherRsync;
  let rsync: string;
  before(async () => {
    world = await World.make();
    write(world, 'first', 20_000);
    other = new OtherRsync(world);
    const version = `'${other.real}' --version | sed 's/^ *zstd / /'`;
    rsync = other.write([
      `[ "$1" != --version ] || { ${version}; exit; }`,
      `case "$*" in *compress*) echo 'unknown option' >&2; exit 1 ;; esac`,
      `exec '${other.real}' "$@"`,
    ]);
  });
  after(async () => {
    await world.dispose();
    other[Symbol.dispose]();
  });

  const lastOptions = (): string[] => optionsOf(world, world.snapshots().at(-1) ?? '');

  it('is absent when that is the client, and doctor says so', async () => {
    world.configure(LIMITS());
    const config = ['--config', world.clientToml];
    const { status, stdout, stderr } = await other.run(rsync, ['backup', '-v', ...config]);
    assert.equal(status, 0, stdout + stderr);
    await world.settled();
    assert.match(stdout, matchingLines`^vault: not compressed: ${says('rsync-here-does-not-know')}$`);
    assert.ok(!lastOptions().includes(OPTION));
    const found = await other.run(rsync, ['doctor', '--client', '--json', ...config]);
    const findings = JSON.parse(found.stdout) as { check: string; state: string; found: string }[];
    assert.deepEqual(
      findings.filter(each => each.check === 'machine.zstd').map(each => [each.state, each.found]),
      [['warning', wording('rsync-was-built-without-zstd')]],
    );
  });

  itLong('is absent when that is the host, which the client does not know', async () => {
    await using server = await listenWith(world, rsync);
    const knownHosts = join(world.client.home, '.ssh/known_hosts');
    const known = readFileSync(knownHosts, 'utf8');
    world.write(world.client, knownHosts, known + known.replace(`:${world.port} `, `:${server.port} `));
    world.configure(LIMITS());
    const config = readFileSync(world.clientToml, 'utf8');
    world.write(world.client, world.clientToml, config.replace(`:${world.port}"`, `:${server.port}"`));
    write(world, 'second', 20_000);
    const { decided, isCompressed, sent } = await backup(world);
    assert.deepEqual(decided, { compress: true, because: 'set' });
    assert.equal(isCompressed, false);
    assert.ok(sent > 300_000, `${sent} bytes`);
  });
});

/** The host's sshd on another port, with another rsync in place of /usr/bin/rsync. */
async function listenWith(world: World, rsync: string): Promise<AsyncDisposable & { port: number }> {
  const { uid, gid, home } = world.host;
  const inPlace = 'mount --bind "$1" /usr/bin/rsync && shift && exec setpriv --clear-groups "$@"';
  const account = [`--reuid=${uid}`, `--regid=${gid}`, '--'];
  const sshd = [...account, '/usr/sbin/sshd', '-i', '-e', '-f', join(home, 'sshd/config')];
  const server = createServer({ pauseOnConnect: true }, socket => {
    const args = ['--mount', '/bin/sh', '-c', inPlace, 'sh', rsync, ...sshd];
    const child = spawn('/usr/bin/unshare', args, { cwd: '/', env: {}, stdio: [socket, socket, 'ignore'] });
    child.once('spawn', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => void server.close() };
}
