import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { doctorText } from '../src/cli/print.ts';
import { parseResolved } from '../src/client/call.ts';
import { checkHome } from '../src/doctor/account.ts';
import { checkLines } from '../src/doctor/authorized-keys.ts';
import {
  checkCapability,
  checkInherited,
  parseCapabilityXattr,
  parseGetcap,
} from '../src/doctor/capability.ts';
import { checkClock, measureSkew } from '../src/doctor/clock.ts';
import { checkCall, checkReach, collectReach } from '../src/doctor/connection.ts';
import { type Finding, parseFindings, type State, Topic, worstStatus } from '../src/doctor/finding.ts';
import { findOutsideLinks } from '../src/doctor/hard-links.ts';
import {
  type Confinement,
  checkClientConfinement,
  checkClientJail,
  checkHostConfinement,
  checkHostJail,
  checkSender,
} from '../src/doctor/jails.ts';
import { checkLauncher } from '../src/doctor/launcher.ts';
import { checkKernel, checkProcess } from '../src/doctor/machine.ts';
import { checkNever } from '../src/doctor/never.ts';
import { parseNeverList } from '../src/doctor/never-list.ts';
import { checkPrograms, checkReader } from '../src/doctor/programs.ts';
import { checkRoots } from '../src/doctor/scope.ts';
import { checkShell } from '../src/doctor/shell.ts';
import { collectKey } from '../src/doctor/ssh-keys.ts';
import { checkSshd } from '../src/doctor/sshd.ts';
import { checkStore } from '../src/doctor/store.ts';
import { checkInodes, checkProbe, checkSpace } from '../src/doctor/store-disk.ts';
import { checkListen, checkTransport, lastDialed } from '../src/doctor/transport.ts';
import { checkReceiver, checkVersions } from '../src/doctor/versions.ts';
import { Fault } from '../src/fault.ts';
import { enrolledLine } from '../src/host/enroll.ts';
import { fixCommand } from '../src/os/access-advice.ts';
import { parsePasswd, type Subject } from '../src/os/account.ts';
import type { Jail } from '../src/os/launcher.ts';
import { parseMountTable } from '../src/os/mounts.ts';
import { parseOpensshVersion } from '../src/os/process.ts';
import {
  changelogOf,
  compareVersions,
  OPENSSH_ADVISORIES,
  openAdvisories,
  parseVersion,
  RSYNC_ADVISORIES,
} from '../src/shared/advisories.ts';
import type { PublicKey } from '../src/wire/key.ts';

const TOPIC = new Topic('machine.test', 'it matters');
type LauncherFacts = Parameters<typeof checkLauncher>[0];
const WAY: Record<string, Confinement> = {
  confined: { way: 'confined', isChosen: false },
  inherited: { way: 'inherited', isChosen: true },
  none: { way: 'none', isChosen: false },
  chosenNone: { way: 'none', isChosen: true },
};
const { confined, inherited, none, chosenNone } = WAY as Record<
  'confined' | 'inherited' | 'none' | 'chosenNone',
  Confinement
>;

/** States of findings, as a word each. */
const states = (findings: Finding[]): State[] => findings.map(each => each.state);

/** Whoever is told that something is wrong is told what to do; whoever is told that all is well is not. */
function check(finding: Finding, state: State, found?: RegExp, next?: RegExp): void {
  assert.equal(finding.state, state, finding.found);
  if (found) assert.match(finding.found, found);
  assert.equal(finding.next === null, state === 'ok');
  if (next) assert.match(finding.next ?? '', next);
  assert.match(finding.check, /^(machine|launcher|client|host)\.[a-z_]+$/);
  assert.doesNotMatch(`${finding.found}${finding.why}`, /\n|\.$/);
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'dialback doctor-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('worstStatus()', () => {
  const of = (...all: State[]) => worstStatus(all.map(state => ({ ...TOPIC.ok('x'), state })));
  const cases: [State[], number][] = [
    [[], 0],
    [['ok', 'ok'], 0],
    [['ok', 'warning'], 1],
    [['ok', 'unknown'], 1],
    [['warning', 'critical', 'ok'], 2],
    [['unknown', 'critical'], 2],
  ];
  for (const [all, status] of cases)
    it(`is ${status} when all are ${all.join(', ') || 'none'}`, () => assert.equal(of(...all), status));
});

describe('fixCommand()', () => {
  it('closes what is open, gives back a file, and leaves the folders of others alone', t => {
    const owner = { name: 'root', uid: process.getuid?.() ?? 0 };
    const breach = (at: string, isForeign: boolean) => ({ at, found: '', isForeign });
    assert.equal(fixCommand(breach("/a b'c", false), '/x', owner), `chmod go-w '/a b'\\''c'`);
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'dialback-mend-')));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'file');
    writeFileSync(path, '');
    assert.equal(fixCommand(breach(path, true), path, owner), `chown root '${path}'`);
    assert.match(
      fixCommand(breach(folder, true), path, owner),
      /^move '.*file' to a folder that only root can change/,
    );
    chmodSync(folder, 0o777);
    assert.equal(fixCommand(breach(path, true), path, owner, 'make install'), 'make install');
  });
});

describe('compareVersions()', () => {
  const order = [
    '2.6.9',
    '3.2.0',
    '3.2.7',
    '3.4.0',
    '3.4.1',
    '3.5.0',
    '3.10.0',
    '9.2p1',
    '9.9p1',
    '9.9p2',
    '10.0p1',
  ];
  it('orders them by their numbers, not by their letters', () => {
    for (const [one, left] of order.entries())
      for (const [other, right] of order.entries())
        assert.equal(Math.sign(compareVersions(left, right)), Math.sign(one - other), `${left} ${right}`);
  });
  it("takes no part of a packager's suffix", () => {
    for (const text of ['3.5.0+ds1-0+deb12u1', '3.5.0-1', '3.5.0~rc1', '3.5', '3.5.0pre1'])
      assert.equal(compareVersions(text, '3.5.0'), 0, text);
  });
  it('finds no version in other text', () => {
    for (const text of ['', 'unknown', 'v3', '.5', 'p1']) assert.equal(parseVersion(text), undefined);
  });
});

describe('openAdvisories()', () => {
  const names = (version: string, changelog?: string) =>
    openAdvisories(version, changelog, RSYNC_ADVISORIES).map(each => each.fixedIn);
  it('finds those that were mended later', () => {
    assert.deepEqual(names('3.2.7'), ['3.4.0', '3.4.3', '3.5.0']);
    assert.deepEqual(names('3.4.0'), ['3.4.3', '3.5.0']);
    assert.deepEqual(names('3.4.3'), ['3.5.0']);
    assert.deepEqual(names('3.5.0'), []);
    assert.deepEqual(names('3.6.1'), []);
  });
  it("believes the package's changelog", () => {
    const changelog = 'rsync (3.2.7-1+deb12u2)\n  * CVE-2024-12084, CVE-2024-12085\n';
    assert.deepEqual(names('3.2.7', changelog), ['3.4.3', '3.5.0']);
    for (const other of ['CVE-2024-120850', 'CVE-2024-1208', 'CVE-2024-12084'])
      assert.deepEqual(names('3.2.7', `rsync (3.2.7-1)\n  * ${other}\n`), ['3.4.0', '3.4.3', '3.5.0'], other);
  });
  it('leaves out what an old version does not have yet', () => {
    const of = (version: string) =>
      openAdvisories(version, undefined, OPENSSH_ADVISORIES).map(each => each.fixedIn);
    assert.deepEqual(of('8.4p1'), ['9.6p1', '9.9p2']);
    assert.deepEqual(of('8.5p1'), ['9.6p1', '9.8p1', '9.9p2']);
    assert.deepEqual(of('9.7p1'), ['9.8p1', '9.9p2']);
    assert.deepEqual(of('9.9p1'), ['9.9p2']);
    assert.deepEqual(of('10.0p2'), []);
  });
});

describe('changelogOf()', () => {
  it('takes the changelog of the version that runs, with an epoch or without', () => {
    assert.ok('value' in changelogOf('9.2p1', 'openssh (1:9.2p1-2+deb12u10) bookworm; urgency=medium\n'));
    assert.ok('value' in changelogOf('3.5.0', 'rsync (3.5.0+ds1-0+deb12u1) bookworm-security\n'));
  });
  it('takes no other', () => {
    for (const text of ['', 'x', 'rsync (3.4.1-1) x', 'rsync 3.5.0', '\nrsync (3.5.0-1) x'])
      assert.ok('reason' in changelogOf('3.5.0', text), text);
  });
});

describe('checkVersions()', () => {
  const rsync = (version: string, changelog?: string, hasZstd = true): Finding[] =>
    checkVersions({ rsync: { version, changelog, hasZstd }, openssh: undefined }, false);
  const zstdOf = (hasZstd: boolean): Finding => rsync('3.5.0', undefined, hasZstd)[0] ?? assert.fail();
  const rsyncOf = (version: string): Finding => rsync(version)[1] ?? assert.fail();
  const opensshOf = (version: string, changelog: string | undefined, isDialed: boolean): Finding =>
    checkVersions({ rsync: undefined, openssh: { version, changelog } }, isDialed)[0] ?? assert.fail();

  it('has no finding for a program that is not installed', () =>
    assert.deepEqual(checkVersions({ rsync: undefined, openssh: undefined }, true), []));
  it('warns of an rsync without zstd', () => {
    check(zstdOf(true), 'ok', /zstd/);
    check(zstdOf(false), 'warning', /not compressed/, /rsync --version/);
  });
  it('is content with a version without known vulnerabilities', () => {
    check(rsyncOf('3.5.0'), 'ok', /^rsync 3\.5\.0/);
    check(opensshOf('9.9p2', undefined, true), 'ok');
    check(opensshOf('9.2p1', 'CVE-2023-48795 sshsigdie CVE-2025-26465', true), 'ok');
  });
  it('only warns of a vulnerability, since a distribution can have fixed it', () => {
    check(rsyncOf('3.4.1'), 'warning', /3\.5\.0/, /apt-get install rsync/);
    check(opensshOf('9.7p1', undefined, false), 'warning', /regreSSHion/, /apt-get install openssh/);
  });
  it('refuses a version that cannot work', () => {
    const old = opensshOf('7.9p1', undefined, true);
    check(old, 'critical', /OpenSSH 7\.9p1; the oldest .* is 8\.0p1/, /or set transport = "channel"/);
    check(opensshOf('7.9p1', 'CVE-2023-48795 CVE-2025-26465', false), 'warning', /8\.0p1/);
    check(opensshOf('8.0p1', 'CVE-2023-48795 CVE-2025-26465', true), 'ok');
    check(opensshOf('8.4p1', 'CVE-2023-48795 CVE-2025-26465', true), 'ok');
  });
  it('does not know a version that was not told', () => {
    check(rsyncOf('unknown'), 'unknown');
    check(opensshOf('unknown', undefined, true), 'unknown');
  });
});

describe('parseOpensshVersion()', () => {
  it('reads the version that ssh tells, and that an sshd greets with', () => {
    assert.equal(parseOpensshVersion('OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19'), '9.2p1');
    assert.equal(parseOpensshVersion('SSH-2.0-OpenSSH_10.0p2\r\n'), '10.0p2');
    for (const text of ['', 'OpenSSH', 'dropbear_2022.83', 'OpenSSH_x'])
      assert.equal(parseOpensshVersion(text), undefined);
  });
});

describe('checkPrograms()', () => {
  it('names the packages of what is missing, each once', () => {
    check(checkPrograms([]), 'ok');
    check(
      checkPrograms(['rsync', 'ssh', 'ssh-keygen', 'mkfifo']),
      'critical',
      /rsync, ssh, ssh-keygen, mkfifo$/,
      /^apt-get install rsync openssh-client coreutils$/,
    );
  });
});

describe('host: checkReceiver()', () => {
  it('warns of an rsync that follows links during a restore', () => {
    check(checkReceiver(true), 'ok');
    check(checkReceiver(false), 'warning', /restore --force/, /apt-get install rsync/);
  });
});

describe('client: checkSender()', () => {
  it('only warns of an rsync that must be able to list all folders, since it works', () => {
    check(checkSender({ listsAll: false }, []), 'ok');
    check(
      checkSender({ listsAll: false }, ['/a/[b]/c']),
      'warning',
      /"\/a\/\[b\]\/c".*names in every folder/,
      /folder above/,
    );
    check(checkSender({ listsAll: true }, []), 'warning', /names in every folder/, /apt-get install rsync/);
  });
});

describe('host: checkReader()', () => {
  it('only warns of what no backup needs, and names the packages', () => {
    check(checkReader([]), 'ok');
    check(
      checkReader(['find', 'sort', 'xargs', 'getfattr']),
      'warning',
      /find, sort, xargs, getfattr$/,
      /^apt-get install findutils coreutils attr$/,
    );
  });
});

describe('checkKernel()', () => {
  const good = {
    release: '6.1.0-13-amd64',
    lsm: 'capability,landlock,yama' as string | undefined,
    landlockAbi: undefined as number | undefined,
    isNeeded: true,
    isHost: true,
  };
  const kernel = (change: Partial<typeof good> = {}): Finding => {
    const { release, lsm, ...needs } = { ...good, ...change };
    return checkKernel({ release, lsm }, needs);
  };
  it('is content with Landlock, and says so', () => check(kernel(), 'ok', /with Landlock$/));
  it('refuses a kernel that is too old for the side', () => {
    check(kernel({ release: '5.10.0' }), 'critical', /older than 5\.19/, /confined = false/);
    check(kernel({ release: '5.15.0' }), 'critical', /older than 5\.19/);
    check(kernel({ release: '5.15.0', isHost: false }), 'ok');
    check(kernel({ release: '5.12.0', isHost: false }), 'critical', /5\.13/, /inherited/);
  });
  it('refuses one that has it switched off', () =>
    check(kernel({ lsm: 'capability,yama' }), 'critical', /not among/, /lsm=landlock,capability,yama/));
  it('does not take a part of a name for it', () =>
    check(kernel({ lsm: 'landlock2,notlandlock' }), 'critical'));
  it('does not know, where the kernel does not tell', () =>
    check(kernel({ lsm: undefined }), 'unknown', undefined, /^mount -t securityfs/));
  it('believes a jail that stood, if its Landlock is enough for the side', () => {
    for (const change of [{ lsm: undefined }, { lsm: 'yama' }, { release: '5.14.0-el9' }])
      check(kernel({ ...change, landlockAbi: 2 }), 'ok', /Landlock ABI 2$/);
    check(kernel({ lsm: undefined, landlockAbi: 1, isHost: false }), 'ok', /ABI 1$/);
    check(kernel({ lsm: undefined, landlockAbi: 1 }), 'unknown');
  });
  it('refuses one on which a jail has found none, and says what works', () => {
    check(kernel({ landlockAbi: 0 }), 'critical', /refuses it here/, /`confined = false`/);
    check(kernel({ lsm: undefined, landlockAbi: 0 }), 'critical', /without Landlock/, /lsm=/);
    const client = kernel({ release: '5.10.0', landlockAbi: 0, isHost: false });
    check(client, 'critical', /5\.13/, /make install INHERITED=1.*`capability = "inherited"`/);
  });
  it('refuses nothing, where nothing needs it', () => {
    for (const change of [{ release: '4.19.0' }, { lsm: 'yama' }, { lsm: undefined }])
      check(kernel({ ...change, isNeeded: false }), 'ok', /nothing here uses it$/);
  });
});

describe('checkProcess()', () => {
  const text = (noNew: number, bounding: string): string =>
    `Name:\tx\nCapBnd:\t${bounding}\nNoNewPrivs:\t${noNew}\nSeccomp:\t0\n`;
  it('is content where a file may give the capability', () => {
    check(checkProcess(text(0, '000001ffffffffff')), 'ok');
    check(checkProcess(text(0, '0000000000000004')), 'ok');
  });
  it('refuses no_new_privs, and a bounding set without it', () => {
    check(checkProcess(text(1, '000001ffffffffff')), 'critical', /no_new_privs/, /NoNewPrivileges=no/);
    for (const bounding of ['0000000000000000', '000001fffffffffb', '0000000000000002'])
      check(checkProcess(text(0, bounding)), 'critical', /bounding set/, /CAP_DAC_READ_SEARCH/);
  });
  it('does not know where the kernel does not tell', () => {
    for (const nothing of ['', 'CapBnd:\t4\n', 'NoNewPrivs:\t0\n', 'CapBnd:\tx\nNoNewPrivs:\t0\n'])
      check(checkProcess(nothing), 'unknown');
  });
});

describe('checkLauncher()', () => {
  const [mount] = parseMountTable('1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n');
  const [nosuid] = parseMountTable('1 0 8:1 / /opt rw,nosuid - ext4 /dev/sda1 rw\n');
  const good: LauncherFacts = {
    path: '/usr/local/libexec/dialback/launch',
    file: { uid: 0, gid: 990, mode: 0o750, isPlain: true },
    group: 'dialback',
    others: [],
    primary: [],
    sides: ['client'],
    capability: 'cap_dac_read_search=ep',
    mount,
    breach: undefined,
    mayRun: true,
    subject: 'dialback',
  };
  const bad = (change: Partial<LauncherFacts>): Finding[] =>
    checkLauncher({ ...good, ...change }, true).filter(each => each.state !== 'ok');
  const mode = (bits: number) => ({ file: { uid: 0, gid: 990, mode: bits, isPlain: true } });

  it('is content with what `make install` lays down', () => {
    assert.deepEqual(bad({}), []);
    assert.deepEqual(bad(mode(0o550)), []);
    for (const each of checkLauncher(good, true)) check(each, 'ok');
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
    [
      'has a folder above it that others can write',
      { breach: { at: '/usr/local', found: '"/usr/local" can be written by others', isForeign: false } },
      'launcher.folders',
      'critical',
      /^chmod go-w '\/usr\/local'$/,
    ],
  ];
  for (const [what, change, name, state, next] of cases)
    it(`says "${name}" alone when it ${what}`, () => {
      const [finding, ...more] = bad(change);
      assert.deepEqual(more, []);
      assert.equal(finding?.check, name);
      check(finding as Finding, state, undefined, next);
    });
});

describe('checkLauncher() for a host alone', () => {
  it('asks for no capability, which the jail of a host does not use', () => {
    const facts: LauncherFacts = {
      path: '/l',
      file: { uid: 0, gid: 990, mode: 0o750, isPlain: true },
      group: 'dialback',
      others: [],
      primary: [],
      sides: ['host'],
      capability: '',
      mount: undefined,
      breach: undefined,
      mayRun: true,
      subject: 'dialback',
    };
    assert.deepEqual(states(checkLauncher(facts, false)), ['ok', 'ok', 'ok', 'ok']);
    assert.ok(states(checkLauncher(facts, true)).includes('critical'));
  });
});

describe('checkClientJail() and checkHostJail()', () => {
  const fault = (found: string, next?: string): Fault =>
    new Fault({ tried: 'confine rsync', found, ...(next ? { next } : {}) });
  it("tells the ABI, or the launcher's own line and what to do", () => {
    const jail: Jail = { landlockAbi: 7, hasOwnRoot: true };
    check(checkClientJail({ ...jail, hasOwnRoot: false }), 'ok', /Landlock ABI 7/);
    check(checkHostJail(jail), 'ok', /Landlock ABI 7/);
    check(checkHostJail({ ...jail, hasOwnRoot: false }), 'warning', /without a root file system/, /^sysctl/);
    check(checkClientJail(fault('x: EPERM', 'dialback doctor')), 'critical', /x: EPERM$/, /make install/);
    check(checkHostJail(fault('x', 'dialback doctor')), 'critical', /x$/, /make install/);
    const other = fault('Cannot run "/l": it was made for uid 990, and is run by uid 5', 'dialback doctor');
    check(
      checkClientJail(other),
      'critical',
      /made for uid 990/,
      /^runuser --pty -u "\$\(id -nu 990\)" -- dialback doctor/,
    );
    check(
      checkClientJail(fault('it is not there', 'apt-get install rsync')),
      'critical',
      undefined,
      /^apt-get/,
    );
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
    const file = join(folder(t), 'file');
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

describe('parsePasswd()', () => {
  it('reads a line, and takes an empty shell for /bin/sh', () => {
    const anna = { name: 'anna', uid: 1000, gid: 100, home: '/home/a b', shell: '/bin/bash' };
    assert.deepEqual(parsePasswd('anna:x:1000:100:Anna,,,:/home/a b:/bin/bash\n'), anna);
    assert.deepEqual(parsePasswd('anna:x:1000:100:::'), undefined);
    assert.deepEqual(parsePasswd('anna:x:1000:100::/home/a b:'), { ...anna, shell: '/bin/sh' });
  });
  it('takes nothing else', () => {
    for (const line of [
      '',
      ':',
      'anna',
      'anna:x:1:2::/h',
      ':x:1:2::/h:/s',
      'a:x::2::/h:/s',
      'a:x:-1:2::/h:/s',
    ])
      assert.equal(parsePasswd(line), undefined, line);
  });
});

describe('checkHome()', () => {
  it("warns of a HOME that is not the account's", () => {
    const anna: Subject = { name: 'anna', uid: 1000, gid: 1000, home: '/home/a b', shell: '/bin/sh' };
    check(checkHome(anna, '/home/a b'), 'ok');
    check(
      checkHome(anna, '/root'),
      'warning',
      /"\/root" and not "\/home\/a b"$/,
      /^HOME='\/home\/a b' dialback doctor$/,
    );
  });
});

describe('checkShell()', () => {
  const subject: Subject = { name: 'anna', uid: 1000, gid: 1000, home: '/home/anna', shell: '/bin/bash' };
  const silent = { status: 0, signal: null, stdout: Buffer.alloc(0), stderr: '' };
  const facts = { subject, isDialed: true, isDialback: false, isThere: true, result: silent };
  const judge = (change: Partial<Parameters<typeof checkShell>[0]>): Finding =>
    checkShell({ ...facts, ...change });
  it('is content with a silent shell', () => check(judge({}), 'ok', /prints nothing$/));
  it('is content with dialback itself on a host, and not on a client', () => {
    check(judge({ isDialback: true, isDialed: false, result: undefined }), 'ok');
    check(
      judge({ isDialback: true, result: undefined }),
      'critical',
      /runs no gate/,
      /^usermod --shell \/bin\/sh anna; or transport = "channel"/,
    );
  });
  it('names the transport that needs no shell to a client alone', () => {
    const isThere = false;
    check(judge({ isThere }), 'critical', undefined, /; or transport = "channel" in client\.toml, /);
    check(judge({ isThere, isDialed: false }), 'critical', undefined, /^usermod --shell \/bin\/sh anna$/);
  });
  for (const shell of ['/usr/sbin/nologin', '/sbin/nologin', '/bin/false', '/usr/bin/false'])
    it(`refuses ${shell}`, () =>
      check(
        judge({ subject: { ...subject, shell }, isThere: true }),
        'critical',
        /runs no command/,
        /^usermod/,
      ));
  it('refuses a shell that is not there, that prints, that fails, that hangs', () => {
    check(judge({ isThere: false, result: undefined }), 'critical', /cannot run/);
    check(
      judge({ result: { ...silent, stdout: Buffer.from('hi\u0007\n') } }),
      'critical',
      /prints "hi\\u0007"/,
    );
    check(judge({ result: { ...silent, status: 1 } }), 'critical', /ended with status 1/);
    check(judge({ result: { ...silent, status: null, signal: 'SIGKILL' } }), 'critical', /SIGKILL/);
    check(
      judge({ result: new Fault({ tried: 'x', found: 'it did not end within 10 s' }) }),
      'critical',
      /did not end/,
    );
  });
  it('names the start-up file that prints', () => {
    const result = { ...silent, stdout: Buffer.from('hi\n') };
    const printed = { text: 'hi', file: '/home/anna/.bashrc' };
    check(
      judge({ result, printed }),
      'critical',
      /prints "hi", in "\/home\/anna\/\.bashrc"$/,
      /^usermod .*; or let "\/home\/anna\/\.bashrc" print only to a terminal/,
    );
  });
  it('warns of what it says on standard error', () =>
    check(judge({ result: { ...silent, stderr: 'tput: no terminal\n' } }), 'warning', /tput/));
  it('does not know what was not tried', () => check(judge({ result: undefined }), 'unknown'));
});

describe('client: checkCall()', () => {
  const judge = (answer: Parameters<typeof checkCall>[0]): Finding => checkCall(answer, 'vault', 'acorn');
  it('is content with a host that answers, with one that is at work, and with one that does not know the question', () => {
    for (const answer of ['answered', 'busy', 'full', 'request'] as const)
      check(judge(answer), 'ok', /^"vault" accepts this machine's key, and knows it as "acorn"$/);
  });
  it('says what the host says, or ssh', () => {
    check(judge('name'), 'critical', /knows this key under another name/, /`name`/);
    check(judge('no-store'), 'critical', /no store at hand/);
    const fault = new Fault({
      tried: 'call the backup host',
      found: 'it does not accept the key',
      next: 'enroll',
    });
    check(judge(fault), 'critical', /^Cannot call the backup host: it does not/, /^enroll$/);
  });
  it('warns of one that is silent', () => check(judge('late'), 'warning', /no answer within 30 s/));
});

describe('client: checkClientConfinement()', () => {
  it('says which is in force, and warns where nobody chose to go without', () => {
    check(checkClientConfinement(confined, '/c', true), 'ok', /^confined/);
    check(checkClientConfinement(inherited, '/c', false), 'ok', /^inherited/);
    check(checkClientConfinement(inherited, '/c', true), 'warning', /Landlock/, /confined/);
    check(checkClientConfinement(chosenNone, '/c', true), 'ok', /^none/);
    check(checkClientConfinement(none, '/c', true), 'warning', /^none/, /^make install/);
  });
  it('says the same of a host', () => {
    check(checkHostConfinement(confined, '/h'), 'ok', /^confined/);
    check(checkHostConfinement(chosenNone, '/h'), 'ok', /^none/);
    check(checkHostConfinement(none, '/h'), 'warning', /^none/, /confined = false/);
  });
});

describe('checkRoots()', () => {
  type RootFacts = Parameters<typeof checkRoots>[0][number];
  const root = (is: RootFacts['is'], path = `/${is}`): RootFacts => ({ path, is });
  const cases: [RootFacts[], Confinement, State[]][] = [
    [[root('readable')], none, ['ok']],
    [[root('closed')], confined, ['ok']],
    [[root('hidden')], inherited, ['ok']],
    [[root('missing')], confined, ['critical']],
    [[root('missing'), root('closed')], confined, ['warning']],
    [[root('missing'), root('readable')], none, ['warning']],
    [[root('closed')], none, ['critical']],
    [[root('closed'), root('readable')], none, ['warning']],
    [[root('missing'), root('hidden')], none, ['critical', 'critical']],
    [[root('missing'), root('hidden'), root('readable')], none, ['warning', 'warning']],
  ];
  for (const [roots, way, expected] of cases)
    it(`is ${expected.join(', ')} when the roots are ${roots.map(each => each.is).join(', ')} (${way.way})`, () =>
      assert.deepEqual(states(checkRoots(roots, way)), expected));
});

describe('parseNeverList()', () => {
  it('takes absolute paths, comments and empty lines', () => {
    const text = '# a comment\n\n/etc/ssl/private\n/home/a b/ü\n/srv/x/\n/\n';
    assert.deepEqual(parseNeverList(text), {
      paths: ['/etc/ssl/private', '/home/a b/ü', '/srv/x', '/'],
      faults: [],
    });
    assert.deepEqual(parseNeverList(''), { paths: [], faults: [] });
  });
  const cases: [string, RegExp][] = [
    ['etc/x', /^line 1: it does not begin with/],
    ['/ok\n ./x', /^line 2: it does not begin with/],
    [' /etc/x', /does not begin with/],
    ['/etc/x ', /ends with a blank/],
    ['/etc/x\r\n', /control character/],
    ['/etc/\tx', /control character/],
    ['/etc/\0x', /control character/],
    [`/${'x'.repeat(4096)}`, /too long/],
    // On these the launcher refuses to run.
    ['/etc/../x', /^line 1: it has "\.", "\.\." or a repeated slash/],
    ['/etc/./x', /repeated slash/],
    ['/etc//x', /repeated slash/],
    ['  # indented', /does not begin with/],
  ];
  for (const [text, fault] of cases)
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
      const { faults } = parseNeverList(text);
      assert.equal(faults.length, 1);
      assert.match(faults[0] ?? '', fault);
    });
});

describe('findOutsideLinks()', () => {
  it('finds a file with a name elsewhere, and not one whose names are all below', t => {
    const top = folder(t);
    mkdirSync(join(top, 'never/deep'), { recursive: true });
    for (const name of ['alone', 'twice', 'linked']) writeFileSync(join(top, 'never', name), '');
    linkSync(join(top, 'never/twice'), join(top, 'never/deep/twin'));
    linkSync(join(top, 'never/linked'), join(top, 'outside'));
    symlinkSync('..', join(top, 'never/deep/up'));
    const expected = { linked: [join(top, 'never/linked')], linkedCount: 1, isSeen: true };
    assert.deepEqual(findOutsideLinks(join(top, 'never'), 100), expected);
    assert.deepEqual(findOutsideLinks(join(top, 'never/linked'), 100), expected);
    assert.equal(findOutsideLinks(join(top, 'never/deep/twin'), 100).linkedCount, 1);
    assert.equal(findOutsideLinks(join(top, 'never/alone'), 100).linkedCount, 0);
  });
  it('says when it has not seen all; what is not there has no other name', t => {
    const top = folder(t);
    for (let index = 0; index < 10; index += 1) writeFileSync(join(top, `${index}`), '');
    assert.equal(findOutsideLinks(top, 11).isSeen, true);
    assert.equal(findOutsideLinks(top, 10).isSeen, false);
    assert.deepEqual(findOutsideLinks(join(top, 'nowhere'), 10), {
      linked: [],
      linkedCount: 0,
      isSeen: true,
    });
  });
});

describe('checkNever()', () => {
  const good = { path: '/n', otherNames: [], linked: [], linkedCount: 0, isSeen: true };
  it('is content where there is no other name', () => {
    assert.deepEqual(states(checkNever([good, good])), ['ok']);
    assert.deepEqual(states(checkNever([])), ['ok']);
  });
  it('warns of each other name, and does not know what it could not see', () => {
    const [linked] = checkNever([{ ...good, linked: ["/n/a'b"], linkedCount: 3 }]);
    check(linked as Finding, 'warning', /and 2 more, has another name/, /-samefile '\/n\/a'\\''b'/);
    const [bound] = checkNever([{ ...good, otherNames: ['/mnt/x'] }]);
    check(bound as Finding, 'warning', /also mounted at "\/mnt\/x"/, /umount '\/mnt\/x'/);
    const [unseen] = checkNever([{ ...good, isSeen: false }]);
    check(unseen as Finding, 'unknown', undefined, /^find '\/n' -xdev -type f -links \+1/);
    const all = checkNever([
      good,
      { ...good, otherNames: ['/m'], linked: ['/n/x'], linkedCount: 1, isSeen: false },
    ]);
    assert.deepEqual(states(all), ['warning', 'warning', 'unknown']);
  });
});

describe('collectKey()', () => {
  const keygen = (path: string): void => {
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a comment', '-f', path]);
  };
  it('takes the public half that belongs to the key, also with another comment, or none', async t => {
    const key = join(folder(t), 'a key');
    keygen(key);
    check(await collectKey(key), 'ok');
    writeFileSync(`${key}.pub`, readFileSync(`${key}.pub`, 'utf8').replace('a comment', 'another comment'));
    check(await collectKey(key), 'ok');
    rmSync(`${key}.pub`);
    check(await collectKey(key), 'ok');
  });
  it('refuses another public half', async t => {
    const key = join(folder(t), 'a key');
    keygen(key);
    keygen(`${key}2`);
    for (const other of [readFileSync(`${key}2.pub`, 'utf8'), '', 'AAAA']) {
      writeFileSync(`${key}.pub`, other);
      const next = `ssh-keygen -y -f '${key}' > '${key}.pub'`;
      const finding = await collectKey(key);
      check(finding, 'critical', /not the public half/);
      assert.equal(finding.next, next);
    }
  });
});

describe('parseResolved()', () => {
  const text = 'host x\nuser me\nhostname 192.0.2.1\nport 22\nproxycommand none\n';
  it('reads where the call goes, and by what name its key is known', () => {
    const called = { hostName: '192.0.2.1', port: 22, knownAs: '192.0.2.1', isProxied: false };
    assert.deepEqual(parseResolved(text), called);
    assert.equal(parseResolved(text.replace('22', '8022'))?.knownAs, '[192.0.2.1]:8022');
    assert.equal(parseResolved(`${text}hostkeyalias vault\n`)?.knownAs, 'vault');
    assert.equal(parseResolved(`${text}proxyjump a,b\n`)?.isProxied, true);
    assert.equal(parseResolved(text.replace('none', '/bin/nc %h %p'))?.isProxied, true);
  });
  it('reads nothing out of something else', () => {
    for (const other of ['', 'hostname x\n', 'port 22\n', 'hostname x\nport none\n'])
      assert.equal(parseResolved(other), undefined, other);
  });
});

describe('checkReach() and collectReach()', () => {
  const HERE = { hostName: 'h', port: 22, knownAs: 'h', isProxied: false };
  const reach = (hostName: string, port: number, connectMs: number, greetingMs: number) =>
    collectReach({ hostName, port, isProxied: false }, connectMs, greetingMs);
  const way = { source: '127.0.0.1', peer: '127.0.0.1' };
  it('are content with a greeting alone', () => {
    check(checkReach(HERE, { greeting: 'SSH-2.0-x\u001b', way }), 'ok', /answers \(SSH-2\.0-x\\u001b\)$/);
    check(
      checkReach(HERE, { found: 'no program listens there' }),
      'critical',
      /^"h" port 22: no program listens there$/,
    );
  });

  const served = async (
    t: TestContext,
    words: string | undefined,
    ends = false,
    afterMs = 0,
  ): Promise<number> => {
    const server = createServer(async socket => {
      socket.on('error', () => {});
      if (afterMs > 0) await sleep(afterMs);
      if (words !== undefined) socket.write(words);
      if (ends) socket.end();
    });
    t.after(() => server.close());
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address ? address.port : 0;
  };
  const cases: [words: string | undefined, ends: boolean, expected: object][] = [
    ['SSH-2.0-OpenSSH_9.2p1\r\n', false, { greeting: 'SSH-2.0-OpenSSH_9.2p1', way }],
    ['a banner\r\nSSH-2.0-x\r\n', false, { greeting: 'SSH-2.0-x', way }],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', true, { found: 'the program that answers there is not an sshd' }],
    ['x'.repeat(10_000), false, { found: 'the program that answers there is not an sshd' }],
    [undefined, true, { found: 'it closed the connection without a greeting' }],
    [undefined, false, { found: 'it sends no greeting within 0.3 s' }],
    ['SSH-2.0-without an end', false, { found: 'it sends no greeting within 0.3 s' }],
  ];
  for (const [words, ends, expected] of cases)
    it(`tell ${JSON.stringify(expected)} when ${JSON.stringify(words?.slice(0, 20))} comes`, async t => {
      // Only silence is to be waited for: an answer may be late on a busy machine.
      const isSilent = !ends && !/\r\n|x{1000}/.test(words ?? '');
      const greetingMs = isSilent ? 300 : 60_000;
      assert.deepEqual(await reach('127.0.0.1', await served(t, words, ends), 5000, greetingMs), expected);
    });
  it('wait longer for the greeting than for the connection: a host may be busy', async t => {
    const port = await served(t, 'SSH-2.0-late\r\n', false, 1000);
    assert.deepEqual(await reach('127.0.0.1', port, 500, 60_000), { greeting: 'SSH-2.0-late', way });
  });
  it('tell when nothing listens, and when there is no such name', async t => {
    const port = await served(t, undefined);
    await new Promise(resolve => setImmediate(resolve));
    const free = port === 1 ? 2 : 1; // ports that nobody listens on
    assert.deepEqual(await reach('127.0.0.1', free, 1000, 1000), { found: 'no program listens there' });
    const { found } = (await reach('no-such-host.invalid', 22, 5000, 1000)) as { found: string };
    assert.match(found, /^its name |^no answer/);
  });
});

describe('checkTransport()', () => {
  const near = { source: '192.168.1.7', peer: '192.168.1.2' };
  const nat = { source: '192.168.1.7', peer: '203.0.113.5' };
  const at = '2026-11-23T00:12:00.500Z';
  type TransportFacts = Parameters<typeof checkTransport>[0];
  const facts: TransportFacts = {
    label: 'nas',
    transport: 'direct',
    undialed: undefined,
    way: near,
    dialedAt: undefined,
  };
  const judge = (change: Partial<TransportFacts>): Finding => checkTransport({ ...facts, ...change });

  it('is content with direct where nothing speaks against it, and names channel too', () =>
    check(
      judge({}),
      'ok',
      /^"nas": direct will probably work: from 192\.168\.1\.7 to .*; channel would work too$/,
    ));
  it('warns of direct behind NAT, and of an account that no host can connect back to, and names the next step', () => {
    const next =
      /^in the \[\[remote\]\] "nas" of client\.toml: transport = "channel", and neither `from` nor `listen`$/;
    check(
      judge({ way: nat }),
      'warning',
      /^"nas": direct will probably not work: .*behind NAT; channel will$/,
      next,
    );
    check(
      judge({ undialed: 'it has no shell' }),
      'warning',
      /not work: it has no shell; channel will$/,
      next,
    );
  });
  it('believes a run in which the host has connected back more than addresses', () => {
    check(judge({ dialedAt: at }), 'ok', /worked in the run of 2026-11-23T00:12:00\.500Z; /);
    check(
      judge({ dialedAt: at, way: nat }),
      'ok',
      /worked in the run of .*, although .*behind NAT; channel would/,
    );
    check(judge({ dialedAt: at, way: undefined }), 'ok');
  });
  it('does not know of direct where the call goes through another program', () =>
    check(
      judge({ way: undefined }),
      'unknown',
      /^"nas": direct may work or not/,
      /^dialback backup; or in the/,
    ));
  it('is content with channel always, and says what direct would do', () => {
    const over = (change: Partial<TransportFacts>): Finding => judge({ ...change, transport: 'channel' });
    const works = '"nas": channel, which works wherever the call does; direct';
    for (const [change, direct] of [
      [{}, 'would probably work too: from'],
      [{ way: nat }, 'would probably not work: towards'],
      [{ undialed: 'no shell' }, 'would probably not work: no shell'],
      [{ undialed: 'no shell', way: nat }, 'would probably not work: no shell'],
      [{ way: undefined }, 'may work or not: the call'],
      [{ dialedAt: at, way: nat }, 'would probably not work: towards'],
    ] as const) {
      const finding = over(change);
      check(finding, 'ok');
      assert.ok(finding.found.startsWith(`${works} ${direct}`), finding.found);
    }
  });
});

describe('lastDialed()', () => {
  const line = (event: string, more: object = {}) => ({ event, remote: 'nas', time: `at ${event}`, ...more });
  const back = line('granted', { peer: '192.0.2.1 50000 192.0.2.7 8022' });
  const over = line('granted', { peer: 'nobody' });
  const started = line('started');
  const finished = line('finished');
  it('is the time at which the last run let in who had connected back', () => {
    assert.equal(lastDialed([started, back, finished], 'nas'), 'at granted');
    assert.equal(lastDialed([started, finished, started, back], 'nas'), 'at granted');
    const other = [line('started', { remote: 'x' }), line('finished', { remote: 'x' })];
    assert.equal(lastDialed([started, back, finished, ...other], 'nas'), 'at granted');
  });
  it('is nothing when the last run let nobody in, or over a channel, or there was none', () => {
    for (const journal of [
      [],
      [{}],
      [back],
      [started, finished],
      [started, back, finished, started],
      [started, back, finished, started, finished],
      [started, back, finished, started, over, finished],
      [started, line('refused', { peer: '192.0.2.1' }), finished],
      [started, line('granted'), finished],
      [started, line('granted', { peer: 7 }), finished],
      [started, line('granted', { peer: '192.0.2.1', time: 7 }), finished],
      [line('started', { remote: 'x' }), line('granted', { remote: 'x', peer: '192.0.2.1' })],
    ])
      assert.equal(lastDialed(journal, 'nas'), undefined, JSON.stringify(journal));
  });
});

describe('checkListen()', () => {
  const judge = (failed: string | undefined, isBusy = false) =>
    checkListen('0.0.0.0:8022', failed, isBusy, 'nas');
  it('is content where it can listen, or a run does', () => {
    check(judge(undefined), 'ok');
    check(judge('EADDRINUSE', true), 'ok', /a run is under way/);
  });
  it('names what is in the way', () => {
    check(judge('EADDRINUSE'), 'critical', /another program/, /^ss -ltnp 'sport = :8022'/);
    check(judge('EACCES', true), 'critical', /may not listen/, /1024/);
    check(judge('EADDRNOTAVAIL'), 'critical', /not an address of this machine/, /^ip address/);
    check(judge('EAFNOSUPPORT'), 'critical', /EAFNOSUPPORT/);
  });
});

describe('measureSkew()', () => {
  const line = (event: string, time: string, more: object = {}) => ({ time, event, remote: 'nas', ...more });
  const run = (
    snapshot: string | null,
    started = '2026-11-23T00:12:00.500Z',
    granted = '2026-11-23T00:12:02.500Z',
  ) => [
    line('started', started),
    line('granted', granted),
    line('finished', '2026-11-23T00:13:00.000Z', { snapshot }),
  ];
  const cases: [string, number][] = [
    ['2026-11-23T00-12-00Z', 0], // its second had begun before the run, and was not over
    ['2026-11-23T00-12-02Z', 0],
    ['2026-11-23T00-12-03Z', 500],
    ['2026-11-23T00-11-59Z', -500],
    ['2026-11-23T01-12-02Z', 3_599_500],
    ['2026-11-22T00-12-00Z', -86_399_500],
  ];
  for (const [snapshot, skewMs] of cases)
    it(`is ${skewMs} ms when the snapshot is called ${snapshot}`, () =>
      assert.deepEqual(measureSkew(run(snapshot), 'nas'), { skewMs, at: '2026-11-23T00:12:00.500Z' }));

  it('goes by the last run that made a snapshot, of this remote alone', () => {
    const other = run('2020-01-01T00-00-00Z').map(each => ({ ...each, remote: 'other' }));
    const journal = [...run('2020-01-01T00-00-00Z'), ...run('2026-11-23T00-12-01Z'), ...run(null), ...other];
    assert.equal(measureSkew(journal, 'nas')?.skewMs, 0);
    assert.equal(measureSkew(run('2026-11-23T00-12-01Z'), 'other'), undefined);
  });

  it('does not know, when the journal does not tell', () => {
    const [started, granted, finished] = run('2026-11-23T00-12-01Z');
    for (const journal of [
      [],
      [{}],
      [finished],
      [started, finished],
      [granted, finished],
      [granted, started, finished],
      [started, granted],
      run(null),
      run('2026-02-30T00-00-00Z'),
      run('latest'),
      run('2026-11-23T00-12-01Z', 'yesterday'),
      run('2026-11-23T00-12-01Z', '2026-11-23T00:12:03Z', '2026-11-23T00:12:02Z'),
    ])
      assert.equal(
        measureSkew(journal as Record<string, unknown>[], 'nas'),
        undefined,
        JSON.stringify(journal),
      );
  });

  it('warns from a minute on', () => {
    const at = '2026-11-23T00:12:00.500Z';
    check(checkClock('nas', { skewMs: 0, at }), 'ok');
    check(checkClock('nas', { skewMs: -59_999, at }), 'ok');
    check(checkClock('nas', { skewMs: 60_000, at }), 'warning', /60 s ahead of this one/, /^timedatectl/);
    check(checkClock('nas', { skewMs: -3_600_000, at }), 'warning', /3600 s behind this one/);
    check(checkClock('nas', undefined), 'unknown', undefined, /^dialback backup$/);
  });
});

describe('host: checkStore()', () => {
  const us = { uid: 990, name: 'dialback' };
  it('is content with a folder of its own', () =>
    check(checkStore('/s', { uid: 990, mode: 0o40700 }, us, true), 'ok'));
  it("refuses somebody else's, one that others can look into, one that cannot be written to", () => {
    check(checkStore('/s', { uid: 5, mode: 0o40700 }, us, true), 'critical', /uid 5/, /^runuser/);
    for (const mode of [0o40750, 0o40705, 0o40710, 0o40777])
      check(
        checkStore('/s', { uid: 990, mode }, us, true),
        'critical',
        /open to others/,
        /^chmod 700 '\/s'$/,
      );
    check(checkStore('/s', { uid: 990, mode: 0o40500 }, us, false), 'critical', /cannot write to/);
  });
});

describe('host: checkProbe()', () => {
  const good = {
    type: 'ext4',
    xattrs: undefined,
    links: undefined,
    hasNanoseconds: true,
    hasLateTimes: true,
  };
  it('is content with ext4, and tells its limit of links', () => {
    const findings = checkProbe('/s', good, true);
    assert.deepEqual(states(findings), ['ok', 'ok', 'ok']);
    assert.match(findings[1]?.found ?? '', /65000 to a file/);
    assert.doesNotMatch(checkProbe('/s', { ...good, type: 'xfs' }, true)[1]?.found ?? '', /to a file/);
  });
  it('warns of the limit when rsync gets no library that goes on there', () => {
    assert.deepEqual(states(checkProbe('/s', good, false)), ['ok', 'warning', 'ok']);
    assert.deepEqual(states(checkProbe('/s', { ...good, type: 'xfs' }, false)), ['ok', 'ok', 'ok']);
  });
  it('refuses what cannot keep a backup', () => {
    assert.deepEqual(states(checkProbe('/s', { ...good, xattrs: 'x' }, true)), ['critical', 'ok', 'ok']);
    assert.deepEqual(states(checkProbe('/s', { ...good, links: 'permission denied' }, true)), [
      'ok',
      'critical',
      'ok',
    ]);
    assert.deepEqual(states(checkProbe('/s', { ...good, hasNanoseconds: false }, true)), [
      'ok',
      'ok',
      'warning',
    ]);
  });
});

describe('host: checkProbe(), of times', () => {
  const probe = {
    type: 'ext4',
    xattrs: undefined,
    links: undefined,
    hasNanoseconds: true,
    hasLateTimes: true,
  };
  const judge = (more: object): Finding => checkProbe('/s', { ...probe, ...more }, true)[2] ?? assert.fail();
  it('warns when times after 2038 are cut, and names the lack of nanoseconds first', () => {
    check(judge({ hasLateTimes: false }), 'warning', /cuts times after 2038/, /inodes of 256 bytes/);
    check(judge({ hasLateTimes: false, hasNanoseconds: false }), 'warning', /does not keep them/);
    check(judge({}), 'ok', /keeps them/);
  });
});

describe('host: checkSpace() and checkInodes()', () => {
  const GIB = 1024 ** 3 / 4096;
  const room = (bavail: number, blocks: number) => ({
    bsize: 4096,
    blocks,
    bavail,
    files: 1000,
    ffree: 1000,
  });
  const cases: [free: number, all: number, State][] = [
    [500, 1000, 'ok'],
    [100, 1000, 'ok'],
    [99, 1000, 'warning'],
    [20, 1000, 'warning'],
    [19, 1000, 'critical'],
    [0.9, 2, 'warning'],
    [0.05, 1, 'critical'],
    [0, 1000, 'critical'],
    [0, 0, 'critical'],
  ];
  for (const [free, all, state] of cases)
    it(`are ${state} when ${free} of ${all} GiB are free`, () =>
      check(checkSpace('/s', room(free * GIB, all * GIB)), state));
  for (const [ffree, files, state] of [
    [0, 0, 'ok'],
    [100, 1000, 'ok'],
    [99, 1000, 'warning'],
    [20, 1000, 'warning'],
    [19, 1000, 'critical'],
    [0, 1000, 'critical'],
  ] as const)
    it(`are ${state} when ${ffree} of ${files} inodes are free`, () =>
      check(checkInodes('/s', { ...room(1, 1), ffree, files }), state));
});

describe('host: checkLines()', () => {
  const blob = ed25519();
  const key: PublicKey = { type: 'ssh-ed25519', blob, comment: 'a test' };
  const facts = {
    path: '/h/.ssh/authorized_keys',
    clients: ['a', 'b'],
    executable: '/usr/local/bin/dialback',
    config: '/etc/dialback/host.toml',
    allowsPlainKey: false,
  };
  const line = (name: string, change: Partial<{ executable: string; config: string }> = {}): string =>
    enrolledLine({ executable: facts.executable, config: facts.config, ...change, name, key });
  const judge = (lines: string[], change: Partial<Parameters<typeof checkLines>[0]> = {}): Finding[] =>
    checkLines({ ...facts, lines, ...change });

  it('is content with lines as enroll writes them, comments and empty lines', () => {
    assert.deepEqual(states(judge(['# ours', '', line('a'), line('b'), ''])), ['ok']);
    assert.match(judge([line('a')])[0]?.found ?? '', /^one client is enrolled/);
    assert.deepEqual(states(judge([line('a')], { clients: undefined })), ['ok']);
  });
  it('finds two things where another executable is named and the client has no folder', () => {
    const found = judge([line('c', { executable: '/tmp/dialback' })]);
    assert.deepEqual(states(found), ['warning', 'critical']);
  });
  const refused: [what: string, lines: string[], state: State, next: RegExp][] = [
    ['no client is enrolled', [''], 'warning', /^dialback enroll NAME KEYFILE$/],
    [
      'another executable is named',
      [line('a', { executable: '/tmp/dialback' })],
      'warning',
      /^echo 'ssh-ed25519 \S+ a test' \| dialback enroll a - --config '\/etc\/dialback\/host\.toml'$/,
    ],
    [
      'another config is named',
      [line('a', { config: '/home/x/host.toml' })],
      'warning',
      /dialback enroll a -/,
    ],
    [
      'there are more options',
      [`${line('a')}`.replace('restrict,', 'restrict,command="x",')],
      'warning',
      /./,
    ],
    ['the client has no folder', [line('c')], 'critical', /dialback enroll c -/],
    [
      'a client of another config has no folder in this store',
      [line('c', { config: '/home/x/host.toml' })],
      'warning',
      /dialback enroll c -/,
    ],
    [
      'the key is bare',
      [`ssh-ed25519 ${blob}`, line('a')],
      'warning',
      /^remove it: sed -i 1d '\/h\/\.ssh\/authorized_keys'$/,
    ],
    [
      'another command is forced',
      [`restrict,command="sh" ssh-ed25519 ${blob}`, line('a')],
      'warning',
      /sed -i 1d/,
    ],
    ['pty is allowed', [line('a').replace('restrict,', 'restrict,pty,'), line('a')], 'warning', /sed -i 1d/],
    [
      'the key is none',
      [line('a').replace(/ ssh-ed25519.*/, ' ssh-ed25519 AAAA')],
      'warning',
      /enroll a KEYFILE/,
    ],
  ];
  for (const [what, lines, state, next] of refused)
    it(`is ${state} when ${what}`, () => {
      const bad = judge(lines).filter(each => each.state === state && next.test(each.next ?? ''));
      assert.ok(bad.length > 0, JSON.stringify(judge(lines)));
      for (const each of judge(lines)) check(each, each.state);
    });
  it('takes a bare key where one account is one client', () =>
    assert.deepEqual(states(judge([`ssh-ed25519 ${blob}`], { allowsPlainKey: true })), ['ok']));
});

/** A made-up key of the right shape (RFC 4251 section 5, RFC 8709 section 4). */
function ed25519(): string {
  const name = Buffer.from('ssh-ed25519');
  const length = (bytes: number) => Buffer.from([0, 0, 0, bytes]);
  return Buffer.concat([length(name.length), name, length(32), Buffer.alloc(32, 7)]).toString('base64');
}

describe('host: checkSshd()', () => {
  const good: Parameters<typeof checkSshd>[0] = {
    port: 22,
    isThere: true,
    usesPam: true,
    isLocked: true,
    name: 'dialback',
  };
  it('is content where something listens and the account can be let in', () => {
    check(checkSshd(good), 'ok');
    check(checkSshd({ ...good, usesPam: false, isLocked: false }), 'ok');
  });
  it('warns of nothing that listens, and of a locked account without PAM', () => {
    check(checkSshd({ ...good, isThere: false }), 'warning', /port 22/, /^systemctl/);
    check(checkSshd({ ...good, usesPam: false }), 'unknown', /locked/, /^as root: usermod -p NP dialback$/);
  });
});

describe('doctorText() and parseFindings()', () => {
  const findings: Finding[] = [
    new Topic('machine.kernel', 'why').ok('Linux'),
    new Topic('client.known_hosts', 'it has the key').critical('none\u001b[2J', "chmod 'a\\b'"),
    new Topic('machine.rsync', 'holes').warning('old', 'apt-get install rsync'),
  ];
  it('put them in groups, and tell why and what to do only where something is wrong', () => {
    assert.equal(
      doctorText(findings),
      [
        'machine',
        '  ok        kernel: Linux',
        '  warning   rsync: old',
        '            why: holes',
        '            next: apt-get install rsync',
        'client',
        '  critical  known hosts: none?[2J',
        '            why: it has the key',
        "            next: chmod 'a\\b'",
        '1 critical, 1 warning, 0 unknown, 1 ok',
        '',
      ].join('\n'),
    );
  });
  it('give back what was printed as JSON', () =>
    assert.deepEqual(parseFindings(JSON.stringify(findings)), findings));
  it('take nothing else', () => {
    const [first] = findings;
    for (const other of [
      '',
      'x',
      '{}',
      'null',
      '[null]',
      '[{}]',
      JSON.stringify([{ ...first, state: 'fine' }]),
      JSON.stringify([{ ...first, next: 1 }]),
      JSON.stringify([{ ...first, found: null }]),
    ])
      assert.equal(parseFindings(other), undefined, other);
  });
});
