/** Checks the transports of a remote. "direct" needs an sshd, an account, addresses and a port on the client. */
import { createServer } from 'node:net';
import { findNat, parseListen, type Way } from '../client/addresses.ts';
import type { ClientConfig, Remote } from '../client/config.ts';
import { allowedPeers } from '../client/direct.ts';
import { NOBODY } from '../client/gate.ts';
import { prepareSshd } from '../client/one-time-keys.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { type CallOptions, WITHOUT_SSHD } from '../wire/ssh.ts';
import { escapeText, LOGIN } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const PATIENCE_MS = 10_000;

/** Whether any remote's host connects back: then the account needs a shell, and the machine an sshd. */
export function isDialed(config: ClientConfig): boolean {
  return config.remote.some(each => each.transport === 'direct');
}

const SSHD = new Topic(
  'client.sshd',
  'with "direct" each backup starts an sshd for one connection, and fails if that refuses its config',
);

/** Lets sshd read the config that a run writes for it, in a temporary folder that is removed. */
export async function collectOwnSshd(config: ClientConfig): Promise<Finding[]> {
  if (!isDialed(config) || !hasProgram('sshd') || !hasProgram('ssh-keygen')) return [];
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  try {
    await prepareSshd(AbortSignal.timeout(PATIENCE_MS), folder);
    return [SSHD.ok('sshd accepts the config that a run writes for it')];
  } catch (error) {
    return [SSHD.fault(error, WITHOUT_SSHD)];
  } finally {
    removeAll(folder);
  }
}

const TRANSPORT = new Topic(
  'client.transport',
  'with "direct" the backup host connects back to this machine; with "channel" the call is the only connection',
);

/**
 * Why no host can connect back to this account.
 * @param name the account
 * @param shell the finding about its shell
 * @returns undefined if the account is no obstacle
 */
export function whyUndialed(name: string, shell: Finding): string | undefined {
  if (!LOGIN.test(name)) return `no host connects back to an account called "${escapeText(name)}"`;
  return shell.state === 'critical' ? shell.found : undefined;
}

/** The facts that decide which transports work for a remote. */
interface TransportFacts {
  label: string;
  transport: Exclude<Remote['transport'], 'local'>;
  /** Why the account rules out direct; undefined if it does not. */
  undialed: string | undefined;
  /** Undefined if the call goes through another program. */
  way: Way | undefined;
  /** When the host connected back, if it did so in the last run. */
  dialedAt: string | undefined;
}

/** Says which transports work, and why. For direct this is a guess, because doctor asks no host to connect. */
export function checkTransport(facts: TransportFacts): Finding {
  const { label, transport, undialed, way, dialedAt } = facts;
  const against = undialed ?? (way && findNat(way));
  const between = way
    ? `from ${way.source} to ${way.peer} there is no sign of NAT`
    : 'the call goes through another program, and the host connects back to the address that it calls from';
  if (transport === 'channel') {
    const other =
      against !== undefined
        ? `would probably not work: ${against}`
        : way
          ? `would probably work too: ${between}`
          : `may work or not: ${between}`;
    return TRANSPORT.ok(`"${label}": channel, which works wherever the call does; direct ${other}`);
  }
  const next = `in the [[remote]] "${label}" of client.toml: transport = "channel", and neither \`from\` nor \`listen\``;
  const both = 'channel would work too';
  if (dialedAt !== undefined) {
    const though = against === undefined ? '' : `, although ${against}`;
    return TRANSPORT.ok(`"${label}": direct, which worked in the run of ${dialedAt}${though}; ${both}`);
  }
  if (against !== undefined)
    return TRANSPORT.warning(`"${label}": direct will probably not work: ${against}; channel will`, next);
  return way
    ? TRANSPORT.ok(`"${label}": direct will probably work: ${between}; ${both}`)
    : TRANSPORT.unknown(
        `"${label}": direct may work or not: ${between}; channel will`,
        `dialback backup; or ${next}`,
      );
}

/**
 * When the host connected back in the last run of a remote.
 * @param journal of the client, the oldest entry first; client/gate.ts writes `granted`
 * @param remote its label
 * @returns ISO 8601; undefined if the last run used another transport or let no host in
 */
export function lastDialed(journal: readonly Record<string, unknown>[], remote: string): string | undefined {
  const own = journal.filter(line => line.remote === remote);
  const started = own.findLastIndex(line => line.event === 'started');
  const granted = own.slice(started + 1).find(line => line.event === 'granted');
  const isBack = typeof granted?.peer === 'string' && granted.peer !== NOBODY;
  return started >= 0 && isBack && typeof granted.time === 'string'
    ? escapeText(granted.time, 40)
    : undefined;
}

const FROM = new Topic('client.from', 'only these addresses may connect back');

/** Finds the addresses that may connect back, as a run does. */
export async function collectFrom(remote: Remote, callOptions: CallOptions): Promise<Finding> {
  const next = "name the host's addresses in `from` in client.toml";
  try {
    const ranges = await allowedPeers(remote, callOptions);
    if (ranges.length === 0) return FROM.critical('no address may connect back', next);
    const source = remote.from ? '`from`' : 'the host name in `target`';
    return FROM.ok(`${ranges.map(each => each.address).join(', ')}, by ${source}`);
  } catch (error) {
    return FROM.fault(error, next);
  }
}

const LISTEN = new Topic('client.listen', 'the backup host connects back to this address and port');

/**
 * Listens, and stops at once.
 * @param where `listen` in client.toml; undefined for any port of any address
 * @returns the errno's name, or undefined if it could listen
 */
export function tryListening(where: string | undefined): Promise<string | undefined> {
  const { address, port } = where === undefined ? { port: 0 } : (parseListen(where) ?? { port: 0 });
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ ...(address ? { host: address } : {}), port, exclusive: true }, () =>
      server.close(() => resolve(undefined)),
    );
  });
}

/**
 * @param where as `tryListening()` takes it
 * @param failed the errno's name, or undefined if it could listen
 * @param isBusy whether a run is under way, which listens there itself
 * @param label the remote's name
 */
export function checkListen(
  where: string | undefined,
  failed: string | undefined,
  isBusy: boolean,
  label: string,
): Finding {
  const shown = where ?? 'a port that the system chooses';
  const port = /:(\d+)$/.exec(shown)?.[1] ?? '';
  switch (failed) {
    case undefined:
      return LISTEN.ok(`can listen on ${shown}`);
    case 'EADDRINUSE':
      return isBusy
        ? LISTEN.ok(`a run is under way, which listens on ${shown}`)
        : LISTEN.critical(
            `another program listens on ${shown}`,
            `ss -ltnp 'sport = :${port}' names it; or set \`listen\` of "${label}" in client.toml`,
          );
    case 'EACCES':
      return LISTEN.critical(
        `this account may not listen on ${shown}`,
        `set \`listen\` of "${label}" in client.toml to a port from 1024 on`,
      );
    case 'EADDRNOTAVAIL':
      return LISTEN.critical(
        `${shown} is not an address of this machine`,
        `ip address lists them; set \`listen\` of "${label}" in client.toml`,
      );
    default:
      return LISTEN.critical(
        `${shown}: ${escapeText(failed)}`,
        `set \`listen\` of "${label}" in client.toml`,
      );
  }
}
