import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { monotonicMs } from '../src/os/clock.ts';
import { isLocked } from '../src/os/runfolder.ts';
import { createClient, createStore } from '../src/store/store.ts';
import { emptyTrash } from '../src/store/trash.ts';
import { says } from './support/wording.ts';
import { NEEDS_ROOT } from './support/world.ts';

function makeClient(context: TestContext): string {
  const scratch = mkdtempSync(`${tmpdir()}/dialback trash `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  createStore(`${scratch}/store`);
  return createClient(`${scratch}/store`, 'a').folder;
}

const TREE = '2026-01-01T00-00-00Z-0123abcd';

function fill(folder: string, files: number): string {
  const path = `${folder}/trash/${TREE}`;
  for (let at = 0; at < 50; at += 1) mkdirSync(`${path}/tree/d${at}`, { recursive: true });
  for (let at = 0; at < files; at += 1) writeFileSync(`${path}/tree/d${at % 50}/f${at}`, '');
  return path;
}

describe('emptyTrash()', () => {
  it('removes only what it knows by name, and follows no link', async t => {
    const folder = makeClient(t);
    const trash = `${folder}/trash`;
    mkdirSync(`${trash}/${TREE}/deep/deeper`, { recursive: true });
    mkdirSync(`${trash}/other`);
    mkdirSync(`${trash}/2026-01-01T00-00-00Z`);
    mkdirSync(`${folder}/snapshots/x`);
    writeFileSync(`${folder}/snapshots/x/kept`, 'kept');
    linkSync(`${folder}/snapshots/x/kept`, `${trash}/${TREE}/deep/shared`);
    symlinkSync(`${folder}/snapshots`, `${trash}/2026-01-02T00-00-00Z-0123abcd`);
    symlinkSync(`${folder}/snapshots`, `${trash}/${TREE}/deep/link`);
    await emptyTrash(folder);
    assert.deepEqual(readdirSync(trash).sort(), [
      '2026-01-01T00-00-00Z',
      '2026-01-02T00-00-00Z-0123abcd',
      'other',
    ]);
    assert.equal(readFileSync(`${folder}/snapshots/x/kept`, 'utf8'), 'kept');
  });

  it('says what it cannot remove, and removes the rest', { skip: NEEDS_ROOT }, async t => {
    const folder = makeClient(t);
    const [first, second] = ['2026-01-01T00-00-00Z-0123abcd', '2026-01-02T00-00-00Z-0123abcd'].map(
      name => `${folder}/trash/${name}`,
    );
    mkdirSync(`${first}/tree/mounted`, { recursive: true });
    writeFileSync(`${first}/tree/file`, '');
    mkdirSync(`${second}/tree`, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'a test', `${first}/tree/mounted`]);
    try {
      await assert.rejects(emptyTrash(folder), says('another-file-system-is-mounted'));
    } finally {
      execFileSync('umount', [`${first}/tree/mounted`]);
    }
    assert.deepEqual(readdirSync(`${folder}/trash`), ['2026-01-01T00-00-00Z-0123abcd']);
    await emptyTrash(folder);
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
  });

  it('removes names of any bytes, and paths longer than the system takes at once', async t => {
    const folder = makeClient(t);
    const top = `${folder}/trash/${TREE}`;
    const odd = Buffer.concat([Buffer.from(`${top}/`), Buffer.from([0xff, 0x0a, 0x5c])]);
    mkdirSync(odd, { recursive: true });
    writeFileSync(Buffer.concat([odd, Buffer.from([0x2f, 0xfe, 0xff])]), '');
    const name = 'n'.repeat(250);
    const script = `cd "$1"; i=0; while [ $i -lt 30 ]; do mkdir ${name}; cd -P ${name}; i=$((i+1)); done`;
    const [status] = await once(spawn('/bin/bash', ['-c', script, 'bash', top]), 'exit');
    assert.equal(status, 0);
    await emptyTrash(folder);
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
  });

  it('goes no faster than it is told', async t => {
    const folder = makeClient(t);
    fill(folder, 4000);
    const startedMs = performance.now();
    await emptyTrash(folder, { namesPerSecond: 8000 });
    assert.ok(performance.now() - startedMs >= 1000 * (4000 / 8000));
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
  });

  it('waits while a run of the client is under way, and goes on after it', async t => {
    const folder = makeClient(t);
    const path = fill(folder, 4000);
    const lock = `${folder}/lock`;
    writeFileSync(lock, '');
    const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; read end'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(holder.stdout, 'data');
    const done = emptyTrash(folder, { lock });
    const first = await Promise.race([done, new Promise(resolve => setTimeout(resolve, 1500, 'waits'))]);
    assert.equal(first, 'waits');
    assert.ok(existsSync(path));
    holder.stdin.end('\n');
    await done;
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
  });

  it('does not wait for longer than it is told, however long the run lasts', async t => {
    const folder = makeClient(t);
    fill(folder, 4000);
    const lock = `${folder}/lock`;
    writeFileSync(lock, '');
    const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; read end'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(holder.stdout, 'data');
    const startedMs = monotonicMs();
    await emptyTrash(folder, { lock, waitsUntilMs: startedMs + 700 });
    assert.ok(monotonicMs() - startedMs >= 700);
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
    assert.equal(isLocked(lock), true);
    holder.stdin.end('\n');
    await once(holder, 'exit');
  });

  it('ends on a signal, and the next one goes on', async t => {
    const folder = makeClient(t);
    fill(folder, 5000);
    const abort = new AbortController();
    const done = emptyTrash(folder, { namesPerSecond: 10, signal: abort.signal });
    setImmediate(() => abort.abort(new Error('enough')));
    await assert.rejects(done, /enough/);
    assert.ok(existsSync(`${folder}/trash/${TREE}`));
    await emptyTrash(folder);
    assert.deepEqual(readdirSync(`${folder}/trash`), []);
  });
});

describe('isLocked()', () => {
  it('sees a lock of another process, and no lock where there is none', async t => {
    const folder = makeClient(t);
    const lock = `${folder}/lock`;
    assert.equal(isLocked(lock), false);
    writeFileSync(lock, '');
    assert.equal(isLocked(lock), false);
    const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; read end'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(holder.stdout, 'data');
    assert.equal(isLocked(lock), true);
    holder.stdin.end('\n');
    await once(holder, 'exit');
    assert.equal(isLocked(lock), false);
  });
});
