// Goal: a client that nobody can connect to, because it is behind NAT or a firewall, backs up over the channel; and over direct
// it fails soon, with the sentence that names the channel. Three machines: the router between the two is what hinders.
import assert from 'node:assert/strict';
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { FAILURES } from '../../../src/wire/events.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { fairClock } from '../../support/fair-time.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Network } from '../../support/network.ts';
import { wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;
const CHANNEL = 'name = "vault"\ntransport = "channel"';
/** A dial that is refused ends at once; one that nothing answers, when the host's ssh gives up connecting: after 40 s. */
const REFUSED_MS = 15_000;
const UNANSWERED_MS = 55_000;

/** What a router lets through that keeps those inside from being called. */
const OUTWARDS_ONLY = `table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    meta l4proto ipv6-icmp accept
    iifname "inside" accept
  }
}`;
const MASQUERADE = `table ip nat {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }
}`;

/** A client, a router, a host, and what is backed up. */
class Site {
  readonly network: Network;
  readonly world: World;

  private constructor(network: Network, world: World) {
    this.network = network;
    this.world = world;
  }

  /** @param inside the client's network, and @param outside the host's, each as the addresses of router and machine */
  static async make(prefixes: { inside: string; outside: string; length: number }): Promise<Site> {
    const { inside, outside, length } = prefixes;
    const network = await Network.make(['client', 'router', 'host']);
    try {
      network.forward('router');
      network.connect(
        { machine: 'router', name: 'inside', address: `${inside}1/${length}` },
        { machine: 'client', name: 'uplink', address: `${inside}2/${length}` },
      );
      network.connect(
        { machine: 'router', name: 'outside', address: `${outside}1/${length}` },
        { machine: 'host', name: 'uplink', address: `${outside}2/${length}` },
      );
      network.ip('client', 'route', 'add', 'default', 'via', `${inside}1`);
      const places = {
        client: network.pid('client'),
        host: network.pid('host'),
        address: `${outside}2`,
      };
      const world = await World.make({ launcher: true, places });
      for (let file = 0; file < 20; file += 1) {
        const path = join(world.data, `file ${file}`);
        writeFileSync(path, `content ${file} `.repeat(2000));
        chownSync(path, world.client.uid, world.client.gid);
      }
      return new Site(network, world);
    } catch (error) {
      await network.end();
      throw error;
    }
  }

  async end(): Promise<void> {
    try {
      await this.world.dispose();
    } finally {
      await this.network.end();
    }
  }

  configure(remote: string): void {
    this.world.configure({ remote });
  }

  /** The host's last line on a run. */
  lastRun(): Record<string, unknown> {
    return this.world.journal('host').findLast(each => each.event === 'run') ?? {};
  }

  /** A backup that arrives whole. @param peer who has called, as the host saw it */
  async assertBacksUp(transport: string, peer: string): Promise<void> {
    const { world } = this;
    const { status, last, stderr } = await world.backup();
    assert.equal(status, 0, `${stderr} ${JSON.stringify(last)} ${JSON.stringify(this.lastRun())}`);
    assert.equal(this.lastRun().peer, peer);
    const snapshot = last.snapshot ?? '';
    const record: unknown = JSON.parse(
      readFileSync(join(world.shelf, 'snapshots', snapshot, 'snapshot.json'), 'utf8'),
    );
    assert.equal((record as { transport: string }).transport, transport);
    const to = join(world.base, `restored ${snapshot}`);
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  }

  /** A backup that the host cannot dial back for. */
  async assertUnreachable(withinMs: number): Promise<void> {
    const { world } = this;
    const kept = world.snapshots();
    const clock = fairClock();
    const { status, last } = await world.backup();
    const tookMs = clock();
    assert.equal(status, 13, JSON.stringify(last));
    assert.equal(last.error, `${wording('cannot-back-up-to')} "vault": ${FAILURES.unreachable[1]}`);
    assert.ok(tookMs < withinMs, `${Math.round(tookMs)} ms`);
    assert.deepEqual(world.snapshots(), kept);
  }
}

describe('a client behind NAT', { skip: SKIP }, () => {
  let site: Site;
  before(async () => {
    site = await Site.make({ inside: '192.168.7.', outside: '198.51.100.', length: 24 });
    site.network.filter('router', `${MASQUERADE}\n${OUTWARDS_ONLY}`);
  });
  after(async () => {
    await site?.end();
  });

  it('has no address that the host has a way to', () => {
    assert.throws(() => site.network.ip('host', 'route', 'get', '192.168.7.2'), /Network is unreachable/);
  });

  it('is told soon that it cannot be dialled back, and what to use instead', async () => {
    site.configure('name = "vault"\nfrom = ["198.51.100.2"]\nlisten = "0.0.0.0:0"');
    await site.assertUnreachable(REFUSED_MS);
    const { world } = site;
    const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(status, 13);
    assert.match(stderr, /^next: .*transport = "channel"$/m);
    assert.match(String(site.lastRun().reason), /198\.51\.100\.1 port \d+: Connection refused/);
  });

  it('backs up over the channel', async () => {
    site.configure(CHANNEL);
    await site.assertBacksUp('channel', '198.51.100.1');
  });
});

describe('a client with IPv6 only, behind a firewall', { skip: SKIP }, () => {
  let site: Site;
  const direct = 'name = "vault"\nfrom = ["2001:db8:2::2"]\nlisten = "[::]:0"';
  before(async () => {
    site = await Site.make({ inside: '2001:db8:1::', outside: '2001:db8:2::', length: 64 });
    site.network.ip('host', 'route', 'add', 'default', 'via', '2001:db8:2::1');
  });
  after(async () => {
    await site?.end();
  });

  it('is dialled back as long as the firewall is not there', async () => {
    site.configure(direct);
    await site.assertBacksUp('direct', '2001:db8:1::2');
  });

  it('is told in time that it cannot be dialled back, once it is', async () => {
    site.network.filter('router', OUTWARDS_ONLY);
    await site.assertUnreachable(UNANSWERED_MS);
    assert.match(String(site.lastRun().reason), /timed out/);
  });

  it('backs up over the channel', async () => {
    site.configure(CHANNEL);
    await site.assertBacksUp('channel', '2001:db8:1::2');
  });
});
