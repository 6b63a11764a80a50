// Unit: which files are taken for temporary ones of a killed rsync (src/store/restore-temporary.ts).
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { Selection } from '../src/store/restore-selection.ts';
import { removeTemporary } from '../src/store/restore-temporary.ts';
import { readSnapshot } from '../src/store/snapshot.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';
import { scratch } from './support/scratch.ts';

const NAME = '2026-11-30T00-00-00Z';
const LONG = 'x'.repeat(255);

describe('removeTemporary()', () => {
  const make = (
    context: Parameters<typeof scratch>[0],
    paths: string[] = [],
  ): { selection: Selection; to: string } => {
    const client = makeClient(context);
    addSnapshot(client, NAME);
    const snapshot = readSnapshot(client, NAME);
    for (const folder of ['a', 'a/b', 'link']) mkdirSync(`${snapshot.tree}/${folder}`);
    for (const file of [
      'top',
      'a/file',
      'a/.dot',
      'a/b/file',
      'link/file',
      'a/.own.abcdef',
      'a/own',
      `a/${LONG}`,
    ])
      writeFileSync(`${snapshot.tree}/${file}`, '');
    const to = `${scratch(context)}/to`;
    for (const folder of ['', '/a', '/a/b']) mkdirSync(`${to}${folder}`);
    const selection = {
      client,
      snapshot,
      newer: [],
      paths: paths.map(each => Buffer.from(each)),
      isWholeMachine: false,
    };
    return { selection, to };
  };
  const remove = async (selection: Selection, to: string, sinceNs = 0n): Promise<void> =>
    await removeTemporary(selection, to, sinceNs, new AbortController().signal);

  it('removes what rsync calls its files, and nothing else', async context => {
    const { selection, to } = make(context);
    const temporary = [
      '.top.AbC123',
      'a/.file.000000',
      'a/.dot.zzzzzz',
      'a/b/.file.abcdef',
      `a/.${'x'.repeat(247)}.abcdef`,
    ];
    const others = [
      'a/.other.abcdef',
      'a/.file.abcde',
      'a/.file.abc-ef',
      'a/file.abcdef',
      'a/.own.abcdef',
      'a/.abcdef',
      'a/.b.abcdef',
    ];
    for (const each of [...temporary, ...others.slice(0, -1)]) writeFileSync(`${to}/${each}`, '');
    mkdirSync(`${to}/a/.b.abcdef`);
    await remove(selection, to);
    const left = readdirSync(to, { recursive: true }).map(String).sort();
    assert.deepEqual(left, ['a', 'a/b', ...others].sort());
  });

  it('keeps files that are older than the restore', async context => {
    const { selection, to } = make(context);
    writeFileSync(`${to}/a/.file.000000`, '');
    const { ctimeNs } = lstatSync(`${to}/a/.file.000000`, { bigint: true });
    await remove(selection, to, ctimeNs + 1n);
    assert.deepEqual(readdirSync(`${to}/a`), ['.file.000000', 'b']);
    await remove(selection, to, ctimeNs);
    assert.deepEqual(readdirSync(`${to}/a`), ['b']);
  });

  it('keeps files beside others than the selected ones', async context => {
    const { selection, to } = make(context, ['a/b', 'top']);
    for (const each of ['.top.AbC123', 'a/.file.000000', 'a/b/.file.abcdef'])
      writeFileSync(`${to}/${each}`, '');
    await remove(selection, to);
    assert.deepEqual(readdirSync(to, { recursive: true }).map(String).sort(), ['a', 'a/.file.000000', 'a/b']);
  });

  it('does not follow a symlink in the place of a folder', async context => {
    const { selection, to } = make(context);
    mkdirSync(`${to}/elsewhere`);
    writeFileSync(`${to}/elsewhere/.file.abcdef`, '');
    symlinkSync('elsewhere', `${to}/link`);
    await remove(selection, to);
    assert.deepEqual(readdirSync(`${to}/elsewhere`), ['.file.abcdef']);
  });
});
