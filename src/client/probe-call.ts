/** A call that asks only whether the host accepts it (host/probe.ts): the check of `doctor`, and of a key before it is used. */
import { Fault } from '../fault.ts';
import { sleep } from '../os/clock.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { temporaryFolder } from '../os/scratch.ts';
import type { FailureCode } from '../wire/events.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { PROBE } from '../wire/text.ts';
import { overSsh, placeCall } from './call.ts';

export const ANSWER_MS = 30_000;

/**
 * The result of a call: the event `accepted`; a good end without it; no answer in time; a code with which the host refused it; or an
 * error of ssh.
 */
export type Answer = 'accepted' | 'ended' | 'late' | FailureCode | Fault;

/**
 * Answers that prove as much as `accepted`: the host checks the key and the name before it sends them. It is busy with another call,
 * or its version does not know probes.
 */
export const AS_GOOD: ReadonlySet<Answer> = new Set<Answer>(['accepted', 'busy', 'full', 'request']);

/**
 * Calls the host as a run does, and asks only whether it accepts the call (host/probe.ts). The host does not record this.
 * @param options of the remote; its command and log file are set here
 * @param name this machine's name on the host
 */
export async function probeCall(options: CallOptions, name: string): Promise<Answer> {
  await using held = new AsyncDisposableStack();
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  held.defer(() => removeAll(folder));
  const asked = { ...options, logFile: `${folder}/ssh.log`, command: `${name}:${PROBE}` };
  const accepted = Promise.withResolvers<'accepted'>();
  const callee = await overSsh(held, asked);
  let endedWell = false;
  const explainEnd: typeof callee.explainEnd = (ending, hasReported) => {
    endedWell = ending.status === 0;
    return callee.explainEnd(ending, hasReported);
  };
  const call = await placeCall(held, { ...callee, explainEnd }, Buffer.alloc(0), event => {
    if (event.event === 'accepted') accepted.resolve('accepted');
  });
  call.closeInput();
  const over = call.outcome.then(
    ({ code }): Answer => code ?? 'ended',
    (error: unknown): Answer => {
      if (endedWell) return 'ended';
      if (error instanceof Fault) return error;
      throw error;
    },
  );
  const ended = new AbortController();
  const late = sleep(ANSWER_MS, ended.signal).then(
    (): Answer => 'late',
    (): Answer => 'late',
  );
  const answer = await Promise.race<Answer>([accepted.promise, over, late]);
  ended.abort(); // the timer would keep the process running
  await call.hangUp(new AbortController().signal);
  return answer;
}
