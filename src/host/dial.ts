/**
 * The call back: an ssh-agent that holds the one-time key, one generated ssh_config, and an ssh whose two ends are
 * descriptors for rsync. Everything ends with the run.
 */
import { Fault } from '../fault.ts';
import { settleAll, withTimeout } from '../os/async.ts';
import { makePipe } from '../os/fifo.ts';
import { close } from '../os/files.ts';
import { openLogPipe } from '../os/log-pipe.ts';
import { type Child, type ExitResult, run, standard, start } from '../os/process.ts';
import { killProcess, type Process, processAt, signalNumber } from '../os/process-table.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { readEd25519Line } from '../wire/key.ts';
import type { DirectHeader, RequestHeader } from '../wire/request.ts';
import { DAEMON_REQUEST } from '../wire/rsync.ts';
import { dialConfig } from '../wire/ssh.ts';
import { escapeText } from '../wire/text.ts';

/** Longer than the client's sshd waits for silent peers: the connection may have to wait for a place there. */
const CONNECT_SECONDS = 40;
const AGENT_MS = 10_000;
const KEY_LIFE_SECONDS = 120; // it is used once, at once
/** Of ssh's log, escaped: its end is not cut off, unless what is held of it has many characters to escape. */
const LOG_CHARACTERS = 3000;

/** A connection to the client's gate, as two descriptors for rsync's remote shell. */
export interface Line {
  transport: RequestHeader['transport'];
  /** What comes from the client. */
  reading: number;
  /** What goes to the client. */
  writing: number;
  /** The end of the ssh that dialled. Of a channel, which is sshd's, there is none to see. */
  ended: Promise<ExitResult>;
  /** Closes our copies of the two descriptors, once rsync has its own. */
  letGo(): void;
  /** What ssh itself said, once it has ended: also what the client's sshd had it say, hence escaped. */
  words(): Promise<string>;
}

/**
 * Dials back.
 * @param peer the address that the request came from, never one out of the request
 * @param heard is called with what the client's machine writes on standard error
 */
export async function dialBack(
  held: DisposableHolder,
  options: {
    run: string;
    peer: string;
    port: number;
    name: string;
    header: DirectHeader;
    key: Buffer;
    /** A client that is cut off is noticed within this. */
    idleSeconds: number;
    signal: AbortSignal;
  },
  heard: (text: string) => void,
): Promise<Line> {
  const { run: folder, header, signal } = options;
  const alias = `dialback-${options.name}`;
  const [down, up, log] = await settleAll([
    makePipe(`${folder}/down`),
    makePipe(`${folder}/up`),
    openLogPipe(held, `${folder}/ssh.log`),
    startAgent(held, folder, options.key, signal),
  ]);
  writeNew(`${folder}/known_hosts`, `${alias} ${header.host_key}\n`);
  writeNew(
    `${folder}/ssh_config`,
    dialConfig({
      run: folder,
      address: options.peer,
      port: options.port,
      user: header.user,
      alias,
      connectSeconds: CONNECT_SECONDS,
      idleSeconds: options.idleSeconds,
    }),
  );
  const command = standard('ssh', [
    '-F',
    `${folder}/ssh_config`,
    '-E',
    log.path,
    '-T',
    'client',
    DAEMON_REQUEST,
  ]);
  const ssh = await start(command, [up.reading, down.writing, 'pipe']);
  close(up.reading);
  close(down.writing);
  held.defer(() => ssh.end());
  eachLine(ssh.stderr, 1000, heard);
  return {
    transport: 'direct',
    reading: down.reading,
    writing: up.writing,
    ended: ssh.exited,
    letGo: () => {
      close(down.reading);
      close(up.writing);
    },
    words: async () => escapeText(await log.words(), LOG_CHARACTERS),
  };
}

/**
 * Starts an agent of this run and gives it the one-time key, which is never on a disk here.
 *
 * `ssh-agent COMMAND` ends when COMMAND does, so a killed grab leaves none behind. The command is cat: it prints its
 * own environment, which has the agent's process number, and then lives as long as we hold its standard input.
 */
async function startAgent(
  held: DisposableHolder,
  folder: string,
  key: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const socket = `${folder}/agent`;
  const life = ['-t', String(KEY_LIFE_SECONDS)];
  const cat = standard('cat', []).program;
  const keeper = await start(standard('ssh-agent', [...life, '-a', socket, cat, '/proc/self/environ', '-']), [
    'pipe',
    'pipe',
    'nothing',
  ]);
  held.defer(() => keeper.end());
  const late = (): Fault =>
    new Fault({ tried: 'start ssh-agent', found: `it was not ready within ${AGENT_MS / 1000} s` });
  // Not ended by a signal: an agent whose number we never learn would outlive us by ten seconds.
  const agent = await withTimeout(new AbortController().signal, AGENT_MS, agentProcess(keeper), late);
  // It removes its socket. Where /proc hides it (hidepid; it is not dumpable) it is signalled all the same: its number
  // stays its own as long as cat, its parent, lives and does not wait for it.
  held.defer(() => (agent.startTicks === '' ? signalNumber(agent.pid) : killProcess(agent)));
  const environment = { SSH_AUTH_SOCK: socket };
  const added = await run(standard('ssh-add', ['-q', '-'], environment), {
    input: key,
    timeoutMs: AGENT_MS,
    signal,
  });
  key.fill(0);
  if (added.status !== 0) {
    throw new Fault({
      tried: 'use the one-time key',
      found: 'ssh-add does not accept it',
      exit: 'refused',
      code: 'request',
    });
  }
  const listed = await run(standard('ssh-add', ['-L'], environment), { timeoutMs: AGENT_MS, signal });
  // The client chooses the comment, which can have line breaks in it.
  const publicKey = readEd25519Line(listed.stdout.toString('latin1').split(/[\r\n]/, 1)[0] ?? '');
  if (publicKey === undefined) {
    throw new Fault({
      tried: 'use the one-time key',
      found: 'it is no ed25519 key',
      exit: 'refused',
      code: 'request',
    });
  }
  writeNew(`${folder}/key.pub`, `${publicKey}\n`);
}

/** The agent's process, told by the environment that its command got. */
async function agentProcess(keeper: Child): Promise<Process> {
  let text = '';
  for await (const chunk of keeper.stdout ?? []) {
    text += String(chunk);
    const pid = /(?:^|\0)SSH_AGENT_PID=(\d+)\0/.exec(text)?.[1];
    if (pid !== undefined) return processAt(Number(pid)) ?? { pid: Number(pid), startTicks: '' };
  }
  throw new Fault({ tried: 'start ssh-agent', found: 'it ended at once' });
}
