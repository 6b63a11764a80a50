import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { after, describe, it } from 'node:test';
import {
  BY_HAND,
  BY_ITSELF,
  findSnapshot,
  pin,
  pinSnapshot,
  readSnapshot,
  type Snapshot,
  unpinSnapshot,
} from '../src/store/snapshot.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';
import { printedOfStore } from './support/command-line.ts';
import { fault } from './support/scratch.ts';
import { matching, says, wording } from './support/wording.ts';

describe('findSnapshot()', () => {
  it('takes a name, a prefix that only one has, and `latest` for the newest full one', t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z');
    addSnapshot(client, '2026-02-01T00-00-00Z', 'incomplete');
    mkdirSync(`${client.folder}/snapshots/2026-02-30T00-00-00Z`);
    mkdirSync(`${client.folder}/snapshots/2025-not-a-snapshot`);
    for (const [wanted, name] of [
      ['2026-01-01T00-00-00Z', '2026-01-01T00-00-00Z'],
      ['2026-01-02', '2026-01-02T00-00-00Z'],
      ['2026-02', '2026-02-01T00-00-00Z'],
      ['latest', '2026-01-02T00-00-00Z'],
    ] as const)
      assert.equal(findSnapshot(client, wanted).name, name);
    for (const [wanted, found] of [
      ['', matching`^${says('there-is-no-such-snapshot')}$`],
      ['2025', matching`^${says('there-is-no-such-snapshot')}$`],
      ['2026-02-30T00-00-00Z', matching`^${says('there-is-no-such-snapshot')}$`],
      ['Latest', matching`^${says('there-is-no-such-snapshot')}$`],
      ['2026-01-01T00-00-00Z ', matching`^${says('there-is-no-such-snapshot')}$`],
      ['../a', matching`^${says('there-is-no-such-snapshot')}$`],
      ['*', matching`^${says('there-is-no-such-snapshot')}$`],
      ['2026', matching`^3 ${says('snapshots-begin-with-that')}$`],
      ['2026-01', matching`^2 ${says('snapshots-begin-with-that')}$`],
    ] as const)
      assert.match(fault(() => findSnapshot(client, wanted)).found, found, wanted);
  });

  it('passes over a snapshot from the future for `latest`', t => {
    const client = makeClient(t);
    addSnapshot(client, '2999-01-01T00-00-00Z');
    assert.match(fault(() => findSnapshot(client, 'latest')).found, /from the future/);
    assert.equal(findSnapshot(client, '2999').name, '2999-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z');
    assert.equal(findSnapshot(client, 'latest').name, '2026-01-02T00-00-00Z');
  });

  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{}',
    '{"version":2,"counts":{},"scope":{},"flags":[]}',
    '{"version":1,"state":"full"}',
  ])
    it(`finds a snapshot whose record is ${JSON.stringify(text)}, but takes it for no full one`, t => {
      const client = makeClient(t);
      addSnapshot(client, '2026-01-01T00-00-00Z');
      writeFileSync(`${client.folder}/snapshots/2026-01-01T00-00-00Z/snapshot.json`, text);
      const { state, flags } = findSnapshot(client, '2026').record;
      assert.deepEqual([state, flags], ['incomplete', ['damaged']]);
      assert.match(fault(() => findSnapshot(client, 'latest')).found, says('none-of-its-snapshots-is'));
    });

  it('tells no snapshot from no full one, when `latest` is wanted', t => {
    const client = makeClient(t);
    assert.equal(fault(() => findSnapshot(client, 'latest')).found, wording('there-is-no-snapshot-yet'));
    addSnapshot(client, '2026-01-01T00-00-00Z', 'incomplete');
    assert.equal(fault(() => findSnapshot(client, 'latest')).found, wording('none-of-its-snapshots-is-full'));
  });
});

describe('pinSnapshot()', () => {
  it('is seen by whoever reads the snapshot, until unpinSnapshot()', t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    const read = (): string | undefined => readSnapshot(client, '2026-01-01T00-00-00Z').pinned;
    assert.equal(read(), undefined);
    pinSnapshot(client, readSnapshot(client, '2026-01-01T00-00-00Z'), 'before the move');
    assert.equal(read(), 'before the move');
    writeFileSync(`${client.folder}/snapshots/2026-01-01T00-00-00Z/pinned`, 'x'.repeat(5000));
    assert.match(read() ?? '', /cannot be read/);
    unpinSnapshot(client, readSnapshot(client, '2026-01-01T00-00-00Z'));
    assert.equal(read(), undefined);
  });
});

const FOLDER = mkdtempSync(`${tmpdir()}/dialback pins `);
after(() => rmSync(FOLDER, { recursive: true }));
const TREE = `${FOLDER}/snapshots/2026-01-01T00-00-00Z`;
mkdirSync(TREE, { recursive: true });

/** Pins a snapshot that has been pinned before, or not. */
function repin(before: string | undefined, given: string): ReturnType<typeof pin> {
  const snapshot = { name: '2026-01-01T00-00-00Z', folder: TREE, pinned: before } as Snapshot;
  return pin({ name: 'a', folder: FOLDER }, snapshot, given);
}

describe('pin()', () => {
  const cases: [before: string | undefined, given: string, did: string, reason: string][] = [
    [undefined, 'the move', 'pinned', 'the move'],
    [undefined, BY_HAND, 'pinned', BY_HAND],
    ['the move', 'the audit', 'replaced', 'the audit'],
    ['the move', 'the move', 'kept', 'the move'],
    ['the move', BY_HAND, 'kept', 'the move'],
    [BY_HAND, BY_HAND, 'kept', BY_HAND],
    [BY_HAND, 'the move', 'replaced', 'the move'],
    // One that expires becomes one that stays.
    [`${BY_ITSELF} unusual`, BY_HAND, 'replaced', BY_HAND],
    [`${BY_ITSELF} unusual`, 'the move', 'replaced', 'the move'],
  ];
  for (const [before, given, did, reason] of cases)
    it(`has ${did} "${before}", where "${given}" is given`, () =>
      assert.deepEqual(repin(before, given), { did, reason, before }));
});

describe('dialback pin and dialback unpin', () => {
  it('show the reason that stays, and the one that goes', async t => {
    const client = makeClient(t);
    const name = '2026-01-01T00-00-00Z';
    addSnapshot(client, name);
    const store = dirname(dirname(client.folder));
    const pinned = (...more: string[]): Promise<string> => printedOfStore(store, 'pin', `a@${name}`, ...more);
    const unpinned = (): Promise<string> => printedOfStore(store, 'unpin', `a@${name}`);
    assert.equal(await pinned('--reason', 'the move'), `pinned "a@${name}": the move\n`);
    assert.equal(await pinned(), `"a@${name}" ${wording('is-pinned-already', 'the move')}\n`);
    assert.match(await pinned('--reason', 'the audit'), /was pinned already: the move\n.*now: the audit\n/);
    assert.equal(await unpinned(), `${wording('unpinned-which-was-pinned', `a@${name}`)}: the audit\n`);
    assert.equal(await unpinned(), `"a@${name}" is not pinned\n`);
  });
});
