import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { probeFileSystem } from '../src/store/file-system.ts';
import { scratch } from './support/scratch.ts';

describe('probeFileSystem()', () => {
  it('finds all that a store needs on a local file system, and leaves nothing', async t => {
    const folder = scratch(t);
    const { links, hasNanoseconds, hasLateTimes, hasEarlyTimes } = await probeFileSystem(folder);
    assert.deepEqual(
      { links, hasNanoseconds, hasLateTimes, hasEarlyTimes },
      { links: undefined, hasNanoseconds: true, hasLateTimes: true, hasEarlyTimes: true },
    );
    assert.deepEqual(readdirSync(folder), []);
  });
});
