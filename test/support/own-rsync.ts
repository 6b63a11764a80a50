/** Facts about the rsync of the machine that runs the tests. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { isRsyncVulnerable } from '../../src/shared/package-changelog.ts';
import { matchingLines, says } from './wording.ts';
import type { Result } from './world.ts';

const FOLLOWS_LINKS = spawnSync('/usr/bin/rsync', ['--insecure-links', '--version']).status !== 0;

/**
 * Whether this machine's rsync must not do root's restore into a folder that has something in it, where others can write: only one
 * that follows no planted link may. Then it has to have been refused.
 */
export function isRefusedToOldRsync({ status, stderr }: Pick<Result, 'status' | 'stderr'>): boolean {
  if (!FOLLOWS_LINKS) return false;
  assert.equal(status, 2, stderr);
  assert.match(
    stderr,
    matchingLines`${says('can-be-written-by-others')} .*, ${says('and-this-rsync-would-follow')}$`,
  );
  return true;
}

/** Whether the changelog of this machine's rsync lacks a fix. */
export function isOwnRsyncVulnerable(): boolean {
  const said = execFileSync('rsync', ['--version'], { encoding: 'utf8' });
  return isRsyncVulnerable(/version (\S+)/.exec(said)?.[1] ?? assert.fail(said));
}
