// Goal: a store that was copied without its extended attributes is noticed by status, doctor, verify and restore: all owners, modes,
// links and devices of the backups are in them. The next step that they name repairs it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('a store that was copied without its attributes', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let copy: string;
  let toml: string;
  let number = 0;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content', 0o640);
    symlinkSync('file', join(world.data, 'link'));
    mkdirSync(join(world.data, 'folder'), { mode: 0o750 });
    world.own(world.client, join(world.data, 'folder'));
    assert.equal((await world.backup()).status, 0);
    assert.equal((await world.run(world.host, ['verify', '--config', world.hostToml])).status, 0);
    copy = join(world.host.home, 'the copy');
    toml = join(world.host.home, 'copy.toml');
    world.write(world.host, toml, `store = "${copy}"\nsyslog = false\n`);
    execFileSync('cp', ['-r', '--preserve=mode,ownership,timestamps,links', world.store, copy]);
  });
  after(async () => {
    await world.dispose();
  });

  const LOST = says('have-lost-their-extended-attributes');
  const ask = async (party: 'root' | 'host', ...words: string[]): Promise<Result> =>
    await world.run(party === 'root' ? 'root' : world.host, [...words, '--config', toml]);
  const doctor = async (): Promise<{ state: string; found: string; next: string }> => {
    const { stdout } = await ask('host', 'doctor', '--host', '--json');
    const all = JSON.parse(stdout) as { check: string; state: string; found: string; next: string }[];
    const found = all.find(each => each.check === 'host.store_attributes');
    assert.ok(found, stdout);
    return found;
  };
  const restore = async (): Promise<Result & { to: string }> => {
    number += 1;
    const to = join(world.base, `restored ${number}`);
    return { ...(await ask('root', 'restore', world.name, '--to', to)), to };
  };

  it('is critical for status', async () => {
    const { status, stdout } = await ask('host', 'status');
    assert.equal(status, 2, stdout);
    assert.match(stdout, LOST);
  });

  it('and for doctor', async () => {
    const { state, found } = await doctor();
    assert.equal(state, 'critical');
    assert.match(found, LOST);
  });

  it('is found by verify', async () => {
    const { status, stderr } = await ask('host', 'verify');
    assert.equal(status, 1);
    assert.match(stderr, LOST);
  });

  it('is not restored by root as if all were well, and --dry-run says it too', async () => {
    const { status, stderr, to } = await restore();
    assert.equal(status, 3, stderr);
    assert.match(stderr, LOST);
    assert.match(stderr, /link: other attributes/);
    assert.ok(lstatSync(join(to, world.data, 'link')).isFile());
    const dry = await ask('root', 'restore', world.name, '--dry-run', '--to', join(world.base, 'dry'));
    assert.equal(dry.status, 3);
    assert.match(dry.stderr, LOST);
  });

  it('is not exported as if all were well', async () => {
    const { status, stderr } = await ask('host', 'export', world.name);
    assert.equal(status, 3, stderr);
    assert.match(stderr, LOST);
  });

  it('is repaired by the next step that all of them name', async () => {
    const { next } = await doctor();
    const command = /rsync -\S+ --numeric-ids OLD\/ NEW\/$/.exec(next)?.[0] ?? '';
    for (const { stderr } of [await ask('host', 'verify'), await restore()])
      assert.ok(stderr.includes(command), stderr);
    const quote = (path: string): string => `'${path}/'`;
    execFileSync('/bin/sh', ['-c', command.replace('OLD/', quote(world.store)).replace('NEW/', quote(copy))]);
    rmSync(join(copy, 'clients', world.name, 'verify.sqlite'), { force: true });
    for (const [party, ...words] of [
      ['host', 'verify'],
      ['host', 'status'],
    ] as const) {
      const { status, stdout, stderr } = await ask(party, ...words);
      assert.equal(status, 0, `${words.join()}: ${stdout}${stderr}`);
    }
    assert.equal((await doctor()).state, 'ok');
    const { status, stderr, to } = await restore();
    assert.equal(status, 0, stderr);
    assert.ok(lstatSync(join(to, world.data, 'link')).isSymbolicLink());
  });
});
