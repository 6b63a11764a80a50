/** `dialback weigh`: shows the sizes of everything that a backup of this machine would read. */
import { resolve } from 'node:path';
import type { ExcludeChange } from '../client/exclude-file.ts';
import { hasPackageLists } from '../client/packaged.ts';
import { weigh as weighScope } from '../client/weigh.ts';
import { excludePaths, undoExclude } from '../client/weigh-exclude.ts';
import { MapSink } from '../client/weigh-map.ts';
import { ReportSink } from '../client/weigh-report.ts';
import { type ExitName, Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { replaceFile } from '../os/replace.ts';
import { openProgressLine } from '../output/progress.ts';
import { weighHtml } from '../output/weigh-html.ts';
import { NcduSink } from '../output/weigh-ncdu.ts';
import { unseenText, weighJson, weighText } from '../output/weigh-text.ts';
import { encodeName, escapeText } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';
import { VERSION } from './version.ts';

interface WeighRequest {
  config: string | undefined;
  state: string | undefined;
  action: (typeof ACTIONS)[number] | 'show';
  /** As bytes. */
  paths: string[];
  top: number;
  json: boolean;
  /** The file for the picture. */
  html: string | undefined;
}

const ACTIONS = ['ncdu', 'exclude', 'undo'] as const;

const DEFAULT_TOP = 20;
const MOST_TOP = 10_000;

export const weigh: Command<WeighRequest> = {
  name: 'weigh',
  usage:
    'weigh [PATH] [--top N] [--json|--ncdu] [--html F] [--exclude PATH…|--undo] [--config F] [--state DIR]',
  side: 'client',
  summary: 'show the sizes of the files that a backup reads, the heaviest folders first; reads no content',
  options: [
    { name: 'top', value: 'N', help: `show this number of folders and files; default ${DEFAULT_TOP}` },
    JSON_OPTION,
    { name: 'ncdu', help: 'print the format that `ncdu -f-` reads' },
    { name: 'html', value: 'F', help: 'also write a picture of the sizes to this file, for a browser' },
    { name: 'exclude', help: 'add each PATH to the exclude list, and show the change' },
    { name: 'undo', help: 'take the last change of --exclude back' },
    { name: 'config', value: 'F', help: 'read this client.toml' },
    { name: 'state', value: 'DIR', help: 'keep temporary files in this folder' },
  ],
  positionals: [{ name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(weigh, words);
    const paths = given.positionals.map(each => encodeName(resolve(each)).toString('latin1'));
    const top = given.text('top') ?? String(DEFAULT_TOP);
    if (!/^\d{1,5}$/.test(top) || Number(top) > MOST_TOP)
      throw given.refuse(`--top must be a number from 0 to ${MOST_TOP}`);
    const action = ACTIONS.filter(name => given.has(name));
    const [isExclude, isUndo] = [given.has('exclude'), given.has('undo')];
    if (action.length > 1) throw given.refuse(`--${action.join(' and --')} contradict each other`);
    if (isExclude && paths.length === 0) throw given.refuse('--exclude needs a PATH');
    if (isUndo && paths.length > 0) throw given.refuse('--undo takes no PATH');
    if (!isExclude && paths.length > 1) throw given.refuse('more than one PATH needs --exclude');
    if (given.has('ncdu') && given.has('json')) throw given.refuse('--ncdu and --json contradict each other');
    if ((isExclude || isUndo) && given.has('json')) throw given.refuse('--json shows the sizes only');
    const html = given.path('html');
    if ((isExclude || isUndo) && html !== undefined) throw given.refuse('--html shows the sizes only');
    return {
      action: action[0] ?? 'show',
      config: given.path('config'),
      state: given.path('state'),
      paths,
      top: Number(top),
      json: given.has('json'),
      html,
    };
  },

  async run(request, io) {
    if (request.action === 'exclude') return printChange(await excludePaths(request, request.paths), io);
    if (request.action === 'undo') return printChange(await undoExclude(request), io);
    if (request.action === 'ncdu' && io.isTerminal(1))
      throw new Fault({
        tried: "write ncdu's format",
        found: 'standard output is a terminal',
        next: 'dialback weigh --ncdu | ncdu -f-',
        exit: 'usage',
      });
    return await showSizes(request, io);
  },
};

/** Prints the change of the exclude list. */
function printChange({ file, lines, diff }: ExcludeChange, io: Io): ExitName {
  io.print(lines.length === 0 ? `"${escapeText(file)}" has these lines already\n` : diff);
  return 'done';
}

/** Weighs, and prints and writes the results. */
async function showSizes(request: WeighRequest, io: Io): Promise<ExitName> {
  const signal = io.interruption();
  const time = now();
  const report = new ReportSink(request.top, hasPackageLists());
  const map = request.html === undefined ? undefined : new MapSink();
  const isNcdu = request.action === 'ncdu';
  const program = { name: 'dialback', version: VERSION };
  const ncdu = isNcdu ? new NcduSink(io.print, program, Math.floor(time.getTime() / 1000)) : undefined;
  const sinks = [report, map, ncdu].filter(each => each !== undefined);
  const weighed = await (async () => {
    // The progress line is gone before anything else is printed.
    using line = request.json ? undefined : openProgressLine(io.environment, signal);
    return await weighScope({ ...request, path: request.paths[0] }, signal, sinks, {
      warn: message => {
        line?.clear();
        io.warn(`dialback: ${message}\n`);
      },
      tell: progress => line?.hearWeigh(progress),
    });
  })();
  const picture = map?.map();
  if (picture && request.html !== undefined)
    replaceFile(request.html, weighHtml(weighed, picture, time), 0o600);
  const rows = report.report();
  if (!isNcdu) io.print(request.json ? weighJson(weighed, rows) : weighText(weighed, rows));
  io.warn(unseenText(weighed.unseen));
  return weighed.unseen.count > 0 ? 'incomplete' : 'done';
}
