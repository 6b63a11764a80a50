/** Where the server listens, and under which names browsers reach it. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import type { Parsed } from '../fault.ts';
import type { Names } from './headers.ts';

/** A TCP port. */
export interface Port {
  /** IPv4 or IPv6. */
  address: string;
  port: number;
}

/** @param text `ADDRESS:PORT` or `[ADDRESS]:PORT`; `localhost` is 127.0.0.1 */
export function parsePort(text: string): Parsed<Port> {
  const found = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+|localhost)):(\d{1,5})$/.exec(text);
  const [, six, four, digits] = found ?? [];
  const address = four === 'localhost' ? '127.0.0.1' : (six ?? four ?? '');
  const port = Number(digits);
  if (!(six === undefined ? isIPv4(address) : isIPv6(address)) || !(port <= 65_535))
    return { reason: 'it is not ADDRESS:PORT, such as 127.0.0.1:8030 or [::1]:8030' };
  return { value: { address, port } };
}

/** The form of `parsePort`, and of `jail web`. */
export function portText({ address, port }: Port): string {
  return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
}

/** Whether only this machine reaches an address. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** A value of the Host header: a name or an address, and a port. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;
const MOST_HOSTS = 20;

/** @param text names with commas between them */
export function parseHosts(text: string): Parsed<string[]> {
  const hosts = text.toLowerCase().split(',');
  if (hosts.length > MOST_HOSTS) return { reason: `it has more than ${MOST_HOSTS} names` };
  const odd = hosts.find(each => !HOST.test(each));
  return odd === undefined
    ? { value: hosts }
    : { reason: 'it is not NAME or NAME:PORT, with commas between several' };
}

/**
 * The names of a server.
 * @param place where it listens; undefined for a Unix socket
 * @param hosts of a proxy
 */
export function namesOf(place: Port | undefined, hosts: readonly string[], isSecure: boolean): Names {
  const own = place === undefined ? ['localhost'] : ownNames(place);
  return { hosts: new Set([...own, ...hosts]), isSecure };
}

function ownNames({ address, port }: Port): string[] {
  const names = [isIPv6(address) ? `[${address}]` : address, ...(isLoopback(address) ? ['localhost'] : [])];
  return names.flatMap(name => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]));
}

/** The address that logs in a browser. @param hosts of a proxy; the first one is used */
export function loginAddress(
  place: Port | undefined,
  hosts: readonly string[],
  isSecure: boolean,
  token: string,
): string {
  const [host = place === undefined ? 'localhost' : portText(place)] = hosts;
  return `${isSecure ? 'https' : 'http'}://${host}/login?token=${token}`;
}
