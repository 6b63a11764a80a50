/** The two programs of the launcher: owner, mode, group, capability and mount, and the folders above them. */
import { dirname } from 'node:path';
import { fixCommand } from '../os/access-advice.ts';
import { asAccount, parsePasswd, type Subject } from '../os/account.ts';
import { CAPABILITY } from '../os/capability-text.ts';
import { fileCapability } from '../os/file-capability.ts';
import { exists, mayRun, realPath, stat } from '../os/files.ts';
import { installStep, otherPrefixStep } from '../os/install-steps.ts';
import { jailPath, launcherPath } from '../os/launcher.ts';
import { type MountEntry, mountOf, mountTable } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { type Breach, findBreach } from '../os/trust.ts';
import { quoteForShell } from '../wire/text.ts';
import { checkCapability } from './capability.ts';
import { type Finding, Topic } from './finding.ts';
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

const JAIL = new Topic(
  'launcher.jail',
  'it confines the rsync that writes what clients send: only root may change it',
);

const PATIENCE_MS = 10_000;

/** The facts about one of the two programs. */
interface ProgramFacts {
  path: string;
  /** Undefined if the program does not exist or this account cannot see it. */
  file: { uid: number; gid: number; mode: number; isPlain: boolean } | undefined;
  mayRun: boolean;
  /** The account that doctor looks as. */
  subject: string;
}

/** The facts about `launch`. */
interface LauncherFacts extends ProgramFacts {
  group: string | undefined;
  /** The members of its group, without root, the account that doctor looks as, and the account that has the group's name. */
  others: string[];
  /** Accounts whose primary group it is. */
  primary: string[];
  /** As `fileCapability()` returns it. */
  capability: string | undefined;
  mount: MountEntry | undefined;
}

function programFacts(path: string, subject: Subject): ProgramFacts {
  if (!exists(path)) return { path, file: undefined, mayRun: false, subject: subject.name };
  const found = stat(path);
  const file = { uid: found.uid, gid: found.gid, mode: found.mode & 0o7777, isPlain: found.isFile() };
  return { path, file, mayRun: mayRun(path), subject: subject.name };
}

/** Looks at `jail`. */
export function collectJailProgram(subject: Subject): ProgramFacts {
  return programFacts(jailPath(), subject);
}

/** Looks at `launch`. */
export async function collectLauncher(subject: Subject): Promise<LauncherFacts> {
  const facts = programFacts(launcherPath(), subject);
  const absent = { group: undefined, others: [], primary: [], capability: undefined, mount: undefined };
  if (!facts.file) return { ...facts, ...absent };
  const group = await groupOf(facts.file.gid, subject);
  return {
    ...facts,
    group: group?.name,
    others: group?.others ?? [],
    primary: group?.primary ?? [],
    capability: await fileCapability(facts.path),
    mount: mountOf(mountTable(), realPath(facts.path)),
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

/** Checks `launch`, which a client needs. */
export function checkLauncher(facts: LauncherFacts): Finding[] {
  const { path, file } = facts;
  if (!file) return [LAUNCHER.critical(`there is no launcher "${path}"`, installStep())];
  const group = facts.group ?? String(file.gid);
  const mode = file.mode.toString(8).padStart(4, '0');
  return [
    checkFile(path, file, group, mode),
    checkMembers(facts, group),
    checkMayRun(facts, group, mode),
    checkCapability(GIVEN, path, facts.capability, `${CAPABILITY}=ep`),
    checkMount(facts.mount),
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
      `mv ${quoted} ${quoteForShell(`${path}.old`)}, as root; then ${installStep()}`,
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
          ? installStep()
          : `${asAccount(group, 'dialback doctor')}, if that account makes the backups; or, for this account to do without: \`capability = "none"\` in client.toml`,
      );
}

function checkMount(mount: MountEntry | undefined): Finding {
  if (!mount) return MOUNT.unknown('this account cannot see which mount it is on', PROC_NEXT);
  if (!mount.options.includes('nosuid'))
    return MOUNT.ok(`files on "${mount.path}" can give capabilities (not mounted nosuid)`);
  return MOUNT.critical(
    `"${mount.path}" is mounted nosuid`,
    `mount -o remount,suid ${quoteForShell(mount.path)}; the same in /etc/fstab${otherPrefixStep()}`,
  );
}

/** Checks `jail`, which a host needs. It has no capability, and every account may run it. */
export function checkJailProgram({ path, file, mayRun, subject }: ProgramFacts): Finding {
  if (!file) return JAIL.critical(`there is no launcher "${path}"`, installStep());
  const mode = file.mode.toString(8).padStart(4, '0');
  if (!file.isPlain) {
    const aside = `mv ${quoteForShell(path)} ${quoteForShell(`${path}.old`)}, as root; then ${installStep()}`;
    return JAIL.critical(`"${path}" is not a plain file`, aside);
  }
  if (file.uid !== 0)
    return JAIL.critical(`"${path}" belongs to uid ${file.uid}, not to root`, installStep());
  if ((file.mode & 0o6022) !== 0) {
    const found = (file.mode & 0o6000) !== 0 ? 'is set-id' : 'can be written by others';
    return JAIL.critical(`"${path}" ${found} (mode ${mode})`, installStep());
  }
  if (!mayRun) return JAIL.critical(`"${subject}" may not run "${path}" (mode ${mode})`, installStep());
  return JAIL.ok(`"${path}" belongs to root, mode ${mode}`);
}

/** Looks at the folders above a program of the launcher. @returns where an account other than root can replace it */
export function collectFolders(path: string): Breach | undefined {
  return exists(path) ? findBreach(dirname(path), 0) : undefined;
}

/** @param breach as `collectFolders()` finds it */
export function checkFolders(path: string, breach: Breach | undefined): Finding {
  return breach
    ? FOLDERS.critical(breach.found, fixCommand(breach, path, { name: 'root', uid: 0 }, installStep()))
    : FOLDERS.ok('only root can change the folders above it');
}
