/** argv -> verb -> outcome -> text -> exit status. The only exit of the program, and its only catch-all. */
import { helpText, parseArguments, type Request } from './cli/args.ts';
import {
  enrollText,
  listText,
  missingText,
  newsText,
  notGivenBackText,
  outcomeJson,
  restoreText,
  summaryText,
} from './cli/print.ts';
import { tryOut } from './cli/try.ts';
import { backup, type RunNews, type RunOutcome } from './client/backup.ts';
import { gate, gateCheck } from './client/gate.ts';
import { configPath } from './config.ts';
import { EXIT, Fault } from './fault.ts';
import { readHostConfig } from './host/config.ts';
import { enroll, unenroll } from './host/enroll.ts';
import { grab } from './host/grab.ts';
import { listAll } from './host/listing.ts';
import { relay } from './host/relay.ts';
import { restore } from './host/restore.ts';
import { isTerminal, say } from './os/files.ts';
import { interruption, ownAccount } from './os/machine.ts';
import { encodeEvent, failedOutcome } from './wire/events.ts';
import { escapeText } from './wire/text.ts';

declare const DIALBACK_VERSION: string | undefined;

const VERSION = typeof DIALBACK_VERSION === 'string' ? DIALBACK_VERSION : 'from source';

async function perform(request: Request): Promise<number> {
  switch (request.verb) {
    case 'backup':
      return await performBackup(request);
    case 'gate':
      return await gate(request.run, process.env);
    case 'gate-check':
      return gateCheck(process.env);
    case 'grab':
      return await grab({ ...request, environment: process.env }, interruption());
    case 'relay':
      return await relay();
    case 'enroll': {
      const options = { ...request, config: configPath('host.toml', request.config) };
      say(1, enrollText(options, await enroll(options)));
      return EXIT.done;
    }
    case 'unenroll': {
      const { authorizedKeys, folder } = await unenroll({
        ...request,
        config: configPath('host.toml', request.config),
      });
      say(1, `took "${request.name}" out of "${authorizedKeys}"\nits snapshots stay in "${folder}"\n`);
      return EXIT.done;
    }
    case 'list': {
      const rows = listAll(hostStore(request.config), request.name);
      say(1, request.json ? `${JSON.stringify(rows)}\n` : listText(rows));
      return EXIT.done;
    }
    case 'restore': {
      const result = await restore({ ...request, store: hostStore(request.config) }, interruption());
      say(1, request.json ? `${JSON.stringify(result)}\n` : restoreText(request.to, result));
      say(2, notGivenBackText(result, ownAccount().uid === 0));
      return result.notGivenBack.length > 0 ? EXIT.incomplete : EXIT.done;
    }
    case 'try':
      return await tryOut(request.folder, interruption());
    case 'help':
      say(1, helpText());
      return EXIT.done;
    case 'version':
      say(1, `dialback ${VERSION}\n`);
      return EXIT.done;
  }
}

function hostStore(config: string | undefined): string {
  return readHostConfig(configPath('host.toml', config)).store;
}

async function performBackup(request: Extract<Request, { verb: 'backup' }>): Promise<number> {
  const { json, volume } = request;
  const tell = (news: RunNews): void => {
    if (json) say(1, `${JSON.stringify(news)}\n`);
    else if (volume === 'verbose') say(1, newsText(news));
  };
  const runs = await backup(request, interruption(), tell);
  for (const run of runs) printRun(run, json, volume);
  return runs.find(run => run.exit !== EXIT.done)?.exit ?? EXIT.done;
}

/** cron mails whatever is printed: a success says something only to a person, or when asked. */
function printRun(run: RunOutcome, json: boolean, volume: 'quiet' | 'normal' | 'verbose'): void {
  if (json) say(1, outcomeJson(run));
  else if (volume === 'verbose' || (volume === 'normal' && isTerminal(1))) say(1, summaryText(run));
  if (json) return;
  if (run.fault) say(2, `dialback: ${run.fault.text()}\n`);
  else say(2, missingText(run));
}

/** The catch-all. What is no Fault is a bug of ours. */
function explain(error: unknown): number {
  if (error instanceof Fault) {
    say(2, `dialback: ${error.text()}\n`);
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

const argv = process.argv.slice(2);
/** These two speak to the other machine: it gets no words of ours, only that it failed. */
const isGrab = argv[0] === 'grab' && process.env.SSH_CONNECTION !== undefined;
const isGate = argv[0] === 'gate' && process.env.SSH_CONNECTION !== undefined;

function explainToPeer(error: unknown): number {
  if (isGate) {
    say(2, 'dialback: Cannot let this in: the gate failed\n');
    return EXIT.refused;
  }
  say(2, encodeEvent(failedOutcome('internal')));
  return error instanceof Fault ? EXIT[error.exit] : EXIT.failed;
}

const fail = (error: unknown): never =>
  process.exit(isGrab || isGate ? explainToPeer(error) : explain(error));
process.on('uncaughtException', fail);

// Not `await`: the bundle is CommonJS, which has none at the top.
new Promise<number>(resolve => resolve(perform(parseArguments(argv)))).then(
  status => process.exit(status),
  fail,
);
