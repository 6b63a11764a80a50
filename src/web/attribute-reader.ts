/** Reads extended attributes by the companion in the jail (src/launcher/attributes.h has the records). */
import type { Duplex } from 'node:stream';
import { Fault } from '../fault.ts';
import type { Xattr } from '../store/fake-super.ts';

const HEAD_BYTES = 8;
/** The companion's own limit, ANSWER_BYTES. */
const ANSWER_LIMIT = 4 << 20;

type Answer = Xattr[] | undefined;

/** A connection to the companion. Answers come in the order of the requests. */
export class AttributeReader {
  readonly #connection: Duplex;
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Fault) => void }[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #lost: Fault | undefined;

  /** @param onLoss is called when the companion has ended: the server cannot read a tree without it */
  constructor(connection: Duplex, onLoss: (fault: Fault) => void) {
    this.#connection = connection;
    connection.on('data', (chunk: Buffer) => {
      this.#take(chunk);
    });
    const lose = (): void => {
      if (this.#lost !== undefined) return;
      this.#lost = new Fault({ tried: 'read attributes', found: 'the process that reads them has ended' });
      for (const { reject } of this.#waiting) reject(this.#lost);
      this.#waiting = [];
      onLoss(this.#lost);
    };
    connection.on('error', lose);
    connection.on('close', lose);
  }

  /**
   * Reads the attributes of a file or folder.
   * @param path absolute
   * @returns undefined if it is gone or cannot be read
   * @throws Fault when the companion has ended
   */
  async read(path: Buffer): Promise<Answer> {
    if (this.#lost !== undefined) throw this.#lost;
    const head = Buffer.alloc(4);
    head.writeUInt32LE(path.length);
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection.write(Buffer.concat([head, path]));
    });
  }

  #take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const [error, length] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
      if (length > ANSWER_LIMIT) return void this.#connection.destroy();
      const end = at + HEAD_BYTES + length;
      if (bytes.length < end) break;
      this.#waiting
        .shift()
        ?.resolve(error === 0 ? parseXattrs(bytes.subarray(at + HEAD_BYTES, end)) : undefined);
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }
}

/** @returns undefined for malformed bytes */
function parseXattrs(bytes: Buffer): Answer {
  const words: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) return undefined;
    const end = at + 4 + bytes.readUInt32LE(at);
    if (end > bytes.length) return undefined;
    words.push(Buffer.from(bytes.subarray(at + 4, end)));
    at = end;
  }
  if (words.length % 2 !== 0) return undefined;
  const xattrs: Xattr[] = [];
  for (let at = 0; at < words.length; at += 2)
    xattrs.push({ name: words[at] ?? Buffer.alloc(0), value: words[at + 1] ?? Buffer.alloc(0) });
  return xattrs.sort((one, other) => Buffer.compare(one.name, other.name));
}
