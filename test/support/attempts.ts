/**
 * The attempts of the probe in both jails, and the tables of docs/security.md that show the answers. A row's
 * `call` is an attempt of test/support/probe.c with its arguments.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { type Ended, type Jail, outcomeOf } from './jail.ts';

export interface Row {
  /** As it stands in the table. */
  what: string;
  call: string[];
  /**
   * The control: here the attempt must succeed, so that a refusal comes from the jail. `user`: the same user without a
   * jail, with the capability that the jail's rsync has. `root`: root in namespaces of its own, for attempts that no
   * ordinary user may make.
   */
  control: 'user' | 'root';
  /** The kernel can be older than the call, or built without it: then the control may say so. */
  mayLack?: boolean;
  /** Why it is let through; without it the attempt must fail. */
  works?: string;
  /** Why it is let through in the second column's jail only. */
  worksInSecond?: string;
  /** Which of the test's places it is tried in, where that is not the usual one. */
  place?: string;
  /** A program of root's with its arguments that all is started through: it makes more mounts. */
  through?: string[];
}

export interface Group {
  title: string;
  rows: Row[];
}

/** The objects of the attempts. */
export interface Places {
  /** The folder of `Jail.freshSpots()`. */
  spot: string;
  probe: string;
  /** Sockets that somebody listens on: two paths, an abstract name, and ports of 127.0.0.1. */
  stream: string;
  datagram: string;
  abstract: string;
  tcp: number;
  udp: number;
}

/** Listeners of every kind, and the victim. */
export class Surroundings implements AsyncDisposable {
  readonly places: Places;
  readonly #servers: Server[];
  readonly #udp: ReturnType<typeof createSocket>;
  readonly #datagram: ChildProcess;

  private constructor(
    places: Places,
    servers: Server[],
    udp: ReturnType<typeof createSocket>,
    datagram: ChildProcess,
  ) {
    this.places = places;
    this.#servers = servers;
    this.#udp = udp;
    this.#datagram = datagram;
  }

  /** @param spot see `Places` */
  static async make(jail: Jail, spot: string): Promise<Surroundings> {
    const folder = jail.folder(join(jail.base, 's'));
    const [stream, datagram] = [join(folder, 'stream'), join(folder, 'datagram')];
    const abstract = `@${jail.login}`;
    const listen = async (where: string | number): Promise<Server> => {
      const server = createServer(socket => {
        socket.on('error', () => {});
        socket.resume();
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        if (typeof where === 'number') server.listen(where, '127.0.0.1', resolve);
        else server.listen(where, resolve);
      });
      return server;
    };
    const servers = [await listen(0), await listen(stream), await listen(`\0${jail.login}`)];
    chmodSync(stream, 0o777);
    const udp = createSocket('udp4');
    udp.bind(0, '127.0.0.1');
    await once(udp, 'listening');
    const server = spawn(jail.probe, ['--serve', datagram], { stdio: ['ignore', 'pipe', 'ignore'] });
    await Promise.race([
      once(server.stdout, 'data'),
      once(server, 'exit').then(() => assert.fail(`nothing listens on ${datagram}`)),
    ]);
    chmodSync(datagram, 0o777);
    const tcp = servers[0]?.address();
    const places = {
      spot,
      probe: jail.probe,
      stream,
      datagram,
      abstract,
      tcp: typeof tcp === 'object' && tcp !== null ? tcp.port : 0,
      udp: udp.address().port,
    };
    return new Surroundings(places, servers, udp, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.close();
    this.#udp.close();
    const ended = once(this.#datagram, 'exit');
    this.#datagram.kill();
    await ended;
    rmSync(this.places.datagram);
  }
}

/** The command that starts the probe without a jail: as root, in namespaces that end with it. */
function throwAway(jail: Jail, seesVictim: boolean): string[] {
  const own = seesVictim ? [] : ['--pid', '--fork', '--mount-proc'];
  const namespaces = ['--mount', '--uts', '--ipc', '--net', ...own];
  return ['/usr/bin/unshare', ...namespaces, '--propagation', 'private', '--', jail.probe];
}

/** The same as the user, with the capability that the jail's rsync has, if it has one. */
function unconfined(jail: Jail, hasCapability: boolean): string[] {
  const { uid, gid } = jail.account;
  const as = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const lent = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
  return ['/usr/bin/setpriv', ...as, ...(hasCapability ? lent : []), jail.probe];
}

/** Makes an attempt where it must succeed. */
export async function attemptWithoutJail(
  jail: Jail,
  each: Row,
  how: { spots: string[]; hasCapability: boolean },
): Promise<string> {
  const seesVictim = each.call.some(word => word.includes(VICTIM));
  const plain = each.control === 'root' ? throwAway(jail, seesVictim) : unconfined(jail, how.hasCapability);
  const launch = [...(each.through ?? []), ...plain];
  return (await attempt(jail, each, { as: 'root', launch, spots: how.spots })).outcome;
}

/** A file's handle as the probe's open_by_handle takes it. */
function handleOf(jail: Jail, path: string): string {
  return execFileSync(jail.probe, ['--handle', path]).toString();
}

export const LOADER = process.arch === 'x64' ? '/lib64/ld-linux-x86-64.so.2' : '/lib/ld-linux-aarch64.so.1';

/** One row; how it is written down is how it reads in the table. */
export function row(what: string, call: (string | number)[], more: Partial<Row> = {}): Row {
  return { what, call: call.map(String), control: 'user', ...more };
}

const ROOT = { control: 'root' } as const;
/** Stands for the handle of `file`, which is a new one each time. */
const HANDLE = 'HANDLE';
/** Stands for another process of the same user, by its number. */
export const VICTIM = 'VICTIM';
const NEW = { mayLack: true } as const;

/**
 * Everything that is tried in both. `spot` is a folder of the user's, with files of the user's.
 * @param whose where it lies, as the tables have it
 */
export function commonGroups(p: Places, whose: string): Group[] {
  const file = join(p.spot, 'file');
  const other = join(p.spot, 'other');
  const fresh = join(p.spot, 'new');
  const empty = join(p.spot, 'empty');
  return [
    {
      title: `Changing files and folders ${whose}`,
      rows: [
        row('open to write: `O_WRONLY`', ['open', file, 'write']),
        row('open to write: `O_RDWR`', ['open', file, 'both']),
        row('open to write: `O_APPEND`', ['open', file, 'append']),
        row('open with access mode 3', ['open', file, 'three']),
        row('open to read, with `O_TRUNC`', ['open', file, 'truncate']),
        row('open to read, with `O_CREAT`', ['open', fresh, 'create']),
        row('open with `O_CREAT` and `O_EXCL`', ['open', fresh, 'create-write']),
        row('open with `O_TMPFILE`', ['open', p.spot, 'tmpfile']),
        row('`open` (the old call) with `O_WRONLY`', ['old_open', file, 'write']),
        row('`open` (the old call) with `O_CREAT`', ['old_open', fresh, 'create-write']),
        row('`openat2` with `O_RDWR`', ['openat2', file, 'both']),
        row('`openat2` with `O_CREAT`', ['openat2', fresh, 'create-write']),
        row('`creat`', ['creat', fresh]),
        row('`truncate`', ['truncate', file]),
        row('`unlink`', ['unlink', file]),
        row('`unlinkat`', ['unlinkat', file]),
        row('`rmdir`', ['rmdir', empty]),
        row('`rename`', ['rename', file, fresh]),
        row('`renameat`', ['renameat', file, fresh]),
        row('`renameat2`', ['renameat2', file, fresh]),
        row('`renameat2`, exchanging two', ['exchange', file, other]),
        row('`mkdir`', ['mkdir', fresh]),
        row('`mkdirat`', ['mkdirat', fresh]),
        row('`link`', ['link', file, fresh]),
        row('`linkat`', ['linkat', file, fresh]),
        row('`linkat` of a descriptor', ['link_descriptor', file, fresh], ROOT),
        row('`symlink`', ['symlink', 'file', fresh]),
        row('`symlinkat`', ['symlinkat', 'file', fresh]),
        row('`mknodat` of a FIFO', ['mknod', fresh, 'fifo']),
        row('`mknod` (the old call) of a FIFO', ['old_mknod', fresh]),
        row('`mknodat` of a socket', ['mknod', fresh, 'socket']),
        row('`mknodat` of a plain file', ['mknod', fresh, 'file']),
        row('`mknodat` of a character device', ['mknod', fresh, 'character'], ROOT),
        row('`mknodat` of a block device', ['mknod', fresh, 'block'], ROOT),
      ],
    },
    {
      title: `Permissions, owners and times ${whose}`,
      rows: [
        row('`chmod`', ['chmod', file]),
        row('`fchmod`', ['fchmod', file]),
        row('`fchmodat`', ['fchmodat', file]),
        row('`fchmodat2`', ['fchmodat2', file], NEW),
        row('`chown` to oneself', ['chown', file]),
        row('`lchown` to oneself', ['lchown', file]),
        row('`fchown` to oneself', ['fchown', file]),
        row('`fchownat` to oneself', ['fchownat', file]),
        row('`chown` to another user', ['chown_to_other', file], ROOT),
        row('`utimensat`', ['utimensat', file]),
        row('`utimensat` of a descriptor', ['futimens', file]),
        row('`utime`', ['utime', file]),
        row('`utimes`', ['utimes', file]),
        row('`futimesat`', ['futimesat', file]),
      ],
    },
    {
      title: `Extended attributes, access lists and inode flags ${whose}`,
      rows: [
        row('`setxattr`', ['setxattr', file]),
        row('`lsetxattr`', ['lsetxattr', file]),
        row('`fsetxattr`', ['fsetxattr', file]),
        row('`setxattrat`', ['setxattrat', file], NEW),
        row('`removexattr`', ['removexattr', file]),
        row('`lremovexattr`', ['lremovexattr', file]),
        row('`fremovexattr`', ['fremovexattr', file]),
        row('`removexattrat`', ['removexattrat', file], NEW),
        row('`setxattr` of an access list', ['set_acl', file]),
        row('`setxattr` of a file capability', ['set_file_capability', file], ROOT),
        row('`FS_IOC_SETFLAGS`', ['setflags', file]),
        row('`FS_IOC_FSSETXATTR`', ['fssetxattr', file]),
        row('`file_setattr`', ['file_setattr', file], NEW),
      ],
    },
    {
      title: 'By a descriptor that is already open to write (standard input, made a file)',
      rows: [
        row('`ftruncate`', ['ftruncate', '-']),
        row('`fallocate`', ['fallocate', '-']),
        row('`fallocate`, freeing a range', ['punch', '-']),
        row('`copy_file_range`', ['copy_range', file, '-']),
        row('`sendfile`', ['sendfile', file, '-']),
        row('`fchmod` of it', ['fchmod', '-']),
        row('`fchown` of it', ['fchown', '-']),
        row('`utimensat` of it', ['futimens', '-']),
        row('`fsetxattr` of it', ['fsetxattr', '-']),
        row('`fremovexattr` of it', ['fremovexattr', '-']),
        row('`FS_IOC_SETFLAGS` of it', ['setflags', '-']),
        row('`FS_IOC_FSSETXATTR` of it', ['fssetxattr', '-']),
      ],
    },
    {
      title: `Locks and watches ${whose}, which others can feel`,
      rows: [
        row('`flock` of a file', ['flock', file]),
        row('a record lock (`F_SETLK`)', ['record_lock', file]),
        row('a lease (`F_SETLEASE`)', ['lease', file]),
        row('`F_NOTIFY` on a folder', ['dnotify', p.spot]),
        row('`inotify_add_watch`', ['inotify', file]),
        row('`fanotify_init`', ['fanotify']),
      ],
    },
    {
      title: 'Network and sockets',
      rows: [
        row('`socket`: unix', ['socket', 'unix', 'stream']),
        row('`socket`: IPv4, TCP', ['socket', 'inet', 'stream']),
        row('`socket`: IPv4, UDP', ['socket', 'inet', 'dgram']),
        row('`socket`: IPv6', ['socket', 'inet6', 'stream']),
        row('`socket`: netlink', ['socket', 'netlink', 'raw']),
        row('`socket`: packet', ['socket', 'packet', 'raw'], ROOT),
        row('`socket`: raw IPv4', ['socket', 'inet', 'raw'], { ...ROOT, mayLack: true }),
        row('`socket`: vsock', ['socket', 'vsock', 'stream'], NEW),
        row('`socket`: the kernel crypto interface', ['socket', 'alg', 'seqpacket'], NEW),
        row('`socketpair`: stream', ['socketpair', 'stream']),
        row('`socketpair`: datagram', ['socketpair', 'dgram']),
        row('connect to a unix socket of the same user', ['connect_unix', p.stream, 'stream']),
        row('connect to a datagram unix socket', ['connect_unix', p.datagram, 'dgram']),
        row('connect to an abstract unix socket', ['connect_unix', p.abstract, 'stream']),
        row('`connect` of a `socketpair` end to a unix socket', ['pair_connect', p.datagram]),
        row('`sendto` out of a `socketpair` end', ['pair_sendto', p.datagram]),
        row('`sendmsg` out of a `socketpair` end', ['pair_sendmsg', p.datagram]),
        row('`bind` of a `socketpair` end', ['pair_bind', fresh]),
        row('connect to a TCP port of this machine', ['tcp', p.tcp]),
        row('TCP fast open, without `connect`', ['tcp_fast_open', p.tcp]),
        row('send a UDP datagram', ['udp', p.udp]),
        row('listen on a TCP port', ['listen']),
        row('listen on a unix socket', ['bind_unix', fresh]),
        row('hand an open file to the peer of standard output', ['pass_descriptor', file]),
        row('take an open file from standard input', ['receive_message']),
      ],
    },
    {
      title: 'Processes and programs',
      rows: [
        row('`fork`', ['fork']),
        row('`vfork`', ['vfork']),
        row('`clone`', ['clone']),
        row('`clone3`', ['clone3']),
        row('start a thread', ['thread']),
        row('`execve` of /bin/sh', ['execve', '/bin/sh', '-c', 'echo executed']),
        row('`execveat` of /bin/sh', ['execveat', '/bin/sh', '-c', 'echo executed']),
        row('`execve` of rsync itself', ['execve', p.probe, '--executed']),
        row('`execve` of the dynamic loader, with /bin/sh to run', [
          'execve',
          LOADER,
          '/bin/sh',
          '-c',
          'echo executed',
        ]),
        row('`execveat` of the dynamic loader', ['execveat', LOADER, '/bin/sh', '-c', 'echo executed']),
        row('write a program and run it', ['write_and_exec', p.spot]),
        row('run a program out of memory (`memfd_create`)', ['memfd_exec']),
        row('`memfd_create`', ['memfd']),
        row('`memfd_secret`', ['memfd_secret'], NEW),
      ],
    },
    {
      title: 'Another process of the same user',
      rows: [
        row('`ptrace`: attach', ['ptrace_attach', VICTIM]),
        row('`ptrace`: seize', ['ptrace_seize', VICTIM]),
        row('`ptrace`: be traced', ['traceme']),
        row('`process_vm_readv`', ['vm_read', VICTIM]),
        row('`process_vm_writev`', ['vm_write', VICTIM]),
        row('`pidfd_open`', ['pidfd_open', VICTIM]),
        row('`pidfd_getfd`', ['pidfd_getfd', VICTIM]),
        row('`pidfd_getfd`, only the call', ['pidfd_getfd_alone']),
        row('`pidfd_send_signal`', ['pidfd_send', VICTIM]),
        row('`kill`', ['kill', VICTIM]),
        row('`kill` of a process group', ['kill_group', VICTIM]),
        row('`kill` of all that one may signal', ['kill_all']),
        row('`tkill`', ['tkill', VICTIM]),
        row('`tgkill`', ['tgkill', VICTIM]),
        row('`rt_sigqueueinfo`', ['sigqueue', VICTIM]),
        row('`rt_tgsigqueueinfo`', ['tgsigqueue', VICTIM]),
        row('a signal sent by input (`F_SETOWN`, `O_ASYNC`)', ['signal_by_input', VICTIM]),
        row('`prlimit64` of it', ['prlimit', VICTIM]),
        row('`setpriority` of it', ['setpriority', VICTIM]),
        row('`ioprio_set` of it', ['ioprio', VICTIM]),
        row('`sched_setaffinity` of it', ['affinity', VICTIM]),
        row('`sched_setscheduler` of it', ['scheduler', VICTIM]),
        row('`kcmp` with it', ['kcmp', VICTIM]),
        row('`move_pages` of it', ['move_pages', VICTIM]),
        row('`process_madvise` of it', ['process_madvise', VICTIM], ROOT),
        row('`get_robust_list` of it', ['robust_list', VICTIM]),
      ],
    },
    {
      title: 'Mounts and namespaces',
      rows: [
        row('`mount`', ['mount', empty], ROOT),
        row('`mount`, binding', ['bind_mount', p.spot, empty], ROOT),
        row('`umount2`', ['umount', '/proc'], ROOT),
        row('`open_tree`, cloning', ['open_tree', p.spot], ROOT),
        row('`open_tree`, as a path', ['open_tree_plain', p.spot]),
        row('`open_tree_attr`', ['open_tree_attr', p.spot], { ...ROOT, mayLack: true }),
        row('`move_mount`', ['move_mount', p.spot, empty], ROOT),
        row('`fsopen`', ['fsopen', 'tmpfs'], ROOT),
        row('`fsmount`', ['fsmount', 'tmpfs'], ROOT),
        row('`fspick`', ['fspick', '/proc'], ROOT),
        row('`mount_setattr`', ['mount_setattr', '/proc'], ROOT),
        row('`pivot_root`', ['pivot_root', empty], ROOT),
        row('`chroot`', ['chroot', empty], ROOT),
        ...['user', 'mount', 'net', 'pid', 'ipc', 'uts'].map(each =>
          row(`\`unshare\`: ${each}`, ['unshare', each], each === 'user' ? {} : ROOT),
        ),
        row('`clone` into a new user namespace', ['clone_user']),
        row('`setns`', ['setns', '/proc/self/ns/uts'], ROOT),
      ],
    },
    {
      title: 'The rest of the kernel',
      rows: [
        row('`setuid`', ['setuid'], ROOT),
        row('`setresuid`', ['setresuid'], ROOT),
        row('`setfsuid`', ['setfsuid'], ROOT),
        row('`setgid`', ['setgid'], ROOT),
        row('`setgroups`', ['setgroups'], ROOT),
        row('`capset`, raising CAP_DAC_OVERRIDE', ['capset'], ROOT),
        row('`prctl` of the ambient capabilities', ['ambient']),
        row('`prctl`: outlive the parent (PR_SET_PDEATHSIG 0)', ['no_pdeathsig']),
        row('`prctl`: PR_SET_DUMPABLE', ['dumpable']),
        row('`prctl`: any other', ['timer_slack']),
        row('`seccomp`: one more filter', ['seccomp']),
        row('`landlock_create_ruleset`', ['landlock']),
        row('`bpf`', ['bpf'], ROOT),
        row('`add_key`', ['add_key']),
        row('`request_key`', ['request_key']),
        row('`keyctl`', ['keyctl']),
        row('`io_uring_setup`', ['io_uring']),
        row('`userfaultfd`', ['userfaultfd']),
        row('`perf_event_open`', ['perf']),
        row('`personality`', ['personality']),
        row('`modify_ldt`', ['ldt'], NEW),
        row('`iopl`', ['iopl'], { ...ROOT, mayLack: true }),
        row('`mlock`', ['mlock']),
        row('`shmget`', ['shmget']),
        row('`semget`', ['semget']),
        row('`msgget`', ['msgget']),
        row('`mq_open`', ['mq_open', 'dialback-probe']),
        row('`name_to_handle_at`', ['name_to_handle', file]),
        row('`open_by_handle_at`', ['open_by_handle', p.spot, HANDLE], ROOT),
        row('`sethostname`', ['hostname'], ROOT),
        row('`syslog`', ['klog'], ROOT),
        row('`finit_module`', ['module'], { ...ROOT, mayLack: true }),
        row('`quotactl`', ['quota', '/'], ROOT),
        row('a 32-bit call (`int 0x80`)', ['int80', fresh], NEW),
        row('an x32 call', ['x32', fresh], NEW),
      ],
    },
  ];
}

/** Says of rows, by their names, why they are let through; a name that no row has is an error. */
export function letThrough(groups: Group[], reasons: Record<string, Partial<Row>>): Group[] {
  const rows = groups.flatMap(group => group.rows);
  for (const what of Object.keys(reasons))
    assert.ok(
      rows.some(each => each.what === what),
      what,
    );
  return groups.map(group => ({
    ...group,
    rows: group.rows.map(each => ({ ...each, ...reasons[each.what] })),
  }));
}

/** One row's answers. */
export interface Answer {
  row: Row;
  /** In the jails of the table's columns. */
  jailed: string[];
  /** Without one. */
  control: string;
}

/** The answers of a kernel that does not have the feature. */
const LACKING =
  /^(ENOSYS|ENOENT|ENXIO|EAFNOSUPPORT|ESOCKTNOSUPPORT|EPROTONOSUPPORT|EOPNOTSUPP|killed by SIGSEGV)$/;

/** Whether a row's control says that this kernel has no such thing. */
function isLacking({ row: { mayLack }, control }: Answer): boolean {
  return mayLack === true && LACKING.test(control);
}

/** The problems of an answer, as sentences. */
export function wrongWith(answer: Answer): string[] {
  const { row: each, jailed, control } = answer;
  if (control !== 'works' && !isLacking(answer))
    return [`${each.what}: without the jail it must work, and says ${control}`];
  return jailed.flatMap((outcome, column) => wrongOutcome(each, outcome, column, isLacking(answer)));
}

/** The same for one jail. */
export function wrongOutcome(each: Row, outcome: string, column: number, lacking = false): string[] {
  const mayWork = each.works ?? (column === 1 ? each.worksInSecond : undefined);
  const place = `${each.what}, in jail ${column + 1}`;
  if (/^no answer/.test(outcome)) return [`${place}: ${outcome}`];
  if (mayWork === undefined && outcome === 'works') return [`${place}: it works, and must not`];
  if (mayWork !== undefined && outcome !== 'works' && !lacking)
    return [`${place}: it must work, and says ${outcome}`];
  return [];
}

/** Attempts that end the victim. */
const SIGNALS = new Set(
  'pidfd_send kill kill_group kill_all tkill tgkill sigqueue tgsigqueue signal_by_input'.split(' '),
);

/** One attempt of a row, with the jail or without. @param launch program and arguments */
export async function attempt(
  jail: Jail,
  each: Row,
  how: { as: 'user' | 'root'; launch: string[]; spots: string[] },
): Promise<{ outcome: string; ended: Ended }> {
  const victim = await jail.needVictim();
  const said = (words: string[]): string => `${words.join('\t')}\n`;
  const [spot = ''] = how.spots;
  const input = said(each.call);
  jail.freshSpots(how.spots, input);
  const call = each.call.map(word => {
    if (word === HANDLE) return handleOf(jail, join(spot, 'file'));
    return word.replaceAll(VICTIM, String(victim));
  });
  const [name = ''] = call;
  const [program = '', ...before] = how.launch;
  const ended = await jail.start(how.as === 'root' ? 'root' : jail.account, program, before, {
    ...(call.includes('-') ? { inputFile: join(spot, 'input') } : { input: said(call) }),
    // Until it says that it is ready, its input stays open.
    ...(name === 'signal_by_input' ? { whenReady: () => {} } : {}),
  });
  const outcome = outcomeOf(name, ended);
  // kill(2) succeeds even if the kernel sends the signal to no process. So test whether the victim ends.
  const isIdle = outcome === 'works' && SIGNALS.has(name) && !(await jail.victimEnds());
  return { outcome: isIdle ? 'no effect' : outcome, ended };
}

/** Markdown, a table a group. @param columns what the jails are called */
export function table(columns: string[], groups: Group[], answers: Answer[]): string {
  const found = new Map(answers.map(answer => [answer.row, answer]));
  const lines: string[] = [];
  for (const group of groups) {
    lines.push(`### ${group.title}`, '', `| tried | ${columns.join(' | ')} | why it is let through |`);
    lines.push(`|---|${'---|'.repeat(columns.length + 1)}`);
    for (const each of group.rows) {
      const outcomes = (found.get(each)?.jailed ?? []).map(it => (it === 'works' ? '**works**' : it));
      lines.push(`| ${[each.what, ...outcomes, each.works ?? each.worksInSecond ?? ''].join(' | ')} |`);
    }
    lines.push('');
  }
  return lines.join('\n');
}

/** Linux 6.18 has 470; the numbers after that are refused as well. */
const HIGHEST_CALL = 500;
/**
 * uretprobe and uprobe: newer kernels ask no filter about them, and end a process that calls one out of its
 * place.
 */
const UNASKED = [335, 336];
/** A call that waits has been let through. */
const CALL_MS = 400;

/**
 * The names of all system calls that are not refused whatever their arguments are; by the numbers of x86-64.
 * @param launch program and arguments, started as the user
 * @param sign begins standard error when the jail is in force
 */
export async function callsLetThrough(
  jail: Jail,
  launch: string[],
  sign = /^dialback-launch: landlock_abi /,
): Promise<string[]> {
  const header = readFileSync('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', 'utf8');
  const names = new Map(
    [...header.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name, at]) => [Number(at), name]),
  );
  const [program = '', ...args] = launch;
  const found: string[] = [];
  for (let call = 0; call <= HIGHEST_CALL; call++) {
    if (UNASKED.includes(call)) continue;
    const ask = async (timeoutMs: number): Promise<Ended> =>
      await jail.start(jail.account, program, args, { input: `call\t${call}\n`, timeoutMs });
    let ended = await ask(CALL_MS);
    // On a busy machine it may not have come as far as the question.
    if (!ended.stdout.includes('asking')) ended = await ask(20 * CALL_MS);
    assert.match(ended.stdout, /^asking$/m);
    assert.match(ended.stderr, sign);
    const answer = /^call\t(\w+)$/m.exec(ended.stdout)?.[1];
    const isRefused = answer === 'EPERM' || answer === 'ENOSYS' || ended.signal === 'SIGSYS';
    if (!isRefused) found.push(names.get(call) ?? String(call));
  }
  return found.sort();
}

/** The same as a part of docs/security.md. */
export function callList(calls: string[]): string {
  return `### The system calls that get through (x86-64)\n\n${calls.map(name => `\`${name}\``).join(', ')}\n`;
}

/**
 * Compares a table with the one in docs/security.md, between its two marks. The failure's message contains the
 * expected table. With UPDATE_SECURITY_TABLES=1 in the environment, this writes the table there.
 */
export function assertDocumented(verb: string, expected: string): void {
  const path = join(import.meta.dirname, '../../docs/security.md');
  const text = readFileSync(path, 'utf8');
  const marks = new RegExp(`(<!-- ${verb}: begin[^\n]*-->\n\n)([^]*?)(<!-- ${verb}: end -->)`);
  if (process.env.UPDATE_SECURITY_TABLES === '1')
    writeFileSync(
      path,
      text.replace(marks, (_, begin, __, end) => `${begin}${expected}\n${end}`),
    );
  else if (marks.exec(text)?.[2] !== `${expected}\n`)
    assert.fail(
      `docs/security.md does not say what was found (UPDATE_SECURITY_TABLES=1 writes it):\n\n${expected}`,
    );
}
