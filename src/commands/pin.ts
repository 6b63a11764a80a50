/** `dialback pin`: keeps a snapshot whatever the rules of [retention] say. */

import { BY_HAND, findSnapshot, type Pinning, pin as pinSnapshot, type Snapshot } from '../store/snapshot.ts';
import { type ClientStore, openClient, openStore, requireOwner } from '../store/store.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { splitTarget } from './target.ts';

interface PinRequest extends PinTarget {
  reason: string;
}

/** The snapshot that `pin` and `unpin` work on. */
export interface PinTarget {
  client: string;
  snapshot: string;
  config: string | undefined;
}

export const pin: Command<PinRequest> = {
  name: 'pin',
  usage: 'pin NAME@SNAPSHOT [--reason TEXT] [--config F]',
  side: 'host',
  summary: 'keep this snapshot, whatever the rules say',
  options: [
    { name: 'reason', value: 'TEXT', help: 'why it is kept; `pin` and `unpin` show it' },
    HOST_CONFIG,
  ],
  positionals: [{ name: 'NAME@SNAPSHOT' }],

  parse(words) {
    const given = new Arguments(pin, words);
    return { ...readPinTarget(given), reason: given.text('reason') ?? BY_HAND };
  },

  async run(request, io) {
    const { client, snapshot } = openPinTarget(request, 'pin');
    io.print(pinText(`${client.name}@${snapshot.name}`, pinSnapshot(client, snapshot, request.reason)));
    return 'done';
  },
};

/** @throws Fault `usage` where no snapshot is named */
export function readPinTarget(given: Arguments): PinTarget {
  const [first = ''] = given.positionals;
  if (!first.includes('@')) throw given.refuse('it takes one snapshot, by name');
  const [client, snapshot] = splitTarget(first);
  return { client, snapshot, config: given.path('config') };
}

/** @throws Fault where the store is not this account's, or has no such snapshot */
export function openPinTarget(
  { client: name, snapshot, config }: PinTarget,
  verb: string,
): { client: ClientStore; snapshot: Snapshot } {
  const store = hostStore(config);
  openStore(store);
  requireOwner(store, verb);
  const client = openClient(store, name);
  return { client, snapshot: findSnapshot(client, snapshot) };
}

/** @param name NAME@SNAPSHOT */
function pinText(name: string, { did, reason, before }: Pinning): string {
  if (did === 'pinned') return `pinned "${name}": ${reason}\n`;
  if (did === 'kept') return `"${name}" is pinned already: ${reason}\n`;
  return `"${name}" was pinned already: ${before}\nits reason is now: ${escapeText(reason)}\n`;
}
