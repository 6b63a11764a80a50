/** `dialback web` for a test: an account with a store, the executable and its jail as `make install` has them, and raw requests. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type ClientStore, createClient, createStore } from '../../src/store/store.ts';
import { addUser, processesOf, removeUser } from './accounts.ts';
import type { Account } from './jail.ts';
import { compileJail, makeFolder, putExecutable, until } from './world.ts';

/** A response, as it came over the connection. */
export interface Response {
  status: number;
  /** In lower case; the values of equal names with newlines between them. */
  headers: Map<string, string>;
  body: Buffer;
}

/** A started `dialback web`. */
export interface Running {
  child: ChildProcess;
  /** Its port, or its socket. */
  place: number | string;
  token: string;
  /** Its standard error so far. */
  log: () => string;
  stop: () => Promise<void>;
}

/** An account with a store. `dispose()` removes all. */
export class WebSite {
  readonly base: string;
  readonly login: string;
  readonly account: Account;
  readonly store: string;
  readonly config: string;
  readonly binary: string;
  readonly jail: string;
  readonly #children = new Set<ChildProcess>();

  private constructor() {
    this.base = makeFolder('/tmp');
    this.login = `dbtest-web-${randomBytes(2).toString('hex')}`;
    this.account = addUser(this.login, { home: join(this.base, 'home') });
    this.store = join(this.base, 'home/the store');
    this.config = join(this.base, 'home/host.toml');
    this.binary = join(this.base, 'bin/dialback');
    this.jail = join(this.base, 'libexec/dialback/jail');
  }

  /** @param fill puts clients into the store, as root; the account gets all of it */
  static make(fill: (makeClient: (name: string) => ClientStore) => void): WebSite {
    const site = new WebSite();
    try {
      for (const name of ['home', 'bin', 'libexec', 'libexec/dialback']) mkdirSync(join(site.base, name));
      putExecutable(site.binary);
      compileJail({ to: site.jail, rsync: '/usr/bin/rsync', dialback: site.binary });
      createStore(site.store);
      fill(name => createClient(site.store, name));
      writeFileSync(site.config, `store = "${site.store}"\nsyslog = false\n`, { mode: 0o600 });
      chmodSync(join(site.base, 'home'), 0o700);
      execFileSync('chown', ['-R', `${site.login}:${site.login}`, join(site.base, 'home')]);
    } catch (error) {
      site.dispose();
      throw error;
    }
    return site;
  }

  /** Starts the executable as the account. */
  spawn(args: readonly string[]): ChildProcess {
    return this.spawnProgram(this.binary, args);
  }

  /** Starts any program as the account. */
  spawnProgram(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(program, args, {
      uid: this.account.uid,
      gid: this.account.gid,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', HOME: join(this.base, 'home') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** Runs the executable to its end. */
  async run(args: readonly string[]): Promise<{ status: number | null; stderr: string }> {
    const child = this.spawn(args);
    let stderr = '';
    child.stderr?.on('data', chunk => {
      stderr += chunk;
    });
    const status = await new Promise<number | null>(resolve => child.once('close', resolve));
    return { status, stderr };
  }

  /** Starts `dialback web`, and waits until it has printed its address. @param args besides --config and the place */
  async start(args: readonly string[] = []): Promise<Running> {
    const socketAt = args.indexOf('--socket');
    const port = await freePort();
    const listen = socketAt < 0 ? ['--listen', `127.0.0.1:${port}`] : [];
    const child = this.spawn(['web', '--config', this.config, ...listen, ...args]);
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', chunk => {
      stdout += chunk;
    });
    child.stderr?.on('data', chunk => {
      stderr += chunk;
    });
    await until('dialback web prints its address', () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it has ended: ${stderr}`);
      return /token=[0-9a-f]{64}\n/.test(stdout);
    });
    return {
      child,
      place: socketAt < 0 ? port : (args[socketAt + 1] ?? ''),
      get token() {
        return stdout.match(/(?<=token=)[0-9a-f]{64}/g)?.at(-1) ?? '';
      },
      log: () => stderr,
      stop: async () => {
        child.kill('SIGTERM');
        if (child.exitCode === null) await new Promise(resolve => child.once('close', resolve));
      },
    };
  }

  dispose(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.base, { recursive: true, force: true });
    removeUser(this.login);
  }

  /** The process in the jail that answers: a child of `running`, or the only one. */
  serverPid(running?: Running): number {
    const found = this.processes().filter(pid => {
      const isServer = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[1] === 'serve-web';
      const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
      return isServer && (running === undefined || running.child.pid === parent);
    });
    if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} servers`);
    return found[0];
  }

  /** The processes of the account. */
  processes(): number[] {
    return processesOf(this.account.uid);
  }
}

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

/**
 * Sends bytes on a connection of their own, and reads until the server closes it.
 * @returns the bytes that came
 */
export async function exchange(place: number | string, bytes: string | Buffer): Promise<Buffer> {
  const socket = typeof place === 'number' ? connect(place, '127.0.0.1') : connect(place);
  const chunks: Buffer[] = [];
  socket.setTimeout(30_000, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', chunk => chunks.push(chunk));
  socket.write(bytes);
  await new Promise(resolve => socket.once('close', resolve));
  return Buffer.concat(chunks);
}

/** A request for `ask`. Headers with the value undefined are left out. */
export interface Question {
  method?: string;
  path?: string;
  headers?: Record<string, string | undefined>;
  body?: string;
}

/** Sends a request, and reads the response. @throws Error if there is none */
export async function ask(place: number | string, question: Question = {}): Promise<Response> {
  const { method = 'GET', path = '/', headers = {}, body = '' } = question;
  const host = typeof place === 'number' ? `127.0.0.1:${place}` : 'localhost';
  const all: Record<string, string | undefined> = { Host: host, Connection: 'close', ...headers };
  if (body !== '') all['Content-Length'] ??= String(Buffer.byteLength(body));
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return parseResponse(
    await exchange(place, `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`),
  );
}

/** @throws Error if it is no response */
export function parseResponse(bytes: Buffer): Response {
  const end = bytes.indexOf('\r\n\r\n');
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1]);
  if (end < 0 || !status) throw new Error(`no response: ${bytes.toString('latin1', 0, 200)}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(':');
    const name = line.slice(0, at).toLowerCase();
    const value = line.slice(at + 1).trim();
    headers.set(name, headers.has(name) ? `${headers.get(name)}\n${value}` : value);
  }
  const body = bytes.subarray(end + 4);
  return { status, headers, body: headers.get('transfer-encoding') === 'chunked' ? joinChunks(body) : body };
}

/** @throws Error if the last chunk is missing */
function joinChunks(bytes: Buffer): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (end < 0 || Number.isNaN(size)) throw new Error('the response was cut short');
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

/** Logs in with the token. @returns the Cookie header */
export async function login(running: Running): Promise<string> {
  const { place, token } = running;
  const host = typeof place === 'number' ? `127.0.0.1:${place}` : 'localhost';
  const { status, headers } = await ask(place, {
    method: 'POST',
    path: '/login',
    headers: { Origin: `http://${host}`, 'Content-Type': 'application/x-www-form-urlencoded' },
    body: `token=${token}`,
  });
  if (status !== 303) throw new Error(`login: status ${status}`);
  return headers.get('set-cookie')?.split(';')[0] ?? '';
}
