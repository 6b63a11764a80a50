/** Doctor on the two machines of a World, and the findings that were not there at first. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Finding, State } from '../../src/doctor/finding.ts';
import { IS_LONG } from './long.ts';
import { type Party, World } from './world.ts';

const bad = (findings: Finding[]): Finding[] => findings.filter(each => each.state !== 'ok');

/** The findings that are not ok, each as `STATE CHECK`. */
export const lines = (findings: Finding[]): string[] =>
  bad(findings).map(each => `${each.state} ${each.check}`);

/** These depend on the machine that runs the tests: it may have no securityfs, and no list of its own. */
const OF_THE_MACHINE = ['unknown machine.kernel', 'critical client.never_list'];

/** A client and a host between which a backup works. */
export class Doctor {
  readonly world: World;
  /** The lines of the healthy machines: no launcher, no backup yet, no sshd of the system. */
  readonly usual = new Map<Party, string[]>();

  private constructor(world: World) {
    this.world = world;
  }

  static async make(): Promise<Doctor> {
    const doctor = new Doctor(await World.make());
    const { world } = doctor;
    writeFileSync(join(world.data, 'file'), 'content');
    for (const party of [world.client, world.host]) doctor.usual.set(party, lines(await doctor.look(party)));
    return doctor;
  }

  /** Runs doctor, and checks its exit status and that each finding that is not ok has a next step. */
  async look(party: Party): Promise<Finding[]> {
    const { world } = this;
    const config = party === world.client ? world.clientToml : world.hostToml;
    const args = ['doctor', '--json', '--config', config];
    const { status, stdout, stderr } = await world.start(party, world.binary, args).done;
    assert.equal(stderr, '');
    const findings = JSON.parse(stdout) as Finding[];
    const worst = findings.some(each => each.state === 'critical')
      ? 2
      : findings.some(each => each.state !== 'ok')
        ? 1
        : 0;
    assert.equal(status, worst);
    for (const each of findings) assert.equal(each.next === null, each.state === 'ok', each.check);
    return findings;
  }

  /** The findings that are wrong now and were not at first. */
  async fresh(party: Party): Promise<Finding[]> {
    const known = [...(this.usual.get(party) ?? []), ...OF_THE_MACHINE];
    return bad(await this.look(party)).filter(each => !known.includes(`${each.state} ${each.check}`));
  }

  /** Checks that exactly one thing is wrong now. @returns its next step */
  async only(party: Party, state: State, check: string, found: RegExp): Promise<string> {
    const findings = await this.fresh(party);
    assert.deepEqual(lines(findings), [`${state} ${check}`], JSON.stringify(findings, null, 2));
    assert.match(findings[0]?.found ?? '', found);
    return findings[0]?.next ?? '';
  }

  /** Runs a command that doctor named, as it is printed. */
  obey(party: Party | 'root', command: string): void {
    const account = party === 'root' ? {} : { uid: party.uid, gid: party.gid };
    const { status, stderr } = spawnSync('/bin/sh', ['-c', command], {
      ...account,
      cwd: '/',
      env: {
        PATH: `${dirname(this.world.binary)}:/usr/bin:/bin:/usr/sbin:/sbin`,
        HOME: party === 'root' ? '/root' : party.home,
      },
      encoding: 'utf8',
    });
    assert.equal(status, 0, `${command}\n${stderr}`);
  }

  /** Checks that the findings are those of the beginning, after the test has put things right. In `make test` the next case checks it. */
  async isAsBefore(party: Party): Promise<void> {
    if (IS_LONG) await this.isWell(party);
  }

  async isWell(party: Party): Promise<void> {
    assert.deepEqual(lines(await this.fresh(party)), []);
  }

  /** The text of the one finding about the client's transports. */
  async transports(): Promise<string> {
    const findings = await this.look(this.world.client);
    const [finding, ...more] = findings.filter(each => each.check === 'client.transport');
    assert.deepEqual([finding?.state, more], ['ok', []]);
    return finding?.found ?? '';
  }
}
