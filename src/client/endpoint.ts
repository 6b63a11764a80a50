/**
 * The life of one one-time sshd: a listener of our own; on each accepted connection whose peer is allowed, `sshd -i`
 * as the ordinary user; the first session that takes the ticket wins, all others are ended, the listener closes.
 * A port scan, a silent peer or a peer with a wrong key costs the run nothing.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Fault } from '../fault.ts';
import { exists, makeFolder, readWhole, watchFolder, writeNew } from '../os/files.ts';
import { now } from '../os/machine.ts';
import { type Child, type Ending, endProcess, isAlive, processAt, standard, start } from '../os/process.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { oneTimeKeyLine, sshdConfig } from '../wire/ssh.ts';
import { isFrom, parseListen, type Range, showRange, unfold } from './addresses.ts';
import type { GateOrders, Taken } from './gate.ts';

/** sshd ends a connection that has not authenticated after this. */
const GRACE_MS = 15_000;
/** A connection that has authenticated must have taken the ticket within this. */
const TICKET_MS = 10_000;
/** So many sshd at once; a further connection is closed, and may come again. */
const SESSIONS_LIMIT = 8;

export interface EndpointOptions {
  run: string;
  from: Range[];
  listen: string | undefined;
  publicKey: string;
  forcedCommand: string;
  orders: GateOrders;
  /** The daemon's config and filter, for RUN/rsyncd. */
  daemonConfig: string;
  filter: string;
  /** After this nobody gets in any more. */
  openMs: number;
}

/** An open endpoint. */
export interface Endpoint {
  port: number;
  /** Resolves when a session has taken the ticket; the listener is closed then. */
  taken: Promise<Taken>;
  /** Resolves when the session that took the ticket has ended. */
  ended: Promise<Ending>;
  /** What came to the listener and went in vain, for the message when nobody got in. */
  attempts(): { turnedAway: number; failed: number; lastWords: string };
}

interface Session {
  peerPort: number;
  sshd: Child;
  timer: NodeJS.Timeout;
}

/** Writes the files of the one-time sshd and listens. All of it ends when `held` is released. */
export async function openEndpoint(held: DisposableHolder, options: EndpointOptions): Promise<Endpoint> {
  writeFiles(options);
  const sessions = new Set<Session>();
  const attempts = { turnedAway: 0, failed: 0, lastWords: '' };
  const taken = Promise.withResolvers<Taken>();
  const ended = Promise.withResolvers<Ending>();
  let isTaken = false;

  const server = createServer({ pauseOnConnect: true }, socket => void accept(socket));
  held.defer(async () => {
    closeListener(server);
    await Promise.all([...sessions].map(session => endSession(session)));
  });

  async function accept(socket: Socket): Promise<void> {
    const peer = unfold(socket.remoteAddress ?? '');
    const peerPort = socket.remotePort ?? 0;
    socket.on('error', () => {}); // a peer that has gone already
    if (isTaken || !isFrom(options.from, peer) || sessions.size >= SESSIONS_LIMIT) {
      attempts.turnedAway += 1;
      socket.destroy(); // before a byte is read
      return;
    }
    let sshd: Child;
    try {
      // -e: to our standard error; -i: this one connection. The socket is sshd's alone from here on.
      sshd = await start(standard('sshd', ['-i', '-e', '-f', `${options.run}/sshd_config`]), [
        socket,
        socket,
        'pipe',
      ]);
    } catch (error) {
      attempts.lastWords = error instanceof Error ? error.message : String(error);
      attempts.failed += 1;
      return;
    } finally {
      socket.destroy();
    }
    const session: Session = {
      peerPort,
      sshd,
      timer: setTimeout(() => void endSession(session), GRACE_MS + TICKET_MS),
    };
    sessions.add(session);
    if (sshd.stderr)
      createInterface({ input: sshd.stderr }).on('line', line => {
        if (/^(error|fatal|Authentication refused|Bad )/i.test(line)) attempts.lastWords = line;
      });
    void sshd.exited.then(ending => {
      clearTimeout(session.timer);
      sessions.delete(session);
      if (winner === session) ended.resolve(ending);
      else attempts.failed += 1;
    });
    // The ticket can have been taken while sshd was started.
    if (isTaken && winner !== session) void endSession(session);
  }

  let winner: Session | undefined;
  function onTaken(): void {
    if (isTaken || !exists(`${options.run}/taken`)) return;
    isTaken = true;
    const who = JSON.parse(readWhole(`${options.run}/taken`, 4096).toString('utf8')) as Taken;
    closeListener(server);
    winner = [...sessions].find(session => session.peerPort === who.peerPort);
    if (winner) clearTimeout(winner.timer);
    for (const session of sessions) if (session !== winner) void endSession(session);
    // rsync is in a session of its own below sshd: it is ended by its number, whatever has become of sshd.
    const reader = processAt(who.pid);
    if (reader) held.defer(() => (isAlive(reader) ? endProcess(reader) : undefined));
    if (!winner) ended.resolve({ status: null, signal: null });
    taken.resolve(who);
  }

  held.defer(watchFolder(options.run, onTaken));
  const port = await listen(server, options.listen);
  return { port, taken: taken.promise, ended: ended.promise, attempts: () => attempts };
}

async function endSession(session: Session): Promise<void> {
  clearTimeout(session.timer);
  await session.sshd.end(1_000);
}

function closeListener(server: Server): void {
  if (server.listening) server.close();
}

function writeFiles(options: EndpointOptions): void {
  const { run, forcedCommand } = options;
  makeFolder(`${run}/rsyncd`);
  writeNew(`${run}/rsyncd/rsyncd.conf`, options.daemonConfig);
  writeNew(`${run}/rsyncd/filter`, options.filter);
  writeNew(`${run}/gate.json`, JSON.stringify(options.orders));
  writeNew(`${run}/sshd_config`, sshdConfig({ run, forcedCommand, graceSeconds: GRACE_MS / 1000 }));
  writeNew(
    `${run}/authorized_keys`,
    oneTimeKeyLine({
      from: options.from.map(showRange),
      expires: new Date(now().getTime() + options.openMs + GRACE_MS),
      forcedCommand,
      key: options.publicKey,
    }),
  );
  writeNew(`${run}/ticket`, '');
}

/** @param where ADDR:PORT, or undefined for any address and a port of the system's choice */
function listen(server: Server, where: string | undefined): Promise<number> {
  const { address, port } = where === undefined ? { port: 0 } : (parseListen(where) ?? { port: 0 });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const found =
        error.code === 'EADDRINUSE' ? 'another program listens there' : (error.code ?? error.message);
      reject(
        new Fault({
          tried: `listen on "${where ?? 'any port'}"`,
          found,
          next: 'see `listen` in client.toml',
        }),
      );
    });
    server.listen({ ...(address ? { host: address } : {}), port, exclusive: true }, () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound ? bound.port : 0);
    });
  });
}
