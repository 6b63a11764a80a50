/** The files that a client backs up: its roots and excludes, and mounts that do not answer. */
import type { ClientConfig } from '../client/config.ts';
import { emptiedRoots } from '../client/left-out.ts';
import { checkPackageLists } from '../client/package-age.ts';
import { followExcludes, type Root, refuseHiddenRoots } from '../client/roots.ts';
import { findRoots, kernelScope, readExcludes } from '../client/scope.ts';
import { STORE_NEXT, storeInScopeText, storesInScope } from '../client/store-in-scope.ts';
import { Fault } from '../fault.ts';
import { failedWith, lstat, makeUniqueFolder, mayRead, removeAll } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { isWithin } from '../os/mounts.ts';
import { hasProgram } from '../os/programs.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { asText, escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import type { Confinement } from './jails.ts';

const EXCLUDES = new Topic('client.excludes', 'a run does not start with an exclude list that it cannot use');

/** Reads the exclude patterns as a run does. */
export function collectExcludes(config: ClientConfig): Finding {
  try {
    const { length } = readExcludes(config);
    return EXCLUDES.ok(length === 1 ? 'one exclude pattern' : `${length} exclude patterns`);
  } catch (error) {
    return EXCLUDES.fault(error, 'set `exclude` and `exclude_from` in client.toml');
  }
}

const PACKAGES = new Topic(
  'client.packages',
  'a backup leaves out the files that the list names, also those that are new or changed since it was written',
);

/** Looks at the lists of `packages`. `client.excludes` reports a list that cannot be read. */
export function collectPackageLists(config: ClientConfig, nowMs: number): Finding[] {
  try {
    const { lists, old } = checkPackageLists(config, nowMs);
    if (old.length > 0) return old.map(({ found, next }) => PACKAGES.warning(found, next));
    return lists.map(each => PACKAGES.ok(`"${escapeText(each)}" is newer than the last change of packages`));
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
}

const ROOTS = new Topic(
  'client.roots',
  'a backup is incomplete without the files that the account cannot read',
);

const ROOTS_NEXT = 'set `roots` in client.toml';

/** The scope as a run finds it. */
export interface Ground {
  roots: readonly Root[];
  /** Mount points that do not answer (findHungMounts()). */
  hung: readonly string[];
}

/** One root, and the access that this account has to it. */
interface RootFacts {
  /** Without symbolic links. */
  path: string;
  /** As client.toml has it, if that is another path. */
  name?: string;
  /** `hidden`: this account may not search a folder above it. */
  is: 'readable' | 'closed' | 'missing' | 'hidden' | 'hung';
}

/** Finds the roots as a run does. @returns why a run refuses them, if it does */
export function collectRoots(config: ClientConfig, hung: readonly string[]): Root[] | Fault {
  try {
    return findRoots(config, hung);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

/** Looks at each root, without opening a mount that does not answer. */
export function collectRootFacts({ roots, hung }: Ground): RootFacts[] {
  return roots.map(root => {
    const path = asText(root.path);
    const named = root.name === root.path ? {} : { name: asText(root.name) };
    if (hung.some(each => isWithin(each, root.path))) return { path, ...named, is: 'hung' };
    try {
      lstat(path);
    } catch (error) {
      return { path, ...named, is: failedWith(error, 'EACCES') ? 'hidden' : 'missing' };
    }
    return { path, ...named, is: mayRead(path) ? 'readable' : 'closed' };
  });
}

/** Reports why a run refuses the roots. */
export function checkRefusedRoots(fault: Fault): Finding {
  return ROOTS.fault(fault, ROOTS_NEXT);
}

/** Checks the roots: critical if a backup would have none of them and so fail, a warning if it would only lack some. */
export function checkRoots(roots: RootFacts[], { way }: Confinement): Finding[] {
  const names = (of: RootFacts[]): string =>
    of
      .map(({ path, name }) => (name === undefined ? `"${path}"` : `"${path}" ("${name}" in client.toml)`))
      .join(', ');
  const missing = roots.filter(each => each.is === 'missing');
  // With the capability, rsync reads files whatever their modes are.
  const closed = way === 'none' ? roots.filter(each => each.is === 'closed' || each.is === 'hidden') : [];
  const next = ROOTS_NEXT;
  const findings: Finding[] = [];
  const isNone = missing.length + closed.length === roots.length;
  const bad = (found: string, more = ''): Finding =>
    isNone ? ROOTS.critical(found, `${next}${more}`) : ROOTS.warning(found, `${next}${more}`);
  if (missing.length > 0) findings.push(bad(`these roots do not exist: ${names(missing)}`));
  if (closed.length > 0) {
    findings.push(
      bad(
        `this account may not read ${names(closed)}`,
        `; or ${installStep()}: with the launcher rsync can read every file`,
      ),
    );
  }
  return findings.length > 0 ? findings : [ROOTS.ok(names(roots))];
}

/** Finds roots that `never` or the excludes leave out, which a run refuses or backs up as empty folders. */
export async function collectLeftOutRoots(
  config: ClientConfig,
  state: string,
  { roots, hung }: Ground,
): Promise<Finding[]> {
  if (!hasProgram('rsync')) return [];
  let folder: string | undefined;
  try {
    const { never } = kernelScope(config, state, roots, hung);
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
    const excludes = followExcludes(readExcludes(config), roots);
    await refuseHiddenRoots(folder, roots, excludes, hung);
    return checkEmptied(await emptiedRoots(folder, roots, excludes, never), roots.length);
  } catch (error) {
    // `client.excludes` reports an exclude list that cannot be used.
    if (error instanceof Fault && !error.tried.startsWith('back up ')) return [];
    return [ROOTS.fault(error, ROOTS_NEXT)];
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}

/**
 * @param emptied roots that are folders with entries, all of which are left out
 * @param count of all roots
 */
function checkEmptied(emptied: readonly Root[], count: number): Finding[] {
  if (emptied.length === 0) return [];
  const names = emptied.map(({ name }) => `"${escapeText(asText(name))}"`).join(', ');
  const found = `the excludes and \`never\` leave out everything in ${names}`;
  const next = 'set `exclude`, `exclude_from` and `never` in client.toml';
  return [emptied.length === count ? ROOTS.critical(found, next) : ROOTS.warning(found, next)];
}

const STORES = new Topic(
  'client.stores',
  'a store that is restored from a backup has plain files only, without owners, modes, links and devices',
);

/** Finds stores of this machine in the scope. Another check reports a scope that cannot be used. */
export function collectStoresInScope(
  config: ClientConfig,
  state: string,
  { roots, hung }: Ground,
): Finding[] {
  try {
    const scope = kernelScope(config, state, roots, hung);
    const excludes = followExcludes(readExcludes(config), roots);
    return storesInScope(scope, excludes).map(path => STORES.warning(storeInScopeText(path), STORE_NEXT));
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
}

const MOUNTS = new Topic(
  'client.mounts',
  'a backup is incomplete without the files of a file system that does not answer',
);

/** @param hung mount points that do not answer, a character a byte */
export function checkHungMounts(hung: readonly string[]): Finding[] {
  return hung
    .map(asText)
    .map(path =>
      MOUNTS.warning(
        `the file system at "${escapeText(path)}" does not answer`,
        `start its server; or umount -l ${quoteForShell(path)}`,
      ),
    );
}
