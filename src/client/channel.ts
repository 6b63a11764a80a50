/**
 * The transport `channel`: the call itself becomes the connection that rsync goes over, for machines that nobody can connect
 * to. Same gate, same ticket, same jail as in client/direct.ts; but no key, no sshd, no listener (wire/channel.ts).
 *
 * The call's ssh has its standard input and output in two FIFOs. What backup writes and reads there is the request and the
 * handshake; then the gate gets the other ends as its own, and becomes rsync.
 */
import { Fault } from '../fault.ts';
import { makeFifos, openFifo } from '../os/fifo.ts';
import { close, open, openFlags, removeFileIfThere } from '../os/files.ts';
import { type ExitResult, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { readLineAlone, writeAll } from '../os/streams.ts';
import { watchFolder } from '../os/watch.ts';
import { GO, HANDSHAKE_LINE_LIMIT } from '../wire/channel.ts';
import { parseGateCommand } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';
import { writeGateFiles } from './direct.ts';
import { commandFifo, endReader, type GateOrders, readTaken, type Taken } from './gate.ts';

/** The code of the fault of a host that went without a word: an outcome, or ssh's words, may say more. */
export const HUNG_UP = 'hung-up';

export interface ChannelOptions {
  run: string;
  /** The gate, as its program and arguments. */
  gate: string[];
  orders: GateOrders;
}

/** A channel before and while it is used. */
export interface Channel {
  /** What the call's ssh gets as its standard input and output. */
  input: number;
  output: number;
  /** Closes our copies of these two, once ssh has its own. */
  begun(): void;
  /** Sends bytes of our own: the request. */
  send(bytes: Buffer): Promise<void>;
  /**
   * The handshake, and then the gate, which is told what was asked for and takes the ticket. Resolves when rsync is at work.
   * @throws Fault where the host asks for something else, or hangs up
   */
  open(): Promise<Taken>;
  /** How the gate, or the rsync that it has become, ended, and its last words; undefined while it runs. */
  ending(): { ending: ExitResult; words: string } | undefined;
  /** The end of what goes to the host: its input ends. */
  hangUp(): void;
  /** Ends rsync, and then hangs up. */
  end(): Promise<void>;
}

/**
 * Makes the FIFOs and the files that the gate goes by, and starts the gate, which waits to be told what the host asks for: so it
 * is there when that comes. All of it ends when `held` is released.
 */
export async function openChannel(held: DisposableHolder, options: ChannelOptions): Promise<Channel> {
  const { run } = options;
  writeGateFiles(options);
  const [up, down] = [`${run}/up`, `${run}/down`];
  await makeFifos(up, down, commandFifo(run));
  const [toHost, fromHost] = [openFifo(up), openFifo(down)];
  const command = open(commandFifo(run), openFlags.O_RDWR); // so that neither end waits for the other
  const ours = new Set([toHost.reading, toHost.writing, fromHost.reading, fromHost.writing, command]);
  const letGo = (descriptor: number): void => {
    if (ours.delete(descriptor)) close(descriptor);
  };
  held.defer(() => {
    for (const each of ours) letGo(each);
  });
  // Whoever took the ticket is ended by its number, whatever has become of its parent.
  held.defer(() => endReader(run));
  held.defer(() => removeFileIfThere(`${run}/ticket`));
  const [program = '', ...args] = options.gate;
  const gate = await start({ program, args, environment: PLAIN_ENVIRONMENT }, [
    fromHost.reading,
    toHost.writing,
    'pipe',
  ]);
  held.defer(() => gate.end());
  let words = '';
  eachLine(gate.stderr, 1000, line => {
    words = escapeText(line.trim());
  });
  let over: { ending: ExitResult; words: string } | undefined;

  async function handshake(): Promise<string> {
    const fault = (found: string, code = 'asked'): Fault =>
      new Fault({ tried: 'begin the transfer', found, exit: 'unreachable', code });
    const asked = await readLineAlone(fromHost.reading, HANDSHAKE_LINE_LIMIT);
    if (asked === undefined) throw fault('the backup host hung up', HUNG_UP);
    const parsed = parseGateCommand(asked);
    if ('reason' in parsed) {
      throw new Fault({
        tried: 'begin the transfer',
        found: `the backup host asks for "${escapeText(asked)}": ${parsed.reason}`,
        next: 'if that is a greeting: a start-up file of its account prints it (~/.bashrc, say); `dialback doctor` there names the file',
        exit: 'unreachable',
        code: 'asked',
      });
    }
    await writeAll(toHost.writing, Buffer.from(GO));
    const answer = await readLineAlone(fromHost.reading, HANDSHAKE_LINE_LIMIT);
    if (`${answer}\n` !== GO) throw fault('the backup host did not take the channel over');
    return asked;
  }

  async function becomeOpen(): Promise<Taken> {
    const asked = await handshake();
    letGo(fromHost.reading);
    const taken = Promise.withResolvers<Taken>();
    held.defer(
      watchFolder(run, () => {
        const who = readTaken(run);
        if (who) taken.resolve(who);
      }),
    );
    await writeAll(command, Buffer.from(`${asked}\n`));
    void gate.ended.then(ending => {
      over = { ending, words };
      // The host sees rsync's end by it; until then it is also the sign that we live.
      letGo(toHost.writing);
    });
    const ended = gate.exited.then((): never => {
      throw new Fault({
        tried: 'start rsync behind the gate',
        found: words || 'it ended without a word',
        exit: 'refused',
      });
    });
    ended.catch(() => {}); // rsync's own end is none of this
    return await Promise.race([taken.promise, ended]);
  }

  return {
    input: toHost.reading,
    output: fromHost.writing,
    begun: () => {
      letGo(toHost.reading);
      letGo(fromHost.writing);
    },
    send: bytes => writeAll(toHost.writing, bytes),
    open: becomeOpen,
    ending: () => over,
    hangUp: () => {
      letGo(toHost.writing);
      letGo(command); // a gate that waits still has the other one, and ends
    },
    end: async () => {
      await gate.end();
      letGo(toHost.writing);
    },
  };
}
