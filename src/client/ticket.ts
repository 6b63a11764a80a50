/**
 * The contract between a run and its gate: the files in the run folder by which the two processes know of each other.
 *
 *     RUN/gate.json      the orders: what the gate may do; written by the run, read by the gate
 *     RUN/ticket         the right to start rsync, once; written by the run. The gate takes it by renaming it
 *     RUN/ticket-taken   the ticket after that
 *     RUN/taken          who has taken it; written by the gate, read by the run
 *     RUN/asked          a FIFO, over a channel: the run writes the command of the host into it (client/channel.ts)
 *
 * Each reader checks what it reads. A gate can be started with a folder that no run has made.
 */
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { close, failedWith, open, openFlags, removeFileIfThere, rename } from '../os/files.ts';
import { launcherPath } from '../os/launcher.ts';
import { killProcess, processAt } from '../os/process-table.ts';
import { writeNew } from '../os/replace.ts';
import { readLineAlone } from '../os/streams.ts';
import { HANDSHAKE_LINE_LIMIT } from '../wire/channel.ts';
import { parseJson } from '../wire/json.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { Capability } from './config.ts';

const ORDERS_BYTES = 65_536;
const TAKEN_BYTES = 4096;

const wholeNumber = (least: number, most: number) =>
  v.pipe(
    v.number(),
    v.integer('should be a whole number'),
    v.minValue(least, `should be ${least} to ${most}`),
    v.maxValue(most, `should be ${least} to ${most}`),
  );

/** Exactly these keys. An unknown capability must never be taken for "none". */
const ORDERS = v.strictObject({
  /** The least niceness of rsync. */
  niceness: v.strictObject({
    nice: wholeNumber(0, 19),
    ionice: v.nullable(
      v.variant('class', [
        v.strictObject({ class: v.literal('idle') }),
        v.strictObject({ class: v.literal('best-effort'), level: wholeNumber(0, 7) }),
      ]),
    ),
  }),
  /** KiB a second; 0: no limit. */
  bwlimitKib: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  capability: v.picklist(['confined', 'inherited', 'none']),
  /** The remote's name, for the journal. */
  remote: v.pipe(v.string(), v.nonEmpty('should not be empty')),
  /** Whether the run receives the command of the host and has started the gate itself (client/channel.ts). */
  isChannel: v.boolean(),
});

const TAKEN = v.strictObject({
  pid: wholeNumber(2, Number.MAX_SAFE_INTEGER),
  /** Makes sure that the pid is not a later process (proc_pid_stat(5), starttime). */
  startTicks: v.pipe(v.string(), v.regex(/^\d+$/)),
  /** The first two fields of SSH_CONNECTION; empty and 0 over a channel. */
  peerAddress: v.string(),
  peerPort: wholeNumber(0, 65_535),
});

/** A run's orders to its gate. */
export type GateOrders = v.InferOutput<typeof ORDERS>;

/** The process that has taken the ticket: the gate, and rsync after it. */
export type Taken = v.InferOutput<typeof TAKEN>;

/**
 * The program and arguments of the gate.
 * @param capability with `inherited` the launcher starts the gate, and lends it the capability that rsync inherits
 */
export function gateCommand(capability: Capability, runFolder: string): string[] {
  const program = capability === 'inherited' ? [launcherPath(), 'lend'] : [ownExecutable()];
  return [...program, 'gate', '--run', runFolder];
}

/** The same as one line for a shell: sshd runs a forced command through the account's login shell. */
export function forcedCommand(words: readonly string[]): string {
  return words.map(word => (/^[a-z-]+$/.test(word) ? word : quoteForShell(word))).join(' ');
}

/** Writes the orders and the ticket. From now on the gate can start rsync, so everything that rsync reads must be there. */
export function issueTicket(runFolder: string, orders: GateOrders): void {
  writeNew(`${runFolder}/gate.json`, JSON.stringify(orders));
  writeNew(`${runFolder}/ticket`, '');
}

/** Removes the ticket, if it is still there: then the gate refuses every session. */
export function withdrawTicket(runFolder: string): void {
  removeFileIfThere(`${runFolder}/ticket`);
}

/** Reads RUN/gate.json. @throws Fault that names the key where it is not exactly what a run writes */
export function readOrders(runFolder: string): GateOrders {
  const text = readWhole(`${runFolder}/gate.json`, ORDERS_BYTES).toString('utf8');
  const fault = (found: string): Fault => new Fault({ tried: 'read "gate.json"', found });
  const parsed = parseJson(text);
  if ('reason' in parsed) throw fault(`it ${parsed.reason}`);
  const result = v.safeParse(ORDERS, parsed.value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const key = v.getDotPath(issue);
  throw fault(`${key === null ? '' : `"${escapeText(key, 100)}": `}${escapeText(issue.message, 200)}`);
}

/**
 * Takes the ticket for this process. A rename succeeds once, so two sessions cannot both take it.
 * @param connection SSH_CONNECTION; undefined over a channel
 * @returns whether there was a ticket
 */
export function takeTicket(runFolder: string, connection: string | undefined): boolean {
  try {
    rename(`${runFolder}/ticket`, `${runFolder}/ticket-taken`);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return false;
    throw error;
  }
  const [peerAddress = '', peerPort = ''] = (connection ?? '').split(' ');
  const taken: Taken = {
    pid: process.pid,
    startTicks: processAt(process.pid)?.startTicks ?? '',
    peerAddress,
    peerPort: Number(peerPort) || 0,
  };
  writeNew(`${runFolder}/taken.new`, JSON.stringify(taken));
  rename(`${runFolder}/taken.new`, `${runFolder}/taken`); // The run never sees half a file.
  return true;
}

/** @returns the process that has taken the ticket; undefined if it is not taken, or a power cut has emptied the file */
export function readTaken(runFolder: string): Taken | undefined {
  let text: string;
  try {
    text = readWhole(`${runFolder}/taken`, TAKEN_BYTES).toString('utf8');
  } catch {
    return undefined;
  }
  const parsed = parseJson(text);
  const result = 'value' in parsed ? v.safeParse(TAKEN, parsed.value) : undefined;
  return result?.success ? result.output : undefined;
}

/** Kills the rsync of a run, if it still reads: after the run, or for a run that was killed. */
export async function killReader(runFolder: string): Promise<void> {
  const taken = readTaken(runFolder);
  if (taken) await killProcess(taken);
}

/** The FIFO through which the gate receives the command of the host over a channel. */
export function commandFifo(runFolder: string): string {
  return `${runFolder}/asked`;
}

/** Waits for the command in that FIFO. @returns undefined where the run has closed it without one */
export async function receiveCommand(runFolder: string): Promise<string | undefined> {
  const descriptor = open(commandFifo(runFolder), openFlags.O_RDONLY | openFlags.O_NOFOLLOW);
  try {
    return await readLineAlone(descriptor, HANDSHAKE_LINE_LIMIT);
  } finally {
    close(descriptor);
  }
}
