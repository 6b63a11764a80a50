/**
 * `dialback doctor`: all checks, in their order. It changes nothing on the machine, and needs no root: a fact that the account cannot
 * see is `unknown`, never `ok`.
 *
 * Most checks are two functions: `collectX()` looks at the machine, and `checkX()` decides from these facts.
 */
import { Fault } from '../fault.ts';
import type { Subject } from '../os/account.ts';
import { ownAccount } from '../os/account.ts';
import { jailPath, launcherPath } from '../os/launcher.ts';
import { askAccount, checkHome, checkUnknownAccount, ownSubject, subjectForRoot } from './account.ts';
import { isAnyEnrolled } from './authorized-keys.ts';
import { checkInherited, collectInherited } from './capability.ts';
import { collectClient } from './client.ts';
import {
  CLIENT_CONFIG,
  checkNoConfig,
  type DoctorOptions,
  HOST_CONFIG,
  readSides,
  type Side,
  sideOf,
} from './config.ts';
import { type Finding, Topic } from './finding.ts';
import { collectHost } from './host.ts';
import { type Confinement, clientConfinement, hostConfinement } from './jails.ts';
import {
  checkFolders,
  checkJailProgram,
  checkLauncher,
  collectFolders,
  collectJailProgram,
  collectLauncher,
} from './launcher.ts';
import { checkExecutable, checkKernel, checkProcess, collectKernel, readOwnStatus } from './machine.ts';
import { checkPrograms, missingPrograms } from './programs.ts';
import { checkShell, collectShell, type ShellFacts } from './shell.ts';
import { isDialed } from './transport.ts';
import { checkVersions, collectVersions } from './versions.ts';

/**
 * Makes all checks as the account that runs it, or for root as the account that makes the backups.
 * @throws Fault if `--config` names a file that could belong to either side
 */
export async function doctor(options: DoctorOptions): Promise<Finding[]> {
  const own = ownAccount();
  if (own.uid !== 0) {
    const subject = await ownSubject();
    return [checkHome(subject, own.home), ...(await collect(options, subject))];
  }
  sideOf(options);
  const subject = await subjectForRoot(options);
  if (subject) return await askAccount(subject, options);
  return [checkUnknownAccount(), ...(await collectMachine(bareMachine({ ...own, shell: '/bin/sh' })))];
}

async function collect(options: DoctorOptions, subject: Subject): Promise<Finding[]> {
  const { client, host, disks, local } = readSides(options);
  const confinements = {
    client: client && 'config' in client ? clientConfinement(client.config) : undefined,
    host: host && 'config' in host ? hostConfinement(host.config) : undefined,
  };
  const shell = await collectShell(subject);
  const clientSide = await collectSide(client, CLIENT_CONFIG, ({ config, path }) =>
    collectClient({ config, path, confinement: clientConfinement(config), shell }),
  );
  const look = (side: typeof host): Promise<Looked> =>
    collectSide(side, HOST_CONFIG, ({ config, path }) =>
      collectHost({
        config,
        path,
        confinement: hostConfinement(config),
        subject,
        isLocal: local.includes(path),
      }),
    );
  const hostSide = await look(host);
  for (const disk of disks) hostSide.findings.push(...(await look(disk)).findings);
  const isCalled = !(host && 'config' in host && local.includes(host.path)) || isAnyEnrolled();
  const machine = await collectMachine({
    subject,
    confinements,
    isClient: client !== undefined,
    isHost: host !== undefined && isCalled,
    isDialed: client !== undefined && (!('config' in client) || isDialed(client.config)),
    shell,
    landlockAbi: clientSide.landlockAbi ?? hostSide.landlockAbi,
  });
  const none = client || host ? [] : [checkNoConfig()];
  return [...machine, ...none, ...clientSide.findings, ...hostSide.findings];
}

/** The findings of a side, and the kernel's Landlock ABI if its jail was tried. */
interface Looked {
  findings: Finding[];
  landlockAbi: number | undefined;
}

async function collectSide<T>(
  side: Side<T>,
  topic: Topic,
  look: (side: { config: T; path: string }) => Promise<Looked>,
): Promise<Looked> {
  if (!side) return { findings: [], landlockAbi: undefined };
  if ('finding' in side) return { findings: [side.finding], landlockAbi: undefined };
  const found = topic.ok(`"${side.path}"`);
  try {
    const { findings, landlockAbi } = await look(side);
    return { findings: [found, ...findings], landlockAbi };
  } catch (error) {
    return { findings: [found, cutShort(topic, error)], landlockAbi: undefined };
  }
}

/** Reports the error that ended the checks of a part, so that the other parts are checked all the same. */
function cutShort(topic: Topic, error: unknown): Finding {
  if (!(error instanceof Fault)) throw error;
  return topic.unknown(
    `some checks were not made: Cannot ${error.tried}: ${error.found}`,
    error.next ?? 'run that program by itself to see why; then dialback doctor',
  );
}

const MACHINE = new Topic('machine.look', 'a part of the machine that was not checked may be broken');

/** Facts about the two sides that the checks of the machine need. */
interface MachineOptions {
  subject: Subject;
  /** Undefined for a side that has no config, or one that cannot be read. */
  confinements: { client: Confinement | undefined; host: Confinement | undefined };
  isClient: boolean;
  isHost: boolean;
  /** A host connects back to this client: it needs an sshd and a shell. */
  isDialed: boolean;
  /** Undefined if doctor did not look at the shell. */
  shell: ShellFacts | undefined;
  /** The kernel's Landlock ABI; undefined if no jail was tried. */
  landlockAbi: number | undefined;
}

/** A machine that is neither a client nor a host. */
function bareMachine(subject: Subject): MachineOptions {
  return {
    subject,
    confinements: { client: undefined, host: undefined },
    isClient: false,
    isHost: false,
    isDialed: false,
    shell: undefined,
    landlockAbi: undefined,
  };
}

/** Checks the machine itself: programs, kernel, launcher, shell. */
async function collectMachine(options: MachineOptions): Promise<Finding[]> {
  const { subject, confinements, isHost, isDialed, shell, landlockAbi } = options;
  const { client, host } = confinements;
  const lends = client !== undefined && client.way !== 'none';
  const receives = host?.way === 'confined';
  const confines = client?.way === 'confined' || receives;
  const program = lends ? launcherPath() : jailPath();
  try {
    return [
      checkPrograms(missingPrograms(options)),
      ...checkVersions(await collectVersions(), isDialed),
      checkKernel(collectKernel(), { landlockAbi, isNeeded: confines, isHost }),
      checkExecutable(subject),
      ...(lends ? [checkProcess(readOwnStatus())] : []),
      ...(lends ? checkLauncher(await collectLauncher(subject)) : []),
      ...(receives ? [checkJailProgram(collectJailProgram(subject))] : []),
      ...(lends || receives ? [checkFolders(program, collectFolders(program))] : []),
      ...(client?.way === 'inherited' ? checkInherited(await collectInherited()) : []),
      ...(shell && (isDialed || isHost) ? [checkShell({ ...shell, isDialed })] : []),
    ];
  } catch (error) {
    return [cutShort(MACHINE, error)];
  }
}
