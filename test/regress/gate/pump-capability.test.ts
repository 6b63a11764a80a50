// Goal: `jail pump`, which only copies bytes, has no capability, also where it is started outside of a jail.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Jail } from '../../support/jail.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

describe('jail pump', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  before(() => {
    jail = Jail.make();
  });
  after(() => jail.dispose());

  it('keeps no capability', async () => {
    const { account, jailPath } = jail;
    const child = spawn(jailPath, ['pump', '30'], {
      ...account,
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    const ended = new Promise(resolve => child.once('exit', resolve));
    const children = (): string[] =>
      readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1').split(' ').filter(Boolean);
    try {
      await until('it is at work, in both ways', () => children().length === 1);
      for (const pid of [String(child.pid), ...children()]) {
        const status = readFileSync(`/proc/${pid}/status`, 'latin1');
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
          assert.match(status, new RegExp(`^${set}:\\t0{16}$`, 'm'));
      }
    } finally {
      child.kill('SIGKILL');
      for (const each of child.stdio) if (each && 'destroy' in each) each.destroy();
      await ended;
    }
  });
});
