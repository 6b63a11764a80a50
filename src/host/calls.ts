/**
 * How many calls of one client the host takes at once before one of them is its run. Each is a process with tens of megabytes, and a
 * client can take 30 s to send its request; so the next call is refused before a byte of it is read.
 *
 * The places are files in the client's folder, held by flock(2): however a call ends, the kernel frees its place. On a disk without a
 * free inode, where the files were never made, there is one place: a run has to get in to make room.
 */
import { takeLockOrFolder } from '../os/runfolder.ts';
import type { ClientStore } from '../store/store.ts';
import { failure } from '../wire/events.ts';

/** A run, one that comes too early, a probe, and one that the network has lost. */
export const CALLS_LIMIT = 4;

/**
 * Takes a place for a call, until `held` is released.
 * @throws Fault `busy` where all are taken
 */
export async function takeCall(held: AsyncDisposableStack, client: ClientStore): Promise<void> {
  for (let number = 0; number < CALLS_LIMIT; number += 1) {
    const path = `${client.folder}/call.${number}`;
    if ((await takeLockOrFolder(held, path, `${client.folder}/arriving`)) !== undefined) return;
  }
  throw failure('busy', `${CALLS_LIMIT} calls of this client wait already`);
}
