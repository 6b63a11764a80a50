// Goal: `doctor` finds nothing critical where a backup works, and changes nothing itself; as text, for root and without a config it says
// what it looks at.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Doctor, lines } from '../../support/doctor.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, putExecutable, type World } from '../../support/world.ts';

describe('doctor, where a backup works', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let doctor: Doctor;
  let world: World;
  let client: Party;
  let host: Party;
  before(async () => {
    doctor = await Doctor.make();
    ({ world } = doctor);
    ({ client, host } = world);
    putExecutable(world.binary, true); // other test files change the number of links of the common one
  });
  after(async () => {
    await world.dispose();
  });

  it('finds nothing critical where a backup works', async () => {
    assert.deepEqual(doctor.usual.get(client), ['warning client.confinement', 'unknown client.clock']);
    // On the machine that runs this an sshd may be there or not.
    assert.deepEqual(
      doctor.usual.get(host)?.filter(each => each !== 'warning host.sshd'),
      ['warning host.confinement'],
    );
  });

  it('changes nothing', async () => {
    const tree = (): string =>
      execFileSync('find', [world.base, '-printf', '%P %m %U %s %n\\n'], { encoding: 'utf8' })
        .split('\n')
        .sort()
        .join('\n');
    const before = tree();
    for (const party of [client, host]) await doctor.look(party);
    assert.equal(tree(), before);
    assert.deepEqual(world.leftovers(), []);
  });

  it('as text, names what it looked at, why it matters and what to do', async () => {
    const { status, stdout } = await world.run(client, ['doctor', '--config', world.clientToml]);
    assert.equal(status, 1);
    assert.match(stdout, /^machine\n {2}ok +account: looked at as "dbtest-client-\w+"/);
    assert.match(stdout, /\n {2}warning +confinement: none: .*\n {12}why: .*\n {12}next: make install/);
    assert.match(stdout, /\n0 critical, 1 warning, 1 unknown, \d+ ok\n$/);
    assert.match(stdout, /^[\x20-\x7e\n]*$/);
  });

  it('for root, asks the account whose config it is', async () => {
    const { status, stdout } = await world.run('root', ['doctor', '--json', '--config', world.clientToml]);
    assert.equal(status, 1);
    const findings = JSON.parse(stdout) as Finding[];
    assert.match(
      findings[0]?.found ?? '',
      matching`^looked at as "dbtest-client-\w+" .*${says('on-behalf-of-root')}$`,
    );
    assert.deepEqual(lines(findings), doctor.usual.get(client));
  });

  it('without a config, says how to begin; with one that could be either, asks which', async () => {
    const nowhere = { environment: { HOME: join(world.base, 'nowhere') } };
    const { status, stdout } = await world.run(client, ['doctor', '--json'], nowhere);
    assert.equal(status, 1);
    assert.deepEqual(lines(JSON.parse(stdout) as Finding[]), [
      'warning machine.account', // HOME is not the account's
      'warning machine.config',
    ]);
    const asked = await world.run(client, ['doctor', '--json', '--client'], nowhere);
    assert.equal(asked.status, 2);
    assert.deepEqual(lines(JSON.parse(asked.stdout) as Finding[]), [
      'warning machine.account',
      'critical client.config',
    ]);
    const either = await world.run(client, ['doctor', '--config', '/x/y.toml']);
    assert.equal(either.status, 2);
    assert.match(either.stderr, /^dialback: Cannot run "doctor": .*\nnext: add --client or --host\n$/);
  });
});
