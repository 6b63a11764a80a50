// Goal: where a program is missing, the next step names the package that brings it, and with it the same command goes well.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hasProgram, packageOf, programPath } from '../../../src/os/programs.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Follower, hide, packageOwning } from '../../support/steps.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a next step about a package', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let follower: Follower;

  before(async () => {
    world = await World.make();
    follower = new Follower(world);
    world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  const LS = 'dialback ls acorn@latest /';
  const PROGRAMS: [program: string, command: string][] = [
    ['find', LS],
    ['getfattr', LS],
    ['setpriv', LS],
    ['xargs', LS],
    ['flock', 'dialback prune'],
    ['rsync', 'dialback backup'],
    ['ssh', 'dialback backup'],
    ['ssh-keygen', 'dialback backup'],
  ];
  for (const [program, command] of PROGRAMS) {
    it(`of ${program} names the one that has it`, async () => {
      const path = programPath(program);
      const show = hide(path);
      const party = command.endsWith(' backup') ? world.client : world.host;
      let step: string;
      try {
        step = await follower.refused(party, command);
      } finally {
        show();
      }
      assert.equal(step, `apt-get install ${packageOwning(path)}`);
      await follower.follow(party, command);
      await world.settled();
    });
  }

  it('of any other program names the one that has it', () => {
    const others = ['sshd', 'ssh-add', 'ssh-agent', 'choom', 'getcap', 'ionice'];
    for (const program of others) {
      assert.ok(hasProgram(program) && existsSync(programPath(program)), program);
      assert.equal(packageOf(program), packageOwning(programPath(program)), program);
    }
  });
});
