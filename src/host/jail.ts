/** A trial of the jail for the receiving rsync, before a run needs it. */
import { Fault } from '../fault.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { type Jail, tryReceiving } from '../os/launcher.ts';
import { temporaryFolder } from '../os/scratch.ts';

/** Starts rsync in the receiver's jail with a temporary tree. @returns the jail, or the Fault why it cannot be built */
export async function tryReceiveJail(): Promise<Jail | Fault> {
  let tree: string | undefined;
  try {
    tree = makeUniqueFolder(`${temporaryFolder()}/dialback-jail-`);
    return await tryReceiving(tree);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  } finally {
    if (tree !== undefined) removeAll(tree);
  }
}
