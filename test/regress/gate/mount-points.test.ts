// Goal: what is mounted in the scope holds up no backup. What is left out is stored as an empty folder and not touched; what
// does not answer, or lets nobody look at it, is named as missing, and the rest is saved.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { FailingMount, type Failure, NEEDS_FUSE } from '../../support/fuse.ts';
import { itLong, some } from '../../support/long.ts';
import { enrollLocal, shelfOf, type Transport, useTransport } from '../../support/transports.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

/** Owner and mode as the store has them (rsync(1), --fake-super), or the file's own. */
function storedAs(path: string): string {
  try {
    const args = ['--only-values', '-n', 'user.rsync.%stat', path];
    return execFileSync('/usr/bin/getfattr', args, { stdio: 'pipe' }).toString();
  } catch {
    const { mode, uid, gid } = lstatSync(path);
    return `${mode.toString(8)} 0,0 ${uid}:${gid}`;
  }
}

const CASES: { launcher: boolean; transport: Transport }[] = [
  { launcher: true, transport: 'direct' },
  { launcher: false, transport: 'local' },
];
for (const { launcher, transport } of some(CASES, CASES.length))
  describe(`mounts in the scope, ${launcher ? 'confined' : 'not confined'}, ${transport}`, {
    skip: NEEDS_ROOT || NEEDS_FUSE,
  }, () => {
    let world: World;
    let at: (name: string) => string;
    const mounts: FailingMount[] = [];

    before(async () => {
      world = await World.make({ launcher });
      if (transport === 'local') await enrollLocal(world);
      at = name => join(world.data, name);
      for (const name of ['keep', 'd', 'tmp', 'nas', 'gone', 'dead', 'own']) mkdirSync(at(name));
      for (const name of ['f', 'keep/secret', 'd/g']) writeFileSync(at(name), name);
      execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=1777', 'a test', at('tmp')]);
      writeFileSync(at('tmp/file'), 'of a tmpfs');
      await mount('nas', 'fuse.sshfs', 'count');
      await mount('gone', 'fuse.sshfs', 'hang');
    });
    after(async () => {
      for (const each of mounts) await each.dispose();
      execFileSync('umount', [at('tmp')]);
      await world.dispose();
    });

    const mount = async (name: string, type: string, how: Failure): Promise<FailingMount> => {
      const made = await FailingMount.at(world.base, at(name), type, how);
      mounts.push(made);
      return made;
    };
    const unmount = async (which: FailingMount): Promise<void> => {
      mounts.splice(mounts.indexOf(which), 1);
      await which.dispose();
    };
    const backUp = async (
      more = `never = ["${at('keep')}"]`,
      roots = [world.data],
    ): Promise<Result & { last: Last }> => {
      useTransport(world, transport, `roots = ${JSON.stringify(roots)}\n${more}`);
      return await world.backup();
    };
    type Last = Awaited<ReturnType<World['backup']>>['last'];
    const tree = ({ snapshot }: Last): string =>
      join(shelfOf(world, transport), 'snapshots', snapshot ?? '', 'tree', world.data);

    it('are stored as empty folders where they are left out, and not touched where they can hang', async () => {
      const [nas] = mounts;
      const before = nas?.requests() ?? 0;
      const { status, stdout, stderr, last } = await backUp();
      assert.equal(status, 0, stdout + stderr);
      assert.deepEqual(readdirSync(tree(last)).sort(), ['d', 'dead', 'f', 'gone', 'nas', 'own', 'tmp']);
      const { uid, gid } = world.client;
      for (const name of ['nas', 'gone']) {
        assert.deepEqual(readdirSync(join(tree(last), name)), []);
        assert.match(storedAs(join(tree(last), name)), new RegExp(`^40755 0,0 ${uid}:${gid}`));
      }
      assert.deepEqual(readdirSync(join(tree(last), 'tmp')), []);
      assert.match(storedAs(join(tree(last), 'tmp')), /^41777 0,0 0:0/);
      assert.equal(nas?.requests(), before);
    });

    itLong('are stored with the whole machine as the root too', async () => {
      useTransport(world, transport, 'roots = ["/"]\nexclude = ["/[!p]*", "/p[!r]*"]');
      const { status, stdout, stderr, last } = await world.backup();
      assert.equal(status, 0, stdout + stderr);
      const root = join(shelfOf(world, transport), 'snapshots', last.snapshot ?? '', 'tree');
      assert.deepEqual(readdirSync(root), ['proc']);
      assert.deepEqual(readdirSync(join(root, 'proc')), []);
      assert.match(storedAs(join(root, 'proc')), /^40555 0,0 0:0/);
    });

    it('that do not answer are named as missing, and the next run after that is full', async () => {
      const dead = await mount('dead', 'fuse.example', 'hang');
      const never = `never = ["${at('keep')}", "${at('dead/never')}"]`;
      const { status, stdout, last } = await backUp(never, [world.data, at('dead/root')]);
      assert.equal(status, 3, stdout);
      assert.deepEqual([...last.missing].sort(), [at('dead'), at('dead/root')]);
      assert.match(stdout, /"event":"warning".*does not answer/);
      assert.deepEqual(readdirSync(tree(last)).sort(), ['d', 'f', 'gone', 'nas', 'own', 'tmp']);
      assert.ok(existsSync(join(tree(last), 'd/g')));
      await unmount(dead);
      assert.equal((await backUp()).last.outcome, 'full');
    });

    it('that lets nobody look at them are named as missing in every run, beside a never or not', async () => {
      const own = await mount('own', 'fuse.example', 'own');
      const never = `never = ["${at('keep')}"]`;
      for (const more of some([never, ''], 2)) {
        const { status, stdout, last } = await backUp(more);
        assert.equal(status, 3, stdout);
        assert.deepEqual(last.missing, [at('own')]);
        assert.equal(existsSync(join(tree(last), 'keep')), more === '');
      }
      assert.equal((await backUp('exclude = ["own"]')).last.outcome, 'full');
      await unmount(own);
    });

    itLong('with a file that nobody may read are stored without it, beside a never too', async () => {
      const closed = await mount('own', 'fuse.example', 'closed');
      const { status, stdout, last } = await backUp(`never = ["${at('own/keep')}"]`);
      assert.equal(status, 3, stdout);
      assert.deepEqual(last.missing, [at('own/closed')]);
      await unmount(closed);
    });
  });
