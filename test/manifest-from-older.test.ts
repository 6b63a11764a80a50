// A manifest that is made from an older one is, byte for byte, the one that is made from all of the tree, whatever has changed between
// the two snapshots. The other one is made in a store that has only this snapshot.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { manifestOf } from '../src/store/manifest.ts';
import { makeManifests } from '../src/store/manifest-writer.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { verify } from '../src/store/verify.ts';
import { snapshotName } from '../src/wire/text.ts';
import { IS_LONG, itLong, itShort } from './support/long.ts';
import { callTool } from './support/manifest.ts';
import { makeTortureTree, removeTree } from './support/tree.ts';

const { signal } = new AbortController();
const isRoot = process.geteuid?.() === 0;
const nameOf = (day: number): string => snapshotName(new Date(Date.UTC(2026, 0, day)));
const [FIRST, SECOND, THIRD] = [nameOf(1), nameOf(2), nameOf(3)];

interface Made {
  scratch: string;
  source: string;
  store: string;
  client: ClientStore;
}

function make(context: TestContext): Made {
  const scratch = mkdtempSync(join(tmpdir(), 'dialback older '));
  context.after(() => removeTree(scratch));
  const [store, source] = [`${scratch}/store`, `${scratch}/source`];
  createStore(store);
  mkdirSync(source);
  return { scratch, source, store, client: createClient(store, 'a') };
}

const treeOf = ({ client }: Made, name: string): string => `${client.folder}/snapshots/${name}/tree`;

/** Copies the source into a snapshot as a backup does, with links to the files of another one. */
function backUp(made: Made, name: string, basis?: string): void {
  const tree = treeOf(made, name);
  mkdirSync(tree, { recursive: true });
  const link = basis === undefined ? [] : [`--link-dest=${treeOf(made, basis)}`];
  const options = ['-aHAXS', '--numeric-ids', '--fake-super', '--modify-window=-1'];
  callTool('rsync', [...options, ...link, '--', `${made.source}/`, `${tree}/`]);
  writeFileSync(join(tree, '../snapshot.json'), '{}\n');
}

function textOf(client: ClientStore, name: string): string {
  return gunzipSync(readFileSync(manifestOf(client, name))).toString('latin1');
}

/** The manifest of a snapshot in a store without any other. */
async function textFromNothing({ scratch, client }: Made, name: string): Promise<string> {
  const store = mkdtempSync(`${scratch}/alone `);
  rmSync(store, { recursive: true });
  createStore(store);
  const alone = createClient(store, 'a');
  const folder = `${alone.folder}/snapshots/${name}`;
  callTool('cp', ['-a', '--', `${client.folder}/snapshots/${name}`, folder]);
  rmSync(manifestOf(alone, name), { force: true });
  assert.deepEqual((await makeManifests(alone, signal)).made, [name]);
  return textOf(alone, name);
}

/** Compares two manifests, and names the first line that differs. */
function assertSame(found: string, wanted: string): void {
  const [one, other] = [found.split('\n'), wanted.split('\n')];
  const at = one.findIndex((line, index) => line !== other[index]);
  assert.deepEqual([at, one[at], one.length], [-1, other[at], other.length]);
}

async function describeAll({ client }: Made): Promise<void> {
  assert.deepEqual([...(await makeManifests(client, signal)).failed], []);
}

/** Files for the changes, beside the torture tree. */
function plant(source: string): void {
  makeTortureTree(`${source}/torture`, { asRoot: isRoot });
  const names = [
    'content',
    'mode',
    'owner',
    'time',
    'acl',
    'attribute',
    'old name',
    'gone',
    'apart',
    'link',
    'kept',
  ];
  mkdirSync(`${source}/c/folder/inner`, { recursive: true });
  mkdirSync(`${source}/c/its mode`);
  for (const each of [...names, 'pair a', 'trio a', 'a folder', 'folder/inner/file'])
    writeFileSync(`${source}/c/${each}`, `${each}\n`);
  linkSync(`${source}/c/pair a`, `${source}/c/pair b`);
  for (const each of ['b', 'c']) linkSync(`${source}/c/trio a`, `${source}/c/trio ${each}`);
  if (isRoot) callTool('mknod', [`${source}/c/device`, 'c', '1', '3']);
  else callTool('mkfifo', [`${source}/c/device`]);
}

/** Changes of every kind. */
function change(source: string): void {
  const c = `${source}/c`;
  appendFileSync(`${c}/content`, 'more\n');
  chmodSync(`${c}/mode`, 0o4711);
  if (isRoot) chownSync(`${c}/owner`, 12345, 54321);
  utimesSync(`${c}/time`, 1_000_000_000.5, -1.5);
  spawnSync('setfacl', ['-m', 'u:12345:r', `${c}/acl`]);
  callTool('setfattr', ['-n', 'user.new', '-v', 'value', '--', `${c}/attribute`]);
  renameSync(`${c}/old name`, `${c}/new name`);
  linkSync(`${c}/pair a`, `${c}/pair c`);
  rmSync(`${c}/trio b`);
  rmSync(`${c}/gone`);
  rmSync(`${c}/a folder`);
  mkdirSync(`${c}/a folder`);
  writeFileSync(`${c}/a folder/new`, 'new\n');
  rmSync(`${c}/folder`, { recursive: true });
  writeFileSync(`${c}/folder`, 'a file now\n');
  rmSync(`${c}/link`);
  symlinkSync('kept', `${c}/link`);
  chmodSync(`${c}/its mode`, 0o1700);
  callTool('setfattr', ['-n', 'user.new', '-v', 'value', '--', `${c}/its mode`]);
  rmSync(`${c}/device`);
  if (isRoot) callTool('mknod', [`${c}/device`, 'b', '7', '250']);
  else callTool('mkfifo', ['-m', '600', `${c}/device`]);
}

/** Replaces a stored file by an equal one, as when the file before has as many names as the file system allows. */
function takeApart(path: string): void {
  callTool('cp', ['-a', '--', path, `${path}.copy`]);
  renameSync(`${path}.copy`, path);
}

describe('a manifest from an older one', () => {
  itShort('is the one from the tree, after changes of every kind', async context => {
    const made = make(context);
    plant(made.source);
    backUp(made, FIRST);
    await describeAll(made);
    change(made.source);
    backUp(made, SECOND, FIRST);
    const folder = `${treeOf(made, SECOND)}/c`;
    const { atime, mtime } = statSync(folder);
    takeApart(`${folder}/apart`);
    utimesSync(folder, atime, mtime);
    await describeAll(made);
    const text = textOf(made.client, SECOND);
    assertSame(text, await textFromNothing(made, SECOND));
    assert.notEqual(text, textOf(made.client, FIRST));
    assert.equal(statSync(`${folder}/kept`).ino, statSync(`${treeOf(made, FIRST)}/c/kept`).ino);
  });

  itLong('is a copy of the older one if nothing has changed', async context => {
    const made = make(context);
    plant(made.source);
    backUp(made, FIRST);
    await describeAll(made);
    backUp(made, SECOND, FIRST);
    await describeAll(made);
    const [older, newer] = [FIRST, SECOND].map(each => readFileSync(manifestOf(made.client, each)));
    assert.ok(older?.equals(newer ?? Buffer.alloc(0)));
    assertSame(textOf(made.client, SECOND), await textFromNothing(made, SECOND));
    assert.equal(statSync(manifestOf(made.client, SECOND)).mode & 0o777, 0o600);
  });

  itShort(
    'is the one from the tree if only the last entries, or only a folder, have changed',
    async context => {
      const made = make(context);
      for (let at = 0; at < 3000; at += 1) writeFileSync(`${made.source}/file ${at}`, '');
      mkdirSync(`${made.source}/folder`);
      backUp(made, FIRST);
      await describeAll(made);
      writeFileSync(`${made.source}/zz`, 'the last one\n');
      backUp(made, SECOND, FIRST);
      await describeAll(made);
      chmodSync(`${made.source}/folder`, 0o700);
      backUp(made, THIRD, SECOND);
      await describeAll(made);
      for (const each of [SECOND, THIRD])
        assertSame(textOf(made.client, each), await textFromNothing(made, each));
    },
  );

  itLong(
    'is the one from the tree when several snapshots have none, the index is lost, or an older one is damaged',
    async context => {
      const made = make(context);
      plant(made.source);
      backUp(made, FIRST);
      backUp(made, SECOND, FIRST);
      change(made.source);
      backUp(made, THIRD, SECOND);
      await describeAll(made);
      const texts = new Map<string, string>();
      for (const each of [SECOND, THIRD]) texts.set(each, await textFromNothing(made, each));
      const check = (): void => {
        for (const [name, text] of texts) assertSame(textOf(made.client, name), text);
      };
      check();
      rmSync(`${made.client.folder}/index.sqlite`);
      rmSync(manifestOf(made.client, THIRD));
      await describeAll(made);
      check();
      const path = manifestOf(made.client, FIRST);
      const bytes = readFileSync(path);
      bytes[1000] = (bytes[1000] ?? 0) ^ 1;
      writeFileSync(path, bytes);
      for (const each of [SECOND, THIRD]) rmSync(manifestOf(made.client, each));
      await describeAll(made);
      check();
    },
  );

  itShort('has no line of an entry that could not be read before', async context => {
    const made = make(context);
    writeFileSync(`${made.source}/a`, 'one\n');
    backUp(made, FIRST);
    symlinkSync('/etc/passwd', `${treeOf(made, FIRST)}/z`);
    await describeAll(made);
    backUp(made, SECOND, FIRST);
    linkSync(`${treeOf(made, FIRST)}/z`, `${treeOf(made, SECOND)}/z`);
    await describeAll(made);
    assert.match(textOf(made.client, SECOND), /^\.\/z .* tags=unread$/m);
    const journal = readFileSync(`${made.client.folder}/journal.jsonl`, 'utf8');
    assert.equal(journal.split('"event":"unread"').length - 1, 2);
  });

  it('is the one from the tree after any sequence of changes', async context => {
    const made = make(context);
    const path = fc.constantFrom('a', 'a.b', 'a/b', 'a/b/c', 'b', 'b c', '\u00e9', '\\a');
    const step = fc.record({
      path,
      what: fc.constantFrom('put', 'remove', 'link', 'touch'),
      size: fc.nat(3),
    });
    let day = 1;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
        for (const { path, what, size } of steps) apply(`${made.source}/${path}`, what, size);
        const before = day === 1 ? undefined : nameOf(day - 1);
        backUp(made, nameOf(day), before);
        await describeAll(made);
        assertSame(textOf(made.client, nameOf(day)), await textFromNothing(made, nameOf(day)));
        day += 1;
      }),
      { numRuns: IS_LONG ? 12 : 4, endOnFailure: true },
    );
  });
});

/** Changes a path of a small tree; it may take the place of other ones. */
function apply(path: string, what: string, size: number): void {
  if (what === 'touch') {
    spawnSync('touch', ['-c', '-h', '-d', `@${1_000_000_000 + size}`, path]);
    return;
  }
  rmSync(path, { recursive: true, force: true });
  if (what === 'remove') return;
  for (let above = dirname(path); !above.endsWith('/source'); above = dirname(above))
    if (statSync(above, { throwIfNoEntry: false })?.isFile()) rmSync(above);
  mkdirSync(dirname(path), { recursive: true });
  const other = join(path.slice(0, path.indexOf('/source') + '/source'.length), 'b');
  if (what === 'link' && path !== other && statSync(other, { throwIfNoEntry: false })?.isFile())
    linkSync(other, path);
  else writeFileSync(path, 'x'.repeat(size));
}

describe('verify', () => {
  itShort(
    'finds damage of a linked file that came before the manifest of the newer snapshot',
    async context => {
      const made = make(context);
      for (const each of ['content', 'attributes', 'time', 'size', 'well'])
        writeFileSync(`${made.source}/${each}`, 'text');
      backUp(made, FIRST);
      await describeAll(made);
      backUp(made, SECOND, FIRST);
      const tree = treeOf(made, SECOND);
      const restoringTime = (path: string, action: () => void): void => {
        callTool('touch', ['--reference', path, `${made.scratch}/times`]);
        action();
        callTool('touch', ['--reference', `${made.scratch}/times`, path]);
      };
      restoringTime(`${tree}/content`, () => writeFileSync(`${tree}/content`, 'txet'));
      callTool('setfattr', ['-n', 'user.rsync.%stat', '-v', '100777 0,0 1:1', '--', `${tree}/attributes`]);
      utimesSync(`${tree}/time`, 1, 1);
      restoringTime(`${tree}/size`, () => appendFileSync(`${tree}/size`, 'x'));
      await describeAll(made);
      const [result] = await verify(
        { store: made.store, client: 'a', snapshot: undefined, sample: 100 },
        signal,
      );
      const both = [FIRST, SECOND];
      assert.deepEqual(
        result?.damaged.map(({ path, differences, snapshots }) => [path, [...differences].sort(), snapshots]),
        [
          ['attributes', ['attributes'], both],
          ['content', ['content'], both],
          ['size', ['content', 'size'], both],
          ['time', ['time'], both],
        ],
      );
    },
  );
});
