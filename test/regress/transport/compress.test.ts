// Goal: over a slow link the first backup is compressed already, and over a fast one none is; the config can say either; the
// measurement is no way in; older hosts, and an rsync without zstd, are served as ever. Our ssh at either end marks what it sends as background traffic.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { type Compression, decideCompression, type Rates } from '../../../src/client/compression.ts';
import { decodeEvent, type HostEvent } from '../../../src/wire/events.ts';
import { BLOCK_LIMIT, blockLine } from '../../../src/wire/probe.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Network } from '../../support/network.ts';
import { matching, matchingLines, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;
const OPTION = '--compress-choice=zstd';
const DAY_MS = 86_400_000;

interface OnRecord {
  at: number;
  networks: string[];
  rates?: Rates;
  compress: boolean;
}

/** What one run did. */
interface Ran {
  decided: Compression;
  isCompressed: boolean;
  bytes: number;
  sent: number;
}

/** The state file with the measurements. */
const links = (world: World): string => join(world.clientState, 'links.json');

function onRecord(world: World): OnRecord {
  const { vault } = JSON.parse(readFileSync(links(world), 'utf8')) as { vault: OnRecord };
  return vault;
}

function note(world: World, vault: OnRecord): void {
  world.write(world.client, links(world), JSON.stringify({ vault }));
}

/** What the host's rsync was called with. */
function optionsOf(world: World, snapshot: string): string[] {
  const path = join(world.shelf, 'snapshots', snapshot, 'snapshot.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { rsync: { options: string[] } }).rsync.options;
}

/** A backup; a compressed one is given back, and compared. */
async function backup(world: World): Promise<Ran> {
  const { status, stdout, stderr, last } = await world.backup();
  assert.equal(status, 0, `${stdout}${stderr}${JSON.stringify(world.journal('host').at(-1))}`);
  const news = stdout.trim().split('\n');
  const said = news.map(line => JSON.parse(line) as { event?: string } & Compression);
  const decided = said.filter(each => each.event === 'compression');
  assert.equal(decided.length, 1, stdout);
  const snapshot = last.snapshot ?? '';
  const isCompressed = optionsOf(world, snapshot).includes(OPTION);
  if (isCompressed) {
    const to = join(world.base, `restored ${snapshot}`);
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    rmSync(to, { recursive: true });
  }
  const [{ event: _, remote: __, ...found }] = decided as [Compression & { event: string; remote: string }];
  return {
    decided: found,
    isCompressed,
    bytes: last.bytes,
    sent: last.transferred_bytes,
  };
}

/** A file that gets much smaller. */
function write(world: World, name: string, times: number): void {
  const path = join(world.data, name);
  writeFileSync(path, Array.from({ length: times }, (_, line) => `${name}, line ${line}\n`).join(''));
  chownSync(path, world.client.uid, world.client.gid);
}

const LIMITS = (compress: string, more = ''): { limits: string } => ({
  limits: `deadline = "5m"\ncompress = "${compress}"\n${more}`,
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

for (const transport of some(['direct', 'channel'] as const, 2)) {
  describe(`compression over a slow link, ${transport}`, { skip: SKIP }, () => {
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

    it('is in the first run already, which measures', async () => {
      world.configure({ remote, ...LIMITS('auto') });
      const ran = await backup(world);
      assert.ok(ran.isCompressed, JSON.stringify(ran));
      assert.ok(ran.sent < ran.bytes / 2, `${ran.sent} of ${ran.bytes} bytes`);
      const { because, rates } = ran.decided;
      assert.equal(because, 'measured');
      // 2.5 MB/s; more than that cannot be, but for the bucket of tbf.
      assert.ok(rates && rates.link < 3_500_000, JSON.stringify(rates));
      assert.deepEqual(onRecord(world).rates, rates);
    });

    it('is in the next one, which does not measure again', async () => {
      write(world, 'second', 30_000);
      const before = onRecord(world);
      const ran = await backup(world);
      assert.ok(ran.isCompressed);
      assert.ok(ran.sent < 500_000, `${ran.sent} bytes`);
      assert.deepEqual(onRecord(world), before);
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
    write(world, 'first', 50_000);
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  it('is what the two rates say, and the host keeps no record of the measurement', async () => {
    world.configure(LIMITS('auto'));
    const { decided, isCompressed } = await backup(world);
    const { rates } = decided;
    assert.ok(rates, JSON.stringify(decided));
    // How fast this machine is while others use it too is not known beforehand.
    assert.ok(rates.link > 0 && rates.processor > 0, JSON.stringify(rates));
    const expected = decideCompression({
      ...{ mode: 'auto', hasZstd: true, rates, bwlimit: undefined, was: false },
    } as const);
    assert.deepEqual({ isCompressed, decided }, { isCompressed: expected.compress, decided: expected });
    assert.equal(world.journal('host').filter(each => each.event === 'run').length, 1);
  });

  it('is none when the link is faster than the processor', async () => {
    note(world, { ...onRecord(world), rates: { link: 1e9, processor: 2e8 }, compress: false });
    write(world, 'fast', 20_000);
    const { decided, isCompressed, sent } = await backup(world);
    assert.equal(isCompressed, false);
    assert.deepEqual(decided, { compress: false, because: 'measured', rates: { link: 1e9, processor: 2e8 } });
    assert.ok(sent > 300_000, `${sent} bytes`);
  });

  itLong('goes by a limit of the config where that is lower', async () => {
    world.configure(LIMITS('auto', 'bwlimit = "5M"'));
    const { decided, isCompressed } = await backup(world);
    assert.equal(isCompressed, true);
    assert.equal(decided.rates?.link, 5 * 1024 * 1024);
  });

  itLong('is measured again when that is a week old, or was in another network', async () => {
    world.configure(LIMITS('auto'));
    const now = onRecord(world);
    const old = { link: 1e9, processor: 2e8 };
    for (const stale of [
      { ...now, rates: old, at: Date.now() - 7 * DAY_MS },
      { ...now, rates: old, networks: ['203.0.113.5'] },
    ]) {
      note(world, stale);
      const { decided } = await backup(world);
      assert.equal(decided.because, 'measured');
      assert.notDeepEqual(decided.rates, old);
      assert.deepEqual(onRecord(world).rates, decided.rates);
      assert.ok(Date.now() - onRecord(world).at < DAY_MS);
    }
    world.write(world.client, links(world), '{"vault":{"at":1,');
    assert.equal((await backup(world)).decided.because, 'measured');
    assert.ok(onRecord(world).rates);
  });

  it('is as the config says, with nothing measured', async () => {
    rmSync(links(world));
    write(world, 'wanted', 20_000);
    world.configure(LIMITS('zstd'));
    const wanted = await backup(world);
    assert.ok(wanted.isCompressed);
    assert.ok(wanted.sent < 300_000, `${wanted.sent} bytes`);
    write(world, 'unwanted', 20_000);
    world.configure(LIMITS('no'));
    const unwanted = await backup(world);
    assert.equal(unwanted.isCompressed, false);
    assert.ok(unwanted.sent > 300_000, `${unwanted.sent} bytes`);
    for (const { decided } of [wanted, unwanted]) assert.equal(decided.because, 'set');
    assert.ok(!existsSync(links(world)));
  });

  it('is nothing that a dry run asks for', async () => {
    world.configure(LIMITS('auto'));
    const { status, stdout } = await world.backup(['--dry-run']);
    assert.equal(status, 0, stdout);
    assert.doesNotMatch(stdout, /compression/);
    assert.ok(!existsSync(links(world)));
  });
});

describe('a probe', { skip: SKIP }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  /** What a client hears that sends this. */
  async function probe(input: Buffer | string, command = `${world.name}:probe`): Promise<HostEvent[]> {
    const { stdout, stderr } = await world.callHost([], [command], input);
    assert.equal(stdout, '');
    return stderr
      .split('\n')
      .map(line => decodeEvent(line))
      .flatMap(each => ('value' in each ? [each.value] : []));
  }
  const codes = (heard: HostEvent[]): unknown[] =>
    heard.map(each => (each.event === 'outcome' ? each.code : each.event === 'arrived' ? each.bytes : each));

  it('is answered block by block, and leaves nothing', async () => {
    const block = Buffer.concat([Buffer.from(blockLine(BLOCK_LIMIT)), Buffer.alloc(BLOCK_LIMIT, '\n')]);
    const heard = await probe(Buffer.concat([Buffer.from(`${blockLine(1)}x${blockLine(3)}abc`), block]));
    assert.deepEqual(codes(heard), [1, 3, BLOCK_LIMIT]);
    assert.deepEqual(codes(await probe('')), []);
    assert.deepEqual(codes(await probe(`${blockLine(3)}ab`)), []);
    assert.deepEqual(world.journal('host'), []);
    assert.deepEqual(world.snapshots(), []);
  });

  for (const [what, input, reason] of [
    ['a request', 'dialback-request 1\nheader 2\n{}', says('a-line-is-too-long')],
    ['a length that is none', 'block 1e9\n', matching`"${says('block-length-was-expected')}`],
    ['a block that is too large', `${blockLine(BLOCK_LIMIT + 1)}x`, says('a-block-has-more-than')],
    ['too many blocks', 'block 1\nx'.repeat(33), says('there-are-more-than')],
  ] as const)
    it(`is refused when it is ${what}`, async () => {
      const heard = await probe(input);
      assert.equal(codes(heard).at(-1), 'request');
      assert.match(String(world.journal('host').at(-1)?.reason), reason);
      assert.equal(world.journal('host').at(-1)?.event, 'refused');
    });

  it('is refused under the name of another', async () => {
    assert.deepEqual(codes(await probe('', 'beech:probe')), ['name']);
    assert.deepEqual(codes(await probe('', `${world.name}:probe --config /etc/x`)), ['request']);
  });
});

describe('compression, with a machine that does not know it', { skip: SKIP }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    write(world, 'first', 20_000);
  });
  after(async () => {
    await world.dispose();
  });

  /** A word in front of the enrolled line's command. @returns what puts it back */
  function answerWith(lines: string[]): () => void {
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    const command = /command="((?:[^"\\]|\\.)*)"/.exec(enrolled)?.[1]?.replaceAll('\\"', '"') ?? '';
    const script = join(world.host.home, 'answer');
    world.write(world.host, script, `#!/bin/sh\n${lines.join('\n')}\nexec ${command}\n`, 0o700);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    world.write(world.host, world.authorizedKeys, `restrict,command="'${script}'" ${key}`);
    return () => world.write(world.host, world.authorizedKeys, enrolled);
  }

  /** What a host of the first version says to a command that it does not know. */
  const REFUSAL = JSON.stringify({
    ...{ event: 'outcome', outcome: 'failed', code: 'request', rsync_exit: null, snapshot: null },
    ...{ files: 0, bytes: 0, transferred_bytes: 0, vanished: 0, changed_during_run: 0 },
    ...{ missing_count: 0, missing: [] },
  });

  it('is left out when the host is older, without another word to it', async () => {
    const calls = join(world.host.home, 'calls seen');
    const back = answerWith([
      `echo "$SSH_ORIGINAL_COMMAND" >>'${calls}'`,
      'case $SSH_ORIGINAL_COMMAND in',
      `*:probe) echo 'dialback-event: ${REFUSAL}' >&2; exit 12 ;;`,
      'esac',
    ]);
    try {
      world.configure(LIMITS('auto'));
      for (const _ of ['first', 'second']) {
        const { decided, isCompressed } = await backup(world);
        assert.deepEqual([decided.because, isCompressed], ['unmeasured', false]);
      }
      assert.equal(onRecord(world).rates, undefined);
      const seen = readFileSync(calls, 'utf8').trim().split('\n');
      assert.equal(seen.filter(each => each.endsWith(':probe')).length, 1, seen.join(' '));
    } finally {
      back();
      rmSync(links(world));
    }
  });

  it('fails as the run would when nobody can be called', async () => {
    const config = readFileSync(world.clientToml, 'utf8');
    world.write(world.client, world.clientToml, config.replace(`:${world.port}"`, ':1"'));
    const { status, last } = await world.backup();
    assert.equal(status, 13, JSON.stringify(last));
    assert.match(last.error ?? '', matching`^${says('cannot-call-the-backup-host')}`);
    assert.ok(!existsSync(links(world)));
  });

  it('is left out when the rsync of this machine has no zstd, and doctor says so', async () => {
    const { client } = world;
    const rsync = join(world.base, 'rsync');
    copyFileSync('/usr/bin/rsync', `${rsync} itself`);
    const words = `'${rsync} itself' --version | sed 's/^ *zstd / /'`;
    writeFileSync(
      rsync,
      `#!/bin/sh\n[ "$1" != --version ] || { ${words}; exit; }\nexec '${rsync} itself' "$@"\n`,
    );
    chmodSync(rsync, 0o755);
    // In rsync's place for what runs below it alone.
    const script = 'mount --bind "$1" /usr/bin/rsync && shift && exec setpriv --clear-groups "$@"';
    const account = [`--reuid=${client.uid}`, `--regid=${client.gid}`, '--', world.binary];
    const run = (args: string[]): Promise<Result> =>
      world.start(
        'root',
        '/usr/bin/unshare',
        ['--mount', '/bin/sh', '-c', script, 'sh', rsync, ...account, ...args, '--config', world.clientToml],
        { environment: { HOME: client.home } },
      ).done;
    for (const compress of ['zstd', 'auto']) {
      world.configure(LIMITS(compress));
      const { status, stdout, stderr } = await run(['backup', '-v']);
      assert.equal(status, 0, stdout + stderr);
      await world.settled();
      assert.match(stdout, matchingLines`^vault: not compressed: ${says('rsync-here-does-not-know')}$`);
      assert.ok(!optionsOf(world, world.snapshots().at(-1) ?? '').includes(OPTION));
    }
    assert.ok(!existsSync(links(world)), 'it was measured');
    const { stdout } = await run(['doctor', '--client', '--json']);
    const findings = JSON.parse(stdout) as { check: string; state: string; found: string }[];
    const found = findings.filter(each => each.check === 'machine.zstd');
    assert.deepEqual(
      found.map(each => [each.state, each.found]),
      [['warning', wording('rsync-was-built-without-zstd')]],
    );
  });
});
