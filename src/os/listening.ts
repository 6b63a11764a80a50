/** Sockets that listen: whether a place is free, and where an inherited one listens. */
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { Fault } from '../fault.ts';
import { failedWith, fileFault, lstat, unlink } from './files.ts';

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
export const FIRST_PASSED = 3;

/**
 * Whether a service manager has passed exactly one socket to this process.
 * @throws Fault `usage` when it has passed another number
 */
export function hasPassedSocket(environment: NodeJS.ProcessEnv): boolean {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  if (pid !== String(process.pid) || count === undefined) return false;
  if (count === '1') return true;
  throw new Fault({
    tried: 'use the passed sockets',
    found: `there are ${Number(count)}, and one is expected`,
    exit: 'usage',
  });
}

/**
 * Checks that this process can listen on a TCP port, by doing so for a moment.
 * @param next for the Fault
 * @throws Fault
 */
export async function requireFreePort(address: string, port: number, next: string): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port, exclusive: true }, resolve);
    });
  } catch (error) {
    const found = failedWith(error, 'EADDRINUSE')
      ? 'another program listens there'
      : `the kernel refuses it (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`;
    throw new Fault({ tried: `listen on "${address}" port ${port}`, found, next });
  } finally {
    await new Promise(resolve => server.close(resolve));
  }
}

/**
 * Removes a socket that no process listens on any more.
 * @throws Fault when a process listens on it, and when it is not a socket
 */
export async function removeOldSocket(path: string): Promise<void> {
  const tried = `listen on "${path}"`;
  try {
    if (!lstat(path).isSocket())
      throw new Fault({ tried, found: 'it exists, and is not a socket', exit: 'usage' });
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return;
    throw error instanceof Fault ? error : fileFault(error, tried);
  }
  const isUsed = await new Promise<boolean>(resolve => {
    const socket = connect(path);
    socket
      .once('connect', () => resolve(true))
      .once('error', error => resolve(!failedWith(error, 'ECONNREFUSED')));
    socket.once('close', () => socket.destroy());
  });
  if (isUsed) throw new Fault({ tried, found: 'another program listens there' });
  try {
    unlink(path);
  } catch (error) {
    throw fileFault(error, tried);
  }
}

/** Has a server accept the connections of a socket that listens already. @returns its address; a path for a Unix socket */
export async function acceptOn(server: Server, descriptor: number): Promise<AddressInfo | string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd: descriptor }, resolve);
  });
  return server.address() ?? '';
}
