// Goal: the client's account cannot hand its launcher a place. Whatever it passes (an open descriptor, the name of RUN, its
// own namespaces) leads through a mount of its own, and from there the kernel would find a folder that the scope grants. A
// probe in rsync's place tries to read what root's `never` keeps back.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { type Ended, Jail, outcomeOf } from '../../support/jail.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

describe('the launcher and places', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let jail: Jail;
  let run: string;
  /** Root's `never`, with a file in it that only root can read. */
  let guarded: string;
  /** In the scope, and the account's. */
  let granted: string;
  let mountPoint: string;

  before(() => {
    jail = Jail.make();
    granted = jail.folder(join(jail.base, 'data'));
    mountPoint = jail.folder(join(granted, 'mount point'));
    guarded = join(jail.base, 'data/guarded');
    mkdirSync(guarded, { mode: 0o755 });
    writeFileSync(join(guarded, 'secret'), 'a secret\n', { mode: 0o600 });
    writeFileSync(jail.never, `${guarded}\n`);
    run = jail.run('run-AAAAAA', [`root ${jail.base}`]);
    jail.file(join(granted, 'file'));
  });
  after(() => jail?.dispose());

  /** Starts one of the two programs of the launcher, by the verb, with one descriptor that is `path`, opened in some way. */
  async function startWith(
    descriptor: number,
    [way, path]: [string, string],
    args: string[],
    call: string[] = ['memfd'],
  ): Promise<Ended> {
    const isJails = args[0] === 'receive' || args[0] === 'pump';
    const program = isJails ? jail.jailPath : jail.launch;
    const words = ['--with', String(descriptor), way, path, program, ...args];
    return await jail.start(jail.account, jail.probe, words, { input: `${call.join('\t')}\n` });
  }

  const read = (path: string): string[] => ['open', path, 'read'];

  function assertNothingRun({ status, stdout }: Ended, what: string): void {
    assert.equal(stdout, '', `${what}: nothing was run`);
    assert.equal(status, 126, what);
  }

  it('the scope is granted, and what is kept back is not', async () => {
    const see = async (path: string): Promise<string> =>
      outcomeOf(
        'open',
        await jail.start(jail.account, jail.launch, ['send', run], { input: `${read(path).join('\t')}\n` }),
      );
    assert.equal(await see(join(granted, 'file')), 'works');
    assert.equal(await see(join(guarded, 'secret')), 'EACCES');
  });

  it('a descriptor of a folder, or of a file, in a mount of its own is refused', async () => {
    const pid = await jail.hold(mountPoint, guarded);
    const there = `/proc/${pid}/root${mountPoint}`;
    for (const [way, path, below] of [
      ['path', there, '/secret'],
      ['folder', there, '/secret'],
      ['path', join(there, 'secret'), ''],
    ] as const) {
      for (const descriptor of [0, 2]) {
        const call = descriptor === 0 ? ['memfd'] : read(`/proc/self/fd/2${below}`);
        const ended = await startWith(descriptor, [way, path], ['send', run], call);
        assertNothingRun(ended, `${descriptor}: ${way} ${path}`);
      }
    }
  });

  it('nothing but a pipe, a socket or a character device is taken, by any verb', async () => {
    const tree = jail.folder(join(jail.home, 'tree'), 0o700);
    const verbs = [
      ['send', run],
      ['receive', tree, '--', 'x'],
      ['pump', '5'],
      ['lend', 'gate', '--run', run],
    ];
    const own = join(granted, 'file');
    for (const verb of verbs) {
      const last = verb[0] === 'send' || verb[0] === 'lend' ? 2 : 4;
      for (let descriptor = 0; descriptor <= last; descriptor++) {
        for (const [way, path] of [
          ['folder', granted],
          ['path', granted],
          ['path', own],
          ['path-nofollow', '/proc/self/exe'],
          ['path', '/dev/null'],
          ['read', own],
          ['append', own],
          ['epoll', ''],
        ] as [string, string][]) {
          const ended = await startWith(descriptor, [way, path], verb);
          // Descriptor 1 is where the probe would answer; descriptor 2 is where the line goes.
          assertNothingRun(ended, `${verb[0]} ${descriptor}: ${way} ${path}`);
          if (descriptor !== 2) assert.match(ended.stderr, new RegExp(`"descriptor ${descriptor}"`));
        }
      }
    }
  });

  it('the lock that `receive` is given is a plain file, and never a place', async () => {
    const tree = jail.folder(join(jail.home, 'tree'), 0o700);
    const lock = jail.file(join(jail.home, 'lock'), '', 0o600);
    const receive = ['receive', tree, '--', 'x'];
    const good = await startWith(5, ['read', lock], receive);
    assert.equal(good.stdout, 'memfd\tEPERM\n', good.stderr);
    for (const [way, path] of [
      ['path', lock],
      ['folder', tree],
      ['path', tree],
      ['read', '/dev/null'],
    ] as [string, string][])
      assertNothingRun(await startWith(5, [way, path], receive), `${way} ${path}`);
  });

  it('a device, and a descriptor that is not there, are no places', async () => {
    for (const descriptor of [0, 2]) {
      const ended = await startWith(descriptor, ['both', '/dev/null'], ['send', run]);
      assert.equal(ended.status, descriptor === 0 ? 2 : 0, ended.stderr);
    }
    // libc gives a program with a capability a device in the place of one that is closed.
    for (const descriptor of [0, 1, 2]) {
      const call = read(`/proc/self/fd/${descriptor}/secret`);
      const closed = await startWith(descriptor, ['none', ''], ['send', run], call);
      assert.doesNotMatch(closed.stdout, /OK/);
    }
  });

  it('RUN in a mount of its own, by the /proc of another process, is refused', async () => {
    const rsyncd = join(run, 'rsyncd');
    const pid = await jail.hold(rsyncd, guarded);
    const there = `/proc/${pid}/root${run}`;
    const input = `${read(join(guarded, 'secret')).join('\t')}\n`;
    for (const name of ['root', 'cwd/../../../../../../..']) {
      const path = name === 'root' ? there : `/proc/${pid}/${name}${run}`;
      const ended = await jail.start(jail.account, jail.launch, ['send', path], { input });
      assertNothingRun(ended, path);
    }
  });

  it('in namespaces of its own the launcher lends nothing', async () => {
    const unshare = ['/usr/bin/unshare', '--user', '--mount', '--propagation', 'private'];
    const chroot = ['/usr/sbin/chroot', '/'];
    const input = `${read(join(granted, 'file')).join('\t')}\n`;
    for (const [as, more] of [
      ['--map-current-user', []],
      ['--map-root-user', []],
      ['--map-root-user', chroot],
    ] as [string, string[]][]) {
      const [program = '', ...args] = [...unshare, as, ...more, jail.launch, 'send', run];
      const ended = await jail.start(jail.account, program, args, { input });
      assertNothingRun(ended, [as, ...more].join(' '));
      assert.match(ended.stderr, /^dialback-launch: Cannot /);
    }
  });
});
