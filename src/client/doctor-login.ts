/** `doctor` on a client tries the key: a call as `backup` places it, which asks for nothing but an answer (wire/probe.ts). */
import { Fault } from '../fault.ts';
import { type Finding, Topic } from '../finding.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { pause, temporaryFolder } from '../os/machine.ts';
import { FAILURES, type OutcomeEvent } from '../wire/events.ts';
import { blockLine } from '../wire/probe.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { PROBE } from '../wire/text.ts';
import { overSsh, placeCall } from './call.ts';

const TOPIC = new Topic(
  'client.login',
  "the backup host's sshd has to let the key in, and to run dialback for it",
);
/** A host with more work than it can do is still there. */
const ANSWER_MS = 60_000;

/** What came of the call. */
export type Answer = 'answered' | 'silent' | OutcomeEvent | Fault;

/** @param name what this client is called */
export async function examineLogin(options: CallOptions, name: string, label: string): Promise<Finding> {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  try {
    const logFile = `${folder}/ssh.log`;
    return judgeLogin(label, await call({ ...options, logFile, command: `${name}:${PROBE}` }));
  } finally {
    removeAll(folder);
  }
}

async function call(options: CallOptions): Promise<Answer> {
  const arrived = Promise.withResolvers<Answer>();
  const over = new AbortController();
  await using held = new AsyncDisposableStack();
  const placed = await placeCall(held, overSsh(options), Buffer.from(`${blockLine(1)}x`), event => {
    if (event.event === 'arrived') arrived.resolve('answered');
  });
  const ended = placed.outcome.catch((error: unknown) => {
    if (error instanceof Fault) return error;
    throw error;
  });
  const late = pause(ANSWER_MS, over.signal).then(
    () => 'silent' as const,
    () => 'silent' as const,
  );
  const answer = await Promise.race([arrived.promise, ended, late]);
  over.abort();
  await placed.hangUp(over.signal);
  return answer;
}

/** @param label the remote's name */
export function judgeLogin(label: string, answer: Answer): Finding {
  if (answer === 'answered') return TOPIC.ok(`"${label}" lets the key in, and dialback answers there`);
  if (answer === 'silent')
    return TOPIC.unknown(
      `"${label}" has not answered within ${ANSWER_MS / 1000} s`,
      'dialback doctor, once more',
    );
  if (answer instanceof Fault)
    return TOPIC.critical(`Cannot ${answer.tried}: ${answer.found}`, answer.next ?? 'dialback backup');
  // A host that does not know the question has let the key in.
  if (answer.code === null || answer.code === 'request')
    return TOPIC.ok(`"${label}" lets the key in; its dialback is older than this one`);
  const [, found, next] = FAILURES[answer.code];
  return TOPIC.critical(`"${label}": ${found}`, next ?? 'dialback backup');
}
