import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { largestFile } from '../src/store/file-size.ts';
import { makeScratch } from './daemon.ts';

const MODULE = new URL('../src/store/file-size.ts', import.meta.url).pathname;

/** What it says in a process whose files may not get larger. */
function within(folder: string, limit: number, most: number): number {
  const script = `import { largestFile } from ${JSON.stringify(MODULE)}; console.log(largestFile(process.argv[1], ${most}))`;
  const words = [`--fsize=${limit}`, process.execPath, '--input-type=module', '-e', script, folder];
  return Number(execFileSync('prlimit', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
}

describe('largestFile()', () => {
  it('is the limit, to the byte, where there is a smaller one than was asked for', () => {
    using scratch = makeScratch('file-size');
    for (const limit of [1, 1000, 1_048_577]) assert.equal(within(scratch.path, limit, 2 ** 45), limit);
    assert.equal(within(scratch.path, 1000, 1000), 1000);
    assert.equal(within(scratch.path, 1000, 999), 999);
    assert.deepEqual(readdirSync(scratch.path), []);
  });

  it('is what was asked for where a file can be made and where not, and leaves nothing', () => {
    using scratch = makeScratch('file-size');
    assert.equal(largestFile(scratch.path, 2 ** 31), 2 ** 31);
    assert.deepEqual(readdirSync(scratch.path), []);
    assert.equal(largestFile(`${scratch.path}/not there`, 12), 12);
  });
});
