import { describe, it } from 'node:test';
import { checkHome } from '../../src/doctor/account.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { checkKernel, checkProcess } from '../../src/doctor/machine.ts';
import { checkPrograms, checkReader } from '../../src/doctor/programs.ts';
import { checkShell } from '../../src/doctor/shell.ts';
import { Fault } from '../../src/fault.ts';
import type { Subject } from '../../src/os/account.ts';
import { check } from '../support/findings.ts';
import { matching, says, wording } from '../support/wording.ts';

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
      check(kernel({ ...change, isNeeded: false }), 'ok', matching`${says('no-config-here-uses-it')}$`);
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
    check(judge({ isThere }), 'critical', undefined, matching`; ${says('or-transport-channel-in-client')}, `);
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
      judge({ result: new Fault({ tried: 'x', found: `${wording('it-did-not-end-within')} 10 s` }) }),
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
      matching`^usermod .*; or let "\/home\/anna\/\.bashrc" ${says('print-only-to-a-terminal')}`,
    );
  });
  it('warns of what it says on standard error', () =>
    check(judge({ result: { ...silent, stderr: 'tput: no terminal\n' } }), 'warning', /tput/));
  it('does not know what was not tried', () => check(judge({ result: undefined }), 'unknown'));
});
