import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CLIENT_SCHEMA,
  type ClientConfig,
  calledRemotes,
  clientName,
  excludeFiles,
  ownNiceness,
  remoteName,
  stateFolder,
} from '../src/client/config.ts';
import { Fault } from '../src/fault.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { OPEN_OPTIONS } from '../src/wire/ssh.ts';
import { matching, says, wording } from './support/wording.ts';

const REMOTE = '[[remote]]\ntarget = "me@backup"\n';
const LOCAL = '[[remote]]\ntransport = "local"\ntarget = "/mnt/usb/store"\n';

function read(text: string): ClientConfig {
  return parseConfig(text, 'client.toml', CLIENT_SCHEMA);
}

function found(text: string): string {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error.found.replace(/^line \d+: /, '');
  }
  return 'accepted';
}

describe('excludeFiles()', () => {
  it('takes one path, and a list of paths', () => {
    const files = (text: string): string[] => excludeFiles(read(`${REMOTE}[scope]\n${text}`));
    assert.deepEqual(files(''), []);
    assert.deepEqual(files('exclude_from = "/a"'), ['/a']);
    assert.deepEqual(files('exclude_from = ["/a", "/b"]'), ['/a', '/b']);
  });
});

const EXCLUDE_FROM = `"scope.exclude_from" ${wording('should-be-an-absolute-path-or-list')}`;
const NO_EFFECT = wording('has-no-effect-with-transport-channel');

const REFUSED: [text: string, found: string | RegExp][] = [
  ['', '"remote" is missing'],
  ['remote = []', `"remote" ${wording('must-name-at-least-one-remote')}`],
  ['[remote]\ntarget = "h"', '"remote" is a table, and should be a list'],
  ['[[remote]]', '"remote.0.target" is missing'],
  ['[[remote]]\ntarget = 1', '"remote.0.target" is 1, and should be a string'],
  [`${REMOTE}port = 22`, 'unknown key "remote.0.port"'],
  ...['"Local"', '""', '"Channel"', '"CHANNEL"', '"channel "', '"both"', '["channel"]', 'true', '1'].map(
    (value): [string, RegExp] => [
      `${REMOTE}transport = ${value}`,
      matching`^"remote\.0\.transport" .*${says('should-be-direct-channel-or')}$`,
    ],
  ),
  [`${REMOTE}transport = "channel"\nfrom = ["192.0.2.1"]`, `"remote.0.from" ${NO_EFFECT}`],
  [`${REMOTE}transport = "channel"\nlisten = "[::]:0"`, `"remote.0.listen" ${NO_EFFECT}`],
  [
    `${REMOTE}${REMOTE}transport = "channel"\nfrom = ["::1"]\nlisten = "[::]:0"`,
    `"remote.1.from" ${NO_EFFECT}`,
  ],
  ...[
    'identity = "/k"',
    'known_hosts = "/k"',
    'from = ["::1"]',
    'listen = "[::]:0"',
    'ssh_options = ["Port=22"]',
  ].map((line): [string, string] => [
    `${LOCAL}${line}`,
    `"remote.0.${line.split(' ')[0]}" ${wording('has-no-effect-with-transport')}`,
  ]),
  ...['host_config = "/h"', 'same_filesystem = true', 'same_filesystem = false', 'absent = "fail"'].flatMap(
    line =>
      ['', 'transport = "channel"\n'].map((transport): [string, string] => [
        `${REMOTE}${transport}${line}`,
        `"remote.0.${line.split(' ')[0]}" ${wording('has-an-effect-only-with')}`,
      ]),
  ),
  [`${LOCAL}absent = "ask"`, `"remote.0.absent" is "ask", and ${wording('should-be-fail-skip-or')}`],
  [`${LOCAL}absent = true`, matching`^"remote\.0\.absent" is true, and ${says('should-be-fail-skip-or')}$`],
  [`${LOCAL}same_filesystem = "yes"`, '"remote.0.same_filesystem" is "yes", and should be true or false'],
  [`${LOCAL}host_config = "h"`, matching`^"remote\.0\.host_config" ${says('should-be-an-absolute-path')}`],
  ['[[remote]]\ntransport = "local"', '"remote.0.target" is missing'],
  ...[
    '',
    '/',
    'usb',
    './usb',
    '~/usb',
    '/mnt/usb/',
    '/mnt//usb',
    '/mnt/../usb',
    '/mnt/./usb',
    'me@backup',
  ].map((target): [string, RegExp] => [
    `[[remote]]\ntransport = "local"\ntarget = "${target}"`,
    matching`^"remote\.0\.target" ${says('should-be-the-absolute-path-of')}`,
  ]),
  [
    '[[remote]]\ntransport = "local"\ntarget = "/mnt\\n"',
    matching`^"remote\.0\.target" ${says('should-be-the-absolute-path')}`,
  ],
  [
    '[[remote]]\ntransport = "channel"\ntarget = "/mnt/usb"',
    matching`^"remote\.0\.target" should be .* ${says('a-folder-goes-with-transport')}$`,
  ],
  // What is wrong in itself is said first.
  [`${REMOTE}transport = "channel"\nlisten = "8022"`, /^"remote\.0\.listen" should be ADDR:PORT/],
  [`${REMOTE}from = []`, `"remote.0.from" ${wording('must-not-be-empty-it')}`],
  [`${REMOTE}from = "192.0.2.1"`, '"remote.0.from" is "192.0.2.1", and should be a list'],
  [`${REMOTE}from = ["backup.example.org"]`, `"remote.0.from.0" ${wording('should-be-an-address-or')}`],
  [`${REMOTE}from = ["192.0.2.1", "*"]`, `"remote.0.from.1" ${wording('should-be-an-address-or')}`],
  [`${REMOTE}listen = "8022"`, `"remote.0.listen" ${wording('should-be-addr-port-such')}`],
  [`${REMOTE}listen = 8022`, '"remote.0.listen" is 8022, and should be a string'],
  [`${REMOTE}identity = "id"`, matching`^"remote\.0\.identity" ${says('should-be-an-absolute-path')}`],
  [
    `${REMOTE}known_hosts = ".ssh/x"`,
    matching`^"remote\.0\.known_hosts" ${says('should-be-an-absolute-path')}`,
  ],
  [`${REMOTE}name = "A b"`, matching`^"remote\.0\.name" ${says('should-be-1-to-63')}`],
  [`name = "-a"\n${REMOTE}`, matching`^"name" ${says('should-be-1-to-63')}`],
  [`state = "x"\n${REMOTE}`, matching`^"state" ${says('should-be-an-absolute-path')}`],
  [`${REMOTE}[scope]\nroots = []`, `"scope.roots" ${wording('must-name-at-least-one')}`],
  [`${REMOTE}[scope]\nroots = ["home"]`, matching`^"scope\.roots\.0" ${says('should-be-an-absolute-path')}`],
  [`${REMOTE}[scope]\nroots = ["/a/"]`, matching`^"scope\.roots\.0" ${says('should-be-a-path-without')}`],
  [`${REMOTE}[scope]\nroots = ["/a/../b"]`, matching`^"scope\.roots\.0" ${says('should-be-a-path-without')}`],
  [
    `${REMOTE}[scope]\nnever = ["/a", "b"]`,
    matching`^"scope\.never\.1" ${says('should-be-an-absolute-path')}`,
  ],
  [`${REMOTE}[scope]\nnever = ["/a\\nb"]`, `"scope.never.0" ${wording('has-a-control-character')}`],
  [`${REMOTE}[scope]\nexclude = "*.o"`, '"scope.exclude" is "*.o", and should be a list'],
  [`${REMOTE}[scope]\nmounts = "none"`, `"scope.mounts" is "none", and ${wording('should-be-local-all-or')}`],
  [`${REMOTE}[scope]\nexclude_from = 1`, EXCLUDE_FROM],
  [`${REMOTE}[scope]\nexclude_from = ["/a", 1]`, EXCLUDE_FROM],
  [`${REMOTE}[scope]\nexclude_from = ["relative"]`, EXCLUDE_FROM],
  [`${REMOTE}[scope]\nexcludes = []`, 'unknown key "scope.excludes" (did you mean "exclude"?)'],
  [`${REMOTE}[scope]\nroots = [${'"/a",'.repeat(257)}]`, `"scope.roots" ${wording('names-too-many-roots')}`],
  [`${REMOTE}[limits]\nnice = 20`, `"limits.nice" ${wording('should-be-0-to-19')}`],
  [`${REMOTE}[limits]\nnice = -1`, `"limits.nice" ${wording('should-be-0-to-19')}`],
  [`${REMOTE}[limits]\nnice = 0.5`, `"limits.nice" ${wording('should-be-a-whole-number')}`],
  [`${REMOTE}[limits]\nnice = inf`, `"limits.nice" ${wording('should-be-a-whole-number')}`],
  [`${REMOTE}[limits]\nnice = "5"`, '"limits.nice" is "5", and should be a number'],
  [
    `${REMOTE}[limits]\nionice = "rt"`,
    `"limits.ionice" is "rt", and ${wording('should-be-idle-best-effort')}`,
  ],
  [`${REMOTE}[limits]\nbwlimit = "5MB"`, matching`^"limits\.bwlimit" ${says('should-be-a-size-such')}`],
  [`${REMOTE}[limits]\nbwlimit = 5`, '"limits.bwlimit" is 5, and should be a string'],
  [
    `${REMOTE}[limits]\ncompress = "zlib"`,
    `"limits.compress" is "zlib", and ${wording('should-be-zstd-or-no')}`,
  ],
  [
    `${REMOTE}[limits]\ncompress = true`,
    matching`^"limits\.compress" is true, and ${says('should-be-zstd-or-no')}`,
  ],
  [`${REMOTE}[limits]\ncompress = ""`, /^"limits\.compress" is "", and should be/],
  [`${REMOTE}[limits]\ndeadline = "0s"`, matching`^"limits\.deadline" ${says('should-be-at-least')} 1 s`],
  [
    `${REMOTE}[limits]\nidle_timeout = "5"`,
    matching`^"limits\.idle_timeout" ${says('should-be-a-time-such')}`,
  ],
  [
    `${REMOTE}[limits]\nchecksum_every = "7"`,
    matching`^"limits\.checksum_every" ${says('should-be-a-time-such')}`,
  ],
  [
    `${REMOTE}[limits]\nchecksum_every = "0s"`,
    matching`^"limits\.checksum_every" ${says('should-be-at-least')} 1 s`,
  ],
  [`${REMOTE}[limits]\nchecksum_every = 30`, '"limits.checksum_every" is 30, and should be a string'],
  [
    `${REMOTE}[schedule]\nwhen_locked = "skip"`,
    `"schedule.when_locked" is "skip", and ${wording('should-be-fail-or-wait')}`,
  ],
  [`${REMOTE}[schedule]\njitter = 10`, '"schedule.jitter" is 10, and should be a string'],
  [
    `${REMOTE}[schedule]\njitter = "25d"`,
    matching`^"schedule\.jitter" ${says('should-be-at-least-s', 0)} 24 days`,
  ],
  [`${REMOTE}[schedule]\nretry = "30"`, matching`^"schedule\.retry" ${says('should-be-a-time-such')}`],
  [`${REMOTE}[schedule]\nretry = true`, '"schedule.retry" is true, and should be a string'],
  [`${REMOTE}[schedule]\nattempts = 3`, 'unknown key "schedule.attempts"'],
  [`${REMOTE}[hooks]\nbefore = "x"`, matching`^"hooks.before" ${says('should-be-an-absolute-path-or')}`],
];

const TARGETS_REFUSED = [
  '',
  '-oProxyCommand=id',
  '-l',
  'a b',
  ' a',
  'a\n',
  'a;b',
  'a@b@c',
  '@a',
  'a@',
  'me@-x',
  'ssh://',
  'ssh://-x',
  'ssh://a/b',
  'ssh:/a',
  'http://a',
  'backup:22',
  'me@backup:22',
  '[::1]',
  '[::1]:22',
  'me@[::1]',
  'ssh://[backup]:22',
  'ssh://[::1',
  'ssh://::1]',
  'ssh://[::1]:',
  'ssh://[::1]22',
  'ssh://[-::1]',
  'ssh://::1',
  'ssh://::1:22',
  'ssh://a:',
  'ssh://a:123456',
  '$(id)',
  'a,b',
  'A@b',
  '/etc',
  "a'b",
];
/** What dialback sets itself, and what would change whom a call trusts, what it lends, what it prints or what it becomes. */
const REFUSED_OPTIONS = [
  ...['BatchMode', 'StrictHostKeyChecking', 'GlobalKnownHostsFile', 'UpdateHostKeys', 'VerifyHostKeyDNS'],
  ...[
    'IdentitiesOnly',
    'PreferredAuthentications',
    'ControlMaster',
    'ControlPath',
    'ControlPersist',
    'Tunnel',
  ],
  ...['ClearAllForwardings', 'ForwardAgent', 'ForwardX11', 'PermitLocalCommand', 'RequestTTY', 'EscapeChar'],
  ...['Compression', 'IPQoS', 'ServerAliveInterval', 'ServerAliveCountMax', 'IdentityFile', 'IdentityAgent'],
  ...[
    'UserKnownHostsFile',
    'LogLevel',
    'RemoteCommand',
    'LocalCommand',
    'SendEnv',
    'SetEnv',
    'Include',
    'Host',
  ],
  ...['Match', 'ForkAfterAuthentication', 'StdinNull', 'SessionType', 'CertificateFile', 'PKCS11Provider'],
  ...['LocalForward', 'RemoteForward', 'DynamicForward', 'NoHostAuthenticationForLocalhost'],
  ...[
    'KnownHostsCommand',
    'GSSAPIKeyExchange',
    'GSSAPIDelegateCredentials',
    'GSSAPITrustDns',
    'IdentityFile2',
  ],
  ...['SmartcardDevice', 'SecurityKeyProvider', 'AddKeysToAgent', 'LogVerbose', 'EnableEscapeCommandline'],
  ...[
    'HostbasedAuthentication',
    'EnableSSHKeysign',
    'PasswordAuthentication',
    'IgnoreUnknown',
    'UsePrivilegedPort',
  ],
  ...['ForwardX11Trusted', 'XAuthLocation', 'VisualHostKey', 'OfATimeToCome'],
];
const TARGETS_ACCEPTED = [
  'backup',
  'Backup.Example.ORG',
  'me@backup',
  'me.x@192.0.2.1',
  '192.0.2.1',
  'ssh://backup',
  'ssh://me@backup:2222',
  'ssh://192.0.2.1:22',
  '::1',
  'me@2001:db8::1',
  'fe80::1%eth0',
  'ssh://[::1]',
  'ssh://me@[2001:db8::1]:2222',
  'ssh://me@[fe80::1%eth0]:22',
  'a_b',
];

describe('CLIENT_SCHEMA', () => {
  for (const [text, expected] of REFUSED)
    it(`refuses ${JSON.stringify(text.replace(REMOTE, '… ')).slice(0, 70)} by its key`, () => {
      const reason = found(text);
      if (typeof expected === 'string') assert.equal(reason, expected);
      else assert.match(reason, expected);
    });

  for (const target of TARGETS_REFUSED)
    it(`refuses the target ${JSON.stringify(target)}`, () =>
      assert.equal(
        found(`[[remote]]\ntarget = ${JSON.stringify(target)}`),
        `"remote.0.target" ${wording('should-be-user-host-or')}`,
      ));
  for (const target of TARGETS_ACCEPTED)
    it(`accepts the target "${target}"`, () =>
      assert.equal(found(`[[remote]]\ntarget = "${target}"`), 'accepted'));

  it('takes ssh options that say how the host is reached', () => {
    for (const option of OPEN_OPTIONS)
      assert.equal(found(`${REMOTE}ssh_options = ["${option}=x"]`), 'accepted');
  });
  it('refuses each other ssh option, in any case of its letters', () => {
    for (const option of REFUSED_OPTIONS)
      for (const name of [option, option.toUpperCase()])
        assert.match(
          found(`${REMOTE}ssh_options = ["${name}=x"]`),
          matching`^"remote\.0\.ssh_options\.0" ${says('names-an-option-that')}`,
        );
  });
  for (const option of [
    '',
    'Port',
    'Port 22',
    'Port = 22',
    '=22',
    '-oPort=22',
    'Port=',
    'Port=22\\nProxyCommand=id',
    ' Port=22',
  ])
    it(`refuses the ssh option ${JSON.stringify(option)}`, () =>
      assert.match(
        found(`${REMOTE}ssh_options = ["${option}"]`),
        /^"remote\.0\.ssh_options\.0" should be "Option=value"/,
      ));

  it('takes a remote over channel, and from and listen of another one beside it', () => {
    const channel = `${REMOTE}name = "c"\ntransport = "channel"\nssh_options = ["Port=22"]\n`;
    const direct = `${REMOTE}transport = "direct"\nfrom = ["192.0.2.1"]\nlisten = "[::]:0"\n`;
    assert.deepEqual(
      read(channel + direct).remote.map(each => each.transport),
      ['channel', 'direct'],
    );
  });

  it('takes a store on this machine, which is called what its folder is, beside others', () => {
    const config = read(`${LOCAL}host_config = "/h"\nsame_filesystem = true\nabsent = "wait"\n${REMOTE}`);
    assert.deepEqual(config.remote.map(remoteName), ['/mnt/usb/store', 'backup']);
    assert.deepEqual(calledRemotes(config).map(remoteName), ['backup']);
    assert.deepEqual(JSON.parse(JSON.stringify(config.remote[0])), {
      ...{ target: '/mnt/usb/store', transport: 'local', ssh_options: [] },
      ...{ host_config: '/h', same_filesystem: true, absent: 'wait' },
    });
    assert.equal(read(`${LOCAL}name = "usb"`).remote.map(remoteName)[0], 'usb');
    for (const path of ['/mnt/usb', '/mnt/a b', '/m/@:x', '/é'])
      assert.equal(read(LOCAL.replace('/mnt/usb/store', path)).remote[0]?.target, path);
  });

  it('has a value for everything but the remote', () => {
    const config = read(REMOTE);
    assert.deepEqual(JSON.parse(JSON.stringify(config)), {
      schema: 1,
      remote: [{ target: 'me@backup', transport: 'direct', ssh_options: [] }],
      scope: {
        roots: ['/'],
        exclude: [],
        exclude_caches: false,
        exclude_if_present: [],
        never: [],
        mounts: 'local',
      },
      limits: { nice: 10, ionice: 'idle', deadline: 86_400_000, idle_timeout: 300_000, compress: 'zstd' },
      schedule: { when_locked: 'fail', jitter: 0, retry: 0 },
      hooks: { timeout: 600_000 },
      journal: { max_size: 4 * 1024 ** 2, keep: 400 * 86_400_000 },
    });
  });
});

describe('ClientConfig', () => {
  it('has the transport of each remote, which is direct where none is named', () => {
    const text = `${REMOTE}transport = "channel"\n${REMOTE}${REMOTE}transport = "direct"\n`;
    assert.deepEqual(
      read(text).remote.map(each => each.transport),
      ['channel', 'direct', 'direct'],
    );
  });
  it('remoteName() is the name, else the host of the target', () => {
    const name = (text: string): string => read(text).remote.map(remoteName).join();
    assert.equal(name(REMOTE), 'backup');
    assert.equal(name(`${REMOTE}name = "nas"`), 'nas');
    assert.equal(name('[[remote]]\ntarget = "ssh://me@backup:22"'), 'backup:22');
  });
  it('ownNiceness() follows the limits', () => {
    const of = (limits: string) => ownNiceness(read(`${REMOTE}[limits]\n${limits}`));
    assert.deepEqual(of(''), { nice: 10, ionice: { class: 'idle' } });
    assert.deepEqual(of('nice = 0\nionice = "none"'), { nice: 0, ionice: null });
    assert.deepEqual(of('ionice = "best-effort"'), { nice: 10, ionice: { class: 'best-effort', level: 7 } });
  });
  it('clientName() and stateFolder() take what is configured', () => {
    const config = read(`name = "007"\nstate = "/s"\n${REMOTE}`);
    assert.equal(clientName(config), '007');
    assert.equal(stateFolder(config, undefined), '/s');
    assert.equal(stateFolder(config, '/named'), '/named');
    assert.match(stateFolder(read(REMOTE), undefined), /^\/.*\/\.local\/state\/dialback$/);
  });
});
