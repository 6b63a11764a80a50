// Goal: what a hostile host could do with the client's rsync, if it took it over: a probe in rsync's place
// tries it in the launcher's `send`. All that must fail fails, all that a backup needs works, and
// docs/security.md says the same.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type Answer,
  assertDocumented,
  attempt,
  attemptWithoutJail,
  callList,
  callsLetThrough,
  commonGroups,
  type Group,
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
import { type Account, abisToTry, type Ended, Jail, type StartOptions } from '../../support/jail.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, matchingLines, says, wording } from '../../support/wording.ts';
import { compileLauncher, NEEDS_ROOT, until } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;

/** A jail, and a machine's files: within the roots, kept back in every way, and outside. */
class Sender {
  readonly jail: Jail;
  readonly data: string;
  readonly spot: string;
  /** Run folders: the test's own scope, and all of the machine. */
  readonly run: string;
  readonly runAll: string;
  /** The same scope as `run`, with the right to list all folders. */
  readonly runList: string;
  /** In a namespace of the account's own, the folder that root's list names is in the scope, or where RUN/rsyncd is. */
  namespaces: { scope: number; run: number } = { scope: 0, run: 0 };

  constructor() {
    const jail = Jail.make();
    this.jail = jail;
    this.data = join(jail.base, 'data');
    this.spot = join(this.data, 'granted/spot');
    const { base, home } = jail;
    const secret = (...path: string[]): void => {
      const full = join(base, ...path);
      mkdirSync(join(full, '..'), { recursive: true, mode: 0o755 });
      writeFileSync(full, 'a secret\n', { mode: 0o600 });
    };
    for (const path of [
      'data/granted/private/file',
      'data/kept/file',
      'data/guarded/file',
      'data/lone',
      'outside/file',
    ])
      secret(...path.split('/'));
    const granted = join(this.data, 'granted');
    chmodSync(join(granted, 'private'), 0o700);
    jail.file(join(granted, 'nobody may'), 'text\n', 0);
    jail.file(join(granted, 'attributes'));
    execFileSync('/usr/bin/setfattr', ['-n', 'user.there', '-v', '1', join(granted, 'attributes')]);
    symlinkSync('file', join(base, 'outside/link'));
    chmodSync(join(base, 'outside'), 0o700);
    symlinkSync(join(base, 'outside/file'), join(granted, 'to outside'));
    symlinkSync('../kept/file', join(granted, 'to kept'));
    linkSync(join(this.data, 'kept/file'), join(granted, 'hard link'));
    execFileSync('mknod', [join(granted, 'block'), 'b', '7', '0']);
    execFileSync('/usr/bin/mkfifo', [join(granted, 'fifo')]);
    for (const name of ['a proc', 'sysfs', 'mount point']) mkdirSync(join(granted, name));
    writeFileSync(jail.never, `# kept back by root\n\n${this.data}/guarded\n`);
    jail.folder(join(home, '.ssh'), 0o700);
    jail.file(join(home, '.ssh/id_other'), 'the identity of another remote\n', 0o600);
    jail.file(join(home, 'a file'), 'of the account\n', 0o600);
    const records = [
      `root ${this.data}`,
      `root ${home}`,
      `never ${this.data}/kept`,
      `never ${this.data}/lone`,
      `never ${home}/.ssh/id_other`,
    ];
    this.run = jail.run('run-AAAAAA', records);
    this.runList = jail.run('run-CCCCCC', [...records, 'list /']);
    this.runAll = jail.run('run-BBBBBB', ['root /', `never ${this.data}/kept`]);
    jail.file(join(home, 'state/journal.jsonl'), '{}\n', 0o600);
  }

  async hold(): Promise<void> {
    const { jail, data, run } = this;
    const guarded = join(data, 'guarded');
    this.namespaces = {
      scope: await jail.hold(join(data, 'granted/mount point'), guarded),
      run: await jail.hold(join(run, 'rsyncd'), guarded),
    };
  }

  /** How `send` is started for a row. @param abi of Landlock, where the kernel's own is not meant */
  launch({ place, through }: Row, abi?: number | 'none'): { as: 'user' | 'root'; launch: string[] } {
    const { launch, account, probe } = this.jail;
    const runs: Record<string, string> = {
      ...{ all: this.runAll, list: this.runList },
      namespace: `/proc/${this.namespaces.run}/root${this.run}`,
    };
    const run = runs[place ?? ''] ?? this.run;
    const send = [launch, 'send', run];
    const { uid, gid } = account;
    const as = ['/usr/bin/setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
    if (through) return { as: 'root', launch: [...through, ...as, ...send] };
    if (abi === undefined) return { as: 'user', launch: send };
    return { as: 'root', launch: [probe, '--kernel', `landlock=${abi}`, String(uid), String(gid), ...send] };
  }

  /** What `send` alone has rows for. */
  groups(places: Places): Group[] {
    const { base, home } = this.jail;
    const { data } = this;
    const [blockDevice = 'none'] = readdirSync('/dev', { withFileTypes: true })
      .filter(each => each.isBlockDevice())
      .map(each => each.name);
    const granted = join(data, 'granted');
    const read = (path: string): string[] => ['open', path, 'read'];
    const all = { place: 'all' };
    const list = { place: 'list' };
    const script = 'mount -t proc proc "$1/a proc" && mount -t sysfs sysfs "$1/sysfs" && shift && exec "$@"';
    const unshare = ['/usr/bin/unshare', '--mount', '--propagation', 'private', '--'];
    const mounts = { through: [...unshare, '/bin/sh', '-c', script, 'sh', granted] };
    const root = { control: 'root' } as const;
    const outside = join(base, 'outside/file');
    const holder = `/proc/${this.namespaces.scope}`;
    const mounted = `${holder}/root${granted}/mount point`;
    const asDescriptor = (way: string, path = mounted): Partial<Row> => ({
      through: [places.probe, '--with', '2', way, path],
    });
    const own: Group[] = [
      {
        title: 'What a backup needs',
        rows: [
          row("read a file of root's with mode 0600", read(join(granted, 'private/file')), {
            works: 'the capability is lent for this',
          }),
          row('read a file with mode 0000', read(join(granted, 'nobody may')), { works: 'the same' }),
          row("list a folder of root's with mode 0700", ['open', join(granted, 'private'), 'folder'], {
            works: 'the same',
          }),
          row('read by a descriptor of the folder', ['openat', join(granted, 'private'), 'file'], {
            works: 'the same',
          }),
          row('`lstat`', ['stat', join(granted, 'private/file')], { works: 'the same' }),
          row('`readlink`', ['readlink', join(granted, 'to kept')], { works: 'the same' }),
          row('`lgetxattr`', ['lgetxattr', join(granted, 'attributes'), 'user.there'], { works: 'the same' }),
          row('`llistxattr`', ['llistxattr', join(granted, 'attributes')], { works: 'the same' }),
          row("read rsync's config in the run folder", read(join(this.run, 'rsyncd/rsyncd.conf')), {
            works: 'it holds the scope, and no secret',
          }),
        ],
      },
      {
        title: 'Reading what is not in the scope',
        rows: [
          row('a file outside the roots', read(outside)),
          row('the same with `..` in its path', read(`${granted}/../../outside/file`)),
          row('the same with doubled slashes', read(`//${outside.replaceAll('/', '//')}`)),
          row('the same through a symlink inside the scope', read(join(granted, 'to outside'))),
          row('the same by a descriptor of its folder', ['openat', join(base, 'outside'), 'file']),
          row('the same after `chdir`', ['chdir_open', join(base, 'outside'), 'file']),
          row('the same, opened as a path and then again', ['reopen', outside]),
          row('the same through /proc/self/root', read(`/proc/self/root${outside}`)),
          row('the same through /proc/self/cwd', read(`/proc/self/cwd${outside}`)),
          row("the same through another process's root", read(`/proc/1/root${outside}`), root),
          row('the same by `openat2`', ['openat2', outside, 'read']),
          row('list a folder outside the roots', ['open', join(base, 'outside'), 'folder']),
          row('the attributes of a file outside the roots (`lstat`)', ['stat', outside], {
            works: 'Landlock does not cover names and attributes: docs/design.md says what that tells',
          }),
          row('where a symlink outside the roots leads', ['readlink', join(base, 'outside/link')], {
            works: 'the same',
          }),
          row("the names of a file's xattrs outside the roots", ['llistxattr', outside], {
            works: 'the same',
          }),
        ],
      },
      {
        title: 'For an rsync that opens folders above the roots: the scope has `list /`',
        rows: [
          row('list / itself', ['open', '/', 'folder'], {
            ...list,
            works: 'this rsync needs it for each file',
          }),
          row('list a folder outside the roots', ['open', join(base, 'outside'), 'folder'], {
            ...list,
            works: 'the right to list reaches all below "/"',
          }),
          row('a file outside the roots', read(outside), list),
          row('the same through a symlink inside the scope', read(join(granted, 'to outside')), list),
          row('a file below a `never` folder of the scope', read(join(data, 'kept/file')), list),
          row("a file that root's list names (/etc/dialback/never)", read(join(data, 'guarded/file')), list),
          row('the state folder: the journal', read(join(home, 'state/journal.jsonl')), list),
          row('a character device in /dev', read('/dev/zero'), list),
          row('/proc/self/environ', read('/proc/self/environ'), list),
        ],
      },
      {
        title: '`never`: what is kept back',
        rows: [
          row('a file below a `never` folder of the scope', read(join(data, 'kept/file'))),
          row('the same with `..` in its path', read(`${granted}/../kept/file`)),
          row('the same with doubled slashes', read(`${data}//kept//file`)),
          row('the same through a symlink inside the scope', read(join(granted, 'to kept'))),
          row('the same by a descriptor of its folder', ['openat', join(data, 'kept'), 'file']),
          row('the same after `chdir`', ['chdir_open', join(data, 'kept'), 'file']),
          row('the same, opened as a path and then again', ['reopen', join(data, 'kept/file')]),
          row('the same through /proc/self/root', read(`/proc/self/root${data}/kept/file`)),
          row('the same with "/" as the root', read(join(data, 'kept/file')), all),
          row('a plain file that is a `never`', read(join(data, 'lone'))),
          row("a file that root's list names (/etc/dialback/never)", read(join(data, 'guarded/file'))),
          row('the same with "/" as the root', read(join(data, 'guarded/file')), all),
          row('the state folder: the journal', read(join(home, 'state/journal.jsonl'))),
          row("the state folder: this run's host key", read(join(this.run, 'key'))),
          row("the state folder: this run's scope", read(join(this.run, 'scope'))),
          row('the state folder: another run', read(join(this.runAll, 'key'))),
          row('the state folder, with "/" as the root', read(join(home, 'state/journal.jsonl')), all),
          row('the identity of another remote', read(join(home, '.ssh/id_other'))),
          row('names in a `never` folder', ['open', join(data, 'kept'), 'folder'], {
            works: 'a folder above it had to be listed, and the right to list reaches all below',
          }),
          row('the attributes of a file in it (`lstat`)', ['stat', join(data, 'kept/file')], {
            works: 'Landlock does not cover them',
          }),
          row('a hard link inside the scope to a file of it', read(join(granted, 'hard link')), {
            works: 'it is the same file: `doctor` warns of hard links to a `never`',
          }),
        ],
      },
      {
        title:
          "A mount namespace of the account's own, in which a `never` folder of root's list is in the scope",
        rows: [
          row('a file of it through /proc/PID/root', read(`${mounted}/file`)),
          row('the same through /proc/PID/cwd', read(`${holder}/cwd/file`)),
          row('the same through /proc/PID/fd', read(`${holder}/fd/3/file`)),
          row('the same by a descriptor of the folder', ['openat', mounted, 'file']),
          row('the same after `chdir`', ['chdir_open', mounted, 'file']),
          row('the folder as standard error', read('/proc/self/fd/2/file'), asDescriptor('path')),
          row('the folder as standard error, open', read('/proc/self/fd/2/file'), asDescriptor('folder')),
          row('the file as standard error', read('/proc/self/fd/2'), asDescriptor('path', `${mounted}/file`)),
          row(
            "the run folder's name through /proc/PID/root, with the folder at RUN/rsyncd",
            read(join(data, 'guarded/file')),
            {
              place: 'namespace',
            },
          ),
        ],
      },
      {
        title: 'Devices and the kernel\'s files ("/" as the root, where not said otherwise)',
        rows: [
          row('a file elsewhere on the machine', read(outside), { ...all, works: 'it is in the scope' }),
          row('a block device in /dev', read(`/dev/${blockDevice}`), { ...all, mayLack: true }),
          row('a character device in /dev', read('/dev/zero'), all),
          row('/dev/null, to write', ['open', '/dev/null', 'write'], all),
          row('list /dev', ['open', '/dev', 'folder'], {
            ...all,
            works: '"/" had to be listed, and the right to list reaches all below',
          }),
          row('/proc/1/environ', read('/proc/1/environ'), { ...all, ...root }),
          row('/proc/self/environ', read('/proc/self/environ'), all),
          row('/proc/self/maps', read('/proc/self/maps'), all),
          row('/proc/self/mem, to read', ['memory_file', '/proc/self/mem'], all),
          row('/proc/self/mem, to write', ['write_memory_file', '/proc/self/mem'], all),
          row('the environment of another process of the user', read(`/proc/${VICTIM}/environ`), all),
          row('the memory of another process of the user', ['memory_file', `/proc/${VICTIM}/mem`], all),
          row('/proc/kallsyms', read('/proc/kallsyms'), all),
          row('/proc/sys', read('/proc/sys/kernel/hostname'), all),
          row('/sys', read('/sys/kernel/uevent_seqnum'), all),
          row('a proc mounted inside the scope', read(join(granted, 'a proc/self/environ')), mounts),
          row('a sysfs mounted inside the scope', read(join(granted, 'sysfs/kernel/uevent_seqnum')), mounts),
          row("a block device's node inside the scope, outside /dev", read(join(granted, 'block')), {
            works:
              'Landlock does not tell kinds of files apart: mount such a place nodev, or name it in `never`',
          }),
          row('a FIFO inside the scope', ['open', join(granted, 'fifo'), 'wait-not'], { works: 'the same' }),
        ],
      },
    ];
    return [...own, ...commonGroups(places, 'of the scope, which the user owns')];
  }

  /** Runs `send` (or another verb) as the user, with an attempt that would work. */
  async send(
    args: string[] = ['send', this.run],
    { as = this.jail.account, ...options }: StartOptions & { as?: Account | 'root' } = {},
  ): Promise<Ended> {
    return await this.jail.start(as, this.jail.launch, args, { input: 'memfd\n', ...options });
  }

  static #shared: Sender | undefined;

  /** One for all suites of this file: a launcher takes a second of processor time to compile. */
  static shared(): Sender {
    Sender.#shared ??= new Sender();
    return Sender.#shared;
  }

  static disposeShared(): void {
    Sender.#shared?.dispose();
  }

  dispose(): void {
    this.jail.dispose();
  }
}

after(() => Sender.disposeShared());

describe('the jail of send', { skip: SKIP }, () => {
  let sender: Sender;
  let jail: Jail;
  before(() => {
    sender = Sender.shared();
    jail = sender.jail;
  });

  itShort('refuses all but reading the scope, as docs/security.md says', async () => {
    await sender.hold(); // for each test: one attempt's control ends all of the account's processes
    await using around = await Surroundings.make(jail, sender.spot);
    const groups = sender.groups(around.places);
    const answers: Answer[] = [];
    for (const each of groups.flatMap(group => group.rows)) {
      const { outcome } = await attempt(jail, each, { ...sender.launch(each), spots: [sender.spot] });
      const control = await attemptWithoutJail(jail, each, { spots: [sender.spot], hasCapability: true });
      answers.push({ row: each, jailed: [outcome], control });
    }
    assert.deepEqual(answers.flatMap(wrongWith), []);
    assertDocumented('send', table(['in `send`'], groups, answers));
  });

  itLong('lets these system calls through, and no others', async () => {
    if (process.arch !== 'x64') return; // the numbers and the list are x86-64's
    const calls = await callsLetThrough(jail, [jail.launch, 'send', sender.run]);
    assertDocumented('send calls', callList(calls));
  });

  itLong('refuses the same with every older Landlock, and with a newer one', async () => {
    await sender.hold(); // for each test: one attempt's control ends all of the account's processes
    await using around = await Surroundings.make(jail, sender.spot);
    const rows = sender.groups(around.places).flatMap(group => group.rows);
    const { stderr } = await jail.start(jail.account, jail.launch, ['send', sender.run], { input: 'fork\n' });
    const newest = Number(/landlock_abi (\d+)/.exec(stderr)?.[1]);
    assert.ok(newest >= 1, stderr);
    for (const abi of abisToTry(1, newest)) {
      for (const each of rows.filter(one => one.through === undefined)) {
        const { outcome, ended } = await attempt(jail, each, {
          ...sender.launch(each, abi),
          spots: [sender.spot],
        });
        assert.deepEqual(wrongOutcome(each, outcome, 0), [], `with ABI ${abi}`);
        if (outcome !== 'not started')
          assert.equal(ended.stderr.split('\n')[0], `dialback-launch: landlock_abi ${abi}`);
      }
    }
  });
});

describe('what send leaves of its caller', { skip: SKIP }, () => {
  let sender: Sender;
  let jail: Jail;
  before(() => {
    sender = Sender.shared();
    jail = sender.jail;
  });

  /** What /proc says of the probe while it waits in the jail. `child` is where the launcher was started. */
  async function look(start: string[], options: StartOptions, see: (pid: number) => void): Promise<Ended> {
    const [program = '', ...args] = start;
    let looked = false;
    const ended = await jail.start(jail.account, program, args, {
      ...options,
      input: 'wait\n',
      whenReady: child => {
        looked = true;
        see(child.pid ?? 0);
      },
    });
    assert.ok(looked, ended.stderr);
    return ended;
  }

  it('is one capability, and nothing else: no variable, descriptor, signal, limit or folder', async () => {
    const open = openSync('/etc/shadow', 'r');
    const environment = {
      LD_PRELOAD: join(jail.base, 'none.so'),
      LD_LIBRARY_PATH: jail.home,
      GCONV_PATH: jail.home,
      LOCPATH: jail.home,
      TZ: '/etc/shadow',
      TMPDIR: jail.home,
      RSYNC_RSH: 'sh',
      RSYNC_CONNECT_PROG: 'sh',
      SSH_ORIGINAL_COMMAND: 'rsync --server',
    };
    // The caller's caller ignores and blocks what it can.
    const start = ['/usr/bin/env', '--ignore-signal', '--block-signal', jail.launch, 'send', sender.run];
    try {
      const ended = await look(start, { environment, more: [open, open, open, open] }, pid => {
        const proc = `/proc/${pid}`;
        const status = Object.fromEntries(
          readFileSync(`${proc}/status`, 'latin1')
            .split('\n')
            .map(line => line.split(':\t', 2)),
        ) as Record<string, string>;
        const reads = '0000000000000004'; // bit 2, CAP_DAC_READ_SEARCH
        const { CapInh, CapPrm, CapEff, CapAmb, NoNewPrivs, Seccomp } = status;
        assert.deepEqual(
          { CapInh, CapPrm, CapEff, CapAmb },
          { CapInh: reads, CapPrm: reads, CapEff: reads, CapAmb: reads },
        );
        assert.deepEqual({ NoNewPrivs, Seccomp }, { NoNewPrivs: '1', Seccomp: '2' });
        const { SigBlk, SigIgn } = status;
        const none = '0000000000000000';
        assert.deepEqual({ SigBlk, SigIgn }, { SigBlk: none, SigIgn: none });
        const variables = readFileSync(`${proc}/environ`, 'latin1').split('\0').filter(Boolean);
        // The launcher's own library, which is a sealed file without a name, and its table.
        const library = readdirSync(`${proc}/fd`).find(each => !['0', '1', '2'].includes(each));
        const preload = `LD_PRELOAD=/proc/self/fd/${library}`;
        const table = `DIALBACK_MOUNTS=${sender.run}/rsyncd`;
        assert.deepEqual(variables, ['PATH=/usr/bin:/bin', 'LC_ALL=C', preload, table]);
        assert.deepEqual(readdirSync(`${proc}/fd`).sort(), ['0', '1', '2', library].sort());
        assert.match(readlinkSync(`${proc}/fd/${library}`), /^\/memfd:library /);
        assert.equal(readlinkSync(`${proc}/cwd`), '/');
        const command = readFileSync(`${proc}/cmdline`, 'latin1').split('\0').slice(0, -1);
        const config = `--config=${sender.run}/rsyncd/rsyncd.conf`;
        assert.deepEqual(command, ['rsync', '--server', '--daemon', config, '.']);
        const limits = readFileSync(`${proc}/limits`, 'latin1');
        for (const [name, most] of [
          ['core file size', '1'], // which keeps one from being piped to a program, too (core(5))
          ['open files', '4096'],
        ])
          assert.match(limits, new RegExp(`^Max ${name} +${most} +${most} `, 'm'));
      });
      assert.equal(ended.stdout, 'ready\nwait\tOK\n');
    } finally {
      closeSync(open);
    }
  });

  it('is a speed limit, where one is given', async () => {
    await look([jail.launch, 'send', sender.run, '512'], {}, pid => {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
      const config = `--config=${sender.run}/rsyncd/rsyncd.conf`;
      assert.deepEqual(command, ['rsync', '--server', '--daemon', config, '--bwlimit=512', '.']);
    });
  });

  it('ends with it, however the caller ends', async () => {
    const start = ['/usr/bin/timeout', '--foreground', '60', jail.launch, 'send', sender.run];
    const held = jail.processes();
    await look(start, {}, caller => {
      assert.equal(jail.processes().filter(pid => !held.includes(pid)).length, 2, 'timeout and the probe');
      process.kill(caller, 'SIGKILL');
    });
    await until('rsync is gone', () => jail.processes().every(pid => held.includes(pid)), 5_000);
  });
});

describe('what lend passes on', { skip: SKIP }, () => {
  let sender: Sender;
  before(() => {
    sender = Sender.shared();
  });

  itShort('is nothing in a launcher that was built without it, as by `make install`', async () => {
    const { account, base, never, probe } = sender.jail;
    const to = join(base, 'bin/without lend');
    compileLauncher({ to, serviceUid: account.uid, rsync: probe, dialback: probe, never, inherited: false });
    sender.jail.lend(to);
    const { status, stdout, stderr } = await sender.jail.start(account, to, [
      'lend',
      'gate',
      '--run',
      sender.run,
    ]);
    rmSync(to);
    assert.equal(status, 126);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      matching`^dialback-launch: Cannot run "lend": ${says('this-launcher-was-built-without')}\n$`,
    );
  });

  it('is nothing, where rsync has no capability that it could inherit', async () => {
    const { status, stderr } = await sender.jail.start(sender.jail.account, sender.jail.launch, [
      'lend',
      'gate',
      '--run',
      sender.run,
    ]);
    assert.equal(status, 126);
    assert.match(
      stderr,
      /^dialback-launch: Cannot lend "cap_dac_read_search": .* make install INHERITED=1\n$/,
    );
  });

  it("is the inheritable bit, two variables of sshd's, and nothing else", async () => {
    const { jail, run } = sender;
    execFileSync('setcap', ['cap_dac_read_search=i', jail.probe]);
    const passed = {
      SSH_ORIGINAL_COMMAND: 'rsync --server --daemon .',
      SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 2',
    };
    for (const environment of [passed, {}]) {
      const open = openSync('/etc/shadow', 'r');
      let looked = false;
      await jail.start(jail.account, jail.launch, ['lend', 'gate', '--run', run], {
        input: 'wait\n',
        environment: { ...environment, LD_PRELOAD: '/none.so', NODE_OPTIONS: '--inspect', SSH_CLIENT: 'x' },
        more: [open, open],
        whenReady: ({ pid }) => {
          looked = true;
          const status = readFileSync(`/proc/${pid}/status`, 'latin1');
          // The probe stands in dialback's place and in rsync's; its file capability makes permitted of inheritable.
          for (const [set, bits] of [
            ['Inh', 4],
            ['Prm', 4],
            ['Eff', 0],
            ['Amb', 0],
          ])
            assert.match(status, new RegExp(`^Cap${set}:\\t0{15}${bits}$`, 'm'));
          const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
          assert.deepEqual(command, ['dialback', 'gate', '--run', run]);
          const variables = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').filter(Boolean);
          const expected = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
          assert.deepEqual(variables, ['PATH=/usr/bin:/bin', 'LC_ALL=C', ...expected]);
          assert.deepEqual(readdirSync(`/proc/${pid}/fd`).sort(), ['0', '1', '2']);
        },
      });
      closeSync(open);
      assert.ok(looked);
    }
  });
});

describe('send refuses, in one line', { skip: SKIP }, () => {
  let sender: Sender;
  let jail: Jail;
  before(() => {
    sender = Sender.shared();
    jail = sender.jail;
  });

  /** One line of the launcher's, and nothing run. */
  function assertRefused({ status, stdout, stderr }: Ended, line: RegExp, expected = 126): void {
    assert.match(stderr, /^dialback-launch: Cannot [a-z ]+ "[^\n]*": [^\n]+\n$/);
    assert.match(stderr, line);
    assert.equal(stdout, '', 'nothing was run');
    assert.equal(status, expected, stderr);
  }

  /** Runs `send` in a state that is undone afterwards, and shows that it works again then. */
  async function inState(change: () => void, undo: () => void, see: () => Promise<void>): Promise<void> {
    change();
    try {
      await see();
    } finally {
      undo();
    }
    const { status, stderr } = await sender.send();
    assert.equal(status, 0, `after it was undone: ${stderr}`);
  }

  it('works otherwise', async () => {
    assert.deepEqual(await sender.send(), {
      status: 0,
      signal: null,
      stdout: 'memfd\tEPERM\n',
      stderr: (await sender.send()).stderr,
    });
  });

  it('wrong arguments', async () => {
    const line = matching`Cannot run "launch": ${says('its-arguments-are-none-of')}: `;
    const { run } = sender;
    for (const args of [
      [],
      [''],
      ['--help'],
      ['sendx', run],
      ['send'],
      ['send', run, '1', '2'],
      ['send', run, '1', '.'],
      ['lend'],
      ['lend', 'gate', '--run'],
      ['lend', 'gate', run, '--run'],
      ['lend', 'backup', '--run', run],
      ['lend', 'gate', '--run', run, '--check'],
    ])
      assertRefused(await sender.send(args), line);
    // Of 0.1.1: a dialback that was started before an upgrade can ask for them.
    const tree = jail.folder(join(jail.home, 'tree'), 0o700);
    for (const args of [
      ['receive', tree, '--', '--version'],
      ['pump', '60'],
      ['place', tree, tree, '--', '--version'],
    ])
      assertRefused(
        await sender.send(args),
        matching`Cannot run "[a-z]+": ${says('the-program-jail-does-this')}; `,
      );
    for (const kib of ['', '-1', '12a', ' 1', '1 ', '0x10', '1.5', '1000000000', '--server'])
      assertRefused(await sender.send(['send', run, kib]), matchingLines`: ${says('it-is-no-number-of')}$`);
  });

  it('another user, root too', async () => {
    const { uid, gid } = jail.account;
    const line = (by: number): RegExp =>
      new RegExp(`Cannot run "${jail.launch}": ${wording('it-was-made-for-uid-and', uid)} ${by}`);
    assertRefused(await sender.send(undefined, { as: { uid: 65534, gid } }), line(65534));
    assertRefused(await sender.send(undefined, { as: 'root' }), line(0));
    // Who is not in the group cannot start it at all.
    await assert.rejects(sender.send(undefined, { as: { uid, gid: 65534 } }), { code: 'EACCES' });
  });

  it('no capability, or a caller that forbids it', async () => {
    await inState(
      () => void execFileSync('setcap', ['-r', jail.launch]),
      () => jail.lend(jail.launch),
      async () =>
        assertRefused(
          await sender.send(),
          matching`${says('cannot-does-not-have', 'lend "cap_dac_read_search"')} it: setcap `,
        ),
    );
    const args = ['--no-new-privs', '--', jail.launch, 'send', sender.run];
    assertRefused(
      await jail.start(jail.account, '/usr/bin/setpriv', args),
      matching`Cannot lend "cap_dac_read_search": ${says('the-caller-has-set-no')}`,
    );
    const bounded = [
      '--bounding-set=-dac_read_search',
      `--reuid=${jail.account.uid}`,
      `--regid=${jail.account.gid}`,
    ];
    const { stderr, status, stdout } = await jail.start('root', '/usr/bin/setpriv', [
      ...bounded,
      '--clear-groups',
      '--',
      jail.launch,
      'send',
      sender.run,
    ]);
    // The kernel's own answer where a file asks for what the bounding set has not: it is not even started.
    assert.ok(
      status === 126 && stdout === '' && /Operation not permitted|does not have it/.test(stderr),
      stderr,
    );
  });

  it('a launcher, rsync or list that others could change', async () => {
    const { launch, probe, never, base, account } = jail;
    const written = matching`${says('can-be-written-by-others-mode')} 0\d\d\d\)`;
    const owned = new RegExp(wording('belongs-to-uid-not-to', account.uid));
    const give = (path: string) => () => chownSync(path, account.uid, account.gid);
    const take = (path: string) => () => chownSync(path, 0, 0);
    for (const [path, mode] of [
      [launch, 0o750],
      [probe, 0o755],
      [never, 0o644],
      [join(base, 'bin'), 0o755],
      [join(base, 'etc'), 0o755],
      [base, 0o755],
    ] as const) {
      for (const bit of [0o020, 0o002]) {
        await inState(
          () => chmodSync(path, mode | bit),
          () => chmodSync(path, mode),
          async () => assertRefused(await sender.send(), written),
        );
      }
    }
    for (const path of [probe, never, join(base, 'bin'), join(base, 'etc'), base])
      await inState(give(path), take(path), async () => assertRefused(await sender.send(), owned));
    await inState(
      () => {
        chownSync(launch, account.uid, account.gid);
        execFileSync('setcap', ['cap_dac_read_search=ep', launch]);
      },
      () => jail.lend(launch),
      async () => assertRefused(await sender.send(), owned),
    );
  });

  it('a copy of itself elsewhere', async () => {
    const copy = join(jail.base, 'bin/copy');
    copyFileSync(jail.launch, copy);
    jail.lend(copy);
    const ended = await jail.start(jail.account, copy, ['send', sender.run], {});
    assertRefused(ended, matching`Cannot run "launch": ${says('it-is-another-file-than')} `);
    rmSync(copy);
  });

  it('no rsync, no list, and a list with something else in it', async () => {
    const aside = (path: string): [() => void, () => void] => [
      () => renameSync(path, `${path}.aside`),
      () => renameSync(`${path}.aside`, path),
    ];
    await inState(...aside(jail.probe), async () =>
      assertRefused(
        await sender.send(),
        /Cannot trust ".*\/probe": realpath: No such file or directory/,
        127,
      ),
    );
    await inState(...aside(jail.never), async () =>
      assertRefused(
        await sender.send(),
        /Cannot trust ".*\/never": realpath: No such file or directory/,
        127,
      ),
    );
    const list = readFileSync(jail.never);
    for (const [content, found] of [
      ['relative/path\n', says('a-path-in-it-is-not')],
      [' /leading blank\n', says('a-path-in-it-is-not')],
      ['/fine\n~/home\n', says('a-path-in-it-is-not')],
      ['/with\0zero\n', says('a-line-of-it-has')],
      ['/with a carriage return\r\n', says('a-line-of-it-has')],
      ['/tab\tbed\n', says('a-line-of-it-has')],
      ['/blank behind \n', says('a-line-of-it-ends')],
      ['/not/../there\n', says('a-path-in-it-is-not')],
      ['/./there\n', says('a-path-in-it-is-not')],
      ['/two//slashes\n', says('a-path-in-it-is-not')],
      [`/${'x'.repeat(5000)}\n`, says('a-path-in-it-is-not-from')],
      ['/a\n'.repeat(20_000), matching`${says('it-names-more-than')} \d+ paths`],
    ] as const) {
      await inState(
        () => writeFileSync(jail.never, content),
        () => writeFileSync(jail.never, list),
        async () => assertRefused(await sender.send(), found),
      );
    }
    for (const content of ['', '#', '# a comment', '/no newline at its end', '\n\n']) {
      writeFileSync(jail.never, content);
      assert.equal((await sender.send()).status, 0, `"${content}" is a list`);
    }
    // A folder or a FIFO in its place: an answer, and no waiting.
    await inState(
      () => {
        rmSync(jail.never);
        mkdirSync(jail.never, { mode: 0o755 });
      },
      () => {
        rmSync(jail.never, { recursive: true });
        writeFileSync(jail.never, list);
      },
      async () => assertRefused(await sender.send(), /never/),
    );
  });

  it('a list that is a link to what somebody else can write', async () => {
    const own = jail.file(join(jail.home, 'list'), '', 0o644);
    await inState(
      () => {
        renameSync(jail.never, `${jail.never}.aside`);
        symlinkSync(own, jail.never);
      },
      () => renameSync(`${jail.never}.aside`, jail.never),
      async () => assertRefused(await sender.send(), says('belongs-to-uid-not-to', /\d+/)),
    );
  });

  it('a run folder that is none', async () => {
    const state = join(jail.home, 'state');
    const link = join(state, 'run-link00');
    symlinkSync(sender.run, link);
    const strange = join(state, 'run-root00');
    cpSync(sender.run, strange, { recursive: true });
    chmodSync(strange, 0o700); // it is root's, and the capability is not in force yet
    const open = join(state, 'run-root01');
    cpSync(sender.run, open, { recursive: true });
    chmodSync(open, 0o755);
    jail.file(join(state, 'run-file00'));
    const named = matchingLines`: ${says('it-is-not-called-run')}$`;
    for (const [run, found] of [
      [link, /open: (Not a directory|Too many levels of symbolic links)/],
      [strange, /open: Permission denied/],
      [open, matching`${says('it-belongs-to-uid')} 0 with mode 0755`],
      [join(state, 'run-file00'), /open: Not a directory/],
      [join(state, 'run-gone00'), /open: No such file or directory/],
      ['state/run-AAAAAA', named],
      ['run-AAAAAA', named],
      ['', named],
      ['/', named],
      [state, named],
      [`${sender.run}/`, named],
      [`${sender.run}/.`, named],
      [`${sender.run}x`, named],
      [sender.run.slice(0, -1), named],
      [join(state, 'run-AAA.AA'), named],
      [join(state, 'RUN-AAAAAA'), named],
      [join(state, 'run-AAAA\nA'), named],
    ] as const)
      assertRefused(await sender.send(['send', run]), found);
    for (const mode of [0o750, 0o701, 0o500, 0o1700]) {
      await inState(
        () => chmodSync(sender.run, mode),
        () => chmodSync(sender.run, 0o700),
        async () => assertRefused(await sender.send(), says('it-belongs-to-uid-with', /\d+/, /\d{4}/)),
      );
    }
  });

  it('a run folder without what belongs in it', async () => {
    const scope = join(sender.run, 'scope');
    const content = readFileSync(scope);
    const put = (make: () => void): [() => void, () => void] => [
      () => {
        rmSync(scope, { recursive: true, force: true });
        make();
      },
      () => {
        rmSync(scope, { recursive: true, force: true });
        jail.file(scope, content, 0o600);
      },
    ];
    const written = (text: string | Buffer, mode = 0o600) => put(() => void jail.file(scope, text, mode));
    const plain = says('it-is-not-a-plain-file');
    for (const [state, found] of [
      [put(() => {}), /Cannot read "RUN\/scope": open: No such file or directory/],
      [put(() => symlinkSync(jail.never, scope)), /open: Too many levels of symbolic links/],
      [put(() => void jail.folder(scope)), plain],
      [
        put(() => {
          execFileSync('/usr/bin/mkfifo', [scope]);
          chownSync(scope, jail.account.uid, jail.account.gid);
        }),
        plain,
      ],
      [put(() => writeFileSync(scope, 'root /\0', { mode: 0o644 })), plain], // root's
      [written(content, 0o620), plain],
      [written(content, 0o602), plain],
      [written(Buffer.alloc(1024 * 1024 + 1, 'root /\0')), says('it-has-more-than-bytes', 1048576)],
      [written(''), says('it-does-not-end-with')],
      [written('root /'), says('it-does-not-end-with')],
      [written('root /\n'), says('it-does-not-end-with')],
      [written('\0'), says('it-has-a-record-of')],
      [written('root /\0\0'), says('it-has-a-record-of')],
      [written('Root /\0'), says('it-has-a-record-of')],
      [written('root /\0write /\0'), says('it-has-a-record-of')],
      [written('root /\0list /etc\0'), says('it-has-a-record-of')],
      [written('root /\0list //\0'), says('it-has-a-record-of')],
      [written('root\0'), says('it-has-a-record-of')],
      [written('root \0'), says('a-path-in-it-is-not')],
      [written('root /tmp/\0'), says('a-path-in-it-is-not')],
      [written('root /tmp//\0'), says('a-path-in-it-is-not')],
      [written('root //\0'), says('a-path-in-it-is-not')],
      [written('root /.\0'), says('a-path-in-it-is-not')],
      [written('root /tmp/.\0'), says('a-path-in-it-is-not')],
      [written('root /tmp/x/..\0'), says('a-path-in-it-is-not')],
      [written('root /\0library /tmp/../etc\0'), says('a-path-in-it-is-not')],
      [written('root /\0never /tmp/..\0'), says('a-path-in-it-is-not')],
      [written('root tmp\0'), says('a-path-in-it-is-not')],
      [written('root ./tmp\0'), says('a-path-in-it-is-not')],
      [written('root /\0never home\0'), says('a-path-in-it-is-not')],
      [written('root /\0library lib\0'), says('a-path-in-it-is-not')],
      [written('never /tmp\0'), says('it-names-no-root')],
      [written(`root /${'x'.repeat(5000)}\0`), says('a-path-in-it-is-not-from')],
      [written('root /a\0'.repeat(20_000)), matching`${says('it-names-more-than')} \d+ paths`],
    ] as const) {
      await inState(...state, async () => assertRefused(await sender.send(), found));
    }
    const rsyncd = join(sender.run, 'rsyncd');
    await inState(
      () => renameSync(rsyncd, `${rsyncd}.aside`),
      () => renameSync(`${rsyncd}.aside`, rsyncd),
      async () =>
        assertRefused(await sender.send(), /Cannot use "RUN\/rsyncd": open: No such file or directory/),
    );
    await inState(
      () => {
        renameSync(rsyncd, `${rsyncd}.aside`);
        symlinkSync('/etc', rsyncd);
      },
      () => {
        rmSync(rsyncd);
        renameSync(`${rsyncd}.aside`, rsyncd);
      },
      async () =>
        assertRefused(await sender.send(), /open: (Not a directory|Too many levels of symbolic links)/),
    );
  });

  it('a kernel without Landlock', async () => {
    const { uid, gid } = jail.account;
    const none = ['--kernel', 'landlock=none', String(uid), String(gid), jail.launch, 'send', sender.run];
    assertRefused(
      await jail.start('root', jail.probe, none),
      matching`Cannot confine ".*": ${says('this-kernel-has-no-landlock')} \(Function not implemented\)`,
    );
  });

  it('standard error that is a file: a place, for /proc/self/fd/2', async () => {
    const log = jail.file(join(jail.home, 'log'));
    const args = ['-c', 'exec "$0" send "$1" 2>>"$2"', jail.launch, sender.run, log];
    const ended = await jail.start(jail.account, '/bin/sh', args, { input: 'memfd\n' });
    const line = readFileSync(log, 'utf8').split('\n')[1];
    assertRefused({ ...ended, stderr: `${line}\n` }, /Cannot use "descriptor 2": it is not a pipe/);
  });
});
