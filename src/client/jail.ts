/** The sender's jail, tried with the scope of a config before any run needs it. */
import { Fault } from '../fault.ts';
import { makeFolder, makeUniqueFolder, removeAll } from '../os/files.ts';
import { type Jail, rsyncLibraries, tryConfinement } from '../os/launcher.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { daemonConfig } from '../wire/rsync.ts';
import type { ClientConfig } from './config.ts';
import { writeDaemonFiles, writeScope } from './direct.ts';
import { scopeFilter, scopeRecords } from './filter.ts';
import { mountTableText } from './mount-points.ts';
import type { Place } from './never.ts';
import type { Root } from './roots.ts';
import { kernelScope, withLaunchersPlaces } from './scope.ts';

/**
 * Has rsync started in the jail, with the scope of the config, in a folder of its own that is gone afterwards.
 * @param roots as `findRoots()` has found them
 * @returns where the launcher says that each `never` is, too
 */
export async function tryJail(
  config: ClientConfig,
  state: string,
  roots: readonly Root[],
  hung: readonly string[],
): Promise<{ jail: Jail | Fault; places: Place[] }> {
  let folder: string | undefined;
  let places: Place[] = [];
  try {
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-jail-`);
    const run = `${folder}/run-jail00`; // the launcher takes a folder of this form alone
    makeFolder(run);
    const seen = kernelScope(config, state, roots, hung);
    writeScope(run, scopeRecords(seen, await rsyncLibraries()));
    const scope = await withLaunchersPlaces(seen, run);
    places = scope.places;
    writeDaemonFiles(run, {
      daemonConfig: daemonConfig({ filter: `${run}/rsyncd/filter`, idleSeconds: 60, confined: true }),
      filter: scopeFilter({ ...scope, excludes: [] }),
      mounts: mountTableText(scope),
    });
    return { jail: await tryConfinement(run), places };
  } catch (error) {
    if (error instanceof Fault) return { jail: error, places };
    throw error;
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}
