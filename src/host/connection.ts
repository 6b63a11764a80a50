/** The connection to the client's gate over which rsync pulls: dialed back, or the client's own call. */
import { ownAccount } from '../os/account.ts';
import { withTimeout } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import {
  type DisposableHolder,
  defaultStateFolder,
  makeRunFolder,
  prepareStateFolder,
} from '../os/runfolder.ts';
import { failure } from '../wire/events.ts';
import { type Connection, dialBack } from './dial.ts';
import type { EventStream } from './event-stream.ts';
import type { Pull } from './pull.ts';
import type { CallTransport, ReceivedRequest } from './receive-request.ts';

/** How long to wait for rsync's end after ssh's end, since one is often the cause of the other. */
const SSH_END_MS = 1_000;

/** The request that a connection is opened for. */
interface ConnectionRequest {
  /** The client's name. */
  client: string;
  received: ReceivedRequest;
  place: CallTransport['place'];
  events: EventStream;
  /** The longest time for which the client may send nothing. */
  idleSeconds: number;
  signal: AbortSignal;
}

/**
 * Opens the connection, until `held` is released.
 * @param heard is called with each line that the client's machine writes on standard error
 * @throws Fault if the client does not agree, or if ssh or its agent cannot be started
 */
export async function openConnection(
  held: DisposableHolder,
  { client, received, place, events, idleSeconds, signal }: ConnectionRequest,
  heard: (line: string) => void,
): Promise<Connection> {
  const { header, key } = received.request;
  if (header.transport !== 'direct' || place === undefined) {
    const ends = await received.takeChannel();
    return {
      transport: header.transport,
      ...ends,
      ended: new Promise(() => {}),
      log: async () => '',
    };
  }
  const state = defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  const run = await makeRunFolder(held, state);
  events.send({ event: 'phase', phase: 'dialling' });
  return await dialBack(held, { run, ...place, name: client, header, key, idleSeconds, signal }, heard);
}

/**
 * Waits for the first byte of the client's rsync. It may take as long as any later byte, since starting rsync can take minutes on a busy
 * machine. Returns also if rsync has ended, so that its end decides the outcome.
 * @throws Fault `denied`, `unreachable` or `no-answer` if ssh failed, `idle` after `idleSeconds`, or the signal's reason
 */
export async function awaitFirstByte(
  pull: Pull,
  connection: Connection,
  signal: AbortSignal,
  idleSeconds: number,
): Promise<void> {
  const failed = connection.ended.then(async ({ status }) => {
    // ssh also ends if rsync was not started. Then that is the cause, and decides the outcome.
    const end = await Promise.race([pull.ended, sleep(SSH_END_MS)]);
    if (end?.isRefusedByLauncher) return;
    const log = await connection.log();
    if (/Permission denied|Too many authentication failures/.test(log)) throw failure('denied', log);
    if (/Host key verification failed|host key/i.test(log)) throw failure('denied', log);
    if (status === 255) throw failure('unreachable', log || 'ssh ended without a message');
    throw failure('no-answer', `ssh exited with status ${status ?? 'unknown'} before rsync answered. ${log}`);
  });
  failed.catch(() => {}); // after the first byte ssh's end is of no interest here
  // If rsync ends first, ssh may have ended a moment before. Then that is the cause; otherwise rsync's end decides the outcome.
  const ended = pull.ended.then(end =>
    end.isRefusedByLauncher ? undefined : Promise.race([failed, sleep(2 * SSH_END_MS)]),
  );
  ended.catch(() => {});
  await withTimeout(signal, idleSeconds * 1000, Promise.race([pull.firstByte, failed, ended]), () =>
    failure('idle', `no byte arrived within ${idleSeconds} s after dialing`),
  );
}
