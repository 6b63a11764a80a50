/**
 * Checks before the move into place that no staged file has an attribute that `--inert` leaves out. The client chooses
 * the depth and the rights of its folders. Neither may stop the check.
 */
import { Fault } from '../fault.ts';
import { run, standard } from '../os/process.ts';
import type { Giver } from './restore-difference.ts';
import { inBatches, listTree, readXattrsOfEach } from './stored-tree.ts';

/** Reading all names of a large tree takes long; Ctrl-C ends it. */
const TIMEOUT_MS = 14 * 86_400_000; // within the range of setTimeout

const ODD = ['(', '-perm', '/6000', '-o', '-type', 'b', '-o', '-type', 'c', ')', '-print0', '-quit'];
/** An ordinary account may not enter a folder that was restored without that right. Root may enter all. */
const CLOSED = ['-o', '-type', 'd', '!', '(', '-readable', '-executable', ')', '-prune'];

/** @throws Fault when something that should be left out is present, or when the check is not possible */
export async function requireInert(
  staged: string,
  { uid }: Pick<Giver, 'uid'>,
  { tried, signal }: { tried: string; signal: AbortSignal },
): Promise<void> {
  const found =
    'setuid or setgid bits, devices or file capabilities were restored, or could not be searched for';
  const fault = (): Fault => new Fault({ tried, found, next: 'update rsync' });
  const find = standard('find', [staged, ...ODD, ...CLOSED]);
  const { stdout, status } = await run(find, { timeoutMs: TIMEOUT_MS, signal });
  signal.throwIfAborted();
  if (stdout.length > 0 || status !== 0) throw fault();
  if (uid !== 0) return; // only root can set file capabilities
  for await (const batch of inBatches(listTree(staged, { signal }))) {
    const capabilities = await readXattrsOfEach(staged, batch, signal, '^security\\.capability$');
    if (capabilities.some(each => each === undefined || each.length > 0)) throw fault();
  }
}
