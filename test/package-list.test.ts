import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { isPackageList, readStamp, requireOwnList, writeList } from '../src/client/package-list.ts';
import { fault, scratch } from './support/scratch.ts';
import { says } from './support/wording.ts';

const PATTERNS = [{ pattern: '/usr/bin/x' }, { pattern: '/usr/share/doc/*' }];
const OF = { system: '/', manager: 'dpkg', database: '/var/lib/dpkg/status' } as const;
const rebuild = (names: string[]) => new Map(names.map(each => [each, Buffer.from(each)]));

describe('writeList()', () => {
  it('writes the list and its folder, replaces them, and leaves what is the same', context => {
    const list = `${scratch(context)}/a list`;
    writeList(list, PATTERNS, rebuild(['versions', 'files/etc/apt/old']), OF);
    const lines = readFileSync(list, 'utf8').split('\n');
    assert.ok(isPackageList(lines[0] ?? ''));
    assert.deepEqual(
      lines.filter(each => each.startsWith('/')),
      ['/usr/bin/x', '/usr/share/doc/*'],
    );
    assert.ok(Math.abs((readStamp(list)?.writtenMs ?? 0) - Date.now()) < 60_000);
    assert.equal(statSync(list).mode & 0o777, 0o600);
    for (const path of [list, `${list}.rebuild/versions`, `${list}.rebuild/written`]) utimesSync(path, 1, 1);
    writeList(list, PATTERNS, rebuild(['versions', 'files/etc/apt/new']), OF);
    assert.deepEqual([statSync(list).mtimeMs, statSync(`${list}.rebuild/versions`).mtimeMs], [1000, 1000]);
    assert.ok((readStamp(list)?.writtenMs ?? 0) > 1000);
    assert.ok(!existsSync(`${list}.rebuild/files/etc/apt/old`));
    assert.equal(readFileSync(`${list}.rebuild/files/etc/apt/new`, 'utf8'), 'files/etc/apt/new');
    writeList(list, PATTERNS.slice(1), rebuild([]), OF);
    assert.ok(!readFileSync(list, 'utf8').includes('/usr/bin/x'));
  });
});

describe('requireOwnList() refuses', () => {
  const refused: [what: string, prepare: (folder: string) => string, found: RegExp][] = [
    [
      'a file of another kind',
      folder => {
        writeFileSync(`${folder}/f`, '*.o\n');
        return `${folder}/f`;
      },
      says('dialback-packages-has-not'),
    ],
    [
      'an empty file',
      folder => {
        writeFileSync(`${folder}/f`, '');
        return `${folder}/f`;
      },
      says('dialback-packages-has-not'),
    ],
    [
      'a link to a list',
      folder => {
        writeList(`${folder}/real`, [], new Map(), OF);
        symlinkSync('real', `${folder}/f`);
        return `${folder}/f`;
      },
      says('dialback-packages-has-not'),
    ],
    [
      'a folder',
      folder => {
        mkdirSync(`${folder}/f`);
        return `${folder}/f`;
      },
      says('dialback-packages-has-not'),
    ],
    [
      'a folder beside the list',
      folder => {
        mkdirSync(`${folder}/f.rebuild`);
        return `${folder}/f`;
      },
      /f\.rebuild" is there/,
    ],
    ['a folder that does not exist', folder => `${folder}/no/f`, /no folder/],
    [
      'an open folder',
      folder => {
        chmodSync(folder, 0o777);
        return `${folder}/f`;
      },
      /written by others/,
    ],
  ];
  for (const [what, prepare, found] of refused)
    it(what, context => {
      const list = prepare(scratch(context));
      const { exit, found: says } = fault(() => requireOwnList(list));
      assert.equal(exit, 'usage');
      assert.match(says, found);
    });
});
