/**
 * `dialback doctor`, what both sides share: the machine, the programs that dialback drives, the launcher, the account.
 *
 * Each check is two functions: one gathers facts and judges nothing, one judges facts and touches nothing. Nothing here
 * changes the machine, and nothing needs root: what this account cannot see is `unknown`, never `ok`.
 */

import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { fixCommand, inspectCommand } from '../os/access-advice.ts';
import { asAccount, parsePasswd, type Subject } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { CAPABILITY, CAPABILITY_BIT, fileCapability } from '../os/file-capability.ts';
import { exists, mayRun, readProc, realPath, stat } from '../os/files.ts';
import {
  hasJail,
  hasLauncher,
  jailPath,
  launcherPath,
  RECEIVE_WITHOUT,
  SEND_WITHOUT,
} from '../os/launcher.ts';
import { type MountEntry, mountOf, mountTable } from '../os/mounts.ts';
import { endingText, type Result, run, standard } from '../os/process.ts';
import { hasProgram, packageOf, programPath } from '../os/programs.ts';
import { type Breach, findBreach } from '../os/trust.ts';
import { kernelRelease } from '../os/uname.ts';
import { opensshVersion, rsyncVersion, rsyncWords } from '../os/versions.ts';
import {
  type Advisory,
  compareVersions,
  OPENSSH_ADVISORIES,
  openAdvisories,
  RSYNC_ADVISORIES,
} from '../shared/advisories.ts';
import { readChangelog } from '../shared/package-changelog.ts';
import { findPrinter, type Printed, quietAdvice, runShell } from '../shared/startup-files.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { LEAST_OPENSSH, WITHOUT_SSHD } from '../wire/ssh.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/** How a side's rsync is held: by the kernel's jail, with the capability alone, or by nothing but its account. */
export type Way = 'confined' | 'inherited' | 'none';

export interface Confinement {
  way: Way;
  /** The config says so; otherwise it follows from whether the launcher is there. */
  isChosen: boolean;
}

/** Every short program here ends within this. */
const PATIENCE_MS = 10_000;

/** Into PREFIX, /usr/local unless told, where root alone can change every folder. */
const INSTALL = "make install, as root, in dialback's sources";
/** Without it nothing is to be seen of this process. */
const PROC = 'mount -t proc proc /proc';

/** What the config of a side says of confinement, or what follows if it says nothing. */
export function confinementOf(side: 'client' | 'host', chosen: Way | undefined): Confinement {
  if (chosen !== undefined) return { way: chosen, isChosen: true };
  const isInstalled = side === 'client' ? hasLauncher() : hasJail();
  return { way: isInstalled ? 'confined' : 'none', isChosen: false };
}

/** All that is looked at on the machine itself. */
export async function collectMachine(options: {
  subject: Subject;
  /** Undefined for a side that is not set up, or whose config cannot be read. */
  client: Confinement | undefined;
  host: Confinement | undefined;
  isClient: boolean;
  isHost: boolean;
  /** A client whose host connects back: it needs an sshd and a shell. */
  isDialled: boolean;
  /** Undefined where it was not looked at. */
  shell: ShellFacts | undefined;
  /** The kernel's Landlock ABI, where a jail was tried (landlockAbiOf()). */
  landlockAbi: number | undefined;
}): Promise<Finding[]> {
  const { subject, client, host, isClient, isHost, isDialled, shell, landlockAbi } = options;
  const lends = client !== undefined && client.way !== 'none';
  const receives = host?.way === 'confined';
  const confines = client?.way === 'confined' || receives;
  const lsm = readKernelFile('/sys/kernel/security/lsm');
  return [
    ...checkPrograms(missingPrograms({ isClient, isHost, isDialled })),
    ...(await collectVersions(isDialled)),
    checkKernel({ release: kernelRelease(), lsm, landlockAbi, isNeeded: confines, isHost }),
    ...(await collectExecutable(subject)),
    ...(lends ? [checkProcess(readProc('self/status') ?? '')] : []),
    ...(lends ? checkLauncher(await launcherFacts(subject)) : []),
    ...(receives ? checkJailProgram(jailFacts(subject)) : []),
    ...(lends || receives ? [checkFolders(lends ? launcherPath() : jailPath())] : []),
    ...(client?.way === 'inherited' ? checkInherited(await inheritedFacts()) : []),
    ...(shell && (isDialled || isHost) ? [checkShell({ ...shell, isDialled })] : []),
  ];
}

function readKernelFile(path: string): string | undefined {
  try {
    return readWhole(path, 65_536).toString('latin1').trim();
  } catch {
    return undefined;
  }
}

// --- programs ---

const PROGRAMS = new Topic(
  'machine.programs',
  'dialback drives other programs, and cannot work without them',
);
const BOTH_NEED = ['rsync', 'ssh', 'ssh-keygen', 'setpriv', 'flock', 'env'];
const CLIENT_NEEDS = ['ionice', 'mkfifo'];
const DIALLED_NEEDS = ['sshd'];
const HOST_NEEDS = ['ssh-agent', 'ssh-add', 'mkfifo', 'cat', 'sync', 'rm', 'chmod'];

function missingPrograms(side: { isClient: boolean; isHost: boolean; isDialled: boolean }): string[] {
  const needed = [
    ...BOTH_NEED,
    ...(side.isClient ? CLIENT_NEEDS : []),
    ...(side.isDialled ? DIALLED_NEEDS : []),
    ...(side.isHost ? HOST_NEEDS : []),
  ];
  return [...new Set(needed)].filter(name => !hasProgram(name));
}

/** @param missing names of programs that are in none of the system's folders */
export function checkPrograms(missing: string[]): Finding[] {
  if (missing.length === 0) return [PROGRAMS.ok('all programs that it drives are there')];
  const packages = [...new Set(missing.map(name => packageOf(name) ?? 'coreutils'))];
  return [
    PROGRAMS.critical(
      `not in the system's folders: ${missing.join(', ')}`,
      `apt-get install ${packages.join(' ')}`,
    ),
  ];
}

// --- versions ---

const RSYNC = new Topic(
  'machine.rsync',
  'rsync reads what the other machine sends; a known hole in it is a way in',
);
const OPENSSH = new Topic(
  'machine.openssh',
  'OpenSSH is what stands between this machine and the network; a known hole in it is a way in',
);
async function collectVersions(isDialled: boolean): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (hasProgram('rsync')) {
    const version = await rsyncVersion();
    findings.push(checkZstd(knowsZstd(await rsyncWords())));
    findings.push(checkRsync(version, readChangelog('rsync', version)));
  }
  if (hasProgram('ssh')) {
    const version = await opensshVersion();
    findings.push(checkOpenssh(version, readChangelog('openssh-client', version), isDialled));
  }
  return findings;
}

const ZSTD = new Topic('machine.zstd', 'over a slow link, a backup that is not compressed takes longer');

/** @param hasZstd whether rsync can compress in the way that both machines must know */
export function checkZstd(hasZstd: boolean): Finding {
  return hasZstd
    ? ZSTD.ok('rsync can compress with zstd')
    : ZSTD.warning(
        'rsync was built without zstd, so nothing is compressed',
        'install an rsync whose `rsync --version` lists zstd under "Compress list"',
      );
}

/** @param version `unknown` where rsync did not tell it */
export function checkRsync(version: string, changelog: string | undefined): Finding {
  const install = 'apt-get update && apt-get install rsync';
  if (compareVersions(version, '0') === 0)
    return RSYNC.unknown('its version could not be read', 'rsync --version');
  return checkHoles(RSYNC, `rsync ${version}`, openAdvisories(version, changelog, RSYNC_ADVISORIES), install);
}

/** @param isDialled there a one-time sshd runs, which has to understand the config and the key that each run writes */
export function checkOpenssh(version: string, changelog: string | undefined, isDialled: boolean): Finding {
  const install = 'apt-get update && apt-get install openssh-client openssh-server';
  if (compareVersions(version, '0') === 0) return OPENSSH.unknown('its version could not be read', 'ssh -V');
  if (compareVersions(version, LEAST_OPENSSH) < 0) {
    const found = `OpenSSH ${version}; the oldest that dialback is tested with is ${LEAST_OPENSSH}`;
    return isDialled
      ? OPENSSH.critical(found, `${install}; or ${WITHOUT_SSHD}`)
      : OPENSSH.warning(found, install);
  }
  return checkHoles(
    OPENSSH,
    `OpenSSH ${version}`,
    openAdvisories(version, changelog, OPENSSH_ADVISORIES),
    install,
  );
}

/** A warning and no more: whether a distribution has mended it in its own way cannot always be seen. */
function checkHoles(topic: Topic, name: string, holes: Advisory[], install: string): Finding {
  if (holes.length === 0)
    return topic.ok(`${name}, without a hole that is known to this version of dialback`);
  const list = holes.map(hole => `${hole.name} (mended in ${hole.fixedIn}): ${hole.what}`).join('; ');
  return topic.warning(
    `${name}, and its package's changelog speaks of no mend for ${list}`,
    `${install} (a distribution can have mended it all the same: see its security tracker)`,
  );
}

// --- kernel ---

const KERNEL = new Topic(
  'machine.kernel',
  'Landlock, a part of the kernel, is what keeps a broken-into rsync from writing and from other files',
);
/** Landlock came with 5.13 (ABI 1, enough for `send`); links across folders with 5.19 (ABI 2, for `receive`). */
const SEND_ABI = 1;
const RECEIVE_ABI = 2;
const SEND_KERNEL = '5.13';
const RECEIVE_KERNEL = '5.19';

/** @param facts lsm: what /sys/kernel/security/lsm says, undefined where it cannot be read */
export function checkKernel(facts: {
  release: string;
  lsm: string | undefined;
  landlockAbi: number | undefined;
  isNeeded: boolean;
  isHost: boolean;
}): Finding {
  const { release, lsm, landlockAbi, isNeeded, isHost } = facts;
  // A jail that stood says more than any list.
  if (landlockAbi !== undefined && landlockAbi >= (isHost ? RECEIVE_ABI : SEND_ABI))
    return KERNEL.ok(`Linux ${release}, Landlock ABI ${landlockAbi}`);
  const least = isHost ? RECEIVE_KERNEL : SEND_KERNEL;
  const without = isHost ? RECEIVE_WITHOUT : SEND_WITHOUT;
  const bad = (found: string, next: string): Finding =>
    isNeeded ? KERNEL.critical(found, next) : KERNEL.ok(`${found}; nothing here uses it`);
  if (compareVersions(release, least) < 0) {
    return bad(
      `Linux ${release} is older than ${least}, and its Landlock is not enough`,
      `boot a newer kernel; or ${without}`,
    );
  }
  if (lsm === undefined && landlockAbi === 0)
    return bad(
      `Linux ${release} without Landlock`,
      `boot with landlock in lsm= on the kernel's command line; or ${without}`,
    );
  if (lsm === undefined) {
    const found = `Linux ${release} can have Landlock; whether it is switched on is not to be seen`;
    return isNeeded
      ? KERNEL.unknown(found, 'mount -t securityfs securityfs /sys/kernel/security')
      : KERNEL.ok(`${found}; nothing here uses it`);
  }
  if (!lsm.split(',').includes('landlock')) {
    return bad(
      `Linux ${release} without Landlock: it is not among its security modules (${escapeText(lsm, 200)})`,
      `boot with lsm=landlock,${escapeText(lsm, 200)} on the kernel's command line; or ${without}`,
    );
  }
  if (landlockAbi === 0) {
    return bad(
      `Linux ${release} has Landlock, and refuses it here: a container's system call filter can be the reason`,
      `allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self; or ${without}`,
    );
  }
  return KERNEL.ok(`Linux ${release} with Landlock`);
}

// --- the executable ---

const EXECUTABLE = new Topic(
  'machine.executable',
  'sshd runs this file, on either side; who can change it decides what is done',
);

async function collectExecutable(subject: Subject): Promise<Finding[]> {
  const path = ownExecutable();
  return [checkTrust(EXECUTABLE, path, subject.uid, `"${path}"`, INSTALL)];
}

/**
 * Whether a file that is there, and all above it, is changed by its owner and root alone.
 * @param elsewhere what brings it to another place, as `mendText` takes it
 */
export function checkTrust(
  topic: Topic,
  path: string,
  owner: number,
  what: string,
  elsewhere?: string,
): Finding {
  let breach: Breach | undefined;
  try {
    breach = findBreach(path, owner);
  } catch (error) {
    return topic.unknown(`${what}: ${(error as NodeJS.ErrnoException).code}`, inspectCommand(path));
  }
  return breach
    ? topic.critical(breach.found, fixCommand(breach, path, { name: 'root', uid: owner }, elsewhere))
    : topic.ok(`${what} is safe from others`);
}

// --- what this process may be given ---

const PRIVILEGE = new Topic(
  'machine.privilege',
  'the launcher gets its capability from its file; a process that may get none cannot use it',
);

/** @param text /proc/self/status (proc_pid_status(5)) */
export function checkProcess(text: string): Finding {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(text)?.[1];
  const noNew = /^NoNewPrivs:\s*([01])$/m.exec(text)?.[1];
  if (bounding === undefined || noNew === undefined)
    return PRIVILEGE.unknown('/proc/self/status does not tell', PROC);
  if (noNew === '1') {
    return PRIVILEGE.critical(
      'this was started with no_new_privs, under which no file gives a capability',
      'start it without: in a systemd unit NoNewPrivileges=no, and none of the settings that imply it',
    );
  }
  if ((BigInt(`0x${bounding}`) & (1n << BigInt(CAPABILITY_BIT))) === 0n) {
    return PRIVILEGE.critical(
      `${CAPABILITY} is not in the bounding set of this process (${bounding})`,
      `start it with it: CapabilityBoundingSet=${CAPABILITY.toUpperCase()} in a systemd unit, --cap-add for a container`,
    );
  }
  return PRIVILEGE.ok('a capability may be given to what is started here');
}

// --- the launcher ---

const LAUNCHER = new Topic(
  'launcher.file',
  'it lends the right to read every file: nobody but root may change it, and nobody but its group run it',
);
const MEMBERS = new Topic('launcher.group', 'who is in its group may run it');
const RUN = new Topic('launcher.run', 'without it this account gets no backup that needs it');
const GIVEN = new Topic(
  'launcher.capability',
  'without the capability it can lend nothing; a copy, a chown or a reinstallation takes it away',
);
const MOUNT = new Topic(
  'launcher.mount',
  'on a file system that is mounted nosuid, no file gives a capability',
);
const FOLDERS = new Topic(
  'launcher.folders',
  'who can write to a folder above the launcher can put another file in its place',
);

const JAIL = new Topic(
  'launcher.jail',
  'it confines the rsync that writes what clients send: only root may change it',
);

/** One of the two programs of the launcher. */
export interface ProgramFacts {
  path: string;
  /** Undefined where there is none, or none that this account can see. */
  file: { uid: number; gid: number; mode: number; isPlain: boolean } | undefined;
  mayRun: boolean;
  subject: string;
}

export interface LauncherFacts extends ProgramFacts {
  group: string | undefined;
  /** All of its group but the account that is asked about, and the one that the group is named after. */
  others: string[];
  /** Accounts whose first group it is. */
  primary: string[];
  /** As getcap(8) writes it, '' for none; undefined where nothing here can tell. */
  capability: string | undefined;
  mount: MountEntry | undefined;
}

function programFacts(path: string, subject: Subject): ProgramFacts {
  if (!exists(path)) return { path, file: undefined, mayRun: false, subject: subject.name };
  const found = stat(path);
  const file = { uid: found.uid, gid: found.gid, mode: found.mode & 0o7777, isPlain: found.isFile() };
  return { path, file, mayRun: mayRun(path), subject: subject.name };
}

function jailFacts(subject: Subject): ProgramFacts {
  return programFacts(jailPath(), subject);
}

async function launcherFacts(subject: Subject): Promise<LauncherFacts> {
  const path = launcherPath();
  const facts = programFacts(path, subject);
  const absent = { group: undefined, others: [], primary: [], capability: undefined, mount: undefined };
  if (!facts.file) return { ...facts, ...absent };
  const group = await groupOf(facts.file.gid, subject);
  return {
    ...facts,
    group: group?.name,
    others: group?.others ?? [],
    primary: group?.primary ?? [],
    capability: await fileCapability(path),
    mount: mountOf(mountTable(), realPath(path)),
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
  // The account that the group was made for has the launcher for its backups, whoever asks.
  const isOther = (each: string): boolean => ![subject.name, name, 'root'].includes(each);
  return { name, others: [...all].filter(isOther).sort(), primary };
}

/** Checks `launch`, which a client needs. */
export function checkLauncher(facts: LauncherFacts): Finding[] {
  const { path, file, subject } = facts;
  const quoted = quoteForShell(path);
  if (!file) {
    return [
      LAUNCHER.critical(`there is no launcher "${path}"`, "make install, as root, in dialback's sources"),
    ];
  }
  const group = facts.group ?? String(file.gid);
  // A chown takes the capability away.
  const setcap = `setcap ${CAPABILITY}=ep ${quoted}`;
  const mode = file.mode.toString(8).padStart(4, '0');
  const findings: Finding[] = [];
  if (!file.isPlain)
    findings.push(
      LAUNCHER.critical(
        `"${path}" is no plain file`,
        `mv ${quoted} ${quoteForShell(`${path}.old`)}, as root; then ${INSTALL}`,
      ),
    );
  else if (file.uid !== 0) {
    findings.push(
      LAUNCHER.critical(
        `"${path}" belongs to uid ${file.uid}, not to root`,
        `chown root ${quoted} && ${setcap}`,
      ),
    );
  } else if ((file.mode & 0o022) !== 0 || (file.mode & 0o6000) !== 0) {
    const found = (file.mode & 0o6000) !== 0 ? 'is set-id' : 'can be written by others';
    // A write to it takes the capability away, and others may have written.
    findings.push(
      LAUNCHER.critical(`"${path}" ${found} (mode ${mode})`, `chmod 0750 ${quoted} && ${setcap}`),
    );
  } else if ((file.mode & 0o007) !== 0) {
    findings.push(
      LAUNCHER.warning(`"${path}" can be run by everybody (mode ${mode})`, `chmod 0750 ${quoted}`),
    );
  } else findings.push(LAUNCHER.ok(`"${path}" is root's, group ${group}, mode ${mode}`));
  findings.push(
    facts.others.length === 0
      ? MEMBERS.ok(`nobody but "${subject}" is in its group "${group}"`)
      : MEMBERS.warning(
          `in its group "${group}" are also: ${facts.others.join(', ')}`,
          facts.others.map(each => leaveGroup(each, group, facts.primary.includes(each))).join(' && '),
        ),
  );
  findings.push(
    facts.mayRun
      ? RUN.ok(`"${subject}" may run it`)
      : RUN.critical(
          `"${subject}" may not run it (group ${group}, mode ${mode})`,
          group === 'root'
            ? "make install, as root, in dialback's sources"
            : `${asAccount(group, 'dialback doctor')}, if that account makes the backups; or, for this account to do without: \`capability = "none"\` in client.toml`,
        ),
  );
  findings.push(checkCapability(GIVEN, path, facts.capability, `${CAPABILITY}=ep`), checkMount(facts.mount));
  return findings;
}

/** Checks `jail`, which a host needs. It has no capability, and every account may run it. */
export function checkJailProgram({ path, file, mayRun, subject }: ProgramFacts): Finding[] {
  if (!file) return [JAIL.critical(`there is no launcher "${path}"`, INSTALL)];
  const mode = file.mode.toString(8).padStart(4, '0');
  if (!file.isPlain) {
    const aside = `mv ${quoteForShell(path)} ${quoteForShell(`${path}.old`)}, as root; then ${INSTALL}`;
    return [JAIL.critical(`"${path}" is no plain file`, aside)];
  }
  if (file.uid !== 0) return [JAIL.critical(`"${path}" belongs to uid ${file.uid}, not to root`, INSTALL)];
  if ((file.mode & 0o6022) !== 0) {
    const found = (file.mode & 0o6000) !== 0 ? 'is set-id' : 'can be written by others';
    return [JAIL.critical(`"${path}" ${found} (mode ${mode})`, INSTALL)];
  }
  if (!mayRun) return [JAIL.critical(`"${subject}" may not run "${path}" (mode ${mode})`, INSTALL)];
  return [JAIL.ok(`"${path}" is root's, mode ${mode}`)];
}

function checkFolders(path: string): Finding {
  return folderFinding(path, exists(path) ? findBreach(dirname(path), 0) : undefined);
}

/** @param breach where another account than root can put another file in the place of this one */
export function folderFinding(path: string, breach: Breach | undefined): Finding {
  if (!breach) return FOLDERS.ok('only root can put another file in its place');
  return FOLDERS.critical(breach.found, fixCommand(breach, path, { name: 'root', uid: 0 }, INSTALL));
}

/** An account's first group is in the password file, where gpasswd(1) does not look. */
function leaveGroup(account: string, group: string, isPrimary: boolean): string {
  return isPrimary
    ? `groupadd --force --system ${account} && usermod --gid ${account} ${account}`
    : `gpasswd --delete ${account} ${group}`;
}

function checkMount(mount: MountEntry | undefined): Finding {
  if (!mount) return MOUNT.unknown('which mount it is on is not to be seen', PROC);
  if (!mount.options.includes('nosuid')) return MOUNT.ok(`"${mount.path}" lets files give capabilities`);
  return MOUNT.critical(
    `"${mount.path}" is mounted nosuid`,
    `mount -o remount,suid ${quoteForShell(mount.path)}; the same in /etc/fstab, or make install PREFIX=…`,
  );
}

/** @param found as `fileCapability` tells it */
export function checkCapability(
  topic: Topic,
  path: string,
  found: string | undefined,
  wanted: string,
): Finding {
  if (found === undefined) {
    return topic.unknown(
      `neither getcap nor getfattr is installed to look at "${path}"`,
      'apt-get install libcap2-bin',
    );
  }
  if (found === wanted) return topic.ok(`"${path}" has ${wanted}`);
  const what = found === '' ? 'has no capability' : `has ${escapeText(found, 200)}`;
  return topic.critical(`"${path}" ${what}, and needs ${wanted}`, `setcap ${wanted} ${quoteForShell(path)}`);
}

// --- the inherited capability ---

const INHERITED_SELF = new Topic(
  'machine.inherited',
  'the capability goes from the launcher through dialback to rsync, and each file on the way must let it pass',
);
const INHERITED_RSYNC = new Topic('machine.inherited_rsync', INHERITED_SELF.why);

export interface InheritedFacts {
  executable: string;
  ownCapability: string | undefined;
  rsync: string;
  rsyncCapability: string | undefined;
}

async function inheritedFacts(): Promise<InheritedFacts | undefined> {
  if (!hasProgram('rsync')) return undefined;
  const [executable, rsync] = [ownExecutable(), programPath('rsync')];
  return {
    executable,
    ownCapability: await fileCapability(executable),
    rsync,
    rsyncCapability: await fileCapability(rsync),
  };
}

/** @param facts undefined where there is no rsync, which another check says */
export function checkInherited(facts: InheritedFacts | undefined): Finding[] {
  if (!facts) return [];
  return [
    checkCapability(INHERITED_SELF, facts.executable, facts.ownCapability, `${CAPABILITY}=i`),
    checkCapability(INHERITED_RSYNC, facts.rsync, facts.rsyncCapability, `${CAPABILITY}=ei`),
  ];
}

// --- the account's shell ---

const SHELL = new Topic(
  'machine.shell',
  "sshd starts its forced commands through the account's login shell; what that prints comes before rsync's words",
);

export interface ShellFacts {
  subject: Subject;
  /** The shell is dialback itself, which lets one thing happen. */
  isDialback: boolean;
  isThere: boolean;
  /** How `SHELL -c true` ended, or why it could not be tried. */
  result: Result | Fault | undefined;
  printed?: Printed | undefined;
}

/** Runs the shell as sshd does, and finds the start-up file that prints, where one does. */
export async function shellFacts(subject: Subject): Promise<ShellFacts> {
  const { shell } = subject;
  const isThere = mayRun(shell);
  const facts = { subject, isThere };
  const isDialback = isThere && realPath(shell) === realPath(ownExecutable());
  if (!isThere || isDialback) return { ...facts, isDialback, result: undefined };
  const result = await runShell(subject).catch((error: unknown) => {
    if (error instanceof Fault) return error;
    throw error;
  });
  const isQuiet = result instanceof Fault || result.stdout.length === 0;
  return { ...facts, isDialback, result, printed: isQuiet ? undefined : await findPrinter(subject) };
}

/**
 * @param isDialled a client to which the host connects back; a host's account needs its shell as well
 * @returns one finding: what `SHELL -c true` did, or why it says nothing
 */
export function checkShell(facts: ShellFacts & { isDialled: boolean }): Finding {
  const { subject, result, isDialled } = facts;
  const { name, shell } = subject;
  const without = isDialled ? '; or transport = "channel" in client.toml, which needs no shell' : '';
  const change = `usermod --shell /bin/sh ${name}${without}`;
  const said = (text: string): string => `"${escapeText(text.trim(), 100)}"`;
  if (/\/(nologin|false|true)$/.test(shell))
    return SHELL.critical(`the shell of "${name}" is ${shell}, which runs no command`, change);
  if (!facts.isThere)
    return SHELL.critical(`the shell of "${name}" is "${shell}", which it cannot run`, change);
  if (facts.isDialback) {
    return isDialled
      ? SHELL.critical(
          `the shell of "${name}" is dialback, which runs no gate: that is for the host's account`,
          change,
        )
      : SHELL.ok(`the shell of "${name}" is dialback itself`);
  }
  if (!result) return SHELL.unknown(`${shell} -c true was not tried`, `${shell} -c true`);
  const quiet = `${change}; or find what prints in the start-up files of ${shell}, and let it print to a terminal only`;
  if (result instanceof Fault) return SHELL.critical(`${shell} -c true: ${result.found}`, quiet);
  if (result.stdout.length > 0) {
    const { printed } = facts;
    const where = printed?.file === undefined ? '' : `, in "${escapeText(printed.file)}"`;
    return SHELL.critical(
      `${shell} -c true prints ${said(result.stdout.toString('utf8'))}${where}`,
      printed === undefined ? quiet : `${change}; or ${quietAdvice(printed)}`,
    );
  }
  if (result.status !== 0) return SHELL.critical(`${shell} -c true ${endingText(result)}`, quiet);
  if (result.stderr !== '')
    return SHELL.warning(`${shell} -c true prints ${said(result.stderr)} to standard error`, quiet);
  return SHELL.ok(`${shell} -c true prints nothing`);
}
