// Goal: dialback is one file that writes nothing when it runs, and nothing in the environment or sent as a signal turns
// it into something else.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { describe, it } from 'node:test';

const BINARY = join(import.meta.dirname, '../../../dist/dialback');
const VERSION = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8'))
  .version as string;

describe('the executable', () => {
  it('is an ELF file that says its version', () => {
    const descriptor = openSync(BINARY, 'r');
    const magic = Buffer.alloc(4);
    readSync(descriptor, magic, 0, 4, 0);
    closeSync(descriptor);
    assert.equal(magic.toString('latin1'), '\x7fELF');
    assert.equal(execFileSync(BINARY, ['version'], { env: {} }).toString(), `dialback ${VERSION}\n`);
  });

  it("does not take node's options, neither from NODE_OPTIONS nor from its arguments", () => {
    const plain = spawnSync(BINARY, ['version'], { env: {}, encoding: 'utf8' });
    for (const options of [
      '--require=/nonexistent',
      '--inspect=127.0.0.1:0',
      '--version',
      '--print=1',
      '--rubbish',
    ]) {
      const result = spawnSync(BINARY, ['version'], { env: { NODE_OPTIONS: options }, encoding: 'utf8' });
      assert.deepEqual([result.status, result.stdout, result.stderr], [0, plain.stdout, ''], options);
    }
    for (const argument of [
      '--inspect',
      '--require=/nonexistent',
      '-e',
      '--eval=1',
      '-p',
      '-i',
      '--v8-options',
    ]) {
      const result = spawnSync(BINARY, [argument], { env: {}, encoding: 'utf8' });
      assert.equal(result.status, 2, argument);
      assert.match(result.stderr, /^dialback: Cannot run "/);
    }
  });

  it('opens no debugger at SIGUSR1', async () => {
    // relay stays as long as its descriptor 3 has something to say, and repeats it.
    const child = spawn(BINARY, ['relay', '60'], {
      env: {},
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    const said: string[] = [];
    child.stderr?.setEncoding('utf8').on('data', (text: string) => said.push(text));
    const from = child.stdio[3] as Writable;
    from.write('first');
    assert.ok(child.stdout);
    assert.equal(String((await once(child.stdout, 'data'))[0]), 'first');
    child.kill('SIGUSR1');
    from.write('second');
    assert.equal(String((await once(child.stdout, 'data'))[0]), 'second');
    from.end();
    child.stdin?.end();
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(status, 0);
    assert.deepEqual(said.join(''), 'dialback-relay: first byte\n');
  });

  it('writes no file', () => {
    const calls =
      'trace=openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink';
    const result = spawnSync('/usr/bin/strace', ['-f', '-qq', '-e', calls, BINARY, 'help'], {
      env: {},
      encoding: 'utf8',
    });
    assert.equal(result.status, 0, result.stderr);
    const lines = result.stderr.split('\n').filter(line => line !== '');
    assert.ok(lines.length > 5, 'strace saw something');
    const writing = lines.filter(line =>
      /O_WRONLY|O_RDWR|O_CREAT|creat\(|mkdir|rename|unlink|link\(/.test(line),
    );
    assert.deepEqual(
      writing.filter(line => !/\/dev\/null|\/dev\/tty/.test(line)),
      [],
    );
  });

  it('fails when what it says cannot be written', () => {
    const descriptor = openSync('/dev/full', 'w');
    const result = spawnSync(BINARY, ['help'], { env: {}, stdio: ['ignore', descriptor, 'pipe'] });
    closeSync(descriptor);
    assert.equal(result.status, 1);
  });
});
