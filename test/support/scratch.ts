// A temporary folder, a FIFO and the fault of an action, for unit tests.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { TestContext } from 'node:test';
import { Fault } from '../../src/fault.ts';

/** A temporary folder with a blank in its name, removed after the test. */
export function scratch(context: TestContext): string {
  const path = mkdtempSync(`${tmpdir()}/dialback test `);
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The fault that an action throws. */
export function fault(action: () => unknown): Fault {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error('no fault');
}

/** Makes a FIFO by mkfifo(1): node has no function for it. */
export function mkfifo(path: string): void {
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
}

const NOBODY = 65_534;

/**
 * Makes a folder such that its owner can write in it and not open it, and calls `act` as that owner. So sync(1) of it fails.
 * Everything below the folder, and all above it in the temporary folder, must be of this process.
 */
export async function withoutOpening(folder: string, act: () => Promise<unknown>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  const top = folder
    .split('/')
    .slice(0, tmpdir().split('/').length + 1)
    .join('/');
  if (isRoot) assert.equal(spawnSync('chown', ['-R', String(NOBODY), top]).status, 0);
  chmodSync(folder, 0o300);
  try {
    if (isRoot) process.seteuid?.(NOBODY);
    await act();
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(folder, 0o700);
    if (isRoot) assert.equal(spawnSync('chown', ['-R', '0', top]).status, 0);
  }
}
