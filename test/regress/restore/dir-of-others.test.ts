// Goal: a restore acts in no folder that another account can change: a table of folders that are refused before anything is
// written, one of folders that are taken, and the attack itself, by the account whose folder it is.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itShort, some } from '../../support/long.ts';
import { compileSwap } from '../../support/swap.ts';
import { matching, says } from '../../support/wording.ts';
import { makeFolder, NEEDS_ROOT, type Party, World } from '../../support/world.ts';

describe('a restore into a folder that others can change', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  /** A folder for the cases, root's. */
  let top: string;
  let number = 0;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    // Large enough that comparing it with its manifest takes a while: then the stage lies there.
    world.write(world.client, join(world.data, 'large'), Buffer.alloc(64 * 1024 * 1024, 'x'));
    assert.equal((await world.backup()).status, 0);
    top = join(world.base, 'cases');
    mkdirSync(top, { mode: 0o755 });
  });
  after(async () => {
    await world.dispose();
  });

  /** A new folder; whatever the umask, it has this mode. */
  const folder = (path: string, mode: number, owner: Party | 'root' = 'root'): string => {
    mkdirSync(path);
    chmodSync(path, mode);
    if (owner !== 'root') world.own(owner, path);
    return path;
  };
  const fresh = (mode: number, owner: Party | 'root' = 'root'): string => {
    number += 1;
    return folder(join(top, `case ${number}`), mode, owner);
  };
  const names = (path: string): string[] => (existsSync(path) ? readdirSync(path) : ['(not there)']);

  /** By what is wrong: makes a place, and says what DIR is and which folder the message names. */
  const refused: Record<string, (user: Party) => { to: string; named: string }> = {
    'another user’s folder': user => {
      const to = fresh(0o755, user);
      return { to, named: to };
    },
    'a new name in another user’s folder': user => {
      const parent = fresh(0o755, user);
      return { to: join(parent, 'new'), named: parent };
    },
    'a folder below another user’s': user => {
      const parent = fresh(0o755, user);
      return { to: folder(join(parent, 'inside'), 0o700), named: parent };
    },
    'a folder two below another user’s': user => {
      const parent = fresh(0o700, user);
      folder(join(parent, 'one'), 0o755);
      return { to: folder(join(parent, 'one/two'), 0o755), named: parent };
    },
    'one that its group can write': () => {
      const to = fresh(0o775);
      return { to, named: to };
    },
    'one that all can write': () => {
      const to = fresh(0o757);
      return { to, named: to };
    },
    'a sticky one that all can write': () => {
      const to = fresh(0o1777);
      return { to, named: to };
    },
    'one that an ACL lets another user write': user => {
      const to = fresh(0o755);
      execFileSync('setfacl', ['-m', `u:${user.uid}:rwx`, to]);
      return { to, named: to };
    },
    'a folder below one that all can write': () => {
      const parent = fresh(0o777);
      return { to: folder(join(parent, 'inside'), 0o755), named: parent };
    },
    'another user’s folder in a sticky one': user => {
      const parent = fresh(0o1777);
      const theirs = folder(join(parent, 'theirs'), 0o755, user);
      return { to: join(theirs, 'new'), named: theirs };
    },
    'root’s link into another user’s folder': user => {
      const place = fresh(0o755);
      const theirs = fresh(0o755, user);
      symlinkSync(theirs, join(place, 'link'));
      return { to: join(place, 'link'), named: theirs };
    },
    'another user’s link into root’s folder': user => {
      const place = fresh(0o1777);
      const link = join(place, 'link');
      symlinkSync(fresh(0o755), link);
      execFileSync('chown', ['-h', String(user.uid), link]);
      return { to: join(link, 'new'), named: link };
    },
  };
  for (const [what, make] of some(Object.entries(refused), 3, 1))
    it(`is refused to root: ${what}`, async () => {
      const { to, named } = make(world.client);
      const found = names(to);
      for (const more of [[], ['--force'], ['--dry-run']]) {
        const { status, stderr, stdout } = await world.restore(to, more);
        assert.equal(status, 2, `${stdout}${stderr}`);
        assert.ok(stderr.includes(`"${named}"`), stderr);
        assert.match(stderr, matching`belongs to uid \d+|${says('can-be-written-by-others-mode')} \d+\)`);
        assert.match(stderr, /\nnext: .*--to "\/root\/restored"/);
        assert.deepEqual(names(to), found);
      }
    });

  itShort('is refused to an ordinary account too', async () => {
    for (const to of [
      fresh(0o755, world.client),
      join(fresh(0o777), 'new'),
      fresh(0o775, { ...world.host, gid: world.client.gid }),
      join(folder(join(fresh(0o1777), 'theirs'), 0o777, world.client), 'new'),
    ]) {
      const found = names(to);
      const { status, stderr } = await world.restore(to, [], world.host);
      assert.equal(status, 2, `${to}: ${stderr}`);
      assert.ok(stderr.includes(`${world.host.home}/restored`), stderr);
      assert.deepEqual(names(to), found);
    }
  });

  itShort('is taken where only root and the account can change it', async () => {
    const file = join(world.data, 'file');
    const isBack = (to: string): void => {
      assert.equal(readFileSync(join(to, file), 'utf8'), 'content');
      assert.deepEqual(
        readdirSync(to).filter(name => name.startsWith('.dialback')),
        [],
      );
    };
    const home = makeFolder('/root');
    chmodSync(home, 0o700);
    const link = join(fresh(0o755), 'link');
    symlinkSync(join('..', basename(fresh(0o755))), link);
    try {
      for (const to of [
        join(home, 'new'),
        join(fresh(0o1777), 'new'),
        fresh(0o700),
        link,
        `${fresh(0o755)}/.`,
      ]) {
        const { status, stderr } = await world.restore(to, [file]);
        assert.equal(status, 0, `${to}: ${stderr}`);
        isBack(to);
      }
    } finally {
      rmSync(home, { recursive: true });
    }
    // The host's group is its own: with a umask of 002 its folders have this mode.
    for (const own of [join(fresh(0o1777), 'mine'), fresh(0o775, world.host)]) {
      const { status, stderr } = await world.restore(own, [file], world.host);
      assert.equal(status, 0, stderr);
      isBack(own);
    }
    const { status, stderr } = await world.restore('/', ['--force', '--dry-run']);
    assert.equal(status, 0, stderr);
  });

  itShort('gives nothing of root’s to the user who swaps the stage', async () => {
    const to = fresh(0o755, world.client);
    const target = fresh(0o700);
    writeFileSync(join(target, 'secret'), 'of root');
    const program = join(world.base, 'swap');
    compileSwap(program);
    const attack = world.start(world.client, program, ['stage', to, target]);
    const { stdout, stderr } = await world.restore(to);
    attack.child.kill();
    const { stdout: said } = await attack.done;
    assert.deepEqual(readdirSync(target), ['secret'], `${said}${stdout}${stderr}`);
    assert.deepEqual(readdirSync(to), []);
    assert.equal(lstatSync(to).uid, world.client.uid);
  });
});
