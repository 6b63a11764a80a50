// Goal: where the link is cut, or a process of either side stands still, both sides end within idle_timeout and a little, each
// with a message of its own, and leave nothing running; the next run goes on, so that ten cuts cost little. Two network
// namespaces, a link of a given rate (tbf), and nftables rules that drop everything, both ways, without a word.
//
// The short form cuts a small backup a few times. CUT_MB=300 CUTS=10 CUT_RATE=20 is the long one, some minutes for each transport;
// CUT_SEED repeats one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { fairClock } from '../../support/fair-time.ts';
import { itLong, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Network } from '../../support/network.ts';
import { matching, says } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, type Running, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
const MEGABYTES = Number(process.env.CUT_MB ?? 15);
const IS_LONG = process.env.CUT_MB !== undefined;
const CUTS = Number(process.env.CUTS ?? 2);
/** Mbit/s. */
const RATE = Number(process.env.CUT_RATE ?? 60);
const SEED = process.env.CUT_SEED ?? randomBytes(4).toString('hex');
const IDLE_SECONDS = 4;
/** From the cut to the end of either side: the deadline, rsync's last words, and what a busy machine needs besides. */
const END_MS = 1000 * IDLE_SECONDS + (IS_LONG ? 85_000 : 25_000);
/** The link drops everything, but what a machine says to itself. */
const DROP = `table inet cut {
  chain in { type filter hook input priority 0; policy drop; iif lo accept; }
  chain out { type filter hook output priority 0; policy drop; oif lo accept; }
}`;

/** The n-th number of this seed, from 0 to 1. */
function chance(what: string): number {
  return createHash('sha256').update(`${SEED} ${what}`).digest().readUInt32LE(0) / 2 ** 32;
}

/** Side by side: most of the time is spent on waiting. */
describe('cut links', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE, concurrency: true }, () => {
  for (const transport of some(['direct', 'channel'], 2))
    describe(transport, { concurrency: false }, () => cutLinks(transport));
});

function cutLinks(transport: string): void {
  let network: Network;
  let world: World;
  before(async () => {
    console.log(`CUT_SEED=${SEED}`);
    network = await Network.make(['client', 'host']);
    network.connect(
      { machine: 'client', name: 'uplink', address: '192.168.9.1/24' },
      { machine: 'host', name: 'uplink', address: '192.168.9.2/24' },
    );
    for (const machine of ['client', 'host']) {
      const shape = ['root', 'tbf', 'rate', `${RATE}mbit`, 'burst', '64kb', 'latency', '200ms'];
      network.run(machine, ['/usr/sbin/tc', 'qdisc', 'add', 'dev', 'uplink', ...shape]);
    }
    const places = { client: network.pid('client'), host: network.pid('host'), address: '192.168.9.2' };
    // As README.md advises: without it sshd keeps a connection that nobody is at the other end of.
    const sshd = ['ClientAliveInterval 1', 'ClientAliveCountMax 4'];
    world = await World.make({ launcher: true, places, sshd });
    const more = `[requests]\nidle_timeout = "${IDLE_SECONDS}s"\n`;
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n${more}`);
    const direct = 'from = ["192.168.9.2"]\nlisten = "192.168.9.1:0"';
    world.configure({
      remote: `name = "vault"\ntransport = "${transport}"\n${transport === 'direct' ? direct : ''}`,
      limits: `idle_timeout = "${IDLE_SECONDS}s"\nnice = 0\nionice = "none"`,
    });
    // A third in one file; the rest in files of all sizes.
    put('large', randomBytes((MEGABYTES * MIB) / 3));
    mkdirSync(join(world.data, 'small'));
    for (let left = (MEGABYTES * MIB * 2) / 3, index = 0; left > 0; index += 1) {
      const size = Math.min(left, 200 + Math.floor(chance(`size ${index}`) ** 3 * MIB));
      put(`small/${index}`, randomBytes(size));
      left -= size;
    }
  });
  after(async () => {
    try {
      await world?.dispose();
    } finally {
      await network?.end();
    }
  });

  function put(name: string, content: Buffer): void {
    writeFileSync(join(world.data, name), content);
    chownSync(join(world.data, name), world.client.uid, world.client.gid);
  }

  /** Bytes that have come to the host, with all that belongs to a packet. */
  function arrived(): number {
    // A process's own net/dev is its network namespace's; asked so, it takes no time in which a backup gets to its end.
    const devices = readFileSync(`/proc/${network.pid('host')}/net/dev`, 'latin1');
    const received = /^ *uplink: *(\d+)/m.exec(devices)?.[1];
    assert.ok(received !== undefined, devices);
    return Number(received);
  }

  /** Who still runs, but for what makes a manifest. */
  function rest(): string[] {
    return [...ofSide('client'), ...ofSide('host')];
  }

  /** Starts a run, and waits until so many bytes have crossed. @returns undefined for one that was over before */
  async function runUntil(bytes: number): Promise<Running | undefined> {
    const before = arrived();
    const args = ['backup', '--json', '--config', world.clientToml];
    const running = world.start(world.client, world.binary, args, { timeoutMs: 600_000 });
    let isOver = false;
    void running.done.then(() => {
      isOver = true;
    });
    await until(`${bytes} bytes`, () => isOver || arrived() - before >= bytes, 600_000);
    return isOver ? undefined : running;
  }

  async function assertBothEnd(running: Running, clientSays: RegExp, hostSays: RegExp): Promise<void> {
    const clock = fairClock();
    const runs = world.journal('host').filter(each => each.event === 'run').length;
    const ended = await running.done;
    const clientMs = clock();
    assert.notEqual(ended.status, 0, ended.stdout);
    const { error } = lastLine(ended);
    assert.match(error ?? '', clientSays);
    await until(`the host's side has ended: ${rest().join('; ')}`, () => rest().length === 0, END_MS);
    const hostMs = clock();
    const last = world
      .journal('host')
      .filter(each => each.event === 'run')
      .at(-1);
    assert.equal(world.journal('host').filter(each => each.event === 'run').length, runs + 1);
    assert.match(String(last?.reason), hostSays);
    assert.doesNotMatch(String(last?.reason), /\[object /);
    console.log(
      `client after ${(clientMs / 1000).toFixed(1)} s: ${error}; host after ${(hostMs / 1000).toFixed(1)} s: ${last?.reason}`,
    );
    assert.ok(clientMs < END_MS && hostMs < END_MS, `${clientMs} ms, ${hostMs} ms`);
  }

  it(`${CUTS} cuts of one backup of ${MEGABYTES} MB: both sides end each time, and little is sent twice`, async () => {
    const start = arrived();
    for (let cut = 0; cut < CUTS; cut += 1) {
      // Each part of a run is a tenth to nine tenths of what this cut may have.
      const part = ((0.2 + 0.6 * chance(`${transport} cut ${cut}`)) * 2 * MEGABYTES * MIB) / (2 * CUTS + 1);
      const running = await runUntil(part);
      assert.ok(running, `cut ${cut}: it was over before ${part} bytes`);
      for (const machine of ['client', 'host']) network.filter(machine, DROP);
      await assertBothEnd(
        running,
        says('does-not-answer-any-more'),
        transport === 'direct' ? /connection broke|no data arrived/ : /no data arrived/,
      );
      for (const machine of ['client', 'host'])
        network.run(machine, ['/usr/sbin/nft', 'delete', 'table', 'inet', 'cut']);
    }
    const { status, last, stderr } = await world.backup([], { timeoutMs: 600_000 });
    assert.equal(status, 0, `${stderr} ${JSON.stringify(last)}`);
    const sent = arrived() - start;
    const tree = join(world.tree(last.snapshot ?? ''), world.data);
    const to = join(world.base, 'restored');
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    assert.ok(readFileSync(join(tree, 'large')).equals(readFileSync(join(world.data, 'large'))));
    const undisturbed = await sendsAll();
    const ratio = sent / undisturbed;
    console.log(`${sent} bytes with ${CUTS} cuts, ${undisturbed} without: ${ratio.toFixed(3)}`);
    assert.ok(ratio < 1.2, `${ratio}`);
  });

  /** Who stands still, and what each side says of it; each of the client's own, in the middle of a run. */
  const stopped: [what: string, pattern: RegExp, clientSays: RegExp, hostSays: RegExp][] = [
    [
      "the client's rsync",
      /rsync --server --daemon --config=/,
      says('nothing-came-for-too-long'),
      says('no-data-arrived-for-too'),
    ],
  ];
  // Only the silence of the host tells the client that its own ssh does nothing: a minute at least. In the long form alone.
  if (transport === 'channel' && IS_LONG)
    stopped.push([
      "the client's ssh",
      /^\/usr\/bin\/ssh -F none -T -E /,
      /said nothing for 60 s/,
      says('no-data-arrived-for-too'),
    ]);
  for (const [what, pattern, clientSays, hostSays] of stopped) {
    it(`ends on both sides where ${what} stands still`, async () => {
      put('more', randomBytes(20 * MIB));
      const running = await runUntil(2 * MIB);
      assert.ok(running, 'it was over before');
      const found = world.processes().filter(each => pattern.test(each.command));
      assert.ok(found.length > 0, what);
      for (const { pid } of found) process.kill(pid, 'SIGSTOP');
      await assertBothEnd(running, clientSays, hostSays);
    });
  }

  /** As a machine that was suspended: nothing of it runs, and later all of it goes on as if nothing had been. */
  for (const [side, other, clientSays, hostSays] of [
    [
      'client',
      'host',
      matching`connection broke|${says('nothing-came-for-too-long')}`,
      /connection broke|no data arrived|client disconnected/,
    ],
    [
      'host',
      'client',
      says('does-not-answer-any-more'),
      /connection broke|no data arrived|client disconnected/,
    ],
  ] as const) {
    itLong(`ends on both sides where the ${side} sleeps, on that one once it wakes up`, async () => {
      put('more', randomBytes(20 * MIB));
      const running = await runUntil(2 * MIB);
      assert.ok(running, 'it was over before');
      const runs = (): string[] =>
        world
          .journal('host')
          .filter(each => each.event === 'run')
          .map(each => String(each.reason));
      const before = runs().length;
      const sleeping = sleep(side);
      await until(
        `the ${other} has ended: ${ofSide(other).join('; ')}`,
        () => ofSide(other).length === 0,
        END_MS,
      );
      if (other === 'host') assert.match(runs().at(-1) ?? '', hostSays);
      for (const pid of sleeping) signal(pid, 'SIGCONT');
      const sinceWoken = fairClock();
      const ended = await running.done;
      assert.notEqual(ended.status, 0, ended.stdout);
      assert.match(lastLine(ended).error ?? '', clientSays);
      await until(`the ${side} has ended: ${rest().join('; ')}`, () => rest().length === 0, END_MS);
      assert.ok(sinceWoken() < END_MS);
      assert.equal(runs().length, before + 1);
      assert.match(runs().at(-1) ?? '', hostSays);
    });
  }

  const MANIFEST_OR_DAEMON = /^sshd: \/usr\/sbin\/sshd -D|^\/usr\/sbin\/sshd -D| manifest --client /;

  function uidOf(pid: number): number | undefined {
    try {
      return Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
    } catch {
      return undefined; // it has ended in between
    }
  }

  function found(side: 'client' | 'host'): number[] {
    const all = world
      .processes()
      .filter(each => each.command !== '' && !MANIFEST_OR_DAEMON.test(each.command));
    return all.map(each => each.pid).filter(pid => uidOf(pid) === world[side].uid);
  }

  function ofSide(side: 'client' | 'host'): string[] {
    const pids = new Set(found(side));
    return world
      .processes()
      .filter(each => pids.has(each.pid))
      .map(each => each.command);
  }

  /** Stops all of a side, until there is nobody left who could start another one. */
  function sleep(side: 'client' | 'host'): Set<number> {
    const stopped = new Set<number>();
    for (let before = -1; stopped.size !== before; ) {
      before = stopped.size;
      for (const pid of found(side).filter(each => !stopped.has(each))) {
        signal(pid, 'SIGSTOP');
        stopped.add(pid);
      }
    }
    assert.ok(stopped.size > 0);
    return stopped;
  }

  /** One may have ended before it was to be stopped, and one that is stopped dies with its parent. */
  function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
    try {
      process.kill(pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** What an undisturbed first backup of all this takes: of a copy, since nothing of it is in any snapshot. */
  async function sendsAll(): Promise<number> {
    const other = join(world.client.home, 'other data');
    execFileSync('cp', ['-a', world.data, other]);
    const toml = readFileSync(world.clientToml, 'utf8');
    world.write(world.client, world.clientToml, toml.replace(world.data, other));
    const before = arrived();
    const { status, last } = await world.backup([], { timeoutMs: 600_000 });
    assert.equal(status, 0, JSON.stringify(last));
    world.write(world.client, world.clientToml, toml);
    return arrived() - before;
  }
}
