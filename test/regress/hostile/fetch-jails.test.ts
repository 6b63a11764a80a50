// Goal: an rsync that was taken over, on either side of a fetch, reaches no more than its part: the host's reads the offered paths
// of one snapshot, and the client's writes below DIR, as root too.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Jail, outcomeOf } from '../../support/jail.ts';
import { mayMakeNamespaces, NEEDS_ROOT } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;
const NOT_STARTED = /^(?:not started|no answer: status 126)/;
const REFUSED = /^(?:EACCES|EPERM|ENOENT|EXDEV|EROFS|ENOSYS|ESRCH|ENODEV|killed by SIGSYS)$/;

/** What no rsync of a fetch may do, whatever it may do with files. */
const NEVER: string[][] = [
  ['socket', '2', '1'],
  ['udp', '1'],
  ['listen'],
  ['execve', '/bin/true'],
  ['ptrace_attach', '1'],
  ['kill', String(process.pid)],
  ['mount', '/tmp'],
  ['unshare', 'user'],
  ['setns', '1'],
  ['bpf'],
  ['io_uring'],
  ['keyctl'],
  ['module'],
  ['chroot', '/'],
  ['open', '/etc/shadow', 'read'],
  ['open', '/proc/1/environ', 'read'],
  ['open', '/proc/sys/kernel/core_pattern', 'write'],
  ['open', '/usr/lib/new', 'create'],
];

describe('jail serve', { skip: SKIP }, () => {
  let jail: Jail;
  let tree: string;
  let run: string;
  const at = (name: string): string => join(tree, name);
  before(() => {
    jail = Jail.make();
    chmodSync(jail.base, 0o755);
    const client = jail.folder(join(jail.base, 'store/clients/acorn'));
    tree = join(client, 'snapshots/one/tree');
    for (const folder of ['snapshots', 'snapshots/one', 'snapshots/one/tree', 'snapshots/two'])
      jail.folder(join(client, folder));
    jail.file(join(client, 'snapshots/one/snapshot.json'));
    jail.file(join(client, 'snapshots/two/file'));
    for (const folder of ['offered', 'other']) {
      jail.folder(at(folder));
      jail.file(join(at(folder), 'file'), 'content');
    }
    run = jail.folder(join(jail.home, 'state/run-serve'), 0o700);
    jail.folder(join(run, 'rsyncd'), 0o700);
    jail.file(join(run, 'rsyncd/rsyncd.conf'), '[files]\n', 0o600);
    jail.file(join(run, 'key'), 'a secret\n', 0o600);
    write(`path ${at('offered')}\0`);
  });
  after(() => {
    jail.dispose();
  });

  function write(records: string): void {
    jail.file(join(run, 'paths'), records, 0o600);
  }
  const start = async (call: string[], words = [tree, run]): Promise<string> =>
    outcomeOf(
      call[0] ?? '',
      await jail.start(jail.account, jail.jailPath, ['serve', ...words], { input: `${call.join('\t')}\n` }),
    );

  it('lets rsync read the offered paths and its config', async () => {
    for (const call of [
      ['open', at('offered/file'), 'read'],
      ['open', at('offered'), 'folder'],
      ['open', join(run, 'rsyncd/rsyncd.conf'), 'read'],
    ])
      assert.equal(await start(call), 'works', call.join(' '));
  });

  it('lets it read nothing else, and change nothing', async () => {
    for (const call of [
      ['open', at('other/file'), 'read'],
      ['open', at('other'), 'folder'],
      ['open', tree, 'folder'],
      ['open', join(tree, '../snapshot.json'), 'read'],
      ['open', join(tree, '../../two/file'), 'read'],
      ['open', join(run, 'key'), 'read'],
      ['open', join(run, 'paths'), 'read'],
      ['open', at('offered/file'), 'write'],
      ['open', at('offered/new'), 'create'],
      ['creat', at('offered/new')],
      ['mkdir', at('offered/new')],
      ['unlink', at('offered/file')],
      ['rename', at('offered/file'), at('offered/new')],
      ['symlink', '/', at('offered/new')],
      ['chmod', at('offered/file')],
      ['utimensat', at('offered/file')],
      ['setxattr', at('offered/file')],
      ['truncate', at('offered/file')],
      ['fork'],
      ...NEVER,
    ])
      assert.match(await start(call), REFUSED, call.join(' '));
    assert.equal(readFileSync(at('offered/file'), 'utf8'), 'content');
  });

  it('shows no other part of the store, where the kernel gives the account a root of its own', async () => {
    const party = { ...jail.account, login: jail.login, home: jail.home };
    const expected = mayMakeNamespaces(party) ? 'ENOENT' : 'works';
    assert.equal(await start(['stat', join(tree, '../snapshot.json')]), expected);
    assert.equal(await start(['stat', at('offered/file')]), 'works');
  });

  it('refuses records and folders that it does not know', async () => {
    for (const records of [
      '',
      `path ${at('offered')}`,
      'path /etc\0',
      `path ${tree}/../snapshot.json\0`,
      `path ${at('nothing')}\0`,
      `write ${at('offered')}\0`,
      'x\0',
    ]) {
      write(records);
      assert.match(await start(['open', at('offered/file'), 'read']), NOT_STARTED, JSON.stringify(records));
    }
    write(`list ${tree}\0`);
    assert.equal(await start(['open', tree, 'folder']), 'works');
    assert.match(await start(['open', at('offered/file'), 'read']), REFUSED);
    symlinkSync(join(jail.base, 'store/clients/acorn/snapshots/two'), at('link'));
    write(`path ${at('link/file')}\0`);
    assert.match(await start(['open', at('offered/file'), 'read']), NOT_STARTED);
    for (const words of [
      [tree],
      [`${tree}/.`, run],
      [join(tree, 'nothing'), run],
      [tree, join(jail.base, 'nothing')],
    ])
      assert.match(await start(['fork'], words), NOT_STARTED, words.join(' '));
  });
});

for (const who of ['root', 'account'] as const)
  describe(`jail fetch, as ${who === 'root' ? 'root' : 'an ordinary account'}`, { skip: SKIP }, () => {
    let jail: Jail;
    let to: string;
    let outside: string;
    before(() => {
      jail = Jail.make();
      chmodSync(jail.base, 0o755);
      jail.folder(jail.home, 0o755);
      [to, outside] = [join(jail.home, 'to'), join(jail.home, 'outside')];
    });
    after(() => {
      jail.dispose();
    });

    const attempt = async (call: string[], verb = 'fetch', words = [to, '--', '--x']): Promise<string> => {
      for (const folder of [to, outside]) {
        rmSync(folder, { recursive: true, force: true });
        jail.folder(folder);
        jail.folder(join(folder, 'empty'));
        for (const name of ['file', 'other']) jail.file(join(folder, name));
      }
      const party = who === 'root' ? 'root' : jail.account;
      const ended = await jail.start(party, jail.jailPath, [verb, ...words], {
        input: `${call.join('\t')}\n`,
      });
      return outcomeOf(call[0] ?? '', ended);
    };

    it('lets rsync do below DIR what it needs', async () => {
      for (const call of [
        ['open', join(to, 'file'), 'write'],
        ['open', join(to, 'new'), 'create'],
        ['mkdir', join(to, 'new')],
        ['rmdir', join(to, 'empty')],
        ['unlink', join(to, 'file')],
        ['rename', join(to, 'file'), join(to, 'empty/file')],
        ['link', join(to, 'file'), join(to, 'empty/file')],
        ['symlink', '/etc', join(to, 'new')],
        ['chmod', join(to, 'file')],
        ['utimensat', join(to, 'file')],
        ['setxattr', join(to, 'file')],
        ['set_acl', join(to, 'file')],
        ...(who === 'root'
          ? [
              ['chown_to_other', join(to, 'file')],
              ['set_file_capability', join(to, 'file')],
            ]
          : []),
        ['fork'],
      ])
        assert.equal(await attempt(call), 'works', call.join(' '));
    });

    it('lets it write and read nothing else', async () => {
      for (const call of [
        ['open', join(outside, 'file'), 'read'],
        ['open', join(outside, 'file'), 'write'],
        ['creat', join(outside, 'new')],
        ['mkdir', join(outside, 'new')],
        ['rmdir', join(outside, 'empty')],
        ['unlink', join(outside, 'file')],
        ['rename', join(to, 'file'), join(outside, 'new')],
        ['rename', join(outside, 'file'), join(to, 'new')],
        ['link', join(outside, 'file'), join(to, 'new')],
        ['symlink', 'anywhere', join(outside, 'new')],
        ['truncate', join(outside, 'file')],
        ['setuid'],
        ...(who === 'root'
          ? [
              ['mknod', join(outside, 'new'), 'c'],
              ['chmod', '/usr/lib'],
              ['chown', '/etc/passwd'],
              ['chmod', '/dev/null'],
            ]
          : []),
        ...NEVER,
      ])
        assert.match(await attempt(call), REFUSED, call.join(' '));
      assert.equal(readFileSync(join(outside, 'file'), 'utf8'), 'a text\n');
    });

    it(`${who === 'root' ? 'hides' : 'cannot hide'} the rest of the machine`, async () => {
      const hidden = who === 'root' ? /^(?:ENOENT|EROFS)$/ : /^works$/;
      for (const call of [
        ['stat', join(outside, 'file')],
        ['chmod', join(outside, 'file')],
        ['setxattr', join(outside, 'file')],
        ['utimensat', join(outside, 'file')],
      ])
        assert.match(await attempt(call), hidden, call.join(' '));
    });

    if (who === 'root')
      it('cannot open a device below DIR, or run a program there', async () => {
        const device = join(jail.home, 'device');
        execFileSync('mknod', [device, 'c', '1', '3']);
        chmodSync(device, 0o666);
        const words = [jail.home, '--', '--x'];
        assert.equal(await attempt(['stat', device], 'fetch', words), 'works');
        for (const way of ['read', 'write'])
          assert.match(await attempt(['open', device, way], 'fetch', words), REFUSED);
      });

    it('takes only folders by their own names', async () => {
      symlinkSync(to, join(jail.base, 'link'));
      for (const words of [
        [],
        [to],
        ['--', '--x'],
        [join(jail.base, 'link'), '--', '--x'],
        [`${to}/.`, '--', '--x'],
        [join(to, 'nothing'), '--', '--x'],
        ['relative', '--', '--x'],
      ])
        assert.match(await attempt(['fork'], 'fetch', words), NOT_STARTED, words.join(' '));
      // The jail's root would be the machine's, and would become read-only.
      for (const words of [
        ['/', '--', '--x'],
        [to, '/', '--', '--x'],
      ])
        assert.equal(await attempt(['fork'], 'fetch', words), 'not started', words.join(' '));
    });

    if (who === 'root')
      it('sets labels only where fetch-labels is asked for', async () => {
        mkdirSync(to, { recursive: true });
        writeFileSync(join(to, 'x'), '');
        assert.ok(existsSync(join(to, 'x')) && statSync(to).isDirectory());
        assert.equal(await attempt(['open', join(to, 'file'), 'write'], 'fetch-labels'), 'works');
        for (const call of NEVER) assert.match(await attempt(call, 'fetch-labels'), REFUSED, call.join(' '));
      });
  });
