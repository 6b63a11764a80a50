/** The machine as dialback sees it: who runs us, what time it is, chance, signals and deadlines. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import {
  getPriority,
  homedir,
  hostname,
  networkInterfaces,
  release,
  setPriority,
  tmpdir,
  userInfo,
} from 'node:os';
import { resolve } from 'node:path';
import { isSea } from 'node:sea';
import { setTimeout as delay } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { Fault } from '../fault.ts';
import { readProc } from './files.ts';

/** The account that runs us. */
export interface Account {
  uid: number;
  gid: number;
  name: string;
  home: string;
}

/**
 * The account that runs us, from the password file; HOME is believed where it is absolute, since cron, sshd
 * and sudo all set it on purpose.
 * @throws Fault when the uid has no entry: ssh and ssh-keygen would refuse to work too.
 */
export function ownAccount(): Account {
  try {
    const info = userInfo();
    const home = homedir();
    return {
      uid: info.uid,
      gid: info.gid,
      name: info.username,
      home: home.startsWith('/') ? resolve(home) : info.homedir, // a slash at its end would be doubled in every path
    };
  } catch {
    throw new Fault({
      tried: `find out who runs this (uid ${process.getuid?.() ?? '?'})`,
      found: 'there is no such account in the password file',
      next: 'run it as an account that exists',
      exit: 'usage',
    });
  }
}

/** The groups that files of ours may be given to. */
export function ownGroups(): number[] {
  return [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])];
}

/**
 * A command line for root's terminal that runs something as another account. `--pty`: else that account has root's terminal,
 * and can type into it (TIOCSTI) or read what root types (util-linux 2.34 or newer).
 * @param account a name, or what a shell makes one of
 */
export function asAccount(account: string, command: string): string {
  return `runuser --pty -u ${account} -- ${command}`;
}

/** The same where the account is known by its number. */
export function asUid(uid: number | string, command: string): string {
  return asAccount(`"$(id -nu ${uid})"`, command);
}

/**
 * Refuses uid 0 (P8): these verbs work as an ordinary user, so that a mistake in them stays small.
 * @param verb the verb's name, for the message
 */
export function refuseRoot(verb: string): void {
  if (process.getuid?.() === 0 || process.geteuid?.() === 0) {
    throw new Fault({
      tried: `run "${verb}" as root`,
      found: 'it is made for an ordinary account and needs no privilege',
      next: asAccount('ACCOUNT', `dialback ${verb} …`),
      exit: 'usage',
    });
  }
}

/** The machine's host name, whole. */
export function hostName(): string {
  return hostname();
}

/** The first label of the machine's host name, in lower case. */
export function hostLabel(): string {
  return (hostname().split('.')[0] ?? '').toLowerCase();
}

/** Where files that are gone at once are made. */
export function temporaryFolder(): string {
  return tmpdir();
}

/** The kernel's version, as uname(2) has it. */
export function kernelRelease(): string {
  return release();
}

/** Whether this is the packaged executable (and not the sources under node). */
export function isPackaged(): boolean {
  return isSea();
}

/** This executable's absolute path. */
export function ownExecutable(): string {
  return process.execPath;
}

/**
 * The command line's words, without node and the program, as bytes. node makes of a byte that is not UTF-8 a mark that
 * says only that there was one; such a word is taken from the kernel instead.
 */
export function ownArguments(): Buffer[] {
  const words = process.argv.slice(2);
  const isWhole = !words.some(word => word.includes('\ufffd'));
  const kernel = isWhole ? [] : (readProc('self/cmdline') ?? '').split('\0').slice(0, -1);
  return words.map((word, index) => {
    const bytes = Buffer.from(kernel.at(index - words.length) ?? '', 'latin1');
    return bytes.toString('utf8') === word ? bytes : Buffer.from(word, 'utf8');
  });
}

/** Bytes that may be made between two collections. One takes some 10 ms. */
const GROWTH = 4 * 1024 * 1024;
let held = 0;

/**
 * Has the memory of what is not held any more collected, where enough was made since the last time. To be called between two
 * portions of work: V8 does not count what Buffers take when it makes up its mind, and finds in use what it looks at in the
 * middle of a portion. (From source, without `--expose-gc`, nothing is done.)
 */
export function dropGarbage(): void {
  const { gc } = globalThis;
  if (gc === undefined || taken() - held < GROWTH) return;
  gc({ type: 'major' });
  held = taken();
}

/** Bytes of V8's heap, and of Buffers outside of it. */
function taken(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

/** The time now. The only clock of the program. */
export function now(): Date {
  return new Date();
}

/** Milliseconds of a clock that never goes back, for deadlines and durations. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime(); // node loads a module for `performance`, in 3 ms
  return seconds * 1000 + nanoseconds / 1e6;
}

/** @param bytes how many; @returns as many random bytes in hexadecimal */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** Chance, from 0 to 1, 1 left out. For waits that must not all be the same; nothing secret is made of it. */
export function randomShare(): number {
  return Math.random();
}

/** Waits; ends early, by throwing the signal's reason, when the signal aborts. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal ? { signal } : {});
  } catch {
    throw signal?.reason;
  }
}

/**
 * All addresses that a host name has here, IPv4 and IPv6, as getaddrinfo(3) gives them.
 * @throws Fault `unreachable` when there are none
 */
export async function addressesOf(host: string): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true });
    return found.map(entry => entry.address);
  } catch (error) {
    throw new Fault({
      tried: `resolve the backup host's name "${host}"`,
      found: `it has no address here (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
      next: 'check `target`, or name its addresses in `from`',
      exit: 'unreachable',
    });
  }
}

/**
 * The address that this machine has towards another one, by its routes. Nothing is sent: connect(2) of a UDP socket only
 * chooses (udp(7)).
 * @returns undefined where no route leads there
 */
export function sourceTowards(address: string, port = DISCARD_PORT): Promise<string | undefined> {
  const socket = createSocket(isIP(address.split('%')[0] ?? '') === 6 ? 'udp6' : 'udp4');
  return new Promise(resolve => {
    const end = (found: string | undefined): void => {
      socket.close();
      resolve(found);
    };
    socket.once('error', () => end(undefined));
    const chosen = (error?: Error): void => end(error ? undefined : socket.address().address);
    socket.connect(port, address, chosen as () => void); // node's types leave the error out
  });
}

/**
 * The networks that this machine is in now: another list means that it has been carried elsewhere, or that a cable was
 * pulled. Of IPv6 the first half: the second one changes by itself (RFC 8981).
 */
export function ownNetworks(): string[] {
  const networks = Object.values(networkInterfaces())
    .flatMap(each => each ?? [])
    .filter(each => !each.internal && !each.address.startsWith('fe80:'))
    .map(({ address, family }) => (family === 'IPv6' ? networkOf6(address) : address));
  return [...new Set(networks)].sort();
}

/** The first 64 bits of an IPv6 address as node writes it. */
function networkOf6(address: string): string {
  const [front = '', back] = address.split('::').map(each => (each === '' ? [] : each.split(':')));
  const zeros = back === undefined ? [] : Array<string>(8 - front.length - back.length).fill('0');
  return [...front, ...zeros, ...(back ?? [])].slice(0, 4).join(':');
}

/** Any port would do. */
const DISCARD_PORT = 9;

/** Makes this process nicer: never less nice than it is. @param nice 0 to 19 */
export function beNice(nice: number): void {
  if (nice > getPriority()) setPriority(nice);
}

const interrupted = new AbortController();

/** A signal that aborts with an `interrupted` Fault on SIGINT, SIGTERM and SIGHUP. Asked for once, by main. */
export function interruption(): AbortSignal {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      interrupted.abort(new Fault({ tried: 'go on', found: `interrupted by ${name}`, exit: 'interrupted' }));
    });
  }
  return interrupted.signal;
}

/** Ends whatever is under way as a signal would, so that it cleans up after itself; for errors that nobody awaits. */
export function interruptWith(reason: unknown): void {
  interrupted.abort(reason);
}

/** A promise for the value, or the signal's reason as soon as it aborts; nothing stays registered after. */
export async function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  if (signal.aborted) throw signal.reason;
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Awaits what is done side by side. Where one of them fails, the others are waited for all the same, so that nothing is under
 * way any more when this throws.
 * @throws the reason of the first in the list that failed
 */
export async function settleAll<Things extends readonly unknown[] | []>(
  things: Things,
): Promise<{ -readonly [Each in keyof Things]: Awaited<Things[Each]> }> {
  await Promise.allSettled(things);
  return await Promise.all(things);
}

/** A signal that aborts after `ms` with what `late` makes; disposing of it stops the clock. */
export function deadlineSignal(ms: number, late: () => Fault): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(late()), ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

/** `unless` with a deadline of its own: after `ms` it throws what `late` makes. */
export async function withTimeout<T>(
  signal: AbortSignal,
  ms: number,
  promise: Promise<T>,
  late: () => Fault,
): Promise<T> {
  using deadline = deadlineSignal(ms, late);
  return await abortable(AbortSignal.any([signal, deadline.signal]), promise);
}
