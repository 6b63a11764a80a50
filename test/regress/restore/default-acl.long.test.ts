// Goal: a restore into a folder with a default ACL gives each entry the attributes of the snapshot. Nothing is inherited from the
// folder: neither the ACL nor the rights that it takes from the mode. It is so for root and for an ordinary account, in an empty
// folder, a new one, and one with other files.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, type ManifestOptions, manifest } from '../../support/manifest.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, type Party, World } from '../../support/world.ts';

const DEFAULT_ACL = 'd:u::rwx,d:u:12345:rwx,d:g::rwx,d:g:54321:rwx,d:m::rwx,d:o::rwx';

describe('a restore into a folder with a default ACL', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** A folder of an account, with the ACL. */
  const place = (name: string, party: Party | 'root'): string => {
    const path = join(party === 'root' ? world.base : world.host.home, name);
    mkdirSync(path, { mode: 0o700 });
    if (party !== 'root') world.own(party, path);
    execFileSync('setfacl', ['-m', DEFAULT_ACL, path]);
    return path;
  };
  const assertRestored = (to: string, options: ManifestOptions = {}): void => {
    const differences = diffManifests(manifest(world.data, options), manifest(join(to, world.data), options));
    assert.deepEqual(differences, []);
    // The folders above it too.
    for (let above = join(world.data, '..'); above !== '/'; above = join(above, '..'))
      assert.equal(
        execFileSync('getfacl', ['-pcn', join(to, above)], { encoding: 'utf8' }),
        execFileSync('getfacl', ['-pcn', above], { encoding: 'utf8' }),
        above,
      );
  };

  it('that is empty has the attributes of the snapshot', async () => {
    const to = place('empty', 'root');
    const { status, stderr } = await world.restore(to);
    assert.equal(status, 0, stderr);
    assertRestored(to);
  });

  it('or that is made in such a folder', async () => {
    const to = join(place('above', 'root'), 'new');
    const { status, stderr } = await world.restore(to);
    assert.equal(status, 0, stderr);
    assertRestored(to);
    const acl = execFileSync('getfacl', ['-pcn', to], { encoding: 'utf8' });
    assert.equal(acl, 'user::rwx\ngroup::---\nother::---\n\n', 'DIR itself is closed');
  });

  it("gets the ACL of the client's top, where there is one", async () => {
    // As if the client had sent its whole tree.
    const folder = join(world.shelf, 'snapshots', world.snapshots().at(-1) ?? '');
    const [record, tree] = [join(folder, 'snapshot.json'), join(folder, 'tree')];
    const before = readFileSync(record, 'utf8');
    world.write(world.host, record, before.replace(JSON.stringify(world.data), '"/"'));
    execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', '40750 0,0 0:0', tree]);
    const to = place('top', 'root');
    const { stdout, stderr } = await world.restore(to);
    world.write(world.host, record, before);
    execFileSync('setfattr', ['-x', 'user.rsync.%stat', tree]);
    // Not its status: the manifest does not have the attribute that was set by hand.
    assert.match(stdout, /^restored \d+ files/, stderr);
    const acl = execFileSync('getfacl', ['-pcn', to], { encoding: 'utf8' });
    assert.equal(acl, 'user::rwx\ngroup::r-x\nother::---\n\n');
  });

  it('or that has other files', async () => {
    const to = place('filled', 'root');
    writeFileSync(join(to, 'mine'), 'mine');
    // One of the folders is there already, and has inherited the ACL.
    mkdirSync(join(to, 'tmp'));
    const result = await world.restore(to, ['--force']);
    if (isRefusedToOldRsync(result)) return;
    assert.equal(result.status, 0, result.stderr);
    assertRestored(to);
  });

  it('as an ordinary account, but for what only root may set', async () => {
    const to = place('own', world.host);
    const { status, stderr } = await world.restore(to, [], world.host);
    assert.equal(status, 3, stderr); // devices
    const options: ManifestOptions = {
      without: ['uid', 'gid', 'type', 'rdev', 'xattr:security.', 'mode', 'holes'],
    };
    const [wanted, found] = [manifest(world.data, options), manifest(join(to, world.data), options)];
    for (const name of wanted.keys()) if (!found.has(name)) wanted.delete(name);
    assert.deepEqual(diffManifests(wanted, found), []);
  });
});
