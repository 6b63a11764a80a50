/**
 * A hostile client, with a client's key and name and its own code for everything else. It calls the real `grab` through the world's
 * sshd and opens a listener with a real `sshd -i` behind it. In place of the gate it plays rsync's sender, byte by byte, so that an
 * attack can send any bytes.
 *
 * It speaks rsync's protocols 30 to 32 (compat.c, flist.c, io.c, sender.c), without incremental recursion, with md5 as the checksum.
 * The host's rsync refuses 29 and older, since they have no ACLs. This omits everything that the
 * options of wire/rsync.ts do not use.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { decodeEvent, type OutcomeEvent } from '../../src/wire/events.ts';
import { type CommonHeader, type DirectHeader, encodeRequest } from '../../src/wire/request.ts';
import { fairClock } from './fair-time.ts';
import { QUICK_EXCHANGE } from './sshd.ts';
import type { Running, World } from './world.ts';

// ---- Numbers and names, as rsync writes them (io.c) ---------------------------------------------------------------

/** Four bytes, the lowest first. */
export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}

/** write_varlong(): at least `least` bytes; how many more come stands in the first one's high bits. */
export function varlong(value: bigint | number, least: number, width = 8): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeBigUInt64LE(BigInt.asUintN(8 * width, BigInt(value)), 1);
  let count = width;
  while (count > least && bytes[count] === 0) count -= 1;
  const bit = 1 << (7 - count + least);
  if ((bytes[count] ?? 0) >= bit) {
    count += 1;
    bytes[0] = ~(bit - 1);
  } else if (count > least) bytes[0] = (bytes[count] ?? 0) | ~(bit * 2 - 1);
  else bytes[0] = bytes[count] ?? 0;
  return bytes.subarray(0, count);
}

/** write_varint(). */
export function varint(value: number): Buffer {
  return varlong(value, 1, 4);
}

/** write_vstring(): one byte of length, or two from 128 on. */
function vstring(bytes: Buffer): Buffer {
  const { length } = bytes;
  return Buffer.concat([
    length > 0x7f ? Buffer.from([(length >> 8) | 0x80, length & 0xff]) : Buffer.from([length]),
    bytes,
  ]);
}

// ---- How it is spoken (compat.c, flist.c) ---------------------------------------------------------------------------

/** Safe file list, no xattr optimization, seed fix (CF_*); and negotiated checksums with flags as varints. */
const COMPATIBILITY = 0x08 | 0x10 | 0x20;
const VARINT_FLAGS = 0x80;

/** One of the ways to speak that the host's rsync takes. */
export interface Dialect {
  /** As the greeting has it. */
  protocol: string;
  compatibility: number;
}

/** By the versions of rsync that speak so. */
export const DIALECTS = {
  '3.0': { protocol: '30.0', compatibility: COMPATIBILITY },
  '3.1': { protocol: '31.0', compatibility: COMPATIBILITY },
  '3.2': { protocol: '31.0 md5', compatibility: COMPATIBILITY | VARINT_FLAGS },
  '3.5': { protocol: '32.0 md5', compatibility: COMPATIBILITY | VARINT_FLAGS },
} as const satisfies Record<string, Dialect>;
/** The default way to speak. */
const USUAL: Dialect = DIALECTS['3.2'];

/** The version that comes of a greeting: with a subversion, which only unreleased ones have, it is the one before. */
function versionOf({ protocol }: Dialect): number {
  const [version = 0, sub = 0] = protocol.split(/[. ]/).map(Number);
  return sub === 0 ? version : version - 1;
}
const hasVarintFlags = ({ compatibility }: Dialect): boolean => (compatibility & VARINT_FLAGS) !== 0;

// ---- The file list (flist.c, acls.c, xattrs.c) ----------------------------------------------------------------------

/** The flags before an entry (rsync.h, XMIT_*). */
export const XMIT = { EXTENDED: 1 << 2, SAME_NAME: 1 << 5, LONG_NAME: 1 << 6, HLINKED: 1 << 9 } as const;
const HLINK_FIRST = 1 << 12;
export const FILE = 0o100644;
export const FOLDER = 0o040755;
export const LINK = 0o120777;
export const FIFO = 0o010644;
export const SOCKET = 0o140755;
export const CHARACTER_DEVICE = 0o020666;
export const BLOCK_DEVICE = 0o060660;

/** One entry of the list. Fields that are not given have an honest sender's values. */
export interface Entry {
  name: string | Buffer;
  mode: number;
  size?: bigint | number;
  mtime?: bigint | number;
  uid?: number;
  gid?: number;
  device?: [major: number, minor: number];
  target?: string;
  /** The index of the entry that this one is a hard link to; its own, where it is the first. */
  linkTo?: number | 'first';
  /** Long ones go as their sum, and are asked for. */
  xattrs?: [name: string, value: Buffer][];
  /** A false length, in place of the length of the bytes that follow. */
  claims?: { name?: number; target?: number; same?: number };
  /** Instead of the entry's ACLs and xattrs. */
  tail?: Buffer;
}

/** The content of every file of an attack. */
export const CONTENT = Buffer.from('what a hostile client sends\n');

const isKind = (mode: number, kind: number): boolean => (mode & 0o170000) === (kind & 0o170000);

/** An entry as bytes. */
export function entry(each: Entry, dialect = USUAL): Buffer {
  const name = Buffer.from(each.name as string);
  const same = each.claims?.same;
  let flags = XMIT.EXTENDED | XMIT.LONG_NAME | (same === undefined ? 0 : XMIT.SAME_NAME);
  if (each.linkTo !== undefined) flags |= XMIT.HLINKED | (each.linkTo === 'first' ? HLINK_FIRST : 0);
  const pieces = [
    hasVarintFlags(dialect) ? varint(flags) : int(flags).subarray(0, 2),
    ...(same === undefined ? [] : [Buffer.from([same])]),
    varint(each.claims?.name ?? name.length),
    name,
    ...(typeof each.linkTo === 'number' ? [varint(each.linkTo)] : []),
  ];
  const size = each.size ?? (isKind(each.mode, FILE) ? CONTENT.length : 0);
  pieces.push(varlong(size, 3), varlong(each.mtime ?? 1_700_000_000, 4), int(each.mode));
  pieces.push(varint(each.uid ?? 0), varint(each.gid ?? 0));
  const numbered = [CHARACTER_DEVICE, BLOCK_DEVICE, ...(versionOf(dialect) < 31 ? [FIFO, SOCKET] : [])];
  if (numbered.some(kind => isKind(each.mode, kind))) pieces.push(...(each.device ?? [1, 3]).map(varint));
  if (isKind(each.mode, LINK)) {
    const target = Buffer.from(each.target ?? '');
    pieces.push(varint(each.claims?.target ?? target.length), target);
  }
  pieces.push(each.tail ?? Buffer.concat([noAcls(each.mode), xattrs(each.xattrs ?? [])]));
  return Buffer.concat(pieces);
}

/** For each kind of ACL that the entry can have: a new one, with nothing in it. */
export function noAcls(mode: number): Buffer {
  if (isKind(mode, LINK)) return Buffer.alloc(0);
  return Buffer.alloc(isKind(mode, FOLDER) ? 4 : 2);
}

/** Longer values are sent as a sum first (xattrs.c, MAX_FULL_DATUM). */
const FULL_DATUM = 32;

export function xattrs(all: [name: string, value: Buffer][]): Buffer {
  const pieces = [varint(0), varint(all.length)];
  for (const [name, value] of all) {
    const bytes = Buffer.from(`${name}\0`);
    const sent = value.length > FULL_DATUM ? createHash('md5').update(value).digest() : value;
    pieces.push(varint(bytes.length), varint(value.length), bytes, sent);
  }
  return Buffer.concat(pieces);
}

// ---- The sender -----------------------------------------------------------------------------------------------------

/** The messages of the multiplexed stream (rsync.h, MSG_*). */
export const MSG = {
  DATA: 0,
  ERROR_XFER: 1,
  INFO: 2,
  ERROR: 3,
  WARNING: 4,
  ERROR_SOCKET: 5,
  LOG: 6,
  CLIENT: 7,
  ERROR_UTF8: 8,
  REDO: 9,
  STATS: 10,
  IO_ERROR: 22,
  IO_TIMEOUT: 33,
  NOOP: 42,
  ERROR_EXIT: 86,
  SUCCESS: 100,
  DELETED: 101,
  NO_SEND: 102,
} as const;
const MULTIPLEX_BASE = 7;

/** The flags in a request for a file (rsync.h, ITEM_*). */
const ITEM = { REPORT_XATTR: 1 << 8, BASIS_TYPE: 1 << 11, XNAME: 1 << 12, TRANSFER: 1 << 15 } as const;
const DONE = -1;

/** A transfer that the host asked for. */
export interface Wanted {
  index: number;
  flags: number;
  /** The index, as it goes back. */
  place: Buffer;
  /** An honest sender's first answer: it repeats the request and the index. */
  head: Buffer;
  /** The sum head, for an answer that copies nothing. */
  sums: Buffer;
}

/** rsync's sender, as a daemon, in whichever order an attack wants it. Every reading fails once the host has hung up. */
export class Sender {
  /** All that came from the host. */
  heard = Buffer.alloc(0);
  /** The arguments that the host's rsync sent. */
  arguments: string[] = [];
  /** The number of bytes of standard output after which the session ends. */
  limit = Number.POSITIVE_INFINITY;
  readonly #socket: Socket;
  #dialect: Dialect;
  #raw = Buffer.alloc(0);
  #unpacked = Buffer.alloc(0);
  #isOver = false;
  #wake: () => void = () => {};
  #drained: () => void = () => {};
  #lastRead = -1;
  #lastWritten = -1;

  constructor(socket: Socket, dialect = USUAL) {
    this.#socket = socket;
    this.#dialect = dialect;
    socket.on('error', () => {});
    socket.on('data', chunk => {
      this.heard = Buffer.concat([this.heard, chunk as Buffer]);
      this.#raw = Buffer.concat([this.#raw, chunk as Buffer]);
      this.#wake();
    });
    socket.on('drain', () => this.#drained());
    for (const end of ['end', 'close'])
      socket.on(end, () => {
        this.#isOver = true;
        this.#wake();
        this.#drained();
      });
  }

  /** Standard output of the session, as it is. Waits where the host does not take it. */
  async say(bytes: Buffer | string): Promise<void> {
    const content = Buffer.from(bytes as string).subarray(0, this.limit);
    await this.#frame(1, content);
    this.limit -= content.length;
    if (this.limit <= 0) throw new Error('all that may be said is said');
  }

  /** Standard error of the session. */
  async complain(text: string): Promise<void> {
    await this.#frame(2, Buffer.from(text));
  }

  async #frame(to: number, bytes: Buffer): Promise<void> {
    if (this.#isOver) throw new Error('the host has hung up');
    const head = Buffer.alloc(5);
    head.writeUInt8(to);
    head.writeUInt32BE(bytes.length, 1);
    this.#socket.write(head);
    if (this.#socket.write(bytes)) return;
    await new Promise<void>(resolve => {
      this.#drained = resolve;
    });
  }

  /** A message of any kind; data are cut where a message would be too long. */
  async message(tag: number, bytes: Buffer | string, claimed?: number): Promise<void> {
    const content = Buffer.from(bytes as string);
    const head = Buffer.alloc(4);
    head.writeUInt32LE((MULTIPLEX_BASE + tag) * 0x1000000 + (claimed ?? content.length));
    await this.say(Buffer.concat([head, content]));
  }

  async data(...pieces: Buffer[]): Promise<void> {
    const bytes = Buffer.concat(pieces);
    for (let at = 0; at < bytes.length; at += 0x8000)
      await this.message(MSG.DATA, bytes.subarray(at, at + 0x8000));
  }

  async #read(count: number): Promise<Buffer> {
    while (this.#raw.length < count) {
      if (this.#isOver) throw new Error('the host has hung up');
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    const taken = this.#raw.subarray(0, count);
    this.#raw = this.#raw.subarray(count);
    return taken;
  }

  async #line(end: number): Promise<string> {
    const bytes: number[] = [];
    for (;;) {
      const [byte = 0] = await this.#read(1);
      if (byte === end) return Buffer.from(bytes).toString();
      bytes.push(byte);
    }
  }

  /** Reads data of the multiplexed stream. It skips other messages. */
  async #take(count: number): Promise<Buffer> {
    while (this.#unpacked.length < count) {
      const head = (await this.#read(4)).readUInt32LE();
      const content = await this.#read(head & 0xffffff);
      if (head >>> 24 === MULTIPLEX_BASE) this.#unpacked = Buffer.concat([this.#unpacked, content]);
    }
    const taken = this.#unpacked.subarray(0, count);
    this.#unpacked = this.#unpacked.subarray(count);
    return taken;
  }

  async #takeByte(): Promise<number> {
    return (await this.#take(1))[0] ?? 0;
  }

  /** Waits until the host has hung up. */
  /** The next line before rsync begins. */
  async rawLine(): Promise<string> {
    return await this.#line(10);
  }

  async untilOver(): Promise<void> {
    while (!this.#isOver) {
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  /** From the greeting to the seed. */
  async begin({ motd = '', ...other }: Partial<Dialect> & { motd?: string } = {}): Promise<void> {
    this.#dialect = { ...this.#dialect, ...other };
    await this.say(`@RSYNCD: ${this.#dialect.protocol}\n`);
    await this.#line(10);
    await this.#line(10);
    await this.say(`${motd}@RSYNCD: OK\n`);
    for (;;) {
      const argument = await this.#line(0);
      if (argument === '') break;
      this.arguments.push(argument);
    }
    const isNegotiated = hasVarintFlags(this.#dialect);
    const checksum = isNegotiated ? [vstring(Buffer.from('md5'))] : [];
    await this.say(Buffer.concat([varint(this.#dialect.compatibility), ...checksum, int(7)]));
    if (isNegotiated) {
      const [length = 0] = await this.#read(1);
      await this.#read(length > 0x7f ? ((length & 0x7f) << 8) + ((await this.#read(1))[0] ?? 0) : length);
    }
    // Filter rules, each with its length before it; none ends them.
    for (let length = 1; length > 0; ) {
      length = (await this.#take(4)).readInt32LE(0);
      await this.#take(length);
    }
  }

  /** A whole list. */
  async list(entries: (Entry | Buffer)[]): Promise<void> {
    await this.entries(entries);
    await this.endList();
  }

  async entries(entries: (Entry | Buffer)[]): Promise<void> {
    await this.data(...entries.map(each => (Buffer.isBuffer(each) ? each : entry(each, this.#dialect))));
  }

  async endList(): Promise<void> {
    // With varints, whether there were errors follows.
    await this.data(Buffer.alloc(hasVarintFlags(this.#dialect) ? 2 : 1));
  }

  /** write_ndx(). */
  index(value: number): Buffer {
    if (value === DONE) return Buffer.from([0]);
    const step = value - this.#lastWritten;
    this.#lastWritten = value;
    if (step > 0 && step < 0xfe) return Buffer.from([step]);
    if (step >= 0 && step <= 0x7fff) return Buffer.from([0xfe, step >> 8, step & 0xff]);
    return Buffer.from([
      0xfe,
      (value >>> 24) | 0x80,
      value & 0xff,
      (value >> 8) & 0xff,
      (value >> 16) & 0xff,
    ]);
  }

  async #takeIndex(): Promise<number> {
    const first = await this.#takeByte();
    if (first === 0) return DONE;
    if (first !== 0xfe) return this.#step(first);
    const [high = 0, low = 0] = await this.#take(2);
    if (!(high & 0x80)) return this.#step((high << 8) + low);
    const [second = 0, third = 0] = await this.#take(2);
    this.#lastRead = low + (second << 8) + (third << 16) + ((high & 0x7f) << 24);
    return this.#lastRead;
  }

  #step(by: number): number {
    this.#lastRead += by;
    return this.#lastRead;
  }

  /**
   * Serves what is asked for until the host is done, and says goodbye.
   * @param answer what follows the repeated request of a file; the honest answer unless given
   * @param attributes the values of the long xattrs, as they are asked for
   */
  async serve(
    answer: (wanted: Wanted) => Promise<void> = wanted => this.send(wanted),
    attributes: Buffer = CONTENT,
    statistics?: (bigint | number)[],
  ): Promise<void> {
    for (let phase = 0; phase < 3; ) {
      const index = await this.#takeIndex();
      if (index === DONE) {
        phase += 1;
        await this.data(this.index(DONE));
        continue;
      }
      const request = await this.#takeRequest(index, attributes);
      if (request.flags & ITEM.TRANSFER) await answer(request);
      else await this.data(request.head);
    }
    await this.goodbye(statistics);
  }

  async #takeRequest(index: number, attributes: Buffer): Promise<Wanted> {
    const flags = (await this.#take(2)).readUInt16LE();
    const short = Buffer.alloc(2);
    short.writeUInt16LE(flags);
    const place = this.index(index);
    const head = [place, short];
    if (flags & ITEM.BASIS_TYPE) head.push(await this.#take(1));
    if (flags & ITEM.XNAME) {
      const length = await this.#takeByte();
      head.push(
        vstring(await this.#take(length > 0x7f ? ((length & 0x7f) << 8) + (await this.#takeByte()) : length)),
      );
    }
    if (flags & ITEM.REPORT_XATTR) {
      // Each number has one byte, since no attack has more files.
      for (let number = await this.#takeByte(); number !== 0; number = await this.#takeByte())
        head.push(varint(number), varint(attributes.length), attributes);
      head.push(Buffer.from([0]));
    }
    if (!(flags & ITEM.TRANSFER))
      return { index, flags, place, head: Buffer.concat(head), sums: Buffer.alloc(0) };
    const sums = await this.#take(16);
    await this.#take(sums.readInt32LE() * (4 + sums.readInt32LE(8)));
    return { index, flags, place, head: Buffer.concat(head), sums };
  }

  /** A file's content, with its sum or another one. */
  async send(
    wanted: Wanted,
    content = CONTENT,
    sum = createHash('md5').update(content).digest(),
  ): Promise<void> {
    await this.data(wanted.head, wanted.sums, int(content.length), content, int(0), sum);
  }

  /** The statistics and the last words (main.c, handle_stats(), read_final_goodbye()). */
  async goodbye(statistics: (bigint | number)[] = [100, 100, 100, 1, 1]): Promise<void> {
    await this.data(...statistics.map(each => varlong(each, 3)));
    await this.#takeIndex();
    if (versionOf(this.#dialect) < 31) return;
    await this.data(this.index(DONE));
    await this.#takeIndex();
  }
}

// ---- The client -----------------------------------------------------------------------------------------------------

/** The forced command of the one-time sshd: hands the session to the test, through a socket. */
export const BRIDGE = `
use IO::Socket::UNIX;
my $test = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 99;
sub put { my ($to, $bytes) = @_; my $at = 0; while ($at < length $bytes) { $at += syswrite($to, $bytes, length($bytes) - $at, $at) || exit 98 } }
my $child = fork;
if (!$child) { while (sysread(STDIN, my $bytes, 65536)) { put($test, $bytes) } $test->shutdown(1); exit }
sub get { my $n = shift; my $bytes = ''; while (length $bytes < $n) { sysread($test, $bytes, $n - length $bytes, length $bytes) or leave() } $bytes }
sub leave { kill 'KILL', $child; waitpid($child, 0); exit 0 }
while (1) { my ($to, $n) = unpack('CN', get(5)); my $bytes = $n ? get($n) : ''; put($to == 2 ? *STDERR : *STDOUT, $bytes) }
`;

/** One attack. */
export interface Attack {
  roots?: string[];
  dryRun?: boolean;
  /** Fields of the request that differ from an honest one. */
  header?: Partial<CommonHeader & DirectHeader>;
  dialect?: Dialect;
  /** Plays rsync. */
  play: (sender: Sender) => Promise<void>;
}

/** How a call ended. */
export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
  outcome: OutcomeEvent | undefined;
  tookMs: number;
  /** All bytes of the session's standard input; empty if the host did not connect. */
  heard: Buffer;
  arguments: string[];
}

/** The fields of every request. */
const COMMON_HEADER = {
  roots: ['/'],
  excludes_bytes: 0,
  dry_run: false,
  rsync: '3.5.0',
  enumerated: [],
};

/** A client that is enrolled, and says what it likes. */
export class HostileClient {
  readonly name: string;
  readonly #world: World;
  readonly #folder: string;
  /** Its key's private half. */
  readonly identity: string;

  private constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.#folder = join(world.client.home, `hostile ${name}`);
    this.identity =
      name === world.name ? join(world.client.home, '.ssh/id_ed25519') : join(this.#folder, 'identity');
  }

  /** Makes its keys and its sshd's config, and enrolls it unless it is the world's own client. */
  static async make(world: World, name: string): Promise<HostileClient> {
    const made = new HostileClient(world, name);
    const { client } = world;
    const folder = made.#folder;
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, client.uid, client.gid);
    for (const key of ['one time', 'host key']) world.keygen(client, join(folder, key));
    if (name !== world.name) {
      world.keygen(client, made.identity);
      const enrolled = await world.enroll(name, readFileSync(`${made.identity}.pub`, 'utf8'));
      if (enrolled.status !== 0) throw new Error(`enroll: ${enrolled.stderr}`);
    }
    world.write(client, join(folder, 'bridge.pl'), BRIDGE);
    world.write(
      client,
      join(folder, 'sshd_config'),
      [
        `HostKey "${folder}/host key"`,
        `AuthorizedKeysFile "${folder}/one time.pub"`,
        'AuthenticationMethods publickey',
        'UsePAM no',
        'PidFile none',
        'PrintMotd no',
        QUICK_EXCHANGE,
        `ForceCommand exec perl '${folder}/bridge.pl' '${folder}/bridge'`,
        '',
      ].join('\n'),
    );
    return made;
  }

  /** A request that is as it should be, for this client's keys. */
  request(header: Partial<CommonHeader & DirectHeader> = {}, excludes = Buffer.alloc(0)): Buffer {
    const key = readFileSync(join(this.#folder, 'one time'));
    return encodeRequest({
      header: {
        transport: 'direct',
        user: this.#world.client.login,
        host_key: readFileSync(join(this.#folder, 'host key.pub'), 'utf8').split(' ').slice(0, 2).join(' '),
        ...COMMON_HEADER,
        key_bytes: key.length,
        excludes_bytes: excludes.length,
        ...header,
      },
      key,
      excludes,
    });
  }

  /** The same, for the call itself as the channel. @param key what comes in the place of none */
  channelRequest(header: Record<string, unknown> = {}, key = Buffer.alloc(0)): Buffer {
    return encodeRequest({
      header: { transport: 'channel', confined: true, ...COMMON_HEADER, key_bytes: 0, ...header },
      key,
      excludes: Buffer.alloc(0),
    });
  }

  /** ssh to the host's real sshd, with this client's key; standard input stays open. */
  call(...command: string[]): Running {
    const { client, host, port } = this.#world;
    const options = [
      'BatchMode=yes',
      'LogLevel=ERROR',
      `UserKnownHostsFile="${client.home}/.ssh/known_hosts"`,
    ];
    return this.#world.start(
      client,
      '/usr/bin/ssh',
      [
        ...['-F', 'none', '-T', '-i', this.identity, '-p', String(port), '-l', host.login],
        ...options.flatMap(each => ['-o', each]),
        '127.0.0.1',
        ...command,
      ],
      { keepsInput: true, timeoutMs: 60_000 },
    );
  }

  /** Calls with a request, and plays the sender when the host dials back. Ends when the call has. */
  async attack(attack: Attack): Promise<Ended> {
    const clock = fairClock();
    const listener = await this.listen(attack.play, attack.dialect);
    const header = {
      ...(attack.roots ? { roots: attack.roots } : {}),
      ...(attack.dryRun ? { dry_run: true } : {}),
      ...attack.header,
    };
    try {
      const call = this.call(`${this.name}:${listener.port}`);
      call.child.stdin?.write(this.request(header));
      const result = await call.done;
      const { sender } = listener;
      return {
        ...result,
        outcome: lastOutcome(result.stderr),
        tookMs: clock(),
        heard: sender()?.heard ?? Buffer.alloc(0),
        arguments: sender()?.arguments ?? [],
      };
    } finally {
      await listener.close();
    }
  }

  /** The one-time listener with its sshd, and the session that comes out of it. */
  async listen(
    play: Attack['play'],
    dialect?: Dialect,
  ): Promise<{ port: number; sender: () => Sender | undefined; close: () => Promise<void> }> {
    const { client } = this.#world;
    const children = new Set<ChildProcess>();
    const sockets = new Set<Socket>();
    let sender: Sender | undefined;
    const bridge = createServer({ allowHalfOpen: true }, socket => {
      sockets.add(socket);
      sender = new Sender(socket, dialect);
      // The session ends with the play. The call has the host's result.
      void play(sender)
        .catch(() => {})
        .finally(() => socket.destroySoon());
    });
    const path = join(this.#folder, 'bridge');
    rmSync(path, { force: true });
    await new Promise<void>(resolve => bridge.listen(path, resolve));
    chmodSync(path, 0o666); // only the client can enter the folder
    const server = createServer({ pauseOnConnect: true }, socket => {
      socket.on('error', () => {});
      const child = spawn('/usr/sbin/sshd', ['-i', '-f', join(this.#folder, 'sshd_config')], {
        cwd: '/',
        env: {},
        uid: client.uid,
        gid: client.gid,
        stdio: [socket, socket, 'ignore'],
      });
      children.add(child);
      child.once('spawn', () => socket.destroy());
      child.once('exit', () => children.delete(child));
    });
    const port = await listenAnywhere(server);
    return {
      port,
      sender: () => sender,
      close: async () => {
        for (const socket of sockets) socket.destroy();
        for (const child of children) child.kill('SIGKILL');
        await Promise.all([bridge, server].map(each => new Promise(resolve => each.close(resolve))));
      },
    };
  }
}

async function listenAnywhere(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

/** The outcome that the host told, if it did. */
export function lastOutcome(stderr: string): OutcomeEvent | undefined {
  return stderr
    .split('\n')
    .map(decodeEvent)
    .flatMap(each => ('value' in each && each.value.event === 'outcome' ? [each.value] : []))
    .at(-1);
}
