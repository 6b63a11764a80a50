/** The commands that have a file of their own. */

import { cat } from './cat.ts';
import type { Command } from './command.ts';
import { diff } from './diff.ts';
import { find } from './find.ts';
import { list } from './list.ts';
import { ls } from './ls.ts';
import { pin } from './pin.ts';
import { prune } from './prune.ts';
import { remove } from './remove.ts';
import { removeClient } from './remove-client.ts';
import { restore } from './restore.ts';
import { status } from './status.ts';
import { unpin } from './unpin.ts';
import { verify } from './verify.ts';

export const COMMANDS: readonly Command[] = [
  list,
  ls,
  cat,
  diff,
  find,
  restore,
  status,
  prune,
  pin,
  unpin,
  remove,
  removeClient,
  verify,
];
