/**
 * A pull from this machine's own sender: our rsync receives from the daemon in its jail, as the rsync of a host would. So a
 * question about the scope gets the answer of a backup.
 */
import { ownExecutable } from '../os/executable.ts';
import { makePipePair } from '../os/fifo.ts';
import { close } from '../os/files.ts';
import { jailPath } from '../os/launcher.ts';
import { type Child, type Command, type Descriptor, standard, start } from '../os/process.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import type { Capability } from './config.ts';

interface OwnPull {
  /** A private folder, for FIFOs that are removed at once. */
  folder: string;
  capability: Capability;
  /** The daemon. */
  sender: Command;
  /** Seconds without a byte, after which the copier between the two ends. */
  idleSeconds: number;
  /** @param shell for rsync's `-e`; @returns the receiver's arguments */
  receiver: (shell: string) => string[];
}

/**
 * Starts both rsyncs.
 * @param held ends them
 * @param output the receiver's standard output
 * @returns both. Their standard error, and a piped standard output, are for the caller to read
 */
export async function startOwnPull(
  held: DisposableHolder,
  { folder, capability, sender, idleSeconds, receiver }: OwnPull,
  output: Descriptor = 'pipe',
): Promise<{ serving: Child; receiving: Child }> {
  // rsync starts its other side by a remote shell, so a copier stands between the two.
  const [copier, verb] = capability === 'confined' ? [jailPath(), 'pump'] : [ownExecutable(), 'relay'];
  const shell = `'${copier.replaceAll("'", "''")}' ${verb} ${idleSeconds}`; // quoted as rsync's -e needs it
  const ours = new Set<number>();
  const closeOurs = (): void => {
    for (const each of ours) close(each);
    ours.clear();
  };
  try {
    const [up, down] = await makePipePair(`${folder}/up`, `${folder}/down`);
    for (const each of [up, down]) ours.add(each.reading).add(each.writing);
    const serving = await start(sender, [up.reading, down.writing, 'pipe']);
    held.defer(() => serving.end());
    const descriptors = [down.reading, up.writing, down.reading]; // 3 to 5, as the copier expects them
    const command = standard('rsync', receiver(shell), { TZ: 'UTC0' }); // a list has local times
    const receiving = await start(command, ['nothing', output, 'pipe', ...descriptors]);
    held.defer(() => receiving.end());
    return { serving, receiving };
  } finally {
    closeOurs(); // so that each side sees the end of the other
  }
}
