/**
 * One call of a fetch: ssh whose standard input and output are two FIFOs. The request goes out, the answer comes in, and then rsync
 * gets the other ends (wire/fetch.ts).
 */
import { Fault } from '../fault.ts';
import { makePipePair } from '../os/fifo.ts';
import { chmod, chown, close, makeFolder, makeUniqueFolder, read, removeAll } from '../os/files.ts';
import { openLogPipe } from '../os/log-pipe.ts';
import { standard } from '../os/process.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { readLineAlone, writeAll } from '../os/streams.ts';
import { GO } from '../wire/channel.ts';
import { FAILURES, type OutcomeEvent } from '../wire/events.ts';
import {
  decodePieceLength,
  encodeFetchRequest,
  type FetchRequest,
  LENGTH_LINE_LIMIT,
  OFFER_VERSION,
} from '../wire/fetch.ts';
import { DAEMON_REQUEST } from '../wire/rsync.ts';
import { callArguments } from '../wire/ssh.ts';
import { escapeText, FETCH } from '../wire/text.ts';
import { type CallEnds, type Callee, callFault, placeCall } from './call.ts';
import { type Endpoint, knownHostsFile } from './fetch-endpoint.ts';

const AGAIN = 'the same command again; it continues where this one stopped';

/** A call under way. */
export class FetchCall {
  readonly #outcome: Promise<OutcomeEvent>;
  readonly #ends: Ends;

  private constructor(outcome: Promise<OutcomeEvent>, ends: Ends) {
    this.#outcome = outcome;
    this.#ends = ends;
  }

  /**
   * Calls the host and sends the request.
   * @param held kills ssh
   * @throws Fault where ssh cannot be started
   */
  static async place(
    held: AsyncDisposableStack,
    endpoint: Endpoint,
    runFolder: string,
    request: FetchRequest,
  ): Promise<FetchCall> {
    const folder = `${runFolder}/${request.action}`;
    makeFolder(folder);
    const ends = new Ends(...(await makePipePair(`${folder}/up`, `${folder}/down`)));
    held.defer(() => ends.closeAll());
    const callee = await describeSsh(held, endpoint, folder);
    const bytes = Buffer.from(encodeFetchRequest(request));
    const call = await placeCall(held, callee, bytes, () => {}, ends);
    return new FetchCall(call.outcome, ends);
  }

  /**
   * Reads the answer.
   * @param take receives each piece of its text
   * @throws Fault where the host refuses, hangs up, or answers something else
   */
  async readAnswer(take: (piece: Buffer) => void): Promise<void> {
    const version = await readLineAlone(this.#ends.reading, OFFER_VERSION.length);
    if (version === undefined) throw await this.#whyEnded();
    if (version !== OFFER_VERSION) throw strange(`"${escapeText(version)}"`);
    for (;;) {
      const line = await readLineAlone(this.#ends.reading, LENGTH_LINE_LIMIT);
      if (line === undefined) throw await this.#whyEnded();
      const length = decodePieceLength(line);
      if ('reason' in length) throw strange(`"${escapeText(line)}": ${length.reason}`);
      if (length.value === 0) return;
      const piece = await readExactly(this.#ends.reading, length.value);
      if (piece === undefined) throw await this.#whyEnded();
      take(piece);
    }
  }

  /** Asks for rsync. @returns the descriptors for ours; `letGo` closes our copies, once rsync has its own */
  async takeOver(): Promise<{ reading: number; writing: number; letGo: () => void }> {
    await writeAll(this.#ends.writing, Buffer.from(`${DAEMON_REQUEST}\n`));
    const answer = await readLineAlone(this.#ends.reading, GO.length);
    if (answer === undefined) throw await this.#whyEnded();
    if (`${answer}\n` !== GO) throw strange(`"${escapeText(answer)}"`);
    return { reading: this.#ends.reading, writing: this.#ends.writing, letGo: () => this.#ends.hangUp() };
  }

  /** Waits for the outcome. @throws Fault where the host reports a failure, or ends without an outcome */
  async finish(): Promise<void> {
    const outcome = await this.#outcome.catch(error => {
      throw again(error);
    });
    const fault = outcomeFault(outcome);
    if (fault !== undefined) throw fault;
  }

  async #whyEnded(): Promise<unknown> {
    try {
      await this.finish();
      return new Fault({
        tried: 'fetch the files',
        found: 'the backup host hung up',
        next: AGAIN,
        exit: 'unreachable',
      });
    } catch (error) {
      return error;
    }
  }
}

/** A message of call.ts, whose next step is that of a backup. */
function again(error: unknown): unknown {
  if (!(error instanceof Fault) || error.next?.startsWith('dialback backup') !== true) return error;
  const { tried, found, exit } = error;
  return new Fault({ tried, found, exit, next: AGAIN });
}

function strange(found: string): Fault {
  return new Fault({
    tried: 'read the answer of the backup host',
    found,
    next: 'compare `dialback version` on both machines; a start-up file of its account may print something (dialback doctor there)',
    exit: 'unreachable',
  });
}

function outcomeFault({ code }: OutcomeEvent): Fault | undefined {
  if (code === null) return undefined;
  const [exit, found, next] = FAILURES[code];
  return new Fault({ tried: 'fetch the files', found, exit, code, next: next ?? AGAIN });
}

async function readExactly(descriptor: number, length: number): Promise<Buffer | undefined> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const got = await new Promise<number>((resolve, reject) => {
      read(descriptor, bytes, done, length - done, null, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
    if (got === 0) return undefined;
    done += got;
  }
  return bytes;
}

/** ssh to the host, as the account whose key it uses. */
async function describeSsh(
  held: AsyncDisposableStack,
  endpoint: Endpoint,
  runFolder: string,
): Promise<Callee> {
  const { account } = endpoint;
  const folder = account === undefined ? runFolder : sharedFolder(held);
  const logFile = `${folder}/ssh.log`;
  const log = await openLogPipe(held, logFile);
  if (account !== undefined) chown(logFile, account.uid, account.gid);
  const command = `${endpoint.name}:${FETCH}`;
  const options = { ...endpoint.call, knownHosts: knownHostsFile(endpoint, runFolder), logFile, command };
  const ssh = standard('ssh', callArguments(options));
  return {
    command: account === undefined ? ssh : { ...ssh, account: { uid: account.uid, gid: account.gid } },
    explainEnd: async (ending, hasReported) => callFault(options, await log.words(), ending, hasReported),
    worksOn: false,
  };
}

/** A folder of root's in which the account can open files whose name it knows, and change nothing. */
function sharedFolder(held: DisposableHolder): string {
  const path = makeUniqueFolder(`${temporaryFolder()}/dialback-fetch-`);
  held.defer(() => removeAll(path));
  chmod(path, 0o711);
  return path;
}

/** The ends of the two FIFOs. */
class Ends implements CallEnds {
  readonly input: number;
  readonly output: number;
  readonly reading: number;
  readonly writing: number;
  readonly #open: Set<number>;

  constructor(up: { reading: number; writing: number }, down: { reading: number; writing: number }) {
    this.input = up.reading;
    this.writing = up.writing;
    this.reading = down.reading;
    this.output = down.writing;
    this.#open = new Set([this.input, this.output, this.reading, this.writing]);
  }

  release(): void {
    this.#close(this.input, this.output);
  }

  async send(bytes: Buffer): Promise<void> {
    await writeAll(this.writing, bytes);
  }

  hangUp(): void {
    this.#close(this.reading, this.writing);
  }

  async end(): Promise<void> {
    this.hangUp();
  }

  closeAll(): void {
    this.#close(...this.#open);
  }

  #close(...descriptors: number[]): void {
    for (const each of descriptors) if (this.#open.delete(each)) close(each);
  }
}
