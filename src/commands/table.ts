/** The commands that have a file of their own. */
import { cat } from './cat.ts';
import type { Command } from './command.ts';
import { diff } from './diff.ts';
import { find } from './find.ts';
import { list } from './list.ts';
import { ls } from './ls.ts';
import { restore } from './restore.ts';

export const COMMANDS: readonly Command[] = [list, ls, cat, diff, find, restore];
