import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { breachOf, findBreachOnTheWay, writableByOthers } from '../src/os/trust.ts';
import { scratch } from './support/scratch.ts';
import { matching, says, wording } from './support/wording.ts';

const uid = process.getuid?.() ?? 0;
const withoutRoot = uid === 0 ? false : 'needs root to own files as another user';

describe('writableByOthers()', () => {
  it('names the first path, upwards, that others can write', t => {
    const top = scratch(t);
    mkdirSync(`${top}/a/b`, { recursive: true });
    writeFileSync(`${top}/a/b/file`, '');
    const file = `${top}/a/b/file`;
    const with_ = (path: string, mode: number, expected: RegExp | undefined): void => {
      const before = statSync(path).mode;
      chmodSync(path, mode);
      const found = writableByOthers(file, uid);
      if (expected) assert.match(found ?? 'nothing', expected);
      else assert.equal(found, undefined);
      chmodSync(path, before);
    };
    assert.equal(writableByOthers(file, uid), undefined);
    for (const mode of [0o602, 0o620, 0o622, 0o666, 0o1622])
      with_(
        file,
        mode,
        new RegExp(`file" ${wording('can-be-written-by-others')} \\(mode ${mode.toString(8)}\\)`),
      );
    for (const mode of [0o777, 0o775, 0o757])
      with_(`${top}/a`, mode, matching`\/a" ${says('can-be-written-by-others')}`);
    with_(`${top}/a`, 0o1777, undefined); // as /tmp
    with_(`${top}/a`, 0o755, undefined);
    with_(file, 0o444, undefined);
  });

  it('looks at the folder itself even when it is sticky', t => {
    const top = scratch(t);
    chmodSync(top, 0o1777);
    assert.match(writableByOthers(top, uid) ?? '', says('can-be-written-by-others'));
  });

  it('follows links to where the file really is', t => {
    const top = scratch(t);
    mkdirSync(`${top}/open`);
    writeFileSync(`${top}/open/file`, '');
    chmodSync(`${top}/open`, 0o777);
    symlinkSync(`${top}/open/file`, `${top}/link`);
    assert.match(writableByOthers(`${top}/link`, uid) ?? '', /open" can be written/);
  });

  it('names a path that belongs to another user', { skip: withoutRoot }, t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, '');
    chownSync(top, 12_345, 12_345);
    assert.equal(writableByOthers(`${top}/file`, 0), `"${top}" belongs to uid 12345`);
    assert.equal(writableByOthers(`${top}/file`, 12_345), undefined);
  });
});

describe('breachOf()', () => {
  const FOLDER = 0o040_000;
  const FILE = 0o100_000;
  const LINK = 0o120_000;
  const ask = (owner: number, uid: number, mode: number, isOnTheWay: boolean): boolean =>
    breachOf('/x', { uid, gid: 50, mode }, owner, isOnTheWay) !== undefined;

  it('refuses what belongs to neither the owner nor root, whatever it is', () => {
    for (const type of [FOLDER, FILE, LINK])
      for (const isOnTheWay of [true, false])
        for (const [owner, uid] of [
          [0, 1000],
          [1000, 1001],
          [1000, 65_534],
        ] as const)
          assert.ok(ask(owner, uid, type | 0o700, isOnTheWay));
  });

  it('refuses what its group or others can write', () => {
    for (const type of [FOLDER, FILE])
      for (const mode of [0o720, 0o702, 0o722, 0o777, 0o2775])
        for (const isOnTheWay of [true, false])
          assert.ok(ask(0, 0, type | mode, isOnTheWay), mode.toString(8));
  });

  it('takes a sticky folder on the way, and nowhere else', () => {
    assert.ok(!ask(0, 0, FOLDER | 0o1777, true));
    assert.ok(!ask(1000, 0, FOLDER | 0o1777, true));
    assert.ok(ask(0, 0, FOLDER | 0o1777, false));
    assert.ok(ask(0, 0, FILE | 0o1777, true));
    assert.ok(ask(0, 1000, FOLDER | 0o1777, true));
  });

  it('takes what only the owner and root can change', () => {
    for (const [owner, uid] of [
      [0, 0],
      [1000, 0],
      [1000, 1000],
    ] as const)
      for (const isOnTheWay of [true, false]) {
        assert.ok(!ask(owner, uid, FOLDER | 0o755, isOnTheWay));
        assert.ok(!ask(owner, uid, FILE | 0o4755, isOnTheWay));
        assert.ok(!ask(owner, uid, LINK | 0o777, isOnTheWay)); // every link has this mode
      }
  });
});

describe('breachOf() with a private group', () => {
  it('lets that group write, and no other', () => {
    const ask = (gid: number, mode: number): boolean =>
      breachOf('/x', { uid: 1000, gid, mode: 0o040_000 | mode }, 1000, false, 1000) !== undefined;
    assert.ok(!ask(1000, 0o775));
    assert.ok(ask(1001, 0o775));
    assert.ok(ask(1000, 0o777));
    assert.ok(ask(1000, 0o757));
  });
});

describe('findBreachOnTheWay()', () => {
  it('looks at every folder and link that the path goes by', { skip: withoutRoot }, t => {
    const top = scratch(t);
    const theirs = `${top}/theirs`;
    for (const path of [`${top}/own/deep`, `${theirs}/inside`]) mkdirSync(path, { recursive: true });
    symlinkSync('../theirs/inside', `${top}/own/there`);
    symlinkSync(`${top}/own/deep`, `${theirs}/back`);
    symlinkSync('own', `${top}/link`);
    symlinkSync('circle', `${top}/circle`);
    chownSync(theirs, 12_345, 12_345);
    const ask = (path: string, isParent = false): string | undefined =>
      findBreachOnTheWay(path, 0, { isParent })?.at;
    assert.equal(ask(`${top}/own/deep`), undefined);
    assert.equal(ask(`${top}/link/deep/../deep/.`), undefined);
    for (const path of [theirs, `${theirs}/inside`, `${top}/own/there`, `${theirs}/back`, `${theirs}/../own`])
      assert.equal(ask(path), theirs, path);
    assert.equal(ask(`${top}/circle`), `${top}/circle`);
    chmodSync(`${top}/own`, 0o1777);
    assert.equal(ask(`${top}/own/deep`), undefined);
    assert.equal(ask(`${top}/own`), `${top}/own`);
    assert.equal(ask(`${top}/own`, true), undefined);
    chmodSync(`${top}/own`, 0o777);
    assert.equal(ask(`${top}/own/deep`), `${top}/own`);
    assert.throws(() => ask(`${top}/nothing`), { code: 'ENOENT' });
  });
});
