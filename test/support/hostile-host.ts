/**
 * A hostile host. It takes the client's call with a forced command of its own, and dials the one-time sshd with the one-time
 * key. It has its own code for rsync's protocol, so it can send messages that no rsync client sends.
 *
 * `Wire` is the receiving side of protocols 29 to 32, with the parts that an attack needs: greeting, module, arguments, checksum names,
 * filter rules, file list, index requests, file data. It keeps all received bytes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { decodeRequest, type Request } from '../../src/wire/request.ts';
import { fairClock, stretch } from './fair-time.ts';
import { type Result, type Running, until, type World } from './world.ts';

/** The only command that the gate accepts. */
export const DAEMON = 'rsync --server --daemon .';

/** The other side hung up, or fell silent for too long. */
export class Ended extends Error {}

/** One name of the file list. */
export interface Entry {
  /** A character a byte. */
  name: string;
  mode: number;
  size: number;
  target: string | undefined;
}

/** The result of an attack. */
export interface Answer {
  entries: Entry[];
  /** The requested files, by name. */
  contents: Map<string, Buffer>;
  /** The other side's messages over the protocol, also `@ERROR`, a line each. */
  words: string[];
  /** Whether the transfer came to its regular end. */
  isWhole: boolean;
}

/** A request to the daemon. */
export interface Pull {
  protocol?: number;
  /** The digests named in the greeting (protocol 32 wants some). */
  digests?: string;
  module?: string;
  /** All arguments before the dot; by default those of an honest pull. */
  args?: string[];
  /** The arguments after the dot, as they are: `root` is not added. */
  names: string[];
  rules?: (string | Buffer)[];
  /** Checksums that the receiver says it knows; it then speaks the newer form of the list too. */
  checksums?: string;
  /** Which files to ask for; by default all plain ones. */
  wants?: (entry: Entry) => boolean;
}

const MPLEX_BASE = 7; // rsync.h
const MESSAGE_NO_SEND = 102;
const MESSAGE_ERROR_EXIT = 86;
/** The bits of an entry (rsync.h, XMIT_*) that concern these options. */
const BIT = { sameMode: 2, extended: 4, sameName: 32, longName: 64, sameTime: 128, nanoseconds: 1 << 13 };
const END_WITH_ERROR = 0x1004;
const FOLDER = 0o040000;
const PLAIN = 0o100000;
const LINK = 0o120000;
const KIND = 0o170000;
const TRANSFER = 0x8000; // rsync.h, ITEM_*
const BASIS_FOLLOWS = 0x0800;
const NAME_FOLLOWS = 0x1000;
const SUM_BYTES: Record<string, number> = { xxh128: 16, xxh3: 8, xxh64: 8, md5: 16, md4: 16, sha1: 20 };
const SILENCE_MS = 20_000;
/** The first call of a victim comes after the trial of its rsync; several are tried at once, on a machine that may be busy. */
const CALL_MS = 90_000;

/** Options of an honest pull, without those that need more of the list: `-o -g -D -H -A -X`. */
export const HONEST = ['--server', '--sender', '--numeric-ids', '--no-msgs2stderr'];

/** One session, from the daemon's greeting on. */
export class Wire {
  protocol = 32;
  readonly child: ChildProcess;
  readonly words: string[] = [];
  readonly #chunks: Buffer[] = [];
  /** Received bytes that were not read yet: raw, and out of the frames. */
  /** As it was when the client's limits were written. */
  readonly #stretch = stretch();
  #unread: Buffer[] = [];
  #raw: Buffer = Buffer.alloc(0);
  #data: Buffer = Buffer.alloc(0);
  readonly #texts: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  #hasEnded = false;
  #hasFailed = false;
  #wake: () => void = () => {};
  /** Whether received and sent bytes are in frames. */
  #framedIn = false;
  #framedOut = false;
  #sumBytes = 16;
  #newerList = false;
  #lastSent = -1;
  #lastRead = -1;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdin?.on('error', () => {}); // it has hung up: reading tells
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#unread.push(chunk);
      this.#wake();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr.push(chunk);
    });
    child.once('close', () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  /** Everything that came, in every form in which a text could be whole: as it came, without frames, on standard error. */
  heard(): Buffer {
    return Buffer.concat([...this.#chunks, Buffer.from('\n'), ...this.#texts, ...this.#stderr]);
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString('latin1');
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Buffer | string): void {
    this.child.stdin?.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Sends bytes, in a frame where the protocol wants one by now. */
  send(bytes: Buffer): void {
    if (this.#framedOut) this.sendRaw(int((MPLEX_BASE << 24) | bytes.length));
    this.sendRaw(bytes);
  }

  /** Waits for the other side's end, or for its last word on a failure, and reads what still comes. */
  async end(): Promise<void> {
    try {
      while (!this.#hasFailed) {
        await this.#take(1);
        if (this.#framedIn) this.#data = Buffer.alloc(0);
        else this.#raw = Buffer.alloc(0);
      }
    } catch (error) {
      if (!(error instanceof Ended) || !(this.#hasEnded || this.#hasFailed)) throw error;
    }
  }

  async #takeRaw(count: number): Promise<Buffer> {
    const silenceMs = SILENCE_MS * Math.max(this.#stretch, stretch());
    const deadline = performance.now() + silenceMs;
    for (;;) {
      if (this.#unread.length > 0) this.#raw = Buffer.concat([this.#raw, ...this.#unread.splice(0)]);
      if (this.#raw.length >= count) break;
      if (this.#hasEnded) throw new Ended('the other side hung up');
      const left = deadline - performance.now();
      if (left <= 0) throw new Ended(`nothing came for ${silenceMs} ms`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, left);
      await promise;
      clearTimeout(timer);
    }
    const taken = this.#raw.subarray(0, count);
    this.#raw = this.#raw.subarray(count);
    return taken;
  }

  /** Takes bytes of the protocol; messages in between go to `words`. */
  async #take(count: number): Promise<Buffer> {
    if (!this.#framedIn) return await this.#takeRaw(count);
    while (this.#data.length < count) {
      const head = (await this.#takeRaw(4)).readUInt32LE();
      const body = await this.#takeRaw(head & 0xff_ff_ff);
      const code = (head >>> 24) - MPLEX_BASE;
      if (code === 0) this.#data = Buffer.concat([this.#data, body]);
      else if (code < 9) this.words.push(...lines(body));
      else if (code === MESSAGE_NO_SEND) this.words.push('(not sent)');
      this.#texts.push(body);
      // From here on rsync waits for our hanging up, and sends a sign of life now and then.
      if (code === MESSAGE_ERROR_EXIT) {
        this.#hasFailed = true;
        throw new Ended('the other side has failed');
      }
    }
    const taken = this.#data.subarray(0, count);
    this.#data = this.#data.subarray(count);
    return taken;
  }

  async line(): Promise<string> {
    let line = '';
    for (;;) {
      const next = (await this.#takeRaw(1)).toString('latin1');
      if (next === '\n') return line;
      line += next;
    }
  }

  /** Both sides' versions; the daemon speaks first. */
  async greet(protocol: number, digests = 'md5 md4'): Promise<string> {
    this.protocol = protocol;
    const greeting = await this.line();
    this.sendRaw(`@RSYNCD: ${protocol}.0${digests === '' ? '' : ` ${digests}`}\n`);
    return greeting;
  }

  /** Names the module. @returns whether it was accepted; else `words` has the reason */
  async open(module = 'root'): Promise<boolean> {
    this.sendRaw(`${module}\n`);
    for (;;) {
      const line = await this.line();
      if (line === '@RSYNCD: OK') return true;
      this.words.push(line);
      if (/^@(ERROR|RSYNCD: EXIT)/.test(line)) return false;
    }
  }

  /** Sends arguments; an empty one ends them. */
  sendArguments(args: string[]): void {
    const mark = this.protocol >= 30 ? '\0' : '\n';
    this.sendRaw(args.map(each => each + mark).join('') + mark);
  }

  /** Reads the answer to the arguments: flags, names of checksums, the seed. */
  async agree(checksums?: string): Promise<void> {
    if (this.protocol >= 30) {
      const flags = await this.#varint();
      this.#newerList = (flags & 0x80) !== 0;
    }
    if (this.#newerList) {
      await this.#vstring();
      const names = checksums ?? 'md5';
      this.sendRaw(Buffer.concat([Buffer.from([names.length]), Buffer.from(names)]));
      this.#sumBytes = SUM_BYTES[names] ?? 16;
    }
    await this.#take(4); // the seed
    this.#framedIn = true;
    this.#framedOut = this.protocol >= 30;
  }

  /** Sends filter rules, as the wire has them: a length and a text each, then a zero. */
  sendRules(rules: (string | Buffer)[]): void {
    const pieces = rules.map(rule => (typeof rule === 'string' ? Buffer.from(rule, 'latin1') : rule));
    for (const piece of pieces) this.send(Buffer.concat([int(piece.length), piece]));
    this.send(int(0));
  }

  /** Reads the file list. @returns it in the order in which names are asked for */
  async list(hasLinks = true): Promise<Entry[]> {
    const found: Entry[] = [];
    let last = Buffer.alloc(0);
    let mode = 0;
    for (;;) {
      const flags = await this.#entryFlags();
      if (flags === undefined) break;
      const shared = flags & BIT.sameName ? ((await this.#take(1))[0] ?? 0) : 0;
      const length = flags & BIT.longName ? await this.#varint30() : ((await this.#take(1))[0] ?? 0);
      const name: Buffer = Buffer.concat([last.subarray(0, shared), await this.#take(length)]);
      last = name as Buffer<ArrayBuffer>;
      const size = await this.#varlong(3);
      if (!(flags & BIT.sameTime)) await (this.protocol >= 30 ? this.#varlong(4) : this.#take(4));
      if (flags & BIT.nanoseconds && this.protocol >= 31) await this.#varint();
      if (!(flags & BIT.sameMode)) mode = (await this.#take(4)).readUInt32LE();
      const isLink = (mode & KIND) === LINK && hasLinks;
      const target = isLink ? (await this.#take(await this.#varint30())).toString('latin1') : undefined;
      found.push({ name: name.toString('latin1'), mode, size, target });
    }
    if (this.protocol < 30) await this.#take(4); // errors
    return sortEntries(found);
  }

  /** Asks for entries by their index, and says that this is all. */
  ask(indices: number[]): void {
    for (const index of indices) {
      const flags = Buffer.alloc(2);
      flags.writeUInt16LE(TRANSFER);
      this.send(Buffer.concat([this.index(index), flags, Buffer.alloc(16)])); // no checksums: all of it
    }
    const done = this.protocol >= 30 ? Buffer.alloc(1) : int(-1);
    // Three phases, and the goodbye, which from version 31 on is said twice.
    for (let times = 0; times < (this.protocol >= 31 ? 5 : 4); times += 1) this.send(done);
  }

  /** An index as the wire has it: since version 30 the distance from the one before. */
  index(index: number): Buffer {
    if (this.protocol < 30) return int(index);
    const step = index - this.#lastSent;
    this.#lastSent = index;
    if (step > 0 && step < 0xfe) return Buffer.from([step]);
    if (step >= 0 && step <= 0x7fff) return Buffer.from([0xfe, step >> 8, step & 0xff]);
    return Buffer.from([
      0xfe,
      (index >>> 24) | 0x80,
      index & 0xff,
      (index >> 8) & 0xff,
      (index >> 16) & 0xff,
    ]);
  }

  /** Reads what is sent for `ask`. */
  async receive(entries: Entry[], into: Map<string, Buffer>): Promise<void> {
    for (let done = 0; done < 3; ) {
      const index = await this.#readIndex();
      if (index === -1) {
        done += 1;
        continue;
      }
      const flags = (await this.#take(2)).readUInt16LE();
      if (flags & BASIS_FOLLOWS) await this.#take(1);
      if (flags & NAME_FOLLOWS) await this.#vstring();
      if (!(flags & TRANSFER)) continue;
      await this.#take(16); // the checksums' head, given back
      const pieces: Buffer[] = [];
      for (;;) {
        const length = (await this.#take(4)).readInt32LE();
        if (length <= 0) break;
        pieces.push(await this.#take(length));
      }
      await this.#take(this.#sumBytes);
      into.set(entries[index]?.name ?? `index ${index}`, Buffer.concat(pieces));
    }
  }

  async #entryFlags(): Promise<number | undefined> {
    if (this.#newerList) {
      const flags = await this.#varint();
      if (flags !== 0) return flags;
      await this.#varint(); // errors
      return undefined;
    }
    let flags = (await this.#take(1))[0] ?? 0;
    if (flags === 0) return undefined;
    if (flags & BIT.extended) flags |= ((await this.#take(1))[0] ?? 0) << 8;
    if (flags !== END_WITH_ERROR || this.protocol < 31) return flags;
    await this.#varint();
    return undefined;
  }

  /** io.c, read_varint(): the first byte's leading ones say how many follow. */
  async #varint(): Promise<number> {
    return Number(await this.#varlong(1, true));
  }
  async #varint30(): Promise<number> {
    return this.protocol >= 30 ? await this.#varint() : (await this.#take(4)).readInt32LE();
  }
  async #varlong(least: number, always = false): Promise<number> {
    if (this.protocol < 30 && !always) {
      const short = (await this.#take(4)).readInt32LE();
      return short === -1 ? Number((await this.#take(8)).readBigInt64LE()) : short;
    }
    const head = await this.#take(least);
    const first = head[0] ?? 0;
    const more = Math.max(0, Math.clz32(~(first << 24)));
    const low = Buffer.concat([head.subarray(1), await this.#take(more)]);
    const top = more > 0 ? first & ((1 << (8 - more)) - 1) : first;
    let value = BigInt(top);
    for (let at = low.length - 1; at >= 0; at -= 1) value = value * 256n + BigInt(low[at] ?? 0);
    return Number(value);
  }
  async #vstring(): Promise<string> {
    let length = (await this.#take(1))[0] ?? 0;
    if (length & 0x80) length = (length & 0x7f) * 256 + ((await this.#take(1))[0] ?? 0);
    return (await this.#take(length)).toString('latin1');
  }
  async #readIndex(): Promise<number> {
    if (this.protocol < 30) return (await this.#take(4)).readInt32LE();
    const first = (await this.#take(1))[0] ?? 0;
    if (first === 0) return -1;
    if (first === 0xff) throw new Error('an index below -1, which was not asked for');
    if (first !== 0xfe) this.#lastRead += first;
    else {
      const two = await this.#take(2);
      if (!((two[0] ?? 0) & 0x80)) this.#lastRead += two.readUInt16BE();
      else {
        const rest = await this.#take(2);
        this.#lastRead = Buffer.from([
          two[1] ?? 0,
          rest[0] ?? 0,
          rest[1] ?? 0,
          (two[0] ?? 0) & 0x7f,
        ]).readInt32LE();
      }
    }
    return this.#lastRead;
  }

  /** All of it, from the greeting to the goodbye. A refusal, wherever it comes, is an answer too. */
  async pull(options: Pull): Promise<Answer> {
    const answer: Answer = { entries: [], contents: new Map(), words: this.words, isWhole: false };
    const { args = honestArguments(options.checksums !== undefined), rules = [] } = options;
    try {
      await this.greet(options.protocol ?? 32, options.digests);
      if (!(await this.open(options.module))) return answer;
      this.sendArguments([...args, '.', ...options.names.map(name => `root${name}`)]);
      await this.agree(options.checksums);
      this.sendRules(rules);
      answer.entries = await this.list(args.some(each => /^-[a-zA-Z]*l/.test(each)));
      const wants = options.wants ?? (() => true);
      const indices = answer.entries.flatMap((each, index) =>
        (each.mode & KIND) === PLAIN && wants(each) ? [index] : [],
      );
      this.ask(indices);
      await this.receive(answer.entries, answer.contents);
      await this.end();
      answer.isWhole = true;
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
    }
    return answer;
  }
}

/** The arguments of an honest pull. @param newer with negotiated checksums, and the list's newer form */
export function honestArguments(newer = false): string[] {
  return [...HONEST, newer ? '-ltRre.LsfxCIvu' : '-ltRre.LsfxCIu'];
}

/** A number of the protocol: four bytes, the lowest first. */
export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}

function lines(body: Buffer): string[] {
  return body
    .toString('latin1')
    .split('\n')
    .filter(line => line !== '');
}

/** The order of the list on both sides (flist.c, f_name_cmp): a folder's files come first, then each folder with its content. */
function sortEntries(entries: Entry[]): Entry[] {
  const parts = new Map(
    entries.map(each => {
      const names = each.name.replace(/^\/+/, '').split('/');
      const isFolder = (each.mode & KIND) === FOLDER;
      return [each, names.map((name, at) => (at < names.length - 1 || isFolder ? `${name}/` : name))];
    }),
  );
  const compare = (one: Entry, other: Entry): number => {
    if ((one.name === '.') !== (other.name === '.')) return one.name === '.' ? -1 : 1;
    const [a = [], b = []] = [parts.get(one), parts.get(other)];
    for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
      const [left = '', right = ''] = [a[at], b[at]];
      if (left === right) continue;
      const isFolder = left.endsWith('/');
      if (isFolder !== right.endsWith('/')) return isFolder ? 1 : -1;
      return left < right ? -1 : 1;
    }
    return a.length - b.length;
  };
  return [...entries].sort(compare);
}

/** How a run that was attacked ended. */
export interface Attacked {
  /** `backup` itself. */
  client: Result;
  /** Its journal's lines of this run. */
  journal: Record<string, unknown>[];
  /** All that came over the connection. */
  heard: Buffer;
  stderr: string;
  /** From the moment when the host was let in to the session's end. */
  sessionMs: number;
}

/**
 * One client of the world that calls the hostile host. It has its own config, state folder and NAME, so that several can be attacked
 * at the same time.
 */
export class Victim {
  readonly world: World;
  readonly name: string;
  readonly state: string;
  readonly config: string;

  constructor(world: World, index: number) {
    this.world = world;
    this.name = `victim${index}`;
    this.state = join(world.client.home, `state of ${this.name}`);
    mkdirSync(this.state, { mode: 0o700 });
    world.own(world.client, this.state);
    this.config = join(world.client.home, `${this.name}.toml`);
  }

  get #journal(): Record<string, unknown>[] {
    const path = join(this.state, 'journal.jsonl');
    if (!existsSync(path)) return [];
    const found = readFileSync(path, 'utf8').split('\n');
    return found.filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>);
  }

  /** Writes client.toml. @param scope and limits, as TOML */
  configure(scope: string, limits: string): void {
    const { world } = this;
    const target = `ssh://${world.host.login}@127.0.0.1:${world.port}`;
    const remote = `[[remote]]\ntarget = "${target}"\nname = "vault"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"`;
    world.write(
      world.client,
      this.config,
      `name = "${this.name}"\nstate = "${this.state}"\n${remote}\n[scope]\n${scope}\n[limits]\ncompress = "no"\n${limits}\n`,
    );
  }

  /**
   * Has the client call, dials back, and plays the attack; then hangs up on both connections.
   * @param play gets the connection, let in by the gate and with rsync at its other end
   */
  async attacked(play: (wire: Wire, request: Request) => Promise<void>): Promise<Attacked> {
    const { world } = this;
    const before = this.#journal.length;
    const running = world.start(world.client, world.binary, ['backup', '--config', this.config]);
    const call = await this.#call(running);
    const decoded = decodeRequest(readFileSync(call));
    if (!('request' in decoded)) throw new Error('no request came');
    const key = `${call}.key`;
    world.write(world.host, key, decoded.request.key);
    const child = this.#dial(key, Number(call.split('.').at(-1)));
    const wire = new Wire(child);
    const clock = fairClock();
    let sessionMs = 0;
    let client: Result | undefined;
    try {
      await play(wire, decoded.request);
    } finally {
      child.stdin?.destroy();
      child.kill('SIGTERM');
      await until('the session has ended', () => child.exitCode !== null || child.signalCode !== null);
      sessionMs = clock();
      // Open for both: neither waits for the other.
      const go = openSync(`${call}.go`, 'r+');
      writeSync(go, '\n');
      client = await running.done;
      closeSync(go);
      for (const path of [call, `${call}.go`, key]) rmSync(path);
    }
    return {
      client,
      journal: this.#journal.slice(before),
      heard: wire.heard(),
      stderr: wire.stderr,
      sessionMs,
    };
  }

  /** Waits for this client's call. @returns the file with its request; the port stands in its name */
  async #call(running: Running): Promise<string> {
    const folder = callsFolder(this.world);
    let found = '';
    let over: Result | undefined;
    void running.done.then(result => {
      over = result;
    });
    await until(
      `${this.name} has called`,
      () => {
        if (over) throw new Error(`backup ended before it had called: ${over.stderr}`);
        const name = readdirSync(folder).find(each => new RegExp(`^${this.name}\\.\\d+$`).test(each));
        found = name === undefined ? '' : join(folder, name);
        return name !== undefined && 'request' in decodeRequest(readFileSync(found));
      },
      CALL_MS,
    );
    return found;
  }

  #dial(key: string, port: number): ChildProcess {
    const { host, client } = this.world;
    const options = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'BatchMode=yes',
      'LogLevel=ERROR',
    ];
    const args = ['-F', 'none', '-i', key, '-p', String(port), '-l', client.login];
    return spawn('/usr/bin/ssh', [...args, ...options.flatMap(each => ['-o', each]), '127.0.0.1', DAEMON], {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', HOME: host.home },
      uid: host.uid,
      gid: host.gid,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }
}

function callsFolder(world: World): string {
  return join(world.host.home, 'calls');
}

/**
 * Has the host answer the client's key with a command of ours: it keeps the request, waits for a byte, and hangs up with
 * status 1. @returns a function that restores the enrolled line
 */
export function takeOver(world: World): () => void {
  const folder = callsFolder(world);
  mkdirSync(folder, { mode: 0o700 });
  world.own(world.host, folder);
  const script = join(world.host.home, 'take the call');
  // cat reads on in the background, from a third descriptor: a background command's own input is nothing.
  const steps = [
    '#!/bin/sh',
    'call="$HOME/calls/$(printf %s "$SSH_ORIGINAL_COMMAND" | tr : .)"',
    'mkfifo -m 600 "$call.go"',
    'exec 3<&0',
    'cat <&3 3<&- >"$call" &',
    'exec 3<&-',
    'read -r word <"$call.go"',
    'exit 1',
  ];
  world.write(world.host, script, `${steps.join('\n')}\n`, 0o700);
  const enrolled = readFileSync(world.authorizedKeys);
  const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
  world.write(world.host, world.authorizedKeys, `restrict,command="'${script}'" ${key}`);
  return () => world.write(world.host, world.authorizedKeys, enrolled);
}
