/** Who may connect back, and where the client listens: addresses and ranges, IPv4 and IPv6. */
import { BlockList, isIP } from 'node:net';
import { unfold } from '../wire/text.ts';

/** An address or a CIDR range. */
export interface Range {
  address: string;
  family: 'ipv4' | 'ipv6';
  /** Leading bits that must agree. */
  bits: number;
}

/** @param text an address or a CIDR range; without a zone */
export function parseFrom(text: string): Range | undefined {
  const [rawAddress = '', rawBits, ...rest] = text.split('/');
  if (rest.length > 0 || rawAddress.includes('%')) return undefined;
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

/** A range's first address: sshd's `from=` takes no range whose address has bits beyond the mask (match.c). */
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

/** A range as sshd's `from=` wants it. */
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

/** @param text `ADDR:PORT`, an IPv6 address in brackets; port 0 lets the system choose */
export function parseListen(text: string): { address: string; port: number } | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = found?.[1] ?? found?.[2] ?? '';
  const port = Number(found?.[3]);
  if (!found || port > 65_535) return undefined;
  return isIP(address) === (found[1] === undefined ? 4 : 6) ? { address, port } : undefined;
}
