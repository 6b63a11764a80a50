/**
 * The gate: the command that the one-time sshd is forced to run, and the trust boundary of the client. It allows one action,
 * once: to become an rsync daemon on this connection that reads with the config of this run.
 *
 * It refuses, in this order, with one line to the peer, one line in the journal and exit status 12:
 *
 * 1. a run folder that is not ours, not private, or does not exist any more (without a record: there is no journal);
 * 2. orders in RUN/gate.json that are not exactly what a run writes (client/ticket.ts);
 * 3. over a channel, a run that closes the command FIFO without a command (the run itself knows why, so there is no record);
 * 4. a command that is not one of the few allowed ones, byte for byte (wire/rsync.ts);
 * 5. a ticket that is gone: another session has taken it, or the run has ended;
 * 6. a grant that cannot be recorded in the journal.
 *
 * After that the process becomes rsync. Any error on the way is a refusal too. The command comes from sshd
 * (SSH_ORIGINAL_COMMAND), or over a channel from `backup`, which has received it from the host.
 */
import { basename, dirname } from 'node:path';
import { EXIT, type Parsed } from '../fault.ts';
import { ownAccount, refuseRoot } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { lstat } from '../os/files.ts';
import { appendJournal } from '../os/journal.ts';
import { beNice } from '../os/priority.ts';
import { type Command, endMeFirst, exec } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { say } from '../os/streams.ts';
import { ioniceArguments, type Niceness, nicer, parseGateCommand } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';
import { senderCommand } from './sender.ts';
import { readOrders, receiveCommand, takeTicket } from './ticket.ts';

/** The journal's name for a peer without an sshd: over a channel, or a gate that was started by hand. */
export const NOBODY = 'nobody';

/**
 * `dialback gate --run DIR`. Does not return where the peer is let in: the process becomes rsync.
 * @param environment SSH_ORIGINAL_COMMAND and SSH_CONNECTION are read
 * @returns exit status 12. The peer gets one line without local paths; the journal has the reason
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
  try {
    const orders = readOrders(runFolder);
    const asked = orders.isChannel ? await receiveCommand(runFolder) : environment.SSH_ORIGINAL_COMMAND;
    if (orders.isChannel && asked === undefined) return turnAway('the backup host sent no command');
    const refuse = (reason: string): number => {
      record('refused', { reason, asked: asked === undefined ? null : escapeText(asked) });
      return turnAway(reason);
    };
    const parsed = parseGateCommand(asked);
    if ('reason' in parsed) return refuse(parsed.reason);
    if (!takeTicket(runFolder, environment.SSH_CONNECTION)) return refuse('this run has no ticket left');
    const niceness = nicer(orders.niceness, parsed.value);
    const { remote, capability, bwlimitKib } = orders;
    record('granted', { remote, asked, niceness, capability });
    beNice(niceness.nice);
    endMeFirst(); // The peer decides how much memory rsync uses.
    exec(withIonice(niceness.ionice, senderCommand(runFolder, capability, bwlimitKib)));
  } catch (error) {
    // Do not send local paths to the peer. Refuse the session if the journal cannot be written.
    record('refused', { reason: escapeText(error instanceof Error ? error.message : String(error)) });
    return turnAway('the gate failed; the client has the reason');
  }
}

function turnAway(reason: string): number {
  say(2, `dialback: Cannot let this in: ${reason}\n`);
  return EXIT.refused;
}

/** Whether a run of ours has made this folder, and still runs: right name, our own, private, and not a link. */
function isRunFolder(path: string): boolean {
  if (!/^\/.*\/run-[A-Za-z0-9]{6}$/.test(path)) return false;
  try {
    const found = lstat(path);
    return found.isDirectory() && found.uid === ownAccount().uid && (found.mode & 0o777) === 0o700;
  } catch {
    return false;
  }
}

/** ionice(1) becomes the command. To change our own class from outside would need another process, and a wait for it. */
function withIonice(ionice: Niceness['ionice'], command: Command): Command {
  const args = ioniceArguments(ionice);
  if (args === undefined) return command;
  // -t: a kernel without I/O classes is not a reason to make no backup.
  return {
    ...command,
    program: programPath('ionice'),
    args: ['-t', ...args, command.program, ...command.args],
  };
}

/** `dialback gate --check`: prints the decision on SSH_ORIGINAL_COMMAND and starts no program. @returns exit status 0 or 12 */
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
