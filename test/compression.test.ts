import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decideCompression } from '../src/client/compression.ts';

describe('decideCompression()', () => {
  for (const [mode, hasZstd, compress, because] of [
    ['zstd', true, true, 'set'],
    ['zstd', false, false, 'no-zstd'],
    ['auto', true, true, 'set'],
    ['auto', false, false, 'no-zstd'],
    ['no', true, false, 'set'],
    ['no', false, false, 'set'],
  ] as const)
    it(`is ${compress} (${because}) when the config says "${mode}" and rsync ${hasZstd ? 'has' : 'lacks'} zstd`, () => {
      assert.deepEqual(decideCompression(mode, hasZstd), { compress, because });
    });
});
