/** Whether the lists of `packages` still fit the packages of this machine, and are in the backup. */
import { readWhole } from '../os/content.ts';
import { isWithin } from '../os/mounts.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type ClientConfig, excludeFiles, stateFolder } from './config.ts';
import { isPackageList, readStamp } from './package-list.ts';
import { managerNamed } from './package-managers.ts';

/** A file that was changed after the list was written is left out of the backup, so an old list is a risk even without an upgrade. */
const OLDEST_MS = 7 * 86_400_000;
const LIST_BYTES = 1024 * 1024;

/** A list that should be written again, or elsewhere. */
export interface OldList {
  found: string;
  next: string;
}

/**
 * Finds the lists of `packages` among the exclude lists of a config, and those of them that are too old.
 * @param nowMs milliseconds since 1970
 * @throws Fault if an exclude list cannot be read
 */
export function checkPackageLists(config: ClientConfig, nowMs: number): { lists: string[]; old: OldList[] } {
  const lists = excludeFiles(config).filter(each =>
    isPackageList(readWhole(each, LIST_BYTES).toString('latin1')),
  );
  const outside = lists.filter(list => !isBackedUp(config, list));
  const old = lists.flatMap(list => {
    const { found, system } = ageOf(list, nowMs);
    const root = system === '/' ? '' : ` --root ${quoteForShell(system)}`;
    return found === undefined
      ? []
      : [{ found, next: `dialback packages --write ${quoteForShell(list)}${root}` }];
  });
  const lost = outside.map(list => ({
    found: `"${escapeText(list)}" is in no backup, and a rebuild needs it: it is not below a root, or \`never\` has it`,
    next: 'write the list to a folder that the backup includes',
  }));
  return { lists, old: [...old, ...lost] };
}

/** Whether the roots include a list. Exclude patterns are not compared. */
function isBackedUp(config: ClientConfig, list: string): boolean {
  const { roots, never } = config.scope;
  const isIn = (folders: readonly string[]): boolean => folders.some(each => isWithin(each, list));
  return isIn(roots) && !isIn([...never, stateFolder(config, undefined)]);
}

function ageOf(list: string, nowMs: number): { found?: string; system: string } {
  const name = escapeText(list);
  const stamp = readStamp(list);
  if (stamp === undefined)
    return { found: `"${name}.rebuild" does not say when "${name}" was written`, system: '/' };
  const { writtenMs, system, manager, database } = stamp;
  const changedMs = managerNamed(manager)?.changedMs(database);
  if (changedMs !== undefined && changedMs > writtenMs)
    return {
      found: `packages have changed since "${name}" was written, and it can leave out files that are new`,
      system,
    };
  if (nowMs - writtenMs > OLDEST_MS)
    return {
      found: `"${name}" is older than 7 days, and leaves out files that have changed since then`,
      system,
    };
  return { system };
}
