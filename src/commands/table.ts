/** The commands that have a file of their own. */
import type { Command } from './command.ts';
import { find } from './find.ts';

export const COMMANDS: readonly Command[] = [find];
