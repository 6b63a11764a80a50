// Goal: what is out of order ends in one clear line, with nothing half done: two requests at once, a clock that jumps, a
// store that is not mounted, a key used with another name, a request that is cut anywhere.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeEvent } from '../../../src/wire/events.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matching, says } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

/** The calls that one client may have open at once (docs/protocol.md, the table of limits). */
const CALLS_LIMIT = 4;

describe('odd times', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 20; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** Whatever a request does, it leaves the store as it was but for journals and locks. */
  function shape(): string[] {
    return ['snapshots', 'arriving', 'trash'].flatMap(folder =>
      readdirSync(join(world.shelf, folder)).map(name => `${folder}/${name}`),
    );
  }

  it('two requests at once by the same client: one is served, the other one told', async () => {
    writeFileSync(join(world.data, 'large'), randomBytes(3 * 1024 * 1024));
    world.configure({ limits: 'bwlimit = "3M"' });
    const args = (state: string): string[] => [
      'backup',
      '--json',
      '--config',
      world.clientToml,
      '--state',
      join(world.client.home, state),
    ];
    const both = await Promise.all(['one', 'two'].map(state => world.run(world.client, args(state))));
    world.configure();
    assert.deepEqual(both.map(result => result.status).sort(), [0, 11]);
    const told = both.find(result => result.status === 11);
    assert.ok(told);
    assert.match(lastLine(told).error ?? '', matching`${says('still-at-work-on-another-run')}$`);
    await until('all has ended', () => world.leftovers().length === 0, 15_000);
  });

  it('a clock a day back: the run is kept under its own time, and older ones stay', async () => {
    const [first = ''] = world.snapshots();
    // The clock was a year ahead once: a snapshot from the future is there.
    const future = '2099-01-01T00-00-00Z';
    renameSync(join(world.shelf, 'snapshots', first), join(world.shelf, 'snapshots', future));
    const before = manifest(world.tree(future), { includeInode: true });
    const result = await world.backup();
    assert.equal(result.status, 0);
    assert.ok((result.last.snapshot ?? '9') < future, 'the host counts by its own clock');
    assert.equal(result.last.transferred_bytes, 0, 'and still links to what it has');
    assert.deepEqual(diffManifests(before, manifest(world.tree(future), { includeInode: true })), []);
  });

  itLong('only snapshots from the future: they are the basis all the same', async () => {
    for (const name of world.snapshots())
      if (!name.startsWith('2099')) rmSync(join(world.shelf, 'snapshots', name), { recursive: true });
    writeFileSync(join(world.data, 'file 1'), 'content 1');
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.ok(last.transferred_bytes <= 3 * 1024 * 1024 + 100);
    assert.equal(world.snapshots().length, 2);
  });

  itLong('two runs within one second get two names', async () => {
    const [one, two] = [await world.backup(), await world.backup()];
    assert.equal(one.status, 0);
    assert.equal(two.status, 0);
    assert.notEqual(one.last.snapshot, two.last.snapshot);
  });

  itShort('a store that is not mounted does not become an empty one', async () => {
    const away = `${world.store}.away`;
    renameSync(world.store, away);
    mkdirSync(world.store);
    const { status, last } = await world.backup();
    assert.equal(status, 10);
    assert.match(last.error ?? '', matching`${says('has-no-store-at-hand')}$`);
    assert.deepEqual(readdirSync(world.store), []);
    rmSync(world.store, { recursive: true });
    renameSync(away, world.store);
  });

  itShort('an enrolled key used with another name', async () => {
    const before = shape();
    world.configure({ top: 'name = "oak"' });
    const { status, last } = await world.backup();
    world.configure();
    assert.equal(status, 12);
    assert.match(last.error ?? '', matching`${says('knows-this-key-under-another')}$`);
    assert.deepEqual(shape(), before);
    assert.match(String(world.journal('host').at(-1)?.reason ?? ''), /.*/);
  });

  // After every byte of it is a soak.
  it(`a request that is cut ${IS_LONG ? 'after every byte of' : 'at many places in'} its header`, async () => {
    const before = shape();
    // The host's own command, without sshd in between: what it reads is cut, and then there is no more.
    const whole = requestBytes();
    const header = whole.indexOf('key ', whole.indexOf('}'));
    const length = header + 8;
    const cuts = Array.from({ length }, (_, index) => index).filter(
      at => IS_LONG || at % 90 === 0 || at >= header + 4,
    );
    const attempt = async (cut: number): Promise<Result> =>
      await world.run(world.host, ['grab', '--client', world.name, '--config', world.hostToml], {
        input: whole.subarray(0, cut),
        environment: {
          SSH_CONNECTION: '127.0.0.1 50000 127.0.0.1 22',
          SSH_ORIGINAL_COMMAND: `${world.name}:9`,
        },
      });
    // As many as a client may have at once.
    for (let at = 0; at < cuts.length; at += CALLS_LIMIT) {
      const results = await Promise.all(cuts.slice(at, at + CALLS_LIMIT).map(attempt));
      for (const [index, { status, stdout, stderr }] of results.entries()) {
        assert.equal(status, 1, `cut at ${cuts[at + index]}: ${stderr}`);
        assert.equal(stdout, '');
        const lines = stderr.split('\n').slice(0, -1);
        assert.equal(lines.length, 1, stderr);
        const event = decodeEvent(lines[0] ?? '');
        assert.ok('value' in event && event.value.event === 'outcome' && event.value.code === 'gone', stderr);
      }
    }
    assert.deepEqual(shape(), before);
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  /** A request as the client of this version sends it, with a key that is none. */
  function requestBytes(): Buffer {
    const blob = Buffer.concat([
      Buffer.from([0, 0, 0, 11]),
      Buffer.from('ssh-ed25519'),
      Buffer.from([0, 0, 0, 32]),
      Buffer.alloc(32, 7),
    ]);
    const header = Buffer.from(
      JSON.stringify({
        transport: 'direct',
        user: 'nobody',
        host_key: `ssh-ed25519 ${blob.toString('base64')}`,
        roots: ['/data'],
        key_bytes: 3,
        excludes_bytes: 0,
        dry_run: false,
        enumerated: [],
        rsync: '3.5.0',
      }),
    );
    return Buffer.concat([
      Buffer.from(`dialback-request 1\nheader ${header.length}\n`),
      header,
      Buffer.from('key 3\nkeyexcludes 0\n'),
    ]);
  }

  itShort('a journal that cannot be written to does not turn a snapshot into a failure', async () => {
    const journal = join(world.shelf, 'journal.jsonl');
    const kept = readFileSync(journal);
    rmSync(journal);
    mkdirSync(journal);
    const { status, last } = await world.backup();
    rmSync(journal, { recursive: true });
    world.write(world.host, journal, kept);
    assert.equal(status, 0);
    assert.ok(world.snapshots().includes(last.snapshot ?? ''));
  });
});
