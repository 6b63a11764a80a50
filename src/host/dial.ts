/**
 * Dialing back: an ssh-agent that holds the one-time key, a generated ssh_config, and an ssh whose two ends are descriptors for rsync. All
 * of them end with the run.
 */
import { Fault } from '../fault.ts';
import { settleAll, withTimeout } from '../os/async.ts';
import { makePipePair } from '../os/fifo.ts';
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

/** Longer than the client's sshd waits for a silent peer (LoginGraceTime), since the connection may have to wait for a free slot there. */
const CONNECT_SECONDS = 40;
const AGENT_MS = 10_000;
const KEY_LIFE_SECONDS = 120; // the key is used once, right away
/** The length of ssh's log after escaping. Its end is only cut off if many characters have to be escaped. */
const LOG_CHARACTERS = 3000;

/** A connection to the client's gate, as two descriptors for rsync's remote shell. */
export interface Connection {
  transport: RequestHeader['transport'];
  /** The descriptor to read from. */
  reading: number;
  /** The descriptor to write to. */
  writing: number;
  /** Resolves when the ssh that dialed has exited. It never does for a channel, which belongs to sshd. */
  ended: Promise<ExitResult>;
  /** Closes our copies of the two descriptors, once rsync has its own. */
  letGo(): void;
  /** ssh's own log, once it has exited. It is escaped, since the client's sshd decides a part of it. */
  log(): Promise<string>;
}

/** The arguments for dialing. */
interface DialOptions {
  /** The run's folder. */
  run: string;
  /** The address that the call came from, never one from the request. */
  peer: string;
  port: number;
  /** The client's name. */
  name: string;
  header: DirectHeader;
  key: Buffer;
  /** The time within which a cut connection is noticed. */
  idleSeconds: number;
  signal: AbortSignal;
}

/**
 * Dials back. ssh and the agent are killed when `held` is released.
 * @param heard is called with each line that the client's machine writes on standard error
 * @throws Fault `request` if the one-time key cannot be used; or if ssh or ssh-agent cannot be started
 */
export async function dialBack(
  held: DisposableHolder,
  options: DialOptions,
  heard: (line: string) => void,
): Promise<Connection> {
  const { run: folder, signal } = options;
  const [, log, [down, up]] = await settleAll([
    startAgent(held, folder, options.key, signal), // takes the longest
    openLogPipe(held, `${folder}/ssh.log`),
    makePipePair(`${folder}/down`, `${folder}/up`),
  ]);
  const config = writeConfig(options);
  const command = standard('ssh', ['-F', config, '-E', log.path, '-T', 'client', DAEMON_REQUEST]);
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
    log: async () => escapeText(await log.words(), LOG_CHARACTERS),
  };
}

/** Writes ssh's config. The only host in it is the client's gate, under an alias. @returns the config's path */
function writeConfig({ run, peer, port, name, header, idleSeconds }: DialOptions): string {
  const alias = `dialback-${name}`;
  writeNew(`${run}/known_hosts`, `${alias} ${header.host_key}\n`);
  const path = `${run}/ssh_config`;
  writeNew(
    path,
    dialConfig({
      ...{ run, address: peer, port, user: header.user, alias },
      connectSeconds: CONNECT_SECONDS,
      idleSeconds,
    }),
  );
  return path;
}

/**
 * Starts an agent for this run and gives it the one-time key, which is never written to a disk here.
 *
 * `ssh-agent COMMAND` exits when COMMAND does, so that a killed grab leaves no agent running. The command is cat: it prints its own
 * environment, which has the agent's process ID, and then runs until its standard input is closed.
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
  // The run's signal does not abort this: an agent whose process ID is not known would run for ten more seconds.
  const agent = await withTimeout(new AbortController().signal, AGENT_MS, agentProcess(keeper), late);
  // The agent removes its socket when it is killed. If /proc hides the agent (hidepid; it is not dumpable), it is killed without a check of its
  // start time. The ID stays its own while cat, its parent, runs and does not wait for it.
  held.defer(() => (agent.startTicks === '' ? signalNumber(agent.pid) : killProcess(agent)));
  const environment = { SSH_AUTH_SOCK: socket };
  const added = await run(standard('ssh-add', ['-q', '-'], environment), {
    input: key,
    timeoutMs: AGENT_MS,
    signal,
  });
  key.fill(0);
  if (added.status !== 0) throw keyFault('ssh-add does not accept it');
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

function keyFault(found: string): Fault {
  return new Fault({ tried: 'use the one-time key', found, exit: 'refused', code: 'request' });
}

/** Finds the agent's process by the environment that its command got. */
async function agentProcess(keeper: Child): Promise<Process> {
  let text = '';
  for await (const chunk of keeper.stdout ?? []) {
    text += String(chunk);
    const pid = /(?:^|\0)SSH_AGENT_PID=(\d+)\0/.exec(text)?.[1];
    if (pid !== undefined) return processAt(Number(pid)) ?? { pid: Number(pid), startTicks: '' };
  }
  throw new Fault({ tried: 'start ssh-agent', found: 'it exited at once' });
}
