import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { createClient, createStore } from '../../src/store/store.ts';
import { printedOfStore, refusalOf } from '../support/command-line.ts';
import { mkfifo, scratch } from '../support/scratch.ts';
import { wording } from '../support/wording.ts';

/** A folder with a store that has the clients `a` and `b`. */
function prepare(context: TestContext): { folder: string; store: string } {
  const folder = scratch(context);
  const store = `${folder}/store`;
  createStore(store);
  for (const name of ['a', 'b']) createClient(store, name);
  return { folder, store };
}

const modeOf = (path: string): number => statSync(path).mode & 0o7777;

describe('dialback report', () => {
  it('writes one file with all clients, for its owner only', async context => {
    const { folder, store } = prepare(context);
    const file = `${folder}/report.html`;
    assert.equal(await printedOfStore(store, 'report', '-o', file), '');
    assert.equal(modeOf(file), 0o600);
    const html = readFileSync(file, 'utf8');
    assert.match(html, /^<!doctype html>[\s\S]*<\/html>\n$/);
    for (const name of ['a', 'b']) assert.ok(html.includes(`<a href="#client-${name}">`));
  });

  it('replaces a file as a whole, and keeps its mode', async context => {
    const { folder, store } = prepare(context);
    mkdirSync(`${folder}/www`);
    const file = `${folder}/www/index.html`;
    writeFileSync(file, 'old');
    chmodSync(file, 0o644);
    const { ino } = statSync(file);
    await printedOfStore(store, 'report', '-o', file);
    assert.notEqual(statSync(file).ino, ino, 'another file, by a rename');
    assert.equal(modeOf(file), 0o644);
    assert.deepEqual(readdirSync(`${folder}/www`), ['index.html']);
  });

  it('writes to standard output for "-"', async context => {
    const { store } = prepare(context);
    assert.match(await printedOfStore(store, 'report', '-o', '-'), /^<!doctype html>/);
  });

  it('refuses to replace anything but a plain file', async context => {
    const { folder, store } = prepare(context);
    mkdirSync(`${folder}/folder`);
    mkfifo(`${folder}/fifo`);
    writeFileSync(`${folder}/target`, 'kept');
    symlinkSync('target', `${folder}/link`);
    for (const name of ['folder', 'fifo', 'link', '/dev/null'])
      await assert.rejects(
        printedOfStore(store, 'report', '-o', name.startsWith('/') ? name : `${folder}/${name}`),
        {
          exit: 'usage',
          found: wording('it-is-not-a-plain'),
        },
      );
    assert.equal(readFileSync(`${folder}/target`, 'utf8'), 'kept');
  });

  it('fails for a folder that does not exist', async context => {
    const { folder, store } = prepare(context);
    await assert.rejects(printedOfStore(store, 'report', '-o', `${folder}/none/report.html`), {
      exit: 'failed',
    });
  });

  it('refuses a command line without a file, and with anything else', () => {
    for (const words of [
      ['report'],
      ['report', '-o'],
      ['report', '-o', ''],
      ['report', '-o', 'a', 'b'],
      ['report', '-o', 'a', '-o', 'b'],
      ['report', '--json', '-o', 'a'],
    ])
      refusalOf(words);
  });
});
