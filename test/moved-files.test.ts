import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Arrival } from '../src/store/arrival.ts';
import { openIndex } from '../src/store/file-index.ts';
import { linkMoved } from '../src/store/moved-files.ts';
import type { ClientStore } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';

const nameOf = (day: number): string => snapshotName(new Date(Date.UTC(2020, 0, day)));
const TIME = '@1577836800.123456789';

/** Makes files with equal times. @param files content by path; or the path of an older file to link, from the client's folder */
function fill(client: ClientStore, tree: string, files: Record<string, string | { link: string }>): void {
  for (const [path, content] of Object.entries(files)) {
    const file = `${tree}/${path}`;
    mkdirSync(dirname(file), { recursive: true });
    if (typeof content !== 'string') linkSync(`${client.folder}/${content.link}`, file);
    else {
      writeFileSync(file, content);
      execFileSync('touch', ['-d', TIME, file]);
    }
  }
}

function arrive(client: ClientStore, files: Record<string, string | { link: string }>): Arrival {
  const name = nameOf(9);
  const folder = `${client.folder}/arriving/${name}`;
  const tree = `${folder}/tree`;
  mkdirSync(tree, { recursive: true });
  fill(client, tree, files);
  return { name, folder, tree, leftOver: [] } as unknown as Arrival;
}

/** A client with one snapshot. */
function setUp(context: TestContext, files: Record<string, string>): { client: ClientStore; old: string } {
  const client = makeClient(context);
  addSnapshot(client, nameOf(1));
  const old = `${client.folder}/snapshots/${nameOf(1)}/tree`;
  fill(client, old, files);
  return { client, old };
}

const NONE = { files: 0, bytes: 0 };
const inode = (path: string): number => lstatSync(path).ino;
const link = async (client: ClientStore, arrival: Arrival) =>
  await linkMoved(client, arrival, new AbortController().signal);

describe('linkMoved()', () => {
  it('links a renamed file, and keeps the times of the folders', async context => {
    const { client, old } = setUp(context, { 'a/file': 'content', 'a/other': 'stays' });
    const arrival = arrive(client, { 'b/c\nd/file': 'content', 'b/new': 'x' });
    const folders = ['', '/b', '/b/c\nd'].map(each => `${arrival.tree}${each}`);
    for (const [at, each] of folders.entries())
      execFileSync('touch', ['-d', `2001-01-01 00:00:00.12345678${at}`, each]);
    const times = () => folders.map(each => lstatSync(each, { bigint: true }).mtimeNs);
    const before = times();
    assert.deepEqual(await link(client, arrival), { files: 1, bytes: 7, shared: NONE });
    assert.equal(inode(`${arrival.tree}/b/c\nd/file`), inode(`${old}/a/file`));
    assert.deepEqual(times(), before);
    assert.equal(readFileSync(`${old}/a/file`, 'utf8'), 'content');
  });

  it('links a file in the top folder', async context => {
    const { client, old } = setUp(context, { old: 'content' });
    const arrival = arrive(client, { new: 'content' });
    utimesSync(arrival.tree, 1000, 1000);
    assert.deepEqual(await link(client, arrival), { files: 1, bytes: 7, shared: NONE });
    assert.equal(inode(`${arrival.tree}/new`), inode(`${old}/old`));
    assert.equal(lstatSync(arrival.tree).mtimeMs, 1_000_000);
    // Only the times of folders are kept meanwhile, not the files in them.
    const kept = readdirSync(`${arrival.folder}/work/times`, { recursive: true, withFileTypes: true });
    assert.deepEqual(
      kept.filter(each => !each.isDirectory()),
      [],
    );
  });

  it('does not link a file with another content, time, mode or attribute', async context => {
    const { client, old } = setUp(context, {
      content: 'one',
      time: 'time',
      mode: 'the mode',
      note: 'the note',
    });
    const arrival = arrive(client, { a: 'two', b: 'time', c: 'the mode', d: 'the note' });
    execFileSync('touch', ['-d', '@1577836800.123456788', `${arrival.tree}/b`]);
    chmodSync(`${arrival.tree}/c`, 0o600);
    execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', '100644 0,0 1:1', `${arrival.tree}/d`]);
    assert.deepEqual(await link(client, arrival), { files: 0, bytes: 0, shared: NONE });
    for (const each of readdirSync(old)) assert.equal(lstatSync(`${old}/${each}`).nlink, 1, each);
  });

  it('links a link and a device, and counts no bytes of them', async context => {
    const stat = ['user.rsync.%stat', '120777 0,0 1000:1000'] as const;
    const { client, old } = setUp(context, { old: 'target' });
    const arrival = arrive(client, { new: 'target' });
    for (const each of [`${old}/old`, `${arrival.tree}/new`])
      execFileSync('setfattr', ['-n', stat[0], '-v', stat[1], each]);
    assert.deepEqual(await link(client, arrival), { files: 1, bytes: 0, shared: NONE });
  });

  it('does not link a copy to a file that is still there', async context => {
    const { client, old } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { a: { link: `snapshots/${nameOf(1)}/tree/a` }, copy: 'content' });
    assert.deepEqual(await link(client, arrival), { files: 0, bytes: 0, shared: NONE });
    assert.notEqual(inode(`${arrival.tree}/copy`), inode(`${old}/a`));
  });

  it('does not link a copy to a file that is there under a name that no snapshot has', async context => {
    const { client, old } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { b: { link: `snapshots/${nameOf(1)}/tree/a` }, copy: 'content' });
    assert.deepEqual(await link(client, arrival), { files: 0, bytes: 0, shared: NONE });
    assert.equal(lstatSync(`${old}/a`).nlink, 2);
  });

  it('links equal files each to one of its own', async context => {
    const { client, old } = setUp(context, { 'a/1': 'same', 'a/2': 'same' });
    const arrival = arrive(client, { 'b/1': 'same', 'b/2': 'same', 'b/3': 'same' });
    assert.deepEqual(await link(client, arrival), { files: 2, bytes: 8, shared: NONE });
    const found = ['1', '2', '3'].map(each => inode(`${arrival.tree}/b/${each}`));
    assert.equal(new Set(found).size, 3);
    assert.deepEqual(
      ['1', '2'].map(each => lstatSync(`${old}/a/${each}`).nlink),
      [2, 2],
    );
  });

  it('keeps a group of hard links one group', async context => {
    const { client, old } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { 'x/one': 'content' });
    linkSync(`${arrival.tree}/x/one`, `${arrival.tree}/two`);
    assert.deepEqual(await link(client, arrival), { files: 1, bytes: 7, shared: NONE });
    for (const each of ['x/one', 'two']) assert.equal(inode(`${arrival.tree}/${each}`), inode(`${old}/a`));
  });

  it('does not trust a digest of the index', async context => {
    const { client, old } = setUp(context, { a: 'content' });
    await using held = new AsyncDisposableStack();
    const index = await openIndex(held, client);
    const digest = execFileSync('sha256sum', [`${old}/a`])
      .toString()
      .slice(0, 64);
    index.setDigests([[BigInt(inode(`${old}/a`)), Buffer.from(digest, 'hex')]]);
    writeFileSync(`${old}/a`, 'damaged');
    execFileSync('touch', ['-d', TIME, `${old}/a`]);
    const arrival = arrive(client, { b: 'content' });
    assert.deepEqual(await link(client, arrival), { files: 0, bytes: 0, shared: NONE });
  });

  it('links a file of which an interrupted tree has another name', async context => {
    const { client, old } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { b: 'content' });
    const left = `${client.folder}/arriving/${nameOf(8)}/tree`;
    mkdirSync(left, { recursive: true });
    linkSync(`${arrival.tree}/b`, `${left}/b`);
    assert.deepEqual(await link(client, { ...arrival, leftOver: [nameOf(8)] }), {
      files: 1,
      bytes: 7,
      shared: NONE,
    });
    assert.equal(inode(`${arrival.tree}/b`), inode(`${old}/a`));
    assert.notEqual(inode(`${left}/b`), inode(`${old}/a`));
  });

  it('passes over a file that is gone', async context => {
    const { client, old } = setUp(context, { a: 'content', b: 'another' });
    await using held = new AsyncDisposableStack();
    await openIndex(held, client);
    rmSync(`${old}/a`);
    const arrival = arrive(client, { x: 'content', y: 'another' });
    assert.deepEqual(await link(client, arrival), { files: 1, bytes: 7, shared: NONE });
    assert.equal(inode(`${arrival.tree}/y`), inode(`${old}/b`));
  });

  it('writes a failure to the journal, and leaves the tree as it was', async context => {
    const { client } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { b: 'content' });
    mkdirSync(`${client.folder}/index.sqlite`);
    assert.deepEqual(await link(client, arrival), { files: 0, bytes: 0, shared: NONE });
    assert.match(readFileSync(`${client.folder}/journal.jsonl`, 'utf8'), /"event":"not-linked"/);
  });

  it('ends with the signal', async context => {
    const { client } = setUp(context, { a: 'content' });
    const arrival = arrive(client, { b: 'content' });
    await assert.rejects(linkMoved(client, arrival, AbortSignal.abort(new Error('over'))), /over/);
    assert.ok(!existsSync(`${arrival.folder}/work/times`));
  });
});
