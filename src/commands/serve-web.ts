/** `dialback serve-web`, which `jail web` becomes: the web server in its jail. Descriptor 3 is its socket, 4 the reader of attributes. */
import { setFlagsFromString } from 'node:v8';
import { Fault } from '../fault.ts';
import { readHostConfig } from '../host/config.ts';
import { interruptWith, onUserSignal } from '../os/async.ts';
import { monotonicMs, now } from '../os/clock.ts';
import { beginConfinement } from '../os/confinement.ts';
import { acceptOn, FIRST_PASSED } from '../os/listening.ts';
import { descriptorStream } from '../os/streams.ts';
import { readTreesBy } from '../store/tree-readers.ts';
import { walkForArchive, walkTree } from '../store/tree-walk.ts';
import { AttributeReader } from '../web/attribute-reader.ts';
import { HEAP_MB } from '../web/limits.ts';
import { isLoopback, loginAddress, namesOf, type Port, portText } from '../web/listen.ts';
import { makeLog } from '../web/log.ts';
import { site } from '../web/pages/site.ts';
import { makeServer } from '../web/server.ts';
import { Sessions } from '../web/session.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface ServeRequest {
  abi: string;
  hosts: string[];
  isSecure: boolean;
  isPublic: boolean;
  config: string;
}

const ATTRIBUTES = FIRST_PASSED + 1;

export const serveWeb: Command<ServeRequest> = {
  name: 'serve-web',
  usage: 'serve-web --landlock-abi N --config F [--host NAMES] [--https]',
  side: 'host',
  summary: 'answer browsers, in the jail',
  options: [
    { name: 'landlock-abi', value: 'N', help: 'the ABI of the jail' },
    { name: 'host', value: 'NAMES', help: 'names by which browsers reach it' },
    { name: 'https', help: 'browsers reach it by https' },
    { name: 'any-address', help: 'allow a passed socket that other machines reach' },
    HOST_CONFIG,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(serveWeb, words);
    return {
      abi: given.need('landlock-abi'),
      hosts: given.text('host')?.split(',') ?? [],
      isSecure: given.has('https'),
      isPublic: given.has('any-address'),
      config: given.need('config'),
    };
  },

  async run({ abi, hosts, isSecure, isPublic, config: path }, io) {
    setFlagsFromString(`--max-old-space-size=${HEAP_MB}`);
    beginConfinement();
    const signal = io.interruption();
    const attributes = new AttributeReader(
      descriptorStream(ATTRIBUTES, { readable: true, writable: true }),
      interruptWith,
    );
    readTreesBy({
      list: walkTree,
      listForArchive: walkForArchive,
      readXattrs: each => attributes.read(each),
    });
    const config = readHostConfig(path);
    const sessions = new Sessions();
    const log = makeLog(io.warn);
    const context = () => ({ config, store: config.store, now: now() });
    const parts = { names: namesOf(undefined, hosts, isSecure), site, sessions, context, log };
    const server = makeServer(parts);
    const address = await acceptOn(server, FIRST_PASSED);
    const place: Port | undefined = typeof address === 'string' ? undefined : address;
    if (place !== undefined && !isPublic && !isLoopback(place.address))
      throw new Fault({
        tried: `answer on "${portText(place)}"`,
        found: 'other machines reach this address',
        next: 'ListenStream=127.0.0.1:8030 in the socket unit',
        exit: 'usage',
      });
    parts.names = namesOf(place, hosts, isSecure);
    const announce = (): void => {
      const token = sessions.makeToken(monotonicMs());
      io.print(`${loginAddress(place, hosts, isSecure, token)}\n`);
    };
    log(`in the jail (Landlock ABI ${abi})`);
    onUserSignal(announce); // first: web.ts passes the signal on as soon as the address is there
    announce();
    await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
    server.close();
    server.closeAllConnections();
    if (signal.reason instanceof Fault && signal.reason.exit === 'interrupted') return 'done';
    throw signal.reason;
  },
};
