/**
 * A trial of the installed rsync before the host is called: it serves one file as the daemon of this run would, and then
 * withstands the attacks of wire/attacks.ts.
 *
 * Version numbers tell neither whether an rsync works as a daemon nor whether it keeps a file back, because distributions
 * backport both bugs and fixes. So the binary is asked: it runs with this run's rsyncd.conf, and where the run is confined, in
 * the launcher's jail with this run's scope. The result is remembered for as long as the binaries and the config stay the same.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { settleAll, withTimeout } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { makePipe } from '../os/fifo.ts';
import { close, exists, makeFolder, realPath, removeAll, statusExact } from '../os/files.ts';
import { launcherCommand, launcherPath, tryConfinement } from '../os/launcher.ts';
import { type Command, PLAIN_ENVIRONMENT, standard, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { ATTACKED_FILES, attacksOn, KEPT, SERVED } from '../wire/attacks.ts';
import { daemonArguments, daemonConfig, trialArguments } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';
import { makeAttack } from './attack.ts';
import type { Capability } from './config.ts';
import { writeDaemonFiles, writeScope } from './direct.ts';
import { scopeFilter, scopeRecords } from './filter.ts';
import { asBytes } from './scope.ts';
import { readState, writeState } from './state-file.ts';

const TRIAL_MS = 30_000;
const LAST_WORDS_MS = 1_000;
const LINE_LIMIT = 4096;
const WORDS_LIMIT = 10;

/** What a trial goes by. */
export interface TrialOptions {
  /** A private folder, in which the trial makes and removes a folder of its own. */
  folder: string;
  capability: Capability;
  /** This run's scope, and the libraries of rsync that the jail must let it load. */
  scope: { roots: string[]; never: string[] };
  libraries: string[];
  /** This run's rsyncd.conf options, without the filter. */
  daemon: Omit<Parameters<typeof daemonConfig>[0], 'filter'>;
  interrupt: AbortSignal;
}

/** What this rsync needs. */
export interface SenderNeeds {
  /**
   * Whether it opens folders above the roots for reading. 3.4.3, 3.4.4 and backports of their fix for CVE-2026-29518 open the
   * module's folder for each file. Then the jail must let it list all folders (docs/security.md, "What stays open").
   */
  listsAll: boolean;
}

/** `trySender()`, unless these binaries and this config have passed before. @param state the state folder */
export async function requireSender(state: string, options: TrialOptions): Promise<SenderNeeds> {
  const seen = fingerprint(options);
  const found = readState(pathIn(state), options.capability);
  if (isPassed(found) && found.seen === seen) return { listsAll: found.listsAll };
  const needs = await trySender(options);
  await note(state, options.capability, { seen, ...needs });
  return needs;
}

/** Forgets the result, so that the next run tries again: after a run in which rsync did not work. */
export async function forgetSender(state: string, capability: Capability): Promise<void> {
  await note(state, capability, undefined);
}

/** Without a record the next run tries again: that it cannot be written is not a failure of this run. */
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

/** Changes whenever a binary that takes part, the config that we write, or the trial itself is another one. */
function fingerprint({ capability, scope, daemon }: TrialOptions): string {
  const files = [
    programPath('rsync'),
    ...(capability === 'confined' ? [launcherCommand([]).program] : []), // throws where there is none
  ];
  const identities = files.map(path => {
    const { ino, size, mtimeNs, ctimeNs } = statusExact(realPath(path));
    return [path, ino, size, mtimeNs, ctimeNs].join(' ');
  });
  const form = [
    daemonConfig({ ...daemon, filter: '', idleSeconds: 0 }), // a timeout does not change what rsync can do
    scopeFilter({ roots: ['/'], never: [], excludes: [] }),
    ...attacksOn('').map(({ request }) => request.toString('latin1')),
  ];
  const isWholeMachine = String(scope.roots.includes('/'));
  return createHash('sha256')
    .update([...identities, ...form, isWholeMachine].join('\n'))
    .digest('hex');
}

/**
 * Has rsync serve one file, reads it, and attacks it.
 * @returns what it needs
 * @throws Fault that names the rsync, what it said or which attack succeeded, and the package to install
 */
export async function trySender(options: TrialOptions): Promise<SenderNeeds> {
  const isConfined = options.capability === 'confined';
  let words = await serveOneFile(options, false);
  if (words === undefined) return { listsAll: false };
  // With the whole machine as the scope, every folder may be listed already.
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

/** As the beginning of a sentence. */
async function nameRsync(): Promise<string> {
  const words = await rsyncWords();
  const version = await rsyncVersion(words);
  if (version !== 'unknown') return `rsync ${version}`;
  return /^openrsync\b/.test(words)
    ? 'it is openrsync, and'
    : 'its --version does not say that it is an rsync, and it';
}

/**
 * Serves one file and, if it has arrived, attacks the same rsync.
 * @returns undefined where the file arrived, or what both rsyncs said
 * @throws Fault where an attack succeeds
 */
async function serveOneFile(options: TrialOptions, listsAll: boolean): Promise<string[] | undefined> {
  const { folder, capability, scope, libraries, daemon, interrupt } = options;
  const runFolder = `${folder}/run-trial0`; // the launcher takes a folder of this form only
  const out = `${folder}/trial`;
  const served = `${runFolder}/rsyncd`; // the launcher lets rsync read it
  await using held = new AsyncDisposableStack();
  for (const path of [runFolder, out]) {
    held.defer(() => removeAll(path));
    makeFolder(path);
  }
  writeDaemonFiles(runFolder, {
    daemonConfig: daemonConfig({ ...daemon, filter: `${served}/filter` }),
    // With the whole machine as the scope the filter has the fewest rules.
    filter: scopeFilter({ roots: ['/'], never: [asBytes(`${served}/${KEPT}`)], excludes: [] }),
  });
  writeScope(runFolder, scopeRecords(scope, libraries, listsAll));
  for (const [name, content] of Object.entries(ATTACKED_FILES)) writeNew(`${served}/${name}`, content);
  const isConfined = capability === 'confined';
  if (isConfined) await tryConfinement(runFolder); // its own words are better than "no file came"
  const sender: Command = isConfined
    ? launcherCommand(['send', runFolder])
    : {
        program: programPath('rsync'),
        args: daemonArguments(`${served}/rsyncd.conf`, 0),
        environment: PLAIN_ENVIRONMENT,
      };
  // The same copier as the host's between both, since rsync starts its other side by a remote shell.
  const [copier, verb] = isConfined ? [launcherPath(), 'pump'] : [ownExecutable(), 'relay'];
  const shell = `'${copier.replaceAll("'", "''")}' ${verb} ${TRIAL_MS / 1000}`; // quoted as rsync's -e wants it
  const words: string[] = [];
  const keep = (line: string): void => {
    if (line !== '' && !/^dialback-/.test(line) && words.length < WORDS_LIMIT) words.push(line);
  };
  const ours = new Set<number>();
  const letGo = (): void => {
    for (const each of ours) close(each);
    ours.clear();
  };
  held.defer(letGo);
  const pipe = async (name: string): Promise<{ reading: number; writing: number }> => {
    const made = await makePipe(`${runFolder}/${name}`);
    ours.add(made.reading).add(made.writing);
    return made;
  };
  const [up, down] = [await pipe('up'), await pipe('down')];
  try {
    const serving = await start(sender, [up.reading, down.writing, 'pipe']);
    held.defer(() => serving.end());
    eachLine(serving.stderr, LINE_LIMIT, keep);
    const receiver = standard('rsync', trialArguments({ file: `${served}/${SERVED}`, tree: out, shell }));
    const descriptors = [down.reading, up.writing, down.reading]; // 3 to 5, as the copier has them
    const receiving = await start(receiver, ['nothing', 'pipe', 'pipe', ...descriptors]);
    held.defer(() => receiving.end());
    receiving.stdout?.resume();
    eachLine(receiving.stderr, LINE_LIMIT, keep);
    letGo(); // so that each side sees the other's end
    await withTimeout(interrupt, TRIAL_MS, receiving.ended, lateTrial);
    await Promise.race([serving.ended, sleep(LAST_WORDS_MS)]);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== LATE) throw error;
    words.push(error.found);
  }
  const arrived = `${out}${served}/${SERVED}`;
  const isThere = exists(arrived) && readWhole(arrived, 1024).toString('latin1') === ATTACKED_FILES[SERVED];
  if (!isThere) return words;
  await requireDefense(sender, served, interrupt);
  return undefined;
}

/** @throws Fault where this rsync gives a hostile host what the scope keeps back */
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
