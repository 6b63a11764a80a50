/**
 * `dialback relay`: rsync's remote shell on the host. It does not start ssh. grab has started ssh outside of rsync's jail, and rsync
 * inherits its two ends as descriptors 3 (data from ssh) and 4 (data to ssh). If the launcher is installed, its `pump` is used instead.
 */
import { pipeline } from 'node:stream/promises';
import { EXIT } from '../fault.ts';
import { close } from '../os/files.ts';
import { descriptorStream, say } from '../os/streams.ts';

/** The descriptors that rsync passes on. */
const RELAY_FROM_SSH = 3;
const RELAY_TO_SSH = 4;
/** The client's lock. rsync must hold it as long as it writes, and this process must not. */
const RELAY_LOCK = 5;

/** The line on standard error, which grab reads, when the other machine's first byte has arrived. */
export const FIRST_BYTE = 'dialback-relay: first byte';

/** The line there when the other machine has sent nothing for too long, or rsync has not read it. */
export const IDLE = 'dialback-relay: idle';

/**
 * Copies in both directions until the connection ends, or until the other machine sends nothing for `idleMs`. rsync's --timeout on the
 * receiving side does not notice that: its generator sends keep-alives into a pipe, and counts that as activity.
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
  fromSsh.pause(); // the listener for 'data' would start the flow before the pipeline reads
  const upward = pipeline(descriptorStream(0, { readable: true }), toSsh);
  upward.catch(() => {}); // rsync has closed its end: the other direction decides the exit status
  try {
    // When the connection ends, close our standard output too. Otherwise both rsyncs wait for each other.
    await pipeline(fromSsh, descriptorStream(1, { writable: true }));
    return EXIT.done;
  } catch {
    return EXIT.failed;
  } finally {
    clearTimeout(timer);
  }
}
