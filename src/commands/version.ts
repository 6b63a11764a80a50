/** `dialback version`. */
import { Arguments, type Command } from './command.ts';

/** The build puts the version in its place. */
declare const DIALBACK_VERSION: string | undefined;

/** The version of this program. */
export const VERSION = typeof DIALBACK_VERSION === 'string' ? DIALBACK_VERSION : 'from source';

export const version: Command<object> = {
  name: 'version',
  usage: 'version',
  side: 'both',
  summary: "show dialback's version",
  options: [],
  positionals: [],

  parse(words) {
    new Arguments(version, words);
    return {};
  },

  async run(_request, io) {
    io.print(`dialback ${VERSION}\n`);
    return 'done';
  },
};
