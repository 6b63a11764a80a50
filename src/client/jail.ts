/** The sender's jail, tried with the scope of a config before a run needs it. */
import { Fault } from '../fault.ts';
import { makeFolder, makeUniqueFolder, removeAll } from '../os/files.ts';
import { type Jail, rsyncLibraries, tryConfinement } from '../os/launcher.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { daemonConfig } from '../wire/rsync.ts';
import type { ClientConfig } from './config.ts';
import { scopeFilter, scopeRecords } from './filter.ts';
import { mountTableText } from './mount-points.ts';
import type { Place } from './never.ts';
import type { Root } from './roots.ts';
import { kernelScope, withLaunchersPlaces } from './scope.ts';
import { writeDaemonFiles, writeScope } from './sender.ts';

/**
 * Starts rsync in the jail, with the scope of the config, in a folder of its own that is removed afterwards.
 * @param state the state folder
 * @param roots as `findRoots()` returns them
 * @param hung as `findHungMounts()` returns it
 * @returns the jail, or why it failed; and where the launcher finds each `never`
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
    const runFolder = `${folder}/run-jail00`; // The launcher accepts only a name of this form.
    makeFolder(runFolder);
    const seen = kernelScope(config, state, roots, hung);
    writeScope(runFolder, scopeRecords(seen, await rsyncLibraries()));
    const scope = await withLaunchersPlaces(seen, runFolder);
    places = scope.places;
    writeDaemonFiles(runFolder, {
      daemonConfig: daemonConfig({ filter: `${runFolder}/rsyncd/filter`, idleSeconds: 60, confined: true }),
      filter: scopeFilter({ ...scope, excludes: [] }),
      mounts: mountTableText(scope),
    });
    return { jail: await tryConfinement(runFolder), places };
  } catch (error) {
    if (error instanceof Fault) return { jail: error, places };
    throw error;
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}
