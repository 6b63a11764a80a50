/** `dialback config`: checks the config files, or shows the values of all keys and where each comes from. */
import { basename, resolve } from 'node:path';
import type * as v from 'valibot';
import { CLIENT_SCHEMA, type ClientConfig, clientDefaults, readClientConfig } from '../client/config.ts';
import { type ExitName, Fault } from '../fault.ts';
import { HOST_SCHEMA, hostDefaults } from '../host/config.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { readWhole } from '../os/content.ts';
import { jsonText } from '../output/json.ts';
import { type ConfigValue, configValues, valuesText } from '../shared/config-values.ts';
import {
  CONFIG_LIMIT,
  type ConfigName,
  type ConfigProblem,
  checkConfigFile,
  configFault,
  findConfig,
  nextForProblem,
} from '../shared/toml.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';

const ACTIONS = ['check', 'show'] as const;

interface ConfigRequest {
  action: (typeof ACTIONS)[number];
  /** Undefined: each config that the other commands would read. */
  file: string | undefined;
  side: 'client' | 'host' | undefined;
  json: boolean;
}

export const config: Command<ConfigRequest> = {
  name: 'config',
  usage: 'config check|show [F] [--client|--host] [--json]',
  side: 'both',
  summary: 'check client.toml and host.toml, or show the value of each key and where it comes from',
  options: [
    { name: 'client', help: 'only client.toml; or F is one, whatever its name' },
    { name: 'host', help: 'only host.toml; or F is one, whatever its name' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'check|show' }, { name: 'F', isOptional: true }],

  parse(words) {
    const given = new Arguments(config, words);
    const [word, file] = given.positionals;
    const action = ACTIONS.find(each => each === word);
    if (action === undefined) throw given.refuse(`unknown action "${escapeText(word ?? '', 60)}"`);
    if (given.has('client') && given.has('host'))
      throw given.refuse('--client and --host contradict each other');
    return {
      action,
      file: file === undefined ? undefined : resolve(file),
      side: given.has('client') ? 'client' : given.has('host') ? 'host' : undefined,
      json: given.has('json'),
    };
  },

  async run({ action, file, side, json }, io) {
    const files = file === undefined ? usualFiles(side) : [{ path: file, side: side ?? sideOf(file) }];
    return action === 'check' ? check(files, json, io) : show(files, json, io);
  },
};

interface ConfigFile {
  path: string;
  side: 'client' | 'host';
}

const SCHEMAS: Record<ConfigFile['side'], v.GenericSchema> = { client: CLIENT_SCHEMA, host: HOST_SCHEMA };
const fileName = (side: ConfigFile['side']): ConfigName => `${side}.toml`;

/** The configs that the other commands would read. @throws Fault `usage` if there is none */
function usualFiles(side: ConfigFile['side'] | undefined): ConfigFile[] {
  const sides = side === undefined ? (['client', 'host'] as const) : [side];
  const found = sides.flatMap(each => {
    const path = findConfig(fileName(each));
    return path === undefined ? [] : [{ path, side: each }];
  });
  if (found.length > 0) return found;
  throw new Fault({
    tried: 'find a config',
    found: `there is no ${sides.map(fileName).join(' and no ')} in ~/.config/dialback and /etc/dialback`,
    next: 'on a client: dialback init; on a host: dialback enroll NAME KEYFILE',
    exit: 'usage',
  });
}

/** The kind of a config: by its name, or by the one key that it must have. @throws Fault `usage` if neither tells */
function sideOf(path: string): ConfigFile['side'] {
  const name = basename(path);
  if (name === fileName('client') || name === fileName('host'))
    return name === 'host.toml' ? 'host' : 'client';
  const text = readText(path);
  const [isClient, isHost] = [/^\s*\[\[\s*remote\s*\]\]/m.test(text), /^\s*store\s*=/m.test(text)];
  if (isClient !== isHost) return isClient ? 'client' : 'host';
  throw new Fault({
    tried: `use the config "${path}"`,
    found: 'neither its name nor its keys tell whether it is a client.toml or a host.toml',
    next: 'add --client or --host',
    exit: 'usage',
  });
}

function readText(path: string): string {
  try {
    return readWhole(path, CONFIG_LIMIT).toString('utf8');
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { tried, found } = error;
    throw new Fault({ tried, found, next: inspectCommand(path), exit: 'usage', cause: error });
  }
}

/** @returns the text of a file and the schema's output, or its problems */
function read({ path, side }: ConfigFile): { text: string; parsed: unknown } | { problems: ConfigProblem[] } {
  const { text, checked } = checkConfigFile(path, SCHEMAS[side], fileName(side));
  if ('problems' in checked) return checked;
  if (side === 'client') readClientConfig(path); // it has rules that no schema can express
  return { text, parsed: checked.value };
}

function check(files: ConfigFile[], json: boolean, io: Io): ExitName {
  const results = files.map(file => {
    const result = read(file);
    return { file, problems: 'problems' in result ? result.problems : [] };
  });
  if (json) {
    const rows = results.map(({ file, problems }) => ({
      config: file.path,
      side: file.side,
      problems: problems.map(({ key, line, found }) => ({ key, line: line ?? null, found })),
    }));
    io.print(jsonText(rows));
  } else for (const { file, problems } of results) report(file, problems, io);
  return results.every(({ problems }) => problems.length === 0) ? 'done' : 'usage';
}

/** Prints each problem as the message that the other commands would print, and the next step once. */
function report({ path, side }: ConfigFile, problems: ConfigProblem[], io: Io): void {
  if (problems.length === 0) io.print(`"${escapeText(path)}": no problem found\n`);
  for (const [at, problem] of problems.entries()) {
    const step = at === problems.length - 1 ? { next: nextForProblem(fileName(side)) } : {};
    io.warn(io.plain(`dialback: ${configFault(path, { ...step, ...problem }).text()}\n`));
  }
}

/** @throws Fault `usage` for the first problem */
function show(files: ConfigFile[], json: boolean, io: Io): ExitName {
  const shown = files.map(file => ({ file, values: valuesOf(file) }));
  if (json) {
    const rows = shown.flatMap(({ file, values }) =>
      values.map(({ path, value, origin, line }) => ({
        config: file.path,
        key: path.join('.'),
        value: value ?? null,
        origin,
        line: line ?? null,
      })),
    );
    io.print(jsonText(rows));
  } else {
    const texts = shown.map(({ file, values }) => `# ${escapeText(file.path)}\n${valuesText(values)}`);
    io.print(io.plain(texts.join('\n')));
  }
  return 'done';
}

function valuesOf(file: ConfigFile): ConfigValue[] {
  const result = read(file);
  if ('problems' in result) {
    const [first] = result.problems;
    if (first) throw configFault(file.path, { next: nextForProblem(fileName(file.side)), ...first });
    return [];
  }
  const defaults = file.side === 'client' ? clientDefaults(result.parsed as ClientConfig) : hostDefaults();
  return configValues({ ...result, schema: SCHEMAS[file.side], defaults });
}
