/** argv -> verb -> outcome -> text -> exit status. The only exit of the program, and its only catch-all. */

import { backup, type RunOutcome } from './client/backup.ts';
import { gate, gateCheck } from './client/gate.ts';
import { init, initLocal } from './client/setup.ts';
import { helpText, parseArguments, type Request, TOPICS } from './commands/args.ts';
import type { Io } from './commands/command.ts';
import {
  doctorText,
  enrollLocalText,
  enrollText,
  initLocalText,
  initText,
  outcomeJson,
  summaryText,
  unenrollText,
  wordsText,
} from './commands/print.ts';
import { tryOut } from './commands/try.ts';
import { worstStatus } from './doctor/finding.ts';
import { doctor } from './doctor/run.ts';
import { EXIT, Fault, firstError } from './fault.ts';
import { readHostConfig } from './host/config.ts';
import { enroll, enrollLocally, unenroll } from './host/enroll.ts';
import { grab } from './host/grab.ts';
import { accountConfig, parseShell } from './host/login-shell.ts';
import { relay } from './host/relay.ts';
import { isTerminal, outputLost, say } from './os/files.ts';
import { interruption, interruptWith, ownAccount, ownArguments, ownExecutable } from './os/machine.ts';
import { readsUtf8 } from './os/terminal.ts';
import { jsonText } from './output/json.ts';
import { missingText } from './output/missing.ts';
import { openProgressLine } from './output/progress.ts';
import { hookJson, hookWordsText, newsText } from './output/run-news.ts';
import { configPath, findConfig } from './shared/toml.ts';
import { describeClient } from './store/manifest.ts';
import { encodeEvent, failedOutcome } from './wire/events.ts';
import { decodeName, escapeText } from './wire/text.ts';

declare const DIALBACK_VERSION: string | undefined;

const VERSION = typeof DIALBACK_VERSION === 'string' ? DIALBACK_VERSION : 'from source';

/** As standard error and the help are read. */
function plain(text: string): string {
  return wordsText(text, readsUtf8(process.env));
}

const IO: Io = {
  environment: process.env,
  print: text => say(1, text),
  warn: text => void say(2, text),
  plain,
  isTerminal,
  interruption,
};

async function perform(request: Request): Promise<number> {
  switch (request.verb) {
    case 'command':
      return EXIT[await request.command.run(request.value, IO)];
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
  using line = json || volume === 'quiet' ? undefined : openProgressLine(process.env, interrupt);
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
