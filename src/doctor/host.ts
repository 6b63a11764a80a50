/** The checks of a host, in their order. */
import type { HostConfig } from '../host/config.ts';
import { tryReceiveJail } from '../host/jail.ts';
import type { Subject } from '../os/account.ts';
import { ownAccount } from '../os/account.ts';
import { realPath } from '../os/files.ts';
import { landlockAbiOf } from '../os/launcher.ts';
import { hasLinkLibrary } from '../os/link-library.ts';
import { hasProgram } from '../os/programs.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { authorizedKeysPath, checkNotCalled, collectKeys, isAnyEnrolled } from './authorized-keys.ts';
import { collectDrills } from './drills.ts';
import type { Finding } from './finding.ts';
import { collectHooks } from './hooks.ts';
import { type Confinement, checkHostConfinement, checkHostJail } from './jails.ts';
import { checkReader, missingReaders } from './programs.ts';
import { collectHostRuns } from './runs.ts';
import { checkSshd, collectSshd } from './sshd.ts';
import { collectSshdConfig } from './sshd-config.ts';
import { collectHostState } from './state-folder.ts';
import { collectCaches, collectStore, hasStore } from './store.ts';
import { checkReceiver, opensByFolder } from './versions.ts';

/**
 * Makes all checks of a host.
 * @param path host.toml, as `enroll` writes it into authorized_keys
 * @param isLocal whether `backup` on this machine uses the store itself (transport "local"); other clients may use it too
 * @returns the findings, and the kernel's Landlock ABI if a jail was tried
 */
export async function collectHost(options: {
  config: HostConfig;
  path: string;
  confinement: Confinement;
  subject: Subject;
  isLocal: boolean;
}): Promise<{ findings: Finding[]; landlockAbi: number | undefined }> {
  const { config, path, confinement, subject } = options;
  const isCalled = !options.isLocal || isAnyEnrolled();
  const jail = confinement.way === 'confined' ? await tryReceiveJail() : undefined;
  const hasLibrary = confinement.way !== 'none' || hasLinkLibrary(); // the launcher has its own
  const findings = [
    checkHostConfinement(confinement, realPath(path)), // `sed -i` would replace a symbolic link with a file
    ...(jail === undefined ? [] : [checkHostJail(jail)]),
    collectHostState(defaultStateFolder(ownAccount())),
    checkReader(missingReaders()),
    ...(hasProgram('rsync') ? [checkReceiver(await opensByFolder())] : []),
    // The client's checks report a disk that is not mounted: its config says whether that is an error.
    ...(isCalled || hasStore(config.store) ? await collectStore(config.store, hasLibrary) : []),
    ...(hasStore(config.store) ? [collectCaches(config.store, config.cache_dir)] : []),
    ...collectHostRuns(config),
    ...collectDrills(config.store),
    ...collectHooks('host', config.hooks),
    ...(isCalled
      ? [
          ...collectKeys(config, path),
          checkSshd(await collectSshd(subject)),
          ...(await collectSshdConfig(subject, authorizedKeysPath())),
        ]
      : [checkNotCalled()]),
  ];
  return { findings, landlockAbi: landlockAbiOf(jail) };
}
