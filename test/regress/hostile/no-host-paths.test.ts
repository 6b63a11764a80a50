// Goal: whatever happens on the host, nothing that reaches the client holds a path of it, another client's name or its
// account's home: not what the client prints (-v, --json), and not the bytes that the host sends.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeEvent } from '../../../src/wire/events.ts';
import { encodeRequest } from '../../../src/wire/request.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itShort, some } from '../../support/long.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const OTHER = 'some-other-client';

describe('nothing of the host reaches the client', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 20; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
    world.keygen(world.client, join(world.client.home, 'other key'));
    const key = readFileSync(join(world.client.home, 'other key.pub'), 'utf8');
    assert.equal((await world.enroll(OTHER, key)).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** The host's folder is named after its role, and its login is in the target that the client itself has. */
  function assertSilent(text: string, what: string): void {
    for (const secret of [
      world.host.home,
      'the store',
      'host.toml',
      '.local/state',
      OTHER,
      'authorized_keys',
      '/tmp/dialback test',
    ]) {
      const found = text.split('\n').find(line => line.includes(secret) && !line.includes(world.client.home));
      assert.equal(found, undefined, `${what}: "${secret}"`);
    }
  }

  const request = encodeRequest({
    header: {
      transport: 'direct',
      user: 'nobody',
      host_key: `ssh-ed25519 ${Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('ssh-ed25519'), Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, 7)]).toString('base64')}`,
      roots: ['/data'],
      key_bytes: 5,
      excludes_bytes: 0,
      dry_run: false,
      rsync: '3.5.0',
      enumerated: [],
    },
    key: Buffer.from('no key'.slice(0, 5)),
    excludes: Buffer.alloc(0),
  });

  /** One state of the host: how it comes about, the status that the client ends with, and the way back. */
  interface Case {
    what: string;
    status: number;
    make: () => void;
    unmake: () => void;
  }

  const toml = (): string => readFileSync(world.hostToml, 'utf8');
  let kept = '';
  let broken = '';
  const cases: Case[] = [
    { what: 'success', status: 0, make: () => {}, unmake: () => {} },
    {
      what: 'a refused name',
      status: 12,
      make: () => world.configure({ top: `name = "${'x'.repeat(20)}"` }),
      unmake: () => world.configure(),
    },
    {
      what: 'a missing store',
      status: 10,
      make: () => renameSync(world.store, `${world.store}.away`),
      unmake: () => renameSync(`${world.store}.away`, world.store),
    },
    {
      what: 'an unreadable store',
      status: 10,
      make: () => chmodSync(world.store, 0),
      unmake: () => chmodSync(world.store, 0o700),
    },
    {
      what: 'a store without this client',
      status: 1,
      make: () => renameSync(world.shelf, `${world.shelf}.away`),
      unmake: () => renameSync(`${world.shelf}.away`, world.shelf),
    },
    {
      what: 'a store of another version',
      status: 10,
      make: () => writeFileSync(join(world.store, 'store.json'), '{"version":99}\n'),
      unmake: () => writeFileSync(join(world.store, 'store.json'), '{"version":1}\n'),
    },
    ...['store = "/unfinished', 'store = "relative"\n', 'stoer = "/typo"\n', ''].map(text => ({
      what: `a broken host.toml: ${JSON.stringify(text)}`,
      status: 1,
      make: () => {
        kept = toml();
        writeFileSync(world.hostToml, text);
      },
      unmake: () => writeFileSync(world.hostToml, kept),
    })),
    {
      what: 'an unreadable host.toml',
      status: 1,
      make: () => chmodSync(world.hostToml, 0),
      unmake: () => chmodSync(world.hostToml, 0o600),
    },
    {
      what: 'a host.toml that others can write',
      status: 1,
      make: () => chmodSync(world.hostToml, 0o666),
      unmake: () => chmodSync(world.hostToml, 0o600),
    },
    {
      what: 'a missing host.toml',
      status: 1,
      make: () => renameSync(world.hostToml, `${world.hostToml}.away`),
      unmake: () => renameSync(`${world.hostToml}.away`, world.hostToml),
    },
    {
      what: 'a state folder that is a file',
      status: 1,
      make: () => {
        renameSync(world.hostState, `${world.hostState}.away`);
        writeFileSync(world.hostState, '');
      },
      unmake: () => {
        rmSync(world.hostState);
        renameSync(`${world.hostState}.away`, world.hostState);
      },
    },
    {
      what: 'snapshots that cannot be read',
      status: 1,
      make: () => chmodSync(join(world.shelf, 'snapshots'), 0),
      unmake: () => chmodSync(join(world.shelf, 'snapshots'), 0o700),
    },
    {
      what: 'a snapshot whose record is broken',
      status: 0,
      make: () => {
        broken = world.snapshots().at(-1) ?? '';
        const path = join(world.shelf, 'snapshots', broken, 'snapshot.json');
        renameSync(path, `${path}.away`);
        writeFileSync(path, '{ broken');
      },
      unmake: () => {
        const path = join(world.shelf, 'snapshots', broken, 'snapshot.json');
        renameSync(`${path}.away`, path);
      },
    },
    {
      what: 'an arriving/ that cannot be written to',
      status: 1,
      make: () => chmodSync(join(world.shelf, 'arriving'), 0o500),
      unmake: () => chmodSync(join(world.shelf, 'arriving'), 0o700),
    },
    {
      what: 'an executable that is gone',
      status: 1,
      make: () => {
        kept = readFileSync(world.authorizedKeys, 'utf8');
        writeFileSync(world.authorizedKeys, kept.replaceAll(world.binary, `${world.host.home}/gone`));
      },
      unmake: () => writeFileSync(world.authorizedKeys, kept),
    },
  ];

  for (const each of some(cases, 9)) {
    it(`with ${each.what}`, async () => {
      each.make();
      try {
        const json = await world.run(world.client, ['backup', '--json', '--config', world.clientToml]);
        assert.equal(json.status, each.status, json.stdout + json.stderr);
        assertSilent(json.stdout + json.stderr, '--json');
        const verbose = await world.run(world.client, ['backup', '-v', '--config', world.clientToml]);
        assert.equal(verbose.status, each.status, verbose.stderr);
        assertSilent(verbose.stdout + verbose.stderr, '-v');
        if (each.what === 'an executable that is gone') return; // these words are the host's shell's, not ours
        const raw = await world.callHost([], [`${world.name}:1`], request);
        assert.equal(raw.stdout, '');
        assertSilent(raw.stderr, 'the bytes that the host sends');
        for (const line of raw.stderr.split('\n').slice(0, -1)) assert.ok('value' in decodeEvent(line), line);
      } finally {
        each.unmake();
      }
    });
  }

  itShort('while another run is under way', async () => {
    world.configure({ limits: 'bwlimit = "200K"' });
    writeFileSync(join(world.data, 'large'), randomBytes(4 * 1024 * 1024));
    const first = world.start(world.client, world.binary, ['backup', '--json', '--config', world.clientToml]);
    await until('it copies', () => readdirSync(join(world.shelf, 'arriving')).length > 0);
    const state = join(world.client.home, 'another state');
    const { status, last } = await world.backup(['--state', state]);
    assert.equal(status, 11);
    assert.match(last.error ?? '', says('still-at-work-on-another'));
    assertSilent(JSON.stringify(last), '--json');
    first.child.kill('SIGTERM');
    await first.done;
    await until('all has ended', () => world.leftovers().length === 0);
  });

  it('with requests that are none', async () => {
    const calls = [
      ['', request],
      ['id', request],
      [`${world.name}:0`, request],
      [`${OTHER}:7`, request],
      [`../${world.name}:7`, request],
      [`${world.name}:7`, Buffer.alloc(0)],
      [`${world.name}:7`, Buffer.alloc(4096, 0xff)],
      [`${world.name}:7`, request.subarray(0, 100)],
      [`${world.name}:7`, Buffer.concat([request, Buffer.from('x')])],
    ] as const;
    for (const [summons, bytes] of some(calls, 2, 1)) {
      const { status, stdout, stderr } = await world.callHost([], [summons], bytes);
      assert.notEqual(status, 0);
      assert.equal(stdout, '');
      assertSilent(stderr, JSON.stringify(summons));
      assert.match(stderr, /^dialback-event: [^\n]*"outcome":"failed"[^\n]*\n$/m);
    }
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')).length <= 1, true);
    await until('all has ended', () => world.leftovers().length === 0);
  });
});
