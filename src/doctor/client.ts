/** `dialback doctor` on a client: what stands between it and its next backup, and what that backup would give away. */

import { createServer, connect as openConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { findNat, parseListen, type Way } from '../client/addresses.ts';
import { type Called, resolveCall } from '../client/call.ts';
import {
  type ClientConfig,
  calledRemotes,
  callFiles,
  clientName,
  keygenText,
  type Remote,
  remoteLock,
  remoteName,
  stateFolder,
} from '../client/config.ts';
import { allowedPeers, requireLogin } from '../client/direct.ts';
import { NOBODY } from '../client/gate.ts';
import { tryJail } from '../client/jail.ts';
import { emptiedRoots } from '../client/left-out.ts';
import {
  hostConfigOf,
  isLocal,
  realPlace,
  requireApart,
  requireSameStore,
  whyAbsent,
} from '../client/local.ts';
import { mergePlaces, type Place, placeInText } from '../client/never.ts';
import { parseNeverList, readNeverList } from '../client/never-list.ts';
import { prepareSshd } from '../client/one-time-keys.ts';
import { followExcludes, type Root, refuseHiddenRoots } from '../client/roots.ts';
import { findHungMounts, findPlaces, findRoots, kernelScope, readExcludes } from '../client/scope.ts';
import { type SenderNeeds, trySender } from '../client/trial.ts';
import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { asUid, ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import {
  exists,
  failedWith,
  lastVisible,
  lstat,
  makeUniqueFolder,
  mayRead,
  mayWrite,
  readdir,
  readProc,
  removeAll,
  stat,
  statfs,
} from '../os/files.ts';
import { readJournal } from '../os/journal.ts';
import { type Jail, landlockAbiOf, NEVER_LIST, rsyncLibraries } from '../os/launcher.ts';
import { isWithin, type MountEntry, mountOf, mountTable, namesByMounts, otherNames } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { requireStateFolder, requireStateName } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { listedRoots } from '../wire/rsync.ts';
import { type CallOptions, WITHOUT_SSHD } from '../wire/ssh.ts';
import { asText, escapeText, LOGIN, quoteForShell, snapshotTime, unfold } from '../wire/text.ts';
import { checkRuns } from './client-runs.ts';
import { collectCall } from './connection.ts';
import { type Finding, Topic } from './finding.ts';
import { collectHooks } from './hooks.ts';
import { type Confinement, checkShell, checkTrust, type ShellFacts } from './machine.ts';

const PATIENCE_MS = 10_000;
/** A host that does not take a connection within this cannot be reached. */
const CONNECT_MS = 5_000;
/** From the connection to sshd's greeting: a host with more work than it can do is still there. `backup` waits longer. */
const GREETING_MS = 30_000;

/** Whether any remote connects back: then the account needs a shell, and the machine an sshd. */
export function isDialled(config: ClientConfig): boolean {
  return config.remote.some(each => each.transport === 'direct');
}

/** All that is looked at for a client. @param path client.toml's, for what mends it */
export async function collectClient(options: {
  config: ClientConfig;
  path: string;
  confinement: Confinement;
  shell: ShellFacts;
}): Promise<{ findings: Finding[]; landlockAbi: number | undefined }> {
  const { config, path, confinement, shell } = options;
  const state = stateFolder(config, undefined);
  const hung = await findHungMounts(config, readableNevers());
  const found = rootsOf(config, hung);
  const roots = found instanceof Fault ? [] : found;
  const { jail, places } =
    confinement.way === 'confined'
      ? await tryJail(config, state, roots, hung)
      : { jail: undefined, places: [] };
  const findings = [
    checkConfinement(confinement, path, hasLandlock()),
    ...(jail === undefined ? [] : [checkJail(jail)]),
    ...(jail instanceof Fault ? [] : await collectSender(config, state, { roots, hung }, confinement)),
    ...(await collectOwnSshd(config)),
    collectName(config),
    collectState(state),
    collectExcludes(config),
    ...(found instanceof Fault
      ? [ROOTS.fault(found, ROOTS_NEXT)]
      : checkRoots(
          found.map(each => rootFacts(each, hung)),
          confinement,
        )),
    ...(await collectHidden(config, state, { roots, hung })),
    ...checkHung(hung),
  ];
  const own = [...config.scope.never, ...calledRemotes(config).map(each => callFiles(each).identity)];
  const nevers = findPlaces(own, 'account', hung);
  const named = [...config.scope.never];
  if (confinement.way !== 'none') {
    const listed = collectNeverList(jail !== undefined && !(jail instanceof Fault));
    findings.push(...listed.findings);
    nevers.push(...findPlaces(listed.paths, 'root', hung));
    named.push(...listed.paths);
  }
  const hungNames = hung.map(asText);
  findings.push(...collectMisspelt(named, hungNames));
  findings.push(...collectNever(mergePlaces(nevers, places, []), config.scope.roots, hungNames));
  findings.push(...collectHooks('client', config.hooks));
  const isBusy = config.remote.some(each => isLocked(remoteLock(state, each)));
  const journal = readJournal(state);
  const undialled = whyUndialled(ownAccount().name, checkShell({ ...shell, isDialled: true }));
  findings.push(...config.remote.filter(isLocal).map(each => collectDisk(config, each)));
  findings.push(...config.remote.flatMap(each => checkRuns(journal, remoteName(each))));
  for (const remote of calledRemotes(config)) {
    findings.push(...(await collectRemote(remote, isBusy, { undialled, journal, config })));
    findings.push(checkClock(remoteName(remote), measureSkew(journal, remoteName(remote))));
  }
  return { findings, landlockAbi: landlockAbiOf(jail) };
}

/** A list that cannot be read has a finding of its own (collectNeverList()). */
function readableNevers(): string[] {
  try {
    return readNeverList();
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
}

function hasLandlock(): boolean {
  try {
    return readWhole('/sys/kernel/security/lsm', 65_536).toString('latin1').includes('landlock');
  } catch {
    return false;
  }
}

// --- what is in force ---

const CONFINEMENT = new Topic(
  'client.confinement',
  'the jail is what keeps a hostile backup host, once it has broken into rsync, from everything but reading',
);

/** @param canConfine whether the kernel is known to have Landlock */
export function checkConfinement({ way, isChosen }: Confinement, path: string, canConfine: boolean): Finding {
  if (way === 'confined') return CONFINEMENT.ok('confined: rsync reads every file of the scope, in the jail');
  if (way === 'inherited') {
    const found = 'inherited: rsync reads every file, without the jail';
    return canConfine
      ? CONFINEMENT.warning(
          `${found}, and this kernel has Landlock for one`,
          `sed -i 's/^\\s*capability\\s*=.*/capability = "confined"/' ${quoteForShell(path)}`,
        )
      : CONFINEMENT.ok(found);
  }
  const found = 'none: rsync reads what this account may read, without the jail';
  return isChosen
    ? CONFINEMENT.ok(`${found}, as "${path}" says`)
    : CONFINEMENT.warning(
        `${found}, since there is no launcher`,
        `make install, as root, in dialback's sources; or, if that is meant: sed -i '1i capability = "none"' ${quoteForShell(path)}`,
      );
}

const JAIL = new Topic('client.jail', 'a launcher that does not work is not gone without: each backup fails');

const JAIL_NEXT =
  "mend what is critical of the launcher; where nothing is: make install, as root, in dialback's sources";

/** @param tried the jail, or why it did not stand */
export function checkJail(tried: Jail | Fault): Finding {
  if (!(tried instanceof Fault)) return JAIL.ok(`rsync starts in it (Landlock ABI ${tried.landlockAbi})`);
  const found = `Cannot ${tried.tried}: ${tried.found}`;
  const uid = /it was made for uid (\d+)/.exec(tried.found)?.[1];
  if (uid !== undefined)
    return JAIL.critical(found, `${asUid(uid, 'dialback doctor')}, since that account makes the backups`);
  const own = tried.next === undefined || tried.next === 'dialback doctor';
  return JAIL.critical(found, own ? JAIL_NEXT : (tried.next ?? ''));
}

const SENDER = new Topic(
  'client.rsync',
  'each backup refuses an rsync that cannot serve a file as a daemon, before it calls the host',
);

/** Tries rsync as `backup` does, in a folder of its own that is removed afterwards. Root's daemon would not be this account's. */
async function collectSender(
  config: ClientConfig,
  state: string,
  { roots, hung }: Ground,
  { way }: Confinement,
): Promise<Finding[]> {
  if (ownAccount().uid === 0 || !hasProgram('rsync')) return [];
  let folder: string | undefined;
  try {
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
    const isConfined = way === 'confined';
    const needs = await trySender({
      folder,
      capability: way,
      scope: kernelScope(config, state, roots, hung),
      libraries: isConfined ? await rsyncLibraries() : [],
      daemon: { idleSeconds: 60, confined: isConfined, checksum: true, compress: true },
      interrupt: new AbortController().signal,
    });
    return [checkSender(needs, isConfined ? listedRoots(roots.map(each => asText(each.path))) : [])];
  } catch (error) {
    return [SENDER.fault(error, 'apt-get update && apt-get install rsync')];
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}

/**
 * @param needs what the trial found out
 * @param listed roots for which rsync must list folders above them
 */
export function checkSender({ listsAll }: SenderNeeds, listed: string[]): Finding {
  const cost = 'so its jail lets it list the names in every folder of this machine; not the contents';
  const place = '(docs/security.md, "What stays open")';
  if (listsAll)
    return SENDER.warning(
      `rsync opens folders above \`roots\`, ${cost} ${place}`,
      'apt-get update && apt-get install rsync, where that brings 3.5.0 or later',
    );
  const [first] = listed;
  return first === undefined
    ? SENDER.ok('rsync serves a file as a daemon, and keeps to the scope')
    : SENDER.warning(
        `rsync finds the root "${escapeText(first)}" by listing the folders above it, ${cost}`,
        `in \`roots\`, name a folder above it without any of *?[\\ ${place}`,
      );
}

const SSHD = new Topic(
  'client.sshd',
  'with "direct" each backup starts an sshd for one connection, and refuses one that does not take its config',
);

/** Has sshd read the config that a run writes for it, in a folder of its own that is removed afterwards. */
async function collectOwnSshd(config: ClientConfig): Promise<Finding[]> {
  if (!isDialled(config) || !hasProgram('sshd') || !hasProgram('ssh-keygen')) return [];
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  try {
    await prepareSshd(AbortSignal.timeout(PATIENCE_MS), folder);
    return [SSHD.ok('sshd takes the config that a run writes for it')];
  } catch (error) {
    return [SSHD.fault(error, WITHOUT_SSHD)];
  } finally {
    removeAll(folder);
  }
}

// --- names and folders ---

const NAMES = new Topic(
  'client.name',
  'the backup host knows this machine by its name, and dials its account',
);

function collectName(config: ClientConfig): Finding {
  try {
    if (!isDialled(config)) return NAMES.ok(`"${clientName(config)}"`);
    requireLogin();
    return NAMES.ok(`"${clientName(config)}", dialled back as "${ownAccount().name}"`);
  } catch (error) {
    return NAMES.fault(error, 'set `name` in client.toml');
  }
}

const STATE = new Topic(
  'client.state',
  'each run works in it, and sshd trusts no key below a folder that others can change',
);
/** A run leaves a few small files; less than this is a disk that is full. */
const STATE_FREE = 16 * 1024 * 1024;

function collectState(path: string): Finding {
  try {
    requireStateName(path);
    if (!exists(path)) return checkNewState(path);
    requireStateFolder(path);
    if (!mayWrite(path))
      return STATE.critical(
        `"${path}" cannot be written to`,
        `chmod 700 ${quoteForShell(path)}; findmnt -T ${quoteForShell(path)}`,
      );
    const { bavail, bsize } = statfs(path);
    if (bavail * bsize < STATE_FREE)
      return STATE.critical(`the disk of "${path}" is full`, `df -h ${quoteForShell(path)}`);
    return STATE.ok(`"${path}" is this account's alone`);
  } catch (error) {
    return STATE.fault(error, 'set `state` in client.toml');
  }
}

/** The first run makes it, with its parents; so the nearest one that is there must let us. */
function checkNewState(path: string): Finding {
  let at = dirname(path);
  while (!exists(at)) at = dirname(at);
  return mayWrite(at)
    ? STATE.ok(`"${path}" is not there yet: the first run makes it`)
    : STATE.critical(
        `"${path}" is not there, and this account cannot make it in "${at}"`,
        `install -d -o ${ownAccount().name} -m 700 ${quoteForShell(path)}`,
      );
}

// --- the scope ---

const EXCLUDES = new Topic('client.excludes', 'a run does not start with an exclude list that it cannot use');

function collectExcludes(config: ClientConfig): Finding {
  try {
    const { length } = readExcludes(config);
    return EXCLUDES.ok(length === 1 ? 'one exclude pattern' : `${length} exclude patterns`);
  } catch (error) {
    return EXCLUDES.fault(error, 'set `exclude` and `exclude_from` in client.toml');
  }
}

const ROOTS = new Topic(
  'client.roots',
  'what cannot be read is missing in the backup, which is then incomplete',
);

const ROOTS_NEXT = 'set `roots` in client.toml';

export interface RootFacts {
  /** Without symbolic links. */
  path: string;
  /** As client.toml has it, where that is another path. */
  name?: string;
  /** `hidden`: a folder above it does not let this account see. */
  is: 'readable' | 'closed' | 'missing' | 'hidden' | 'hung';
}

/** What a run finds of its scope. @see findHungMounts */
interface Ground {
  roots: readonly Root[];
  hung: readonly string[];
}

const MOUNTS = new Topic(
  'client.mounts',
  'a file system that does not answer is missing in the backup, which is then incomplete',
);

function checkHung(hung: readonly string[]): Finding[] {
  return hung
    .map(asText)
    .map(path =>
      MOUNTS.warning(
        `the file system at "${escapeText(path)}" does not answer`,
        `start its server; or umount -l ${quoteForShell(path)}`,
      ),
    );
}

/** The roots as a run finds them, or why it refuses one. */
function rootsOf(config: ClientConfig, hung: readonly string[]): Root[] | Fault {
  try {
    return findRoots(config, hung);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

function rootFacts(root: Root, hung: readonly string[]): RootFacts {
  const path = asText(root.path);
  const named = root.name === root.path ? {} : { name: asText(root.name) };
  if (hung.some(each => isWithin(each, root.path))) return { path, ...named, is: 'hung' };
  try {
    lstat(path);
  } catch (error) {
    return { path, ...named, is: failedWith(error, 'EACCES') ? 'hidden' : 'missing' };
  }
  return { path, ...named, is: mayRead(path) ? 'readable' : 'closed' };
}

/** A root that `never` or the excludes cover, which a run refuses. */
async function collectHidden(
  config: ClientConfig,
  state: string,
  { roots, hung }: Ground,
): Promise<Finding[]> {
  if (!hasProgram('rsync')) return [];
  let folder: string | undefined;
  try {
    const { never } = kernelScope(config, state, roots, hung);
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
    const excludes = followExcludes(readExcludes(config), roots);
    await refuseHiddenRoots(folder, roots, excludes, hung);
    return checkEmptied(await emptiedRoots(folder, roots, excludes, never), roots.length);
  } catch (error) {
    // An exclude list that cannot be used has a finding of its own.
    if (error instanceof Fault && !error.tried.startsWith('back up ')) return [];
    return [ROOTS.fault(error, ROOTS_NEXT)];
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}

/** @param emptied roots of which nothing is left; @param count of all roots */
function checkEmptied(emptied: readonly Root[], count: number): Finding[] {
  if (emptied.length === 0) return [];
  const names = emptied.map(({ name }) => `"${escapeText(asText(name))}"`).join(', ');
  const found = `the excludes and \`never\` leave out all that is in ${names}`;
  const next = 'set `exclude`, `exclude_from` and `never` in client.toml';
  return [emptied.length === count ? ROOTS.critical(found, next) : ROOTS.warning(found, next)];
}

/** A backup without any of its roots fails; one that lacks some is incomplete. */
export function checkRoots(roots: RootFacts[], { way }: Confinement): Finding[] {
  const names = (of: RootFacts[]): string =>
    of
      .map(({ path, name }) => (name === undefined ? `"${path}"` : `"${path}" ("${name}" in client.toml)`))
      .join(', ');
  const missing = roots.filter(each => each.is === 'missing');
  // With the capability the modes do not matter.
  const closed = way === 'none' ? roots.filter(each => each.is === 'closed' || each.is === 'hidden') : [];
  const next = ROOTS_NEXT;
  const findings: Finding[] = [];
  const isNone = missing.length + closed.length === roots.length;
  const bad = (found: string, more = ''): Finding =>
    isNone ? ROOTS.critical(found, `${next}${more}`) : ROOTS.warning(found, `${next}${more}`);
  if (missing.length > 0) findings.push(bad(`not there: ${names(missing)}`));
  if (closed.length > 0) {
    findings.push(
      bad(
        `this account may not read ${names(closed)}`,
        "; or make install, as root, in dialback's sources: with the launcher every file can be read",
      ),
    );
  }
  return findings.length > 0 ? findings : [ROOTS.ok(names(roots))];
}

// --- what is never read ---

const NEVER_FILE = new Topic(
  'client.never_list',
  'the launcher reads it before anything else, and refuses to work without it',
);

/**
 * The root-owned list of what no run reads.
 * @param isJailed whether the launcher worked, so that there is some list
 * @returns its paths too
 */
function collectNeverList(isJailed: boolean): { findings: Finding[]; paths: string[] } {
  let text: string;
  try {
    text = readWhole(NEVER_LIST, 1024 * 1024).toString('utf8');
  } catch (error) {
    if (isJailed && !exists(NEVER_LIST)) {
      const other = `the launcher goes by another list than "${NEVER_LIST}", which is not there`;
      return {
        findings: [NEVER_FILE.warning(other, "make install, as root, in dialback's sources")],
        paths: [],
      };
    }
    const found = error instanceof Fault ? error.found : String(error);
    const next = exists(NEVER_LIST) ? `as root: chmod 644 ${NEVER_LIST}` : restoreNeverList();
    return { findings: [NEVER_FILE.critical(`"${NEVER_LIST}": ${found}`, next)], paths: [] };
  }
  const trust = checkTrust(NEVER_FILE, NEVER_LIST, 0, `"${NEVER_LIST}"`);
  const { paths, faults } = parseNeverList(text);
  const findings = faults.map(fault =>
    NEVER_FILE.critical(
      `"${NEVER_LIST}", ${fault}`,
      `write that line of ${NEVER_LIST} as a path, or take it out`,
    ),
  );
  return { findings: trust.state === 'ok' && findings.length > 0 ? findings : [trust, ...findings], paths };
}

/** An empty list would let every key and password out: the one that was installed is put back. */
function restoreNeverList(): string {
  const installed = join(dirname(ownExecutable()), '../share/dialback/never');
  return exists(installed)
    ? `as root: install -D -m 644 ${quoteForShell(installed)} ${NEVER_LIST}; then add the paths that yours had`
    : "make install, as root, in dialback's sources; then add the paths that yours had";
}

const NEVER = new Topic(
  'client.never',
  'the kernel goes by the file, not by its name: under another name what must never be read can be',
);
/** So many names are looked at below the folders of `never`. */
const WALK_LIMIT = 50_000;

/** What is known of one path of `never`. */
export interface NeverFacts {
  path: string;
  /** Names by way of other mounts. */
  otherNames: string[];
  /** Files with more names than are below the path: the first of them. */
  linked: string[];
  linkedCount: number;
  /** Whether all below it was seen: it can be closed to this account, or too large. */
  isSeen: boolean;
  /** As in Place (client/never.ts). */
  through?: string;
  link?: string;
  error?: string;
  shared?: string;
}

/**
 * What is not there is often a name with a mistake in it, and then the right one is backed up.
 * @param hung mount points that do not answer: nothing is looked for there
 */
function collectMisspelt(nevers: readonly string[], hung: readonly string[]): Finding[] {
  return [...new Set(nevers)]
    .filter(path => !hung.some(each => isWithin(each, path)))
    .filter(isMissing)
    .map(path =>
      NEVER.warning(
        `"${escapeText(path)}" is not there: if its name is misspelt, what is meant is backed up`,
        `ls -d ${quoteForShell(path)}; write it into \`never\` as it is, or remove it there`,
      ),
    );
}

function isMissing(path: string): boolean {
  try {
    lstat(path);
    return false;
  } catch (error) {
    return failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR');
  }
}

/** @param roots another name outside of them is in nobody's backup */
function collectNever(bytes: Place[], roots: string[], hung: readonly string[]): Finding[] {
  const places = bytes.map(placeInText);
  const all = [...new Map(places.map(each => [`${each.name}\0${each.place}`, each])).values()];
  if (all.length === 0) return [NEVER.ok('nothing is named that must never be read')];
  const table = mountTable();
  const names = all.map(each => each.name);
  const isHung = (path: string): boolean => hung.some(each => isWithin(each, path));
  return checkNever(
    all.map(place => neverFacts(place, table, names, { roots, isUnseen: isHung(place.place) })),
  );
}

function neverFacts(
  found: Place,
  table: MountEntry[],
  nevers: string[],
  { roots, isUnseen }: { roots: string[]; isUnseen: boolean },
): NeverFacts {
  const { name: path, place, ...way } = found;
  // By the names of the path itself it is kept back; parts of it and what is mounted below it can have more.
  const kept = [...nevers, ...namesByMounts(table, place)];
  const names = otherNames(table, place).filter(
    name => roots.some(root => isWithin(root, name)) && !kept.some(never => isWithin(never, name)),
  );
  // Where a link is not followed, nothing is kept back that could have another name.
  const linked =
    way.link === undefined && !isUnseen
      ? findLinked(place, WALK_LIMIT)
      : { linked: [], linkedCount: 0, isSeen: !isUnseen };
  return { path, otherNames: names, ...linked, ...way };
}

/** Plain files at or below a path that have a name somewhere else too. */
export function findLinked(
  path: string,
  limit: number,
): { linked: string[]; linkedCount: number; isSeen: boolean } {
  const inodes = new Map<string, { name: string; seen: number; links: number }>();
  let isSeen = true;
  let left = limit;
  const waiting = [path];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    left -= 1;
    if (left < 0) {
      isSeen = false;
      break;
    }
    try {
      const found = lstat(at);
      if (found.isDirectory()) {
        for (const name of readdir(at)) waiting.push(`${at === '/' ? '' : at}/${name}`);
      } else if (found.isFile() && found.nlink > 1) {
        const key = `${found.dev}:${found.ino}`;
        const known = inodes.get(key) ?? { name: at, seen: 0, links: found.nlink };
        known.seen += 1;
        inodes.set(key, known);
      }
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) isSeen = false; // what is not there has no other name
    }
  }
  const linked = [...inodes.values()].filter(each => each.links > each.seen).map(each => each.name);
  return { linked: linked.sort().slice(0, 3), linkedCount: linked.length, isSeen };
}

export function checkNever(facts: NeverFacts[]): Finding[] {
  const findings: Finding[] = [];
  for (const each of facts) {
    const { path, otherNames: names, linked, linkedCount, isSeen } = each;
    const quoted = quoteForShell(path);
    findings.push(...checkWay(each));
    if (names.length > 0) {
      findings.push(
        NEVER.warning(
          `"${path}", or a part of it, is also mounted at ${names.map(each => `"${escapeText(each)}"`).join(', ')}`,
          `put ${names.map(each => `"${escapeText(each)}"`).join(', ')} into \`never\` too, or umount ${quoteForShell(names[0] ?? '')}`,
        ),
      );
    }
    if (linkedCount > 0) {
      const first = linked[0] ?? path;
      const more = linkedCount > 1 ? `, and ${linkedCount - 1} more,` : '';
      findings.push(
        NEVER.warning(
          `"${escapeText(first)}"${more} has another name somewhere else (a hard link)`,
          `find "$(findmnt -no TARGET -T ${quoteForShell(first)})" -xdev -samefile ${quoteForShell(first)}, as root; then remove the other name, or put it into \`never\` too`,
        ),
      );
    }
    if (!isSeen) {
      findings.push(
        NEVER.unknown(
          `not all of "${path}" can be seen by this account, or it is too much to look at`,
          `find ${quoted} -xdev -type f -links +1, as root: what it lists has another name`,
        ),
      );
    }
  }
  const what = facts.length === 1 ? 'the path in `never` has' : `the ${facts.length} paths in \`never\` have`;
  return findings.length > 0 ? findings : [NEVER.ok(`${what} no other name`)];
}

/** Whether another user decides what a path of `never` is. */
function checkWay({ path, through, link, error, shared }: NeverFacts): Finding[] {
  const shown = `"${escapeText(path)}"`;
  if (error !== undefined)
    return [
      NEVER.warning(
        `${shown} cannot be looked at (${escapeText(error)}): its name is kept back, and nothing that a link leads to`,
        `ls -ld ${quoteForShell(path)}, as root`,
      ),
    ];
  if (link !== undefined)
    return [
      NEVER.warning(
        `the symbolic link "${escapeText(link)}" on the way to ${shown} is not followed, since another user can replace it`,
        `ls -ld ${quoteForShell(link)}; then name in \`never\` the place that is meant`,
      ),
    ];
  if (shared !== undefined)
    return [
      NEVER.warning(
        `${shown} has another name (a hard link), which is not kept back, and other users can replace it`,
        `find "$(findmnt -no TARGET -T ${quoteForShell(path)})" -xdev -samefile ${quoteForShell(path)}, as root`,
      ),
    ];
  if (through === undefined) return [];
  return [
    NEVER.warning(
      `${shown} is in "${escapeText(through)}", in which other users can move it away`,
      `put "${escapeText(through)}" itself into \`never\`, or move ${quoteForShell(path)} into a folder that only root can change`,
    ),
  ];
}

// --- a store on this machine ---

const DISK = new Topic(
  'client.disk',
  'a backup on the disk that it is a backup of is lost with it, and one on a disk that is not there is not made',
);

/** The store's own state is the host's to look at (doctor/host.ts); here is what lies between it and this client. */
function collectDisk(config: ClientConfig, remote: Remote): Finding {
  const label = remoteName(remote);
  try {
    const hostConfig = hostConfigOf(config, remote);
    const why = whyAbsent(remote.target);
    const next = `mount its disk: findmnt -T ${quoteForShell(lastVisible(remote.target))} says which one is there now`;
    if (why !== undefined) {
      const then = { fail: 'fails', skip: 'is skipped', wait: 'waits' }[remote.absent ?? 'fail'];
      const found = `"${label}": ${why}: a backup ${then} until its disk is there`;
      return (remote.absent ?? 'fail') === 'fail' ? DISK.critical(found, next) : DISK.warning(found, next);
    }
    requireSameStore(config, remote, hostConfig);
    requireApart(config, remote);
  } catch (error) {
    return DISK.fault(error, 'set `target` in client.toml');
  }
  return checkDisk(label, mountTable(), config.scope, realPlace(remote.target));
}

/** Whether what else is on the store's disk is backed up, which is to say onto itself. @param store without links */
export function checkDisk(
  label: string,
  table: MountEntry[],
  scope: Pick<ClientConfig['scope'], 'roots' | 'mounts' | 'never'>,
  store: string,
): Finding {
  const mount = mountOf(table, store)?.path ?? '/';
  const isTaken =
    mount !== store &&
    scope.mounts !== 'one' &&
    scope.roots.some(root => root !== mount && isWithin(root, mount)) &&
    !scope.never.some(never => isWithin(never, mount));
  return isTaken
    ? DISK.warning(
        `"${label}": what is on "${escapeText(mount)}" beside the store is in the scope, and backed up onto the same disk`,
        `put ${JSON.stringify(mount)} into \`never\` in client.toml, if that is not meant`,
      )
    : DISK.ok(`"${label}": the store is in its place, on "${escapeText(mount)}"`);
}

// --- the way to the host ---

/** What is looked at for one remote; of the way back only where there is to be one. */
async function collectRemote(
  remote: Remote,
  isBusy: boolean,
  known: { undialled: string | undefined; journal: Record<string, unknown>[]; config: ClientConfig },
): Promise<Finding[]> {
  const files = callFiles(remote);
  const label = remoteName(remote);
  const callOptions: CallOptions = {
    target: remote.target,
    ...files,
    logFile: '/dev/null',
    connectSeconds: CONNECT_MS / 1000,
    idleSeconds: CONNECT_MS / 1000,
    more: remote.ssh_options,
    command: 'none',
  };
  const key = await collectKey(files.identity);
  let called: Called;
  try {
    called = await resolveCall(callOptions);
  } catch (error) {
    return [key, REACH.fault(error, 'set `target` and `ssh_options` in client.toml')];
  }
  const knownHosts = await collectKnownHosts(files.knownHosts, called);
  const { finding: reachable, way } = await collectReach(called);
  const isDirect = remote.transport === 'direct';
  const back = isDirect
    ? [await collectFrom(remote, callOptions), await collectListen(remote.listen, isBusy, label)]
    : [];
  const facts = {
    label,
    transport: isDirect ? ('direct' as const) : ('channel' as const),
    undialled: known.undialled,
    way,
    dialledAt: lastDialled(known.journal, label),
  };
  // What is wrong with the call, or with the account, is said already: it is no second finding.
  const isTold = reachable.state !== 'ok' || (isDirect && known.undialled !== undefined);
  const canCall = [key, knownHosts, reachable].every(each => each.state === 'ok');
  const call = canCall ? await tryCall(callOptions, known.config, label) : [];
  return [key, knownHosts, reachable, ...call, ...back, ...(isTold ? [] : [checkTransport(facts)])];
}

/** Where this client has no name, that is said of the config. */
async function tryCall(options: CallOptions, config: ClientConfig, label: string): Promise<Finding[]> {
  let name: string;
  try {
    name = clientName(config);
  } catch {
    return [];
  }
  return [await collectCall(options, label, name)];
}

const KEY = new Topic(
  'client.key',
  'it is what this machine calls with; ssh takes no key that others can read',
);

async function collectKey(path: string): Promise<Finding> {
  const quoted = quoteForShell(path);
  const make = `${keygenText(path)}, and enrol ${quoteForShell(`${path}.pub`)} on the host`;
  let found: ReturnType<typeof stat>;
  try {
    found = stat(path);
  } catch (error) {
    return failedWith(error, 'EACCES')
      ? KEY.unknown(`this account may not look at "${path}"`, inspectCommand(path))
      : KEY.critical(`there is no key "${path}"`, make);
  }
  const { uid, name } = ownAccount();
  // Root's may be readable by a group that this account is in: ssh looks at the mode of our own files alone.
  if (found.uid !== uid && (found.uid !== 0 || !mayRead(path)))
    return KEY.critical(`"${path}" belongs to uid ${found.uid}`, `chown ${name} ${quoted}`);
  if (found.uid === uid && (found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8);
    return KEY.critical(
      `"${path}" is open to others (mode ${mode}), and ssh does not take it`,
      `chmod 600 ${quoted}`,
    );
  }
  const {
    status: ended,
    stdout,
    stderr,
  } = await run(standard('ssh-keygen', ['-y', '-P', '', '-f', path]), {
    timeoutMs: PATIENCE_MS,
  });
  if (ended !== 0) {
    return /passphrase/.test(stderr)
      ? KEY.critical(
          `"${path}" has a passphrase, and nobody is there to enter it`,
          `ssh-keygen -p -N '' -f ${quoted}`,
        )
      : KEY.critical(`"${path}" is no private key: ${escapeText(stderr.trim(), 200)}`, make);
  }
  return checkHalves(path, stdout.toString('utf8'), readPublicHalf(path));
}

function readPublicHalf(path: string): string | undefined {
  try {
    return readWhole(`${path}.pub`, 65_536).toString('utf8');
  } catch {
    return undefined;
  }
}

/** ssh offers the key in the file beside it: another one is refused, whatever the private half is. */
export function checkHalves(path: string, own: string, beside: string | undefined): Finding {
  const blob = (text: string): string | undefined => text.trim().split(/\s+/)[1];
  if (beside !== undefined && blob(beside) !== blob(own)) {
    return KEY.critical(
      `"${path}.pub" is not the public half of "${path}"`,
      `ssh-keygen -y -f ${quoteForShell(path)} > ${quoteForShell(`${path}.pub`)}`,
    );
  }
  return KEY.ok(`"${path}" is a key that ssh takes`);
}

const KNOWN = new Topic(
  'client.known_hosts',
  "it has the backup host's key: nothing is trusted on first use, and who can write it decides whom we trust",
);

async function collectKnownHosts(path: string, called: Called): Promise<Finding> {
  const quoted = quoteForShell(path);
  const line = `the line \`${called.knownAs} KEYTYPE KEY\`, with the key from the host's administrator`;
  if (!exists(path)) {
    return KNOWN.critical(
      `there is no "${path}"`,
      `dialback enroll on the host prints its key; put ${line}, into "${path}"`,
    );
  }
  const trust = checkTrust(KNOWN, path, ownAccount().uid, `"${path}"`);
  if (trust.state !== 'ok') return trust;
  if (!mayRead(path)) return KNOWN.critical(`this account may not read "${path}"`, `chmod 600 ${quoted}`);
  const { status: ended } = await run(standard('ssh-keygen', ['-F', called.knownAs, '-f', path]), {
    timeoutMs: PATIENCE_MS,
  });
  return ended === 0
    ? KNOWN.ok(`"${path}" has a key of "${escapeText(called.knownAs)}"`)
    : KNOWN.critical(
        `"${path}" has no key of "${escapeText(called.knownAs)}"`,
        `put ${line}, into "${path}"`,
      );
}

const REACH = new Topic('client.reach', 'a backup begins with a call to the backup host');

/** What came of a connection to where the call would go, and between which addresses it was. */
export type Reached = { greeting: string; way: Way } | { found: string };

async function collectReach(called: Called): Promise<{ finding: Finding; way: Way | undefined }> {
  const { hostName, port, isProxied } = called;
  if (isProxied) {
    const untried = `"${escapeText(hostName)}" is called through another program, which was not tried`;
    return { finding: REACH.ok(untried), way: undefined };
  }
  const reached = await reach(hostName, port);
  return {
    finding: checkReach(hostName, port, reached),
    way: 'way' in reached ? reached.way : undefined,
  };
}

/**
 * Connects, and waits for the greeting that every sshd begins with (RFC 4253 section 4.2); says nothing itself.
 * @param greetingMs how long it waits once the connection is there
 */
export function reach(
  host: string,
  port: number,
  patienceMs = CONNECT_MS,
  greetingMs = GREETING_MS,
): Promise<Reached> {
  return new Promise(resolve => {
    let text = '';
    let way: Way | undefined;
    const socket = openConnection({ host, port });
    const end = (reached: Reached): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reached);
    };
    const endAfter = (ms: number, what: string): NodeJS.Timeout =>
      setTimeout(() => end({ found: `${what} within ${ms / 1000} s` }), ms);
    let timer = endAfter(patienceMs, 'no answer');
    socket.on('connect', () => {
      const { localAddress: source = '', remoteAddress: peer = '' } = socket;
      way = { source: unfold(source), peer: unfold(peer) };
      clearTimeout(timer);
      timer = endAfter(greetingMs, 'it says nothing');
    });
    socket.on('data', chunk => {
      text += chunk.toString('latin1');
      const greeting = /^SSH-[^\r\n]*(?=[\r\n])/m.exec(text)?.[0];
      if (greeting !== undefined && way) end({ greeting, way });
      else if (text.length > 8192) end({ found: 'what answers there is no sshd' });
    });
    socket.on('close', () =>
      end({ found: text === '' ? 'it hung up without a word' : 'what answers there is no sshd' }),
    );
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end({ found: CONNECT_ERRORS[error.code ?? ''] ?? error.message }),
    );
  });
}

const CONNECT_ERRORS: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to its network',
  ENOTFOUND: 'its name has no address here',
  EAI_AGAIN: 'its name cannot be looked up: the name service does not answer',
  ETIMEDOUT: 'no answer',
  ECONNRESET: 'it hung up without a word',
};

export function checkReach(host: string, port: number, reached: Reached): Finding {
  const where = `"${escapeText(host)}" port ${port}`;
  return 'greeting' in reached
    ? REACH.ok(`${where} answers (${escapeText(reached.greeting, 100)})`)
    : REACH.critical(
        `${where}: ${escapeText(reached.found)}`,
        `start its sshd, or set \`target\` in client.toml: user@host, or ssh://user@host:PORT`,
      );
}

const TRANSPORT = new Topic(
  'client.transport',
  'with "direct" the backup host connects back to this machine; with "channel" nobody does: the call is all there is',
);

/**
 * What of this account stands in the way of being dialled.
 * @param shell what was found of its shell
 */
function whyUndialled(name: string, shell: Finding): string | undefined {
  if (!LOGIN.test(name)) return `no host connects back to an account called "${escapeText(name)}"`;
  return shell.state === 'critical' ? shell.found : undefined;
}

/** What tells which transports would work for a remote. */
export interface TransportFacts {
  label: string;
  transport: Exclude<Remote['transport'], 'local'>;
  /** What of this account stands in the way of direct. */
  undialled: string | undefined;
  /** Undefined where the call goes through another program. */
  way: Way | undefined;
  /** When the host connected back, where it did so in the last run. */
  dialledAt: string | undefined;
}

/** Says which transports would work, and why; of direct it can only guess, since nobody is asked to connect. */
export function checkTransport(facts: TransportFacts): Finding {
  const { label, transport, undialled, way, dialledAt } = facts;
  const against = undialled ?? (way && findNat(way));
  const between = way
    ? `from ${way.source} to ${way.peer} nothing speaks of NAT`
    : 'the call goes through another program, and the host connects back to where that calls from';
  if (transport === 'channel') {
    const other =
      against !== undefined
        ? `would probably not work: ${against}`
        : way
          ? `would probably work too: ${between}`
          : `may work or not: ${between}`;
    return TRANSPORT.ok(`"${label}": channel, which works wherever the call does; direct ${other}`);
  }
  const next = `in the [[remote]] "${label}" of client.toml: transport = "channel", and neither \`from\` nor \`listen\``;
  const both = 'channel would work too';
  if (dialledAt !== undefined) {
    const though = against === undefined ? '' : `, though ${against}`;
    return TRANSPORT.ok(`"${label}": direct, which worked in the run of ${dialledAt}${though}; ${both}`);
  }
  if (against !== undefined)
    return TRANSPORT.warning(`"${label}": direct will probably not work: ${against}; channel will`, next);
  return way
    ? TRANSPORT.ok(`"${label}": direct will probably work: ${between}; ${both}`)
    : TRANSPORT.unknown(
        `"${label}": direct may work or not: ${between}; channel will`,
        `dialback backup; or ${next}`,
      );
}

/** When the last run of a remote let the host in that had connected back (client/gate.ts has the line); else undefined. */
export function lastDialled(journal: Record<string, unknown>[], remote: string): string | undefined {
  const own = journal.filter(line => line.remote === remote);
  const started = own.findLastIndex(line => line.event === 'started');
  const granted = own.slice(started + 1).find(line => line.event === 'granted');
  const isBack = typeof granted?.peer === 'string' && granted.peer !== NOBODY;
  return started >= 0 && isBack && typeof granted.time === 'string'
    ? escapeText(granted.time, 40)
    : undefined;
}

const FROM = new Topic('client.from', 'only these addresses may connect back');

async function collectFrom(remote: Remote, callOptions: CallOptions): Promise<Finding> {
  try {
    const ranges = await allowedPeers(remote, callOptions);
    if (ranges.length === 0)
      return FROM.critical('nobody may connect back', "name the host's addresses in `from` in client.toml");
    const whence = remote.from ? '`from`' : 'the host name in `target`';
    return FROM.ok(`${ranges.map(each => each.address).join(', ')}, by ${whence}`);
  } catch (error) {
    return FROM.fault(error, "name the host's addresses in `from` in client.toml");
  }
}

const LISTEN = new Topic('client.listen', 'the backup host connects back to where this machine listens');

/** Binds, and closes at once. A run that is under way listens itself, so its port is no finding. */
async function collectListen(where: string | undefined, isBusy: boolean, label: string): Promise<Finding> {
  const shown = where ?? 'a port of the system';
  const failed = await tryListening(where);
  return checkListen(shown, failed, isBusy, label);
}

function tryListening(where: string | undefined): Promise<string | undefined> {
  const { address, port } = where === undefined ? { port: 0 } : (parseListen(where) ?? { port: 0 });
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ ...(address ? { host: address } : {}), port, exclusive: true }, () =>
      server.close(() => resolve(undefined)),
    );
  });
}

/** @param failed errno's name, or undefined where it could listen */
export function checkListen(
  where: string,
  failed: string | undefined,
  isBusy: boolean,
  label: string,
): Finding {
  const port = /:(\d+)$/.exec(where)?.[1] ?? '';
  switch (failed) {
    case undefined:
      return LISTEN.ok(`can listen on ${where}`);
    case 'EADDRINUSE':
      return isBusy
        ? LISTEN.ok(`a run is under way, which listens on ${where}`)
        : LISTEN.critical(
            `another program listens on ${where}`,
            `ss -ltnp 'sport = :${port}' says which; or set \`listen\` of "${label}" in client.toml`,
          );
    case 'EACCES':
      return LISTEN.critical(
        `this account may not listen on ${where}`,
        `set \`listen\` of "${label}" in client.toml to a port from 1024 on`,
      );
    case 'EADDRNOTAVAIL':
      return LISTEN.critical(
        `${where} is no address of this machine`,
        `ip address lists them; set \`listen\` of "${label}" in client.toml`,
      );
    default:
      return LISTEN.critical(
        `${where}: ${escapeText(failed)}`,
        `set \`listen\` of "${label}" in client.toml`,
      );
  }
}

/** Whether somebody holds a lock on a file, without asking for it: that could get in a run's way. */
function isLocked(path: string): boolean {
  try {
    const { ino } = stat(path);
    return new RegExp(`^\\d+: FLOCK .*:${ino} \\d+ \\S+$`, 'm').test(readProc('locks') ?? '');
  } catch {
    return false;
  }
}

// --- the clocks ---

const CLOCK = new Topic(
  'client.clock',
  "snapshots are named, and will be kept or removed, by the host's clock; files are compared by this machine's",
);
const SKEW_MS = 60_000;

/** How far the host's clock is ahead (below zero: behind), and when that was seen. */
export interface Skew {
  skewMs: number;
  at: string;
}

/**
 * The difference of the two clocks, out of the last run that made a snapshot. A snapshot's name is the second in which the
 * host began it: after the client's run had started, and before the client let the host in. What lies between these two
 * on the client's clock is no difference.
 */
export function measureSkew(journal: Record<string, unknown>[], remote: string): Skew | undefined {
  const own = journal.filter(line => line.remote === remote);
  const end = own.findLastIndex(line => line.event === 'finished' && typeof line.snapshot === 'string');
  const before = own.slice(0, Math.max(0, end));
  const started = before.findLastIndex(line => line.event === 'started');
  const granted = before.findLastIndex(line => line.event === 'granted');
  const host = snapshotTime(String(own[end]?.snapshot))?.getTime();
  if (host === undefined || started < 0 || granted < started) return undefined;
  const [from = Number.NaN, to = Number.NaN] = [started, granted].map(index =>
    Date.parse(String(before[index]?.time)),
  );
  if (!(from <= to)) return undefined; // this machine's clock was set in between
  const skewMs = host > to ? host - to : host + 1000 < from ? host + 1000 - from : 0;
  return { skewMs, at: new Date(from).toISOString() };
}

export function checkClock(label: string, skew: Skew | undefined): Finding {
  if (!skew) return CLOCK.unknown(`no backup to "${label}" is on record that would tell`, 'dialback backup');
  const seconds = Math.round(Math.abs(skew.skewMs) / 1000);
  const when = `at the backup of ${skew.at}`;
  if (Math.abs(skew.skewMs) < SKEW_MS)
    return CLOCK.ok(`the clocks of this machine and of "${label}" agreed to the minute, ${when}`);
  return CLOCK.warning(
    `the clock of "${label}" was ${seconds} s ${skew.skewMs > 0 ? 'ahead of' : 'behind'} this one, ${when}`,
    'timedatectl set-ntp true, on the one that is wrong; then dialback backup',
  );
}
