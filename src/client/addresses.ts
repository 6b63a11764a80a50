/** Addresses and ranges, IPv4 and IPv6: the peers that may connect back, the address to listen on, and the guess at NAT. */
import { BlockList, isIP } from 'node:net';
import { unfold } from '../wire/text.ts';

/** An address or a CIDR range. */
export interface Range {
  address: string;
  family: 'ipv4' | 'ipv6';
  /** The number of leading bits that must be the same. */
  bits: number;
}

/**
 * Parses an entry of `from`.
 * @param text an address or a CIDR range. The zone of a link-local address (`fe80::1%eth0`) is not compared: the same address on
 *   another link of this machine has another zone
 * @returns undefined where it is neither
 */
export function parseFrom(text: string): Range | undefined {
  const [withZone = '', rawBits, ...rest] = text.split('/');
  const [rawAddress = '', zone] = withZone.split('%');
  const isZoned = zone !== undefined;
  const isZoneGood = rawBits === undefined && /^fe[89ab][^%]*%[A-Za-z0-9_.-]+$/i.test(withZone);
  if (rest.length > 0 || (isZoned && !isZoneGood)) return undefined;
  const address = unfold(rawAddress);
  const version = isIP(address);
  if (version === 0) return undefined;
  const most = version === 4 ? 32 : 128;
  if (rawBits !== undefined && !/^(0|[1-9]\d{0,2})$/.test(rawBits)) return undefined;
  const bits = rawBits === undefined ? most : Number(rawBits);
  if (bits > most) return undefined;
  return {
    address: bits === most ? address : firstOf(address, bits),
    family: version === 4 ? 'ipv4' : 'ipv6',
    bits,
  };
}

/** The first address of a range: sshd's `from=` refuses a range whose address has bits beyond the mask (match.c). */
function firstOf(address: string, bits: number): string {
  const isShort = isIP(address) === 4;
  const [size, base] = isShort ? [8, 10] : [16, 16];
  const [head = '', tail] = isShort
    ? [address]
    : new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const parts = (text = ''): number[] =>
    text
      .split(/[.:]/)
      .filter(Boolean)
      .map(each => Number.parseInt(each, base));
  const zeros = tail === undefined ? 0 : 8 - parts(head).length - parts(tail).length;
  const masked = [...parts(head), ...Array<number>(zeros).fill(0), ...parts(tail)].map((part, index) => {
    const rest = Math.max(0, size - Math.max(0, bits - index * size));
    return (rest >= size ? 0 : (part >> rest) << rest).toString(base);
  });
  return isShort ? masked.join('.') : new URL(`http://[${masked.join(':')}]`).hostname.slice(1, -1);
}

/** A range as sshd's `from=` accepts it. */
export function showRange(range: Range): string {
  return range.bits === (range.family === 'ipv4' ? 32 : 128)
    ? range.address
    : `${range.address}/${range.bits}`;
}

/** Whether an address is in one of the ranges. */
export function isFrom(ranges: Range[], rawAddress: string): boolean {
  const address = unfold(rawAddress.split('%')[0] ?? '');
  const version = isIP(address);
  if (version === 0) return false;
  const list = new BlockList();
  for (const range of ranges) list.addSubnet(range.address, range.bits, range.family);
  return list.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/** Parses `listen`: `ADDR:PORT`, with an IPv6 address in brackets. Port 0 lets the system choose. @returns undefined for other text */
export function parseListen(text: string): { address: string; port: number } | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = found?.[1] ?? found?.[2] ?? '';
  const port = Number(found?.[3]);
  if (!found || port > 65_535) return undefined;
  return isIP(address) === (found[1] === undefined ? 4 : 6) ? { address, port } : undefined;
}

/** The two ends of a connection, or of a possible one, as this machine sees them. */
export interface Way {
  source: string;
  peer: string;
}

/** The texts are parsed here and not at each start of the program, because IPv6 addresses cost node some milliseconds. */
const isAmong = (texts: string[], address: string): boolean =>
  isFrom(
    texts.flatMap(text => parseFrom(text) ?? []),
    address,
  );

/** Addresses without a route on the internet: a call from one of them arrives there from another address. */
const PRIVATE = [
  '10.0.0.0/8', // RFC 1918, with the next two
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10', // RFC 6598: behind a provider's NAT
  '192.0.0.0/29', // RFC 7335: IPv4 over a network of IPv6
  'fc00::/7', // RFC 4193
];
/** Addresses of this machine, of its links, unspecified and multicast: no route leads out to them. */
const NEAR = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '::/127', 'fe80::/10', 'ff00::/8'];
/** RFC 6052: an IPv4 address behind a translator. */
const TRANSLATED = ['64:ff9b::/96'];

/** Whether an address has a route on the internet. */
function isPublic(address: string): boolean {
  return isIP(address.split('%')[0] ?? '') !== 0 && !isAmong(PRIVATE, address) && !isAmong(NEAR, address);
}

/**
 * Guesses whether addresses are translated (NAT) between this machine and its host, so that the host cannot connect back to the
 * source of the call. Only a guess: a router may forward such a connection, and a firewall may block one without NAT.
 * @returns the reason; undefined where both ends are private, or public, or on this machine
 */
export function findNat({ source, peer }: Way): string | undefined {
  if (isAmong(TRANSLATED, peer))
    return `the backup host's address here is ${peer}, which means an IPv4 address behind a translator (NAT64)`;
  if (!isAmong(PRIVATE, source) || !isPublic(peer)) return undefined;
  return `towards the backup host's public address ${peer} this machine has a private one, ${source}, so that it is probably behind NAT`;
}
