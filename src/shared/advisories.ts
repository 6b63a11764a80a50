/**
 * Known holes of the programs that dialback drives, and whether an installed version has them. Pure.
 *
 * A distribution mends a hole without taking a newer version; what tells is its package's changelog. So a hole is open
 * where the version is old AND the changelog does not speak of it.
 */
import type { Parsed } from '../fault.ts';

/** One hole, or a batch of them that was mended in one version. */
export interface Advisory {
  /** As it is spoken of. */
  name: string;
  /** The first version that has it; left out where all older ones do. */
  since?: string;
  /** The first version that does not. */
  fixedIn: string;
  /** What a changelog has where the mend was brought to an older version. */
  mark: RegExp;
  what: string;
}

/** Sources: NEWS.md of rsync 3.4.0, 3.4.3 and 3.5.0 (https://download.samba.org/pub/rsync/NEWS). */
export const RSYNC_ADVISORIES: Advisory[] = [
  {
    name: 'CVE-2024-12084 to -12088 and -12747',
    fixedIn: '3.4.0',
    mark: /CVE-2024-12085\b/, // the one of them that each older version has
    what: 'a peer reads memory, writes out of bounds, and makes the other side read or write other files',
  },
  {
    name: 'CVE-2026-43618 and five more',
    fixedIn: '3.4.3',
    mark: /CVE-2026-43618\b/,
    what: 'an integer overflow that a normal pull reaches',
  },
  {
    name: 'CVE-2026-70456, CVE-2026-53786 and 31 more',
    fixedIn: '3.5.0',
    mark: /CVE-2026-70456\b/,
    what: "a peer writes out of the daemon's bounds, and reads past its filter by a merge file",
  },
];

/** Source: https://www.openssh.com/security.html. */
export const OPENSSH_ADVISORIES: Advisory[] = [
  {
    name: 'CVE-2023-48795 (Terrapin)',
    fixedIn: '9.6p1',
    mark: /CVE-2023-48795\b/,
    what: 'who sits on the line can take messages out of the beginning of a connection',
  },
  {
    name: 'CVE-2024-6387 (regreSSHion)',
    since: '8.5p1',
    fixedIn: '9.8p1',
    mark: /CVE-2024-6387\b|sshsigdie/, // Debian 12's changelog has only the function's name
    what: "who reaches an sshd can run code as the user that it runs as: root, for the host's own",
  },
  {
    name: 'CVE-2025-26465 and -26466',
    since: '6.8p1',
    fixedIn: '9.9p2',
    mark: /CVE-2025-26465\b/,
    what: 'a peer uses up memory and time; dialback switches off the option that does worse',
  },
];

/** A version as numbers: `9.2p1` is 9, 2, 1; what follows a `+`, `~` or `-` is a packager's. */
export function parseVersion(text: string): number[] | undefined {
  const found = /^\d+(?:[.p]\d+)*/.exec(text)?.[0];
  return found?.split(/[.p]/).map(Number);
}

/** Below zero where `one` is older, zero where they are the same; a number that is missing is 0. */
export function compareVersions(one: string, other: string): number {
  const [left, right] = [parseVersion(one) ?? [], parseVersion(other) ?? []];
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @param changelog of the installed package; undefined where there is none to be read */
export function openAdvisories(
  version: string,
  changelog: string | undefined,
  holes: Advisory[],
): Advisory[] {
  return holes.filter(
    hole =>
      compareVersions(version, hole.fixedIn) < 0 &&
      (hole.since === undefined || compareVersions(version, hole.since) >= 0) &&
      !(changelog !== undefined && hole.mark.test(changelog)),
  );
}

/** Whether a Debian changelog is that of the version which runs: its first line names it, `rsync (3.5.0+ds1-1) …`. */
export function changelogOf(version: string, changelog: string): Parsed<string> {
  const top = /^\S+ \((?:\d+:)?([^)]+)\)/.exec(changelog)?.[1];
  if (top === undefined) return { reason: 'it is no changelog of Debian' };
  return compareVersions(top, version) === 0
    ? { value: changelog }
    : { reason: 'it belongs to another version' };
}
