import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readsUtf8 } from '../src/os/terminal.ts';

describe('readsUtf8()', () => {
  for (const [environment, expected] of [
    [{}, false],
    [{ LANG: 'C' }, false],
    [{ LANG: 'de_DE' }, false],
    [{ LANG: 'de_DE.UTF-8' }, true],
    [{ LANG: 'C.utf8' }, true],
    [{ LANG: 'C.UTF-8', LC_ALL: 'C' }, false],
    [{ LANG: 'C.UTF-8', LC_ALL: '' }, true],
    [{ LANG: 'C', LC_CTYPE: 'en_US.UTF-8' }, true],
    [{ LC_CTYPE: 'C.UTF-8', LC_ALL: 'POSIX' }, false],
  ] as const)
    it(`is ${expected} with ${JSON.stringify(environment)}`, () =>
      assert.equal(readsUtf8(environment), expected));
});
