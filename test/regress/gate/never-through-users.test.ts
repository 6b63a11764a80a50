// Goal: a user who puts a link, or a hard link, in the place of a `never` below a folder of their own cannot keep another
// user's files out of a backup, nor stop it. The name in `never` stays kept back, and the run says what it did not follow.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addUser, removeUser } from '../../support/accounts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, some } from '../../support/long.ts';
import { type Done, NEEDS_ROOT, until, World } from '../../support/world.ts';

interface User {
  login: string;
  uid: number;
  gid: number;
  home: string;
}

interface Attack {
  what: string;
  /** Below the home: what `never` names, unless it is `secret`. */
  never?: string;
  /** Below the home: the link that must be named. */
  link?: string;
  /** Puts something in the place of what `never` names. */
  attack: (home: string) => void;
}

const CHAIN = 45; // longer than the kernel follows

describe('a never below a folder of a user', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let people: string;
  let alice: User;
  let bob: User;

  before(async () => {
    world = await World.make({ launcher: true });
    people = join(world.base, 'people');
    mkdirSync(people, { mode: 0o755 });
    chmodSync(people, 0o755);
    alice = makePerson('alice');
    bob = makePerson('bob');
  });
  after(async () => {
    await world.dispose();
    for (const { login } of [alice, bob]) removeUser(login);
  });

  function makePerson(name: string): User {
    const login = `${world.client.login}-${name}`.replace('dbtest-client', 'dbt');
    const home = join(people, name);
    return { login, home, ...addUser(login, { home }) };
  }

  /** Both homes as they are before an attack. */
  function settle(mode: number): void {
    for (const { home, uid, gid } of [alice, bob]) {
      rmSync(home, { recursive: true, force: true });
      for (const folder of ['', 'secret', 'work', 'work/keys']) {
        mkdirSync(join(home, folder), { mode: 0o755 });
        writeFileSync(join(home, folder, 'a file'), `of ${uid}`);
        chownSync(join(home, folder, 'a file'), uid, gid);
        chownSync(join(home, folder), uid, gid);
      }
      chmodSync(home, mode);
    }
  }

  const moved = (home: string, name: string): string => {
    renameSync(join(home, name), join(home, `${name} moved`));
    return join(home, name);
  };
  const link = (target: string, path: string): void => {
    symlinkSync(target, path);
    lchownSync(path, alice.uid, alice.gid);
  };

  const ATTACKS: Attack[] = [
    { what: "a link to another user's home", attack: home => link(bob.home, moved(home, 'secret')) },
    { what: 'a link to "/"', attack: home => link('/', moved(home, 'secret')) },
    { what: 'a link to a root of the backup', attack: home => link(people, moved(home, 'secret')) },
    { what: 'a link to itself', attack: home => link('secret', moved(home, 'secret')) },
    { what: 'a link to nothing', attack: home => link('/nothing/there', moved(home, 'secret')) },
    {
      what: 'a chain of links that is too long',
      attack: home => {
        moved(home, 'secret');
        for (let at = 0; at < CHAIN; at += 1) link(`${at + 1}`, join(home, at === 0 ? 'secret' : `${at}`));
        link(bob.home, join(home, `${CHAIN}`));
      },
    },
    {
      what: "a link to another user's folder on the way",
      never: 'work/keys',
      link: 'work',
      attack: home => link(join(bob.home, 'work'), moved(home, 'work')),
    },
    {
      what: 'a link to itself on the way',
      never: 'work/keys',
      link: 'work',
      attack: home => link('work', moved(home, 'work')),
    },
    {
      what: "a hard link to another user's file",
      attack: home => linkSync(join(bob.home, 'work/a file'), moved(home, 'secret')),
    },
    {
      what: "a link to a link of root's that leads to another user's home",
      attack: home => {
        symlinkSync(bob.home, join(people, 'to bob'));
        link(join(people, 'to bob'), moved(home, 'secret'));
      },
    },
  ];

  function configure(more: { never?: string[]; top?: string } = {}): void {
    const list = (more.never ?? []).map(path => JSON.stringify(path)).join(', ');
    const scope = `roots = ["${people}", "${world.data}"]\nnever = [${list}]`;
    world.configure({ scope, top: `name = "${world.name}"\n${more.top ?? ''}` });
  }

  const has = ({ snapshot }: Done, path: string): boolean =>
    existsSync(join(world.tree(snapshot ?? ''), path));

  /** The run is full, the other user's files are in it, the name in `never` is not, and the run and the journal say why. */
  async function checkRun(never: string, unfollowed: string | null): Promise<void> {
    // A file that is as it was would be linked from the snapshot before, and not be read.
    const theirs = ['', 'secret', 'work', 'work/keys'].map(folder => join(bob.home, folder, 'a file'));
    for (const path of theirs) writeFileSync(path, `new in ${path}`);
    const { status, last, stdout, stderr } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    assert.equal(last.outcome, 'full', stdout);
    assert.deepEqual(last.missing, []);
    for (const path of theirs)
      assert.equal(readFileSync(join(world.tree(last.snapshot ?? ''), path), 'utf8'), `new in ${path}`);
    assert.ok(has(last, join(alice.home, 'a file')));
    assert.ok(!has(last, never), 'what never names');
    const warnings = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
      .filter(each => each.event === 'warning' && each.code === 'never');
    assert.equal(warnings.length, 1, stdout);
    assert.ok(String(warnings[0]?.message).includes(`"${never}"`), stdout);
    const recorded = world.journal('client').filter(each => each.event === 'warning');
    assert.equal(recorded.at(-1)?.path, never);
    assert.equal(recorded.at(-1)?.link, unfollowed);
  }

  for (const [at, { what, never = 'secret', link: aimed = never, attack }] of some(
    [...ATTACKS.entries()],
    3,
  )) {
    for (const list of some(['client.toml', 'the list of the administrator'], 2, at)) {
      it(`${what}, where ${list} names it`, async () => {
        settle(0o700);
        rmSync(join(people, 'to bob'), { force: true });
        const path = join(alice.home, never);
        writeFileSync(world.neverList, list === 'client.toml' ? '' : `${path}\n`);
        configure(list === 'client.toml' ? { never: [path] } : {});
        // Before the attack a run warns of nothing. It is the same run for most attacks.
        if (IS_LONG || at === 0) {
          const first = await world.backup();
          assert.equal(first.status, 0, first.stdout + first.stderr);
          assert.ok(has(first.last, join(bob.home, never, 'a file')) && !has(first.last, path));
          assert.ok(!first.stdout.includes('"warning"'), first.stdout);
        }
        attack(alice.home);
        await checkRun(path, what.startsWith('a hard link') ? null : join(alice.home, aimed));
      });
    }
  }

  itLong("says it to cron too, and follows a link of root's in a folder of root's", async () => {
    settle(0o700);
    rmSync(join(people, 'to bob'), { force: true });
    writeFileSync(world.neverList, `${join(people, 'kept')}\n${join(alice.home, 'secret')}\n`);
    symlinkSync(join(bob.home, 'secret'), join(people, 'kept'));
    configure();
    const quiet = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.deepEqual([quiet.status, quiet.stdout, quiet.stderr], [0, '', '']);
    link(bob.home, moved(alice.home, 'secret'));
    const told = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(told.status, 0, told.stderr);
    assert.ok(told.stdout.includes(`"${join(alice.home, 'secret')}"`), told.stdout);
    await until('the manifest is made', () => world.leftovers().length === 0, 60_000);
    const last = { snapshot: world.snapshots().at(-1) ?? '' } as Done;
    assert.ok(has(last, join(bob.home, 'work/a file')));
    assert.ok(!has(last, join(bob.home, 'secret')), "where root's link leads");
    assert.ok(!has(last, join(alice.home, 'secret')));
    rmSync(join(people, 'kept'));
  });

  itLong('is told by doctor: a folder of a user on the way, and a link that is not followed', async () => {
    settle(0o755);
    const path = join(alice.home, 'secret');
    writeFileSync(world.neverList, `${path}\n`);
    configure();
    const found = async (): Promise<string[]> => {
      const { stdout } = await world.run(world.client, [
        'doctor',
        '--client',
        '--json',
        '--config',
        world.clientToml,
      ]);
      const findings = JSON.parse(stdout) as Record<string, string>[];
      return findings
        .filter(each => each.check === 'client.never' && each.state === 'warning')
        .map(each => String(each.found));
    };
    const before = await found();
    assert.equal(before.length, 1, before.join('\n'));
    assert.ok(before[0]?.includes(`"${alice.home}"`), before[0]);
    link('/', moved(alice.home, 'secret'));
    const after = await found();
    assert.equal(after.length, 1, after.join('\n'));
    assert.ok(after[0]?.includes('link') && after[0].includes(`"${path}"`), after[0]);
  });

  it('is the same without the launcher, where the account can see it', async () => {
    const host = `confined = false\nstore = "${world.store}"\nsyslog = false\n`;
    world.write(world.host, world.hostToml, host);
    for (const { attack, never = 'secret', link: aimed = never, what } of some(ATTACKS, 16)) {
      settle(0o755);
      rmSync(join(people, 'to bob'), { force: true });
      configure({ never: [join(alice.home, never)], top: 'capability = "none"' });
      attack(alice.home);
      await checkRun(
        join(alice.home, never),
        what.startsWith('a hard link') ? null : join(alice.home, aimed),
      );
    }
  });
});
