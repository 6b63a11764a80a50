/** argv -> verb -> outcome -> text -> exit status. The only exit of the program, and its only catch-all. */
import { helpText, parseArguments, type Request, TOPICS } from './cli/args.ts';
import {
  damagedText,
  differenceJson,
  differenceText,
  doctorText,
  doubtfulText,
  enrollLocalText,
  enrollText,
  entryJson,
  entryText,
  initLocalText,
  initText,
  listText,
  missingText,
  outcomeJson,
  pinText,
  pruneText,
  removalText,
  statusText,
  summaryText,
  unenrollText,
  unpinText,
  unprunedText,
  unverifiedText,
  verifiedJson,
  verifiedText,
  versionJson,
  versionText,
  wordsText,
} from './cli/print.ts';
import {
  plannedJson,
  plannedText,
  planProblems,
  planText,
  restoredJson,
  restoreProblems,
  restoreText,
} from './cli/restore-text.ts';
import { tryOut } from './cli/try.ts';
import { Unread } from './cli/unread.ts';
import { backup, type RunOutcome } from './client/backup.ts';
import { gate, gateCheck } from './client/gate.ts';
import { init, initLocal } from './client/setup.ts';
import { worstStatus } from './doctor/finding.ts';
import { doctor } from './doctor/run.ts';
import { EXIT, Fault, firstError } from './fault.ts';
import { type HostConfig, readHostConfig, storeSettings } from './host/config.ts';
import { enroll, enrollLocally, unenroll } from './host/enroll.ts';
import { grab } from './host/grab.ts';
import { accountConfig, parseShell } from './host/login-shell.ts';
import { relay } from './host/relay.ts';
import { ownAccount } from './os/account.ts';
import { interruption, interruptWith } from './os/async.ts';
import { ownArguments, ownExecutable } from './os/executable.ts';
import { dropGarbage } from './os/memory.ts';
import { isTerminal, outputLost, say } from './os/streams.ts';
import { openTerminal, readsUtf8 } from './os/terminal.ts';
import { jsonText } from './output/json.ts';
import { ProgressLine } from './output/progress.ts';
import { hookJson, hookWordsText, newsText } from './output/run-news.ts';
import { configPath, findConfig } from './shared/toml.ts';
import { listEntries, printFile } from './store/browse.ts';
import { compareSnapshots } from './store/diff.ts';
import { findVersions } from './store/find.ts';
import { listAll } from './store/list.ts';
import { describeClient } from './store/manifest.ts';
import { pin, unpin } from './store/pins.ts';
import { prune } from './store/prune.ts';
import { remove } from './store/remove.ts';
import { planRestore, type RestoreOptions, type RestoreResult, restore } from './store/restore.ts';
import { statusExit, statusOf } from './store/status.ts';
import {
  type ClientStore,
  findSnapshot,
  openClient,
  openStore,
  parsePath,
  requireOwner,
  type Snapshot,
} from './store/store.ts';
import { isWell, type Verified, type VerifyOptions, verify } from './store/verify.ts';
import { encodeEvent, failedOutcome } from './wire/events.ts';
import { decodeName, escapeText } from './wire/text.ts';

declare const DIALBACK_VERSION: string | undefined;

const VERSION = typeof DIALBACK_VERSION === 'string' ? DIALBACK_VERSION : 'from source';

/** As standard error and the help are read. */
function plain(text: string): string {
  return wordsText(text, readsUtf8(process.env));
}

async function perform(request: Request): Promise<number> {
  switch (request.verb) {
    case 'backup':
      return await performBackup(request);
    case 'init':
      say(1, await performInit(request));
      return EXIT.done;
    case 'gate':
      return await gate(request.run, process.env);
    case 'gate-check':
      return gateCheck(process.env);
    case 'grab':
      return await grab({ ...request, environment: process.env }, interruption());
    case 'shell':
      return await performShell(request.words);
    case 'relay':
      return await relay(request.idleMs);
    case 'enroll':
      say(1, await performEnroll(request));
      return EXIT.done;
    case 'unenroll': {
      const config = configPath('host.toml', request.config);
      say(1, unenrollText(request.name, await unenroll({ ...request, config })));
      return EXIT.done;
    }
    case 'list': {
      const unread = new Unread();
      const rows = listAll(hostStore(request.config), request.name, unread.complain);
      say(1, request.json ? jsonText(rows) : listText(rows));
      return sayUnread(unread);
    }
    case 'ls': {
      const { paths, isRecursive, json } = request;
      // One folder's entries need no more than their names.
      const [path = '/'] = paths;
      const folder =
        paths.length > 1 || isRecursive ? undefined : parsePath(path, `list "${escapeText(path)}"`);
      const unread = new Unread();
      const options = { ...request, store: hostStore(request.config) };
      const entries = listEntries(options, interruption(), unread.complain);
      await sayAll(entries, json ? entryJson : undefined, entry => entryText(entry, folder));
      return sayUnread(unread);
    }
    case 'cat':
      await printFile({ ...request, store: hostStore(request.config) }, request.path, interruption());
      return EXIT.done;
    case 'diff': {
      const unread = new Unread();
      const options = { ...request, store: hostStore(request.config) };
      const differences = compareSnapshots(options, interruption(), unread.complain);
      await sayAll(differences, request.json ? differenceJson : undefined, differenceText);
      return sayUnread(unread);
    }
    case 'find': {
      await using held = new AsyncDisposableStack();
      const versions = await findVersions(
        held,
        { ...request, store: hostStore(request.config) },
        interruption(),
      );
      await sayAll(versions, request.json ? versionJson : undefined, versionText);
      return EXIT.done;
    }
    case 'restore':
      return await performRestore(request);
    case 'status': {
      const { name, maxAgeMs } = request;
      const clients = await statusOf(
        storeSettings(hostConfig(request.config)),
        name,
        maxAgeMs,
        interruption(),
      );
      say(1, request.json ? jsonText(clients) : statusText(clients));
      return statusExit(clients);
    }
    case 'prune': {
      const result = await prune(storeSettings(hostConfig(request.config)), request, interruption());
      // cron mails whatever is printed
      const isWanted = request.dryRun || request.isVerbose || isTerminal(1);
      if (request.json) say(1, jsonText(result));
      else if (isWanted) say(1, pruneText(result));
      say(2, unprunedText(result));
      return result.clients.some(each => each.failed !== null) ? EXIT.failed : EXIT.done;
    }
    case 'pin':
    case 'unpin': {
      const { store } = hostConfig(request.config);
      const { client, snapshot } = findPinnable(store, request, request.verb);
      const name = `${client.name}@${snapshot.name}`;
      if (request.verb === 'pin') say(1, pinText(name, pin(client, snapshot, request.reason)));
      else say(1, unpinText(name, unpin(client, snapshot)));
      return EXIT.done;
    }
    case 'remove':
    case 'remove-client': {
      const removal = await remove(storeSettings(hostConfig(request.config)), request, interruption());
      say(1, request.json ? jsonText(removal) : removalText(removal));
      return EXIT.done;
    }
    case 'verify': {
      const results = await verifyTold({ ...request, store: hostStore(request.config) }, request.json);
      say(1, request.json ? jsonText(results.map(verifiedJson)) : verifiedText(results));
      if (!request.json) say(1, results.map(doubtfulText).join(''));
      say(2, damagedText(results) + unverifiedText(results));
      return isWell(results) ? EXIT.done : EXIT.failed;
    }
    case 'manifest':
      await describeClient(
        { client: request.client, store: readHostConfig(request.config).store },
        interruption(),
      );
      return EXIT.done;
    case 'doctor': {
      const findings = await doctor(request);
      say(1, request.json ? jsonText(findings) : plain(doctorText(findings)));
      return worstStatus(findings);
    }
    case 'try':
      return await tryOut(request.folder, interruption());
    case 'help':
      say(1, plain(request.topic === undefined ? helpText() : TOPICS[request.topic]()));
      return EXIT.done;
    case 'version':
      say(1, `dialback ${VERSION}\n`);
      return EXIT.done;
  }
}

async function performInit(request: Extract<Request, { verb: 'init' }>): Promise<string> {
  const { transport, config } = request;
  return transport === 'local'
    ? initLocalText(await initLocal(request, interruption()), config)
    : initText(await init({ ...request, transport }, interruption()), config);
}

async function performEnroll(request: Extract<Request, { verb: 'enroll' }>): Promise<string> {
  const { name, config, keyFile } = request;
  return keyFile === undefined
    ? enrollLocalText(name, config, await enrollLocally(request), findConfig('client.toml') !== undefined)
    : enrollText(name, await enroll({ ...request, keyFile }));
}

async function performRestore(request: Extract<Request, { verb: 'restore' }>): Promise<number> {
  const { to, json, dryRun } = request;
  const options = { ...request, store: hostStore(request.config) };
  const asked = { ...request, isRootUser: ownAccount().uid === 0 };
  if (dryRun) {
    let separator = '{"paths":[\n';
    const result = await planRestore(options, interruption(), planned => {
      say(1, json ? `${separator}${jsonText(plannedJson(planned)).trimEnd()}` : plannedText(planned));
      separator = ',\n';
    });
    if (json) say(1, `${separator === ',\n' ? '' : separator}\n],${jsonText(result).trimStart().slice(1)}`);
    else say(1, planText(to, result));
    say(2, planProblems(result, asked));
    return result.notGivenBackCount > 0 || result.lostAttributes ? EXIT.incomplete : EXIT.done;
  }
  const result = await restoreTold(options, json);
  say(1, json ? jsonText(restoredJson(result)) : restoreText(to, result));
  say(2, restoreProblems(result, asked));
  return result.notGivenBackCount + result.damagedCount > 0 ? EXIT.incomplete : EXIT.done;
}

/** The line is gone before anything else is said. */
async function restoreTold(options: RestoreOptions, json: boolean): Promise<RestoreResult> {
  const interrupt = interruption();
  using line = progressLine(json, interrupt);
  return await restore(options, interrupt, line && (each => line.hearRestore(each)));
}

async function verifyTold(options: VerifyOptions, json: boolean): Promise<Verified[]> {
  const interrupt = interruption();
  using line = progressLine(json, interrupt);
  return await verify(options, interrupt, line && (each => line.hearVerify(each)));
}

/** For a person at a terminal; whoever reads JSON, or wants to hear nothing, gets none. */
function progressLine(isUnwanted: boolean, interrupt: AbortSignal): ProgressLine | undefined {
  const terminal = isUnwanted ? undefined : openTerminal(process.env);
  if (terminal === undefined) return undefined;
  const line = new ProgressLine(terminal);
  interrupt.addEventListener('abort', () => line.interrupt(), { once: true });
  return line;
}

/** What of a snapshot could not be read, behind all that could. */
function sayUnread(unread: Unread): number {
  say(2, unread.text());
  return unread.count > 0 ? EXIT.failed : EXIT.done;
}

const SAID_AT_ONCE = 65_536;

/**
 * Says what comes, as it comes: text, or with `asJson` an array with one element a line. Whoever has stopped to read is
 * told no more.
 */
async function sayAll<T>(
  rows: AsyncIterable<T> | Iterable<T>,
  asJson: ((row: T) => unknown) | undefined,
  asText: (row: T) => string,
): Promise<void> {
  let text = asJson ? '[' : '';
  let separator = '\n';
  for await (const row of rows) {
    text += asJson ? `${separator}${jsonText(asJson(row)).trimEnd()}` : asText(row);
    separator = ',\n';
    if (text.length < SAID_AT_ONCE) continue;
    if (!say(1, text)) return;
    text = '';
    dropGarbage();
  }
  say(1, asJson ? `${text}${separator === '\n' ? '' : '\n'}]\n` : text);
}

/** Whatever is not a backup request is refused with one line: who reads it is the other machine. */
async function performShell(words: string[]): Promise<number> {
  const config = accountConfig(ownAccount().home);
  const client = config === undefined ? undefined : accountClient(config);
  const account = config !== undefined && client !== undefined ? { client, config } : undefined;
  const parsed = parseShell(words, ownExecutable(), process.env.SSH_ORIGINAL_COMMAND, account);
  if ('reason' in parsed) {
    say(2, `dialback: Cannot do this here: ${parsed.reason}\n`);
    return EXIT.refused;
  }
  const { originalCommand, ...request } = parsed.value;
  const environment = { ...process.env, SSH_ORIGINAL_COMMAND: originalCommand };
  return await grab({ ...request, isLocal: false, environment }, interruption());
}

/** A config that cannot be read speaks for nobody; a forced command names its own. */
function accountClient(config: string): string | undefined {
  try {
    return readHostConfig(config).account_client;
  } catch {
    return undefined;
  }
}

function hostConfig(config: string | undefined): HostConfig {
  return readHostConfig(configPath('host.toml', config));
}

function hostStore(config: string | undefined): string {
  return hostConfig(config).store;
}

function findPinnable(
  store: string,
  wanted: { client: string; snapshot: string },
  verb: string,
): { client: ClientStore; snapshot: Snapshot } {
  openStore(store);
  requireOwner(store, verb);
  const client = openClient(store, wanted.client);
  return { client, snapshot: findSnapshot(client, wanted.snapshot) };
}

async function performBackup(request: Extract<Request, { verb: 'backup' }>): Promise<number> {
  const { json, volume } = request;
  const runs = await backupTold(request);
  for (const run of runs) printRun(run, runs, json, volume);
  // A run that failed says more than one that is incomplete.
  const statuses = runs.map(run => run.exit);
  const failed = statuses.find(status => status !== EXIT.done && status !== EXIT.incomplete);
  return failed ?? (statuses.includes(EXIT.incomplete) ? EXIT.incomplete : EXIT.done);
}

/** What a run says while it is under way. The line is gone before anything else is said. */
async function backupTold(request: Extract<Request, { verb: 'backup' }>): Promise<RunOutcome[]> {
  const { json, volume } = request;
  const interrupt = interruption();
  using line = progressLine(json || volume === 'quiet', interrupt);
  const isAttended = isTerminal(1) || isTerminal(2);
  return await backup({ ...request, isAttended }, interrupt, news => {
    if (json) say(1, news.event === 'hook' ? hookJson(news) : jsonText(news));
    if (json) return;
    const isVerbose = volume === 'verbose';
    const words = news.event === 'hook' ? hookWordsText(news, isVerbose) : '';
    const isUrgent =
      news.event === 'warning' && (line !== undefined || (news.code !== undefined && volume !== 'quiet'));
    const isTold = isVerbose || isUrgent;
    const text = isTold ? newsText(news) : '';
    if (words + text !== '') line?.clear();
    say(2, words);
    say(1, text);
    line?.hearRun(news);
  });
}

/** cron mails whatever is printed: a success says something only to a person, or when asked. */
function printRun(
  run: RunOutcome,
  runs: RunOutcome[],
  json: boolean,
  volume: 'quiet' | 'normal' | 'verbose',
): void {
  if (json) say(1, outcomeJson(run));
  else if (volume === 'verbose' || (volume === 'normal' && isTerminal(1))) say(1, summaryText(run));
  if (json) return;
  // Of several, which it was; most messages say it by themselves.
  const isNamed = runs.length === 1 || run.fault?.message.includes(`"${run.remote}"`);
  if (run.fault) say(2, plain(`dialback: ${isNamed ? '' : `${run.remote}: `}${run.fault.text()}\n`));
  else say(2, missingText(run, runs.slice(0, runs.indexOf(run))));
  if (run.hookFault) say(2, plain(`dialback: ${run.hookFault.text()}\n`));
}

/** The catch-all. What is no Fault is a bug of ours. */
function explain(error: unknown): number {
  if (error instanceof Fault) {
    say(2, plain(`dialback: ${error.text()}\n`));
    return EXIT[error.exit];
  }
  const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
  say(
    2,
    `dialback: Cannot go on: ${words
      .split('\n')
      .map(line => escapeText(line))
      .join('\n')}\n`,
  );
  return EXIT.failed;
}

const argv = ownArguments().map(decodeName);
/** These two speak to the other machine, or to `backup`: it gets no words of ours, only that it failed. */
const isGrab =
  (argv[0] === 'grab' && argv.includes('--local')) ||
  ((argv[0] === 'grab' || argv[0] === '-c' || process.argv0.startsWith('-')) &&
    process.env.SSH_CONNECTION !== undefined);
const isGate = argv[0] === 'gate' && process.env.SSH_CONNECTION !== undefined;

function explainToPeer(error: unknown): number {
  if (isGate) {
    say(2, 'dialback: Cannot let this in: the gate failed\n');
    return EXIT.refused;
  }
  say(2, encodeEvent(failedOutcome('internal')));
  return error instanceof Fault ? EXIT[error.exit] : EXIT.failed;
}

const fail = (error: unknown): never => {
  const first = firstError(error);
  process.exit(isGrab || isGate ? explainToPeer(first) : explain(first));
};

/** An error that nobody awaits: what is under way ends as at a signal, and cleans up; then `fail` gets it. */
process.on('uncaughtException', error => {
  process.exitCode = EXIT.failed; // should nothing be left to wait for
  interruptWith(error);
  setTimeout(() => fail(error), CLEAN_UP_MS).unref();
});
const CLEAN_UP_MS = 30_000;

/** A success whose words were lost is none. */
function succeed(status: number): never {
  process.exit(status === EXIT.done && outputLost() ? EXIT.failed : status);
}

// Not `await`: the bundle is CommonJS, which has none at the top.
new Promise<number>(resolve => resolve(perform(parseArguments(argv, process.argv0)))).then(succeed, fail);
