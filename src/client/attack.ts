/** One attack of wire/attacks.ts on an rsync daemon. */
import type { Fault } from '../fault.ts';
import { withTimeout } from '../os/async.ts';
import { type Command, start } from '../os/process.ts';
import { type Attack, isListed } from '../wire/attacks.ts';

/**
 * Attacks a daemon.
 * @param sender the daemon, which serves its standard input and output
 * @param options `late` makes the Fault that is thrown where it has not exited within `timeoutMs`
 * @returns all of its output, one character for each byte
 */
export async function makeAttack(
  sender: Command,
  attack: Attack,
  options: { signal: AbortSignal; timeoutMs: number; late: () => Fault },
): Promise<string> {
  const child = await start(sender, ['pipe', 'pipe', 'pipe']);
  try {
    let reply = '';
    const receive = (chunk: Buffer): void => {
      reply += chunk.toString('latin1');
      // Wait for the list: at the end of its input rsync exits without sending its buffer.
      if (isListed(reply)) child.stdin?.end();
    };
    child.stdout?.on('data', receive);
    child.stderr?.on('data', receive);
    child.stdin?.write(attack.request);
    await withTimeout(options.signal, options.timeoutMs, child.ended, options.late);
    return reply;
  } finally {
    await child.end();
  }
}
