/**
 * The sender: the rsync daemon that reads this machine. This file has its command, and the files in the run folder that it and
 * its jail read.
 *
 *     RUN/scope                     what the launcher lets rsync read
 *     RUN/rsyncd/rsyncd.conf        the daemon's config
 *     RUN/rsyncd/filter             the daemon's filter
 *     RUN/rsyncd/mounts             mount points, for the library of src/launcher/mountpoints.c
 *     RUN/rsyncd/mountpoints.so     that library, where there is no launcher to supply it
 *     RUN/rsyncd/empty/             an empty folder, as the library shows it for a mount point
 */
import { exists, makeFolder, removeFileIfThere } from '../os/files.ts';
import { launcherCommand } from '../os/launcher.ts';
import { MOUNTPOINTS_LIBRARY, mountPointsEnvironment } from '../os/link-library.ts';
import { type Command, PLAIN_ENVIRONMENT } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { writeNew } from '../os/replace.ts';
import { daemonArguments } from '../wire/rsync.ts';
import type { Capability } from './config.ts';

/** The files of a run folder that rsync reads. Texts have one character for each byte. */
interface DaemonFiles {
  daemonConfig: string;
  filter: string;
  /** As `mountTableText()` writes it. */
  mounts?: string;
  library?: Buffer | undefined;
}

/** Writes RUN/scope, or replaces it. @param records as `scopeRecords()` writes them */
export function writeScope(runFolder: string, records: string): void {
  removeFileIfThere(`${runFolder}/scope`);
  writeNew(`${runFolder}/scope`, Buffer.from(records, 'latin1'));
}

/** Makes RUN/rsyncd with its files. */
export function writeDaemonFiles(runFolder: string, files: DaemonFiles): void {
  const folder = `${runFolder}/rsyncd`;
  makeFolder(folder);
  makeFolder(`${folder}/empty`);
  writeNew(`${folder}/mounts`, Buffer.from(files.mounts ?? '', 'latin1'));
  if (files.library) writeNew(`${folder}/${MOUNTPOINTS_LIBRARY}`, files.library);
  writeNew(`${folder}/rsyncd.conf`, files.daemonConfig);
  writeNew(`${folder}/filter`, Buffer.from(files.filter, 'latin1'));
}

/**
 * The command of the sender. Confined, it is the launcher, which becomes rsync in its jail. Otherwise it is rsync itself,
 * which reads the files that this account may read, or all files if it has inherited the capability.
 * @param runFolder absolute
 * @param bwlimitKib KiB a second; 0: no limit
 */
export function senderCommand(runFolder: string, capability: Capability, bwlimitKib: number): Command {
  if (capability === 'confined') {
    const limit = bwlimitKib > 0 ? [String(bwlimitKib)] : [];
    return launcherCommand(['send', runFolder, ...limit]);
  }
  const folder = `${runFolder}/rsyncd`;
  const hasLibrary = exists(`${folder}/${MOUNTPOINTS_LIBRARY}`);
  return {
    program: programPath('rsync'),
    args: daemonArguments(`${folder}/rsyncd.conf`, bwlimitKib),
    // A constant environment: no variable of the session reaches rsync.
    environment: { ...PLAIN_ENVIRONMENT, ...(hasLibrary ? mountPointsEnvironment(folder) : {}) },
    ...(hasLibrary ? { cwd: folder } : {}),
  };
}
