/**
 * `dialback web`: pages about the store, for a browser. This process keeps the indexes of the store up to date, which needs writing. It
 * starts `jail web`, which becomes `dialback serve-web` (serve-web.ts) in a jail. Only that process talks to browsers.
 */

import { EXIT, type ExitName, Fault, type Parsed } from '../fault.ts';
import { type HostConfig, readHostConfig, storeSettings } from '../host/config.ts';
import { tryReceiveJail } from '../host/jail.ts';
import { refuseRoot } from '../os/account.ts';
import { onUserSignal } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { exists, realPath, removeFileIfThere } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { hasJail, jailCommand, jailPath, lacksLandlock } from '../os/launcher.ts';
import { FIRST_PASSED, hasPassedSocket, removeOldSocket, requireFreePort } from '../os/listening.ts';
import { type Child, start } from '../os/process.ts';
import { configPath } from '../shared/toml.ts';
import { cacheFolder } from '../store/cache-place.ts';
import { updateIndexes } from '../store/index-refresh.ts';
import { overviewOf } from '../store/overview.ts';
import { openStore, requireOwner } from '../store/store.ts';
import { isLoopback, type Port, parseHosts, parsePort, portText } from '../web/listen.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, exitName, type Io } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface WebRequest {
  /** Undefined: the default, or a socket that systemd passes. */
  listen: Port | undefined;
  socket: string | undefined;
  hosts: string | undefined;
  isSecure: boolean;
  isPublic: boolean;
  config: string | undefined;
}

const DEFAULT: Port = { address: '127.0.0.1', port: 8030 };
const PROXY =
  'keep 127.0.0.1, and use ssh -L 8030:127.0.0.1:8030 or a reverse proxy with TLS (docs/manual.md)';

export const web: Command<WebRequest> = {
  name: 'web',
  usage:
    'web [--listen 127.0.0.1:8030 | --socket PATH] [--host NAMES] [--https] [--any-address] [--config F]',
  side: 'host',
  summary: 'show the store in a browser: clients, snapshots, files, differences; only reads',
  options: [
    { name: 'listen', value: 'ADDRESS:PORT', help: `listen there; ${portText(DEFAULT)} by default` },
    { name: 'socket', value: 'PATH', help: 'listen on a Unix socket of this account' },
    { name: 'host', value: 'NAMES', help: 'names by which browsers reach it through a proxy, with commas' },
    { name: 'https', help: 'browsers reach it by https, through a proxy' },
    { name: 'any-address', help: 'allow an address that other machines reach, without TLS' },
    HOST_CONFIG,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(web, words);
    const [listen, socket] = [parsedOption(given, 'listen', parsePort), given.path('socket')];
    if (listen !== undefined && socket !== undefined)
      throw given.refuse('--listen and --socket contradict each other');
    if (listen !== undefined && !isLoopback(listen.address) && !given.has('any-address'))
      throw new Fault({
        tried: `listen on "${portText(listen)}"`,
        found: 'other machines reach this address, and the pages would cross the network without TLS',
        next: PROXY,
        exit: 'usage',
      });
    return {
      listen,
      socket,
      hosts: parsedOption(given, 'host', parseHosts)?.join(','),
      isSecure: given.has('https'),
      isPublic: given.has('any-address'),
      config: given.path('config'),
    };
  },

  async run(request, io): Promise<ExitName> {
    let ready: Child | undefined;
    onUserSignal(() => ready?.signal('SIGUSR2'));
    refuseRoot('web');
    const path = configPath('host.toml', request.config);
    const config = readHostConfig(path);
    openStore(config.store);
    requireOwner(config.store, 'web');
    await requireJail();
    const signal = io.interruption();
    const listen = await choosePlace(request, io);
    const refresh = async (): Promise<void> => await updateStore(config, io, signal);
    await refresh();
    const words = [
      ...['--config', realPath(path)],
      ...(request.hosts === undefined ? [] : ['--host', request.hosts]),
      ...(request.isSecure ? ['--https'] : []),
      ...(request.isPublic ? ['--any-address'] : []),
    ];
    const jail = jailCommand(
      ['web', listen, realPath(config.store), realPath(path), ...cachesOf(config.store), '--', ...words],
      'TERM',
    );
    const passed = listen === INHERITED ? [FIRST_PASSED] : [];
    const child = await start(jail, ['nothing', 'pipe', 2, ...passed]);
    // The server prints its address when it is ready for SIGUSR2. Before that the signal would kill it.
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      ready = child;
      io.print(text);
    });
    try {
      return await stayWith(child, refresh, signal);
    } finally {
      await child.end();
      if (request.socket !== undefined) removeFileIfThere(request.socket);
    }
  },
};

/** The folder of the store's caches outside of it, which the jail opens for reading too. */
function cachesOf(store: string): string[] {
  const caches = cacheFolder(store);
  return caches === store || !exists(caches) ? [] : [realPath(caches)];
}

/** @throws Fault for a value that `parse` refuses */
function parsedOption<T>(
  given: Arguments,
  name: 'listen' | 'host',
  parse: (text: string) => Parsed<T>,
): T | undefined {
  const text = given.text(name);
  if (text === undefined) return undefined;
  const found = parse(text);
  if ('value' in found) return found.value;
  throw given.refuse(`--${name} is "${escapeText(text, 60)}": ${found.reason}`);
}

/** LISTEN of `jail web` for a socket that a service manager passes. */
const INHERITED = 'inherited';
const REFRESH_MS = 300_000;

/** Waits for the end of the server or of this process. Meanwhile it keeps the indexes up to date. */
async function stayWith(child: Child, refresh: () => Promise<void>, signal: AbortSignal): Promise<ExitName> {
  let isOver = false;
  const ended = child.exited.then(({ status }) => {
    isOver = true;
    return exitName(status ?? EXIT.failed);
  });
  const interrupted = new Promise<ExitName>(resolve =>
    signal.addEventListener('abort', () => resolve('done'), { once: true }),
  );
  const refreshing = async (): Promise<never> => {
    for (;;) {
      await sleep(REFRESH_MS, signal);
      if (!isOver) await refresh();
    }
  };
  const end = Promise.race([ended, interrupted]);
  return await Promise.race([end, refreshing().catch(() => end)]);
}

/** The jail is the reason why a browser may see the store at all, so there is no way without it. */
async function requireJail(): Promise<void> {
  const tried = 'confine the web server';
  if (!hasJail())
    throw new Fault({
      tried,
      found: `"${jailPath()}" is not there`,
      next: installStep(),
    });
  const jail = await tryReceiveJail();
  if (!(jail instanceof Fault)) return;
  if (!lacksLandlock(jail)) throw jail;
  throw new Fault({ tried, found: jail.found, next: 'boot a kernel with Landlock' });
}

/** @returns LISTEN of `jail web` */
async function choosePlace({ listen, socket }: WebRequest, io: Io): Promise<string> {
  if (listen === undefined && socket === undefined && hasPassedSocket(io.environment)) return INHERITED;
  if (socket !== undefined) {
    await removeOldSocket(socket);
    return socket;
  }
  const place = listen ?? DEFAULT;
  await requireFreePort(place.address, place.port, 'dialback web --listen 127.0.0.1:PORT, with another PORT');
  return portText(place);
}

/**
 * Brings the indexes and the catalog up to date. The process in the jail cannot write them. Pages of the other clients work if one fails.
 */
async function updateStore(config: HostConfig, io: Io, signal: AbortSignal): Promise<void> {
  const warn = (fault: Fault): void => io.warn(io.plain(`dialback: ${fault.message}\n`));
  for await (const fault of updateIndexes(config.store, signal)) warn(fault);
  try {
    await overviewOf(storeSettings(config), signal); // updates the catalog
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Fault)) throw error;
    warn(error);
  }
}
