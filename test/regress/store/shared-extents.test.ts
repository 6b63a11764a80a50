// Goal: on XFS and Btrfs a file whose attributes the client has changed shares its blocks with the older file. Contents, attributes
// and times of both stay as they are, and each file of the client stays a file of its own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { Arrival } from '../../../src/store/arrival.ts';
import { openIndex } from '../../../src/store/file-index.ts';
import { makeManifests } from '../../../src/store/manifest-writer.ts';
import { linkMoved } from '../../../src/store/moved-files.ts';
import { type ClientStore, createClient, createStore } from '../../../src/store/store.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { addSnapshot } from '../../support/client-store.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const MIB = 1024 * 1024;
const SIZE = 8 * MIB;
const { signal } = new AbortController();

function suite(type: 'xfs' | 'btrfs'): void {
  describe(`files with equal content on ${type}`, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
    let base: string;
    let client: ClientStore;
    let old: string;
    const content = randomBytes(SIZE);
    const usedBytes = (): number => {
      execFileSync('sync', ['--file-system', `${base}/disk`]);
      return Number(
        execFileSync('df', ['--output=used', '-B1', `${base}/disk`])
          .toString()
          .split('\n')[1],
      );
    };

    before(async () => {
      base = mkdtempSync(`${tmpdir()}/dialback extents `);
      execFileSync('truncate', ['-s', '400M', `${base}/image`]);
      execFileSync(`mkfs.${type}`, ['-q', `${base}/image`], { stdio: 'pipe' });
      mkdirSync(`${base}/disk`);
      execFileSync('mount', ['-o', 'loop', `${base}/image`, `${base}/disk`]);
      createStore(`${base}/disk/store`);
      client = createClient(`${base}/disk/store`, 'a');
      addSnapshot(client, '2020-01-01T00-00-00Z');
      old = `${client.folder}/snapshots/2020-01-01T00-00-00Z/tree`;
      writeFileSync(`${old}/file`, content);
      writeFileSync(`${old}/stays`, randomBytes(MIB));
      execFileSync('touch', ['-d', '2001-01-01 00:00:00.123456789', `${old}/file`]);
      await makeManifests(client, signal);
      await using held = new AsyncDisposableStack();
      await openIndex(held, client);
    });
    after(() => {
      execFileSync('umount', [`${base}/disk`]);
      rmSync(base, { recursive: true });
    });

    it('share their blocks, and nothing else of them changes', async () => {
      const name = '2020-01-02T00-00-00Z';
      const folder = `${client.folder}/arriving/${name}`;
      const tree = `${folder}/tree`;
      mkdirSync(tree, { recursive: true });
      for (const each of ['file', 'a\ncopy']) {
        writeFileSync(`${tree}/${each}`, content, { mode: 0o600 });
        execFileSync('touch', ['-d', '2002-02-02 00:00:00.000000001', `${tree}/${each}`]);
      }
      // The same size, and another content.
      writeFileSync(`${tree}/other`, randomBytes(SIZE));
      linkSync(`${old}/stays`, `${tree}/stays`);
      const all = [`${old}/file`, ...readdirSync(tree).map(each => `${tree}/${each}`)];
      const states = () =>
        all.map(each => {
          const { ino, size, mode, uid, mtimeNs } = statSync(each, { bigint: true });
          return { ino, size, mode, uid, mtimeNs, content: readFileSync(each).toString('latin1').length };
        });
      const before = states();
      const used = usedBytes();
      const arrival = { name, folder, tree, leftOver: [] } as unknown as Arrival;
      const moved = await linkMoved(client, arrival, signal);
      assert.deepEqual(moved, { files: 0, bytes: 0, shared: { files: 2, bytes: 2 * SIZE } });
      assert.ok(used - usedBytes() > 1.8 * SIZE, `${used} bytes before, and ${usedBytes()}`);
      assert.deepEqual(states(), before);
      for (const each of ['file', 'a\ncopy']) assert.ok(readFileSync(`${tree}/${each}`).equals(content));
      assert.ok(readFileSync(`${old}/file`).equals(content));
      assert.deepEqual(readdirSync(`${folder}/work`), []);
      // A later write into one of them does not change the others.
      writeFileSync(`${tree}/file`, 'changed', { flag: 'r+' });
      assert.ok(readFileSync(`${old}/file`).equals(content));
    });
  });
}

suite('xfs');
suite('btrfs');
