/** The addresses of a host name, and this machine's address towards another one. */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Fault } from '../fault.ts';

/**
 * Resolves a host name to its IPv4 and IPv6 addresses (getaddrinfo(3)).
 * @throws Fault `unreachable` when it has no address
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
 * Finds the source address that this machine uses for packets to another one. connect(2) of a UDP socket chooses it without sending
 * a packet (udp(7)).
 * @returns undefined when there is no route
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
    socket.connect(port, address, chosen as () => void); // node's types omit the error
  });
}

/** Any port works. */
const DISCARD_PORT = 9;
