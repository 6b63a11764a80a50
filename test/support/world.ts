/**
 * Two users who do not trust each other, and everything for a backup between them: real ssh, sshd and rsync on loopback. It is in a
 * temporary folder with a blank in its name, and removes everything that it makes.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  globSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, isIPv6, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { addUser, removeUser } from './accounts.ts';
import { compile, keepText, keptText } from './compiled.ts';
import { fairClock, fairTimeout } from './fair-time.ts';
import { QUICK_EXCHANGE } from './sshd.ts';

/** Why the scenarios are skipped when they are; test/run.ts expects exactly this. */
export const NEEDS_ROOT: string | false =
  process.getuid?.() === 0 ? false : 'needs root: it makes two temporary users';

const TOP = join(import.meta.dirname, '../..');
const BINARY = join(TOP, 'dist/dialback');
/**
 * The result of the trial of rsync (client/trial.ts), for the next world without a jail: a trial takes 0.3 s of processor time. It has
 * the inode of rsync in it, so a test with another rsync or another config tries again. Each build of dialback tries again too.
 */
const keptTrial = (): string => `trial ${statSync(BINARY).mtimeMs}.json`;
/** For folders in no folder that others can write to, as /tmp is. /srv is there in a place, which has its own. */
export const ROOTS_FOLDER = process.env.DIALBACK_TEST_ROOTS_FOLDER === '/srv' ? '/srv' : '/var/lib';

export interface Party {
  login: string;
  uid: number;
  gid: number;
  home: string;
}

export interface Result {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface StartOptions {
  input?: string | Buffer;
  /** Is called with each line of standard output as it comes. */
  onLine?: (line: string) => void;
  environment?: Record<string, string>;
  timeoutMs?: number;
  /** Leaves standard input open; the caller ends it. */
  keepsInput?: boolean;
  /** In a session and a process group of its own. */
  detached?: boolean;
}

export interface Running {
  child: ChildProcess;
  done: Promise<Result>;
}

/** The last line of `backup --json`. */
export interface Done {
  remote: string;
  outcome: 'full' | 'incomplete' | 'failed';
  snapshot: string | null;
  files: number;
  bytes: number;
  transferred_bytes: number;
  missing: (string | { base64: string })[];
  missing_reasons: (string | null)[];
  missing_count: number;
  error: string | null;
}

/** Waits until a condition holds. It polls, and fails with the condition's name after a while, which is longer on a busy machine. */
export async function until(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
  const clock = fairClock();
  while (!holds()) {
    if (clock() > ms) throw new Error(`waited ${ms} ms in vain: ${what}`);
    // A slow check takes CPU time itself, so poll it less often.
    await new Promise(resolve => setTimeout(resolve, Math.min(200, Math.max(20, clock() / 25))));
  }
}

/** Where the two machines are when they are not both on loopback: each in a network namespace (network_namespaces(7)). */
export interface Places {
  /** By a process in it. */
  client: number;
  host: number;
  /** The host's, as the client reaches it. */
  address: string;
}

/** A process that runs as one of the two users. */
export interface Found {
  pid: number;
  command: string;
}

/** A client, a host, and the way between them. */
export class World {
  readonly base: string;
  readonly binary: string;
  readonly client: Party;
  readonly host: Party;
  readonly name = 'acorn';
  /** The folder that is backed up by default. */
  readonly data: string;
  readonly store: string;
  readonly clientToml: string;
  readonly hostToml: string;
  readonly authorizedKeys: string;
  /** Where the host's sshd listens. */
  readonly address: string;
  port = 0;
  readonly #places: Places | undefined;
  #server: Server | undefined;
  readonly #children = new Set<ChildProcess>();

  private constructor(base: string, places: Places | undefined) {
    this.base = base;
    this.#places = places;
    this.address = places?.address ?? '127.0.0.1';
    this.binary = join(base, 'bin/dialback');
    mkdirSync(dirname(this.binary), { mode: 0o755 });
    putExecutable(this.binary);
    this.client = makeUser(base, 'client');
    this.host = makeUser(base, 'host');
    this.data = join(this.client.home, 'my data');
    this.store = join(this.host.home, 'the store');
    this.clientToml = join(this.client.home, 'client.toml');
    this.hostToml = join(this.host.home, 'host.toml');
    this.authorizedKeys = join(this.host.home, '.ssh/authorized_keys');
  }

  /** Makes users, keys, sshd, store and configs, and enrolls the client; or only users and sshd. */
  static async make(
    options: { launcher?: boolean; isSetUp?: boolean; places?: Places; sshd?: string[] } = {},
  ): Promise<World> {
    const base = makeFolder('/tmp');
    const world = new World(base, options.places);
    if (options.launcher) world.installLauncher();
    mkdirSync(world.data);
    chownSync(world.data, world.client.uid, world.client.gid);
    await world.#startHost(options.sshd ?? []);
    if (options.isSetUp ?? true) await world.#setUp();
    return world;
  }

  /** @param more lines of the host's sshd_config */
  async #startHost(more: string[]): Promise<void> {
    const { host } = this;
    mkdirSync(join(host.home, 'sshd'));
    chownSync(join(host.home, 'sshd'), host.uid, host.gid);
    this.keygen(host, join(host.home, 'sshd/key'));
    this.write(
      host,
      join(host.home, 'sshd/config'),
      [
        `HostKey "${host.home}/sshd/key"`,
        `AuthorizedKeysFile "${this.authorizedKeys}"`,
        'AuthenticationMethods publickey',
        'UsePAM no',
        'PidFile none',
        'PrintMotd no',
        QUICK_EXCHANGE,
        ...more,
        '',
      ].join('\n'),
    );
    if (this.#places) await this.#listenThere();
    else await this.#listen();
  }

  async #setUp(): Promise<void> {
    const { client, host } = this;
    this.keygen(client, join(client.home, '.ssh/id_ed25519'));
    const hostKey = readFileSync(join(host.home, 'sshd/key.pub'), 'utf8').trim();
    this.write(client, join(client.home, '.ssh/known_hosts'), `[${this.address}]:${this.port} ${hostKey}\n`);
    this.write(host, this.hostToml, `store = "${this.store}"\nsyslog = false\n`);
    this.configure();
    const key = readFileSync(join(client.home, '.ssh/id_ed25519.pub'), 'utf8');
    const enrolled = await this.enroll(this.name, key);
    if (enrolled.status !== 0) throw new Error(`enroll: ${enrolled.stderr}`);
  }

  /** Where dialback looks for `launch`, the launcher's program with the capability. */
  get launcher(): string {
    return join(this.base, 'libexec/dialback/launch');
  }

  /** Where it looks for `jail`, the launcher's program without one. */
  get jail(): string {
    return join(this.base, 'libexec/dialback/jail');
  }

  /** The administrator's list of this world. */
  get neverList(): string {
    return join(this.base, 'never');
  }

  /** Both programs of the launcher as `make install` would have them, for this world's client; the host may run `launch` too. */
  installLauncher(options: { rsync?: string; serviceUid?: number } = {}): void {
    const rsync = options.rsync ?? '/usr/bin/rsync';
    mkdirSync(dirname(this.launcher), { recursive: true, mode: 0o755 });
    writeFileSync(this.neverList, '# what no backup may read\n', { mode: 0o644 });
    compileLauncher({
      to: this.launcher,
      serviceUid: options.serviceUid ?? this.client.uid,
      rsync,
      dialback: this.binary,
      never: this.neverList,
    });
    compileJail({ to: this.jail, rsync, dialback: this.binary });
    chmodSync(this.launcher, 0o755);
    execFileSync('setcap', ['cap_dac_read_search=ep', this.launcher], { stdio: 'pipe' });
  }

  /** Writes client.toml. The arguments replace the parts of the same name. */
  configure(parts: { top?: string; remote?: string; scope?: string; limits?: string } = {}): void {
    const { client } = this;
    const limits = parts.limits ?? 'deadline = "5m"';
    const toml = [
      parts.top ?? `name = "${this.name}"`,
      `state = "${this.clientState}"`,
      '[[remote]]',
      `target = "${this.target}"`,
      parts.remote ?? `name = "vault"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"`,
      '[scope]',
      parts.scope ?? `roots = ["${this.data}"]`,
      '[limits]',
      // A limit slows a run down by its bytes, which compression would make fewer.
      ...(/^bwlimit =/m.test(limits) && !/^compress =/m.test(limits) ? ['compress = "no"'] : []),
      limits,
      '',
    ].join('\n');
    this.write(client, this.clientToml, toml);
  }

  /** The host, as `target` names it. */
  get target(): string {
    const address = isIPv6(this.address) ? `[${this.address}]` : this.address;
    return `ssh://${this.host.login}@${address}:${this.port}`;
  }

  get clientState(): string {
    return join(this.client.home, 'state');
  }

  get hostState(): string {
    return join(this.host.home, '.local/state/dialback');
  }

  /** A client's folder in the store. */
  get shelf(): string {
    return join(this.store, 'clients', this.name);
  }

  keygen(party: Party, path: string): void {
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a test', '-f', path], {
      uid: party.uid,
      gid: party.gid,
      stdio: 'pipe',
    });
  }

  write(party: Party, path: string, content: string | Buffer, mode = 0o600): void {
    writeFileSync(path, content, { mode });
    chmodSync(path, mode);
    chownSync(path, party.uid, party.gid);
  }

  /** Gives a path to one of the two. */
  own(party: Party, path: string): void {
    chownSync(path, party.uid, party.gid);
  }

  /** Starts a program as one of the two, or as root. */
  start(party: Party | 'root', program: string, args: string[], options: StartOptions = {}): Running {
    const home = party === 'root' ? '/root' : party.home;
    const inPlace = party === 'root' ? [] : this.#enter(party);
    const [first = '', ...rest] = [...inPlace, program, ...args];
    const child = spawn(first, rest, {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: home, LC_ALL: 'C', ...options.environment },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: options.detached ?? false,
      ...(party === 'root' || inPlace.length > 0 ? {} : { uid: party.uid, gid: party.gid }),
    });
    this.#children.add(child);
    let stdout = '';
    let stderr = '';
    let line = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const lines = (line + text).split('\n');
      line = lines.pop() ?? '';
      for (const each of lines) options.onLine?.(each);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin?.on('error', () => {});
    if (!options.keepsInput) child.stdin?.end(options.input ?? '');
    const clear = fairTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000);
    const done = new Promise<Result>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => {
        clear();
        this.#children.delete(child);
        resolve({ status, signal, stdout, stderr });
      });
    });
    return { child, done };
  }

  async run(party: Party | 'root', args: string[], options: StartOptions = {}): Promise<Result> {
    return await this.start(party, this.binary, args, options).done;
  }

  /**
   * Waits for the work that the host does after the client has disconnected: the manifest, and the end of the sshd of this call.
   * That sshd exits when it sees the end of the connection.
   * @param limitMs fails after that time
   */
  async settled(limitMs = 60_000): Promise<void> {
    const session = new RegExp(`^sshd(-session)?: ${this.host.login}\\b`);
    // One that is ending has no command line any more, and is still there.
    const isGoing = (): boolean =>
      this.processes().some(
        ({ command }) => command === '' || / manifest --client /.test(command) || session.test(command),
      );
    await until('the manifests are made', () => !isGoing(), limitMs);
  }

  /** Runs a backup with --json and waits for the end of all its work. @returns its last line */
  async backup(args: string[] = [], options: StartOptions = {}): Promise<Result & { last: Done }> {
    const trial = join(this.clientState, 'rsync.json');
    const kept = keptText(keptTrial());
    if (kept !== undefined && lstatSync(this.clientState, { throwIfNoEntry: false }) === undefined) {
      mkdirSync(this.clientState, { mode: 0o700 });
      this.own(this.client, this.clientState);
      this.write(this.client, trial, kept);
    }
    const result = await this.run(
      this.client,
      ['backup', '--json', '--config', this.clientToml, ...args],
      options,
    );
    await this.settled();
    const tried = result.status === 0 && existsSync(trial) ? readFileSync(trial, 'utf8') : '';
    if (tried !== kept && tried.includes('"none"')) keepText(keptTrial(), tried);
    return { ...result, last: lastLine(result) };
  }

  /** Uses the client's key with ssh by hand. @returns the answer of the host's sshd */
  async callHost(args: string[], command: string[], input: Buffer | string = ''): Promise<Result> {
    const { client, host } = this;
    const options = [
      '-F',
      'none',
      '-i',
      join(client.home, '.ssh/id_ed25519'),
      '-o',
      'LogLevel=ERROR',
      '-o',
      'BatchMode=yes',
    ];
    const where = ['-p', String(this.port), '-l', host.login, ...args, this.address, ...command];
    return await this.start(client, '/usr/bin/ssh', [...options, ...where], { input }).done;
  }

  async enroll(name: string, key: string, more: string[] = []): Promise<Result> {
    const args = [
      'enroll',
      name,
      '-',
      '--config',
      this.hostToml,
      '--authorized-keys',
      this.authorizedKeys,
      ...more,
    ];
    return await this.run(this.host, args, { input: key });
  }

  async restore(to: string, more: string[] = [], party: Party | 'root' = 'root'): Promise<Result> {
    return await this.run(party, ['restore', this.name, '--config', this.hostToml, '--to', to, ...more]);
  }

  /** The names of the finished snapshots, oldest first. */
  snapshots(): string[] {
    return readdirSync(join(this.shelf, 'snapshots')).sort();
  }

  tree(snapshot: string): string {
    return join(this.shelf, 'snapshots', snapshot, 'tree');
  }

  journal(side: 'client' | 'host'): Record<string, unknown>[] {
    const path =
      side === 'client' ? join(this.clientState, 'journal.jsonl') : join(this.shelf, 'journal.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n');
    return lines.filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>);
  }

  /** The running processes of both users, without zombies. */
  processes(): Found[] {
    const uids = new Set([this.client.uid, this.host.uid]);
    const found: Found[] = [];
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const text = readFileSync(`/proc/${name}/status`, 'latin1');
        const uid = Number(/^Uid:\s+(\d+)/m.exec(text)?.[1]);
        if (!uids.has(uid) || /^State:\s+[ZX]/m.test(text)) continue;
        const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
        found.push({ pid: Number(name), command });
      } catch {
        // it has ended in between
      }
    }
    return found;
  }

  /** Everything that a run must not leave behind, a line each. */
  leftovers(): string[] {
    const found = this.processes().map(each => `process ${each.pid}: ${each.command}`);
    for (const state of [this.clientState, this.hostState]) {
      if (!existsSync(state)) continue;
      for (const name of readdirSync(state))
        if (name.startsWith('run-')) found.push(`folder ${state}/${name}`);
    }
    for (const name of readdirSync('/tmp'))
      if (name.startsWith('ssh-')) found.push(`agent's folder /tmp/${name}`);
    const uids = new Set([this.client.uid, this.host.uid]);
    for (const table of ['tcp', 'tcp6']) {
      for (const row of readFileSync(`/proc/net/${table}`, 'latin1').split('\n').slice(1)) {
        const fields = row.trim().split(/\s+/);
        if (fields[3] !== '0A' || !uids.has(Number(fields[7]))) continue;
        // All places share the table, and their accounts have the same uids.
        if (isOpenSocket(fields[9] ?? '')) found.push(`listener ${fields[1]}`);
      }
    }
    return found;
  }

  /** Removes everything. A process that still runs is a failure; it is named and killed. */
  async dispose(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await new Promise(resolve => (this.#server ? this.#server.close(resolve) : resolve(undefined)));
    try {
      await until('all processes of the two users have ended', () => this.processes().length === 0, 5_000);
    } finally {
      for (const each of this.processes()) process.kill(each.pid, 'SIGKILL');
      rmSync(this.base, { recursive: true, force: true });
      for (const party of [this.client, this.host]) removeUser(party.login);
    }
  }

  /** The beginning of a command that runs in their place, if they have one; only root can enter it. */
  #enter(party: Party): string[] {
    if (!this.#places) return [];
    const pid = party === this.host ? this.#places.host : this.#places.client;
    const account = ['--setuid', String(party.uid), '--setgid', String(party.gid)];
    return ['/usr/bin/nsenter', `--net=/proc/${pid}/ns/net`, ...account, '--'];
  }

  /** The same sshd in the host's place, where no listener of ours is; it ends with us. */
  async #listenThere(): Promise<void> {
    this.port = 8022; // free in a namespace of its own
    const config = join(this.host.home, 'sshd/config');
    const sshd = ['/usr/sbin/sshd', '-D', '-e', '-p', String(this.port), '-f', config];
    const { child } = this.start(this.host, '/usr/bin/setpriv', ['--pdeathsig', 'KILL', '--', ...sshd], {
      timeoutMs: 15 * 60_000,
    });
    let said = '';
    child.stderr?.on('data', (text: string) => {
      said += text;
    });
    await until('sshd listens', () => {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${said}`);
      return said.includes(`Server listening on :: port ${this.port}`);
    });
  }

  async #listen(): Promise<void> {
    this.#server = await this.listenOn(0);
    const address = this.#server.address();
    this.port = typeof address === 'object' && address ? address.port : 0;
  }

  /** The host's ordinary sshd, as the host's user; 0: on any port. The caller closes it. */
  async listenOn(port: number): Promise<Server> {
    const { host } = this;
    const server = createServer({ pauseOnConnect: true }, socket => {
      socket.on('error', () => {});
      const child = spawn('/usr/sbin/sshd', ['-i', '-e', '-f', join(host.home, 'sshd/config')], {
        cwd: '/',
        env: {},
        uid: host.uid,
        gid: host.gid,
        stdio: [socket, socket, 'ignore'],
      });
      this.#children.add(child);
      child.once('spawn', () => socket.destroy());
      child.once('exit', () => this.#children.delete(child));
    });
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
    return server;
  }
}

/** Whether a process that is visible here has a socket open. @param inode of the socket (proc_pid_fd(5)) */
function isOpenSocket(inode: string): boolean {
  return globSync('/proc/[0-9]*/fd/*').some(path => {
    try {
      return readlinkSync(path) === `socket:[${inode}]`;
    } catch {
      return false; // it has been closed in between
    }
  });
}

/** False in a chroot, such as the clean machine, and where the administrator forbids it. */
export function mayMakeNamespaces({ uid, gid }: Party): boolean {
  const { status } = spawnSync('/usr/bin/unshare', ['-U', '-m', '/bin/true'], { uid, gid, cwd: '/' });
  return status === 0;
}

/** The outcome line of `backup --json`. */
export function lastLine(result: Result): Done {
  const line = result.stdout.trim().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(line) as Done;
  } catch {
    throw new Error(
      `no outcome: status ${result.status}, stdout "${result.stdout}", stderr "${result.stderr}"`,
    );
  }
}

/** Compiles `launch` as `make launcher` does, for other places. @throws with the compiler's output */
export function compileLauncher(options: {
  to: string;
  serviceUid: number;
  rsync: string;
  dialback: string;
  never: string;
  /** Whether it can `lend`; it can if not said. */
  inherited?: boolean;
}): void {
  const environment = {
    SERVICE_UID: String(options.serviceUid),
    INHERITED: options.inherited === false ? '0' : '1',
    SELF_PATH: options.to,
    RSYNC_PATH: options.rsync,
    DIALBACK_PATH: options.dialback,
    NEVER_PATH: options.never,
  };
  compile('launch', options.to, environment);
}

/** Compiles `jail` as `make launcher` does, for other places. @throws with the compiler's output */
export function compileJail(options: { to: string; rsync: string; dialback: string }): void {
  const { to, rsync, dialback } = options;
  compile('jail', to, { SELF_PATH: to, RSYNC_PATH: rsync, DIALBACK_PATH: dialback });
}

/**
 * Puts dist/dialback where a test needs it. Within a run of all tests it is a link to a file that all test files share.
 * @param isOwn a copy: for a test that changes the file's owner, mode, capabilities or content, and for a folder outside of /tmp
 */
export function putExecutable(to: string, isOwn = false): void {
  const shared = process.env.DIALBACK_TEST_EXECUTABLE;
  if (shared !== undefined && !isOwn) {
    linkSync(shared, to);
    return;
  }
  rmSync(to, { force: true });
  copyFileSync(BINARY, to);
  chmodSync(to, 0o755);
}

/**
 * Makes a folder that everybody may enter. Its name tells test/run.ts whose it is, should the test be killed. In a folder that
 * belongs to this file's place the names are the same for each test file, so that they need not compile the launcher for
 * different paths.
 */
export function makeFolder(parent: '/tmp' | '/var/lib' | '/root' | typeof ROOTS_FOLDER): string {
  const start = parent === '/tmp' ? 'dialback test-' : 'db test-';
  const isOwn = process.env.DIALBACK_TEST_PLACE === '1' && (parent === '/tmp' || parent === '/srv');
  const made = isOwn
    ? makeNumbered(`${parent}/${start}`)
    : mkdtempSync(`${parent}/${start}${process.env.DIALBACK_TEST_TAG ?? ''}`);
  chmodSync(made, 0o755);
  return made;
}

/** Makes a folder with the first number that is free. */
function makeNumbered(start: string): string {
  let number = 1;
  while (existsSync(`${start}${number}`)) number += 1;
  mkdirSync(`${start}${number}`);
  return `${start}${number}`;
}

function makeUser(base: string, role: string): Party {
  const login = `dbtest-${role}-${randomBytes(2).toString('hex')}`;
  const home = join(base, role);
  const { uid, gid } = addUser(login, { home });
  const party = { login, uid, gid, home };
  for (const folder of [home, join(home, '.ssh')]) {
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, party.uid, party.gid);
  }
  return party;
}
