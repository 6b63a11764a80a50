/** The receiver's jail, tried before any run needs it. */
import { Fault } from '../fault.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { type Jail, tryReceiving } from '../os/launcher.ts';
import { temporaryFolder } from '../os/scratch.ts';

/** Has rsync started in the receiver's jail, with a tree that is gone afterwards. */
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
