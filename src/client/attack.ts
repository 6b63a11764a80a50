/** Makes one attack of wire/attacks.ts on an rsync daemon, and hears all that it says. */
import type { Fault } from '../fault.ts';
import { withTimeout } from '../os/async.ts';
import { type Command, start } from '../os/process.ts';
import { type Attack, isListed } from '../wire/attacks.ts';

/**
 * @param sender the daemon, on its standard input and output
 * @param late makes what is thrown where it has neither listed the folder nor ended in time
 * @returns all that it said, a character a byte
 */
export async function makeAttack(
  sender: Command,
  attack: Attack,
  options: { signal: AbortSignal; timeoutMs: number; late: () => Fault },
): Promise<string> {
  const child = await start(sender, ['pipe', 'pipe', 'pipe']);
  try {
    let reply = '';
    const hear = (chunk: Buffer): void => {
      reply += chunk.toString('latin1');
      // Not before the list has come: at the end of its input rsync ends without having sent what it holds.
      if (isListed(reply)) child.stdin?.end();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.stdin?.write(attack.request);
    await withTimeout(options.signal, options.timeoutMs, child.ended, options.late);
    return reply;
  } finally {
    await child.end();
  }
}
