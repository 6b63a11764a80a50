/**
 * The gate: what the one-time sshd is forced to run, and the trust boundary of the client. It lets exactly one thing
 * happen, once: rsync as a daemon on this connection, reading, with the config that this run wrote.
 *
 * What is asked for comes from sshd, or, over a channel, from `backup`, which has heard it.
 *
 * In order: the command is one of the few allowed, byte for byte; the run folder is ours and private; the ticket is
 * still there (taking it is one rename, so two sessions cannot both have it); the grant is on record; then this
 * process becomes rsync. Any other case ends here, with one line to the peer, one in the journal, and status 12.
 */
import { basename, dirname } from 'node:path';
import { EXIT, Fault, type Parsed } from '../fault.ts';
import { ownAccount, refuseRoot } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { close, exists, failedWith, lstat, open, openFlags, rename } from '../os/files.ts';
import { appendJournal } from '../os/journal.ts';
import { launcherCommand, launcherPath } from '../os/launcher.ts';
import { MOUNTPOINTS_LIBRARY, mountPointsEnvironment } from '../os/link-library.ts';
import { beNice } from '../os/priority.ts';
import { type Command, endMeFirst, exec, PLAIN_ENVIRONMENT } from '../os/process.ts';
import { killProcess, processAt } from '../os/process-table.ts';
import { programPath } from '../os/programs.ts';
import { writeNew } from '../os/replace.ts';
import { readLineAlone, say } from '../os/streams.ts';
import { HANDSHAKE_LINE_LIMIT } from '../wire/channel.ts';
import { daemonArguments, ioniceArguments, type Niceness, nicer, parseGateCommand } from '../wire/rsync.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { Capability } from './config.ts';

/** What backup leaves for the gate in RUN/gate.json. */
export interface GateOrders {
  niceness: Niceness;
  bwlimitKib: number;
  capability: Capability;
  remote: string;
  /** Over a channel: `backup` hears what the host asks for, and has started the gate before (client/channel.ts). */
  isChannel: boolean;
}

/** What the gate leaves for backup in RUN/taken: who took the ticket. */
export interface Taken {
  pid: number;
  /** So that the number cannot be taken for a later process. */
  startTicks: string;
  /** SSH_CONNECTION's first two fields: the address and the port that the peer connected from. */
  peerAddress: string;
  peerPort: number;
}

/** The command that sshd is forced to run, for its config and authorized_keys. */
export function forcedCommand(program: string[], runFolder: string): string {
  return [...program, 'gate', '--run', runFolder]
    .map(word => (/^[a-z-]+$/.test(word) ? word : quoteForShell(word)))
    .join(' ');
}

/** What is forced: with `inherited` the launcher comes before the gate, and lends it what rsync is to inherit. */
export function gateProgram(capability: Capability): string[] {
  return capability === 'inherited' ? [launcherPath(), 'lend'] : [ownExecutable()];
}

/**
 * What the gate becomes: the launcher's `send`, which becomes rsync in its jail; or rsync itself, which can read what this
 * account can, or what it has inherited the right to.
 * @param runFolder absolute
 */
function senderCommand(runFolder: string, { capability, bwlimitKib }: GateOrders): Command {
  if (capability === 'confined') {
    const limit = bwlimitKib > 0 ? [String(bwlimitKib)] : [];
    return launcherCommand(['send', runFolder, ...limit]);
  }
  if (capability !== 'none' && capability !== 'inherited')
    throw new Fault({ tried: 'start rsync', found: 'it is not said whether it is to be confined' });
  const served = `${runFolder}/rsyncd`;
  const hasLibrary = exists(`${served}/${MOUNTPOINTS_LIBRARY}`);
  return {
    program: programPath('rsync'),
    args: daemonArguments(`${served}/rsyncd.conf`, bwlimitKib),
    // Constants: nothing of the session's reaches rsync.
    environment: { ...PLAIN_ENVIRONMENT, ...(hasLibrary ? mountPointsEnvironment(served) : {}) },
    ...(hasLibrary ? { cwd: served } : {}),
  };
}

/**
 * `dialback gate --run DIR`. Does not return when the peer is let in.
 * @returns exit status 12; the peer has been told one line, the journal has the reason
 */
export async function gate(runFolder: string, environment: NodeJS.ProcessEnv): Promise<number> {
  refuseRoot('gate');
  if (!isRunFolder(runFolder)) return turnAway('this run is over');
  const record = (event: string, more: Record<string, unknown>): void =>
    appendJournal(`${dirname(runFolder)}/journal.jsonl`, {
      time: now().toISOString(),
      event,
      run: basename(runFolder),
      peer: escapeText(environment.SSH_CONNECTION ?? NOBODY),
      ...more,
    });
  let asked: string | undefined;
  try {
    const orders = readOrders(runFolder);
    asked = orders.isChannel ? await hearCommand(runFolder) : environment.SSH_ORIGINAL_COMMAND;
    if (orders.isChannel && asked === undefined) return turnAway('nothing was asked for');
    const parsed = parseGateCommand(asked);
    const reason = 'reason' in parsed ? parsed.reason : takeTicket(runFolder, environment);
    if ('reason' in parsed || reason !== undefined) {
      record('refused', { reason, asked: asked === undefined ? null : escapeText(asked) });
      return turnAway(reason ?? '');
    }
    const niceness = nicer(orders.niceness, parsed.value);
    record('granted', { remote: orders.remote, asked, niceness, capability: orders.capability });
    beNice(niceness.nice);
    endMeFirst(); // a peer decides how much memory rsync takes
    exec(withIonice(niceness.ionice, senderCommand(runFolder, orders)));
  } catch (error) {
    // Our own paths are nothing for the peer; without a record nobody is let in.
    record('refused', { reason: escapeText(error instanceof Error ? error.message : String(error)) });
    return turnAway('the gate failed; the client has the reason');
  }
}

/** The journal's word for a peer that did not come through an sshd: over a channel, or by hand. */
export const NOBODY = 'nobody';

function turnAway(reason: string): number {
  say(2, `dialback: Cannot let this in: ${reason}\n`);
  return EXIT.refused;
}

/** `dialback gate --check`: says what the gate would do with SSH_ORIGINAL_COMMAND; runs nothing. */
export function gateCheck(environment: NodeJS.ProcessEnv): number {
  const parsed = parseGateCommand(environment.SSH_ORIGINAL_COMMAND);
  say(1, `${describeDecision(parsed)}\n`);
  return 'value' in parsed ? EXIT.done : EXIT.refused;
}

function describeDecision(parsed: Parsed<Niceness>): string {
  if ('reason' in parsed) return `refused: ${parsed.reason}`;
  const { nice, ionice } = parsed.value;
  const disk =
    ionice === null ? 'as it is' : ionice.class === 'idle' ? 'idle' : `best-effort ${ionice.level}`;
  return `allowed: rsync as a daemon, reading (nice ${nice}, ionice ${disk})`;
}

/** Whether the folder is one that backup made, and the run still on: the name, ours, private, and no link. */
function isRunFolder(path: string): boolean {
  if (!/^\/.*\/run-[A-Za-z0-9]{6}$/.test(path)) return false;
  try {
    const found = lstat(path);
    return found.isDirectory() && found.uid === ownAccount().uid && (found.mode & 0o777) === 0o700;
  } catch {
    return false;
  }
}

function readOrders(runFolder: string): GateOrders {
  return JSON.parse(readWhole(`${runFolder}/gate.json`, 65_536).toString('utf8')) as GateOrders;
}

/** Where `backup` says what the host asks for over a channel: a FIFO, that the gate may wait at. */
export function commandFifo(runFolder: string): string {
  return `${runFolder}/asked`;
}

/** Waits until it is said. @returns undefined where `backup` has hung up */
async function hearCommand(runFolder: string): Promise<string | undefined> {
  const descriptor = open(commandFifo(runFolder), openFlags.O_RDONLY | openFlags.O_NOFOLLOW);
  try {
    return await readLineAlone(descriptor, HANDSHAKE_LINE_LIMIT);
  } finally {
    close(descriptor);
  }
}

/** Takes the ticket, so that nobody else finds it. @returns why it could not be taken, or undefined */
function takeTicket(runFolder: string, environment: NodeJS.ProcessEnv): string | undefined {
  try {
    rename(`${runFolder}/ticket`, `${runFolder}/ticket-taken`);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return 'this run has no ticket left';
    throw error;
  }
  const [peerAddress = '', peerPort = ''] = (environment.SSH_CONNECTION ?? '').split(' ');
  const taken: Taken = {
    pid: process.pid,
    startTicks: processAt(process.pid)?.startTicks ?? '',
    peerAddress,
    peerPort: Number(peerPort),
  };
  writeNew(`${runFolder}/taken.new`, JSON.stringify(taken));
  rename(`${runFolder}/taken.new`, `${runFolder}/taken`); // whole when backup sees it
  return undefined;
}

/** Who took the ticket of a run, or undefined when nobody has (a file that a power cut emptied says nobody). */
export function readTaken(runFolder: string): Taken | undefined {
  try {
    const taken = JSON.parse(readWhole(`${runFolder}/taken`, 4096).toString('utf8')) as Taken;
    return Number.isSafeInteger(taken.pid) && taken.pid > 1 && taken.startTicks !== '' ? taken : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the reader of a run whose `backup` was killed, should it still read. */
export async function endReader(runFolder: string): Promise<void> {
  const taken = readTaken(runFolder);
  if (taken) await killProcess(taken);
}

/** ionice becomes the command in its turn: to have it change us from outside would take a process more, and a wait for it. */
function withIonice(ionice: Niceness['ionice'], command: Command): Command {
  const args = ioniceArguments(ionice);
  if (args === undefined) return command;
  // -t: a kernel without I/O classes is no reason not to back up
  return {
    ...command,
    program: programPath('ionice'),
    args: ['-t', ...args, command.program, ...command.args],
  };
}
