// Goal: full, incomplete and failed are told apart, what is missing is named, what had arrived is not sent again, and
// older snapshots stay as they were.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, until, World } from '../../support/world.ts';

describe('outcomes', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 50; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
  });
  after(async () => {
    await world.dispose();
  });

  const record = (name: string): { [key: string]: unknown; counts: Record<string, number> } =>
    JSON.parse(readFileSync(join(world.shelf, 'snapshots', name, 'snapshot.json'), 'utf8'));

  it('full: exit 0, silence, a record of what was done', async () => {
    const { status, stdout, stderr } = await world.run(world.client, [
      'backup',
      '--config',
      world.clientToml,
    ]);
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
    const [name = ''] = world.snapshots();
    const { counts, ...rest } = record(name);
    assert.equal(rest.state, 'full');
    assert.equal(rest.basis, null);
    assert.equal(counts.files, 50);
    assert.equal(counts.new, 50);
    assert.equal(counts.linked, 0);
    const journal = world.journal('client').map(each => each.event);
    assert.deepEqual(journal, ['started', 'granted', 'finished']);
    assert.deepEqual(
      world.journal('host').map(each => each.event),
      ['committed', 'run'],
    );
  });

  it('counts what is linked, new and changed', async () => {
    writeFileSync(join(world.data, 'new'), 'new');
    writeFileSync(join(world.data, 'file 1'), 'other content, other length');
    chmodSync(join(world.data, 'file 2'), 0o604);
    rmSync(join(world.data, 'file 3'));
    assert.equal((await world.backup()).status, 0);
    const { counts } = record(world.snapshots().at(-1) ?? '');
    const { files, linked, content_changed, attributes_changed } = counts;
    assert.deepEqual(
      { files, linked, new: counts.new, content_changed, attributes_changed },
      { files: 50, linked: 47, new: 1, content_changed: 1, attributes_changed: 1 },
    );
  });

  itLong('sees a change within the second of the last backup, of the same size', async () => {
    const path = join(world.data, 'file 4');
    writeFileSync(path, 'AAAA');
    assert.equal((await world.backup()).status, 0);
    const { execFileSync } = await import('node:child_process');
    // The same second, another nanosecond: what a quick editor does.
    writeFileSync(path, 'BBBB');
    const stamp = execFileSync('/usr/bin/stat', [
      '-c',
      '%.9Y',
      join(world.tree(world.snapshots().at(-1) ?? ''), path),
    ]);
    const [second = '0', fraction = '0'] = stamp.toString().trim().split('.');
    const other = (Number(fraction) + 1_000_000) % 1_000_000_000;
    execFileSync('touch', ['-d', `@${second}.${String(other).padStart(9, '0')}`, path]);
    assert.equal((await world.backup()).status, 0);
    assert.equal(readFileSync(join(world.tree(world.snapshots().at(-1) ?? ''), path), 'utf8'), 'BBBB');
  });

  it('incomplete: exit 3, and what is missing by name', async () => {
    const folder = Buffer.from(join(world.data, 'locked'));
    mkdirSync(folder, { mode: 0o700 });
    const odd = Buffer.concat([Buffer.from(world.data), Buffer.from('/not "UTF-8" \xff\n', 'latin1')]);
    writeFileSync(odd, 'secret', { mode: 0o000 });
    const { status, last } = await world.backup();
    assert.equal(status, 3);
    assert.equal(last.outcome, 'incomplete');
    assert.equal(last.missing_count, 2);
    const names = last.missing.map(each =>
      typeof each === 'string' ? Buffer.from(each) : Buffer.from(each.base64, 'base64'),
    );
    assert.deepEqual(names.sort(Buffer.compare), [folder, odd].sort(Buffer.compare));
    const name = world.snapshots().at(-1) ?? '';
    assert.equal(name, last.snapshot);
    assert.equal(record(name).state, 'incomplete');
    const plain = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(plain.status, 3);
    assert.match(
      plain.stderr,
      matching`^${says('cannot-back-up-everything-to')} "vault": 2 ${says('could-not-be-read')}\n {2}.*locked \(permission denied\)`,
    );
    assert.match(plain.stderr, /^[\x20-\x7e\n]*$/);
    rmSync(odd);
    rmSync(folder, { recursive: true });
  });

  it('failed: none of the roots is there, and no snapshot is made', async () => {
    const before = world.snapshots();
    world.configure({ scope: `roots = ["${world.data}/nowhere"]` });
    const { status, last } = await world.backup();
    world.configure();
    assert.equal(status, 1);
    assert.equal(last.outcome, 'failed');
    assert.match(last.error ?? '', matching`${says('not-one-file-of-roots')}$`);
    assert.deepEqual(world.snapshots(), before);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  });

  itLong(
    'failed: what had arrived is kept, and the next run sends only the rest; older snapshots do not change',
    async () => {
      const size = 12 * 1024 * 1024;
      // Content that differs from block to block, so that only real matches save anything.
      for (const name of ['a large', 'b large', 'c large'])
        writeFileSync(join(world.data, name), randomBytes(size));
      for (const name of ['a large', 'b large', 'c large'])
        chownSync(join(world.data, name), world.client.uid, world.client.gid);
      const older = new Map<string, Manifest>(
        world.snapshots().map(name => [name, manifest(world.tree(name), { includeInode: true })]),
      );
      world.configure({ limits: 'bwlimit = "8M"' });
      const arriving = join(world.shelf, 'arriving');
      const has = (name: string): boolean =>
        readdirSync(arriving).some(each => {
          try {
            return readdirSync(join(arriving, each, 'tree', world.data)).some(found =>
              found.startsWith(name),
            );
          } catch {
            return false;
          }
        });
      for (const temporary of ['.b large.', '.c large.']) {
        const running = world.start(world.client, world.binary, [
          'backup',
          '--json',
          '--config',
          world.clientToml,
        ]);
        await until(`"${temporary}" arrives`, () => has(temporary));
        const rsync = world.processes().find(each => each.command.startsWith('/usr/bin/rsync -aHAXS'));
        assert.ok(rsync);
        process.kill(rsync.pid, 'SIGTERM');
        const result = await running.done;
        assert.equal(result.status, 1);
        assert.equal(lastLine(result).outcome, 'failed');
        await until('all has ended', () => world.leftovers().length === 0);
        assert.equal(readdirSync(arriving).length, 1, 'one interrupted tree is kept');
      }
      world.configure();
      const { status, last } = await world.backup();
      assert.equal(status, 0);
      assert.ok(last.transferred_bytes <= size + 1024, `${last.transferred_bytes} of ${3 * size} bytes sent`);
      assert.deepEqual(readdirSync(arriving), []);
      for (const [name, before] of older) {
        assert.deepEqual(diffManifests(before, manifest(world.tree(name), { includeInode: true })), [], name);
      }
    },
  );

  it('vanished files alone are no failure: a file replaced while it is read', async () => {
    // Full or not, nothing of an older snapshot changes, and the outcome is one of the three.
    const busy = join(world.data, 'busy');
    const files = IS_LONG ? 2000 : 400;
    mkdirSync(busy);
    for (let index = 0; index < files; index += 1) writeFileSync(join(busy, `${index}`), `${index}`);
    let running = true;
    const done = world.backup().finally(() => {
      running = false;
    });
    for (let round = 0; running; round += 1) {
      for (let index = files - 1; index > files - 100; index -= 1) {
        rmSync(join(busy, `${index}`), { force: true });
        writeFileSync(join(busy, `${index}.${round % 2}`), 'moved');
        renameSync(join(busy, `${index}.${round % 2}`), join(busy, `${index}`));
      }
      await new Promise(resolve => setImmediate(resolve));
    }
    const { status, last } = await done;
    assert.equal(status, 0, JSON.stringify(last));
    assert.equal(last.outcome, 'full');
  });

  it('a dry run keeps nothing', async () => {
    const before = world.snapshots();
    const { status, last } = await world.backup(['--dry-run']);
    assert.equal(status, 0, JSON.stringify(world.journal('host').at(-1)));
    assert.equal(last.snapshot, null);
    assert.ok(last.files > 50);
    assert.deepEqual(world.snapshots(), before);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  });

  itLong('two runs at once: the second one is told, by its own lock or by the host', async () => {
    world.configure({ limits: 'bwlimit = "1M"' });
    writeFileSync(join(world.data, 'long'), randomBytes(4 * 1024 * 1024));
    const first = world.start(
      world.client,
      world.binary,
      ['backup', '--json', '--config', world.clientToml],
      {
        onLine: line => {
          if (line.includes('"copying"')) copying.resolve();
        },
      },
    );
    const copying = Promise.withResolvers<void>();
    await copying.promise;
    const second = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(second.status, 11);
    assert.equal(second.stderr, `dialback: ${wording('cannot-back-up-to-another', 'vault')}\n`);
    first.child.kill('SIGTERM');
    await first.done;
    await until('all has ended', () => world.leftovers().length === 0);
  });

  itShort('root is refused on both sides', async () => {
    for (const args of [
      ['backup'],
      ['gate', '--run', '/x/run-abcdef'],
      ['grab', '--client', 'x', '--config', '/x'],
    ]) {
      const { status, stderr } = await world.run('root', args);
      assert.equal(status, 2, args.join(' '));
      assert.match(stderr, /^dialback: Cannot run "\w+" as root: /);
    }
  });
});
