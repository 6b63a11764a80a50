/**
 * The life of one one-time sshd: a listener of our own; on each accepted connection whose peer is allowed, `sshd -i`
 * as the ordinary user; the first session that takes the ticket wins, all others are ended, the listener closes.
 * A port scan, a silent peer or a peer with a wrong key costs the run nothing.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { Fault } from '../fault.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { makeFolder, removeFileIfThere } from '../os/files.ts';
import { MOUNTPOINTS_LIBRARY } from '../os/link-library.ts';
import { type Child, standard, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { watchFolder } from '../os/watch.ts';
import { oneTimeKeyLine, SSHD_ENVIRONMENT, sshdConfig } from '../wire/ssh.ts';
import { unfold } from '../wire/text.ts';
import { isFrom, parseListen, type Range, showRange } from './addresses.ts';
import { endReader, type GateOrders, readTaken, type Taken } from './gate.ts';

/** sshd ends a connection that has not authenticated after this. */
const GRACE_MS = 15_000;
/** A connection that has authenticated must have taken the ticket within this. */
const TICKET_MS = 10_000;
/** So many sshd at once. */
const SESSIONS_LIMIT = 8;
/**
 * So many connections wait for a place, unread; the oldest is closed when there are more. The newest is served first:
 * the host comes after those that were sent to hold it up.
 */
const WAITING_LIMIT = 64;

/** What rsync and its jail go by. */
export interface DaemonFiles {
  /** The daemon's config and filter, for RUN/rsyncd. */
  daemonConfig: string;
  /** The daemon's filter; a character a byte. */
  filter: string;
  /** Mount points as `mountTableText()` has them; a character a byte. */
  mounts?: string;
  /** The library that goes by them, where no launcher gives it to rsync. */
  library?: Buffer | undefined;
}

export interface EndpointOptions {
  run: string;
  from: Range[];
  listen: string | undefined;
  publicKey: string;
  forcedCommand: string;
  orders: GateOrders;
  /** A host that is cut off is noticed within this. */
  idleSeconds: number;
  /** After this nobody gets in any more. */
  openMs: number;
  /** Is told that the port is taken, and that it is tried again. */
  mustWait: (found: string) => void;
  interrupt: AbortSignal;
}

/** An open endpoint. */
export interface Endpoint {
  port: number;
  /** Resolves when a session has taken the ticket; the listener is closed then. */
  taken: Promise<Taken>;
  /** Closes it to all who have not taken the ticket. */
  close(): void;
  /** What came to the listener and went in vain, for the message when nobody got in. */
  attempts(): { turnedAway: number; failed: number; lastWords: string };
}

interface Session {
  peerAddress: string;
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
  let isTaken = false;

  const server = createServer({ pauseOnConnect: true }, socket => receive(socket));
  // Last of all: who took the ticket is ended by its number, whatever has become of its sshd. The ticket can be taken
  // until the very end, so it is looked for here and not remembered.
  held.defer(() => endReader(options.run));
  held.defer(async () => {
    close();
    await Promise.all([...sessions].map(session => endSession(session)));
  });

  const waiting: Socket[] = [];
  let starting = 0;

  /** Nobody else is let in. */
  function close(): void {
    isTaken = true;
    closeListener(server);
    for (const socket of waiting.splice(0)) turnAway(socket);
    removeFileIfThere(`${options.run}/ticket`);
  }

  function receive(socket: Socket): void {
    socket.on('error', () => {}); // a peer that has gone already
    if (isTaken || !isFrom(options.from, socket.remoteAddress ?? '')) {
      turnAway(socket);
      return;
    }
    waiting.push(socket);
    if (waiting.length > WAITING_LIMIT) turnAway(waiting.shift());
    serveNext();
  }

  function turnAway(socket: Socket | undefined): void {
    if (!socket) return;
    attempts.turnedAway += 1;
    socket.destroy(); // before a byte is read
  }

  function serveNext(): void {
    while (!isTaken && sessions.size + starting < SESSIONS_LIMIT && waiting.length > 0) {
      const socket = waiting.pop();
      if (!socket || socket.remotePort === undefined) continue; // it has gone
      starting += 1;
      void serve(socket).finally(() => {
        starting -= 1;
        serveNext();
      });
    }
  }

  async function serve(socket: Socket): Promise<void> {
    const peerAddress = unfold(socket.remoteAddress ?? '');
    const peerPort = socket.remotePort ?? 0;
    let sshd: Child;
    try {
      // -e: to our standard error; -i: this one connection. The socket is sshd's alone from here on.
      sshd = await start(
        standard('sshd', ['-i', '-e', '-f', `${options.run}/sshd_config`], SSHD_ENVIRONMENT),
        [socket, socket, 'pipe'],
      );
    } catch (error) {
      attempts.lastWords = error instanceof Error ? error.message : String(error);
      attempts.failed += 1;
      return;
    } finally {
      socket.destroy();
    }
    const session: Session = {
      peerAddress,
      peerPort,
      sshd,
      timer: setTimeout(() => void endSession(session), GRACE_MS + TICKET_MS),
    };
    sessions.add(session);
    eachLine(sshd.stderr, 1000, line => {
      if (/^(error|fatal|Authentication refused|Bad )/i.test(line)) attempts.lastWords = line.trim();
    });
    void sshd.exited.then(() => {
      clearTimeout(session.timer);
      sessions.delete(session);
      serveNext();
      if (winner !== session) attempts.failed += 1;
    });
    // The ticket can have been taken while sshd was started.
    if (isTaken && winner !== session) void endSession(session);
  }

  let winner: Session | undefined;
  function onTaken(): void {
    const who = isTaken ? undefined : readTaken(options.run);
    if (!who) return;
    close();
    winner = [...sessions].find(
      session => session.peerPort === who.peerPort && session.peerAddress === unfold(who.peerAddress),
    );
    if (winner) clearTimeout(winner.timer);
    for (const session of sessions) if (session !== winner) void endSession(session);
    taken.resolve(who);
  }

  held.defer(watchFolder(options.run, onTaken));
  const port = await listenInTime(server, options);
  return { port, taken: taken.promise, close, attempts: () => attempts };
}

async function endSession(session: Session): Promise<void> {
  clearTimeout(session.timer);
  await session.sshd.end(1_000);
}

function closeListener(server: Server): void {
  if (server.listening) server.close();
}

/** Writes what the launcher reads in a run folder, or writes it anew. @param records a character a byte */
export function writeScope(run: string, records: string): void {
  removeFileIfThere(`${run}/scope`);
  writeNew(`${run}/scope`, Buffer.from(records, 'latin1'));
}

/** Writes what rsync reads in a run folder. */
export function writeDaemonFiles(run: string, files: DaemonFiles): void {
  makeFolder(`${run}/rsyncd`);
  makeFolder(`${run}/rsyncd/empty`);
  writeNew(`${run}/rsyncd/mounts`, Buffer.from(files.mounts ?? '', 'latin1'));
  if (files.library) writeNew(`${run}/rsyncd/${MOUNTPOINTS_LIBRARY}`, files.library);
  writeNew(`${run}/rsyncd/rsyncd.conf`, files.daemonConfig);
  writeNew(`${run}/rsyncd/filter`, Buffer.from(files.filter, 'latin1'));
}

/** Writes what the gate goes by, and the one ticket; what rsync goes by is there by then. */
export function writeGateFiles({ run, orders }: { run: string; orders: GateOrders }): void {
  writeNew(`${run}/gate.json`, JSON.stringify(orders));
  writeNew(`${run}/ticket`, '');
}

function writeFiles(options: EndpointOptions): void {
  const { run, forcedCommand, idleSeconds } = options;
  const graceSeconds = GRACE_MS / 1000;
  writeNew(`${run}/sshd_config`, sshdConfig({ run, forcedCommand, graceSeconds, idleSeconds }));
  writeNew(
    `${run}/authorized_keys`,
    oneTimeKeyLine({
      from: options.from.map(showRange),
      expires: new Date(now().getTime() + options.openMs + GRACE_MS),
      forcedCommand,
      key: options.publicKey,
    }),
  );
  writeGateFiles(options);
}

/** A port that another program has taken: so often it is tried again, and for so long. */
const LISTEN_AGAIN_MS = 500;
const LISTEN_PATIENCE_MS = 15_000;
const TAKEN = 'port-taken';

/** Listens. A fixed port can be taken for a moment, by the connection of another program or by a local user. */
async function listenInTime(
  server: Server,
  { listen: where, mustWait, interrupt }: EndpointOptions,
): Promise<number> {
  const started = monotonicMs();
  for (let tries = 1; ; tries += 1) {
    try {
      return await listen(server, where);
    } catch (error) {
      const isTaken = error instanceof Fault && error.code === TAKEN;
      if (!isTaken || monotonicMs() - started > LISTEN_PATIENCE_MS) throw error;
      if (tries === 1)
        mustWait(`Cannot ${error.tried}: ${error.found}; trying again for ${LISTEN_PATIENCE_MS / 1000} s`);
      await sleep(LISTEN_AGAIN_MS, interrupt);
    }
  }
}

const LISTEN_ERRORS: Record<string, string> = {
  EADDRINUSE: 'another program uses this port',
  EADDRNOTAVAIL: 'it is no address of this machine',
  EACCES: "ports below 1024 are root's",
};

/** @param where ADDR:PORT, or undefined for any address and a port of the system's choice */
function listen(server: Server, where: string | undefined): Promise<number> {
  const { address, port } = where === undefined ? { port: 0 } : (parseListen(where) ?? { port: 0 });
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const found = LISTEN_ERRORS[error.code ?? ''] ?? error.code ?? error.message;
      const isTaken = error.code === 'EADDRINUSE';
      reject(
        new Fault({
          tried: `listen on "${where ?? 'any port'}"`,
          found,
          next: isTaken
            ? `ss -tanp 'sport = :${port}' names it; end it, or set another \`listen\` in client.toml`
            : 'see `listen` in client.toml',
          ...(isTaken ? { exit: 'unreachable', code: TAKEN } : {}),
        }),
      );
    };
    server.once('error', failed);
    server.listen({ ...(address ? { host: address } : {}), port, exclusive: true }, () => {
      server.off('error', failed);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound ? bound.port : 0);
    });
  });
}
