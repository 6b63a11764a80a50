import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { forcedCommand } from '../src/client/ticket.ts';
import { isEd25519Key } from '../src/wire/key.ts';
import {
  type CallOptions,
  callArguments,
  dialConfig,
  knownHostsName,
  OPEN_OPTIONS,
  oneTimeKeyLine,
  sshdConfig,
} from '../src/wire/ssh.ts';

const SSHD = '/usr/sbin/sshd';
const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' };

/** As an ordinary user, whoever runs the tests: `nobody` where it is root. */
const ORDINARY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

let top = '';
let run = '';
before(() => {
  top = mkdtempSync(`${tmpdir()}/dialback ssh `);
  chmodSync(top, 0o755);
  run = `${top}/state of  ünit/run-aB3xYz`;
  mkdirSync(run, { recursive: true, mode: 0o700 });
  call('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', `${run}/host_key`], {});
  for (const path of [`${top}/state of  ünit`, run, `${run}/host_key`])
    if (ORDINARY.uid !== undefined) chownSync(path, ORDINARY.uid, ORDINARY.gid);
});
after(() => rmSync(top, { recursive: true, force: true }));

function call(program: string, args: string[], account: { uid?: number; gid?: number } = ORDINARY): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...ENVIRONMENT, HOME: top },
    ...account,
  });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

/** What `sshd -T` and `ssh -G` print, by key. */
function valuesOf(text: string): Map<string, string> {
  // OpenSSH before 8.9 prints a number for the class 4, and before 8.2 an older name of it.
  const plain = text.replace(/^ipqos (0x04|reliability) \1$/m, 'ipqos le le');
  return new Map(
    plain.split('\n').map(line => [line.split(' ')[0] ?? '', line.slice(line.indexOf(' ') + 1)]),
  );
}

describe('sshdConfig()', () => {
  const forced = (): string => forcedCommand(['/opt/dial back/dialback', 'gate', '--run', run]);
  const text = (): string => sshdConfig({ run, forcedCommand: forced(), graceSeconds: 15, idleSeconds: 300 });

  it('is accepted by the real sshd of an ordinary user, each option as it was set', () => {
    writeFileSync(`${run}/sshd_config`, text());
    chmodSync(`${run}/sshd_config`, 0o644);
    const values = valuesOf(call(SSHD, ['-T', '-f', `${run}/sshd_config`]));
    const expected: Record<string, string> = {
      hostkey: `${run}/host_key`,
      authorizedkeysfile: `${run}/authorized_keys`,
      forcecommand: forced(),
      strictmodes: 'yes',
      authenticationmethods: 'publickey',
      pubkeyauthentication: 'yes',
      passwordauthentication: 'no',
      kbdinteractiveauthentication: 'no',
      hostbasedauthentication: 'no',
      usepam: 'no',
      disableforwarding: 'yes',
      allowagentforwarding: 'no',
      allowtcpforwarding: 'no',
      allowstreamlocalforwarding: 'no',
      x11forwarding: 'no',
      gatewayports: 'no',
      permittunnel: 'no',
      permittty: 'no',
      permituserrc: 'no',
      permituserenvironment: 'no',
      acceptenv: 'nothing',
      maxsessions: '1',
      maxauthtries: '2',
      logingracetime: '15',
      clientaliveinterval: '15',
      clientalivecountmax: '4',
      compression: 'no',
      ipqos: 'le le',
      usedns: 'no',
      printmotd: 'no',
      printlastlog: 'no',
      banner: 'none',
      pidfile: 'none',
      loglevel: 'VERBOSE',
    };
    const set = text()
      .trimEnd()
      .split('\n')
      .map(line => line.split(' ')[0]?.toLowerCase());
    assert.deepEqual(set.toSorted(), Object.keys(expected).sort(), 'an option has no line in this test');
    // OpenSSH before 8.7 has this option beside it, which turns it on again. AuthenticationMethods allows neither.
    if (values.get('challengeresponseauthentication') === 'yes')
      expected.kbdinteractiveauthentication = 'yes';
    for (const [key, value] of Object.entries(expected)) {
      // sshd 9.2 quotes what has blanks, newer ones do not
      const found = values.get(key)?.replace(/^"(.*)"$/, '$1');
      assert.equal(found, value, key);
    }
  });

  it('gives the network class as a decimal number, since 8.0 and 8.1 do not know its name, and 10.0 refuses others', () => {
    assert.match(text(), /^IPQoS 4$/m);
  });

  it('sets nothing twice', () => {
    const keys = text()
      .split('\n')
      .flatMap(line => line.split(' ')[0] || []);
    assert.equal(new Set(keys).size, keys.length);
  });

  it('keeps a `%` in the path of the run folder as it is', () => {
    const odd = `${top}/100%h`;
    mkdirSync(odd);
    writeFileSync(
      `${odd}/sshd_config`,
      sshdConfig({ run: odd, forcedCommand: 'x', graceSeconds: 15, idleSeconds: 300 }),
    );
    writeFileSync(`${odd}/host_key`, readFileSync(`${run}/host_key`), { mode: 0o600 });
    if (ORDINARY.uid !== undefined) chownSync(`${odd}/host_key`, ORDINARY.uid, ORDINARY.gid);
    assert.match(
      call(SSHD, ['-T', '-f', `${odd}/sshd_config`]),
      /^authorizedkeysfile .*100%%h\/authorized_keys"?$/m,
    );
  });
});

describe('oneTimeKeyLine()', () => {
  const key = (): string => readFileSync(`${run}/host_key.pub`, 'utf8').trim();
  const line = (expires: Date, from = ['192.0.2.1', '2001:db8::/32']): string =>
    oneTimeKeyLine({ from, expires, forcedCommand: `'/opt/dial back' gate --run 'x "y"'`, key: key() });

  it('is one line: restrict, from, a time in UTC, the command, the key', () => {
    assert.equal(
      line(new Date('2026-01-02T03:04:05.678Z')),
      'restrict,from="192.0.2.1,2001:db8::/32",expiry-time="20260102030405",' +
        `command="'/opt/dial back' gate --run 'x \\"y\\"'" ${key()}\n`,
    );
    assert.ok(isEd25519Key(key()));
  });

  it('names link-local addresses with any zone too', () => {
    const from = (...ranges: string[]): string | undefined =>
      /from="([^"]*)"/.exec(line(new Date(0), ranges))?.[1];
    assert.equal(from('192.0.2.1', 'FE80:0::1'), '192.0.2.1,FE80:0::1,fe80::1%*');
    assert.equal(from('fe80::/64'), 'fe80::/64,fe80:*%*');
    assert.equal(from('::/0'), '::/0,fe80:*%*');
    assert.equal(from('2001:db8::/32', 'fec0::1', '0.0.0.0/0'), '2001:db8::/32,fec0::1,0.0.0.0/0');
  });

  it('has a time of fourteen digits, in UTC, whatever the day', () => {
    const day = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true });
    fc.assert(
      fc.property(day, expires => {
        const stamp = /expiry-time="(\d{14})"/.exec(line(expires))?.[1] ?? '';
        const iso = stamp.replace(/^(....)(..)(..)(..)(..)(..)$/, '$1-$2-$3T$4:$5:$6Z');
        assert.equal(new Date(iso).getTime(), Math.floor(expires.getTime() / 1000) * 1000);
      }),
    );
  });

  it('is a key to the real ssh-keygen', () => {
    writeFileSync(`${run}/line`, line(new Date()));
    assert.match(call('ssh-keygen', ['-l', '-f', `${run}/line`], {}), /^256 SHA256:.*\(ED25519\)$/m);
  });
});

/** ALWAYS, as `ssh -G` prints it; what is missing here it does not print. */
const ALWAYS: Record<string, string> = {
  batchmode: 'yes',
  stricthostkeychecking: 'true',
  globalknownhostsfile: '/dev/null',
  updatehostkeys: 'false',
  verifyhostkeydns: 'false',
  identitiesonly: 'yes',
  preferredauthentications: 'publickey',
  controlmaster: 'false',
  controlpersist: 'no',
  clearallforwardings: 'yes',
  forwardagent: 'no',
  forwardx11: 'no',
  tunnel: 'false',
  permitlocalcommand: 'no',
  requesttty: 'false',
  escapechar: 'none',
  compression: 'no',
  ipqos: 'le le',
  serveraliveinterval: '15',
  serveralivecountmax: '4',
};

/** Checks what `ssh -G` says; paths come out as they went in. */
function checkValues(text: string, expected: Record<string, string>): void {
  const values = valuesOf(text);
  for (const [key, value] of Object.entries({ ...ALWAYS, ...expected }))
    assert.equal(values.get(key)?.replace(/^"(.*)"$/, '$1'), value, key);
  assert.ok(!values.has('controlpath') || values.get('controlpath') === 'none');
}

describe('dialConfig()', () => {
  const options = () => ({
    run,
    address: '192.0.2.7',
    port: 40_022,
    user: 'backup',
    alias: 'dialback-x',
    connectSeconds: 20,
    idleSeconds: 300,
  });

  it('is accepted by the real ssh, each option as it was set', () => {
    writeFileSync(`${run}/ssh_config`, dialConfig(options()));
    checkValues(call('ssh', ['-G', '-F', `${run}/ssh_config`, 'client'], {}), {
      hostname: '192.0.2.7',
      port: '40022',
      user: 'backup',
      hostkeyalias: 'dialback-x',
      hostkeyalgorithms: 'ssh-ed25519',
      userknownhostsfile: `${run}/known_hosts`,
      identityagent: `${run}/agent`,
      identityfile: `${run}/key.pub`,
      checkhostip: 'no',
      canonicalizehostname: 'false',
      connecttimeout: '20',
      connectionattempts: '1',
      loglevel: 'ERROR',
    });
  });

  it('takes an IPv6 address, with a zone too', () => {
    for (const address of ['2001:db8::1', 'fe80::1%eth0']) {
      writeFileSync(`${run}/ssh_config`, dialConfig({ ...options(), address }));
      checkValues(call('ssh', ['-G', '-F', `${run}/ssh_config`, 'client'], {}), { hostname: address });
    }
  });

  it('says nothing of any other host', () => {
    writeFileSync(`${run}/ssh_config`, dialConfig(options()));
    const values = valuesOf(call('ssh', ['-G', '-F', `${run}/ssh_config`, 'elsewhere'], {}));
    assert.equal(values.get('hostname'), 'elsewhere');
    assert.notEqual(values.get('port'), '40022');
  });

  it('sets nothing twice', () => {
    const keys = dialConfig(options())
      .trimEnd()
      .split('\n')
      .map(line => line.trim().split(' ')[0]?.toLowerCase());
    assert.equal(new Set(keys).size, keys.length);
  });
});

describe('callArguments()', () => {
  const options = (more: Partial<CallOptions> = {}): CallOptions => ({
    target: 'me@backup.example.org',
    identity: `${run}/my key`,
    knownHosts: `${run}/my known hosts`,
    logFile: `${run}/ssh log`,
    connectSeconds: 30,
    idleSeconds: 300,
    more: [],
    command: 'laptop:40022',
    ...more,
  });
  const asked = (more: Partial<CallOptions> = {}): string =>
    call('ssh', ['-G', ...callArguments(options(more))], {});

  it('is accepted by the real ssh, each option as it was set', () => {
    checkValues(asked(), {
      hostname: 'backup.example.org',
      user: 'me',
      identityfile: `${run}/my key`,
      identityagent: 'none',
      userknownhostsfile: `${run}/my known hosts`,
      loglevel: 'ERROR',
      connecttimeout: '30',
    });
    assert.deepEqual(callArguments(options()).slice(-3), ['--', 'me@backup.example.org', 'laptop:40022']);
  });

  it("reads neither the user's nor the system's config", () => {
    mkdirSync(`${top}/.ssh`, { recursive: true });
    writeFileSync(`${top}/.ssh/config`, 'Host *\n  Port 4444\n  ProxyCommand false\n');
    const values = valuesOf(asked());
    assert.equal(values.get('port'), '22');
    assert.ok(!values.has('proxycommand'));
    assert.ok(existsSync(`${top}/.ssh/config`));
  });

  it("takes the config's options, a port and a jump host among them", () => {
    const values = valuesOf(
      asked({ more: ['Port=2222', 'ProxyJump=jump.example.org', 'HostName=192.0.2.1', 'ConnectTimeout=5'] }),
    );
    assert.equal(values.get('port'), '2222');
    assert.equal(values.get('proxyjump'), 'jump.example.org');
    assert.equal(values.get('hostname'), '192.0.2.1');
    assert.equal(values.get('connecttimeout'), '5');
  });

  it('keeps each option of its own, when the config names another value for it', () => {
    const plain = valuesOf(asked());
    for (const key of Object.keys(ALWAYS)) {
      // The config takes none of them; this is the second wall.
      assert.ok(!OPEN_OPTIONS.has(key), key);
    }
    const values = valuesOf(
      asked({ more: ['StrictHostKeyChecking=no', 'IdentitiesOnly=no', 'ForwardAgent=yes', 'BatchMode=no'] }),
    );
    for (const key of Object.keys(ALWAYS)) assert.equal(values.get(key), plain.get(key), key);
  });

  it('takes ssh:// targets with a port, and bare IPv6 addresses', () => {
    assert.equal(valuesOf(asked({ target: 'ssh://me@backup.example.org:2222' })).get('port'), '2222');
    assert.equal(valuesOf(asked({ target: 'me@2001:db8::1' })).get('hostname'), '2001:db8::1');
    const bracketed = valuesOf(asked({ target: 'ssh://me@[2001:db8::1]:2222', more: ['Port=22'] }));
    assert.deepEqual(
      ['user', 'hostname', 'port'].map(key => bracketed.get(key)),
      ['me', '2001:db8::1', '2222'],
    );
  });

  it('takes a target that looks like an option for a host name', () => {
    const words = ['-G', ...callArguments(options({ target: '-oProxyCommand=id' }))];
    const { status, stdout } = spawnSync('ssh', words, {
      encoding: 'utf8',
      env: { ...ENVIRONMENT, HOME: top },
    });
    if (status !== 0) return; // newer versions refuse such a name
    assert.equal(valuesOf(stdout).get('hostname'), '-oproxycommand=id');
    assert.ok(!valuesOf(stdout).has('proxycommand'));
  });
});

describe('knownHostsName()', () => {
  for (const [target, name] of [
    ['backup', 'backup'],
    ['me@Backup.Example.ORG', 'backup.example.org'],
    ['ssh://me@backup', 'backup'],
    ['ssh://backup:22', 'backup'],
    ['ssh://backup:0022', 'backup'],
    ['ssh://me@backup:2222', '[backup]:2222'],
    ['ssh://192.0.2.1:65535', '[192.0.2.1]:65535'],
    ['192.0.2.1', '192.0.2.1'],
    ['::1', '::1'],
    ['me@2001:DB8::1', '2001:db8::1'],
    ['ssh://me@[2001:DB8::1]', '2001:db8::1'],
    ['ssh://[2001:DB8::1]:2222', '[2001:db8::1]:2222'],
    ['ssh://[::1]:0', undefined],
    ['ssh://me@[fe80::1%eth0]:2222', '[fe80::1%eth0]:2222'],
    ['ssh://backup:0', undefined],
    ['ssh://backup:65536', undefined],
  ] as const)
    it(`${name === undefined ? 'refuses' : `is ${name} for`} ${target}`, () =>
      assert.equal(knownHostsName(target), name));

  it('is the name and the port that ssh itself makes of the target', () => {
    for (const target of [
      'me@Backup.Example.ORG',
      'ssh://me@backup:2222',
      'ssh://BOX:0022',
      '192.0.2.1',
      'me@2001:db8::1',
    ]) {
      const values = valuesOf(call('ssh', ['-G', '-F', 'none', '--', target]));
      const [host, port] = [values.get('hostname'), values.get('port')];
      assert.equal(knownHostsName(target), port === '22' ? host : `[${host}]:${port}`);
    }
  });
});
