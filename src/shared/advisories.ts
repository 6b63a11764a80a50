/**
 * Known vulnerabilities of the programs that dialback runs, and whether an installed version has them. Pure.
 *
 * A distribution fixes a vulnerability without a newer version, and says so in the package's changelog. So a version is vulnerable if it
 * is old and its changelog does not mention the fix.
 */
import type { Parsed } from '../fault.ts';

/** A vulnerability, or several that were fixed in the same version. */
export interface Advisory {
  /** Its usual name. */
  name: string;
  /** The first version that has it; undefined if all older ones do. */
  since?: string;
  /** The first version that does not have it. */
  fixedIn: string;
  /** Matches a changelog of an older version with the fix. */
  mark: RegExp;
  /** The possible attack. */
  what: string;
}

/** Sources: NEWS.md of rsync 3.4.0, 3.4.3 and 3.5.0 (https://download.samba.org/pub/rsync/NEWS). */
export const RSYNC_ADVISORIES: Advisory[] = [
  {
    name: 'CVE-2024-12084 to -12088 and -12747',
    fixedIn: '3.4.0',
    mark: /CVE-2024-12085\b/, // all older versions have this one
    what: 'a peer reads memory, writes out of bounds, and makes the other side read or write other files',
  },
  {
    name: 'CVE-2026-43618 and five more',
    fixedIn: '3.4.3',
    mark: /CVE-2026-43618\b/,
    what: 'a normal pull reaches an integer overflow',
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
    what: 'an attacker on the network can remove messages from the beginning of a connection',
  },
  {
    name: 'CVE-2024-6387 (regreSSHion)',
    since: '8.5p1',
    fixedIn: '9.8p1',
    mark: /CVE-2024-6387\b|sshsigdie/, // Debian 12's changelog has only the function's name
    what: "an attacker who reaches an sshd can run code as its user, which is root for the host's own",
  },
  {
    name: 'CVE-2025-26465 and -26466',
    since: '6.8p1',
    fixedIn: '9.9p2',
    mark: /CVE-2025-26465\b/,
    what: 'a peer can use up memory and time; dialback switches off the option that allows more',
  },
];

/** Splits a version into numbers: `9.2p1` is 9, 2, 1. The part after `+`, `~` or `-` is the packager's. @returns undefined if it is none */
function parseVersion(text: string): number[] | undefined {
  const found = /^\d+(?:[.p]\d+)*/.exec(text)?.[0];
  return found?.split(/[.p]/).map(Number);
}

/** Compares two versions. A missing number is 0. @returns below zero if `one` is older, 0 if they are equal */
export function compareVersions(one: string, other: string): number {
  const [left, right] = [parseVersion(one) ?? [], parseVersion(other) ?? []];
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @param changelog the installed package's, if it can be read @returns the advisories that the version is still open to */
export function openAdvisories(
  version: string,
  changelog: string | undefined,
  advisories: Advisory[],
): Advisory[] {
  return advisories.filter(
    advisory =>
      compareVersions(version, advisory.fixedIn) < 0 &&
      (advisory.since === undefined || compareVersions(version, advisory.since) >= 0) &&
      !(changelog !== undefined && advisory.mark.test(changelog)),
  );
}

/** Checks that a Debian changelog belongs to a version. Its first line has it: `rsync (3.5.0+ds1-1) …`. @returns the changelog, or the reason */
export function changelogOf(version: string, changelog: string): Parsed<string> {
  const top = /^\S+ \((?:\d+:)?([^)]+)\)/.exec(changelog)?.[1];
  if (top === undefined) return { reason: 'it is not a Debian changelog' };
  return compareVersions(top, version) === 0
    ? { value: changelog }
    : { reason: 'it belongs to another version' };
}
