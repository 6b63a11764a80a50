/**
 * A hostile host for `fetch`. The key of the client runs a bridge to this process, which plays the host byte by byte: first the list
 * of the offer, then rsync's sender.
 */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { encodeOfferLine, encodePiece, type OfferedEntry, type OfferHead } from '../../src/wire/fetch.ts';
import { encodeCode } from '../../src/wire/offer-code.ts';
import { BRIDGE, type Entry, Sender } from './hostile-client.ts';
import type { World } from './world.ts';

/** The answers of the host in one call. */
export interface HostileOffer {
  head?: Partial<OfferHead>;
  /** Entries, or the text of a line. */
  list?: (OfferedEntry | string)[];
  /** The list of its rsync. */
  entries?: (Entry | Buffer)[];
  /** In place of sending these files. */
  rsync?: (sender: Sender) => Promise<void>;
}

/** Any code: this host accepts each. */
export const ANY_CODE = encodeCode(Buffer.alloc(16, 7));

export class HostileOfferer {
  readonly #server: Server;
  readonly #socket: string;
  #offer: HostileOffer = {};
  /** Every call that has begun, until its end. */
  #calls: Promise<void>[] = [];

  private constructor(server: Server, socket: string) {
    this.#server = server;
    this.#socket = socket;
  }

  /** Binds the client's key to it. */
  static async make(world: World): Promise<HostileOfferer> {
    const bridge = join(world.host.home, 'bridge.pl');
    world.write(world.host, bridge, BRIDGE);
    const socket = join(world.host.home, 'bridge.socket');
    const server = createServer();
    await new Promise<void>(resolve => server.listen(socket, resolve));
    chmodSync(socket, 0o666);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8').trim();
    const command = `perl '${bridge}' '${socket}'`;
    world.write(world.host, world.authorizedKeys, `restrict,command="${command}" ${key}\n`);
    const made = new HostileOfferer(server, socket);
    server.on('connection', connection => {
      connection.on('error', () => {});
      made.#calls.push(
        made
          .#serve(new Sender(connection))
          .catch(() => {})
          .finally(() => connection.destroy()),
      );
    });
    return made;
  }

  /** Sets the answers of the next calls. */
  set offer(offer: HostileOffer) {
    this.#offer = offer;
    this.#calls = [];
  }

  async #serve(sender: Sender): Promise<void> {
    const request = await sender.rawLine();
    const { head, list = [], entries = [], rsync } = this.#offer;
    if (request.includes(' done ')) return;
    const whole: OfferHead = {
      snapshot: '2026-01-02T03-04-05Z',
      state: 'full',
      paths: ['/'],
      hasManifest: true,
      ...head,
    };
    const lines = [
      encodeOfferLine(whole),
      ...list.map(each => (typeof each === 'string' ? each : encodeOfferLine(each))),
    ];
    await sender.say('dialback-offer 1\n');
    await sender.say(encodePiece(Buffer.from(lines.join(''))));
    await sender.say(encodePiece(Buffer.alloc(0)));
    await sender.rawLine();
    await sender.say('go\n');
    if (rsync) return await rsync(sender);
    await sender.begin();
    await sender.list(entries);
    await sender.serve();
  }

  async end(): Promise<void> {
    await Promise.all(this.#calls);
    await new Promise(resolve => this.#server.close(resolve));
    rmSync(this.#socket, { force: true });
  }
}
