/** `dialback relay`, which rsync starts on a host without the launcher: copies bytes between ssh and rsync. */
import { relay as relayBytes } from '../host/relay.ts';
import { type Command, exitName, noSuchCommand } from './command.ts';

export const relay: Command<{ idleMs: number }> = {
  name: 'relay',
  usage: 'relay SECONDS',
  side: 'host',
  summary: 'copy bytes between ssh and rsync',
  options: [],
  positionals: [{ name: 'SECONDS' }],

  /** Ignores the words that rsync appends. */
  parse([seconds = '']) {
    if (!/^[1-9]\d{0,6}$/.test(seconds)) throw noSuchCommand('relay');
    return { idleMs: 1000 * Number(seconds) };
  },

  async run({ idleMs }) {
    return exitName(await relayBytes(idleMs));
  },
};
