/**
 * `dialback relay`: rsync's remote shell on the host. ssh is not its child: it was started by grab, outside of
 * whatever rsync is confined to, and its two ends are descriptors 3 (what ssh receives) and 4 (what it sends).
 * The launcher's `pump` takes this one's place once it is there.
 */
import { pipeline } from 'node:stream/promises';
import { EXIT } from '../fault.ts';
import { close } from '../os/files.ts';
import { descriptorStream, say } from '../os/streams.ts';

/** What rsync and ssh are given as descriptors. */
export const RELAY_FROM_SSH = 3;
export const RELAY_TO_SSH = 4;
/** The client's lock, which rsync holds as long as it writes; ours to let go of. */
export const RELAY_LOCK = 5;

/** Said on standard error (rsync's, hence grab's) when the other machine's first byte has come. */
export const FIRST_BYTE = 'dialback-relay: first byte';

/** Said there when nothing has come from the other machine for too long, or rsync has not taken it. */
export const IDLE = 'dialback-relay: idle';

/**
 * Copies both ways until the connection ends, or what comes ceases for longer than `idleMs`. rsync's own --timeout on the
 * receiving side does not see to that: its generator sends keep-alives, and takes it for activity that a pipe accepts them.
 * @returns the exit status
 */
export async function relay(idleMs: number): Promise<number> {
  close(RELAY_LOCK);
  const fromSsh = descriptorStream(RELAY_FROM_SSH, { readable: true });
  const toSsh = descriptorStream(RELAY_TO_SSH, { writable: true });
  const end = (): void => {
    say(2, `${IDLE}\n`);
    fromSsh.destroy();
  };
  let timer: NodeJS.Timeout | undefined;
  fromSsh.on('data', () => {
    if (timer === undefined) say(2, `${FIRST_BYTE}\n`);
    timer ??= setTimeout(end, idleMs);
    timer.refresh();
  });
  fromSsh.pause(); // 'data' alone would let the first bytes pass before the pipeline reads
  const upward = pipeline(descriptorStream(0, { readable: true }), toSsh);
  upward.catch(() => {}); // rsync has closed its end: the other way tells how it went
  try {
    // When the connection ends, so does our standard output: else both rsyncs wait for each other.
    await pipeline(fromSsh, descriptorStream(1, { writable: true }));
    return EXIT.done;
  } catch {
    return EXIT.failed;
  } finally {
    clearTimeout(timer);
  }
}
