import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settleAll } from '../src/os/async.ts';

describe('settleAll()', () => {
  it('has what each of them came to, in their order', async () => {
    const late = Promise.withResolvers<number>();
    const both = settleAll([late.promise, Promise.resolve('text')]);
    late.resolve(1);
    assert.deepEqual(await both, [1, 'text']);
  });

  it('waits for the others when one has failed, and throws what the first in the list did', async () => {
    const [late, later] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isOver = false;
    const all = settleAll([late.promise, Promise.reject(new Error('second')), later.promise]).finally(() => {
      isOver = true;
    });
    const thrown = assert.rejects(all, /^Error: first$/);
    late.reject(new Error('first'));
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(isOver, false);
    later.resolve();
    await thrown;
  });
});
