import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readAhead } from '../src/store/stored-tree.ts';

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of values) all.push(each);
  return all;
}

describe('readAhead()', () => {
  it('returns the batches in their order, when the reading of a later one ends first', async () => {
    const first = Promise.withResolvers<string>();
    const read = async (batch: number): Promise<string> => {
      if (batch === 1) return await first.promise;
      if (batch === 2) first.resolve('one');
      return String(batch);
    };
    const found: unknown[] = [];
    // Without reading ahead, the first reading would never end.
    for await (const each of readAhead([1, 2, 3], read)) found.push([each.batch, each.result]);
    assert.deepEqual(found, [
      [1, 'one'],
      [2, '2'],
      [3, '3'],
    ]);
  });

  it('returns nothing when there are no batches, and the only one when there is one', async () => {
    const all = async (batches: number[]): Promise<unknown[]> =>
      await collect(readAhead(batches, async batch => batch * 2));
    assert.deepEqual(await all([]), []);
    assert.deepEqual(await all([4]), [{ batch: 4, result: 8 }]);
  });

  it('throws the error of a batch after the batches before it', async () => {
    const found: number[] = [];
    const reading = async (): Promise<void> => {
      const read = async (batch: number): Promise<void> => {
        if (batch === 2) throw new Error('batch 2');
      };
      for await (const { batch } of readAhead([1, 2, 3], read)) found.push(batch);
    };
    await assert.rejects(reading(), { message: 'batch 2' });
    assert.deepEqual(found, [1]);
  });

  it('reads one batch ahead, and waits for that reading when the caller stops', async () => {
    const begun: number[] = [];
    const ended: number[] = [];
    const read = async (batch: number): Promise<void> => {
      begun.push(batch);
      await new Promise(resolve => setImmediate(resolve));
      ended.push(batch);
    };
    for await (const { batch } of readAhead([1, 2, 3, 4], read)) if (batch === 1) break;
    assert.deepEqual(begun, [1, 2]);
    assert.deepEqual(ended, [1, 2]);
  });

  it('throws the error of the batches themselves', async () => {
    const batches = function* (): Generator<number> {
      yield 1;
      throw new Error('no more');
    };
    await assert.rejects(collect(readAhead(batches(), async batch => batch)), { message: 'no more' });
  });
});
