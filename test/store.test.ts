import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { createStore, listClients, lockClient, openClient, openStore } from '../src/store/store.ts';

import { makeClient } from './support/client-store.ts';
import { fault, scratch } from './support/scratch.ts';
import { says } from './support/wording.ts';

describe('createStore() and openStore()', () => {
  it('make a private store once, and open it', t => {
    const store = `${scratch(t)}/deep/store`;
    assert.equal(createStore(store), true);
    assert.equal(createStore(store), false);
    assert.equal(statSync(store).mode & 0o777, 0o700);
    assert.deepEqual(JSON.parse(readFileSync(`${store}/store.json`, 'utf8')), { version: 1 });
    openStore(store);
  });

  it('take an empty folder with lost+found, and refuse one with anything else or open to others', t => {
    const top = scratch(t);
    mkdirSync(`${top}/disk/lost+found`, { recursive: true });
    chmodSync(`${top}/disk`, 0o700);
    assert.equal(createStore(`${top}/disk`), true);
    mkdirSync(`${top}/full`, 0o700);
    writeFileSync(`${top}/full/.x`, '');
    assert.match(fault(() => createStore(`${top}/full`)).found, says('not-empty-and-is-not'));
    mkdirSync(`${top}/open`);
    chmodSync(`${top}/open`, 0o755);
    assert.match(fault(() => createStore(`${top}/open`)).found, says('not-private-to-this-account'));
    assert.deepEqual(readdirSync(`${top}/open`), []);
    writeFileSync(`${top}/file`, '');
    fault(() => createStore(`${top}/file`));
  });

  it('refuse a folder without store.json, and never make one of an unmounted disk', t => {
    const top = scratch(t);
    for (const path of [top, `${top}/none`]) {
      const { exit, code } = fault(() => openStore(path));
      assert.deepEqual([exit, code], ['noStore', 'no-store']);
    }
    assert.deepEqual(readdirSync(top), []);
  });

  for (const text of [
    '',
    '{',
    '[]',
    '{}',
    '{"version":0}',
    '{"version":2}',
    '{"version":"1"}',
    'null',
    'x'.repeat(5000),
  ])
    it(`refuse a store.json that is ${JSON.stringify(text).slice(0, 30)}`, t => {
      const top = scratch(t);
      writeFileSync(`${top}/store.json`, text);
      assert.equal(fault(() => openStore(top)).exit, 'noStore');
    });
});

describe('openClient()', () => {
  it('refuses a name that is none, or none of the store', t => {
    const { folder } = makeClient(t);
    const store = folder.replace('/clients/a', '');
    assert.equal(openClient(store, 'a').folder, folder);
    for (const name of ['', '.', '..', '../a', 'a/', 'a/snapshots', 'A', 'b', '-a', 'a\n'])
      assert.match(fault(() => openClient(store, name)).found, says('no-client-of-that-name'), name);
    mkdirSync(`${store}/clients/.hidden`);
    assert.deepEqual(listClients(store), ['a']);
  });
});

describe('lockClient()', () => {
  it('lets one run at a time have a client, and says which', async t => {
    const client = makeClient(t);
    await using held = new AsyncDisposableStack();
    await lockClient(held, client);
    await assert.rejects(
      lockClient(held, client),
      error =>
        error instanceof Fault &&
        error.exit === 'locked' &&
        error.code === 'busy' &&
        /"a"/.test(error.message),
    );
  });
});
