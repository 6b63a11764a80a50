// Goal: `launch never` says where each `never` is, as the client's own rule has it, and nothing to anybody but its account;
// a user who exchanges a folder for a link all the time never gets it to follow one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Entry, findPlace, parsePlaces } from '../../../src/client/never.ts';
import { addUser, removeUser } from '../../support/accounts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { type Ended, Jail } from '../../support/jail.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

function lookAt(path: string): Entry | string {
  try {
    const found = lstatSync(path);
    const { uid, mode, nlink } = found;
    return { uid, mode, nlink, ...(found.isSymbolicLink() ? { target: readlinkSync(path) } : {}) };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? '';
  }
}

describe('launch never', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  let run: string;
  let top: string;
  let alice: { login: string; uid: number; gid: number };

  before(() => {
    jail = Jail.make();
    const login = jail.login.replace('dbtest-jail', 'dbt-alice');
    alice = { login, ...addUser(login) };
    top = join(jail.base, 'top');
    mkdirSync(top, { mode: 0o755 });
    run = jail.run('run-AAAAAA', ['root /']);
  });
  after(() => {
    jail.dispose();
    removeUser(alice.login);
  });

  const ask = (account = jail.account, folder = run): Promise<Ended> =>
    jail.start(account, jail.launch, ['never', folder]);

  /** A tree with one of each: root's, the account's and another user's folders, links and files. */
  function makeTree(): string[] {
    const owners = { root: { uid: 0, gid: 0 }, own: jail.account, alice };
    const paths: string[] = [];
    const link = (target: string, path: string, { uid, gid }: { uid: number; gid: number }): void => {
      symlinkSync(target, path);
      lchownSync(path, uid, gid);
      paths.push(path, join(path, 'more'));
    };
    for (const [folderOwner, folderIds] of Object.entries(owners)) {
      for (const mode of [0o700, 0o755, 0o775, 0o1777]) {
        const folder = join(top, `${folderOwner} ${mode.toString(8)}`);
        mkdirSync(folder);
        for (const [owner, ids] of Object.entries(owners)) {
          link(top, join(folder, `to the top, ${owner}`), ids);
          link('../root 755/file', join(folder, `to a file, ${owner}`), ids);
          link(`itself, ${owner}`, join(folder, `itself, ${owner}`), ids);
          link('nothing/../x', join(folder, `to nothing, ${owner}`), ids);
          const file = join(folder, owner === 'root' ? 'file' : `file, ${owner}`);
          writeFileSync(file, '');
          chownSync(file, ids.uid, ids.gid);
          linkSync(file, join(folder, `hard link, ${owner}`));
          const below = join(folder, `below, ${owner}`);
          mkdirSync(below);
          link('/', join(below, 'link'), owners.root);
          chownSync(below, ids.uid, ids.gid);
          paths.push(file, join(folder, `hard link, ${owner}`), below, join(below, 'none'));
        }
        chownSync(folder, folderIds.uid, folderIds.gid);
        chmodSync(folder, mode);
        paths.push(folder, join(folder, 'nothing'), join(folder, 'file', 'below a file'));
      }
    }
    return paths;
  }

  it('has the same rule as the client, for both lists', async () => {
    const paths = makeTree();
    for (const owners of [[0], [0, jail.account.uid]]) {
      const isRoots = owners.length === 1;
      writeFileSync(jail.never, isRoots ? paths.map(path => `${path}\n`).join('') : '');
      const records = ['root /', ...(isRoots ? [] : paths.map(path => `never ${path}`))];
      jail.run('run-AAAAAA', records);
      const { status, stdout, stderr } = await ask();
      assert.equal(status, 0, stderr);
      assert.deepEqual(
        parsePlaces(stdout)?.places,
        paths.map(path => findPlace(path, owners, lookAt)),
      );
    }
    const places = paths.map(path => findPlace(path, [0], lookAt));
    for (const what of ['link', 'through', 'shared'] as const)
      assert.ok(
        places.some(each => each[what] !== undefined),
        what,
      );
    assert.ok(places.some(each => each.place === top && each.name !== top));
    rmSync(top, { recursive: true });
    mkdirSync(top, { mode: 0o755 });
  });

  it('never follows a link that comes and goes', async () => {
    const home = join(top, 'alice');
    const place = join(home, 'secret');
    for (const folder of [home, place, join(top, 'bob'), join(top, 'bob/file')]) mkdirSync(folder);
    for (const folder of [home, place]) chownSync(folder, alice.uid, alice.gid);
    writeFileSync(jail.never, `${join(place, 'file')}\n`);
    jail.run('run-AAAAAA', ['root /']);
    let isOver = false;
    let swaps = 0;
    const swapping = (async () => {
      for (; !isOver; swaps += 1) {
        renameSync(place, `${place}.aside`);
        symlinkSync(join(top, 'bob'), place);
        await new Promise(resolve => setImmediate(resolve));
        rmSync(place);
        renameSync(`${place}.aside`, place);
        await new Promise(resolve => setImmediate(resolve));
      }
    })();
    for (let at = 0; at < 100; at += 1) {
      const { status, stdout, stderr } = await ask();
      assert.equal(status, 0, stderr);
      assert.equal(parsePlaces(stdout)?.places[0]?.place, join(place, 'file'));
    }
    isOver = true;
    await swapping;
    assert.ok(swaps > 100, `${swaps}`);
    writeFileSync(jail.never, '');
  });

  it('follows as ever, or refuses, whatever limit of open files its caller sets', async () => {
    mkdirSync(join(top, 'real'));
    symlinkSync('real', join(top, 'link'));
    writeFileSync(jail.never, `${join(top, 'link')}\n`);
    jail.run('run-AAAAAA', ['root /']);
    const ends = new Set<number | null>();
    // At 40 it can look through all folders on the way, each of which is open meanwhile.
    for (const limit of [...Array.from({ length: 12 }, (_, index) => index + 1), 40]) {
      const limited = [`--nofile=${limit}`, '--', jail.launch, 'never', run];
      const { status, stdout } = await jail.start(jail.account, '/usr/bin/prlimit', limited);
      ends.add(status);
      if (status === 0) assert.equal(parsePlaces(stdout)?.places[0]?.place, join(top, 'real'), `${limit}`);
    }
    assert.ok(ends.has(0) && ends.has(126), [...ends].join());
    writeFileSync(jail.never, '');
  });

  describe('refuses, in one line', () => {
    const refused = ({ status, stdout, stderr }: Ended, pattern: RegExp): void => {
      assert.deepEqual([status, stdout], [126, ''], stderr);
      assert.match(stderr, pattern);
      assert.equal(stderr.trim().split('\n').length, 1);
    };
    it('another user', async () => {
      chmodSync(jail.launch, 0o755);
      refused(await ask(alice), matching`${says('it-was-made-for-uid')} `);
      chmodSync(jail.launch, 0o750);
      refused(
        await jail.start('root', jail.launch, ['never', run]),
        matching`${says('it-was-made-for-uid')} `,
      );
    });
    it('what is no run folder of the account', async () => {
      refused(await ask(jail.account, '/'), /it is not called/);
      refused(await ask(jail.account, '/root/run-AAAAAA'), /open: /);
    });
    it('to go without its capability', async () => {
      execFileSync('setcap', ['-r', jail.launch]);
      refused(await ask(), /does not have it/);
      jail.lend(jail.launch);
    });
    it('a scope that is none', async () => {
      jail.file(join(run, 'scope'), 'never a\0');
      refused(await ask(), says('a-path-in-it-is'));
    });
    it('more or fewer words', async () => {
      for (const args of [['never'], ['never', run, '1']])
        refused(await jail.start(jail.account, jail.launch, args), says('its-arguments-are-none-of'));
    });
  });
});
