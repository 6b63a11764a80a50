/** Restores by root into a folder that has something in it, where others can write: only an rsync that follows no planted link may. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { Result } from './world.ts';

const FOLLOWS_LINKS = spawnSync('/usr/bin/rsync', ['--insecure-links', '--version']).status !== 0;

/** Whether this machine's rsync must not do such a restore. Then it has to have been refused. */
export function isRefusedToOldRsync({ status, stderr }: Pick<Result, 'status' | 'stderr'>): boolean {
  if (!FOLLOWS_LINKS) return false;
  assert.equal(status, 2, stderr);
  assert.match(stderr, /can be written by others .*, and this rsync would follow a link that is put there$/m);
  return true;
}
