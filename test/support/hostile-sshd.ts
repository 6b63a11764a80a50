/**
 * A hostile SSH server, spoken by hand: curve25519-sha256, ssh-ed25519, aes256-gcm. It lets in every key, grants whatever command is
 * asked for, and then says to the ssh that called what no sshd says.
 */
import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Numbers of messages (RFC 4250). */
const MSG = {
  disconnect: 1,
  serviceRequest: 5,
  serviceAccept: 6,
  kexInit: 20,
  newKeys: 21,
  ecdhInit: 30,
  ecdhReply: 31,
  userauth: 50,
  failure: 51,
  success: 52,
  keyIsFine: 60,
  globalRequest: 80,
  requestFailure: 82,
  open: 90,
  openConfirmation: 91,
  request: 98,
  requestSuccess: 99,
} as const;

const TAG_BYTES = 16;
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex');

const int = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** A string of RFC 4251. */
const text = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([int(bytes.length), bytes]);
};

/** A positive mpint of RFC 4251. */
function mpint(bytes: Buffer): Buffer {
  const first = bytes.findIndex(each => each !== 0);
  const plain = first < 0 ? Buffer.alloc(0) : bytes.subarray(first);
  return text((plain[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.of(0), plain]) : plain);
}

/** The last 32 bytes of an SPKI structure are the key. */
const raw = (key: KeyObject): Buffer =>
  Buffer.from(key.export({ type: 'spki', format: 'der' }).subarray(-32));

interface Keys {
  key: Buffer;
  iv: Buffer;
}

/** One connection, from the version line on. */
class Connection {
  readonly #socket: Socket;
  readonly #hostKey: { publicKey: KeyObject; privateKey: KeyObject };
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer: Buffer = Buffer.alloc(0);
  #sending: Keys | undefined;
  #receiving: Keys | undefined;

  constructor(socket: Socket, hostKey: { publicKey: KeyObject; privateKey: KeyObject }) {
    this.#socket = socket.setNoDelay(true).on('error', () => {});
    this.#hostKey = hostKey;
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#chunks.next();
    if (done) throw new Error('ssh has hung up');
    this.#buffer = Buffer.concat([this.#buffer, value]);
  }

  async #read(count: number): Promise<Buffer> {
    while (this.#buffer.length < count) await this.#more();
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  async #line(): Promise<string> {
    while (!this.#buffer.includes(10)) await this.#more();
    const line = await this.#read(this.#buffer.indexOf(10) + 1);
    return line.toString('latin1').trimEnd();
  }

  /** A message as a packet (RFC 4253, 6; RFC 5647). */
  pack(payload: Buffer): Buffer {
    const block = this.#sending ? 16 : 8;
    const head = this.#sending ? 0 : 4;
    let padding = block - ((payload.length + 1 + head) % block);
    if (padding < 4) padding += block;
    const body = Buffer.concat([Buffer.of(padding), payload, Buffer.alloc(padding)]);
    const length = int(body.length);
    if (!this.#sending) return Buffer.concat([length, body]);
    const cipher: CipherGCM = createCipheriv('aes-256-gcm', this.#sending.key, this.#sending.iv);
    cipher.setAAD(length);
    const sealed = Buffer.concat([cipher.update(body), cipher.final()]);
    count(this.#sending);
    return Buffer.concat([length, sealed, cipher.getAuthTag()]);
  }

  /** Sends packets, and waits where the other side takes no more. */
  async send(...packets: Buffer[]): Promise<void> {
    if (this.#socket.write(Buffer.concat(packets))) return;
    await Promise.race([once(this.#socket, 'drain'), once(this.#socket, 'close')]);
    if (this.#socket.destroyed) throw new Error('ssh has hung up');
  }

  async #message(): Promise<Buffer> {
    const length = await this.#read(4);
    if (!this.#receiving) return unpadded(await this.#read(length.readUInt32BE()));
    const sealed = await this.#read(length.readUInt32BE() + TAG_BYTES);
    const cipher = createDecipheriv('aes-256-gcm', this.#receiving.key, this.#receiving.iv);
    cipher.setAAD(length);
    cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const body = Buffer.concat([cipher.update(sealed.subarray(0, -TAG_BYTES)), cipher.final()]);
    count(this.#receiving);
    return unpadded(body);
  }

  async #until(number: number): Promise<Buffer> {
    for (;;) {
      const message = await this.#message();
      if (message[0] === number) return message;
    }
  }

  /** RFC 4253, 7 and 8; RFC 5656. */
  async exchangeKeys(): Promise<void> {
    const ours = 'SSH-2.0-Hostile_1';
    this.#socket.write(`${ours}\r\n`);
    const theirs = await this.#line();
    const cipher = 'aes256-gcm@openssh.com';
    const hash = 'hmac-sha2-256';
    const lists = ['curve25519-sha256', 'ssh-ed25519', cipher, cipher, hash, hash, 'none', 'none', '', ''];
    const init = Buffer.concat([
      Buffer.of(MSG.kexInit),
      randomBytes(16),
      ...lists.map(text),
      Buffer.alloc(5),
    ]);
    await this.send(this.pack(init));
    const theirInit = await this.#until(MSG.kexInit);
    const theirPoint = (await this.#until(MSG.ecdhInit)).subarray(5, 37);
    const pair = generateKeyPairSync('x25519');
    const publicKey = createPublicKey({
      key: Buffer.concat([X25519_SPKI, theirPoint]),
      format: 'der',
      type: 'spki',
    });
    const secret = mpint(diffieHellman({ privateKey: pair.privateKey, publicKey }));
    const hostKey = text(Buffer.concat([text('ssh-ed25519'), text(raw(this.#hostKey.publicKey))]));
    const point = text(raw(pair.publicKey));
    const session = sha256(
      Buffer.concat([
        text(theirs),
        text(ours),
        text(theirInit),
        text(init),
        hostKey,
        text(theirPoint),
        point,
      ]),
      secret,
    );
    const signature = Buffer.concat([
      text('ssh-ed25519'),
      text(sign(null, session, this.#hostKey.privateKey)),
    ]);
    await this.send(
      this.pack(Buffer.concat([Buffer.of(MSG.ecdhReply), hostKey, point, text(signature)])),
      this.pack(Buffer.of(MSG.newKeys)),
    );
    await this.#until(MSG.newKeys);
    const derive = (letter: string, bytes: number): Buffer =>
      sha256(secret, session, Buffer.from(letter), session).subarray(0, bytes);
    this.#receiving = { key: derive('C', 32), iv: derive('A', 12) };
    this.#sending = { key: derive('D', 32), iv: derive('B', 12) };
  }

  /** RFC 4252: accepts every client. */
  async letIn(): Promise<void> {
    for (;;) {
      const message = await this.#message();
      if (message[0] === MSG.serviceRequest)
        await this.send(this.pack(Buffer.concat([Buffer.of(MSG.serviceAccept), message.subarray(1)])));
      if (message[0] !== MSG.userauth) continue;
      const fields = strings(message, 1, 3);
      if (fields.values[2] !== 'publickey') {
        await this.send(this.pack(Buffer.concat([Buffer.of(MSG.failure), text('publickey'), Buffer.of(0)])));
      } else if (message[fields.end] === 1) {
        await this.send(this.pack(Buffer.of(MSG.success)));
        return;
      } else {
        await this.send(
          this.pack(Buffer.concat([Buffer.of(MSG.keyIsFine), message.subarray(fields.end + 1)])),
        );
      }
    }
  }

  /** RFC 4254: opens the channel. @returns the command, once it was asked for and granted */
  async grantCommand(): Promise<string> {
    let channel = 0;
    for (;;) {
      const message = await this.#message();
      if (message[0] === MSG.open) {
        channel = message.readUInt32BE(strings(message, 1, 1).end);
        const numbers = [channel, 0, 1 << 30, 32_768].map(int);
        await this.send(this.pack(Buffer.concat([Buffer.of(MSG.openConfirmation), ...numbers])));
      } else if (message[0] === MSG.globalRequest) {
        if (message[strings(message, 1, 1).end]) await this.send(this.pack(Buffer.of(MSG.requestFailure)));
      } else if (message[0] === MSG.request) {
        const { values, end } = strings(message, 5, 1);
        if (message[end])
          await this.send(this.pack(Buffer.concat([Buffer.of(MSG.requestSuccess), int(channel)])));
        if (values[0] === 'exec') return strings(message, end + 1, 1).values[0] ?? '';
      }
    }
  }

  /** Ends it as a server does that gives a reason: ssh writes it to its log. */
  async disconnect(reason: string): Promise<void> {
    const words = Buffer.concat([Buffer.of(MSG.disconnect), int(2), text(reason), text('')]);
    await this.send(this.pack(words));
    this.#socket.end();
  }

  /** Discards all received bytes from now on, so that ssh does not block. */
  drain(): void {
    const next = async (): Promise<void> => {
      while (!(await this.#chunks.next()).done);
    };
    next().catch(() => {});
  }
}

/** RFC 5647, 7.1: the last eight bytes of the IV are a counter. */
function count(keys: Keys): void {
  keys.iv.writeBigUInt64BE((keys.iv.readBigUInt64BE(4) + 1n) & 0xffffffffffffffffn, 4);
}

const unpadded = (body: Buffer): Buffer => body.subarray(1, body.length - (body[0] ?? 0));

const sha256 = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

/** Reads a number of strings (RFC 4251). */
function strings(message: Buffer, from: number, many: number): { values: string[]; end: number } {
  const values: string[] = [];
  let end = from;
  for (let index = 0; index < many; index += 1) {
    const length = message.readUInt32BE(end);
    values.push(message.subarray(end + 4, end + 4 + length).toString('latin1'));
    end += 4 + length;
  }
  return { values, end };
}

/** The server, on a port of 127.0.0.1. */
export class HostileSshd {
  readonly #server: Server;
  readonly #hostKey = generateKeyPairSync('ed25519');
  /** Bytes of its flood. */
  sentBytes = 0;
  port = 0;

  /** @param live is called once ssh has its command */
  constructor(live: (connection: Connection) => Promise<void>) {
    this.#server = createServer(socket => {
      const connection = new Connection(socket, this.#hostKey);
      const serve = async (): Promise<void> => {
        await connection.exchangeKeys();
        await connection.letIn();
        await connection.grantCommand();
        connection.drain();
        await live(connection);
      };
      serve().catch(() => socket.destroy());
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as { port: number }).port;
  }

  close(): void {
    this.#server.close();
  }

  /** As known_hosts and a request have it. */
  get key(): string {
    const blob = Buffer.concat([text('ssh-ed25519'), text(raw(this.#hostKey.publicKey))]);
    return `ssh-ed25519 ${blob.toString('base64')}`;
  }

  /** Asks ssh for channels that it never grants: it writes a line to its log for each. */
  async flood(connection: Connection, bytes: number): Promise<void> {
    const open = Buffer.concat([
      Buffer.of(MSG.open),
      text('auth-agent@openssh.com'),
      ...[7, 1024, 1024].map(int),
    ]);
    while (this.sentBytes < bytes) {
      const packets = Array.from({ length: 200 }, () => connection.pack(open));
      await connection.send(...packets);
      this.sentBytes += packets.reduce((sum, each) => sum + each.length, 0);
    }
  }
}
