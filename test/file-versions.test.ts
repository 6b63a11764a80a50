import assert from 'node:assert/strict';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { readVersion, versionsOfPath } from '../src/store/file-versions.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';

const { signal } = new AbortController();
const NAMES = [1, 2, 3, 4, 5].map(day => `2026-11-0${day}T00-00-00Z`);

describe('versionsOfPath()', () => {
  it('joins the snapshots in a row that share a file, the newest first', async context => {
    const client = makeClient(context);
    const [one, two, three, four, five] = NAMES.map(name => {
      addSnapshot(client, name);
      return `${client.folder}/snapshots/${name}/tree`;
    });
    mkdirSync(`${one}/d`);
    mkdirSync(`${two}/d`);
    writeFileSync(`${one}/a`, 'old');
    linkSync(`${one}/a`, `${two}/a`);
    linkSync(`${one}/a`, `${four}/a`); // it came back
    writeFileSync(`${five}/a`, 'newer');
    assert.ok(three);
    const versions = versionsOfPath(client, Buffer.from('a'), signal);
    assert.deepEqual(
      versions.map(({ snapshots, stored }) => [snapshots, stored.size]),
      [
        [[NAMES[4]], 5],
        [[NAMES[3]], 3],
        [[NAMES[0], NAMES[1]], 3],
      ],
    );
    const [newest] = versions;
    assert.equal(newest && (await readVersion(client, newest, signal))?.size, 5);
  });

  it('has one version of a folder for snapshots in a row, and another one for a file in its place', context => {
    const client = makeClient(context);
    for (const [at, name] of NAMES.entries()) {
      addSnapshot(client, name);
      const path = `${client.folder}/snapshots/${name}/tree/x`;
      if (at < 3) mkdirSync(path);
      else if (at === 3) writeFileSync(path, '');
    }
    const found = versionsOfPath(client, Buffer.from('x'), signal);
    assert.deepEqual(
      found.map(({ snapshots, stored }) => [snapshots.length, stored.isFolder]),
      [
        [1, false],
        [3, true],
      ],
    );
    assert.deepEqual(versionsOfPath(client, Buffer.from('y'), signal), []);
  });
});
