/** The checks of a client, in their order. */
import { resolveCall } from '../client/call.ts';
import {
  type ClientConfig,
  calledRemotes,
  callFiles,
  clientName,
  type Remote,
  remoteLock,
  remoteName,
  stateFolder,
} from '../client/config.ts';
import { tryJail } from '../client/jail.ts';
import { isLocal } from '../client/local.ts';
import { mergePlaces, type Place } from '../client/never.ts';
import { readNeverList } from '../client/never-list.ts';
import { probeCall } from '../client/probe-call.ts';
import { findHungMounts, findPlaces } from '../client/scope.ts';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { readJournal } from '../os/journal.ts';
import { type Jail, landlockAbiOf } from '../os/launcher.ts';
import { isLocked } from '../os/runfolder.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { asText } from '../wire/text.ts';
import { checkClock, measureSkew } from './clock.ts';
import { collectName } from './config.ts';
import { CONNECT_MS, checkCall, checkReach, checkUnresolved, collectReach } from './connection.ts';
import { collectDisk } from './disk.ts';
import type { Finding } from './finding.ts';
import { collectHooks } from './hooks.ts';
import {
  type Confinement,
  checkClientConfinement,
  checkClientJail,
  checkSender,
  collectSender,
} from './jails.ts';
import { readSecurityModules } from './machine.ts';
import { checkNever, collectMissingNevers, collectNever } from './never.ts';
import { collectNeverList } from './never-list.ts';
import { checkClientRuns } from './runs.ts';
import {
  checkHungMounts,
  checkRefusedRoots,
  checkRoots,
  collectExcludes,
  collectLeftOutRoots,
  collectPackageLists,
  collectRootFacts,
  collectRoots,
  collectStoresInScope,
  type Ground,
} from './scope.ts';
import { checkShell, type ShellFacts } from './shell.ts';
import { collectKey, collectKnownHosts } from './ssh-keys.ts';
import { collectClientState } from './state-folder.ts';
import {
  checkListen,
  checkTransport,
  collectFrom,
  collectOwnSshd,
  lastDialed,
  tryListening,
  whyUndialed,
} from './transport.ts';

/**
 * Makes all checks of a client.
 * @param path client.toml, for the next steps
 * @param shell the facts about the account's shell
 * @returns the findings, and the kernel's Landlock ABI if a jail was tried
 */
export async function collectClient(options: {
  config: ClientConfig;
  path: string;
  confinement: Confinement;
  shell: ShellFacts;
}): Promise<{ findings: Finding[]; landlockAbi: number | undefined }> {
  const { config, path, confinement, shell } = options;
  const state = stateFolder(config, undefined);
  const hung = await findHungMounts(config, readableNevers());
  const found = collectRoots(config, hung);
  const ground: Ground = { roots: found instanceof Fault ? [] : found, hung };
  const { jail, places } =
    confinement.way === 'confined'
      ? await tryJail(config, state, ground.roots, hung)
      : { jail: undefined, places: [] };
  const sender = jail instanceof Fault ? undefined : await collectSender(config, state, ground, confinement);
  const canConfine = readSecurityModules()?.includes('landlock') ?? false;
  const findings = [
    checkClientConfinement(confinement, path, canConfine),
    ...(jail === undefined ? [] : [checkClientJail(jail)]),
    ...(sender === undefined ? [] : [checkSender(sender)]),
    ...(await collectOwnSshd(config)),
    collectName(config),
    collectClientState(state),
    collectExcludes(config),
    ...collectPackageLists(config, now().getTime()),
    ...(found instanceof Fault
      ? [checkRefusedRoots(found)]
      : checkRoots(collectRootFacts(ground), confinement)),
    ...(await collectLeftOutRoots(config, state, ground)),
    ...collectStoresInScope(config, state, ground),
    ...checkHungMounts(hung),
    ...collectNevers(config, hung, confinement, { jail, places }),
    ...collectHooks('client', config.hooks),
    ...(await collectRemotes(config, state, shell)),
  ];
  return { findings, landlockAbi: landlockAbiOf(jail) };
}

/** The administrator's list, without a word about one that cannot be read: `client.never_list` reports it. */
function readableNevers(): string[] {
  try {
    return readNeverList();
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
}

/** Checks both lists of paths that no backup reads: the config's, and the administrator's if the launcher is used. */
function collectNevers(
  config: ClientConfig,
  hung: readonly string[],
  { way }: Confinement,
  { jail, places }: { jail: Jail | Fault | undefined; places: Place[] },
): Finding[] {
  const keys = calledRemotes(config).map(each => callFiles(each).identity);
  const own = findPlaces([...config.scope.never, ...keys], 'account', hung);
  const isJailed = jail !== undefined && !(jail instanceof Fault);
  const listed = way === 'none' ? { findings: [], paths: [] } : collectNeverList(isJailed);
  const nevers = [...own, ...findPlaces(listed.paths, 'root', hung)];
  const hungNames = hung.map(asText);
  return [
    ...listed.findings,
    ...collectMissingNevers([...config.scope.never, ...listed.paths], hungNames),
    ...checkNever(collectNever(mergePlaces(nevers, places, []), config.scope.roots, hungNames)),
  ];
}

/** Checks the disks, the runs and the connections of all remotes. */
async function collectRemotes(config: ClientConfig, state: string, shell: ShellFacts): Promise<Finding[]> {
  const journal = readJournal(state);
  const known: Known = {
    isBusy: config.remote.some(each => isLocked(remoteLock(state, each))),
    undialed: whyUndialed(ownAccount().name, checkShell({ ...shell, isDialed: true })),
    journal,
    config,
  };
  const findings = [
    ...config.remote.filter(isLocal).map(each => collectDisk(config, each)),
    ...config.remote.flatMap(each => checkClientRuns(journal, remoteName(each))),
  ];
  for (const remote of calledRemotes(config)) {
    const label = remoteName(remote);
    findings.push(...(await collectRemote(remote, label, known)));
    findings.push(checkClock(label, measureSkew(journal, label)));
  }
  return findings;
}

/** Facts about this machine that the checks of a remote need. */
interface Known {
  /** A run is under way. */
  isBusy: boolean;
  /** Why no host can connect back to this account. */
  undialed: string | undefined;
  journal: Record<string, unknown>[];
  config: ClientConfig;
}

/** Checks the way to a host, and for "direct" the way back. */
async function collectRemote(remote: Remote, label: string, known: Known): Promise<Finding[]> {
  const files = callFiles(remote);
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
  let called: Awaited<ReturnType<typeof resolveCall>>;
  try {
    called = await resolveCall(callOptions);
  } catch (error) {
    return [key, checkUnresolved(error)];
  }
  const knownHosts = await collectKnownHosts(files.knownHosts, called);
  const reached = await collectReach(called);
  const reachable = checkReach(called, reached);
  const isDirect = remote.transport === 'direct';
  const back = isDirect
    ? [
        await collectFrom(remote, callOptions),
        checkListen(remote.listen, await tryListening(remote.listen), known.isBusy, label),
      ]
    : [];
  const facts = {
    label,
    transport: isDirect ? ('direct' as const) : ('channel' as const),
    undialed: known.undialed,
    way: reached && 'way' in reached ? reached.way : undefined,
    dialedAt: lastDialed(known.journal, label),
  };
  // Other findings already report a host that cannot be reached, and an account that no host can connect back to.
  const isReported = reachable.state !== 'ok' || (isDirect && known.undialed !== undefined);
  const canCall = [key, knownHosts, reachable].every(each => each.state === 'ok');
  const call = canCall ? await tryCall(callOptions, known.config, label) : [];
  return [key, knownHosts, reachable, ...call, ...back, ...(isReported ? [] : [checkTransport(facts)])];
}

/** Calls the host, unless this client has no name, which `client.name` reports. */
async function tryCall(options: CallOptions, config: ClientConfig, label: string): Promise<Finding[]> {
  let name: string;
  try {
    name = clientName(config);
  } catch {
    return [];
  }
  return [checkCall(await probeCall(options, name), label, name)];
}
