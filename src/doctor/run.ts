/** `dialback doctor`: which side is looked at, and as whom; then all checks of it. */
import { basename } from 'node:path';
import { type ClientConfig, readClientConfig } from '../client/config.ts';
import { isLocal } from '../client/local.ts';
import { Fault } from '../fault.ts';
import { type HostConfig, readHostConfig } from '../host/config.ts';
import { asAccount, findSubject, ownAccount, type Subject } from '../os/account.ts';
import { ownExecutable } from '../os/executable.ts';
import { exists, stat } from '../os/files.ts';
import { endingText, PLAIN_ENVIRONMENT, run } from '../os/process.ts';
import { configPath, findConfig } from '../shared/toml.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { collectClient, isDialled } from './client.ts';
import { type Finding, type State, Topic } from './finding.ts';
import { collectHost, isAnyEnrolled } from './host.ts';
import { type Confinement, collectMachine, confinementOf, shellFacts, type Way } from './machine.ts';

export interface DoctorOptions {
  config: string | undefined;
  /** Undefined: each side whose config is found. */
  side: 'client' | 'host' | undefined;
}

const ACCOUNT = new Topic(
  'machine.account',
  'what an account may read and run decides what its backups have: another account is another machine',
);
const MACHINE = new Topic('machine.look', 'what was not looked at is not known to be well');
const SETUP = new Topic('machine.config', 'without a config this machine is neither a client nor a host');
const CLIENT = new Topic('client.config', 'without it there is no backup of this machine');
const HOST = new Topic('host.config', 'without it this machine keeps no backups');

/** Looks at everything, as the account that runs it; for root as the account that does the work. */
export async function doctor(options: DoctorOptions): Promise<Finding[]> {
  const { uid } = ownAccount();
  if (uid === 0) return await collectForRoot(options);
  const subject = (await findSubject(uid)) ?? { ...ownAccount(), shell: '/bin/sh' };
  return [checkHome(subject, ownAccount().home), ...(await collect(options, subject))];
}

/** cron and sshd go by the password file: with another HOME other files are looked at than theirs. */
export function checkHome({ name, uid, home }: Subject, own: string): Finding {
  const who = `looked at as "${name}" (uid ${uid})`;
  return own === home
    ? ACCOUNT.ok(who)
    : ACCOUNT.warning(
        `${who}, with the home folder "${escapeText(own)}" and not "${escapeText(home)}"`,
        `HOME=${quoteForShell(home)} dialback doctor`,
      );
}

/** The config of a side: its path and what is in it, or what is wrong with it. */
type Side<T> = { path: string; config: T } | { finding: Finding } | undefined;

function readSide<T>(topic: Topic, find: () => string | undefined, read: (path: string) => T): Side<T> {
  try {
    const path = find();
    return path === undefined ? undefined : { path, config: read(path) };
  } catch (error) {
    return { finding: topic.fault(error, 'compare it with the samples in /etc/dialback') };
  }
}

/** The config file of a side, if that side is to be looked at. @throws Fault where it was asked for and is not there */
function pathOf(side: 'client' | 'host', options: DoctorOptions): string | undefined {
  const fileName = `${side}.toml` as const;
  if (options.side === side) return configPath(fileName, options.config);
  return options.side === undefined ? findConfig(fileName) : undefined;
}

/** The host.toml that are in use by this client itself, for a store on this machine; doctor/client.ts says where there is none. */
function localHosts(config: ClientConfig): string[] {
  const named = config.remote.filter(isLocal).map(each => each.host_config ?? findConfig('host.toml'));
  return [...new Set(named.filter(each => each !== undefined))];
}

/** The host's side of this machine, if it has one, and then those stores of its own that have another host.toml. */
function hostSides(options: DoctorOptions, own: string[]): Side<HostConfig>[] {
  const usual = readSide<HostConfig>(HOST, () => pathOf('host', options), readHostConfig);
  if (options.side === 'host') return [usual];
  const paths = own.filter(each => !(usual && 'path' in usual && usual.path === each));
  const others = paths.map(each => readSide<HostConfig>(HOST, () => each, readHostConfig));
  return usual ? [usual, ...others] : others;
}

async function collect(asked: DoctorOptions, subject: Subject): Promise<Finding[]> {
  const options = { ...asked, side: sideOf(asked) };
  const client = readSide<ClientConfig>(CLIENT, () => pathOf('client', options), readClientConfig);
  const own = client && 'config' in client ? localHosts(client.config) : [];
  const [host, ...disks] = hostSides(options, own);
  const clientConfinement =
    client && 'config' in client ? confinementOf('client', chosenBy(client.config)) : undefined;
  const hostConfinement =
    host && 'config' in host ? confinementOf('host', chosenByHost(host.config)) : undefined;
  const shell = await shellFacts(subject);
  const clientSide = await collectSide(client, CLIENT, clientConfinement, side =>
    collectClient({ ...side, shell }),
  );
  const look = (each: Side<HostConfig>): Promise<Examined> =>
    collectSide(
      each,
      HOST,
      each && 'config' in each ? confinementOf('host', chosenByHost(each.config)) : undefined,
      side => collectHost({ ...side, subject, isLocal: own.includes(side.path) }),
    );
  const hostSide = await look(host);
  for (const disk of disks) hostSide.findings.push(...(await look(disk)).findings);
  const isCalled = !(host && 'config' in host && own.includes(host.path)) || isAnyEnrolled();
  const machine = await collectMachineSafely({
    subject,
    client: clientConfinement,
    host: hostConfinement,
    isClient: client !== undefined,
    isHost: host !== undefined && isCalled,
    isDialled: client !== undefined && (!('config' in client) || isDialled(client.config)),
    shell,
    landlockAbi: clientSide.landlockAbi ?? hostSide.landlockAbi,
  });
  const none = SETUP.warning(
    'there is neither a client.toml nor a host.toml (in ~/.config/dialback and /etc/dialback)',
    'on a client: dialback init; on a host: dialback enroll NAME KEYFILE',
  );
  return [...machine, ...(client || host ? [] : [none]), ...clientSide.findings, ...hostSide.findings];
}

/** What a side found, and the kernel's Landlock ABI where it tried its jail. */
interface Examined {
  findings: Finding[];
  landlockAbi: number | undefined;
}

async function collectSide<T>(
  side: Side<T>,
  topic: Topic,
  confinement: Confinement | undefined,
  look: (options: { config: T; path: string; confinement: Confinement }) => Promise<Examined>,
): Promise<Examined> {
  if (!side) return { findings: [], landlockAbi: undefined };
  if ('finding' in side) return { findings: [side.finding], landlockAbi: undefined };
  const { config, path } = side;
  const found = topic.ok(`"${path}"`);
  try {
    const chosen = confinement ?? confinementOf(topic === CLIENT ? 'client' : 'host', undefined);
    const { findings, landlockAbi } = await look({ config, path, confinement: chosen });
    return { findings: [found, ...findings], landlockAbi };
  } catch (error) {
    return { findings: [found, cutShort(topic, error)], landlockAbi: undefined };
  }
}

async function collectMachineSafely(options: Parameters<typeof collectMachine>[0]): Promise<Finding[]> {
  try {
    return await collectMachine(options);
  } catch (error) {
    return [cutShort(MACHINE, error)];
  }
}

/** A check that could not be made must not hide the others. */
function cutShort(topic: Topic, error: unknown): Finding {
  if (!(error instanceof Fault)) throw error;
  return topic.unknown(
    `not all could be looked at: Cannot ${error.tried}: ${error.found}`,
    error.next ?? 'see what that program does by itself; then dialback doctor',
  );
}

/** @throws Fault where --config names a file that could be either */
function sideOf({ config, side }: DoctorOptions): DoctorOptions['side'] {
  if (config === undefined || side !== undefined) return side;
  const name = basename(config);
  if (name === 'client.toml' || name === 'host.toml') return name === 'client.toml' ? 'client' : 'host';
  throw new Fault({
    tried: 'run "doctor"',
    found: `whose config "${escapeText(config)}" is, its name does not tell`,
    next: 'say --client or --host as well',
    exit: 'usage',
  });
}

function chosenBy(config: ClientConfig): Way | undefined {
  return config.capability;
}

function chosenByHost({ confined }: HostConfig): Way | undefined {
  return confined === undefined ? undefined : confined ? 'confined' : 'none';
}

// --- as root ---

const SERVICE = 'dialback';
/** Longer than any of its parts may take. */
const CHILD_MS = 180_000;

/**
 * No backup is made as root, and what root may do says nothing of the account that makes them. So that account is asked:
 * whose config or store it is, else the one that `make install` makes.
 */
async function collectForRoot(options: DoctorOptions): Promise<Finding[]> {
  sideOf(options);
  const subject = await subjectForRoot(options);
  if (!subject) {
    const root = { ...ownAccount(), shell: '/bin/sh' };
    return [
      ACCOUNT.unknown(
        'this is root, and there is no telling for which account it looks',
        asAccount('ACCOUNT', 'dialback doctor'),
      ),
      ...(await collectMachineSafely({
        subject: root,
        client: undefined,
        host: undefined,
        isClient: false,
        isHost: false,
        isDialled: false,
        shell: undefined,
        landlockAbi: undefined,
      })),
    ];
  }
  const args = [
    'doctor',
    '--json',
    ...(options.config === undefined ? [] : ['--config', options.config]),
    ...(options.side === undefined ? [] : [`--${options.side}`]),
  ];
  const { name, uid, gid, home, shell } = subject;
  const ended = await run(
    {
      program: ownExecutable(),
      args,
      environment: { ...PLAIN_ENVIRONMENT, HOME: home, USER: name, LOGNAME: name, SHELL: shell },
      account: { uid, gid },
    },
    { timeoutMs: CHILD_MS },
  );
  const findings = parseFindings(ended.stdout.toString('utf8'));
  if (!findings) {
    const words = escapeText(ended.stderr.trim().split('\n')[0] ?? '', 200);
    return [
      ACCOUNT.critical(
        `"${name}" cannot look: ${words || endingText(ended)}`,
        asAccount(name, `${ownExecutable()} doctor`),
      ),
    ];
  }
  const own = ACCOUNT.ok(`looked at as "${name}" (uid ${uid}), though root asks`);
  return [own, ...findings.filter(each => each.check !== own.check)];
}

async function subjectForRoot({ config }: DoctorOptions): Promise<Subject | undefined> {
  for (const owner of [ownerOf(config), ownerOf(storeForRoot(config)), SERVICE]) {
    if (owner === undefined || owner === 0) continue;
    const subject = await findSubject(owner);
    if (subject) return subject;
  }
  return undefined;
}

function storeForRoot(named: string | undefined): string | undefined {
  const path = named ?? findConfig('host.toml');
  try {
    return path === undefined ? undefined : readHostConfig(path).store;
  } catch {
    return undefined; // the account itself says what is wrong with it
  }
}

function ownerOf(path: string | undefined): number | undefined {
  return path !== undefined && exists(path) ? stat(path).uid : undefined;
}

const STATES: readonly State[] = ['ok', 'warning', 'critical', 'unknown'];

/** What `doctor --json` printed, or undefined where it is nothing of the kind. */
export function parseFindings(text: string): Finding[] | undefined {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(found) || !found.every(isFinding)) return undefined;
  return found;
}

function isFinding(value: unknown): value is Finding {
  if (typeof value !== 'object' || value === null) return false;
  const { check, state, found, why, next } = value as Record<string, unknown>;
  return (
    [check, found, why].every(each => typeof each === 'string') &&
    STATES.includes(state as State) &&
    (next === null || typeof next === 'string')
  );
}
