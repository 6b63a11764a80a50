/** The launcher's file: its owner, mode, group, capability and mount, and the folders above it. */
import { dirname } from 'node:path';
import { fixCommand } from '../os/access-advice.ts';
import { parsePasswd, type Subject } from '../os/account.ts';
import { type Breach, exists, findBreach, mayRun, readProc, realPath, stat } from '../os/files.ts';
import { launcherPath } from '../os/launcher.ts';
import { asAccount } from '../os/machine.ts';
import { inText, type MountEntry, mountOf, parseMountTable } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { quoteForShell } from '../wire/text.ts';
import { CAPABILITY, checkCapability, fileCapability } from './capability.ts';
import { type Finding, INSTALL_NEXT, Topic } from './finding.ts';
import { PROC_NEXT } from './machine.ts';

const LAUNCHER = new Topic(
  'launcher.file',
  'it lets rsync read every file, so only root may change it and only its group may run it',
);
const MEMBERS = new Topic('launcher.group', 'every member of its group may run it');
const RUN = new Topic(
  'launcher.run',
  'a backup that needs the launcher fails if this account may not run it',
);
const GIVEN = new Topic(
  'launcher.capability',
  'it works only with its capability, which a copy, a chown or a reinstallation removes',
);
const MOUNT = new Topic('launcher.mount', 'files on a file system that is mounted nosuid give no capability');
const FOLDERS = new Topic(
  'launcher.folders',
  'an account that can write to a folder above the launcher can replace it',
);

const PATIENCE_MS = 10_000;

/** A side whose config asks for the launcher. */
type Side = 'client' | 'host';

/** The facts about the launcher. */
interface LauncherFacts {
  path: string;
  /** Undefined if the launcher does not exist or this account cannot see it. */
  file: { uid: number; gid: number; mode: number; isPlain: boolean } | undefined;
  group: string | undefined;
  /** The members of its group, without root, the account that doctor looks as, and the account that has the group's name. */
  others: string[];
  /** Accounts whose primary group it is. */
  primary: string[];
  /** As `fileCapability()` returns it. */
  capability: string | undefined;
  mount: MountEntry | undefined;
  breach: Breach | undefined;
  mayRun: boolean;
  /** The account that doctor looks as. */
  subject: string;
  sides: Side[];
}

/** @param sides those whose configs ask for the launcher */
export async function collectLauncher(subject: Subject, sides: Side[]): Promise<LauncherFacts> {
  const path = launcherPath();
  const absent = { path, group: undefined, others: [], primary: [], capability: undefined, mount: undefined };
  if (!exists(path))
    return { ...absent, file: undefined, breach: undefined, mayRun: false, subject: subject.name, sides };
  const found = stat(path);
  const group = await groupOf(found.gid, subject);
  return {
    path,
    file: { uid: found.uid, gid: found.gid, mode: found.mode & 0o7777, isPlain: found.isFile() },
    group: group?.name,
    others: group?.others ?? [],
    primary: group?.primary ?? [],
    capability: await fileCapability(path),
    mount: mountOf(inText(parseMountTable(readProc('self/mountinfo') ?? '')), realPath(path)),
    breach: findBreach(dirname(path), 0),
    mayRun: mayRun(path),
    subject: subject.name,
    sides,
  };
}

async function groupOf(
  gid: number,
  subject: Subject,
): Promise<{ name: string; others: string[]; primary: string[] } | undefined> {
  const options = { timeoutMs: PATIENCE_MS };
  const group = await run(standard('getent', ['group', String(gid)]), options);
  const [name, , , members] = group.stdout.toString('utf8').trim().split(':');
  if (!name) return undefined;
  const passwd = await run(standard('getent', ['passwd']), options);
  const primary = passwd.stdout
    .toString('utf8')
    .split('\n')
    .map(parsePasswd)
    .filter(each => each?.gid === gid)
    .map(each => each?.name ?? '');
  const all = new Set([...(members ?? '').split(',').filter(Boolean), ...primary]);
  // `make install` creates the group for the account of the same name, which is meant to be in it.
  const isOther = (each: string): boolean => ![subject.name, name, 'root'].includes(each);
  return { name, others: [...all].filter(isOther).sort(), primary };
}

/**
 * Checks a launcher that a config asks for.
 * @param lends whether its capability is used; a host's jail does not need it
 */
export function checkLauncher(facts: LauncherFacts, lends: boolean): Finding[] {
  const { path, file } = facts;
  if (!file) return [LAUNCHER.critical(`there is no launcher "${path}"`, INSTALL_NEXT)];
  const group = facts.group ?? String(file.gid);
  const mode = file.mode.toString(8).padStart(4, '0');
  return [
    checkFile(path, file, group, mode),
    checkMembers(facts, group),
    checkMayRun(facts, group, mode),
    ...(lends
      ? [checkCapability(GIVEN, path, facts.capability, `${CAPABILITY}=ep`), checkMount(facts.mount)]
      : []),
    checkFolders(facts),
  ];
}

function checkFile(
  path: string,
  file: NonNullable<LauncherFacts['file']>,
  group: string,
  mode: string,
): Finding {
  const quoted = quoteForShell(path);
  // chown(2) and a write remove the capability.
  const setcap = `setcap ${CAPABILITY}=ep ${quoted}`;
  if (!file.isPlain)
    return LAUNCHER.critical(
      `"${path}" is not a plain file`,
      `mv ${quoted} ${quoteForShell(`${path}.old`)}, as root; then ${INSTALL_NEXT}`,
    );
  if (file.uid !== 0) {
    return LAUNCHER.critical(
      `"${path}" belongs to uid ${file.uid}, not to root`,
      `chown root ${quoted} && ${setcap}`,
    );
  }
  if ((file.mode & 0o022) !== 0 || (file.mode & 0o6000) !== 0) {
    const found = (file.mode & 0o6000) !== 0 ? 'is set-id' : 'can be written by others';
    return LAUNCHER.critical(`"${path}" ${found} (mode ${mode})`, `chmod 0750 ${quoted} && ${setcap}`);
  }
  if ((file.mode & 0o007) !== 0)
    return LAUNCHER.warning(`every account can run "${path}" (mode ${mode})`, `chmod 0750 ${quoted}`);
  return LAUNCHER.ok(`"${path}" belongs to root, group ${group}, mode ${mode}`);
}

function checkMembers({ others, primary, subject }: LauncherFacts, group: string): Finding {
  return others.length === 0
    ? MEMBERS.ok(`its group "${group}" has no other member than "${subject}"`)
    : MEMBERS.warning(
        `in its group "${group}" are also: ${others.join(', ')}`,
        others.map(each => leaveGroup(each, group, primary.includes(each))).join(' && '),
      );
}

/** gpasswd(1) does not change an account's primary group, which is in the password file. */
function leaveGroup(account: string, group: string, isPrimary: boolean): string {
  return isPrimary
    ? `groupadd --force --system ${account} && usermod --gid ${account} ${account}`
    : `gpasswd --delete ${account} ${group}`;
}

function checkMayRun(facts: LauncherFacts, group: string, mode: string): Finding {
  const { subject } = facts;
  return facts.mayRun
    ? RUN.ok(`"${subject}" may run it`)
    : RUN.critical(
        `"${subject}" may not run it (group ${group}, mode ${mode})`,
        group === 'root'
          ? INSTALL_NEXT
          : `${asAccount(group, 'dialback doctor')}, if that account makes the backups; or, for this account to do without: ${withoutText(facts.sides)}`,
      );
}

/** The line of each side's config that does without the launcher. */
function withoutText(sides: Side[]): string {
  const lines = { client: '`capability = "none"` in client.toml', host: '`confined = false` in host.toml' };
  return sides.map(side => lines[side]).join(' and ');
}

function checkMount(mount: MountEntry | undefined): Finding {
  if (!mount) return MOUNT.unknown('this account cannot see which mount it is on', PROC_NEXT);
  if (!mount.options.includes('nosuid'))
    return MOUNT.ok(`files on "${mount.path}" can give capabilities (not mounted nosuid)`);
  return MOUNT.critical(
    `"${mount.path}" is mounted nosuid`,
    `mount -o remount,suid ${quoteForShell(mount.path)}; the same in /etc/fstab, or make install PREFIX=…`,
  );
}

function checkFolders({ breach, path }: LauncherFacts): Finding {
  return breach
    ? FOLDERS.critical(breach.found, fixCommand(breach, path, { name: 'root', uid: 0 }, INSTALL_NEXT))
    : FOLDERS.ok('only root can change the folders above it');
}
