/**
 * The exclude list that `packages --write F` makes, and beside it the folder F.rebuild with lists for a rebuild of the machine.
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { fixCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, makeFolder, readdir, removeAll } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { findBreach } from '../os/trust.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Installation, inSystem, type ManagerName } from './package-database.ts';
import type { PackagePattern } from './package-patterns.ts';

/** The beginning of the first line of such a list. The filter of a run treats a list with it differently (client/filter.ts). */
const PACKAGE_LIST_MARK = '# dialback packages 1: ';

const FIRST_LINE = `${PACKAGE_LIST_MARK}files that the package manager can put back unchanged`;
const HEADER = `${FIRST_LINE}
# The next "dialback packages --write" replaces this file. Write patterns of your own into another list.
`;
const STAMP = 'written';
const LIST_BYTES = 1024 * 1024;
/** A time, a name and two paths. */
const STAMP_BYTES = 16_384;
const REBUILD_BYTES = 16 * 1024 * 1024;

/** The folder with the lists for a rebuild. */
function rebuildFolder(list: string): string {
  return `${list}.rebuild`;
}

/** The text of a list. Patterns are bytes, one character each. */
function listText(patterns: readonly Pick<PackagePattern, 'pattern'>[]): string {
  return `${HEADER}${patterns.map(each => `${each.pattern}\n`).join('')}`;
}

/** Whether the text of an exclude list is one of `packages`. */
export function isPackageList(text: string): boolean {
  return text.startsWith(PACKAGE_LIST_MARK);
}

/**
 * Checks that a list may be written, before the work begins.
 * @throws Fault if the file is another one than an earlier list, or if other accounts can write to its folder
 */
export function requireOwnList(list: string): void {
  const folder = dirname(list);
  const tried = `write the list "${list}"`;
  if (!exists(folder))
    throw new Fault({
      tried,
      found: `there is no folder "${folder}"`,
      next: `install -d -m 700 ${quoteForShell(folder)}`,
      exit: 'usage',
    });
  const breach = findBreach(folder, ownAccount().uid);
  if (breach)
    throw new Fault({
      tried,
      found: breach.found,
      next: fixCommand(breach, folder, ownAccount()),
      exit: 'usage',
    });
  const found = lstat(list, { throwIfNoEntry: false });
  const refuse = (path: string): Fault =>
    new Fault({
      tried,
      found: `"${path}" is there, and "dialback packages" has not written it`,
      next: 'name another file',
      exit: 'usage',
    });
  if (
    found !== undefined &&
    (!found.isFile() || !isPackageList(readWhole(list, LIST_BYTES).toString('latin1')))
  )
    throw refuse(list);
  const rebuild = rebuildFolder(list);
  const beside = lstat(rebuild, { throwIfNoEntry: false });
  if (beside !== undefined && (!beside.isDirectory() || !exists(`${rebuild}/${STAMP}`)))
    throw refuse(rebuild);
}

/**
 * Writes a list and the folder beside it. A file whose content would not change is left as it is, so that the next snapshot shares it
 * with the last one. The time of the list is in F.rebuild/written.
 * @param rebuild contents by path below F.rebuild
 * @param of the system whose packages they are, and its package manager
 * @throws Fault as `requireOwnList()`, and if a file cannot be written
 */
export function writeList(
  list: string,
  patterns: readonly Pick<PackagePattern, 'pattern'>[],
  rebuild: ReadonlyMap<string, Buffer>,
  of: Installation & { manager: ManagerName },
): void {
  requireOwnList(list);
  const folder = rebuildFolder(list);
  makeFolder(folder, { parents: true });
  // First, so that a folder without it is never ours.
  replaceFile(`${folder}/${STAMP}`, '');
  for (const [name, content] of rebuild) {
    makeFolder(dirname(`${folder}/${name}`), { parents: true });
    replaceIfOther(`${folder}/${name}`, content);
  }
  const wanted = new Set([STAMP, ...rebuild.keys()]);
  for (const name of filesBelow(folder)) if (!wanted.has(name)) removeAll(`${folder}/${name}`);
  replaceIfOther(list, Buffer.from(listText(patterns), 'latin1'));
  replaceFile(`${folder}/${STAMP}`, `${now().toISOString()}\n${of.system}\n${of.manager}\n${of.database}\n`);
}

function replaceIfOther(path: string, content: Buffer): void {
  if (exists(path) && readWhole(path, REBUILD_BYTES).equals(content)) return;
  replaceFile(path, content);
}

function filesBelow(folder: string): string[] {
  return readdir(folder, { recursive: true, withFileTypes: true })
    .filter(each => !each.isDirectory())
    .map(each => `${each.parentPath}/${each.name}`.slice(folder.length + 1));
}

/** Reads the patterns of a list of `packages`, as bytes. @throws Fault if it is another file */
export function readPackageList(list: string): string[] {
  const text = readWhole(list, LIST_BYTES).toString('latin1');
  if (isPackageList(text)) return text.split('\n').filter(line => line.startsWith('/'));
  throw new Fault({
    tried: `read the list "${list}"`,
    found: '"dialback packages" has not written it',
    next: 'name the list that is in the restored system',
    exit: 'usage',
  });
}

/** When a list was written, for which system, and by which package manager's database. */
interface Stamp {
  /** Milliseconds since 1970. */
  writtenMs: number;
  /** The folder of the system. */
  system: string;
  /** dpkg in a list of an older version. */
  manager: string;
  /** The database that was read. */
  database: string;
}

/** @returns undefined for a list whose F.rebuild is incomplete or absent */
export function readStamp(list: string): Stamp | undefined {
  try {
    const text = readWhole(`${rebuildFolder(list)}/${STAMP}`, STAMP_BYTES).toString('utf8');
    const [time = '', system = '', manager = '', database = ''] = text.split('\n');
    const writtenMs = Date.parse(time);
    return Number.isNaN(writtenMs) || !system.startsWith('/')
      ? undefined
      : {
          writtenMs,
          system,
          manager: manager || 'dpkg',
          database: database || inSystem(system, '/var/lib/dpkg/status'),
        };
  } catch {
    return undefined;
  }
}
