// Goal: every command refuses a store of a newer version with one line and a next step, and changes nothing in it. So does a host that a
// client calls. A store.json without a version that is known is refused too.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('a store of a newer version', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
  });
  after(async () => {
    await world.dispose();
  });

  const host = async (...words: string[]): Promise<Result> =>
    await world.run(world.host, [...words, '--config', world.hostToml]);

  function setVersion(content: string): void {
    world.write(world.host, join(world.store, 'store.json'), content);
  }

  /** Inodes, modes and all times of the store but those of reading, and the content of its files. */
  function state(): string {
    const format = '%P %i %m %U:%G %s %T@ %C@\\n';
    return execFileSync('find', [world.store, '-printf', format])
      .toString('latin1')
      .split('\n')
      .sort()
      .join('\n');
  }

  it('is refused by each command, and stays as it is', async () => {
    setVersion('{"version":2}\n');
    const [had, keys] = [state(), readFileSync(world.authorizedKeys, 'utf8')];
    const { name } = world;
    for (const words of [
      ['list'],
      ['ls', name],
      ['find', name, 'x'],
      ['restore', name, '--to', join(world.host.home, 'back')],
      ['export', name],
      ['status'],
      ['metrics'],
      ['prune'],
      ['pin', `${name}@2026-11-23T00-12-00Z`],
      ['verify'],
      ['drill'],
      ['offer', name],
      ['copy-store', join(world.host.home, 'copy')],
      ['adopt', name, world.data, '--at', '/', '--time', '2026-01-01'],
      ['unenroll', name],
      ['retire', name],
      ['rename', name, 'elm'],
      ['unpin', `${name}@2026-11-23T00-12-00Z`],
      ['remove', `${name}@2026-11-23T00-12-00Z`, '--dry-run'],
      ['remove-client', name, '--dry-run'],
      ['explain', name],
      ['report', '-o', join(world.host.home, 'report.html')],
    ]) {
      const keyFile = /^(un|re)(enroll|tire|name)$/.test(words[0] ?? '')
        ? ['--authorized-keys', world.authorizedKeys]
        : [];
      const { status, stderr } = await host(...words, ...keyFile);
      assert.equal(status, 10, `${words.join(' ')}: ${stderr}`);
      assert.match(
        stderr,
        matching`${says('its-version-is-and-this', '2', '1')}\nnext: install`,
        words.join(' '),
      );
    }
    world.keygen(world.client, join(world.client.home, '.ssh/oak'));
    const key = readFileSync(join(world.client.home, '.ssh/oak.pub'), 'utf8');
    assert.equal((await world.enroll('oak', key)).status, 10);
    assert.equal(state(), had);
    assert.equal(readFileSync(world.authorizedKeys, 'utf8'), keys);
  });

  it('is refused to a client that calls', async () => {
    const had = state();
    const { status, last } = await world.backup();
    assert.equal(status, 10, JSON.stringify(last));
    assert.equal(state(), had);
  });

  it('a version of another form is refused too', async () => {
    for (const content of ['{}', '{"version":"1"}', '{"version":0}', '{"version":null}', 'null', '']) {
      setVersion(content);
      assert.equal((await host('list')).status, 10, content);
    }
    setVersion('{"version":1,"later":"key"}');
    assert.equal((await host('list')).status, 0);
  });
});
