import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { abandonSnapshot, beginSnapshot } from '../src/store/arrival.ts';
import { doubtTree, isSynced, markSynced } from '../src/store/interrupted-tree.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { stateOf } from './support/inode.ts';
import { NEEDS_ROOT } from './support/world.ts';

const TIME = 1_000_000_000.25;
const LATER_MS = Number.POSITIVE_INFINITY;
const OLD = '2026-01-01T00-00-00Z';

function makeClient(t: TestContext): ClientStore {
  const top = mkdtempSync(join(tmpdir(), 'dialback arrival '));
  t.after(() => rmSync(top, { recursive: true, force: true }));
  createStore(join(top, 'store'));
  return createClient(join(top, 'store'), 'a');
}

function makeTree(client: ClientStore, folder = `arriving/${OLD}`): string {
  const tree = join(client.folder, folder, 'tree');
  mkdirSync(tree, { recursive: true });
  return tree;
}

function put(path: string | Buffer, content: string | Buffer = randomBytes(1000)): void {
  writeFileSync(path, content);
  utimesSync(path, TIME, TIME);
}

function isDoubted(path: string | Buffer): boolean {
  const { mtimeMs } = statSync(path);
  return mtimeMs >= 3_600_000 && mtimeMs < 86_400_000;
}

describe('doubtTree()', () => {
  it('takes the time off every file, whatever its name, and leaves contents as they are', async t => {
    const tree = makeTree(makeClient(t));
    mkdirSync(join(tree, 'a folder/deep'), { recursive: true });
    const names = ['plain', 'a folder/new\nline', 'a folder/deep/*?[x] \\ "', '-rf', '.hidden', 'empty'];
    for (const name of names) put(join(tree, name), name === 'empty' ? '' : name);
    const odd = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0x66, 0xff, 0xfe])]);
    put(odd);
    chmodSync(join(tree, 'plain'), 0);
    await doubtTree(tree, LATER_MS);
    for (const name of names) {
      assert.ok(isDoubted(join(tree, name)), name);
      assert.equal(readFileSync(join(tree, name), 'utf8'), name === 'empty' ? '' : name);
    }
    assert.ok(isDoubted(odd));
  });

  it('writes to no inode of a finished snapshot: a name that shares one is removed', async t => {
    const client = makeClient(t);
    const tree = makeTree(client);
    const kept = join(makeTree(client, `snapshots/${OLD}`), 'kept');
    put(kept);
    linkSync(kept, join(tree, 'kept'));
    linkSync(kept, join(tree, 'kept too'));
    const before = stateOf(kept);
    await doubtTree(tree, LATER_MS);
    assert.deepEqual(readdirSync(tree), []);
    assert.deepEqual(stateOf(kept), before);
    assert.equal(statSync(kept).nlink, 1);
  });

  it('keeps one name of a group of hard links that no snapshot shares', async t => {
    const tree = makeTree(makeClient(t));
    put(join(tree, 'one'), 'content');
    for (const name of ['two', 'three']) linkSync(join(tree, 'one'), join(tree, name));
    await doubtTree(tree, LATER_MS);
    const [left = '', ...others] = readdirSync(tree);
    assert.deepEqual(others, []);
    assert.ok(isDoubted(join(tree, left)));
    assert.equal(readFileSync(join(tree, left), 'utf8'), 'content');
  });

  it('follows no symbolic link', async t => {
    const client = makeClient(t);
    const tree = makeTree(client);
    const outside = join(client.folder, 'outside');
    put(outside);
    symlinkSync(outside, join(tree, 'link'));
    await doubtTree(tree, LATER_MS);
    assert.equal(statSync(outside).mtimeMs, TIME * 1000);
  });

  it('fails where there is no such tree', async t => {
    await assert.rejects(doubtTree(join(makeClient(t).folder, 'arriving/none/tree'), LATER_MS));
  });
});

describe('doubtTree() and its deadline', () => {
  it('fails when the time is over', async t => {
    const tree = makeTree(makeClient(t));
    put(join(tree, 'file'));
    await assert.rejects(doubtTree(tree, 0), /timeout after/);
  });
});

describe('markSynced() and isSynced()', () => {
  it('record that a tree is on the disk', async t => {
    const client = makeClient(t);
    makeTree(client);
    const folder = join(client.folder, 'arriving', OLD);
    assert.equal(isSynced(folder), false);
    await markSynced(folder, []);
    assert.equal(isSynced(folder), true);
  });

  it('record nothing where the folder has gone', async t => {
    const folder = join(makeClient(t).folder, 'arriving', OLD);
    await assert.rejects(markSynced(folder, []));
    assert.equal(isSynced(folder), false);
  });
});

describe('beginSnapshot() and an interrupted tree', () => {
  it('links against one that was synced, as it is', async t => {
    const client = makeClient(t);
    const tree = makeTree(client);
    put(join(tree, 'file'));
    await markSynced(join(client.folder, 'arriving', OLD), []);
    const before = stateOf(join(tree, 'file'));
    const { linkDests } = await beginSnapshot(client);
    assert.deepEqual(linkDests, [tree]);
    assert.deepEqual(stateOf(join(tree, 'file')), before);
  });

  it('has contents compared of one that was not: its files have lost their times', async t => {
    const client = makeClient(t);
    const tree = makeTree(client);
    put(join(tree, 'file'));
    const { linkDests } = await beginSnapshot(client);
    assert.deepEqual(linkDests, [tree]);
    assert.ok(isDoubted(join(tree, 'file')));
  });

  it('has contents compared of files that lie deeper than a path can say', async t => {
    const client = makeClient(t);
    let at = makeTree(client);
    const home = process.cwd();
    try {
      for (let depth = 0; depth < 25; depth += 1) {
        process.chdir(at);
        at = 'd'.repeat(200);
        mkdirSync(at);
      }
      process.chdir(at);
      writeFileSync('file', 'x');
    } finally {
      process.chdir(home);
    }
    const { linkDests, leftOver } = await beginSnapshot(client);
    const tree = join(client.folder, 'arriving', OLD, 'tree');
    assert.deepEqual([linkDests, leftOver], [[tree], [OLD]]);
    const find = ['-type', 'f', '-printf', '%T@ %f\n'];
    const [, seconds] =
      /^(\d+)\.\d+ file\n$/.exec(execFileSync('find', [tree, ...find], { encoding: 'utf8' })) ?? [];
    assert.ok(Number(seconds) < 86_400, seconds);
  });

  it('moves one to the trash that cannot be doubted file by file', { skip: NEEDS_ROOT }, async t => {
    // Before makeClient() has its own: in this order they run.
    let release = (): void => {};
    t.after(() => release());
    const client = makeClient(t);
    const file = join(makeTree(client), 'file');
    put(file);
    execFileSync('chattr', ['+i', file]);
    release = () => execFileSync('chattr', ['-R', '-i', client.folder], { stdio: 'ignore' });
    const { linkDests, leftOver } = await beginSnapshot(client);
    assert.deepEqual([linkDests, leftOver], [[], []]);
    assert.equal(existsSync(join(client.folder, 'arriving', OLD)), false);
    assert.equal(readdirSync(join(client.folder, 'trash')).length, 1);
    assert.match(
      readFileSync(join(client.folder, 'journal.jsonl'), 'utf8'),
      /"removed","what":"arriving\/2026-01-01T00-00-00Z","reason":"[^"]*(?:EPERM|not permitted)/,
    );
  });
});

describe('abandonSnapshot()', () => {
  it('records that the tree is on the disk, once everything is in it', async t => {
    const client = makeClient(t);
    put(join(makeTree(client), 'old'));
    const arrival = await beginSnapshot(client);
    put(join(arrival.tree, 'new'));
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(arrival.tree).sort(), ['new', 'old']);
    assert.equal(isSynced(arrival.folder), true);
    // What was doubted stays so: its content was not compared yet.
    assert.ok(isDoubted(join(arrival.tree, 'old')));
    assert.equal(statSync(join(arrival.tree, 'new')).mtimeMs, TIME * 1000);
  });
});
