// Goal: the commands of docs/recover.md that use nothing but rsync give back a tree of every inode type as it was, from a mounted store
// and from the host over ssh.
import assert from 'node:assert/strict';
import { appendFileSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { commandsOf } from '../../support/document.ts';
import { itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../../docs/recover.md'), 'utf8');

describe('a recovery without dialback', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** Runs the rsync command of a part of the document as root. @returns the folder that it filled */
  async function recover(part: string, environment: Record<string, string>): Promise<string> {
    const [command, ...more] = commandsOf(DOCUMENT, part).filter(each => each.command.startsWith('rsync '));
    assert.ok(command && more.length === 0, `one rsync command in "${part}"`);
    assert.equal(command.user, 'root');
    const to = join(world.base, part.replaceAll(' ', '-'));
    mkdirSync(to);
    const inShell = (path: string): string => path.replaceAll(' ', '\\ ');
    const [snapshot = ''] = world.snapshots();
    const words = command.command
      .replaceAll(/laptop\/snapshots\/2026-[^/]+Z/g, `${world.name}/snapshots/${snapshot}`)
      .replaceAll('dialback@backup.example.org', `${world.host.login}@127.0.0.1`)
      .replaceAll(/\/media\/store|\/var\/lib\/dialback\/dialback-store/g, inShell(world.store))
      .replace(/\/mnt\/$/, `${inShell(to)}/`);
    assert.ok(words.includes(inShell(to)), words);
    const { status, stderr } = await world.start('root', '/bin/sh', ['-c', words], { environment }).done;
    assert.equal(status, 0, `${words}\n${stderr}`);
    return to;
  }

  itShort('is whole from a mounted store', async () => {
    const to = await recover('From a disk with the store', {});
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  });

  itLong('is whole from the host over ssh', async () => {
    const key = join(world.host.home, 'key');
    world.keygen(world.host, key);
    chownSync(key, 0, 0);
    appendFileSync(world.authorizedKeys, readFileSync(`${key}.pub`));
    const known = join(world.client.home, '.ssh/known_hosts');
    const wrapper = join(world.base, 'ssh');
    const script = `#!/bin/sh\nexec ssh -F none -p ${world.port} -i '${key}' -o UserKnownHostsFile='"${known}"' "$@"\n`;
    world.write(world.host, wrapper, script, 0o755);
    const to = await recover('From the backup host over ssh', { RSYNC_RSH: `'${wrapper}'` });
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  });
});
