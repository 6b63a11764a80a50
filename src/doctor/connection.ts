/**
 * What `doctor` learns by calling the backup host as a run does: whether the host is the one that is known, takes the key, and knows
 * this machine by its name. It asks for a probe (wire/probe.ts), of which nothing is on record where all is well.
 */

import { overSsh, placeCall } from '../client/call.ts';
import { Fault } from '../fault.ts';
import { sleep } from '../os/clock.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { FAILURES, type FailureCode } from '../wire/events.ts';
import { blockLine } from '../wire/probe.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { PROBE } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const CALL = new Topic('client.call', 'each backup begins with this call, and fails where it does');

const ANSWER_MS = 30_000;

/** What came of the call: an answer, a code that the host refused it with, why it failed, or nothing. */
export type Answer = 'answered' | 'late' | FailureCode | Fault;

/**
 * The host has looked at the key and the name before it says one of these: it is at work on another call, or is older than
 * probes are.
 */
const AS_GOOD: ReadonlySet<Answer> = new Set<Answer>(['answered', 'busy', 'full', 'request']);

/** @param label the remote's name; @param name this machine's */
export function checkCall(answer: Answer, label: string, name: string): Finding {
  if (AS_GOOD.has(answer)) return CALL.ok(`"${label}" takes this machine's key, and knows it as "${name}"`);
  if (answer instanceof Fault) return CALL.fault(answer, 'dialback backup -v');
  if (answer === 'late')
    return CALL.warning(
      `"${label}" took the call and said nothing for ${ANSWER_MS / 1000} s`,
      'dialback backup -v',
    );
  const [, found, next] = FAILURES[answer as FailureCode];
  return CALL.critical(`"${label}": ${found} (${answer})`, next ?? "ask the host's administrator");
}

/** Calls the host. @param options of the remote; its command and log are set here */
export async function collectCall(options: CallOptions, label: string, name: string): Promise<Finding> {
  await using held = new AsyncDisposableStack();
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  held.defer(() => removeAll(folder));
  const asked = { ...options, logFile: `${folder}/ssh.log`, command: `${name}:${PROBE}` };
  const arrived = Promise.withResolvers<'answered'>();
  const block = Buffer.from(`${blockLine(1)}x`);
  const call = await placeCall(held, await overSsh(held, asked), block, event => {
    if (event.event === 'arrived') arrived.resolve('answered');
  });
  const over = call.outcome.then(
    ({ code }): Answer => code ?? 'answered',
    (error: unknown): Answer => {
      if (error instanceof Fault) return error;
      throw error;
    },
  );
  const ended = new AbortController();
  const late = sleep(ANSWER_MS, ended.signal).then(
    (): Answer => 'late',
    (): Answer => 'late',
  );
  const answer = await Promise.race<Answer>([arrived.promise, over, late]);
  ended.abort(); // no timer outlives the call
  await call.hangUp(new AbortController().signal);
  return checkCall(answer, label, name);
}
