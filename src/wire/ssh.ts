/** The config files and options of OpenSSH that dialback generates, each line with its reason. */

/**
 * The network class `le` (RFC 8622, lower effort), as the value of the traffic class byte. OpenSSH before 8.2 does not know the name,
 * and 8.2 to 8.8 use another value for it. OpenSSH 10.0 and newer refuse a hexadecimal number; all accept a decimal one.
 */
const BACKGROUND = '4';

/** Quotes a value for ssh_config and sshd_config, and doubles `%`, since both expand tokens. */
function quoted(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`;
}

/**
 * The config of the one-time sshd: it runs one forced command for one key (sshd_config(5)).
 * @param options run: the run folder; times in seconds
 */
export function sshdConfig(options: {
  run: string;
  forcedCommand: string;
  graceSeconds: number;
  idleSeconds: number;
}): string {
  const { run, forcedCommand, graceSeconds, idleSeconds } = options;
  return [
    `HostKey "${run}/host_key"`, // it expands no tokens
    `AuthorizedKeysFile ${quoted(`${run}/authorized_keys`)}`,
    'StrictModes yes', // the run folder is private; if it is not, sshd refuses all logins
    'AuthenticationMethods publickey', // the one-time key, and no other way
    'PubkeyAuthentication yes',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'HostbasedAuthentication no',
    'UsePAM no', // needs root
    `ForceCommand ${forcedCommand}`, // the gate, for every command and whatever authorized_keys contains
    'DisableForwarding yes', // no -L, -R, -D, -A, -X, tun: present ones and future ones
    'AllowAgentForwarding no',
    'AllowTcpForwarding no',
    'AllowStreamLocalForwarding no',
    'X11Forwarding no',
    'GatewayPorts no',
    'PermitTunnel no',
    'PermitTTY no', // rsync needs none, and a terminal would change its bytes
    'PermitUserRC no', // ~/.ssh/rc is another program
    'PermitUserEnvironment no', // no environment out of authorized_keys
    'AcceptEnv nothing', // accepts a variable that no client sends: a default that accepts more has no effect
    'MaxSessions 1', // one session a connection
    'MaxAuthTries 2',
    `LoginGraceTime ${graceSeconds}`, // a silent peer is gone after this
    `ClientAliveInterval ${aliveInterval(idleSeconds)}`, // sshd notices a lost connection and kills rsync
    `ClientAliveCountMax ${ALIVE_COUNT}`,
    'Compression no', // rsync's business
    `IPQoS ${BACKGROUND}`,
    'UseDNS no', // addresses decide
    'PrintMotd no',
    'PrintLastLog no',
    'Banner none',
    'PidFile none',
    'LogLevel VERBOSE', // only to our standard error
  ]
    .join('\n')
    .concat('\n');
}

/**
 * The time zone of the one-time sshd. sshd reads `expiry-time` in its own zone (sshd(8)), and only OpenSSH 9.1 and newer accept
 * a `Z` after it for UTC.
 */
export const SSHD_ENVIRONMENT = { TZ: 'UTC0' };

/**
 * sshd compares a link-local address including its zone (`fe80::1%eth0`), so an address or range of `from` does not match (addr.c,
 * addr_cmp()). A pattern matches the text. Our listener has already compared the address itself.
 * @param from an address or a range
 */
function linkLocalPattern(from: string): string[] {
  const [address = '', bits] = from.split('/');
  if (!address.includes(':')) return [];
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const isLinkLocal = /^fe[89ab][0-9a-f]:/.test(short);
  if (bits !== undefined && (isLinkLocal || Number(bits) < 10)) return ['fe80:*%*'];
  return isLinkLocal ? [`${short}%*`] : [];
}

/**
 * The one line of authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
 * @param options expires: sshd refuses the key after this time, which it reads in UTC (SSHD_ENVIRONMENT)
 */
export function oneTimeKeyLine(options: {
  from: string[];
  expires: Date;
  forcedCommand: string;
  key: string;
}): string {
  const stamp = options.expires.toISOString().slice(0, 19).replace(/[-:T]/g, '');
  const from = [...options.from, ...options.from.flatMap(linkLocalPattern)].join(',');
  const command = options.forcedCommand.replaceAll('"', '\\"');
  return `restrict,from="${from}",expiry-time="${stamp}",command="${command}" ${options.key}\n`;
}

/** The oldest OpenSSH that is known to work, on either side (docs/manual.md, "Requirements in detail"). */
export const LEAST_OPENSSH = '8.0p1';
/** The next step for a client whose sshd does not work. */
export const WITHOUT_SSHD = 'set transport = "channel" in client.toml, which needs no sshd here';

/** Options of every ssh that dialback starts (ssh_config(5)). */
const ALWAYS: [string, string][] = [
  ['BatchMode', 'yes'], // never ask a person
  ['StrictHostKeyChecking', 'yes'], // no trust on first use
  ['GlobalKnownHostsFile', '/dev/null'],
  ['UpdateHostKeys', 'no'], // the other side must not change our known_hosts
  ['VerifyHostKeyDNS', 'no'],
  ['IdentitiesOnly', 'yes'], // this key and no other
  ['PreferredAuthentications', 'publickey'],
  ['ControlMaster', 'no'],
  ['ControlPath', 'none'], // do not use another process's connection
  ['ControlPersist', 'no'],
  ['ClearAllForwardings', 'yes'],
  ['ForwardAgent', 'no'],
  ['ForwardX11', 'no'],
  ['Tunnel', 'no'],
  ['PermitLocalCommand', 'no'],
  ['RequestTTY', 'no'],
  ['EscapeChar', 'none'],
  ['Compression', 'no'],
  ['IPQoS', BACKGROUND],
];

/** The number of keep-alives that a peer may leave unanswered, and the most seconds between two. */
const ALIVE_COUNT = 4;
const ALIVE_SECONDS = 15;

/** Seconds between two keep-alives, so that ssh notices a lost connection within `idleSeconds`, and within a minute. */
function aliveInterval(idleSeconds: number): string {
  return String(Math.max(1, Math.min(ALIVE_SECONDS, Math.floor(idleSeconds / ALIVE_COUNT))));
}

function serverAlive(idleSeconds: number): [string, string][] {
  return [
    ['ServerAliveInterval', aliveInterval(idleSeconds)], // ssh notices a lost connection
    ['ServerAliveCountMax', String(ALIVE_COUNT)],
  ];
}

/** Options of the host's ssh for the call back. */
interface DialConfig {
  run: string;
  address: string;
  port: number;
  user: string;
  alias: string;
  connectSeconds: number;
  idleSeconds: number;
}

/** The ssh_config of a run on the host. Its only entry is the alias `client`. */
export function dialConfig(options: DialConfig): string {
  const { run } = options;
  const lines: [string, string][] = [
    ['HostName', options.address.replaceAll('%', '%%')],
    ['Port', String(options.port)],
    ['User', options.user],
    ['HostKeyAlias', options.alias], // the name of the key in known_hosts, which has no address
    ['HostKeyAlgorithms', 'ssh-ed25519'],
    ['UserKnownHostsFile', quoted(`${run}/known_hosts`)],
    ['IdentityAgent', quoted(`${run}/agent`)],
    ['IdentityFile', quoted(`${run}/key.pub`)], // the public half tells the agent which key
    ['CheckHostIP', 'no'], // known_hosts has no addresses
    ['CanonicalizeHostname', 'no'],
    ['ConnectTimeout', String(options.connectSeconds)],
    ['ConnectionAttempts', '1'],
    ['LogLevel', 'ERROR'],
    ...ALWAYS,
    ...serverAlive(options.idleSeconds),
  ];
  return ['Host client', ...lines.map(([key, value]) => `  ${key} ${value}`)].join('\n').concat('\n');
}

/**
 * The name of a target's host in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), as ssh looks it up: in lower case, and with
 * its port if that is not 22.
 * @param target of the shape TARGET
 * @returns undefined when there is no such port
 */
export function knownHostsName(target: string): string | undefined {
  const { host, port } = targetPlace(target);
  if (port < 1 || port > 65_535) return undefined;
  return port === 22 ? host : `[${host}]:${port}`;
}

/** The host and the port of a target. @param target of the shape TARGET */
export function targetPlace(target: string): { host: string; port: number } {
  const isUrl = target.startsWith('ssh://');
  const place = target
    .replace(/^ssh:\/\//, '')
    .replace(/^[^@]*@/, '')
    .toLowerCase();
  const [, bracketed, plain, port = '22'] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(place) ?? [];
  return isUrl ? { host: bracketed ?? plain ?? '', port: Number(port) } : { host: place, port: 22 };
}

/**
 * A target as arguments for ssh, which does not accept an IPv6 address in a URL (misc.c, parse_uri()).
 * @returns the options, which must come first since ssh uses the first value of each; and the destination
 */
function targetArguments(target: string): { options: string[]; destination: string } {
  const [, user = '', address] = /^ssh:\/\/([^@]*@)?\[(.*)\]/.exec(target) ?? [];
  if (address === undefined) return { options: [], destination: target };
  return { options: ['-p', String(targetPlace(target).port)], destination: `${user}${address}` };
}

/** Options of the client's call. */
export interface CallOptions {
  target: string;
  identity: string;
  knownHosts: string;
  logFile: string;
  connectSeconds: number;
  idleSeconds: number;
  /** `Option=value`, from the config. */
  more: string[];
  command: string;
}

/**
 * The options that the config's `ssh_options` may set (ssh_config(5)): the way to the host, and the algorithms. This file sets some
 * of the other options. The rest would change which host the call trusts (NoHostAuthenticationForLocalhost, KnownHostsCommand,
 * GSSAPIKeyExchange, IdentityFile2), the resources that it lends or its output.
 */
export const OPEN_OPTIONS: ReadonlySet<string> = new Set(
  [
    'AddressFamily',
    'BindAddress',
    'BindInterface',
    'CanonicalDomains',
    'CanonicalizeFallbackLocal',
    'CanonicalizeHostname',
    'CanonicalizeMaxDots',
    'CanonicalizePermittedCNAMEs',
    'CASignatureAlgorithms',
    'CheckHostIP',
    'Ciphers',
    'ConnectionAttempts',
    'ConnectTimeout',
    'FingerprintHash',
    'HashKnownHosts',
    'HostKeyAlgorithms',
    'HostKeyAlias',
    'HostName',
    'KexAlgorithms',
    'MACs',
    'ObscureKeystrokeTiming',
    'Port',
    'ProxyCommand',
    'ProxyJump',
    'ProxyUseFdpass',
    'PubkeyAcceptedAlgorithms',
    'PubkeyAcceptedKeyTypes', // its name before OpenSSH 8.5
    'RekeyLimit',
    'RequiredRSASize',
    'RevokedHostKeys',
    'TCPKeepAlive',
    'User',
    'VersionAddendum',
    'WarnWeakCrypto',
  ].map(key => key.toLowerCase()),
);

/** The arguments of the client's ssh: these options, and no config file. */
export function callArguments(options: CallOptions): string[] {
  const set: [string, string][] = [
    ...ALWAYS,
    ...serverAlive(options.idleSeconds),
    ['IdentityFile', quoted(options.identity)],
    ['IdentityAgent', 'none'],
    ['UserKnownHostsFile', quoted(options.knownHosts)],
    ['LogLevel', 'ERROR'],
  ];
  const more = [...options.more, `ConnectTimeout=${options.connectSeconds}`]; // ssh uses the first value of each
  const called = targetArguments(options.target);
  return [
    '-F',
    'none',
    '-T',
    ...called.options,
    '-E', // separates ssh's own messages from the other machine's output
    options.logFile,
    ...set.flatMap(([key, value]) => ['-o', `${key}=${value}`]),
    ...more.flatMap(each => ['-o', each]),
    '--',
    called.destination,
    options.command,
  ];
}
