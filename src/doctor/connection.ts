/** The client's connection to its host: whether the host can be reached, and whether it accepts this client's call. */
import { connect } from 'node:net';
import type { Way } from '../client/addresses.ts';
import { ANSWER_MS, type Answer, AS_GOOD } from '../client/probe-call.ts';
import type { Called } from '../client/ssh-settings.ts';
import { Fault } from '../fault.ts';
import { FAILURES, type FailureCode } from '../wire/events.ts';
import { escapeText, unfold } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/** How long a host may take to accept a connection. */
export const CONNECT_MS = 5_000;
/** How long a host may take from the connection to sshd's greeting: it can be busy. `backup` waits longer. */
const GREETING_MS = 30_000;

const REACH = new Topic('client.reach', 'a backup begins with a call to the backup host');

/** Reports a target that ssh does not understand. */
export function checkUnresolved(error: unknown): Finding {
  return REACH.fault(error, 'set `target` and `ssh_options` in client.toml');
}

/**
 * The result of a connection attempt: the greeting of an sshd and the two addresses of the connection, or an error. Undefined if
 * the call goes through another program, which doctor does not start.
 */
type Reached = { greeting: string; way: Way } | { found: string } | undefined;

/**
 * Connects to the place that a call goes to, and waits for the greeting.
 * @param connectMs how long the connection may take
 * @param greetingMs how long the greeting may take after that
 */
export async function collectReach(
  { hostName, port, isProxied }: Pick<Called, 'hostName' | 'port' | 'isProxied'>,
  connectMs = CONNECT_MS,
  greetingMs = GREETING_MS,
): Promise<Reached> {
  return isProxied ? undefined : await reach(hostName, port, connectMs, greetingMs);
}

/** Checks that an sshd answered. */
export function checkReach({ hostName, port }: Called, reached: Reached): Finding {
  if (reached === undefined)
    return REACH.ok(`"${escapeText(hostName)}" is called through another program, which was not tried`);
  const where = `"${escapeText(hostName)}" port ${port}`;
  return 'greeting' in reached
    ? REACH.ok(`${where} answers (${escapeText(reached.greeting, 100)})`)
    : REACH.critical(
        `${where}: ${escapeText(reached.found)}`,
        `start its sshd, or set \`target\` in client.toml: user@host, or ssh://user@host:PORT`,
      );
}

/** Connects, sends nothing and waits for the greeting that every sshd begins with (RFC 4253 section 4.2). */
function reach(
  host: string,
  port: number,
  connectMs: number,
  greetingMs: number,
): Promise<NonNullable<Reached>> {
  return new Promise(resolve => {
    let text = '';
    let way: Way | undefined;
    const socket = connect({ host, port });
    const end = (reached: NonNullable<Reached>): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reached);
    };
    const endAfter = (ms: number, what: string): NodeJS.Timeout =>
      setTimeout(() => end({ found: `${what} within ${ms / 1000} s` }), ms);
    let timer = endAfter(connectMs, 'no answer');
    socket.on('connect', () => {
      const { localAddress: source = '', remoteAddress: peer = '' } = socket;
      way = { source: unfold(source), peer: unfold(peer) };
      clearTimeout(timer);
      timer = endAfter(greetingMs, 'it sends no greeting');
    });
    socket.on('data', chunk => {
      text += chunk.toString('latin1');
      const greeting = /^SSH-[^\r\n]*(?=[\r\n])/m.exec(text)?.[0];
      if (greeting !== undefined && way) end({ greeting, way });
      else if (text.length > 8192) end({ found: NO_SSHD });
    });
    socket.on('close', () => end({ found: text === '' ? CLOSED : NO_SSHD }));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end({ found: CONNECT_ERRORS[error.code ?? ''] ?? error.message }),
    );
  });
}

const NO_SSHD = 'the program that answers there is not an sshd';
const CLOSED = 'it closed the connection without a greeting';

const CONNECT_ERRORS: Record<string, string> = {
  ECONNREFUSED: 'no program listens there',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to its network',
  ENOTFOUND: 'its name has no address here',
  EAI_AGAIN: 'its name cannot be looked up: the name service does not answer',
  ETIMEDOUT: 'no answer',
  ECONNRESET: CLOSED,
};

const CALL = new Topic('client.call', 'each backup begins with this call, and fails if it fails');

/**
 * @param label the remote's name
 * @param name this machine's name on the host
 */
export function checkCall(answer: Answer, label: string, name: string): Finding {
  if (AS_GOOD.has(answer)) return CALL.ok(`"${label}" accepts this machine's key, and knows it as "${name}"`);
  // Hosts up to version 0.1.1 check the key and the name, and end without an event. A program that is not dialback can end in the same way.
  if (answer === 'ended')
    return CALL.ok(
      `"${label}" accepts this machine's key, and ended the call without an answer, as versions up to 0.1.1 do`,
    );
  if (answer instanceof Fault) return CALL.fault(answer, 'dialback backup -v');
  if (answer === 'late')
    return CALL.warning(
      `"${label}" accepted the call and sent no answer within ${ANSWER_MS / 1000} s`,
      'dialback backup -v',
    );
  const [, found, next] = FAILURES[answer as FailureCode];
  return CALL.critical(`"${label}": ${found} (${answer})`, next ?? "ask the host's administrator");
}
