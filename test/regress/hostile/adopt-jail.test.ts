// Goal: the rsync that reads a tree for `adopt` as root may read every file, and the store's account, or the tree, has taken it over.
// In `jail adopt` it reads the adopted folder and nothing else, changes nothing and reaches no network. Each attempt is made without the
// jail too, with the same account and capability, and works there.
import assert from 'node:assert/strict';
import { closeSync, constants, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { type Ended, Jail, outcomeOf, type StartOptions } from '../../support/jail.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const REFUSED = /^(?:EACCES|EPERM|ENOSYS|ESRCH|killed by SIGSYS)$/;
const ONLY_READING = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=-all,+dac_read_search'];

describe('jail adopt', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  /** The adopted folder: root's, closed to others. */
  let tree: string;
  let outside: string;
  let run: string;
  /** The store's account owns it: modes do not keep it from this account. */
  let own: string;

  before(() => {
    jail = Jail.make();
    tree = join(jail.base, 'tree of root');
    outside = join(jail.base, 'outside');
    for (const folder of [tree, join(tree, 'below'), outside]) {
      mkdirSync(folder, { mode: 0o700 });
      writeFileSync(join(folder, 'secret'), 'only root may read this', { mode: 0o600 });
    }
    symlinkSync(outside, join(tree, 'link'));
    run = jail.folder(join(jail.home, 'run-AAAAAA'), 0o700);
    jail.folder(join(run, 'rsyncd'), 0o700);
    jail.file(join(run, 'rsyncd/rsyncd.conf'), '[root]\n', 0o600);
    jail.file(join(run, 'key'), 'a secret\n', 0o600);
    own = jail.folder(join(jail.home, 'own'));
  });
  after(() => {
    jail?.dispose();
  });

  interface Start {
    /** The words after `jail`; null: the probe itself, without a jail. */
    words?: string[] | null;
    /** Options of setpriv(1). */
    powers?: string[];
    /** Of open(2), for the folder. */
    flags?: number;
    whenReady?: StartOptions['whenReady'];
    folder?: string;
  }

  async function start(call: string[], how: Start = {}): Promise<Ended> {
    const { words = ['adopt', run], powers = ONLY_READING, folder = tree } = how;
    const { uid, gid } = jail.account;
    const program = words === null ? [jail.probe] : [jail.jailPath, ...words];
    const fd = openSync(folder, how.flags ?? constants.O_RDONLY);
    try {
      const who = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups'];
      return await jail.start('root', '/usr/bin/setpriv', [...who, ...powers, '--', ...program], {
        input: `${call.join('\t')}\n`,
        more: [fd],
        ...(how.whenReady ? { whenReady: how.whenReady } : {}),
      });
    } finally {
      closeSync(fd);
    }
  }
  const attempt = async (call: string[], how: Start = {}): Promise<string> =>
    outcomeOf(call[0] ?? '', await start(call, how));

  /** Fresh things of the account's own, which a process without the jail may change. */
  function prepareOwn(): void {
    jail.folder(own);
    jail.freshSpots([own], '');
  }

  it('lets rsync read the folder, whose files only root may read, and its config', async () => {
    for (const call of [
      ['open', join(tree, 'secret'), 'read'],
      ['open', join(tree, 'below'), 'folder'],
      ['open', '/proc/self/fd/3/below/secret', 'read'],
      ['open', join(run, 'rsyncd/rsyncd.conf'), 'read'],
    ])
      assert.equal(await attempt(call), 'works', call.join(' '));
  });

  it('lets it read nothing else, write nothing and reach no network', async () => {
    for (const call of [
      ['open', join(outside, 'secret'), 'read'],
      ['open', outside, 'folder'],
      ['open', '/proc/self/fd/3/../outside/secret', 'read'],
      ['open', join(tree, 'link/secret'), 'read'],
      ['open', join(run, 'key'), 'read'],
      ['open', '/etc/shadow', 'read'],
      ['open', '/root', 'folder'],
      ['open', '/proc/1/environ', 'read'],
      ['open', join(own, 'file'), 'write'],
      ['open', join(own, 'new'), 'create'],
      ['creat', join(own, 'new')],
      ['mkdir', join(own, 'new')],
      ['rmdir', join(own, 'empty')],
      ['unlink', join(own, 'file')],
      ['rename', join(own, 'file'), join(own, 'new')],
      ['link', join(own, 'file'), join(own, 'new')],
      ['symlink', '/', join(own, 'new')],
      ['chmod', join(own, 'file')],
      ['utimensat', join(own, 'file')],
      ['setxattr', join(own, 'file')],
      ['truncate', join(own, 'file')],
      ['socket', 'inet', 'stream'],
      ['fork'],
      ['execve', '/bin/sh', '-c', 'echo executed'],
    ]) {
      prepareOwn();
      const free = await attempt(call, { words: null });
      // A process's environment needs more than this capability (ptrace(2)).
      if (!call.includes('/proc/1/environ'))
        assert.equal(free, 'works', `without the jail: ${call.join(' ')}`);
      prepareOwn();
      assert.match(await attempt(call), REFUSED, call.join(' '));
    }
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'only root may read this');
  });

  it('lends nothing: without the capability of its caller, modes decide', async () => {
    const powers = ['--inh-caps=-all', '--ambient-caps=-all'];
    assert.equal(await attempt(['open', join(tree, 'secret'), 'read'], { powers }), 'EACCES');
    jail.file(join(own, 'file'));
    assert.equal(await attempt(['open', join(own, 'file'), 'read'], { powers, folder: own }), 'works');
  });

  it('keeps no other capability of its caller, and no way to get one', async () => {
    const more = '-all,+dac_read_search,+chown,+setuid,+fowner,+dac_override';
    const powers = [`--inh-caps=${more}`, `--ambient-caps=${more}`];
    let status = '';
    await start(['wait'], {
      powers,
      whenReady: ({ pid }) => {
        status = readFileSync(`/proc/${pid}/status`, 'latin1');
      },
    });
    for (const set of ['Inh', 'Prm', 'Eff', 'Amb'])
      assert.match(status, new RegExp(`^Cap${set}:\\t0{15}4$`, 'm'), status);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
    assert.match(status, new RegExp(`^Uid:(?:\\t${jail.account.uid}){4}$`, 'm'));
  });

  it('refuses root, other arguments, and a descriptor that is no open folder', async () => {
    const assertRefused = async (how: Start, what: string): Promise<void> => {
      const { status, stdout, stderr } = await start(['memfd'], how);
      assert.equal(stdout, '', `${what}: nothing was run`);
      assert.equal(status, 126, `${what}: ${stderr}`);
      assert.match(stderr, /^dialback-launch: Cannot [^\n]+\n$/, what);
    };
    for (const words of [
      ['adopt'],
      ['adopt', run, tree],
      ['adopt', `${run}/.`],
      ['adopt', join(jail.home, 'nothing')],
      ['adopt', 'run-AAAAAA'],
    ])
      await assertRefused({ words }, words.join(' '));
    await assertRefused({ folder: join(tree, 'secret') }, 'a file');
    await assertRefused({ flags: 0o10000000 }, 'a path'); // O_PATH
    const { status, stdout } = await jail.start('root', jail.jailPath, ['adopt', run], { input: 'memfd\n' });
    assert.deepEqual([status, stdout], [126, '']);
    const without = await jail.start(jail.account, jail.jailPath, ['adopt', run], { input: 'memfd\n' });
    assert.deepEqual([without.status, without.stdout], [126, ''], 'no descriptor 3');
  });

  it('takes only the one folder: other verbs, and other descriptors, take none', async () => {
    const words = ['serve', tree, run];
    assert.match(await attempt(['open', join(tree, 'secret'), 'read'], { words }), /^(?:no|not) /);
    const fd = openSync(tree, constants.O_RDONLY);
    try {
      const options = { input: 'open\t/proc/self/fd/4/secret\tread\n', more: [fd, fd] };
      const { uid, gid } = jail.account;
      const who = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', ...ONLY_READING];
      const ended = await jail.start(
        'root',
        '/usr/bin/setpriv',
        [...who, '--', jail.jailPath, 'adopt', run],
        options,
      );
      assert.equal(outcomeOf('open', ended), 'ENOENT');
    } finally {
      closeSync(fd);
    }
  });
});
