/**
 * A trial of the installed rsync before the host is called: it must serve one file as the daemon of this run would, and then
 * withstand the attacks of wire/attacks.ts.
 *
 * A version number does not say whether an rsync works as a daemon or keeps a file back, because distributions backport bugs and
 * fixes. So the binary itself is tried, with the rsyncd.conf of this run; and where the run is confined, in the launcher's jail
 * with the scope of this run. The result is kept until a binary or the config changes.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { settleAll, withTimeout } from '../os/async.ts';
import { asBytes } from '../os/byte-path.ts';
import { sleep } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder, realPath, removeAll, statusExact } from '../os/files.ts';
import { launcherCommand, tryConfinement } from '../os/launcher.ts';
import type { Command } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { ATTACKED_FILES, attacksOn, KEPT, SERVED } from '../wire/attacks.ts';
import { daemonConfig, trialArguments } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';
import { makeAttack } from './attack.ts';
import type { Capability } from './config.ts';
import { scopeFilter, scopeRecords } from './filter.ts';
import { startOwnPull } from './own-pull.ts';
import { senderCommand, writeDaemonFiles, writeScope } from './sender.ts';
import { readState, writeState } from './state-file.ts';

const TRIAL_MS = 30_000;
const LAST_WORDS_MS = 1_000;
const LINE_LIMIT = 4096;
const WORDS_LIMIT = 10;

interface TrialOptions {
  /** A private folder, in which the trial makes and removes its own folders. */
  folder: string;
  capability: Capability;
  /** The scope of this run. */
  scope: { roots: string[]; never: string[] };
  /** The shared libraries of rsync, which the jail must let it read. */
  libraries: string[];
  /** The options of this run's rsyncd.conf, without the filter. */
  daemon: Omit<Parameters<typeof daemonConfig>[0], 'filter'>;
  interrupt: AbortSignal;
}

/** The rights that this rsync needs. */
export interface SenderNeeds {
  /**
   * Whether it opens folders above the roots for reading, so that the jail must let it list all folders (docs/security.md, "What
   * stays open"). 3.4.3, 3.4.4 and backports of their fix for CVE-2026-29518 open the module's folder for each file.
   */
  listsAll: boolean;
}

/**
 * Tries the installed rsync, unless these binaries and this config have passed before.
 * @param state the state folder, in which the result is kept
 * @throws Fault as `trySender()`
 */
export async function requireSender(state: string, options: TrialOptions): Promise<SenderNeeds> {
  const seen = fingerprint(options);
  const found = readState(pathIn(state), options.capability);
  if (isPassed(found) && found.seen === seen) return { listsAll: found.listsAll };
  const needs = await trySender(options);
  await note(state, options.capability, { seen, ...needs });
  return needs;
}

/** Forgets the result after a run in which rsync did not work, so that the next run tries again. Does not fail. */
export async function forgetSender(state: string, capability: Capability): Promise<void> {
  await note(state, capability, undefined);
}

/** A result that cannot be written is not a failure of this run: the next run tries again. */
async function note(state: string, capability: Capability, value: Passed | undefined): Promise<void> {
  await writeState(pathIn(state), capability, value).catch(() => {});
}

const pathIn = (state: string): string => `${state}/rsync.json`;

interface Passed extends SenderNeeds {
  seen: string;
}

function isPassed(value: unknown): value is Passed {
  if (typeof value !== 'object' || value === null) return false;
  const { seen, listsAll } = value as Record<string, unknown>;
  return typeof seen === 'string' && typeof listsAll === 'boolean';
}

/** Changes with each binary that takes part, with the config that we write, and with the trial itself. */
function fingerprint({ capability, scope, daemon }: TrialOptions): string {
  const files = [
    programPath('rsync'),
    ...(capability === 'confined' ? [launcherCommand([]).program] : []), // throws where there is no launcher
  ];
  const identities = files.map(path => {
    const { ino, size, mtimeNs, ctimeNs } = statusExact(realPath(path));
    return [path, ino, size, mtimeNs, ctimeNs].join(' ');
  });
  const form = [
    daemonConfig({ ...daemon, filter: '', idleSeconds: 0 }), // A timeout does not change what rsync can do.
    scopeFilter({ roots: ['/'], never: [], excludes: [] }),
    ...attacksOn('').map(({ request }) => request.toString('latin1')),
  ];
  const isWholeMachine = String(scope.roots.includes('/'));
  return createHash('sha256')
    .update([...identities, ...form, isWholeMachine].join('\n'))
    .digest('hex');
}

/**
 * Starts rsync as the daemon, reads one file through it, and attacks it.
 * @throws Fault that names the rsync, its message or the attack that succeeded, and the package to install
 */
export async function trySender(options: TrialOptions): Promise<SenderNeeds> {
  const isConfined = options.capability === 'confined';
  let words = await serveOneFile(options, false);
  if (words === undefined) return { listsAll: false };
  // With the whole machine as the scope, rsync may list every folder already.
  if (isConfined && !options.scope.roots.includes('/')) {
    const first = words;
    words = await serveOneFile(options, true);
    if (words === undefined) return { listsAll: true };
    words = first;
  }
  const said = words.length === 0 ? 'it said nothing' : words.map(each => escapeText(each, 400)).join(' | ');
  throw new Fault({
    tried: `read a file through "${programPath('rsync')}"`,
    found: `${await nameRsync()} cannot serve one as a daemon, as rsync 3.2.3 and later do: ${said}`,
    next: INSTALL,
    code: 'config',
  });
}

const INSTALL = 'apt-get update && apt-get install rsync';

/** The beginning of a sentence. */
async function nameRsync(): Promise<string> {
  const words = await rsyncWords();
  const version = await rsyncVersion(words);
  if (version !== 'unknown') return `rsync ${version}`;
  return /^openrsync\b/.test(words)
    ? 'it is openrsync, and'
    : 'its --version does not say that it is an rsync, and it';
}

/**
 * Serves one file and, if it arrives, attacks the same rsync.
 * @returns undefined where the file arrived; otherwise the messages of both rsyncs
 * @throws Fault where an attack succeeds
 */
async function serveOneFile(options: TrialOptions, listsAll: boolean): Promise<string[] | undefined> {
  const { folder, capability, scope, libraries, daemon, interrupt } = options;
  const runFolder = `${folder}/run-trial0`; // The launcher accepts only a name of this form.
  const out = `${folder}/trial`;
  const served = `${runFolder}/rsyncd`; // The launcher lets rsync read this folder.
  await using held = new AsyncDisposableStack();
  for (const path of [runFolder, out]) {
    held.defer(() => removeAll(path));
    makeFolder(path);
  }
  writeDaemonFiles(runFolder, {
    daemonConfig: daemonConfig({ ...daemon, filter: `${served}/filter` }),
    // With the whole machine as the scope, the filter has the fewest rules.
    filter: scopeFilter({ roots: ['/'], never: [asBytes(`${served}/${KEPT}`)], excludes: [] }),
  });
  writeScope(runFolder, scopeRecords(scope, libraries, listsAll));
  for (const [name, content] of Object.entries(ATTACKED_FILES)) writeNew(`${served}/${name}`, content);
  if (capability === 'confined') await tryConfinement(runFolder); // Its message says more than "no file came".
  const sender = senderCommand(runFolder, capability, 0);
  const words = await copyOneFile(held, sender, runFolder, out, options);
  const arrived = `${out}${served}/${SERVED}`;
  const isThere = exists(arrived) && readWhole(arrived, 1024).toString('latin1') === ATTACKED_FILES[SERVED];
  if (!isThere) return words;
  await requireDefense(sender, served, interrupt);
  return undefined;
}

/**
 * Copies the file from the sender to a receiving rsync, through the same copier as on a host.
 * @param out where the file arrives
 * @returns the messages of both rsyncs
 */
async function copyOneFile(
  held: AsyncDisposableStack,
  sender: Command,
  runFolder: string,
  out: string,
  { capability, interrupt }: TrialOptions,
): Promise<string[]> {
  const words: string[] = [];
  const keep = (line: string): void => {
    if (line !== '' && !/^dialback-/.test(line) && words.length < WORDS_LIMIT) words.push(line);
  };
  const file = `${runFolder}/rsyncd/${SERVED}`;
  try {
    const { serving, receiving } = await startOwnPull(held, {
      ...{ folder: runFolder, capability, sender, idleSeconds: TRIAL_MS / 1000 },
      receiver: shell => trialArguments({ file, tree: out, shell }),
    });
    eachLine(serving.stderr, LINE_LIMIT, keep);
    receiving.stdout?.resume();
    eachLine(receiving.stderr, LINE_LIMIT, keep);
    await withTimeout(interrupt, TRIAL_MS, receiving.ended, lateTrial);
    await Promise.race([serving.ended, sleep(LAST_WORDS_MS)]);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== LATE) throw error;
    words.push(error.found);
  }
  return words;
}

/** @throws Fault where this rsync gives a hostile host a file that the scope keeps back */
async function requireDefense(sender: Command, served: string, signal: AbortSignal): Promise<void> {
  const attacks = attacksOn(served);
  const options = { signal, timeoutMs: TRIAL_MS, late: lateTrial };
  const replies = await settleAll(attacks.map(each => makeAttack(sender, each, options)));
  const lost = attacks.find((each, at) => each.succeeds(replies[at] ?? ''));
  if (lost === undefined) return;
  throw new Fault({
    tried: `let a backup host read through "${programPath('rsync')}"`,
    found: `${await nameRsync()} does not keep to the scope when a host ${lost.how}`,
    next: INSTALL,
    code: 'config',
  });
}

const LATE = 'late-trial';

function lateTrial(): Fault {
  return new Fault({ tried: 'try rsync', found: `nothing came within ${TRIAL_MS / 1000} s`, code: LATE });
}
