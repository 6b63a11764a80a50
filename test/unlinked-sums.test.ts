import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { because } from '../src/store/unlinked-cause.ts';
import { UnlinkedSums } from '../src/store/unlinked-sums.ts';

const path = (text: string): Buffer => Buffer.from(text, 'latin1');
const digest = (byte: number): string => byte.toString(16).padStart(2, '0').repeat(32);

describe('UnlinkedSums', () => {
  const withSums = (use: (sums: UnlinkedSums) => void): void => {
    using sums = new UnlinkedSums();
    use(sums);
  };

  it('takes a new path for a moved one if its content was at a path that is gone', () => {
    withSums(sums => {
      sums.addGone({ path: path('old/b'), sha256: digest(1), size: 5 });
      sums.addGone({ path: path('old/a'), sha256: digest(1), size: 5 });
      sums.addNew({ path: path('new/a'), bytes: 5, sha256: digest(1), size: 5 });
      sums.addNew({ path: path('new/b'), bytes: 9, sha256: digest(2), size: 9 });
      sums.addNew({ path: path('new/c'), bytes: 3, sha256: '', size: 3 });
      sums.resolve();
      const causes = sums.causes().map(({ cause, files, bytes, example }) => {
        return [cause, files, bytes, example.path.toString(), example.from?.toString()];
      });
      assert.deepEqual(causes, [
        ['new', 2, 12, 'new/c', undefined],
        ['moved', 1, 5, 'new/a', 'old/a'],
      ]);
    });
  });

  it('takes an empty file for a moved one only if its name is the same', () => {
    withSums(sums => {
      sums.addGone({ path: path('old/empty'), sha256: digest(1), size: 0 });
      sums.addNew({ path: path('empty'), bytes: 0, sha256: digest(1), size: 0 });
      sums.addNew({ path: path('new/other'), bytes: 0, sha256: digest(1), size: 0 });
      sums.resolve();
      assert.deepEqual(
        sums
          .causes()
          .map(each => [each.cause, each.example.path.toString()])
          .sort(),
        [
          ['moved', 'empty'],
          ['new', 'new/other'],
        ],
      );
    });
  });

  it('asks once for each inode', () => {
    withSums(sums => {
      const asked: string[] = [];
      const note = (inode: bigint, isShared: boolean): string =>
        sums.noteInode(inode, () => {
          asked.push(String(inode));
          return isShared;
        });
      assert.deepEqual(
        [note(1n, false), note(1n, true), note(2n, true), note(2n, false)],
        ['first', 'again', 'shared', 'shared'],
      );
      assert.equal(note(2n ** 64n - 1n, false), 'first');
      assert.deepEqual(asked, ['1', '2', String(2n ** 64n - 1n)]);
    });
  });

  it('tells a shift of all times only where all files have the same one', () => {
    withSums(sums => {
      const why = { cause: 'attributes', what: ['time'] } as const;
      const add = (name: string, shift: bigint, what: ('time' | 'mode')[] = [...why.what]): void =>
        sums.add(path(name), { cause: 'attributes', what }, 1, shift);
      add('a', 3600n);
      add('b', 3600n);
      add('c', 1n, ['mode', 'time']);
      add('d', 2n, ['mode', 'time']);
      sums.resolve();
      assert.deepEqual(
        sums.causes().map(each => each.shiftNs),
        [3600n, null],
      );
    });
  });

  it('adds up folders by cause, with names of any bytes, however many there are', () => {
    withSums(sums => {
      for (let at = 0; at < 2000; at += 1) sums.add(path(`a/${at}/file`), because('new'), 1);
      for (let at = 0; at < 500; at += 1) sums.add(path(`\xff\n/${at}`), because('content'), 100);
      sums.resolve();
      assert.deepEqual(sums.folders(), [
        { path: '\xff\n', cause: 'content', what: [], files: 500, bytes: 50_000 },
        { path: 'a', cause: 'new', what: [], files: 2000, bytes: 2000 },
      ]);
    });
  });
});
