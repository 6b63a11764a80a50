/**
 * The transport `channel`: the call itself becomes rsync's connection, for machines that no host can connect to. The gate, the
 * ticket and the jail are the same as in client/direct.ts, but there is no key, no sshd and no listener (wire/channel.ts).
 *
 * The standard input and output of the call's ssh are two FIFOs. `backup` writes the request and does the handshake there. Then
 * the gate, which has the other ends as its own standard input and output, becomes rsync.
 */
import { Fault } from '../fault.ts';
import { settleAll, withTimeout } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { makeFifos, openFifo } from '../os/fifo.ts';
import { close, open, openFlags } from '../os/files.ts';
import { type Child, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { readLineAlone, writeAll } from '../os/streams.ts';
import { watchFolder } from '../os/watch.ts';
import { GO, HANDSHAKE_LINE_LIMIT } from '../wire/channel.ts';
import { encodeRequest } from '../wire/request.ts';
import { parseGateCommand } from '../wire/rsync.ts';
import { CHANNEL, escapeText } from '../wire/text.ts';
import { type CallEnds, type Callee, overSsh, placeCall, resolveCall } from './call.ts';
import { clientName } from './config.ts';
import { runFault } from './run-events.ts';
import {
  commandFifo,
  type GateOrders,
  gateCommand,
  issueTicket,
  killReader,
  readTaken,
  type Taken,
  withdrawTicket,
} from './ticket.ts';
import {
  type Attempt,
  type AttemptOutcome,
  awaitOutcome,
  type OpenTransport,
  planCalls,
  requireCapability,
  TAKEN_MS,
} from './transport.ts';

/** The code of the fault of a host that hung up without a message. An outcome, or the log of ssh, may say more. */
const HUNG_UP = 'hung-up';
/** An outcome comes this soon after the host has closed the channel, or not at all. */
const LAST_WORD_MS = 5_000;

/** Opens the transport `channel`. @throws Fault where a key file is missing */
export const openChannel: OpenTransport = async run => {
  const planCall = planCalls(run);
  return {
    prepare: async runFolder => {
      const plan = planCall(runFolder);
      await resolveCall({ ...plan, command: '' }); // names an option that ssh does not accept
      const command = `${clientName(run.config)}:${CHANNEL}`;
      return async (held, attempt) =>
        await carryOverChannel(
          held,
          attempt,
          'channel',
          async () => await overSsh(held, { ...plan, command }),
        );
    },
  };
};

/**
 * Carries an attempt over a channel: for this transport and for `local`.
 * @param describeCallee returns what the call starts, ssh or grab
 */
export async function carryOverChannel(
  held: AsyncDisposableStack,
  attempt: Attempt,
  transport: 'channel' | 'local',
  describeCallee: () => Promise<Callee>,
): Promise<AttemptOutcome> {
  const { run, runFolder, capability, host, orders } = attempt;
  const { interrupt, events } = run;
  const gate = gateCommand(capability, runFolder);
  const [channel] = await settleAll([makeChannel(held, runFolder, gate, orders), requireCapability(attempt)]);
  events.phase('calling');
  const confined = capability === 'confined';
  const request = encodeRequest({
    header: { ...attempt.header, transport, confined, key_bytes: 0 },
    key: Buffer.alloc(0),
    excludes: attempt.excludes,
  });
  const callee = await describeCallee();
  const call = await placeCall(held, callee, request, event => host.receive(event), channel);
  const opened = withTimeout(interrupt, TAKEN_MS, channel.open(), () =>
    runFault(events.remote, `the backup host did not begin within ${TAKEN_MS / 1000} s after the call`),
  );
  const letIn = opened.catch(async error => {
    // Where the call ends first, its outcome or the log of ssh says more than "it hung up".
    if (error instanceof Fault && error.code === HUNG_UP)
      await Promise.race([call.outcome.catch(() => {}), sleep(LAST_WORD_MS, interrupt)]);
    throw error;
  });
  return { ...(await awaitOutcome(attempt, call, letIn)), sshdWords: '' };
}

/**
 * Makes the FIFOs, issues the ticket and starts the gate. The gate then waits for the command of the host, so that its start
 * takes no time of its own.
 * @param held releases everything: the FIFOs, the gate and the process that has taken the ticket
 * @param gateWords the program and arguments of the gate
 */
async function makeChannel(
  held: DisposableHolder,
  runFolder: string,
  gateWords: string[],
  orders: GateOrders,
): Promise<Channel> {
  issueTicket(runFolder, orders);
  const [up, down] = [`${runFolder}/up`, `${runFolder}/down`];
  await makeFifos(up, down, commandFifo(runFolder));
  const [toHost, fromHost] = [openFifo(up), openFifo(down)];
  const command = open(commandFifo(runFolder), openFlags.O_RDWR); // O_RDWR: the open does not wait for the gate
  const ends = new OpenEnds([toHost.reading, toHost.writing, fromHost.reading, fromHost.writing, command]);
  held.defer(() => ends.closeAll());
  // By pid, even if its parent has gone.
  held.defer(() => killReader(runFolder));
  held.defer(() => withdrawTicket(runFolder));
  const [program = '', ...args] = gateWords;
  const gate = await start({ program, args, environment: PLAIN_ENVIRONMENT }, [
    fromHost.reading,
    toHost.writing,
    'pipe',
  ]);
  held.defer(() => gate.end());
  return new Channel(held, runFolder, ends, { toHost, fromHost, command }, gate);
}

/** Descriptors that are closed once each. */
class OpenEnds {
  readonly #open: Set<number>;

  constructor(descriptors: number[]) {
    this.#open = new Set(descriptors);
  }

  close(descriptor: number): void {
    if (this.#open.delete(descriptor)) close(descriptor);
  }

  closeAll(): void {
    for (const each of this.#open) this.close(each);
  }
}

interface ChannelDescriptors {
  toHost: { reading: number; writing: number };
  fromHost: { reading: number; writing: number };
  /** The FIFO through which the gate receives the command. */
  command: number;
}

/** A channel before and while rsync uses it. */
class Channel implements CallEnds {
  /** The descriptors for the standard input and output of the call's ssh. */
  readonly input: number;
  readonly output: number;
  readonly #held: DisposableHolder;
  readonly #runFolder: string;
  readonly #ends: OpenEnds;
  readonly #descriptors: ChannelDescriptors;
  readonly #gate: Child;
  /** The last line of the gate, or of the rsync that it has become. */
  #gateWords = '';

  constructor(
    held: DisposableHolder,
    runFolder: string,
    ends: OpenEnds,
    descriptors: ChannelDescriptors,
    gate: Child,
  ) {
    this.input = descriptors.toHost.reading;
    this.output = descriptors.fromHost.writing;
    this.#held = held;
    this.#runFolder = runFolder;
    this.#ends = ends;
    this.#descriptors = descriptors;
    this.#gate = gate;
    eachLine(gate.stderr, 1000, line => {
      this.#gateWords = escapeText(line.trim());
    });
  }

  release(): void {
    this.#ends.close(this.input);
    this.#ends.close(this.output);
  }

  async send(bytes: Buffer): Promise<void> {
    await writeAll(this.#descriptors.toHost.writing, bytes);
  }

  /**
   * Does the handshake, then passes the command of the host to the gate, which takes the ticket.
   * @returns when rsync runs: the process that has taken the ticket
   * @throws Fault where the host asks for anything else or hangs up, or the gate exits
   */
  async open(): Promise<Taken> {
    const { toHost, fromHost, command } = this.#descriptors;
    const asked = await shakeHands(fromHost.reading, toHost.writing);
    this.#ends.close(fromHost.reading);
    const taken = Promise.withResolvers<Taken>();
    const check = (): void => {
      const found = readTaken(this.#runFolder);
      if (found) taken.resolve(found);
    };
    this.#held.defer(watchFolder(this.#runFolder, check));
    await writeAll(command, Buffer.from(`${asked}\n`));
    // The host sees the end of rsync by this. Until then the open end is the sign that we live.
    void this.#gate.ended.then(() => this.#ends.close(toHost.writing));
    const ended = this.#gate.exited.then((): never => {
      throw new Fault({
        tried: 'start rsync behind the gate',
        found: this.#gateWords || 'it exited without a message',
        exit: 'refused',
      });
    });
    ended.catch(() => {}); // Once rsync runs, its exit is not an error of the handshake.
    return await Promise.race([taken.promise, ended]);
  }

  hangUp(): void {
    this.#ends.close(this.#descriptors.toHost.writing);
    this.#ends.close(this.#descriptors.command); // A gate that still waits for a command exits.
  }

  async end(): Promise<void> {
    await this.#gate.end();
    this.#ends.close(this.#descriptors.toHost.writing);
  }
}

/**
 * The client's part of the handshake (wire/channel.ts).
 * @returns the command of the host, which is one that the gate allows
 * @throws Fault where the host says anything else, or hangs up
 */
async function shakeHands(fromHost: number, toHost: number): Promise<string> {
  const tried = 'begin the transfer';
  const asked = await readLineAlone(fromHost, HANDSHAKE_LINE_LIMIT);
  if (asked === undefined)
    throw new Fault({ tried, found: 'the backup host hung up', exit: 'unreachable', code: HUNG_UP });
  const parsed = parseGateCommand(asked);
  if ('reason' in parsed) {
    throw new Fault({
      tried,
      found: `the backup host asks for "${escapeText(asked)}": ${parsed.reason}`,
      next: 'if that is a greeting: a start-up file of its account prints it (~/.bashrc, say); `dialback doctor` there names the file',
      exit: 'unreachable',
      code: 'asked',
    });
  }
  await writeAll(toHost, Buffer.from(GO));
  const answer = await readLineAlone(fromHost, HANDSHAKE_LINE_LIMIT);
  if (`${answer}\n` !== GO)
    throw new Fault({
      tried,
      found: 'the backup host did not take the channel over',
      exit: 'unreachable',
      code: 'asked',
    });
  return asked;
}
