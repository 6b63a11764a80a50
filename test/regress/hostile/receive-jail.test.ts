// Goal: what a hostile client could do on the host, if it took over the rsync that receives its backup: a
// probe in rsync's place tries it in the launcher's `receive`. All that must fail fails, with a root of its
// own and without, all that a backup needs works, and docs/security.md says the same.
import assert from 'node:assert/strict';
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import {
  type Answer,
  assertDocumented,
  attempt,
  attemptWithoutJail,
  callList,
  callsLetThrough,
  commonGroups,
  type Group,
  LOADER,
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
import { abisToTry, type Ended, Jail, type StartOptions } from '../../support/jail.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;

/** A kernel that gives no namespaces to an ordinary user, or has an older Landlock; see probe.c. */
type Kernel = 'namespaces=none' | `landlock=${number | 'none'}`;

/** A jail, and a host's account: a store with two clients, configs and keys. */
class Receiver {
  readonly jail: Jail;
  readonly store: string;
  /**
   * The client's whose backup is received: its folder, the tree that arrives, a snapshot that it links from.
   */
  readonly shelf: string;
  readonly tree: string;
  readonly snapshot: string;
  /** Places for attempts: in the tree, in the snapshot, of another client. */
  readonly own: string;
  readonly older: string;
  readonly foreign: string;
  /** A file of a snapshot that this run does not link from. */
  readonly oldest: string;

  constructor() {
    const jail = Jail.make();
    this.jail = jail;
    this.store = join(jail.home, 'the store');
    this.shelf = join(this.store, 'clients/acorn');
    this.tree = join(this.shelf, 'arriving/2026-11-23T00-12-00Z/tree');
    this.snapshot = join(this.shelf, 'snapshots/2026-11-22T00-12-00Z/tree');
    const other = join(this.store, 'clients/birch/snapshots/2026-11-22T00-12-00Z/tree');
    this.own = join(this.tree, 'spot');
    this.older = join(this.snapshot, 'spot');
    this.foreign = join(other, 'spot');
    this.oldest = join(this.shelf, 'snapshots/2026-11-21T00-12-00Z/tree/file');
    this.restore();
    jail.file(join(this.tree, 'program'), readFileSync('/bin/echo'), 0o755);
  }

  /** Lays down what attempts without a jail take away. */
  restore(): void {
    const { jail } = this;
    this.#clear();
    for (const path of [
      this.tree,
      this.snapshot,
      join(this.oldest, '..'),
      join(this.foreign, '..'),
      join(jail.home, '.ssh'),
      join(jail.home, 'state/run-CCCCCC'),
    ]) {
      const parts = path.slice(jail.home.length + 1).split('/');
      for (const [index] of parts.entries())
        jail.folder(join(jail.home, ...parts.slice(0, index + 1)), 0o700);
    }
    for (const [path, text] of [
      [join(this.store, 'store.json'), '{"version":1}\n'],
      [join(this.shelf, 'lock'), ''],
      [join(this.shelf, 'journal.jsonl'), '{}\n'],
      [join(this.snapshot, '../snapshot.json'), '{}\n'],
      [this.oldest, 'old\n'],
      [join(jail.home, 'host.toml'), 'store = "…"\n'],
      [join(jail.home, '.ssh/authorized_keys'), 'ssh-ed25519 …\n'],
      [join(jail.home, '.ssh/id_ed25519'), 'a key\n'],
      [join(jail.home, 'state/run-CCCCCC/ssh_config'), 'Host …\n'],
    ] as const)
      jail.file(path, text, 0o600);
  }

  /** One attempt, in one of the jails or without. */
  async attempt(each: Row, how: 'without jail' | Kernel[]): Promise<{ outcome: string; ended?: Ended }> {
    this.restore();
    const { jail, spots } = this;
    if (how !== 'without jail') return await attempt(jail, each, { ...this.launch(how), spots });
    return { outcome: await attemptWithoutJail(jail, each, { spots, hasCapability: false }) };
  }

  get spots(): string[] {
    return [this.foreign, this.own, this.older];
  }

  /** How `receive` is started. @param kernels what is changed of this one */
  launch(
    kernels: Kernel[] = [],
    receive = ['receive', this.tree, this.snapshot, '--', '--a-word-of-rsync'],
  ): { as: 'user' | 'root'; launch: string[] } {
    const { jailPath, probe, account } = this.jail;
    const command = [jailPath, ...receive];
    if (kernels.length === 0) return { as: 'user', launch: command };
    const wrapped = kernels.map((kernel, index) => {
      const { uid, gid } = index === kernels.length - 1 ? account : { uid: 0, gid: 0 };
      return [probe, '--kernel', kernel, String(uid), String(gid)];
    });
    return { as: 'root', launch: [...wrapped.flat(), ...command] };
  }

  groups(places: Places): Group[] {
    const { home, base } = this.jail;
    const { own, older, store, shelf, tree } = this;
    const read = (path: string): string[] => ['open', path, 'read'];
    const write = (path: string): string[] => ['open', path, 'write'];
    const root = { control: 'root' } as const;
    const file = join(own, 'file');
    const fresh = join(own, 'new');
    const old = join(older, 'file');
    const needed = { works: 'rsync does it' };
    const attributes = {
      works: "the account owns it, and Landlock does not cover it: of this client's own snapshots only",
    };
    const shelfOnly = { works: "the same: it lies in this client's folder" };
    const everywhere = {
      worksInSecond: 'the account owns it, and Landlock does not cover it: this needs a root of its own',
    };
    const groups: Group[] = [
      {
        title: 'What a backup needs, in the arriving tree',
        rows: [
          row('make a file', ['open', fresh, 'create-write'], needed),
          row('write a file', write(file), needed),
          row('read a file', read(file), needed),
          row('`mkdir`', ['mkdir', fresh], needed),
          row('`rename`', ['rename', file, fresh], needed),
          row('`unlink`', ['unlink', file], needed),
          row('`rmdir`', ['rmdir', join(own, 'empty')], needed),
          row('`link` within the tree', ['link', file, fresh], needed),
          row('`link` from the older snapshot', ['link', old, fresh], needed),
          row('`chmod`', ['chmod', file], needed),
          row('`fchmod`', ['fchmod', file], needed),
          row('`utimensat`', ['utimensat', file], needed),
          row('`lsetxattr` of user.*', ['lsetxattr', file], needed),
          row('`lremovexattr` of user.*', ['lremovexattr', file], needed),
          row('read a file of the older snapshot', read(old), needed),
          row('read /etc/passwd', read('/etc/passwd'), { works: 'libc looks up names' }),
          row('write to /dev/null', write('/dev/null'), { works: 'harmless' }),
        ],
      },
      {
        title: 'What a fake-super tree never holds, in the arriving tree',
        rows: [
          row('a symlink', ['symlink', '/etc', fresh]),
          row('a symlink (`symlinkat`)', ['symlinkat', '/etc', fresh]),
          row('a FIFO', ['mknod', fresh, 'fifo']),
          row('a socket', ['mknod', fresh, 'socket']),
          row('a character device', ['mknod', fresh, 'character'], root),
          row('a block device', ['mknod', fresh, 'block'], root),
          row('a device in place of a name (`RENAME_WHITEOUT`)', ['whiteout', file, fresh]),
          row('a file of another owner (`chown`)', ['chown_to_other', file], root),
          row('a file with a capability', ['set_file_capability', file], root),
          row('an inode flag (`FS_IOC_SETFLAGS`)', ['setflags', file]),
          row('an inode flag (`file_setattr`)', ['file_setattr', file], { mayLack: true }),
          row('a lease', ['lease', file]),
        ],
      },
      {
        title: 'The older snapshots of the same client',
        rows: [
          row('`unlink`', ['unlink', old]),
          row('`unlinkat`', ['unlinkat', old]),
          row('`rmdir`', ['rmdir', join(older, 'empty')]),
          row('`rename` within', ['rename', old, join(older, 'new')]),
          row('`rename` into the arriving tree', ['rename', old, fresh]),
          row('`rename` out of the arriving tree, over it', ['rename', file, old]),
          row('`renameat2`, exchanging', ['exchange', old, file]),
          row('make a file', ['open', join(older, 'new'), 'create-write']),
          row('make a file without a name (`O_TMPFILE`)', ['open', older, 'tmpfile'], {
            works: 'it gets no name there, and is gone with the process',
          }),
          row('`mkdir`', ['mkdir', join(older, 'new')]),
          row('`link` within', ['link', old, join(older, 'new')]),
          row('`link` from the arriving tree', ['link', file, join(older, 'new')]),
          row('a symlink', ['symlink', '/etc', join(older, 'new')]),
          row('a FIFO', ['mknod', join(older, 'new'), 'fifo']),
          row('`truncate`', ['truncate', old]),
          row('write a file', write(old), {
            works: 'link() asks for it: `verify` finds a changed file',
          }),
          row('open with `O_TRUNC`', ['open', old, 'truncate'], { works: 'the same' }),
          row('`chmod`', ['chmod', old], attributes),
          row('`utimensat`', ['utimensat', old], attributes),
          row('`setxattr` of user.*', ['setxattr', old], attributes),
          row('`removexattr` of user.*', ['removexattr', old], attributes),
          row("read the snapshot's record", read(join(this.snapshot, '../snapshot.json'))),
          row("write the snapshot's record", write(join(this.snapshot, '../snapshot.json'))),
          row("remove the snapshot's record", ['unlink', join(this.snapshot, '../snapshot.json')]),
          row(
            "`chmod` of the snapshot's record",
            ['chmod', join(this.snapshot, '../snapshot.json')],
            everywhere,
          ),
          row(
            'rename the folder of snapshots',
            ['rename', join(shelf, 'snapshots'), join(shelf, 'new')],
            root,
          ),
          row('`chmod` of one that it does not link from', ['chmod', this.oldest], everywhere),
          row('`setxattr` there', ['setxattr', this.oldest], everywhere),
          row('read there', read(this.oldest)),
          row('`chmod` of the folder of snapshots', ['chmod', join(shelf, 'snapshots')], shelfOnly),
          row("`chmod` of the client's lock", ['chmod', join(shelf, 'lock')], everywhere),
          row("write the client's journal", ['open', join(shelf, 'journal.jsonl'), 'append']),
          row("remove the client's lock", ['unlink', join(shelf, 'lock')]),
        ],
      },
      {
        title: 'The rest of the host',
        rows: [
          row('read store.json', read(join(store, 'store.json'))),
          row('write store.json', write(join(store, 'store.json'))),
          row('remove store.json', ['unlink', join(store, 'store.json')]),
          row('`chmod` of store.json', ['chmod', join(store, 'store.json')], everywhere),
          row('names of the other clients', ['open', join(store, 'clients'), 'folder']),
          row('whether another client is there (`lstat`)', ['stat', join(store, 'clients/birch')], {
            worksInSecond: 'Landlock does not cover names and attributes: this needs a root of its own',
          }),
          row("read another client's file", read(join(this.foreign, 'file'))),
          row(
            'the same with `..` in its path',
            read(join(tree, '../../../../birch', this.foreign.split('birch')[1] ?? '', 'file')),
          ),
          row('the same by a descriptor of its folder', ['openat', this.foreign, 'file']),
          row('the same after `chdir`', ['chdir_open', this.foreign, 'file']),
          row('the same through /proc/self/root', read(`/proc/self/root${this.foreign}/file`)),
          row("the same through `grab`'s root", read(`/proc/${VICTIM}/root${this.foreign}/file`)),
          row("`chmod` of it through `grab`'s root", ['chmod', `/proc/${VICTIM}/root${this.foreign}/file`]),
          row('link it into the arriving tree', ['link', join(this.foreign, 'file'), fresh]),
          row('remove it', ['unlink', join(this.foreign, 'file')]),
          row('read host.toml', read(join(home, 'host.toml'))),
          row('write host.toml', write(join(home, 'host.toml'))),
          row('`chmod` of host.toml', ['chmod', join(home, 'host.toml')], everywhere),
          row('`utimensat` of host.toml', ['utimensat', join(home, 'host.toml')], everywhere),
          row('`setxattr` of host.toml', ['setxattr', join(home, 'host.toml')], everywhere),
          row('read ~/.ssh/authorized_keys', read(join(home, '.ssh/authorized_keys'))),
          row('append to ~/.ssh/authorized_keys', ['open', join(home, '.ssh/authorized_keys'), 'append']),
          row('`chmod` of ~/.ssh/authorized_keys', ['chmod', join(home, '.ssh/authorized_keys')], everywhere),
          row('read ~/.ssh/id_ed25519', read(join(home, '.ssh/id_ed25519'))),
          row('list ~/.ssh', ['open', join(home, '.ssh'), 'folder']),
          row('read the run folder', read(join(home, 'state/run-CCCCCC/ssh_config'))),
          row('make a file in the home', ['open', join(home, 'new'), 'create-write']),
          row('make a file in /tmp', ['open', `/tmp/${this.jail.login}`, 'create-write']),
          row('make a file in /dev/shm', ['open', `/dev/shm/${this.jail.login}`, 'create-write']),
          row('read /etc/hostname', read('/etc/hostname')),
          row('read /etc/shadow', read('/etc/shadow'), root),
          row("read the launcher's own list", read(join(base, 'etc/never'))),
          row('/dev/zero', read('/dev/zero')),
          row('/proc/self/environ', read('/proc/self/environ')),
          row('/proc/self/mem, to write', ['write_memory_file', '/proc/self/mem']),
          row("`grab`'s environment", read(`/proc/${VICTIM}/environ`)),
          row("`grab`'s memory", ['memory_file', `/proc/${VICTIM}/mem`]),
          row("where `grab`'s standard input leads", ['readlink', `/proc/${VICTIM}/fd/0`]),
          row('execute a program in the arriving tree', ['execve', join(tree, 'program'), 'executed']),
          row('the same by the dynamic loader', ['execve', LOADER, join(tree, 'program'), 'executed'], {
            works: 'it is in the same jail, and rsync could have been given the same code',
          }),
        ],
      },
    ];
    const common = commonGroups({ ...places, spot: this.foreign }, 'of another client');
    const needs = { works: 'rsync needs it' };
    const owned = { worksInSecond: 'the account owns it, and Landlock does not cover it' };
    return [
      ...groups,
      ...letThrough(common, {
        'open with access mode 3': { worksInSecond: 'it neither reads nor writes, and there is no ioctl()' },
        '`chmod`': owned,
        '`fchmodat`': owned,
        '`utimensat`': owned,
        '`setxattr`': owned,
        '`lsetxattr`': owned,
        '`removexattr`': owned,
        '`lremovexattr`': owned,
        '`setxattr` of an access list': owned,
        '`socketpair`: stream': { works: 'rsync speaks to its remote shell through one' },
        '`socketpair`: datagram': { works: 'it leads nowhere: see the rows below' },
        '`fork`': needs,
        '`vfork`': needs,
        '`clone`': needs,
        'start a thread': { works: 'it is in the same jail' },
        '`execve` of rsync itself': { works: 'it is in the same jail' },
      }),
    ];
  }

  /** What attempts without a jail make outside of their places. */
  #clear(): void {
    for (const path of [
      join(this.shelf, 'new'),
      join(this.jail.home, 'new'),
      `/tmp/${this.jail.login}`,
      `/dev/shm/${this.jail.login}`,
    ])
      rmSync(path, { recursive: true, force: true });
  }

  static #shared: Receiver | undefined;

  /** One for all suites of this file: a launcher takes a second of processor time to compile. */
  static shared(): Receiver {
    Receiver.#shared ??= new Receiver();
    return Receiver.#shared;
  }

  static disposeShared(): void {
    Receiver.#shared?.dispose();
  }

  dispose(): void {
    this.#clear();
    this.jail.dispose();
  }
}

/** Between these two, ABI 6 and its scopes, is what a signal reaches. */
const SINCE_SCOPES = 6;
const SIGNAL_ROWS = ['`kill`', '`kill` of a process group', '`kill` of all that one may signal'];

after(() => Receiver.disposeShared());

describe('the jail of receive', { skip: SKIP }, () => {
  let receiver: Receiver;
  let jail: Jail;
  before(() => {
    receiver = Receiver.shared();
    jail = receiver.jail;
  });

  itShort("refuses all but making this client's snapshot", async () => {
    await using around = await Surroundings.make(jail, receiver.foreign);
    for (const each of receiver.groups(around.places).flatMap(group => group.rows)) {
      const { outcome } = await receiver.attempt(each, []);
      assert.deepEqual(wrongOutcome(each, outcome, 0, each.mayLack), []);
    }
  });

  itLong('refuses it with a root of its own and without, as docs/security.md says', async () => {
    await using around = await Surroundings.make(jail, receiver.foreign);
    const groups = receiver.groups(around.places);
    const answers: Answer[] = [];
    for (const each of groups.flatMap(group => group.rows)) {
      const own = await receiver.attempt(each, []);
      const shared = await receiver.attempt(each, ['namespaces=none']);
      const { outcome: control } = await receiver.attempt(each, 'without jail');
      answers.push({ row: each, jailed: [own.outcome, shared.outcome], control });
      if (own.outcome === 'not started' && shared.outcome === own.outcome) continue;
      assert.match(
        own.ended?.stderr ?? '',
        /^dialback-launch: landlock_abi \d+ own_root\n/,
        'an ordinary user can make namespaces here',
      );
      assert.match(shared.ended?.stderr ?? '', /^dialback-launch: landlock_abi \d+\n/);
    }
    assert.deepEqual(answers.flatMap(wrongWith), []);
    assertDocumented('receive', table(['in `receive`', 'without a root of its own'], groups, answers));
  });

  itLong('lets these system calls through, and no others', async () => {
    if (process.arch !== 'x64') return; // the numbers and the list are x86-64's
    const calls = await callsLetThrough(jail, receiver.launch().launch);
    assertDocumented('receive calls', callList(calls));
  });

  itLong('refuses the same with every older Landlock from ABI 2 on; before ABI 6 it can signal', async () => {
    await using around = await Surroundings.make(jail, receiver.foreign);
    const rows = receiver.groups(around.places).flatMap(group => group.rows);
    const { stderr } = await jail.start(jail.account, jail.jailPath, receiver.launch().launch.slice(1), {
      input: 'memfd\n',
    });
    const newest = Number(/landlock_abi (\d+)/.exec(stderr)?.[1]);
    assert.ok(newest >= 2, stderr);
    for (const abi of abisToTry(2, newest)) {
      for (const each of rows) {
        const { outcome, ended } = await receiver.attempt(each, ['namespaces=none', `landlock=${abi}`]);
        if (outcome !== 'not started')
          assert.equal(ended?.stderr.split('\n')[0], `dialback-launch: landlock_abi ${abi}`);
        const isSignal = abi < SINCE_SCOPES && SIGNAL_ROWS.includes(each.what);
        const expected = isSignal ? { ...each, works: 'nothing keeps it from that' } : each;
        assert.deepEqual(wrongOutcome(expected, outcome, 1), [], `with ABI ${abi}`);
      }
    }
  });
});

/** rsync itself: with a root of its own it is the first process of a PID namespace, and what was started waits outside. */
function innerOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()) || pid;
}

describe('what receive leaves of its caller', { skip: SKIP }, () => {
  let receiver: Receiver;
  let jail: Jail;
  before(() => {
    receiver = Receiver.shared();
    jail = receiver.jail;
  });

  async function look(start: string[], options: StartOptions, see: (pid: number) => void): Promise<Ended> {
    return await lookFrom(start, options, pid => see(innerOf(pid)));
  }
  async function lookFrom(
    start: string[],
    options: StartOptions,
    see: (pid: number) => void,
  ): Promise<Ended> {
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

  itShort(
    "is no capability and no variable, and of the descriptors the ssh's two and the lock, and linkat.c is added",
    async () => {
      const [open, device] = [openSync('/etc/shadow', 'r'), openSync('/dev/null', 'r')];
      const environment = { LD_PRELOAD: '/none.so', RSYNC_RSH: 'sh', HOME: jail.home, TZ: '/etc/shadow' };
      const { launch } = receiver.launch();
      const start = ['/usr/bin/env', '--ignore-signal', '--block-signal', ...launch];
      try {
        await look(start, { environment, more: [device, device, open, open, open] }, pid => {
          const proc = `/proc/${pid}`;
          const status = Object.fromEntries(
            readFileSync(`${proc}/status`, 'latin1')
              .split('\n')
              .map(line => line.split(':\t', 2)),
          ) as Record<string, string>;
          const none = '0000000000000000';
          const { CapInh, CapPrm, CapEff, CapAmb, SigBlk, SigIgn, NoNewPrivs, Seccomp } = status;
          assert.deepEqual(
            { CapInh, CapPrm, CapEff, CapAmb, SigBlk, SigIgn, NoNewPrivs, Seccomp },
            {
              ...{ CapInh: none, CapPrm: none, CapEff: none, CapAmb: none },
              ...{ SigBlk: none, SigIgn: none, NoNewPrivs: '1', Seccomp: '2' },
            },
          );
          const variables = readFileSync(`${proc}/environ`, 'latin1').split('\0').filter(Boolean);
          const { tree } = receiver;
          const preload = 'LD_PRELOAD=/proc/self/fd/7';
          assert.deepEqual(variables, ['PATH=/usr/bin:/bin', 'LC_ALL=C', preload, `DIALBACK_TREE=${tree}`]);
          assert.deepEqual(readdirSync(`${proc}/fd`).sort(), ['0', '1', '2', '3', '4', '5', '7']);
          assert.equal(readlinkSync(`${proc}/fd/7`), '/memfd:library (deleted)');
          assert.equal(readlinkSync(`${proc}/cwd`), '/');
          const command = readFileSync(`${proc}/cmdline`, 'latin1').split('\0').slice(0, -1);
          assert.deepEqual(command, ['rsync', '--a-word-of-rsync']);
          assert.match(readFileSync(`${proc}/limits`, 'latin1'), /^Max core file size +1 +1 /m);
        });
      } finally {
        for (const each of [open, device]) closeSync(each);
      }
    },
  );

  itShort("is a root with this client's folder in it, and nobody else's", async () => {
    await look(receiver.launch().launch, {}, pid => {
      const root = `/proc/${pid}/root`;
      const clients = `${root}${receiver.store}/clients`;
      assert.deepEqual(readdirSync(clients), ['acorn']);
      assert.deepEqual(readdirSync(`${root}${receiver.store}`), ['clients'], 'no store.json');
      assert.deepEqual(readdirSync(`${root}${jail.home}`), ['the store'], 'no host.toml, no .ssh');
      assert.deepEqual(readdirSync(`${root}/dev`), ['null']);
      for (const name of ['home', 'root', 'tmp', 'var/tmp', 'sys', 'run', 'usr/bin'])
        assert.ok(!existsSync(`${root}/${name}`), name);
      const mounts = readFileSync(`/proc/${pid}/mounts`, 'latin1');
      assert.doesNotMatch(mounts, /^\S+ \/mnt /m, 'the old root is gone');
    });
  });

  itShort('ends with all that it started, when it ends', async () => {
    const held = jail.processes();
    const { status, stdout, stderr } = await jail.start(
      jail.account,
      jail.jailPath,
      receiver.launch().launch.slice(1),
      { input: 'linger\n' },
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout, 'linger\tOK\n');
    assert.deepEqual(
      jail.processes().filter(pid => !held.includes(pid)),
      [],
      'at once',
    );
  });

  itShort('ends with it, however the caller ends', async () => {
    const held = jail.processes();
    const start = ['/usr/bin/timeout', '--foreground', '60', ...receiver.launch().launch];
    await lookFrom(start, {}, caller => {
      assert.equal(
        jail.processes().filter(pid => !held.includes(pid)).length,
        3,
        'timeout, the launcher and the probe',
      );
      process.kill(caller, 'SIGKILL');
    });
    await until('rsync is gone', () => jail.processes().every(pid => held.includes(pid)), 5_000);
  });
});

describe('receive refuses, in one line', { skip: SKIP }, () => {
  let receiver: Receiver;
  let jail: Jail;
  before(() => {
    receiver = Receiver.shared();
    jail = receiver.jail;
  });

  async function receive(args?: string[], kernels?: Kernel[]): Promise<Ended> {
    const { as, launch } = receiver.launch(kernels, args);
    const [program = '', ...rest] = launch;
    return await jail.start(as === 'root' ? as : jail.account, program, rest, { input: 'memfd\n' });
  }

  async function assertRefused(ended: Promise<Ended>, line: RegExp, expected = 126): Promise<void> {
    const { status, stdout, stderr } = await ended;
    assert.match(stderr, /^dialback-launch: Cannot [a-z ]+ "[^\n]*": [^\n]+\n$/);
    assert.match(stderr, line);
    assert.equal(stdout, '', 'nothing was run');
    assert.equal(status, expected, stderr);
  }

  itShort('works otherwise, with and without older snapshots', async () => {
    const { tree, snapshot } = receiver;
    for (const args of [
      ['receive', tree, '--'],
      ['receive', tree, snapshot, '--', '-a'],
      ['receive', tree, snapshot, snapshot, '--', '-a', '--', 'x'],
    ]) {
      const { status, stdout, stderr } = await receive(args);
      assert.equal(status, 0, stderr);
      assert.equal(stdout, 'memfd\tEPERM\n');
    }
  });

  itShort('works where no memory file may be executable (vm.memfd_noexec)', async () => {
    const { uid, gid } = jail.account;
    const account = ['/usr/bin/setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
    // The setting is of the PID namespace. A kernel before 6.3 does not have it.
    const script = 'f=/proc/sys/vm/memfd_noexec; if [ -e $f ]; then echo 2 >$f; fi; exec "$@"';
    const namespace = ['--pid', '--fork', '--mount-proc', '/bin/sh', '-c', script, 'sh'];
    const words = [...namespace, ...account, ...receiver.launch().launch];
    const { status, stdout, stderr } = await jail.start('root', '/usr/bin/unshare', words, {
      input: 'memfd\n',
    });
    assert.equal(status, 0, stderr);
    assert.equal(stdout, 'memfd\tEPERM\n');
  });

  itShort('wrong arguments', async () => {
    const { tree, snapshot } = receiver;
    const usage = matching`Cannot run "receive": ${says('it-takes-folder-argument', 'TREE [LINKROOT...]')}\.\.\.`;
    for (const args of [
      ['receive'],
      ['receive', '--'],
      ['receive', '--', '-a'],
      ['receive', tree],
      ['receive', tree, snapshot],
    ])
      await assertRefused(receive(args), usage);
    const relative = matchingLines`: ${says('a-folder-is-to-be')}$`;
    for (const args of [
      ['receive', 'tree', '--'],
      ['receive', '', '--'],
      ['receive', tree, 'snapshot', '--'],
      ['receive', tree, '-a', '--'],
      ['receive', `.${tree}`, '--'],
    ])
      await assertRefused(receive(args), relative);
  });

  itShort('folders that are not there', async () => {
    const { tree, snapshot } = receiver;
    for (const kernels of [[], ['namespaces=none']] as Kernel[][]) {
      const gone = matchingLines`: ${says('a-folder-is-to-be')}$`;
      await assertRefused(receive(['receive', `${tree}/gone`, '--'], kernels), gone);
      await assertRefused(receive(['receive', tree, `${snapshot}/gone`, '--'], kernels), gone);
    }
  });

  itShort('a launcher or rsync that others could change, or that is not there', async () => {
    const written = says('can-be-written-by-others');
    for (const [path, mode] of [
      [jail.jailPath, 0o755],
      [jail.probe, 0o755],
      [join(jail.base, 'bin'), 0o755],
    ] as const) {
      chmodSync(path, mode | 0o002);
      try {
        await assertRefused(receive(), written);
      } finally {
        chmodSync(path, mode);
      }
    }
    renameSync(jail.probe, `${jail.probe}.aside`);
    try {
      await assertRefused(receive(), /Cannot trust ".*\/probe": realpath: No such file or directory/, 127);
    } finally {
      renameSync(`${jail.probe}.aside`, jail.probe);
    }
    assert.equal((await receive()).status, 0);
  });

  itShort('a kernel without Landlock, or with one that is too old', async () => {
    await assertRefused(receive(undefined, ['landlock=none']), says('this-kernel-has-no-landlock'));
    await assertRefused(
      receive(undefined, ['landlock=1']),
      matching`${says('landlock-is-too-old-abi')} 1, and 2 is needed\)`,
    );
  });
});
