// Goal: what is mounted decides nothing for another user. A `never` is kept back below a root that is granted as a whole, where
// another mount shows it; the launcher looks at nothing that is left out; and a user's own file system cannot say who owns what.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parsePlaces } from '../../../src/client/never.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { FailingMount, NEEDS_FUSE } from '../../support/fuse.ts';
import { Jail, outcomeOf } from '../../support/jail.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

describe('the launcher and what is mounted', { skip: NEEDS_ROOT || NEEDS_FUSE || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  let granted: string;
  let srv: string;
  const bound: string[] = [];

  before(() => {
    jail = Jail.make();
    granted = jail.folder(join(jail.base, 'granted'));
    srv = join(jail.base, 'srv');
    for (const folder of [srv, join(srv, 'deep'), join(srv, 'deep/er')]) mkdirSync(folder, { mode: 0o755 });
    for (const name of ['secret', 'deep/secret', 'deep/er/secret', 'open'])
      writeFileSync(join(srv, name), name);
    for (const [from, to] of [
      [srv, 'share'],
      [join(srv, 'deep'), 'part'],
    ] as const) {
      mkdirSync(join(granted, to));
      execFileSync('mount', ['--bind', from, join(granted, to)]);
      bound.push(join(granted, to));
    }
  });
  after(() => {
    for (const place of bound) execFileSync('umount', [place]);
    jail.dispose();
  });

  async function read(run: string, path: string): Promise<string> {
    const input = `open\t${path}\tread\n`;
    return outcomeOf('open', await jail.start(jail.account, jail.launch, ['send', run], { input }));
  }

  for (const list of ['root', 'account'] as const)
    it(`a never of the ${list}'s list is kept back in each mount that shows it`, async () => {
      const nevers = [join(srv, 'secret'), join(srv, 'deep')];
      writeFileSync(jail.never, list === 'root' ? `${nevers.join('\n')}\n` : '');
      const own = list === 'root' ? [] : nevers.map(each => `never ${each}`);
      const run = jail.run(list === 'root' ? 'run-AAAAAA' : 'run-BBBBBB', [`root ${granted}`, ...own]);
      assert.equal(await read(run, join(granted, 'share/open')), 'works');
      for (const path of [
        'share/secret',
        'share/deep/secret',
        'share/deep/er/secret',
        'part/secret',
        'part/er/secret',
      ])
        assert.equal(await read(run, join(granted, path)), 'EACCES', path);
    });

  it('looks at no root on a file system that is left out', async () => {
    writeFileSync(jail.never, '');
    const place = join(jail.base, 'nas');
    mkdirSync(place);
    const nas = await FailingMount.at(jail.base, place, 'fuse.sshfs', 'count');
    try {
      const before = nas.requests();
      const records = [
        `mount ${place}`,
        `root ${granted}`,
        `root ${place}/closed`,
        `library ${place}/closed`,
      ];
      const run = jail.run('run-CCCCCC', records);
      const { status, stderr } = await jail.start(jail.account, jail.launch, ['never', run]);
      assert.equal(status, 0, stderr);
      assert.equal(await read(run, join(granted, 'share/open')), 'works');
      assert.equal(nas.requests(), before);
      assert.equal(await read(run, join(place, 'closed')), 'EACCES');
    } finally {
      await nas.dispose();
    }
  });

  it("takes a user's own file system for that user's, whoever owns its files as it says", async () => {
    const place = join(jail.base, 'own');
    mkdirSync(place);
    const own = await FailingMount.at(jail.base, place, 'fuse.example', 'foreign');
    try {
      writeFileSync(jail.never, `${place}/closed\n`);
      const run = jail.run('run-DDDDDD', [`root ${granted}`]);
      const { status, stdout, stderr } = await jail.start(jail.account, jail.launch, ['never', run]);
      assert.equal(status, 0, stderr);
      const never = `${place}/closed`;
      assert.deepEqual(parsePlaces(stdout)?.places, [{ name: never, place: never, through: place }]);
    } finally {
      await own.dispose();
    }
  });
});
