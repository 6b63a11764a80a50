/**
 * The look, before anything is moved into place, for what `--inert` leaves out. The client decides how deep its folders are and what
 * rights they have, and neither may keep the look from the rest.
 */
import { Fault } from '../fault.ts';
import { run, standard } from '../os/process.ts';
import type { Giver } from './restore-difference.ts';
import { inBatches, listTree, readXattrsOfEach } from './stored-tree.ts';

/** Reading all names of a large tree takes long, and ends by Ctrl-C. */
const TIMEOUT_MS = 14 * 86_400_000; // within what setTimeout can hold

const ODD = ['(', '-perm', '/6000', '-o', '-type', 'b', '-o', '-type', 'c', ')', '-print0', '-quit'];
/** An ordinary account may not look into a folder that came back without that right; for root there is none. */
const CLOSED = ['-o', '-type', 'd', '!', '(', '-readable', '-executable', ')', '-prune'];

/** @throws Fault where what was asked to be left out is there all the same, or where it cannot be looked for */
export async function requireInert(
  staged: string,
  { uid }: Pick<Giver, 'uid'>,
  { tried, signal }: { tried: string; signal: AbortSignal },
): Promise<void> {
  const found =
    'setuid or setgid bits, devices or file capabilities came back, or it could not be looked for them';
  const fault = (): Fault => new Fault({ tried, found, next: 'update rsync' });
  const find = standard('find', [staged, ...ODD, ...CLOSED]);
  const { stdout, status } = await run(find, { timeoutMs: TIMEOUT_MS, signal });
  signal.throwIfAborted();
  if (stdout.length > 0 || status !== 0) throw fault();
  if (uid !== 0) return; // only root can give a file capabilities
  for await (const batch of inBatches(listTree(staged, { signal }))) {
    const capabilities = await readXattrsOfEach(staged, batch, signal, '^security\\.capability$');
    if (capabilities.some(each => each === undefined || each.length > 0)) throw fault();
  }
}
