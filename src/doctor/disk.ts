/** A store on a disk of the client itself. */
import type { ClientConfig, Remote } from '../client/config.ts';
import { remoteName } from '../client/config.ts';
import {
  diskInScope,
  hostConfigOf,
  realPlace,
  requireApart,
  requireSameStore,
  whyAbsent,
} from '../client/local.ts';
import { lastVisible } from '../os/files.ts';
import { mountOf, mountTable } from '../os/mounts.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const DISK = new Topic(
  'client.disk',
  'a disk that is not mounted gets no backup, and a backup on the disk of the original files is lost with them',
);

/** Checks how the client reaches the store; the findings of a host (store.ts) are about the store itself. */
export function collectDisk(config: ClientConfig, remote: Remote): Finding {
  const label = remoteName(remote);
  try {
    const hostConfig = hostConfigOf(config, remote);
    const why = whyAbsent(remote.target);
    if (why !== undefined) return checkAbsent(label, remote, why);
    requireSameStore(config, remote, hostConfig);
    requireApart(config, remote);
  } catch (error) {
    return DISK.fault(error, 'set `target` in client.toml');
  }
  return checkDisk(label, config.scope, realPlace(remote.target));
}

function checkAbsent(label: string, { absent = 'fail', target }: Remote, why: string): Finding {
  const then = { fail: 'fails', skip: 'is skipped', wait: 'waits' }[absent];
  const found = `"${label}": ${why}: a backup ${then} until its disk is mounted`;
  const next = `mount its disk: findmnt -T ${quoteForShell(lastVisible(target))} says which one is there now`;
  return absent === 'fail' ? DISK.critical(found, next) : DISK.warning(found, next);
}

/** Checks whether the other files on the store's disk are backed up, and so onto their own disk. */
function checkDisk(label: string, scope: ClientConfig['scope'], store: string): Finding {
  const table = mountTable();
  const taken = diskInScope(table, scope, store);
  return taken !== undefined
    ? DISK.warning(
        `"${label}": the scope has the other files on "${escapeText(taken)}", the disk of the store, and backs them up onto the same disk`,
        `put ${JSON.stringify(taken)} into \`never\` in client.toml, if you do not want that`,
      )
    : DISK.ok(
        `"${label}": the store is in its place, on "${escapeText(mountOf(table, store)?.path ?? '/')}"`,
      );
}
