import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { checkCapability, checkInherited } from '../../src/doctor/capability.ts';
import { type Finding, type State, Topic } from '../../src/doctor/finding.ts';
import { checkFolders, checkJailProgram, checkLauncher } from '../../src/doctor/launcher.ts';
import { parseCapabilityXattr, parseGetcap } from '../../src/os/capability-text.ts';
import { parseMountTable } from '../../src/os/mounts.ts';
import { check, states } from '../support/findings.ts';
import { scratch } from '../support/scratch.ts';
import { matching, says, wording } from '../support/wording.ts';

const TOPIC = new Topic('machine.test', 'it matters');

type LauncherFacts = Parameters<typeof checkLauncher>[0];
type ProgramFacts = Parameters<typeof checkJailProgram>[0];

describe('checkLauncher()', () => {
  const [mount] = parseMountTable('1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n');
  const [nosuid] = parseMountTable('1 0 8:1 / /opt rw,nosuid - ext4 /dev/sda1 rw\n');
  const good: LauncherFacts = {
    path: '/usr/local/libexec/dialback/launch',
    file: { uid: 0, gid: 990, mode: 0o750, isPlain: true },
    group: 'dialback',
    others: [],
    primary: [],
    capability: 'cap_dac_read_search=ep',
    mount,
    mayRun: true,
    subject: 'dialback',
  };
  const bad = (change: Partial<LauncherFacts>): Finding[] =>
    checkLauncher({ ...good, ...change }).filter(each => each.state !== 'ok');
  const mode = (bits: number) => ({ file: { uid: 0, gid: 990, mode: bits, isPlain: true } });

  it('is content with what `make install` lays down', () => {
    assert.deepEqual(bad({}), []);
    assert.deepEqual(bad(mode(0o550)), []);
    for (const each of checkLauncher(good)) check(each, 'ok');
  });

  const cases: [what: string, change: Partial<LauncherFacts>, check: string, state: State, next: RegExp][] = [
    ['is not there', { file: undefined }, 'launcher.file', 'critical', /^make install/],
    [
      "is not root's",
      { file: { uid: 5, gid: 990, mode: 0o750, isPlain: true } },
      'launcher.file',
      'critical',
      /^chown root '.*launch' && setcap cap_dac_read_search=ep '.*launch'$/,
    ],
    [
      'is a folder',
      { file: { uid: 0, gid: 0, mode: 0o750, isPlain: false } },
      'launcher.file',
      'critical',
      /./,
    ],
    ['can be written by its group', mode(0o770), 'launcher.file', 'critical', /^chmod 0750/],
    ['can be written by all', mode(0o752), 'launcher.file', 'critical', /^chmod 0750/],
    ['is setuid', mode(0o4750), 'launcher.file', 'critical', /^chmod 0750/],
    ['is setgid', mode(0o2750), 'launcher.file', 'critical', /^chmod 0750/],
    ['can be run by all', mode(0o755), 'launcher.file', 'warning', /^chmod 0750/],
    [
      'has others in its group',
      { others: ['anna', 'bob'] },
      'launcher.group',
      'warning',
      /^gpasswd --delete anna dialback && gpasswd --delete bob dialback$/,
    ],
    [
      'has one in its group whose first group it is',
      { others: ['anna'], primary: ['anna'] },
      'launcher.group',
      'warning',
      /^groupadd --force --system anna && usermod --gid anna anna$/,
    ],
    ['may not be run', { mayRun: false }, 'launcher.run', 'critical', /runuser --pty -u dialback/],
    [
      'has no capability',
      { capability: '' },
      'launcher.capability',
      'critical',
      /^setcap cap_dac_read_search=ep/,
    ],
    ['has less', { capability: 'cap_dac_read_search=p' }, 'launcher.capability', 'critical', /^setcap/],
    [
      'has more',
      { capability: 'cap_chown,cap_dac_read_search=ep' },
      'launcher.capability',
      'critical',
      /^setcap/,
    ],
    ['cannot be looked at', { capability: undefined }, 'launcher.capability', 'unknown', /libcap2-bin/],
    ['is on a nosuid mount', { mount: nosuid }, 'launcher.mount', 'critical', /remount,suid '\/opt'/],
    ['is on no known mount', { mount: undefined }, 'launcher.mount', 'unknown', /^mount -t proc/],
  ];
  for (const [what, change, name, state, next] of cases)
    it(`says "${name}" alone when it ${what}`, () => {
      const [finding, ...more] = bad(change);
      assert.deepEqual(more, []);
      assert.equal(finding?.check, name);
      check(finding as Finding, state, undefined, next);
    });
});

describe('checkJailProgram()', () => {
  const good: ProgramFacts = {
    path: '/usr/local/libexec/dialback/jail',
    file: { uid: 0, gid: 0, mode: 0o755, isPlain: true },
    mayRun: true,
    subject: 'vault',
  };
  const mode = (bits: number): Partial<ProgramFacts> => ({
    file: { uid: 0, gid: 0, mode: bits, isPlain: true },
  });

  it('is content with what `make install` lays down, and asks for no group and no capability', () => {
    assert.deepEqual(states([checkJailProgram(good)]), ['ok']);
    assert.deepEqual(states([checkJailProgram({ ...good, ...mode(0o750) })]), ['ok']);
  });

  const cases: [what: string, change: Partial<ProgramFacts>, found: RegExp, next: RegExp][] = [
    ['does not exist', { file: undefined }, matching`^${says('there-is-no-launcher')} `, /^make install/],
    [
      'is a folder',
      { file: { uid: 0, gid: 0, mode: 0o755, isPlain: false } },
      matching`${says('not-a-plain-file')}$`,
      /^mv '/,
    ],
    ["is not root's", { file: { uid: 5, gid: 0, mode: 0o755, isPlain: true } }, /uid 5/, /^make install/],
    [
      'can be written by its group',
      mode(0o775),
      matching`${says('can-be-written-by-others-mode')} 0775\)`,
      /^make install/,
    ],
    ['can be written by all', mode(0o757), says('can-be-written-by-others'), /^make install/],
    ['is setuid', mode(0o4755), /is set-id/, /^make install/],
    ['is setgid', mode(0o2755), /is set-id/, /^make install/],
    ['may not be run', { ...mode(0o700), mayRun: false }, /"vault" may not run/, /^make install/],
  ];
  for (const [what, change, found, next] of cases)
    it(`is critical when it ${what}`, () => {
      check(checkJailProgram({ ...good, ...change }), 'critical', found, next);
    });
});

describe('checkFolders()', () => {
  it('is critical when others can write a folder above the launcher', () => {
    check(checkFolders('/usr/local/libexec/dialback/jail', undefined), 'ok');
    const breach = {
      at: '/usr/local',
      found: `"/usr/local" ${wording('can-be-written-by-others')}`,
      isForeign: false,
    };
    const finding = checkFolders('/usr/local/libexec/dialback/launch', breach);
    assert.equal(finding.check, 'launcher.folders');
    check(finding, 'critical', undefined, /^chmod go-w '\/usr\/local'$/);
  });
});

describe('checkInherited()', () => {
  const good = {
    executable: '/usr/local/bin/dialback',
    ownCapability: 'cap_dac_read_search=i',
    rsync: '/usr/bin/rsync',
    rsyncCapability: 'cap_dac_read_search=ei',
  };
  it('is content with the whole chain, and says nothing without rsync', () => {
    assert.deepEqual(states(checkInherited(good)), ['ok', 'ok']);
    assert.deepEqual(checkInherited(undefined), []);
  });
  it('names the link that is missing', () => {
    assert.deepEqual(states(checkInherited({ ...good, ownCapability: '' })), ['critical', 'ok']);
    const [, rsync] = checkInherited({ ...good, rsyncCapability: '' });
    check(
      rsync as Finding,
      'critical',
      /rsync" has no capability/,
      /^setcap cap_dac_read_search=ei '\/usr\/bin\/rsync'$/,
    );
    assert.deepEqual(states(checkInherited({ ...good, rsyncCapability: 'cap_dac_read_search=ep' })), [
      'ok',
      'critical',
    ]);
  });
});

describe('parseGetcap()', () => {
  const cases: [string, string][] = [
    ['/a b/launch cap_dac_read_search=ep\n', 'cap_dac_read_search=ep'],
    ['/a b/launch = cap_dac_read_search+ep\n', 'cap_dac_read_search=ep'],
    ['/a b/launch cap_dac_read_search=pe\n', 'cap_dac_read_search=ep'],
    ['/a b/launch cap_dac_read_search=ie\n', 'cap_dac_read_search=ei'],
    ['/a b/launch cap_chown,cap_dac_read_search=ep\n', 'cap_chown,cap_dac_read_search=ep'],
    ['/a b/launch cap_chown=p cap_dac_read_search+ep\n', 'cap_chown=p cap_dac_read_search=ep'],
    ['', ''],
    ['/other cap_dac_read_search=ep\n', ''],
  ];
  for (const [text, expected] of cases)
    it(`reads ${JSON.stringify(text)}`, () => assert.equal(parseGetcap(text, '/a b/launch'), expected));
});

describe('parseCapabilityXattr()', () => {
  // linux/capability.h: magic, then permitted and inheritable, low words first.
  it('reads what setcap(8) writes', () => {
    assert.equal(parseCapabilityXattr('0100000204000000000000000000000000000000'), 'cap_dac_read_search=ep');
    assert.equal(parseCapabilityXattr('0100000200000000040000000000000000000000'), 'cap_dac_read_search=ei');
    assert.equal(parseCapabilityXattr('0000000200000000040000000000000000000000'), 'cap_dac_read_search=i');
    assert.equal(
      parseCapabilityXattr('010000030400000000000000000000000000000000000000'),
      'cap_dac_read_search=ep',
    );
  });
  it('takes others for others', () => {
    for (const hex of [
      '0100000205000000000000000000000000000000',
      '0100000204000000000000000100000000000000',
      '0100000200000000000000000000000000000000',
    ])
      assert.match(parseCapabilityXattr(hex) ?? '', /^capabilities other/);
  });
  it('knows no other form', () => {
    for (const hex of [
      '',
      '01',
      '0100000104000000',
      '0100000304000000000000000000000000000000',
      'zz'.repeat(20),
    ])
      assert.equal(parseCapabilityXattr(hex), undefined);
  });
  it('agrees with getcap(8), for what setcap(8) sets', { skip: needsRoot() }, t => {
    const file = join(scratch(t), 'file');
    for (const flags of ['ep', 'ei', 'i', 'p', 'eip']) {
      writeFileSync(file, '');
      execFileSync('setcap', [`cap_dac_read_search=${flags}`, file]);
      const args = ['--absolute-names', '--encoding=hex', '--name=security.capability', file];
      const hex = /=0x([0-9a-f]+)/.exec(execFileSync('/usr/bin/getfattr', args).toString())?.[1] ?? '';
      const text = execFileSync('getcap', [file]).toString();
      assert.equal(parseCapabilityXattr(hex), `cap_dac_read_search=${flags}`);
      assert.equal(parseGetcap(text, file), `cap_dac_read_search=${flags}`);
    }
  });
});

function needsRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'needs root: it sets file capabilities';
}

describe('checkCapability()', () => {
  it('shows what is there as text', () =>
    check(checkCapability(TOPIC, '/x', 'a\u001b[2J', 'y'), 'critical', /has a\\u001b\[2J, and needs y$/));
});
