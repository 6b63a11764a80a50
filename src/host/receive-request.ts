/**
 * All that the host takes from a client before it acts: the environment that sshd sets, the command that the client asked for, and the
 * request itself. No path, host or command of the host's own comes from there.
 */
import { isIP } from 'node:net';
import { withTimeout } from '../os/async.ts';
import { readInPortions, say } from '../os/streams.ts';
import { decodeGo, GO } from '../wire/channel.ts';
import { type FailureCode, failure } from '../wire/events.ts';
import { decodeRequest, REQUEST_LIMITS, type Request, type RequestHeader } from '../wire/request.ts';
import { DAEMON_REQUEST } from '../wire/rsync.ts';
import {
  type CallCommand,
  escapeText,
  type FETCH,
  NAME,
  type PROBE,
  parseCallCommand,
  unfold,
} from '../wire/text.ts';
import { GrowingBuffer } from './growing-buffer.ts';

/** The whole request must arrive within this time. */
const REQUEST_MS = 30_000;

/**
 * Environment variables that node's own JavaScript obeys, also before our code runs. Two make node use one of our descriptors as its own,
 * and one makes it print what we do to standard error, which the client reads. The executable ignores all others
 * (tools/environment.ts).
 */
const NODE_VARIABLES = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'NODE_DEBUG', 'NODE_UNIQUE_ID'];

/**
 * Refuses a call if sshd has accepted a variable from the client that node obeys.
 * @param environment as /proc/self/environ has it, since node removes one of the variables from its own copy
 * @throws Fault `config` that names the first of these variables
 */
export function refuseVariables(environment: string): void {
  const names = new Set(environment.split('\0').map(each => each.split('=')[0]));
  const found = NODE_VARIABLES.find(each => names.has(each));
  if (found !== undefined)
    throw failure('config', `the environment has ${found}: sshd must not accept this variable (AcceptEnv)`);
}

/** Which transport a call is for; `place` is the address and port to dial for `direct`. */
export interface CallTransport {
  transport: RequestHeader['transport'] | typeof PROBE | typeof FETCH;
  place: { peer: string; port: number } | undefined;
}

/** The facts about a call before its request is read. */
export interface CallOrigin {
  /** The name that the client's key is enrolled under (--client). */
  client: string;
  /** Whether `backup` has started us on the same machine, without sshd (wire/local.ts). */
  isLocal: boolean;
  /** The id of the offer that the key is bound to (--offer); undefined for the key of an enrolled client. */
  offer?: string | undefined;
  /** The id of a key that has come by a rotation (--key). */
  key?: string | undefined;
  /** Only SSH_CONNECTION and SSH_ORIGINAL_COMMAND are read. */
  environment: NodeJS.ProcessEnv;
}

/** Decides the transport of a call before its request is read. @throws Fault `config`, `request`, `name` or `address` */
export function chooseTransport(origin: CallOrigin): CallTransport {
  const { environment } = origin;
  if (origin.isLocal) {
    // In a line of authorized_keys, --local would open the store to the key's owner under any name.
    if (environment.SSH_CONNECTION !== undefined)
      throw failure('config', '--local was used, but there is an SSH_CONNECTION: enroll the key again');
    return { transport: 'local', place: undefined };
  }
  const { port, purpose } = checkCall(origin);
  if (purpose !== 'run') return { transport: purpose, place: undefined };
  if (port === undefined) return { transport: 'channel', place: undefined };
  return { transport: 'direct', place: { peer: peerAddress(environment), port } };
}

/** Parses the command that the client asked for. Its NAME must be the one that the key is enrolled under, except for a fetch. */
function checkCall({ client, environment }: CallOrigin): CallCommand {
  if (!NAME.test(client)) throw failure('config', `--client "${escapeText(client)}" is not a client's name`);
  const asked = environment.SSH_ORIGINAL_COMMAND;
  const command = parseCallCommand(asked ?? '');
  if ('reason' in command)
    throw failure('request', `the command "${escapeText(asked ?? '')}": ${command.reason}`);
  // The code and the key of a fetch decide. A rescue system need not know the client's name.
  if (command.value.name === client || command.value.purpose === 'fetch') return command.value;
  throw failure('name', `the key of "${client}" was used with the name "${escapeText(command.value.name)}"`);
}

/** The caller for the log: its address or sshd's text in place of one; `local` if there is no sshd. */
export function callerName(environment: NodeJS.ProcessEnv): string {
  if (environment.SSH_CONNECTION === undefined) return 'local';
  return escapeText(unfold(environment.SSH_CONNECTION?.split(' ')[0] ?? ''), 60);
}

/**
 * The address to dial: that of the connection, never one from the request.
 * @throws Fault `address` if SSH_CONNECTION is missing or does not begin with an address
 */
function peerAddress(environment: NodeJS.ProcessEnv): string {
  const connection = environment.SSH_CONNECTION;
  if (connection === undefined) {
    throw failure(
      'address',
      'there is no SSH_CONNECTION: sshd runs grab, as the forced command of an enrolled key',
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

/** A request, and the connection that it came by. */
export interface ReceivedRequest {
  request: Request;
  /**
   * Hands the connection over to rsync, for the transports `channel` and `local` (wire/channel.ts). After that, its end no longer aborts
   * the run.
   * @returns its two descriptors; `letGo` closes ours, once rsync has its own
   * @throws Fault `no-answer` if the client does not agree in time, `request` if it answers something else
   */
  takeChannel(): Promise<{ reading: number; writing: number; letGo: () => void }>;
}

/**
 * Reads the request from standard input. Until the connection is handed over, the input's end or a further byte aborts the run.
 * @param life is aborted then, with the same Fault
 * @throws Fault `gone`, `request`, or the signal's reason
 */
export async function receiveRequest(signal: AbortSignal, life: AbortController): Promise<ReceivedRequest> {
  const reader = new RequestReader(life);
  const input = readInPortions(chunk => reader.take(chunk));
  const request = await withTimeout(signal, REQUEST_MS, reader.request, () =>
    failure('request', `only ${reader.length} bytes of the request arrived within ${REQUEST_MS / 1000} s`),
  );
  return {
    request,
    takeChannel: async () => {
      const agreed = reader.awaitGo();
      say(1, `${DAEMON_REQUEST}\n`);
      await withTimeout(signal, REQUEST_MS, agreed, () =>
        failure('no-answer', `the client did not answer "go" within ${REQUEST_MS / 1000} s`),
      );
      say(1, GO);
      return { reading: 0, writing: 1, letGo: input.giveAway };
    },
  };
}

/** The largest request, with the lengths and separators between its parts. */
const MAX_BYTES = REQUEST_LIMITS.header + REQUEST_LIMITS.key + REQUEST_LIMITS.excludes + 256;

/**
 * Takes the input in chunks. Its stages: `request` is read; `open` expects no byte, and the end aborts the run; `go` expects the
 * client's agreement; after `handed over` the input belongs to rsync.
 */
class RequestReader {
  #stage: 'request' | 'open' | 'go' | 'handed over' = 'request';
  readonly #life: AbortController;
  readonly #bytes = new GrowingBuffer();
  /** With fewer bytes than this, the request cannot be complete, so it is not decoded again. */
  #needed = 0;
  readonly #request = Promise.withResolvers<Request>();
  readonly #go = Promise.withResolvers<void>();

  constructor(life: AbortController) {
    this.#life = life;
    this.#go.promise.catch(() => {}); // without a handover, no caller awaits it
  }

  get length(): number {
    return this.#bytes.length;
  }

  get request(): Promise<Request> {
    return this.#request.promise;
  }

  /** Expects the client's agreement from now on. @returns resolves once it has come */
  awaitGo(): Promise<void> {
    this.#bytes.clear();
    this.#stage = 'go';
    return this.#go.promise;
  }

  /** @param chunk undefined at the end of the input @returns whether more is to be read */
  take(chunk: Buffer | undefined): boolean {
    if (this.#stage === 'handed over') return false;
    if (chunk === undefined) {
      const isEarly = this.#stage === 'request';
      return this.#end(
        'gone',
        isEarly ? `the request ended after ${this.length} bytes` : 'the client disconnected',
      );
    }
    if (this.#stage === 'open') return this.#end('request', 'something follows the request');
    if (this.length + chunk.length > MAX_BYTES) return this.#end('request', 'the request is too large');
    this.#bytes.add(chunk);
    return this.#stage === 'go' ? this.#takeGo() : this.#takeRequest();
  }

  #takeGo(): boolean {
    const go = decodeGo(this.#bytes.content);
    if ('reason' in go) return this.#end('request', `the handshake: ${go.reason}`);
    if (!go.value) return true;
    this.#stage = 'handed over';
    this.#go.resolve();
    return false;
  }

  #takeRequest(): boolean {
    if (this.length < this.#needed) return true;
    const decoded = decodeRequest(this.#bytes.content);
    if ('reason' in decoded) return this.#end('request', `the request: ${decoded.reason}`);
    if ('incomplete' in decoded) {
      this.#needed = decoded.least;
      return true;
    }
    this.#stage = 'open';
    this.#request.resolve(decoded.request);
    return true;
  }

  #end(code: FailureCode, found: string): false {
    const fault = failure(code, found);
    this.#request.reject(fault);
    this.#go.reject(fault);
    this.#life.abort(fault);
    return false;
  }
}
