import assert from 'node:assert/strict';
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { abandonSnapshot, beginSnapshot } from '../src/store/arrival.ts';
import { dropWork } from '../src/store/arrival-work.ts';
import { samePathsOf } from '../src/store/interrupted-tree.ts';
import { type LinkTree, separateTrees } from '../src/store/separate-trees.ts';
import { snapshotName } from '../src/wire/text.ts';
import { addArriving, addSnapshot, makeClient, record } from './support/client-store.ts';
import { scratch } from './support/scratch.ts';

/** The inode's number in a test, by path. */
type Tree = Record<string, number>;

const unknown = (tree: string): LinkTree => ({ name: tree, tree, samePaths: new Set() });

/** Makes trees whose files share inodes as told. @returns their paths */
function make(folder: string, trees: readonly Tree[]): string[] {
  return trees.map((tree, at) => {
    const top = `${folder}/tree ${at}`;
    mkdirSync(top);
    for (const [path, inode] of Object.entries(tree)) {
      mkdirSync(dirname(`${top}/${path}`), { recursive: true });
      const first = `${folder}/inode ${inode}`;
      if (!existsSync(first)) writeFileSync(first, '');
      linkSync(first, `${top}/${path}`);
    }
    return top;
  });
}

const inodeAt = (path: string): number | undefined => lstatSync(path, { throwIfNoEntry: false })?.ino;

/** The file that rsync links for a path: the first one that it finds. */
function choose(trees: readonly string[], path: string): { tree: number; inode: number } | undefined {
  for (const [tree, top] of trees.entries()) {
    const inode = inodeAt(`${top}/${path}`);
    if (inode !== undefined) return { tree, inode };
  }
  return undefined;
}

async function separate(
  context: TestContext,
  ...trees: Tree[]
): Promise<{ before: string[]; found: string[] }> {
  const folder = scratch(context);
  const before = make(folder, trees);
  return { before, found: await separateTrees(before.map(unknown), folder) };
}

describe('separateTrees()', () => {
  it('leaves trees as they are when each shared inode has the same names', async context => {
    const { before, found } = await separate(
      context,
      { a: 1, 'b/c': 2 },
      { a: 1, 'b/c': 2, d: 3 },
      { 'b/c': 2 },
    );
    assert.deepEqual(found, before);
  });

  it('leaves a single tree, and none', async context => {
    const { before, found } = await separate(context, { a: 1, b: 1 });
    assert.deepEqual(found, before);
    assert.deepEqual(await separateTrees([], '/nonexistent'), []);
  });

  it('masks a file that an earlier tree has under another name, and no other file', async context => {
    const { before, found } = await separate(
      context,
      { new: 1, same: 2 },
      { old: 1, same: 2, 'only here/x\ny': 3 },
    );
    assert.equal(found[0], before[0]);
    assert.notEqual(found[1], before[1]);
    assert.equal(choose(found, 'old'), undefined);
    assert.equal(choose(found, 'same')?.tree, 0);
    assert.equal(inodeAt(`${found[1]}/only here/x\ny`), inodeAt(`${before[1]}/only here/x\ny`));
    // The tree itself has all of its names.
    assert.deepEqual(readdirSync(before[1] ?? '').sort(), ['old', 'only here', 'same']);
  });

  it('uses both trees when a group of hard links has more names in one of them', async context => {
    for (const trees of [
      [{ a: 1 }, { a: 1, b: 1 }],
      [{ a: 1, b: 1 }, { b: 1 }],
    ]) {
      const { before, found } = await separate(context, ...trees);
      assert.deepEqual(found, before);
    }
  });

  it('masks a group of hard links that has lost a name and got another', async context => {
    const { found } = await separate(context, { a: 1, b: 1 }, { a: 1, c: 1 });
    assert.equal(choose(found, 'c'), undefined);
    assert.equal(choose(found, 'a')?.tree, 0);
  });

  it('does not compare trees that are known to share files at equal paths', async context => {
    const folder = scratch(context);
    const [one = '', other = ''] = make(folder, [{ a: 1 }, { b: 1 }]);
    const trees = (first: LinkTree['samePaths'], second: LinkTree['samePaths']): LinkTree[] => [
      { name: 'one', tree: one, samePaths: first },
      { name: 'other', tree: other, samePaths: second },
    ];
    const none = new Set<string>();
    for (const [first, second, isCompared] of [
      [none, none, true],
      [new Set(['another']), none, true],
      [new Set(['other']), none, false],
      ['any', none, false],
      [none, 'any', false],
      ['unmoved', 'unmoved', false],
      ['unmoved', none, true],
      [none, 'unmoved', true],
      [new Set(['other']), 'unmoved', false],
    ] as const) {
      const found = await separateTrees(trees(first, second), folder);
      assert.equal(found[1] !== other, isCompared, `${first} ${second}`);
      await dropWork(folder);
    }
  });

  it('makes masks that dropWork() deletes', async context => {
    const folder = scratch(context);
    const trees = make(folder, [{ a: 1 }, { b: 1, c: 2 }]);
    const [, mask = ''] = await separateTrees(trees.map(unknown), folder);
    assert.ok(existsSync(`${mask}/c`));
    await dropWork(folder);
    assert.ok(!existsSync(`${folder}/work`));
    assert.ok(existsSync(`${trees[1]}/c`));
  });

  it('never lets rsync find one inode at two paths by two trees', async context => {
    const paths = ['a', 'b', 'c/d', 'c/e'];
    const tree = fc.dictionary(fc.constantFrom(...paths), fc.integer({ min: 0, max: 3 }));
    await fc.assert(
      fc.asyncProperty(fc.array(tree, { minLength: 2, maxLength: 4 }), async trees => {
        const folder = `${scratch(context)}/run`;
        mkdirSync(folder);
        const before = make(folder, trees);
        const found = await separateTrees(before.map(unknown), folder);
        for (const one of paths)
          for (const other of paths) {
            const [first, second] = [choose(found, one), choose(found, other)];
            if (one === other || first === undefined || second?.inode !== first.inode) continue;
            // Then one tree has both names, as hard links of the client.
            const has = before.some(
              top => inodeAt(`${top}/${one}`) === first.inode && inodeAt(`${top}/${other}`) === first.inode,
            );
            assert.ok(has, `${one} and ${other}`);
          }
        // A path without a conflict is found in the same tree as before.
        for (const path of paths) {
          const [was, is] = [choose(before, path), choose(found, path)];
          if (is !== undefined && was?.tree === is.tree) assert.equal(is.inode, was.inode);
        }
        rmSync(folder, { recursive: true });
      }),
      { numRuns: 40 },
    );
  });
});

describe('beginSnapshot()', () => {
  it('does not link two names of one inode after a commit that failed behind the linking of moved files', async context => {
    const client = makeClient(context);
    const [older, left] = [1, 2].map(day => snapshotName(new Date(Date.UTC(2020, 0, day))));
    addSnapshot(client, older ?? '');
    const tree = `${client.folder}/snapshots/${older}/tree`;
    for (const name of ['moved', 'stays']) writeFileSync(`${tree}/${name}`, name);
    const interrupted = addArriving(client, left ?? '', {});
    linkSync(`${tree}/moved`, `${interrupted}/new name`);
    mkdirSync(`${client.folder}/arriving/${left}/work/times`, { recursive: true });
    const arrival = await beginSnapshot(client);
    assert.deepEqual(
      arrival.linkDests.map(each => readdirSync(each)),
      [['new name'], ['stays']],
    );
    assert.deepEqual(readdirSync(tree).sort(), ['moved', 'stays']);
    assert.ok(!existsSync(`${client.folder}/arriving/${left}/work`));
  });

  it('keeps apart what a snapshot with moved files and an older full one have under two names', async context => {
    const client = makeClient(context);
    const [full, moved] = [1, 2].map(day => snapshotName(new Date(Date.UTC(2020, 0, day))));
    addSnapshot(client, full ?? '');
    addSnapshot(client, moved ?? '', 'incomplete');
    const tree = (name = ''): string => `${client.folder}/snapshots/${name}/tree`;
    for (const name of ['old', 'stays']) writeFileSync(`${tree(full)}/${name}`, name);
    linkSync(`${tree(full)}/old`, `${tree(moved)}/new`);
    const linked = async (more: Record<string, unknown>): Promise<string[][]> => {
      const kept = { ...record(moved ?? '', 'incomplete'), ...more };
      writeFileSync(`${client.folder}/snapshots/${moved}/snapshot.json`, JSON.stringify(kept));
      const arrival = await beginSnapshot(client);
      const found = arrival.linkDests.map(each => readdirSync(each).sort());
      const whole = arrival.linkDests.map(each => each.startsWith(`${client.folder}/snapshots/`));
      assert.deepEqual(
        arrival.samePaths,
        [moved, full].filter((_, at) => whole[at]),
      );
      await abandonSnapshot(client, arrival);
      assert.deepEqual(readdirSync(`${client.folder}/arriving`), []);
      return found;
    };
    // Without its file names it is not compared; a damaged list is.
    for (const same_paths of [[], ['another'], 'x', { a: 1 }, null])
      assert.deepEqual(await linked({ same_paths }), [['new'], ['stays']]);
    assert.deepEqual(await linked({ same_paths: [full] }), [['new'], ['old', 'stays']]);
  });
});

describe('abandonSnapshot()', () => {
  const setUp = async (context: TestContext) => {
    const client = makeClient(context);
    const left = snapshotName(new Date(Date.UTC(2020, 0, 2)));
    addArriving(client, left, { 'only there': 'x' });
    const arrival = await beginSnapshot(client);
    writeFileSync(`${arrival.tree}/arrived`, 'y');
    mkdirSync(`${arrival.folder}/work`);
    return { client, left, arrival };
  };

  it('adds the files of the older interrupted tree, and says which trees have the same paths', async context => {
    const { client, left, arrival } = await setUp(context);
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(arrival.folder).sort(), ['synced', 'tree']);
    assert.deepEqual(readdirSync(arrival.tree).sort(), ['arrived', 'only there']);
    assert.deepEqual([...samePathsOf(arrival.folder)], [left]);
  });

  it('adds none when moved files were linked: one of them could be there under its old name', async context => {
    const { client, left, arrival } = await setUp(context);
    await abandonSnapshot(client, { ...arrival, hasMoved: true, samePaths: [] });
    assert.deepEqual(readdirSync(arrival.tree), ['arrived']);
    assert.ok(!existsSync(`${client.folder}/arriving/${left}`));
    assert.deepEqual([...samePathsOf(arrival.folder)], []);
  });
});
