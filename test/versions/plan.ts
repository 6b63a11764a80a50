/** The tests of `make test-versions`. */
import type { Way } from './combination.ts';
import { SUITES } from './suites.ts';

const DIRECT: Way = { transport: 'direct', right: 'confined' };
const CHANNEL: Way = { transport: 'channel', right: 'confined' };
const PLAIN_DIRECT: Way = { transport: 'direct', right: 'unconfined' };
const PLAIN_CHANNEL: Way = { transport: 'channel', right: 'unconfined' };

/** On one machine, which is client and host. */
export const ONE_MACHINE: Way[] = [
  DIRECT,
  CHANNEL,
  { transport: 'local', right: 'confined' },
  PLAIN_DIRECT,
  PLAIN_CHANNEL,
  { transport: 'direct', right: 'inherited' },
  { transport: 'channel', right: 'inherited' },
];

/** From one machine to another. */
export const TWO_MACHINES: Way[] = [DIRECT, CHANNEL, PLAIN_DIRECT];

/** The suites whose whole machine is backed up without the files of packages, and rebuilt. */
export const PACKAGES_SUITES = ['bookworm'];

/** The suites that the Debian package is for. */
export const DEB_SUITES = ['bookworm', 'trixie'];

/** The machines of docs/quickstart.md: client and host. */
export const QUICKSTARTS: [client: string, host: string][] = [
  ['bookworm', 'trixie'],
  ['trixie', 'bookworm'],
];

/** Each other suite is client and host of this one. */
const CENTER = 'bookworm';

/** Neighbours in time, and one pair across the two distributions. */
const NEIGHBOURS: [string, string][] = [
  ['bullseye', 'bookworm-main'],
  ['bookworm-main', 'bookworm'],
  ['bookworm', 'trixie'],
  ['trixie', 'sid'],
  ['jammy', 'noble'],
  ['noble', 'resolute'],
  ['trixie', 'noble'],
];

/** @returns client and host, each pair once and in both directions */
export function listPairs(): [client: string, host: string][] {
  const others = SUITES.filter(each => each.isTested && each.name !== CENTER);
  const pairs = [...NEIGHBOURS, ...others.map((each): [string, string] => [each.name, CENTER])];
  const both = pairs.flatMap(([one, other]): [string, string][] => [
    [one, other],
    [other, one],
  ]);
  return both.filter(
    ([client, host], index) => both.findIndex(each => each[0] === client && each[1] === host) === index,
  );
}
