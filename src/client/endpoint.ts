/**
 * The endpoint that the host dials back to: a listener, and a one-time sshd behind it. For each connection from an allowed
 * address it starts `sshd -i` as this ordinary account. The first session that takes the ticket wins; then the listener closes
 * and the other sessions are killed. So a port scan, a silent peer or a peer with a wrong key cannot make a run fail.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { Fault } from '../fault.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { type Child, standard, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { watchFolder } from '../os/watch.ts';
import { oneTimeKeyLine, SSHD_ENVIRONMENT, sshdConfig } from '../wire/ssh.ts';
import { unfold } from '../wire/text.ts';
import { isFrom, parseListen, type Range, showRange } from './addresses.ts';
import { type GateOrders, issueTicket, killReader, readTaken, type Taken, withdrawTicket } from './ticket.ts';

/** sshd closes a connection that has not authenticated within this time (sshd_config(5), LoginGraceTime). */
const GRACE_MS = 15_000;
/** A session must take the ticket this long after it has authenticated. */
const TICKET_MS = 10_000;
/** The most sshd processes at once. */
const SESSIONS_LIMIT = 8;
/**
 * The most connections that wait, unread, for a free session. One more closes the oldest. The newest is served first, because
 * the host connects after the connections that somebody opens to block it.
 */
const WAITING_LIMIT = 64;

interface EndpointOptions {
  runFolder: string;
  /** The addresses that may connect. */
  from: Range[];
  /** ADDR:PORT; undefined: all addresses, and a port that the system chooses. */
  listen: string | undefined;
  /** The one-time public key of the host. */
  publicKey: string;
  forcedCommand: string;
  orders: GateOrders;
  /** sshd notices a broken connection within this time. */
  idleSeconds: number;
  /** The key expires after this time. */
  openMs: number;
  /** Receives a warning when the port is taken and the endpoint tries again. */
  warn: (message: string) => void;
  interrupt: AbortSignal;
}

/** Connections that did not get as far as the ticket, for the message of a run that failed. */
interface EndpointAttempts {
  /** Connections from other addresses, or too many at once. */
  turnedAway: number;
  /** Sessions that ended without the ticket. */
  failed: number;
  /** The last error of sshd; it may contain text of the peer. */
  lastWords: string;
}

interface Session {
  peerAddress: string;
  peerPort: number;
  sshd: Child;
  timer: NodeJS.Timeout;
}

/**
 * Writes the files of the one-time sshd, issues the ticket and listens.
 * @param held releases everything: listener, sessions and the process that has taken the ticket
 * @throws Fault where the address or port cannot be used
 */
export async function openEndpoint(held: DisposableHolder, options: EndpointOptions): Promise<Endpoint> {
  const { runFolder } = options;
  writeSshdFiles(options);
  issueTicket(runFolder, options.orders);
  const endpoint = new Endpoint(options);
  // Released last. The ticket can be taken until the very end, so this reads who has it only then, and kills that process by
  // its pid even if its sshd has gone.
  held.defer(() => killReader(runFolder));
  held.defer(() => endpoint.end());
  held.defer(watchFolder(runFolder, () => endpoint.checkTicket()));
  await endpoint.listen();
  return endpoint;
}

/** An open endpoint. */
export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #server: Server;
  readonly #sessions = new Set<Session>();
  /** Connections that wait for a free session. */
  readonly #waiting: Socket[] = [];
  readonly #attempts: EndpointAttempts = { turnedAway: 0, failed: 0, lastWords: '' };
  readonly #taken = Promise.withResolvers<Taken>();
  #port = 0;
  /** sshd processes that are being started. */
  #starting = 0;
  #isClosed = false;
  #winner: Session | undefined;

  constructor(options: EndpointOptions) {
    this.#options = options;
    // Without TCP_NODELAY a second message of sshd's waits for the acknowledgement of the first one, which the peer delays by 40 ms.
    this.#server = createServer({ pauseOnConnect: true, noDelay: true }, socket => this.#receive(socket));
  }

  /** The port that it listens on. */
  get port(): number {
    return this.#port;
  }

  /** Resolves when a session has taken the ticket; the listener is closed then. */
  get taken(): Promise<Taken> {
    return this.#taken.promise;
  }

  attempts(): Readonly<EndpointAttempts> {
    return this.#attempts;
  }

  /** Starts to listen. @throws Fault where the address or port cannot be used */
  async listen(): Promise<void> {
    this.#port = await listenWithRetry(this.#server, this.#options);
  }

  /** Lets no further session in: closes the listener and withdraws the ticket. */
  close(): void {
    this.#isClosed = true;
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#waiting.splice(0)) this.#turnAway(socket);
    withdrawTicket(this.#options.runFolder);
  }

  /** Closes, and kills all sessions. */
  async end(): Promise<void> {
    this.close();
    await Promise.all([...this.#sessions].map(session => endSession(session)));
  }

  /** Looks whether a session has taken the ticket; called when the run folder has changed. */
  checkTicket(): void {
    const taken = this.#isClosed ? undefined : readTaken(this.#options.runFolder);
    if (!taken) return;
    this.close();
    this.#winner = [...this.#sessions].find(
      session => session.peerPort === taken.peerPort && session.peerAddress === unfold(taken.peerAddress),
    );
    if (this.#winner) clearTimeout(this.#winner.timer);
    for (const session of this.#sessions) if (session !== this.#winner) void endSession(session);
    this.#taken.resolve(taken);
  }

  #receive(socket: Socket): void {
    socket.on('error', () => {}); // The peer may have gone already.
    if (this.#isClosed || !isFrom(this.#options.from, socket.remoteAddress ?? '')) {
      this.#turnAway(socket);
      return;
    }
    this.#waiting.push(socket);
    if (this.#waiting.length > WAITING_LIMIT) this.#turnAway(this.#waiting.shift());
    this.#serveNext();
  }

  #turnAway(socket: Socket | undefined): void {
    if (!socket) return;
    this.#attempts.turnedAway += 1;
    socket.destroy(); // before a byte is read
  }

  #serveNext(): void {
    const hasRoom = (): boolean => this.#sessions.size + this.#starting < SESSIONS_LIMIT;
    while (!this.#isClosed && hasRoom() && this.#waiting.length > 0) {
      const socket = this.#waiting.pop();
      if (!socket || socket.remotePort === undefined) continue; // The peer has gone.
      this.#starting += 1;
      void this.#serve(socket).finally(() => {
        this.#starting -= 1;
        this.#serveNext();
      });
    }
  }

  async #serve(socket: Socket): Promise<void> {
    const peerAddress = unfold(socket.remoteAddress ?? '');
    const peerPort = socket.remotePort ?? 0;
    const sshd = await this.#startSshd(socket);
    if (!sshd) return;
    const session: Session = {
      peerAddress,
      peerPort,
      sshd,
      timer: setTimeout(() => void endSession(session), GRACE_MS + TICKET_MS),
    };
    this.#sessions.add(session);
    eachLine(sshd.stderr, 1000, line => {
      if (/^(error|fatal|Authentication refused|Bad )/i.test(line)) this.#attempts.lastWords = line.trim();
    });
    void sshd.exited.then(() => {
      clearTimeout(session.timer);
      this.#sessions.delete(session);
      this.#serveNext();
      if (this.#winner !== session) this.#attempts.failed += 1;
    });
    // Another session can have taken the ticket while this sshd was being started.
    if (this.#isClosed && this.#winner !== session) void endSession(session);
  }

  /** @returns undefined where sshd cannot be started */
  async #startSshd(socket: Socket): Promise<Child | undefined> {
    // -i: serve this one connection; -e: log to standard error.
    const config = `${this.#options.runFolder}/sshd_config`;
    const command = standard('sshd', ['-i', '-e', '-f', config], SSHD_ENVIRONMENT);
    try {
      return await start(command, [socket, socket, 'pipe']);
    } catch (error) {
      this.#attempts.lastWords = error instanceof Error ? error.message : String(error);
      this.#attempts.failed += 1;
      return undefined;
    } finally {
      socket.destroy(); // From here on only sshd has the connection.
    }
  }
}

async function endSession(session: Session): Promise<void> {
  clearTimeout(session.timer);
  await session.sshd.end(1_000);
}

function writeSshdFiles({
  runFolder,
  from,
  publicKey,
  forcedCommand,
  idleSeconds,
  openMs,
}: EndpointOptions): void {
  const graceSeconds = GRACE_MS / 1000;
  const config = sshdConfig({ run: runFolder, forcedCommand, graceSeconds, idleSeconds });
  writeNew(`${runFolder}/sshd_config`, config);
  const line = oneTimeKeyLine({
    from: from.map(showRange),
    expires: new Date(now().getTime() + openMs + GRACE_MS),
    forcedCommand,
    key: publicKey,
  });
  writeNew(`${runFolder}/authorized_keys`, line);
}

/** Where another program has the port: the time between two tries, and the time after which it gives up. */
const LISTEN_AGAIN_MS = 500;
const LISTEN_TIMEOUT_MS = 15_000;
const TAKEN = 'port-taken';

/** A fixed port can be taken for a moment: by the connection of another program, or by a local user. */
async function listenWithRetry(server: Server, options: EndpointOptions): Promise<number> {
  const { listen: where, warn, interrupt } = options;
  const started = monotonicMs();
  for (let tries = 1; ; tries += 1) {
    try {
      return await listen(server, where);
    } catch (error) {
      const isTaken = error instanceof Fault && error.code === TAKEN;
      if (!isTaken || monotonicMs() - started > LISTEN_TIMEOUT_MS) throw error;
      if (tries === 1)
        warn(`Cannot ${error.tried}: ${error.found}; trying again for ${LISTEN_TIMEOUT_MS / 1000} s`);
      await sleep(LISTEN_AGAIN_MS, interrupt);
    }
  }
}

const LISTEN_ERRORS: Record<string, string> = {
  EADDRINUSE: 'another program uses this port',
  EADDRNOTAVAIL: 'this machine does not have this address',
  EACCES: 'only root can use ports below 1024',
};

/** @param where ADDR:PORT; undefined: all addresses, and a port that the system chooses. @returns the port */
function listen(server: Server, where: string | undefined): Promise<number> {
  const { address, port } = where === undefined ? { port: 0 } : (parseListen(where) ?? { port: 0 });
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => reject(listenFault(where, port, error));
    server.once('error', failed);
    server.listen({ ...(address ? { host: address } : {}), port, exclusive: true }, () => {
      server.off('error', failed);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound ? bound.port : 0);
    });
  });
}

function listenFault(where: string | undefined, port: number, error: NodeJS.ErrnoException): Fault {
  const isTaken = error.code === 'EADDRINUSE';
  return new Fault({
    tried: `listen on "${where ?? 'any port'}"`,
    found: LISTEN_ERRORS[error.code ?? ''] ?? error.code ?? error.message,
    next: isTaken
      ? `ss -tanp 'sport = :${port}' names it; end it, or set another \`listen\` in client.toml`
      : 'see `listen` in client.toml',
    ...(isTaken ? { exit: 'unreachable', code: TAKEN } : {}),
  });
}
