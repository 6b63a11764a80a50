/** `dialback doctor` on a host: whether its store can keep what will come, and whether clients can ask. */
import { connect } from 'node:net';
import { Fault } from '../fault.ts';
import { enrolledLine, enrolledName } from '../host/authorized-keys.ts';
import type { HostConfig } from '../host/config.ts';
import { tryReceiveJail } from '../host/jail.ts';
import type { Subject } from '../os/account.ts';
import { asUid, ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { exists, failedWith, mayWrite, readdir, realPath, stat, statfs } from '../os/files.ts';
import { type Jail, lacksLandlock, landlockAbiOf } from '../os/launcher.ts';
import { hasLinkLibrary } from '../os/link-library.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram, packageOf } from '../os/programs.ts';
import { defaultStateFolder, requireStateFolder, requireStateName } from '../os/runfolder.ts';
import { rsyncKnows } from '../os/versions.ts';
import { hasDoubtfulBasis } from '../store/basis.ts';
import { type Probe, probeFileSystem } from '../store/file-system.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES, snapshotsWithoutAttributes } from '../store/lost-attributes.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { READER_NEEDS } from '../store/stored-tree.ts';
import { type PublicKey, parsePublicKey } from '../wire/key.ts';
import { STORE_FILE } from '../wire/local.ts';
import { INSECURE_LINKS } from '../wire/rsync.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { collectHooks } from './hooks.ts';
import { collectRuns } from './host-runs.ts';
import { type Confinement, checkTrust } from './machine.ts';
import { collectSshdConfig } from './sshd-config.ts';

const PATIENCE_MS = 10_000;
/** For a look into the snapshots of all clients. */
const LOOKING_MS = 60_000;

/** All that is looked at for a host. @param path host.toml's, as `enroll` writes it into authorized_keys */
export async function collectHost(options: {
  config: HostConfig;
  path: string;
  confinement: Confinement;
  subject: Subject;
  /** Whether `backup` on this machine uses the store itself (transport "local"); others may besides. */
  isLocal: boolean;
}): Promise<{ findings: Finding[]; landlockAbi: number | undefined }> {
  const { config, path, confinement, subject } = options;
  const isCalled = !options.isLocal || isAnyEnrolled();
  const jail = confinement.way === 'confined' ? await tryReceiveJail() : undefined;
  const hasLibrary = confinement.way !== 'none' || hasLinkLibrary(); // the launcher has its own
  const findings = [
    checkConfinement(confinement, realPath(path)), // `sed -i` would put a file in the place of a link
    ...(jail === undefined ? [] : [checkJail(jail)]),
    collectState(defaultStateFolder(ownAccount())),
    checkReader(READER_NEEDS.filter(name => !hasProgram(name))),
    ...(hasProgram('rsync') ? [checkReceiver(await rsyncKnows(INSECURE_LINKS))] : []),
    // A disk that is not in its place is the client's side to judge: it knows whether that is as it should be.
    ...(isCalled || exists(`${config.store}/${STORE_FILE}`)
      ? await collectStore(config.store, hasLibrary)
      : []),
    ...collectRuns(config),
    ...collectHooks('host', config.hooks),
    ...(isCalled
      ? [
          ...collectKeys(config, path),
          await collectSshd(subject),
          ...(await collectSshdConfig(subject, `${ownAccount().home}/.ssh/authorized_keys`)),
        ]
      : [KEYS.ok(NOT_CALLED)]),
  ];
  return { findings, landlockAbi: landlockAbiOf(jail) };
}

// --- looking in ---

const READER = new Topic(
  'host.reader',
  'backups come and are given back without them, but ls and diff cannot show what is in one',
);

/** @param missing names of programs that are in none of the system's folders */
export function checkReader(missing: string[]): Finding {
  if (missing.length === 0) return READER.ok('all programs that look into a snapshot are there');
  const packages = [...new Set(missing.map(name => packageOf(name) ?? 'coreutils'))];
  return READER.warning(
    `not in the system's folders: ${missing.join(', ')}`,
    `apt-get install ${packages.join(' ')}`,
  );
}

// --- what is in force ---

const CONFINEMENT = new Topic(
  'host.confinement',
  "the jail is what keeps a hostile client, once it has broken into rsync, from other clients' backups",
);

export function checkConfinement({ way, isChosen }: Confinement, path: string): Finding {
  if (way !== 'none') return CONFINEMENT.ok('confined: rsync writes what arrives, and reaches nothing else');
  const found = 'none: rsync can do what this account can';
  return isChosen
    ? CONFINEMENT.ok(`${found}, as "${path}" says`)
    : CONFINEMENT.warning(
        `${found}, since there is no launcher`,
        `make install, as root, in dialback's sources; or, if that is meant: sed -i '1i confined = false' ${quoteForShell(path)}`,
      );
}

const JAIL = new Topic('host.jail', 'a launcher that does not work is not gone without: each run fails');

/** @param tried the jail, or why it did not stand */
export function checkJail(tried: Jail | Fault): Finding {
  if (tried instanceof Fault) {
    const found = `Cannot ${tried.tried}: ${tried.found}`;
    return JAIL.critical(
      found,
      lacksLandlock(tried)
        ? (tried.next ?? '')
        : "mend what is critical of the launcher; where nothing is: make install, as root, in dialback's sources",
    );
  }
  if (!tried.hasOwnRoot) {
    return JAIL.warning(
      'rsync starts in it, but without a root file system of its own: it could change modes and times outside of it',
      'sysctl --ignore user.max_user_namespaces kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns shows which of them keeps ordinary users from making one',
    );
  }
  return JAIL.ok(`rsync starts in it (Landlock ABI ${tried.landlockAbi}, a root file system of its own)`);
}

// --- the run folder ---

const STATE = new Topic(
  'host.state',
  'each run works there: the agent with the one-time key among other things',
);
/** A unix socket's path has 108 bytes with its end (unix(7)); the agent's is STATE/run-XXXXXX/agent. */
const STATE_BYTES = 107 - '/run-XXXXXX/agent'.length;

const RECEIVER = new Topic(
  'host.rsync',
  'an account that can change a folder below DIR can put a link there, which an old rsync follows during a restore',
);

/** @param opensByFolder whether rsync opens each path folder by folder: one that knows `--insecure-links` does */
export function checkReceiver(opensByFolder: boolean): Finding {
  return opensByFolder
    ? RECEIVER.ok('rsync follows no link that is put in its way during a restore')
    : RECEIVER.warning(
        "rsync can follow a link that is put in its way: root's `restore --force` refuses folders that others can change",
        'restore into an empty folder; or apt-get update && apt-get install rsync, where that brings 3.5.0 or later',
      );
}

/** The home folder stays in its place: authorized_keys and the configs name paths in it. The account gets a link to it. */
function homeText(): string {
  const { home, name } = ownAccount();
  return `as root: ln -s ${quoteForShell(home)} DIR && usermod --home DIR ${name}, with a short DIR of letters and digits`;
}

/** @param at the lowest folder above the state folder that is there; this account cannot make anything in it */
function reachText(at: string, path: string): string {
  const { uid, name, home } = ownAccount();
  if (stat(at).uid === uid) return `chmod u+rwx ${quoteForShell(at)}`;
  return at.startsWith(`${home}/`)
    ? `as root: chown -R ${name} ${quoteForShell(at)}`
    : `as root: install -d -o ${name} -m 700 ${quoteForShell(path)}`;
}

function collectState(path: string): Finding {
  try {
    requireStateName(path);
  } catch (error) {
    return STATE.fault(error, homeText());
  }
  try {
    if (Buffer.byteLength(path) > STATE_BYTES)
      return STATE.critical(`"${path}" is too long: the agent's socket in it could not be made`, homeText());
    if (exists(path)) {
      requireStateFolder(path);
      return mayWrite(path)
        ? STATE.ok(`"${path}" is this account's alone`)
        : STATE.critical(`"${path}" cannot be written to`, `chmod 700 ${quoteForShell(path)}`);
    }
    let at = path;
    while (!exists(at)) at = at.slice(0, at.lastIndexOf('/')) || '/';
    return mayWrite(at)
      ? STATE.ok(`"${path}" is not there yet: the first run makes it`)
      : STATE.critical(
          `"${path}" is not there, and this account cannot make it in "${at}"`,
          reachText(at, path),
        );
  } catch (error) {
    return STATE.fault(error, `chmod 700 ${quoteForShell(path)}`);
  }
}

// --- the store ---

const STORE = new Topic(
  'host.store',
  "without it no backup can be kept, and what is in it is nobody else's to see",
);
const XATTRS = new Topic(
  'host.store_xattrs',
  'owners, modes, links and devices are kept in user xattrs: without them they would be lost',
);
const LINKS = new Topic(
  'host.store_links',
  'what did not change is a hard link to the backup before: without them each backup is a full copy',
);
const TIMES = new Topic(
  'host.store_times',
  'files are compared by their times to the nanosecond: without them each backup is sent in full',
);
const CONTENTS = new Topic(
  'host.store_contents',
  'version 0.1.0 could link files into a backup whose data a power cut of this host had taken',
);
const ATTRIBUTES = new Topic(
  'host.store_attributes',
  'owners, modes, links and devices of all files are in their attributes: a copy of the store without them gives back plain files',
);
const SPACE = new Topic('host.store_space', 'a full disk ends every run of every client');
const INODES = new Topic('host.store_inodes', 'each folder and each changed file of a backup is an inode');

/** @param hasLibrary whether rsync gets src/launcher/linkat.c */
async function collectStore(store: string, hasLibrary: boolean): Promise<Finding[]> {
  try {
    openStore(store, 'doctor --host');
  } catch (error) {
    return [STORE.fault(error, 'mount its disk')];
  }
  const found = stat(store);
  const owner = checkStore(store, found, ownAccount(), mayWrite(store));
  const room = statfs(store);
  return [
    owner,
    ...(owner.state === 'critical' && found.uid !== ownAccount().uid
      ? []
      : await probeStore(store, hasLibrary)),
    ...(found.uid === ownAccount().uid
      ? [checkContents(doubtfulClients(store)), checkAttributes(await clientsWithoutAttributes(store))]
      : []),
    checkSpace(store, room),
    checkInodes(store, room),
  ];
}

function doubtfulClients(store: string): string[] {
  return (namesOfClients(store) ?? []).filter(name => {
    try {
      return hasDoubtfulBasis(openClient(store, name));
    } catch {
      return false; // a folder that cannot be read is not what is looked for here
    }
  });
}

async function clientsWithoutAttributes(store: string): Promise<string[]> {
  const lost: string[] = [];
  const signal = AbortSignal.timeout(LOOKING_MS);
  for (const name of namesOfClients(store) ?? []) {
    try {
      if ((await snapshotsWithoutAttributes(openClient(store, name), signal)).length > 0) lost.push(name);
    } catch {
      // a folder that cannot be read is not what is looked for here
    }
  }
  return lost;
}

/** @param clients those with a snapshot whose files have lost their attributes */
function checkAttributes(clients: string[]): Finding {
  return clients.length === 0
    ? ATTRIBUTES.ok('the files of the backups have the attributes that their manifests name')
    : ATTRIBUTES.critical(`${clients.join(', ')}: ${LOST_ATTRIBUTES}`, COPY_AGAIN);
}

/** @param clients those whose next backup links files that no version made sure of */
export function checkContents(clients: string[]): Finding {
  if (clients.length === 0)
    return CONTENTS.ok('the data of every newest backup were on the disk before it was finished');
  return CONTENTS.warning(
    `the newest backups of these clients were made by a version that did not make sure of it: ${clients.join(', ')}`,
    'dialback verify; it lists the files in question, and the next backup of each client compares them',
  );
}

export function checkStore(
  store: string,
  found: { uid: number; mode: number },
  account: { uid: number; name: string },
  isWritable: boolean,
): Finding {
  const quoted = quoteForShell(store);
  const mode = (found.mode & 0o7777).toString(8).padStart(4, '0');
  if (found.uid !== account.uid)
    return STORE.critical(
      `"${store}" belongs to uid ${found.uid}, not to "${account.name}"`,
      found.uid === 0
        ? `as root: chown -R ${account.name} ${quoted}`
        : `${asUid(found.uid, 'dialback doctor --host')}, since that account receives`,
    );
  if ((found.mode & 0o077) !== 0)
    return STORE.critical(`"${store}" is open to others (mode ${mode})`, `chmod 700 ${quoted}`);
  if (!isWritable)
    return STORE.critical(
      `"${store}" cannot be written to (mode ${mode}, or mounted read-only)`,
      `chmod 700 ${quoted}; findmnt -T ${quoted}`,
    );
  return STORE.ok(`"${store}" is private to "${account.name}"`);
}

/** Tries in the store itself what a run does there. */
async function probeStore(store: string, hasLibrary: boolean): Promise<Finding[]> {
  try {
    return checkProbe(store, await probeFileSystem(store), hasLibrary);
  } catch (error) {
    return [STORE.fault(error, `df -h ${quoteForShell(store)}; df -i ${quoteForShell(store)}`)];
  }
}

const MOVE = 'put `store` in host.toml on ext4, XFS or Btrfs';
const MOVE_FOR_TIMES =
  'put `store` in host.toml on ext4 with inodes of 256 bytes, on XFS with bigtime, or on Btrfs';
/** The most names that one file can have, where it is a number that backups can reach (ext4: Linux, EXT4_LINK_MAX). */
const LINK_LIMITS: Record<string, number> = { ext2: 32_000, ext3: 32_000, ext4: 65_000, btrfs: 65_535 };

function checkLinks(store: string, { type, links }: Probe, hasLibrary: boolean): Finding {
  if (links !== undefined) return LINKS.critical(`"${store}" (${type}): ${links}`, MOVE);
  const limit = LINK_LIMITS[type];
  if (limit === undefined) return LINKS.ok(`"${store}" (${type}) has them`);
  const found = `"${store}" (${type}) has them, ${limit} to a file`;
  return hasLibrary
    ? LINKS.ok(`${found}: one in more backups than that is copied once more`)
    : LINKS.warning(
        `${found}: a client with more hard links of one file fails, for this executable was built without gcc`,
        "apt-get install gcc libc6-dev, and make clean build in dialback's sources",
      );
}

/** @param hasLibrary whether rsync gets the library that goes on where a link is refused */
export function checkProbe(store: string, probe: Probe, hasLibrary: boolean): Finding[] {
  const { type, xattrs } = probe;
  return [
    xattrs === undefined
      ? XATTRS.ok(`"${store}" (${type}) keeps them`)
      : XATTRS.critical(`"${store}" (${type}): ${xattrs}`, MOVE),
    checkLinks(store, probe, hasLibrary),
    checkTimes(store, probe),
  ];
}

function checkTimes(store: string, { type, hasNanoseconds, hasLateTimes }: Probe): Finding {
  if (!hasNanoseconds) return TIMES.warning(`"${store}" (${type}) does not keep them`, MOVE);
  return hasLateTimes
    ? TIMES.ok(`"${store}" (${type}) keeps them`)
    : TIMES.warning(`"${store}" (${type}) cuts times after 2038`, MOVE_FOR_TIMES);
}

const LOW_SHARE = 0.1;
const OUT_SHARE = 0.02;
const LOW_BYTES = 1024 ** 3;
const OUT_BYTES = 100 * 1024 ** 2;

/** What statfs(2) tells. */
export interface Room {
  bsize: number;
  blocks: number;
  bavail: number;
  files: number;
  ffree: number;
}

function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)}%`;
}

export function checkSpace(store: string, { bsize, blocks, bavail }: Room): Finding {
  const free = bavail * bsize;
  const found = `${Math.floor(free / 1024 ** 2)} MiB free (${percent(bavail, Math.max(1, blocks))}) for "${store}"`;
  const next = `du -xsh ${quoteForShell(`${store}/clients`)}/*; make room, or a larger disk`;
  if (free < OUT_BYTES || bavail < blocks * OUT_SHARE) return SPACE.critical(found, next);
  if (free < LOW_BYTES || bavail < blocks * LOW_SHARE) return SPACE.warning(found, next);
  return SPACE.ok(found);
}

/** Some file systems make inodes as they need them, and tell none: there is no limit then. */
export function checkInodes(store: string, { files, ffree }: Room): Finding {
  if (files === 0) return INODES.ok('the file system makes them as they are needed');
  const found = `${ffree} of ${files} free (${percent(ffree, files)}) for "${store}"`;
  const next = 'a file system made with more of them (mkfs.ext4 -N), or XFS or Btrfs';
  if (ffree < files * OUT_SHARE) return INODES.critical(found, next);
  if (ffree < files * LOW_SHARE) return INODES.warning(found, next);
  return INODES.ok(found);
}

// --- who may ask ---

const KEYS = new Topic(
  'host.authorized_keys',
  'it says which key may ask for which backup: sshd reads none that others can write, and a line without its command opens a login',
);

const NOT_CALLED = 'no key is enrolled: the store serves this machine alone, without ssh';

/** Whether any key of a client is in authorized_keys; what cannot be read may hold one. */
export function isAnyEnrolled(): boolean {
  const path = `${ownAccount().home}/.ssh/authorized_keys`;
  try {
    const lines = readWhole(path, 16 * 1024 * 1024)
      .toString('utf8')
      .split('\n');
    return lines.some(line => enrolledName(line) !== undefined);
  } catch {
    return exists(path);
  }
}

function collectKeys(config: HostConfig, configPath: string): Finding[] {
  const path = `${ownAccount().home}/.ssh/authorized_keys`;
  const clients = namesOfClients(config.store);
  let text: string;
  try {
    text = readWhole(path, 16 * 1024 * 1024).toString('utf8');
  } catch (error) {
    return exists(path)
      ? [KEYS.fault(error, `chmod 600 ${quoteForShell(path)}`)]
      : [KEYS.warning(`nobody is enrolled: there is no "${path}"`, enrollNext(clients))];
  }
  const trust = checkTrust(KEYS, path, ownAccount().uid, `"${path}"`);
  const lines = checkLines({
    path: realPath(path), // `sed -i` would put a file in the place of a link
    lines: text.split('\n'),
    clients,
    executable: ownExecutable(),
    config: realPath(configPath),
    allowsPlainKey: config.account_client !== undefined,
  });
  return trust.state === 'ok' ? lines : [trust, ...lines.filter(each => each.state !== 'ok')];
}

/** Where the store is not in its place, enrolling would make another one. */
function enrollNext(clients: string[] | undefined): string {
  return clients === undefined ? 'mount the disk of the store first' : 'dialback enroll NAME KEYFILE';
}

/** The clients that the store has a folder for; undefined where there is no store to ask. */
function namesOfClients(store: string): string[] | undefined {
  try {
    return listClients(store);
  } catch {
    return undefined;
  }
}

export interface KeyLines {
  path: string;
  lines: string[];
  clients: string[] | undefined;
  executable: string;
  config: string;
  /** `account_client`: there a key without a command is the historic form. */
  allowsPlainKey: boolean;
}

/** Each enrolled line must be what `enroll` would write now; a line that it did not write opens more than a backup. */
export function checkLines(facts: KeyLines): Finding[] {
  const { path, clients, executable, config } = facts;
  const findings: Finding[] = [];
  const enrolled: string[] = [];
  for (const [index, line] of facts.lines.entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const name = enrolledName(line);
    const where = `line ${index + 1} of "${path}"`;
    if (name === undefined) {
      if (facts.allowsPlainKey) continue;
      findings.push(
        KEYS.warning(
          `${where} is none of dialback's: its key opens more than a backup, and with this account the store`,
          `take it out: sed -i ${index + 1}d ${quoteForShell(path)}`,
        ),
      );
      continue;
    }
    enrolled.push(name);
    const key = keyOf(line);
    const expected = key && enrolledLine({ executable, name, config, key });
    if (line !== expected) {
      findings.push(
        KEYS.warning(
          `${where}, for "${name}", is not bound to "${executable}" and "${config}"`,
          enrolAgain(name, config, key),
        ),
      );
    }
    // A line for another host.toml of this account has its folder in that one's store.
    const isOwn = expected !== undefined && behindProgram(line) === behindProgram(expected);
    if (isOwn && clients && !clients.includes(name)) {
      findings.push(
        KEYS.critical(
          `${where} is for "${name}", and the store has no folder for it`,
          enrolAgain(name, config, key),
        ),
      );
    }
  }
  if (enrolled.length === 0 && !facts.allowsPlainKey)
    findings.push(KEYS.warning(`nobody is enrolled in "${path}"`, enrollNext(clients)));
  const who = enrolled.length === 1 ? 'one client is' : `${enrolled.length} clients are`;
  return findings.length > 0 ? findings : [KEYS.ok(`${who} enrolled in "${path}"`)];
}

/** What follows the program in an enrolled line: client, config and key. */
function behindProgram(line: string): string {
  return line.slice(line.lastIndexOf("' grab --client "));
}

/** The same key again is harmless: the line is written as it is now, and the client's folder made. */
function enrolAgain(name: string, config: string, key: PublicKey | undefined): string {
  const command = `dialback enroll ${name}`;
  const end = `--config ${quoteForShell(config)}`;
  return key
    ? `echo ${quoteForShell(`${key.type} ${key.blob} ${key.comment}`.trim())} | ${command} - ${end}`
    : `${command} KEYFILE ${end}`;
}

/** The key at the end of a line that `enroll` wrote. */
function keyOf(line: string): PublicKey | undefined {
  const text = /" (\S+ \S+(?: .*)?)$/.exec(line)?.[1];
  const parsed = text === undefined ? undefined : parsePublicKey(text);
  return parsed && 'value' in parsed ? parsed.value : undefined;
}

// --- the system's sshd ---

const SSHD = new Topic('host.sshd', "a backup begins with a call that the system's sshd takes");

export interface SshdFacts {
  port: number;
  /** What came of a connection to it. */
  isThere: boolean;
  usesPam: boolean;
  /** `passwd -S` says that the password is locked (`!` or `*`: it does not tell which). */
  isLocked: boolean;
  name: string;
}

async function collectSshd(subject: Subject): Promise<Finding> {
  const config = readSshdConfig();
  const port = Number(/^\s*Port\s+(\d+)/im.exec(config)?.[1] ?? 22);
  const { stdout } = hasProgram('passwd')
    ? await run(standard('passwd', ['-S']), { timeoutMs: PATIENCE_MS })
    : { stdout: Buffer.alloc(0) };
  return checkSshd({
    port,
    isThere: await answers(port),
    usesPam: /^\s*UsePAM\s+(\w+)/im.exec(config)?.[1]?.toLowerCase() === 'yes', // the first one counts
    isLocked: /^\S+ LK? /.test(stdout.toString('utf8')),
    name: subject.name,
  });
}

/** sshd's config with what it includes; what this account may not read is left out. */
function readSshdConfig(): string {
  const folder = '/etc/ssh/sshd_config.d';
  const texts: string[] = [];
  try {
    const more = exists(folder) ? readdir(folder).sort() : [];
    // The first value that is set is the one that counts, and Debian includes the folder first.
    for (const path of [...more.map(name => `${folder}/${name}`), '/etc/ssh/sshd_config'])
      if (path.endsWith('.conf') || path.endsWith('sshd_config'))
        texts.push(readWhole(path, 1024 * 1024).toString('utf8'));
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return '';
  }
  return texts.join('\n');
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (isThere: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isThere);
    };
    const timer = setTimeout(() => end(false), 2_000);
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}

export function checkSshd(facts: SshdFacts): Finding {
  const { port, name } = facts;
  if (!facts.isThere) {
    return SSHD.warning(
      `nothing listens on port ${port} of 127.0.0.1; perhaps it listens somewhere else`,
      'systemctl enable --now ssh',
    );
  }
  if (facts.isLocked && !facts.usesPam) {
    // After `usermod -p '*'` passwd(1) would still call it locked. No password has the hash NP.
    return SSHD.unknown(
      `the password of "${name}" is locked: without UsePAM sshd lets no account in where it begins with "!", and lets one in where it begins with "*"; this account cannot see which it is`,
      `as root: usermod -p NP ${name}`,
    );
  }
  return SSHD.ok(`something listens on port ${port}`);
}
