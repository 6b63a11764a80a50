/**
 * Which snapshots `adopt` makes of which folders: the intervals of rsnapshot, the folder of the client that each of them
 * holds, and the time of each snapshot. A doubt about one of these is a Fault, never a guess.
 */
import { basename, dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, fileFault, isNotThere, lstat, readdir, realPath, stat } from '../os/files.ts';
import { escapeText, quoteForShell, snapshotName } from '../wire/text.ts';
import { parseGivenTime, timeInName } from './adopted-time.ts';
import { joinConfigs, mapPoint, parseRsnapshotConfig, type RsnapshotConfig } from './rsnapshot-config.ts';
import { ADOPTED, listSnapshots, type Snapshot } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import { parsePath } from './tree-path.ts';

/** The wishes of the command line. */
export interface AdoptWishes {
  /** Folders to adopt: roots of rsnapshot, intervals, or plain trees; absolute. */
  folders: readonly string[];
  /** The folder of the client that each tree holds. */
  at: string | undefined;
  /** The backup point below each interval. */
  point: string | undefined;
  /** The time of the only tree, as it is written. */
  time: string | undefined;
  /** Where the times of plain trees come from. */
  times: 'name' | 'mtime' | undefined;
  /** The path of rsnapshot.conf. */
  rsnapshotConfig: string | undefined;
}

/** A folder, and the snapshot that it becomes. */
export interface PlannedTree {
  /** The interval, or the plain tree. */
  folder: string;
  /** The folder whose content the snapshot has. */
  source: string;
  /** The folder of the client that `source` holds. */
  at: string;
  /** The folders of the client that the snapshot has. */
  roots: string[];
  /** The name of the snapshot. */
  snapshot: string;
  /** Whether the store has this snapshot. */
  isPresent: boolean;
}

/** The trees of one call. */
export interface AdoptPlan {
  /** Oldest first. */
  trees: PlannedTree[];
  /** Intervals without the backup point. */
  skipped: string[];
}

/** An interval of rsnapshot: `daily.3`. */
const INTERVAL = /^[A-Za-z]\w*\.\d+$/;

const CONFIG_PLACE = '/etc/rsnapshot.conf';
const CONFIG_LIMIT = 1024 * 1024;
const MOST_INCLUDES = 20;

/**
 * Plans the adoption. It only reads.
 * @throws Fault (usage) if a folder does not exist, or if its client's folder or its time is not certain
 */
export function planAdoption(client: ClientStore, wishes: AdoptWishes, now: Date): AdoptPlan {
  const snapshots = listSnapshots(client);
  const folders = [...new Set(wishes.folders.flatMap(each => expand(each)))];
  if (wishes.time !== undefined && folders.length > 1)
    throw usage(
      `adopt ${folders.length} folders`,
      '--time is for one folder',
      'name one folder, or leave out --time',
    );
  const skipped: string[] = [];
  const found = folders.flatMap(folder => {
    const source = findSource(folder, client.name, wishes);
    if (source === undefined) {
      skipped.push(folder);
      return [];
    }
    const mapping = findMapping(folder, source, wishes, snapshots);
    const time = timeOf(folder, wishes);
    if (time > now)
      throw usage(
        adopting(folder),
        `its time is in the future: ${snapshotName(time)}`,
        'give it with --time',
      );
    return [{ folder, source, ...mapping, time }];
  });
  found.sort(
    (one, other) => one.time.getTime() - other.time.getTime() || (one.folder < other.folder ? -1 : 1),
  );
  const taken = new Set<string>();
  const trees = found.map(({ time, ...tree }) => ({ ...tree, ...nameFor(time, snapshots, taken) }));
  return { trees, skipped };
}

const adopting = (folder: string): string => `adopt "${escapeText(folder)}"`;

function usage(tried: string, found: string, next?: string): Fault {
  return new Fault({ tried, found, ...(next === undefined ? {} : { next }), exit: 'usage' });
}

/** A root of rsnapshot becomes its intervals; any other folder stays. */
function expand(folder: string): string[] {
  let names: string[];
  try {
    if (!lstat(folder).isDirectory()) throw usage(adopting(folder), 'it is not a folder', 'name a folder');
    names = readdir(folder);
  } catch (error) {
    if (error instanceof Fault) throw error;
    const next = isNotThere(error) ? {} : { next: 'run it as root, which can read every tree' };
    throw fileFault(error, adopting(folder), { ...next, exit: 'usage' });
  }
  if (INTERVAL.test(basename(folder))) return [realPath(folder)];
  const intervals = names.filter(each => INTERVAL.test(each) && lstat(`${folder}/${each}`).isDirectory());
  const top = realPath(folder);
  return intervals.length > 0 ? intervals.map(each => `${top}/${each}`) : [top];
}

const isInterval = (folder: string): boolean => INTERVAL.test(basename(folder));

/** @returns undefined for an interval that does not have the backup point */
function findSource(folder: string, client: string, { point }: AdoptWishes): string | undefined {
  if (!isInterval(folder)) {
    if (point === undefined) return folder;
    throw usage(
      adopting(folder),
      'it is not an interval of rsnapshot, so it has no backup point',
      'leave out --point',
    );
  }
  if (point !== undefined) {
    parsePath(`/${point}`, `use the backup point "${escapeText(point)}"`);
    const names = point.split('/');
    // A link in a backup point is the client's, and can lead anywhere.
    const isThere = names.every((_, at) => isFolder([folder, ...names.slice(0, at + 1)].join('/')));
    return isThere ? `${folder}/${point}` : undefined;
  }
  const points = readdir(folder)
    .filter(each => isFolder(`${folder}/${each}`))
    .sort();
  if (points.includes(client)) return `${folder}/${client}`;
  const [only] = points;
  if (only === undefined) return undefined;
  if (points.length === 1) return `${folder}/${only}`;
  throw usage(
    adopting(folder),
    `it has the backup points ${points.map(each => escapeText(each)).join(', ')}, and none is called "${client}"`,
    `--point NAME, which says the one that belongs to ${client}`,
  );
}

function isFolder(path: string): boolean {
  return exists(path) && lstat(path).isDirectory();
}

/** The names that a Unix system has at its top. */
const TOP_NAMES =
  /^(?:bin|boot|dev|etc|home|initrd\.img(?:\.old)?|lib(?:|32|64|x32)|lost\+found|media|mnt|nix|opt|proc|root|run|s?bin|snap|srv|sys|tmp|usr|var|vmlinuz(?:\.old)?)$/;

function findMapping(
  folder: string,
  source: string,
  wishes: AdoptWishes,
  snapshots: readonly Snapshot[],
): Pick<PlannedTree, 'at' | 'roots'> {
  if (wishes.at !== undefined) return { at: wishes.at, roots: rootsBelow(source, wishes.at) };
  if (!isInterval(folder))
    throw usage(
      adopting(folder),
      'nothing says which folder of the client it holds',
      '--at PATH: for example --at /home, or --at / for a tree with etc, home, usr and so on',
    );
  const config = findConfig(folder, wishes.rsnapshotConfig);
  const mapping = config ? mapPoint(config, source.slice(folder.length + 1)) : mapByNames(source, snapshots);
  const reason = 'reason' in mapping ? mapping.reason : whyForeign(source, mapping.at, snapshots);
  if (reason === undefined && 'at' in mapping) return mapping;
  throw usage(
    adopting(source),
    `it is not certain which folder of the client it holds: ${escapeText(reason ?? '')}`,
    '--at PATH: the folder of the client that it holds, for example --at /, or --at /home',
  );
}

/** Without a config: rsnapshot keeps the whole paths, so a backup point has the names of a system's top. */
function mapByNames(
  source: string,
  snapshots: readonly Snapshot[],
): { at: string; roots: string[] } | { reason: string } {
  const known = snapshots.flatMap(each => each.record.scope.roots.map(root => root.split('/')[1]));
  const odd = readdir(source).find(each => !TOP_NAMES.test(each) && !known.includes(each));
  if (odd === undefined) return { at: '/', roots: rootsBelow(source, '/') };
  return { reason: `there is no rsnapshot.conf for it, and a client has no "/${odd}"` };
}

/** Compares with the roots of the client's own backups. @returns why the tree does not look like this client's */
function whyForeign(source: string, at: string, snapshots: readonly Snapshot[]): string | undefined {
  const newest = snapshots.findLast(each => !each.record.flags.includes(ADOPTED));
  const roots = newest?.record.scope.roots ?? [];
  const prefix = at === '/' ? '' : at;
  const isThere = (root: string): boolean =>
    root === '/' ||
    at === root ||
    at.startsWith(`${root}/`) ||
    (root.startsWith(`${prefix}/`) && exists(`${source}${root.slice(prefix.length)}`));
  if (roots.length === 0 || roots.some(isThere)) return undefined;
  return `the client's own backups have ${roots.join(', ')}, and it has none of these`;
}

function rootsBelow(source: string, at: string): string[] {
  if (at !== '/') return [at];
  return readdir(source)
    .filter(each => !/[\n\r\0]/.test(each))
    .map(each => `/${each}`)
    .sort();
}

/**
 * Reads the rsnapshot.conf that an interval belongs to.
 * @param named the path of the command line; undefined: the usual place, if that config names this interval's folder
 */
export function findConfig(interval: string, named: string | undefined): RsnapshotConfig | undefined {
  const root = dirname(interval);
  if (named === undefined) {
    const config = exists(CONFIG_PLACE) ? readConfig(CONFIG_PLACE, true) : undefined;
    return config !== undefined && isSameFolder(config.snapshotRoot, root) ? config : undefined;
  }
  const config = readConfig(named, false);
  if (config !== undefined && isSameFolder(config.snapshotRoot, root)) return config;
  const found = `its snapshot_root is "${escapeText(config?.snapshotRoot ?? '')}"`;
  throw usage(
    `use "${escapeText(named)}" for "${escapeText(interval)}"`,
    found,
    'name the config of these intervals',
  );
}

function readConfig(path: string, isQuiet: boolean): RsnapshotConfig | undefined {
  const configs: RsnapshotConfig[] = [];
  const waiting = [path];
  try {
    while (waiting.length > 0 && configs.length <= MOST_INCLUDES) {
      const config = parseRsnapshotConfig(readWhole(waiting.shift() ?? '', CONFIG_LIMIT).toString('utf8'));
      configs.push(config);
      waiting.push(...config.includes.filter(each => each.startsWith('/')));
    }
  } catch (error) {
    if (isQuiet) return undefined;
    throw error instanceof Fault ? error : fileFault(error, `read "${escapeText(path)}"`, { exit: 'usage' });
  }
  return joinConfigs(configs);
}

function isSameFolder(one: string | undefined, other: string): boolean {
  if (one === undefined || !exists(one)) return false;
  const [a, b] = [stat(one), stat(other)];
  return a.dev === b.dev && a.ino === b.ino;
}

/** Whether rsnapshot is working in these intervals. @throws Fault (locked) if it is */
export function requireNoRsnapshot(folders: readonly string[], named: string | undefined): void {
  for (const folder of folders.filter(isInterval)) {
    const lock = findConfig(folder, named)?.lockfile;
    if (lock === undefined || !exists(lock)) continue;
    const pid = readWhole(lock, 64).toString('latin1').trim();
    if (!/^\d{1,10}$/.test(pid) || !exists(`/proc/${pid}`)) continue;
    throw new Fault({
      tried: adopting(folder),
      found: `rsnapshot is running: its lock file "${escapeText(lock)}" names process ${pid}`,
      next: 'wait for its end, and keep it from starting again meanwhile',
      exit: 'locked',
    });
  }
}

function timeOf(folder: string, { time, times }: AdoptWishes): Date {
  if (time !== undefined) {
    const given = parseGivenTime(time);
    if (given !== undefined) return given;
    throw usage(
      `use --time ${quoteForShell(escapeText(time))}`,
      'it is not a time',
      '--time 2026-05-01, or --time 2026-05-01T03:15:00Z',
    );
  }
  // rsnapshot sets the time of an interval's folder when a backup has ended, and keeps it.
  if (times === 'mtime' || (times === undefined && isInterval(folder))) return stat(folder).mtime;
  const named = timeInName(basename(folder));
  if (named !== undefined) return named;
  throw usage(
    adopting(folder),
    'its name has no date, and the time of a plain folder is not that of its backup',
    '--time WHEN; or --times mtime, if the folder has the time of its backup',
  );
}

/** Names a snapshot. Two of the same second get two names. */
function nameFor(
  time: Date,
  snapshots: readonly Snapshot[],
  taken: Set<string>,
): { snapshot: string; isPresent: boolean } {
  for (let ms = time.getTime(); ; ms += 1000) {
    const snapshot = snapshotName(new Date(ms));
    const present = snapshots.find(each => each.name === snapshot);
    const isPresent = present?.record.flags.includes(ADOPTED) ?? false;
    if (taken.has(snapshot) || (present !== undefined && !isPresent)) continue;
    taken.add(snapshot);
    return { snapshot, isPresent };
  }
}
