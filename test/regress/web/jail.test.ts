// Goal: what a browser could do on the host, if it took over the web server: a probe in the place of dialback tries it in the jail of
// `jail web`. It can read the store, and do nothing else. docs/security.md says the same. The reader of attributes beside it answers
// for files of the store only.
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  assertDocumented,
  attempt,
  attemptWithoutJail,
  callList,
  callsLetThrough,
  commonGroups,
  type Group,
  letThrough,
  type Places,
  type Row,
  row,
  Surroundings,
  table,
  VICTIM,
  wrongOutcome,
  wrongWith,
} from '../../support/attempts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Jail } from '../../support/jail.ts';
import { IS_LONG, itLong, some } from '../../support/long.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

describe('jail web', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  let store: string;
  let spot: string;
  let config: string;
  const launch = (listen = '127.0.0.1:0'): string[] => [
    jail.jailPath,
    'web',
    listen,
    store,
    config,
    '--',
    '--a-word',
  ];
  before(() => {
    jail = Jail.make();
    store = join(jail.home, 'the store');
    spot = join(store, 'clients/oak/snapshots/2026-01-01T00-00-00Z/tree/spot');
    config = join(jail.home, 'host.toml');
    for (const folder of [spot, join(jail.home, '.ssh'), join(jail.home, 'state')])
      jail.folder(folder, 0o700);
    for (const folder of ['the store', 'the store/clients', 'the store/clients/oak'])
      jail.folder(join(jail.home, folder), 0o700);
    for (const path of [
      config,
      join(store, 'store.json'),
      join(jail.home, '.ssh/id_ed25519'),
      join(jail.home, '.ssh/authorized_keys'),
    ])
      jail.file(path, 'a text\n', 0o600);
  });
  after(() => {
    jail?.dispose();
  });
  /** Puts back what an attempt without a jail has taken away or left. */
  function restore(): void {
    jail.file(join(store, 'store.json'), 'a text\n', 0o600);
    for (const made of [`/tmp/${jail.login}`, `/dev/shm/${jail.login}`, join(jail.home, 'new')])
      rmSync(made, { force: true });
  }

  function groups(places: Places): Group[] {
    const { home, base } = jail;
    const read = (path: string): string[] => ['open', path, 'read'];
    const needed = { works: 'the pages show it' };
    const root = { control: 'root' } as const;
    const own: Group[] = [
      {
        title: 'What the pages need',
        rows: [
          row('read a file of the store', read(join(spot, 'file')), needed),
          row('names in the store', ['open', spot, 'folder'], needed),
          row('read store.json', read(join(store, 'store.json')), needed),
          row('read its config', read(config), { works: 'it holds the rules of the store' }),
          row('read /etc/passwd', read('/etc/passwd'), { works: 'libc looks up names' }),
          row('write to /dev/null', ['open', '/dev/null', 'write']),
        ],
      },
      {
        title: 'The rest of the machine',
        rows: [
          row('write store.json', ['open', join(store, 'store.json'), 'write']),
          row('remove store.json', ['unlink', join(store, 'store.json')]),
          row('write its config', ['open', config, 'write']),
          row('read ~/.ssh/id_ed25519', read(join(home, '.ssh/id_ed25519'))),
          row('append to ~/.ssh/authorized_keys', ['open', join(home, '.ssh/authorized_keys'), 'append']),
          row('list ~', ['open', home, 'folder']),
          row('the same with `..` in its path', ['open', join(store, '..'), 'folder']),
          row('the same through /proc/self/root', ['open', `/proc/self/root${home}`, 'folder']),
          row('a new file in ~', ['open', join(home, 'new'), 'create-write']),
          row('make a file in /tmp', ['open', `/tmp/${jail.login}`, 'create-write']),
          row('make a file in /dev/shm', ['open', `/dev/shm/${jail.login}`, 'create-write']),
          row('whether a file is there (`lstat`)', ['stat', join(home, '.ssh/id_ed25519')], {
            works: 'Landlock does not cover names and attributes',
          }),
          row('read /etc/hostname', read('/etc/hostname')),
          row('read /etc/shadow', read('/etc/shadow'), root),
          row('list /', ['open', '/', 'folder']),
          row("read the launcher's own list", read(join(base, 'etc/never'))),
          row('/dev/zero', read('/dev/zero')),
          row('/proc/self/environ', read('/proc/self/environ')),
          row('/proc/self/mem, to write', ['write_memory_file', '/proc/self/mem']),
          row("another process's environment", read(`/proc/${VICTIM}/environ`)),
          row("another process's memory", ['memory_file', `/proc/${VICTIM}/mem`]),
        ],
      },
    ];
    const common = commonGroups({ ...places, spot }, 'of the store').map(group => ({
      ...group,
      // Standard input is /dev/null or a connection: `jail web` refuses a file that can be written.
      rows: group.rows.filter(({ call }) => !call.includes('-')),
    }));
    return [
      ...own,
      ...letThrough(
        common.filter(({ rows }) => rows.length > 0),
        REASONS,
      ),
    ];
  }

  async function answersOf(rows: readonly Row[]) {
    const answers = [];
    for (const each of rows) {
      const { outcome } = await attempt(jail, each, { as: 'user', launch: launch(), spots: [spot] });
      const control = await attemptWithoutJail(jail, each, { spots: [spot], hasCapability: false });
      restore();
      answers.push({ row: each, jailed: [outcome], control });
    }
    return answers;
  }

  it('lets a server that was taken over read the store, and do nothing else', async () => {
    await using around = await Surroundings.make(jail, spot);
    const all = groups(around.places);
    const answers = await answersOf(
      some(
        all.flatMap(group => group.rows),
        4,
      ),
    );
    assert.deepEqual(answers.flatMap(wrongWith), []);
    if (IS_LONG) assertDocumented('web', table(['in `web`'], all, answers));
  });

  itLong('refuses the same with the oldest Landlock that it takes', async () => {
    await using around = await Surroundings.make(jail, spot);
    const as = ['landlock=2', String(jail.account.uid), String(jail.account.gid)];
    const wrong: string[] = [];
    for (const each of groups(around.places).flatMap(group => group.rows)) {
      const start = [jail.probe, '--kernel', ...as, ...launch()];
      const { outcome } = await attempt(jail, each, { as: 'root', launch: start, spots: [spot] });
      wrong.push(...wrongOutcome(each, outcome, 0));
    }
    assert.deepEqual(wrong, []);
  });

  itLong('lets these system calls through, and no others', async () => {
    if (process.arch !== 'x64') return; // the numbers and the list are x86-64's
    assertDocumented('web calls', callList(await callsLetThrough(jail, launch(), /^$/)));
  });

  it('refuses a kernel without Landlock, or with an old one', async () => {
    for (const [kernel, found] of [
      ['landlock=none', 'this-kernel-has-no-landlock'],
      ['landlock=1', 'landlock-is-too-old-abi'],
    ] as const) {
      const words = ['--kernel', kernel, String(jail.account.uid), String(jail.account.gid), ...launch()];
      const { status, stdout, stderr } = await jail.start('root', jail.probe, words, {
        input: `open\t${config}\tread\n`,
      });
      assert.equal(status, 126);
      assert.equal(stdout, '');
      assert.match(stderr, says(found));
      assert.ok(stderr.includes(`"${jail.probe}"`));
    }
  });

  it('refuses root, odd places, and descriptors that lead elsewhere', async () => {
    const start = async (words: string[], as: 'user' | 'root' = 'user') =>
      await jail.start(as === 'root' ? 'root' : jail.account, jail.jailPath, words, { input: 'fork\n' });
    const [, , listen = '', ...rest] = launch();
    const refused = async (words: string[], as: 'user' | 'root' = 'user'): Promise<void> => {
      const { status, stdout } = await start(['web', ...words], as);
      assert.equal(status, 126, words.join(' '));
      assert.equal(stdout, '', words.join(' '));
    };
    await refused([listen, ...rest], 'root');
    for (const odd of [
      '',
      'x',
      '127.0.0.1',
      '127.0.0.1:x',
      '127.0.0.1:70000',
      '::1:80',
      '[::1]',
      `/${'x'.repeat(200)}`,
      'inherited',
      'host:80',
      ':80',
      '127.0.0.1:80 ',
    ])
      await refused([odd, ...rest]);
    await refused([listen, `${store}/.`, config, '--']);
    await refused([listen, `${store}/none`, config, '--']);
    await refused([listen, store, `${config}.none`, '--']);
    await refused([listen, store, config]);
    const { status } = await jail.start(jail.account, jail.jailPath, ['web', listen, ...rest], {
      inputFile: jail.file(join(jail.home, 'input'), 'fork\n'),
    });
    assert.equal(status, 126);
    assert.ok(!existsSync(join(jail.home, 'x')));
  });
});

/** Why these get through. */
const REASONS: Record<string, Partial<Row>> = {
  'a record lock (`F_SETLK`)': {
    works: 'SQLite reads an index with one; it can make the writer of the index wait',
  },
};
