/** `weigh --exclude`: paths that become patterns of the exclude list. */
import { Fault } from '../fault.ts';
import { refuseRoot } from '../os/account.ts';
import { joinPath, parentOf, showPath, tailBehind } from '../os/byte-path.ts';
import { failedWith, lstat, realPath } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { prepareStateFolder } from '../os/runfolder.ts';
import { configPath } from '../shared/toml.ts';
import { type ClientConfig, readClientConfig, stateFolder } from './config.ts';
import { appendPatterns, type ExcludeChange, excludePattern, removeLastPatterns } from './exclude-file.ts';
import { findHungMounts, findRoots, readExcludes } from './scope.ts';

interface Place {
  config: string | undefined;
  state: string | undefined;
}

/**
 * Excludes paths from the next backups.
 * @param paths absolute, as bytes
 * @throws Fault where a path is not in the scope, or a root would be excluded
 */
export async function excludePaths(place: Place, paths: readonly string[]): Promise<ExcludeChange> {
  const { config, state } = open(place);
  readExcludes(config, { mayLack: true }); // a list that a run would refuse is not made longer
  const roots = findRoots(config, await findHungMounts(config)).map(each => each.path);
  return await appendPatterns(
    config,
    state,
    paths.map(each => patternFor(each, roots)),
  );
}

/** Takes the last change of `excludePaths()` back. */
export async function undoExclude(place: Place): Promise<ExcludeChange> {
  const { config, state } = open(place);
  return await removeLastPatterns(config, state);
}

function open(place: Place): { config: ClientConfig; state: string } {
  refuseRoot('weigh');
  const config = readClientConfig(configPath('client.toml', place.config));
  const state = stateFolder(config, place.state);
  prepareStateFolder(state);
  return { config, state };
}

function patternFor(asked: string, roots: readonly string[]): string {
  const { path, isFolder } = look(asked);
  const refuse = (found: string): Fault =>
    new Fault({ tried: `exclude "${showPath(path)}"`, found, exit: 'usage' });
  const hidden = roots.find(root => isWithin(path, root));
  if (hidden !== undefined)
    throw refuse(`the root "${showPath(hidden)}" would be excluded; remove it from \`roots\` in client.toml`);
  if (!roots.some(root => isWithin(root, path))) throw refuse('it is in no root of client.toml');
  return excludePattern(path, isFolder);
}

/** The path as rsync has it: without links above it. @throws Fault where it does not exist */
function look(path: string): { path: string; isFolder: boolean } {
  const above = parentOf(path);
  try {
    const real = realPath(Buffer.from(above, 'latin1'), 'buffer').toString('latin1');
    const name = path === '/' ? '/' : joinPath(real, tailBehind(above, path));
    return { path: name, isFolder: lstat(Buffer.from(name, 'latin1')).isDirectory() };
  } catch (error) {
    // A backup can have files that this account cannot see.
    if (failedWith(error, 'EACCES')) return { path, isFolder: false };
    throw new Fault({
      tried: `exclude "${showPath(path)}"`,
      found: 'there is no such file or folder',
      exit: 'usage',
    });
  }
}
