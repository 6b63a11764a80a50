import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { copySelected, Lines } from '../src/store/restore-copy.ts';
import type { Selection } from '../src/store/restore-selection.ts';

describe('copySelected()', () => {
  it('refuses a path that is too long with the store’s own', async () => {
    const snapshot = { tree: '/srv/dialback/clients/acorn/snapshots/2026-01-01T00-00-00Z/tree' };
    const selection = { snapshot, paths: [Buffer.alloc(4080, 'p')] } as unknown as Selection;
    const listeners = { signal: new AbortController().signal, lines: new Lines(), place: undefined };
    await assert.rejects(copySelected([], selection, '/nowhere', listeners), /more than 4095 bytes together/);
  });
});
