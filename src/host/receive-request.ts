/**
 * Who calls, from where, and with which request: all that the host takes from a client before it does anything.
 * Nothing in it names a path, a host or a command of ours.
 */
import { isIP } from 'node:net';
import { withTimeout } from '../os/async.ts';
import { readProc } from '../os/files.ts';
import { readInPortions, say } from '../os/streams.ts';
import { decodeGo, GO } from '../wire/channel.ts';
import { type FailureCode, failure } from '../wire/events.ts';
import { decodeRequest, REQUEST_LIMITS, type Request } from '../wire/request.ts';
import { DAEMON_REQUEST } from '../wire/rsync.ts';
import { escapeText, NAME, parseSummons, type Summons, unfold } from '../wire/text.ts';

/** The whole request must have come within this. */
const REQUEST_MS = 30_000;

/**
 * Variables that node's own JavaScript obeys, before ours and during it: two make a descriptor of ours its own, one prints what we
 * do to standard error, which is the client's. All others are out of the executable (tools/environment.ts).
 */
const OBEYED = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'NODE_DEBUG', 'NODE_UNIQUE_ID'];

/** @param environment as /proc/self/environ has it, since node removes one of them @returns those of the variables that it has */
export function obeyedVariables(environment: string): string[] {
  const names = new Set(environment.split('\0').map(each => each.split('=')[0]));
  return OBEYED.filter(each => names.has(each));
}

/** Refuses a call for which sshd has taken a variable from its client that would act here. @throws Fault `config` */
export function refuseVariables(): void {
  const [first] = obeyedVariables(readProc('self/environ') ?? '');
  if (first !== undefined)
    throw failure('config', `the environment has ${first}: sshd must take no such variable (AcceptEnv)`);
}

/** Who calls: the key tells (--client), and the request's NAME must agree. */
export function parseCall(options: { client: string; environment: NodeJS.ProcessEnv }): Summons {
  if (!NAME.test(options.client))
    throw failure('config', `--client "${escapeText(options.client)}" is no name`);
  const asked = options.environment.SSH_ORIGINAL_COMMAND;
  const summons = parseSummons(asked ?? '');
  if ('reason' in summons)
    throw failure('request', `the command "${escapeText(asked ?? '')}": ${summons.reason}`);
  if (summons.value.name === options.client) return summons.value;
  throw failure(
    'name',
    `the key of "${options.client}" was used with the name "${escapeText(summons.value.name)}"`,
  );
}

/** Who calls, for the log: an address, or what sshd says instead of one; `local` where no sshd stands before us. */
export function callerOf(environment: NodeJS.ProcessEnv): string {
  if (environment.SSH_CONNECTION === undefined) return 'local';
  return escapeText(unfold(environment.SSH_CONNECTION?.split(' ')[0] ?? ''), 60);
}

/** The address to dial: that of the connection, never one out of the request. */
export function peerAddress(environment: NodeJS.ProcessEnv): string {
  const connection = environment.SSH_CONNECTION;
  if (connection === undefined) {
    throw failure(
      'address',
      'there is no SSH_CONNECTION: grab is run by sshd, as the forced command of an enrolled key',
    );
  }
  const rawAddress = connection.split(' ')[0] ?? '';
  const address = unfold(rawAddress);
  // A zone (fe80::1%eth0) is the name of one of our own interfaces.
  const [plain = '', zone, ...more] = address.split('%');
  if (isIP(plain) === 0 || (zone !== undefined && !/^[A-Za-z0-9_.-]{1,15}$/.test(zone)) || more.length > 0) {
    throw failure(
      'address',
      `SSH_CONNECTION has the peer "${escapeText(rawAddress)}"; transport = "channel" needs no address`,
    );
  }
  return address;
}

/** A request, and what is left of the connection that it came by. */
export interface Received {
  request: Request;
  /**
   * Hands the connection over, for the transport `channel` (wire/channel.ts): from then on it is rsync's, and no longer the sign
   * that the client lives.
   * @returns its two ends; `letGo` closes ours, once somebody else has them
   */
  takeChannel(): Promise<{ reading: number; writing: number; letGo: () => void }>;
}

const LEAST_ROOM = 4096;

/** Bytes as they come, in one piece: a client that sends them one by one costs no more memory than one that does not. */
export class Gathered {
  #room: Buffer = Buffer.alloc(0);
  length = 0;

  add(chunk: Buffer): void {
    const needed = this.length + chunk.length;
    if (needed > this.#room.length) {
      const room = Buffer.alloc(Math.max(LEAST_ROOM, 2 * this.#room.length, needed));
      this.#room.copy(room, 0, 0, this.length);
      this.#room.fill(0); // it can hold a part of the one-time key
      this.#room = room;
    }
    chunk.copy(this.#room, this.length);
    this.length = needed;
  }

  get all(): Buffer {
    return this.#room.subarray(0, this.length);
  }

  /** Forgets all of it; what was given out stays as it is. */
  drop(): void {
    this.#room = Buffer.alloc(0);
    this.length = 0;
  }
}

/**
 * Reads the request. From then on the input is the sign that the client lives: its end, or a byte more, ends the run.
 * @param life is aborted then
 */
export async function receiveRequest(signal: AbortSignal, life: AbortController): Promise<Received> {
  const received = Promise.withResolvers<Request>();
  const agreed = Promise.withResolvers<void>();
  agreed.promise.catch(() => {}); // nobody waits for it where nothing is handed over
  const bytes = new Gathered();
  /** With fewer bytes there is no need to look at them again. */
  let least = 0;
  /** What has been read to its end, and what therefore comes next. */
  let stage: 'request' | 'life' | 'go' | 'theirs' = 'request';
  const most = REQUEST_LIMITS.header + REQUEST_LIMITS.key + REQUEST_LIMITS.excludes + 256;
  const end = (code: FailureCode, found: string): false => {
    const fault = failure(code, found);
    received.reject(fault);
    agreed.reject(fault);
    life.abort(fault);
    return false;
  };
  function take(chunk: Buffer | undefined): boolean {
    if (stage === 'theirs') return false;
    if (chunk === undefined)
      return end(
        'gone',
        stage === 'request' ? `the request ended after ${bytes.length} bytes` : 'the client hung up',
      );
    if (stage === 'life') return end('request', 'something follows the request');
    if (bytes.length + chunk.length > most) return end('request', 'the request is larger than requests are');
    bytes.add(chunk);
    if (stage === 'go') {
      const go = decodeGo(bytes.all);
      if ('reason' in go) return end('request', `the handshake: ${go.reason}`);
      if (!go.value) return true;
      stage = 'theirs';
      agreed.resolve();
      return false;
    }
    if (bytes.length < least) return true;
    const decoded = decodeRequest(bytes.all);
    if ('reason' in decoded) return end('request', `the request: ${decoded.reason}`);
    if ('incomplete' in decoded) {
      least = decoded.least;
      return true;
    }
    stage = 'life';
    received.resolve(decoded.request);
    return true;
  }
  const input = readInPortions(take);
  const request = await withTimeout(signal, REQUEST_MS, received.promise, () =>
    failure('request', `only ${bytes.length} bytes of the request came within ${REQUEST_MS / 1000} s`),
  );
  return {
    request,
    takeChannel: async () => {
      bytes.drop();
      stage = 'go';
      say(1, `${DAEMON_REQUEST}\n`);
      await withTimeout(signal, REQUEST_MS, agreed.promise, () =>
        failure('no-answer', `the client did not answer "go" within ${REQUEST_MS / 1000} s`),
      );
      say(1, GO);
      return { reading: 0, writing: 1, letGo: input.giveAway };
    },
  };
}
