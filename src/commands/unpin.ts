/** `dialback unpin`: lets the rules of [retention] decide about a snapshot again. */
import { unpin as unpinSnapshot } from '../store/snapshot.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';
import { openPinTarget, type PinTarget, readPinTarget } from './pin.ts';

export const unpin: Command<PinTarget> = {
  name: 'unpin',
  usage: 'unpin NAME@SNAPSHOT [--config F]',
  side: 'host',
  summary: 'leave a pinned snapshot to the rules again',
  options: [HOST_CONFIG],
  positionals: [{ name: 'NAME@SNAPSHOT' }],

  parse(words) {
    return readPinTarget(new Arguments(unpin, words));
  },

  async run(request, io) {
    const { client, snapshot } = openPinTarget(request, 'unpin');
    io.print(unpinText(`${client.name}@${snapshot.name}`, unpinSnapshot(client, snapshot)));
    return 'done';
  },
};

/**
 * @param name NAME@SNAPSHOT
 * @param before why it was pinned; undefined: it was not pinned
 */
function unpinText(name: string, before: string | undefined): string {
  return before === undefined
    ? `"${name}" is not pinned\n`
    : `unpinned "${name}", which was pinned: ${before}\n`;
}
