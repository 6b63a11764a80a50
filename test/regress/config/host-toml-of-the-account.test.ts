// Goal: root looks and restores without --config where the service account has a host.toml, as doctor does; and `~/` in that file is
// that account's home, not root's.
import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const PASSWD = '/etc/passwd';
const IS_TAKEN = /^dialback:/m.test(readFileSync(PASSWD, 'utf8')) && 'the account dialback is there already';

describe("root and the account's host.toml", { skip: NEEDS_ROOT || IS_TAKEN }, () => {
  let world: World;
  let passwd: string;

  before(async () => {
    world = await World.make();
    const { host } = world;
    world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
    const folder = join(host.home, '.config/dialback');
    mkdirSync(folder, { recursive: true });
    world.own(host, join(host.home, '.config'));
    world.own(host, folder);
    world.write(host, join(folder, 'host.toml'), 'store = "~/the store"\nsyslog = false\n');
    passwd = readFileSync(PASSWD, 'utf8');
    appendFileSync(PASSWD, `dialback:x:${host.uid}:${host.gid}::${host.home}:/bin/sh\n`);
  });
  after(async () => {
    writeFileSync(PASSWD, passwd);
    await world.dispose();
  });

  it('is found by commands that read', async () => {
    for (const words of [
      ['list'],
      ['status'],
      ['ls', world.name, world.data],
      ['cat', world.name, join(world.data, 'file')],
      ['restore', world.name, '--to', join(world.base, 'restored')],
    ]) {
      const { status, stdout, stderr } = await world.run('root', words);
      assert.equal(status, 0, `${words.join(' ')}: ${stderr}`);
      assert.notEqual(stdout, '');
    }
    assert.equal(readFileSync(join(world.base, 'restored', world.data, 'file'), 'utf8'), 'content');
  });

  it('is named by nobody else', async () => {
    const { status, stderr } = await world.run(world.client, ['list']);
    assert.equal(status, 2);
    assert.ok(!stderr.includes(world.host.home), stderr);
  });

  it('says who may write where root may not', async () => {
    const { status, stderr } = await world.run('root', ['verify']);
    assert.equal(status, 2);
    assert.match(stderr, /\nnext: runuser --pty -u "\$\(id -nu \d+\)" -- dialback verify/);
  });

  it("is read with the account's home where it is named, too", async () => {
    const named = join(world.host.home, 'named.toml');
    copyFileSync(join(world.host.home, '.config/dialback/host.toml'), named);
    world.own(world.host, named);
    const { status, stderr } = await world.run('root', ['list', '--config', named]);
    assert.equal(status, 0, stderr);
  });
});
