/** Addresses: those of a host name, and those of this machine. */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Fault } from '../fault.ts';

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
