// A temporary folder, a FIFO and the fault of an action, for unit tests.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
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
