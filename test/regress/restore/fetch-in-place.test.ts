// Goal: `fetch --in-place` puts files back where they were, keeps what it replaces, and deletes nothing else; as the owner, as root,
// and below the mount point of a rescue system. It refuses what the running system uses.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { fetchFiles, offer, offerState } from '../../support/fetching.ts';
import { itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('a fetch in place', { skip: NEEDS_ROOT }, () => {
  let world: World;
  const at = (name: string): string => join(world.data, name);
  before(async () => {
    world = await World.make({ launcher: true });
    for (const name of ['same', 'changed', 'lost'])
      world.write(world.client, at(name), `the ${name} one`, 0o640);
    mkdirSync(at('folder'));
    world.own(world.client, at('folder'));
    world.write(world.client, at('folder/inner'), 'inner');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** The same size and time: only the content tells that it is another file. */
  const damage = (): void => {
    const { mtimeMs } = lstatSync(at('changed'));
    writeFileSync(at('changed'), 'the CHANGED one');
    execFileSync('touch', ['-d', `@${mtimeMs / 1000}`, at('changed')]);
    rmSync(at('lost'));
    rmSync(at('folder'), { recursive: true });
    world.write(world.client, at('folder'), 'a file, and no folder');
    world.write(world.client, at('new'), 'made since');
  };
  const replacedIn = (stdout: string): string =>
    says('replaced-files-are-in', /([^"]*)/).exec(stdout)?.[1] ?? '';
  const check = ({ status, stdout, stderr }: Result): void => {
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(at('changed'), 'utf8'), 'the changed one');
    assert.equal(readFileSync(at('lost'), 'utf8'), 'the lost one');
    assert.equal(readFileSync(at('folder/inner'), 'utf8'), 'inner');
    assert.equal(readFileSync(at('new'), 'utf8'), 'made since');
    assert.equal(lstatSync(at('lost')).uid, world.client.uid);
    const kept = replacedIn(stdout);
    assert.equal(readFileSync(join(kept, world.data, 'changed'), 'utf8'), 'the CHANGED one');
    assert.equal(readFileSync(join(kept, world.data, 'folder'), 'utf8'), 'a file, and no folder');
    assert.ok(!existsSync(join(kept, world.data, 'same')));
  };

  itShort('by the owner', async () => {
    damage();
    const { code } = await offer(world);
    const result = await fetchFiles(world, code, ['--in-place']);
    check(result);
    assert.ok(replacedIn(result.stdout).startsWith(`${world.clientState}/replaced/`));
  });

  itLong('by root', async () => {
    damage();
    const { code } = await offer(world);
    check(await fetchFiles(world, code, ['--in-place'], 'root'));
  });

  itLong('of one file leaves its folder alone', async () => {
    const before = manifest(world.data);
    writeFileSync(at('lost'), 'damaged');
    const { code } = await offer(world, [at('lost')]);
    const { status, stderr } = await fetchFiles(world, code, ['--in-place'], 'root');
    assert.equal(status, 0, stderr);
    assert.deepEqual(
      diffManifests(before, manifest(world.data)).filter(line => !line.startsWith('.: mtimeNs')),
      [],
    );
  });

  itShort('shows what is offered with --dry-run, and writes nothing', async () => {
    rmSync(at('lost'));
    const { code } = await offer(world, [at('lost')]);
    const { status, stdout } = await fetchFiles(world, code, ['--in-place', '--dry-run']);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^${at('lost')}$`, 'm'));
    assert.match(stdout, /^offered: 1 file, 12 B, of /m);
    assert.ok(!existsSync(at('lost')));
  });

  itLong('below the mount point of a rescue system, as the disk needs it', async () => {
    const disk = join(world.base, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'disk', disk]);
    try {
      const { code } = await offer(world);
      mkdirSync(join(disk, world.client.home), { recursive: true });
      writeFileSync(join(disk, 'other'), 'on the disk');
      const refused = await fetchFiles(world, code, ['--to', disk], 'root');
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, says('fetch-to-full-folder'));
      const { status, stderr } = await fetchFiles(world, code, ['--in-place', '--to', disk], 'root');
      assert.equal(status, 0, stderr);
      assert.equal(readFileSync(join(disk, world.data, 'changed'), 'utf8'), 'the changed one');
      assert.equal(readFileSync(join(disk, 'other'), 'utf8'), 'on the disk');
    } finally {
      execFileSync('umount', [disk]);
    }
    const plain = join(world.base, 'plain');
    mkdirSync(plain);
    const { code } = await offer(world);
    const { status, stderr } = await fetchFiles(world, code, ['--in-place', '--to', plain], 'root');
    assert.equal(status, 2);
    assert.match(stderr, says('not-a-mount-point'));
  });

  itShort('is refused for a folder that the running system uses', async () => {
    // A client that has backed up a file of /usr: the store has it, whoever owns it here.
    const own = '/usr/share/dialback test';
    mkdirSync(own, { recursive: true });
    chownSync(own, world.client.uid, world.client.gid);
    try {
      world.write(world.client, join(own, 'file'), 'content', 0o644);
      world.configure({ scope: `roots = ["${own}"]` });
      assert.equal((await world.backup()).status, 0);
      const { code } = await offer(world);
      const { status, stderr } = await fetchFiles(world, code, ['--in-place'], 'root');
      assert.equal(status, 12);
      assert.match(stderr, says('running-system-uses-it'));
      assert.deepEqual(readdirSync(own), ['file']);
    } finally {
      rmSync(own, { recursive: true });
      world.configure();
    }
  });

  itLong('is refused for what is in the top folder, until the folder is there', async () => {
    const top = `/dialback test ${process.pid}`;
    const make = (): void => {
      mkdirSync(top);
      world.own(world.client, top);
    };
    make();
    try {
      world.write(world.client, join(top, 'file'), 'content');
      world.configure({ scope: `roots = ["${top}"]` });
      assert.equal((await world.backup()).status, 0);
      rmSync(top, { recursive: true });
      const { code } = await offer(world);
      const refused = await fetchFiles(world, code, ['--in-place'], 'root');
      assert.equal(refused.status, 12);
      assert.match(refused.stderr, says('would-write-into-itself'));
      assert.ok(!existsSync(top));
      make();
      const { status, stderr } = await fetchFiles(world, code, ['--in-place'], 'root');
      assert.equal(status, 0, stderr);
      assert.equal(readFileSync(join(top, 'file'), 'utf8'), 'content');
    } finally {
      rmSync(top, { recursive: true, force: true });
      world.configure();
    }
  });

  itLong('follows no link out of the disk of a rescue system', async () => {
    const [disk, elsewhere] = [join(world.base, 'linked disk'), join(world.base, 'elsewhere')];
    mkdirSync(disk);
    mkdirSync(elsewhere);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'disk', disk]);
    try {
      const { code } = await offer(world, [`${world.name}@${world.snapshots()[0]}`, at('lost')]);
      mkdirSync(join(disk, world.client.home), { recursive: true });
      symlinkSync(elsewhere, join(disk, world.data));
      const { status, stderr } = await fetchFiles(world, code, ['--in-place', '--to', disk], 'root');
      assert.equal(status, 12, stderr);
      assert.match(stderr, says('folder-above-is-a-link'));
      assert.deepEqual(readdirSync(elsewhere), []);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  itShort('is refused outside of the roots, and behind a link above them; the offer stays open', async () => {
    const { id, code } = await offer(world, [`${world.name}@${world.snapshots()[0]}`, at('lost')]);
    const elsewhere = join(world.client.home, 'elsewhere');
    try {
      world.configure({ scope: `roots = ["${world.client.home}/other"]` });
      const outside = await fetchFiles(world, code, ['--in-place'], 'root');
      assert.equal(outside.status, 12, outside.stderr);
      assert.match(outside.stderr, says('not-below-a-root-of-client-toml'));
      world.configure();
      renameSync(world.data, elsewhere);
      symlinkSync(elsewhere, world.data);
      for (const party of ['root', world.client] as const) {
        const behind = await fetchFiles(world, code, ['--in-place'], party);
        assert.equal(behind.status, 12, behind.stderr);
        assert.match(behind.stderr, says('folder-above-is-a-link'));
      }
    } finally {
      if (existsSync(elsewhere)) {
        rmSync(world.data, { force: true });
        renameSync(elsewhere, world.data);
      }
      world.configure();
    }
    assert.equal(await offerState(world, id), 'open');
    assert.deepEqual(
      readdirSync(world.clientState).filter(name => name.startsWith('fetch-')),
      [],
    );
    assert.equal((await fetchFiles(world, code, ['--in-place'])).status, 0);
  });
});
