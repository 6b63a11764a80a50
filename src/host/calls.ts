/**
 * How many open calls of one client the host accepts before one of them becomes its run. Each call is a process with tens of megabytes,
 * and a client may take 30 s to send its request. So the host refuses a further call before it reads a byte of it.
 *
 * A call holds a lock (flock(2)) on a file in the client's folder, which the kernel frees however the call ends. If these files could not
 * be made because the disk had no free inode, one call is accepted, so that a run can free space.
 */
import { takeLockOrFolder } from '../os/runfolder.ts';
import type { ClientStore } from '../store/store.ts';
import { failure } from '../wire/events.ts';

/** For a run, a request that comes too early, a probe, and a call that the network has lost. */
const CALLS_LIMIT = 4;

/**
 * Counts a call until `held` is released.
 * @throws Fault `busy` if the client has CALLS_LIMIT open calls
 */
export async function takeCall(held: AsyncDisposableStack, client: ClientStore): Promise<void> {
  for (let number = 0; number < CALLS_LIMIT; number += 1) {
    const path = `${client.folder}/call.${number}`;
    if ((await takeLockOrFolder(held, path, `${client.folder}/arriving`)) !== undefined) return;
  }
  throw failure('busy', `this client has ${CALLS_LIMIT} open calls already`);
}
