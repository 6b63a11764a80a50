/** rsnapshot.conf as far as `adopt` needs it: where the backups are, and which folder of a client each of them has. Pure. */
import { posix } from 'node:path';

/** A line `backup`. */
interface BackupLine {
  /** The source as it is written: `/home/`, `root@oak:/etc/`. */
  source: string;
  /** The folder below an interval, without slashes at its ends: `localhost`. */
  point: string;
  /** Whether rsync puts the files below their whole path (`--relative`). */
  isRelative: boolean;
}

/** The facts of an rsnapshot.conf. */
export interface RsnapshotConfig {
  snapshotRoot: string | undefined;
  backups: BackupLine[];
  lockfile: string | undefined;
  /** Further files of this kind (`include_conf`). */
  includes: string[];
}

/** rsnapshot's default for `rsync_long_args`. */
const LONG_ARGS = '--delete --numeric-ids --relative --delete-excluded';

/** Parses rsnapshot.conf: one parameter in a line, tabs between its parts. Lines that `adopt` does not need are skipped. */
export function parseRsnapshotConfig(text: string): RsnapshotConfig {
  const lines = text
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.split(/\t+/).map(part => part.trim()));
  const last = (name: string): string | undefined => lines.findLast(([each]) => each === name)?.[1];
  const longArgs = last('rsync_long_args') ?? LONG_ARGS;
  return {
    snapshotRoot: last('snapshot_root'),
    backups: lines.flatMap(([name, source, point, more = '']) =>
      name === 'backup' && source !== undefined && point !== undefined
        ? [{ source, point: trimSlashes(point), isRelative: isRelative(longArgs, more) }]
        : [],
    ),
    lockfile: last('lockfile'),
    includes: lines.flatMap(([name, path]) => (name === 'include_conf' && path !== undefined ? [path] : [])),
  };
}

/** Joins the facts of a config and of those that it includes. */
export function joinConfigs([first, ...others]: readonly RsnapshotConfig[]): RsnapshotConfig | undefined {
  if (first === undefined) return undefined;
  return {
    snapshotRoot: first.snapshotRoot ?? others.find(each => each.snapshotRoot !== undefined)?.snapshotRoot,
    backups: [first, ...others].flatMap(each => each.backups),
    lockfile: first.lockfile ?? others.find(each => each.lockfile !== undefined)?.lockfile,
    includes: [],
  };
}

const trimSlashes = (path: string): string => path.replace(/^\/+|\/+$/g, '');

/** @param more the options of one line: `+rsync_long_args=…` adds to the common ones, `rsync_long_args=…` replaces them */
function isRelative(longArgs: string, more: string): boolean {
  const own = /(^|,)(\+?)rsync_long_args=([^,]*)/.exec(more);
  const all = own === null ? longArgs : own[2] === '+' ? `${longArgs} ${own[3]}` : (own[3] ?? '');
  const words = all.split(' ').filter(word => /^(--relative|--no-relative|-R|--no-R)$/.test(word));
  const decides = words.at(-1);
  return decides === '--relative' || decides === '-R';
}

/** Which folder of the client a backup point holds, and the folders of the client that are in it. */
export type Mapping = { at: string; roots: string[] } | { reason: string };

/**
 * Finds out which folder of a client a backup point holds.
 * @param point below an interval, such as `localhost`
 * @returns the reason if the lines do not say it
 */
export function mapPoint({ backups }: RsnapshotConfig, point: string): Mapping {
  const own = backups.filter(each => each.point === point || each.point.startsWith(`${point}/`));
  if (own.length === 0) return { reason: `rsnapshot.conf has no line "backup" for "${point}/"` };
  const sources = own.map(each => clientPath(each.source));
  const odd = own.find((each, at) => sources[at] === undefined || each.point !== point);
  if (odd !== undefined)
    return { reason: `the line "backup ${odd.source} ${odd.point}/" is not a plain one` };
  const roots = [...new Set(sources.filter(each => each !== undefined))].sort();
  if (own.every(each => each.isRelative)) return { at: '/', roots };
  const [only = '/'] = roots;
  if (roots.length > 1) return { reason: `"${point}/" has the contents of ${roots.join(' and ')}` };
  return { at: only, roots };
}

/** The path on the client of a source; undefined for a form that does not tell it (rsync://, lvm://, a path with /./). */
function clientPath(source: string): string | undefined {
  const path = /^(?:[^/:]+:)?(\/(?!\/).*)$/.exec(source)?.[1];
  if (path === undefined || path.includes('/./') || /[*?[\]]/.test(path)) return undefined;
  const plain = posix.normalize(path);
  return plain.length > 1 ? plain.replace(/\/+$/, '') : plain;
}
