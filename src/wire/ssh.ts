/** The config files and options of OpenSSH that dialback writes, both ways; each line with its reason. */

/**
 * The network class `le` (RFC 8622, lower effort), as the value of the packets' traffic class byte. Its name is unknown before
 * OpenSSH 8.2 and means another value from 8.2 to 8.8. A hexadecimal number is refused from 10.0 on; a decimal one never was.
 */
const BACKGROUND = '4';

/** A value for ssh_config and sshd_config: quoted, and `%` doubled since both expand tokens. */
function quoted(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`;
}

/** The one-time sshd: nothing but one forced command for one key (sshd_config(5)). */
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
    'StrictModes yes', // the run folder is private; if it is not, nobody gets in
    'AuthenticationMethods publickey', // the one-time key, and no other way
    'PubkeyAuthentication yes',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'HostbasedAuthentication no',
    'UsePAM no', // needs root
    `ForceCommand ${forcedCommand}`, // the gate, whatever is asked for and whatever authorized_keys says
    'DisableForwarding yes', // no -L, -R, -D, -A, -X, tun: present ones and future ones
    'AllowAgentForwarding no',
    'AllowTcpForwarding no',
    'AllowStreamLocalForwarding no',
    'X11Forwarding no',
    'GatewayPorts no',
    'PermitTunnel no',
    'PermitTTY no', // rsync needs none, and a terminal would mangle its bytes
    'PermitUserRC no', // ~/.ssh/rc is another program
    'PermitUserEnvironment no', // no environment out of authorized_keys
    'AcceptEnv nothing', // a name that no client sends; by default none is accepted, and this keeps it so
    'MaxSessions 1', // one session a connection
    'MaxAuthTries 2',
    `LoginGraceTime ${graceSeconds}`, // a silent peer is gone after this
    `ClientAliveInterval ${aliveInterval(idleSeconds)}`, // a host that is cut off is noticed, and its rsync ended
    `ClientAliveCountMax ${ALIVE_COUNT}`,
    'Compression no', // rsync's business
    `IPQoS ${BACKGROUND}`,
    'UseDNS no', // addresses decide
    'PrintMotd no',
    'PrintLastLog no',
    'Banner none',
    'PidFile none',
    'LogLevel VERBOSE', // to our own ears only: standard error
  ]
    .join('\n')
    .concat('\n');
}

/**
 * The time zone of the one-time sshd. `expiry-time` is read in sshd's own zone (sshd(8)), and only OpenSSH 9.1 and newer know
 * a `Z` behind it, which stands for UTC.
 */
export const SSHD_ENVIRONMENT = { TZ: 'UTC0' };

/**
 * sshd compares a link-local address with its zone (`fe80::1%eth0`), which no address or range of `from` has (addr.c, addr_cmp()).
 * A pattern matches it as text. Our own listener has compared the address itself by then.
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
 * @param expires after this no authentication succeeds; read in UTC (SSHD_ENVIRONMENT)
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
/** What works on a client whose sshd does not. */
export const WITHOUT_SSHD = 'set transport = "channel" in client.toml, which needs no sshd here';

/** What every ssh of ours is told, on either side (ssh_config(5)). */
const ALWAYS: [string, string][] = [
  ['BatchMode', 'yes'], // never ask a person
  ['StrictHostKeyChecking', 'yes'], // no trust on first use
  ['GlobalKnownHostsFile', '/dev/null'],
  ['UpdateHostKeys', 'no'], // the other side does not get to change what we know
  ['VerifyHostKeyDNS', 'no'],
  ['IdentitiesOnly', 'yes'], // this key and no other
  ['PreferredAuthentications', 'publickey'],
  ['ControlMaster', 'no'],
  ['ControlPath', 'none'], // never somebody else's connection
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

/** So many keep-alives a peer may leave unanswered, and so many seconds lie between two at most. */
const ALIVE_COUNT = 4;
const ALIVE_SECONDS = 15;

/** Seconds between two keep-alives, for a peer that is cut off to be noticed within `idleSeconds`, and within a minute. */
function aliveInterval(idleSeconds: number): string {
  return String(Math.max(1, Math.min(ALIVE_SECONDS, Math.floor(idleSeconds / ALIVE_COUNT))));
}

function serverAlive(idleSeconds: number): [string, string][] {
  return [
    ['ServerAliveInterval', aliveInterval(idleSeconds)], // a peer that is cut off is noticed
    ['ServerAliveCountMax', String(ALIVE_COUNT)],
  ];
}

/** The host's ssh for the call back. */
export interface DialConfig {
  run: string;
  address: string;
  port: number;
  user: string;
  alias: string;
  connectSeconds: number;
  idleSeconds: number;
}

/** The one generated ssh_config of a run; the alias `client` is all that it knows. */
export function dialConfig(options: DialConfig): string {
  const { run } = options;
  const lines: [string, string][] = [
    ['HostName', options.address.replaceAll('%', '%%')],
    ['Port', String(options.port)],
    ['User', options.user],
    ['HostKeyAlias', options.alias], // the key stands in known_hosts under this name, not under an address
    ['HostKeyAlgorithms', 'ssh-ed25519'],
    ['UserKnownHostsFile', quoted(`${run}/known_hosts`)],
    ['IdentityAgent', quoted(`${run}/agent`)],
    ['IdentityFile', quoted(`${run}/key.pub`)], // the public half tells the agent which key
    ['CheckHostIP', 'no'], // there is nothing on record for an address
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
 * What a target's host is called in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): as ssh looks it up, in lower case,
 * and with its port where that is not 22.
 * @param target of the shape TARGET
 * @returns undefined when there is no such port
 */
export function knownHostsName(target: string): string | undefined {
  const { host, port } = targetPlace(target);
  if (port < 1 || port > 65_535) return undefined;
  return port === 22 ? host : `[${host}]:${port}`;
}

/** The host and the port that a target names. @param target of the shape TARGET */
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
 * A target as ssh's arguments: in a URL it takes no IPv6 address, in brackets or without (misc.c, parse_uri()).
 * @returns the options, which come before all others since ssh takes the first value of each; and the destination
 */
function targetArguments(target: string): { options: string[]; destination: string } {
  const [, user = '', address] = /^ssh:\/\/([^@]*@)?\[(.*)\]/.exec(target) ?? [];
  if (address === undefined) return { options: [], destination: target };
  return { options: ['-p', String(targetPlace(target).port)], destination: `${user}${address}` };
}

/** The client's call. */
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
 * The options that the config's `ssh_options` may set (ssh_config(5)): how the host is reached, and which algorithms are used. Of
 * the others some are set here, and some would change whom the call trusts (NoHostAuthenticationForLocalhost,
 * KnownHostsCommand, GSSAPIKeyExchange, IdentityFile2), what it lends or what it prints. A newer ssh has more of them.
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

/** The arguments of the client's ssh: no config file but these options. */
export function callArguments(options: CallOptions): string[] {
  const set: [string, string][] = [
    ...ALWAYS,
    ...serverAlive(options.idleSeconds),
    ['IdentityFile', quoted(options.identity)],
    ['IdentityAgent', 'none'],
    ['UserKnownHostsFile', quoted(options.knownHosts)],
    ['LogLevel', 'ERROR'],
  ];
  const more = [...options.more, `ConnectTimeout=${options.connectSeconds}`]; // ssh takes the first value of each
  const called = targetArguments(options.target);
  return [
    '-F',
    'none',
    '-T',
    ...called.options,
    '-E', // ssh's own words apart from what the other machine says
    options.logFile,
    ...set.flatMap(([key, value]) => ['-o', `${key}=${value}`]),
    ...more.flatMap(each => ['-o', each]),
    '--',
    called.destination,
    options.command,
  ];
}
