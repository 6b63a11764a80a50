/** The config files of both sides: how they are found, read and checked. A Fault names the file, and the key if one is wrong. */
import { parse, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { fixCommand, inspectCommand } from '../os/access-advice.ts';
import { findAccount, ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, stat } from '../os/files.ts';
import { findBreach } from '../os/trust.ts';
import { parseDuration, parsePercent, parseSize, type Quantity } from '../wire/quantity.ts';
import { escapeText } from '../wire/text.ts';
import { keysOfTable } from './config-keys.ts';
import { suggestion } from './nearest.ts';
import { type KeyLines, type KeyPath, keyLines } from './toml-lines.ts';

/** Bytes of a config file that are read. */
export const CONFIG_LIMIT = 1024 * 1024;

/** The config files, and the command that writes each. */
const WRITERS = { 'client.toml': 'dialback init', 'host.toml': 'dialback enroll NAME KEYFILE' } as const;

export type ConfigName = keyof typeof WRITERS;

/** The user's own folder for configs. `init` stores its key there too. */
export function ownConfigFolder(): string {
  return `${ownAccount().home}/.config/dialback`;
}

/** The places of a config file: the user's own, and the system's. */
export function configPlaces(fileName: ConfigName): [own: string, system: string] {
  return [`${ownConfigFolder()}/${fileName}`, `/etc/dialback/${fileName}`];
}

/** The next step if there is no config. The commands that need host.toml do not run on a client. */
function nextForAbsent(fileName: ConfigName): string {
  if (fileName === 'host.toml' && findConfig('client.toml') !== undefined)
    return 'run it on the backup host: this machine is a client';
  return `${WRITERS[fileName]} (it writes one), or use --config`;
}

/**
 * Finds a config file: the named one, or the first that exists of the user's and the system's.
 * @param named the path of --config; it need not exist
 * @throws Fault `usage` if no path is named and no file exists
 */
export function configPath(fileName: ConfigName, named: string | undefined): string {
  const found = named ?? findConfig(fileName);
  if (found !== undefined) return found;
  throw new Fault({
    tried: `read the config "${fileName}"`,
    found: `there is neither ${[...configPlaces(fileName), ...placesForRoot(fileName)].join(' nor ')}`,
    next: nextForAbsent(fileName),
    exit: 'usage',
  });
}

/** The account that `make install` creates. */
const SERVICE_ACCOUNT = 'dialback';

/**
 * Finds the first config file that exists, of the user's and the system's. Root also finds the service account's host.toml, to restore.
 * @returns its path; undefined if there is none
 */
export function findConfig(fileName: ConfigName): string | undefined {
  return [...configPlaces(fileName), ...placesForRoot(fileName)].find(exists);
}

function placesForRoot(fileName: ConfigName): string[] {
  if (fileName !== 'host.toml' || ownAccount().uid !== 0) return [];
  const service = findAccount(SERVICE_ACCOUNT);
  return service === undefined ? [] : [`${service.home}/.config/dialback/${fileName}`];
}

/**
 * Finds a config file, or the path to write it to, for the commands that write one if there is none.
 * @param named the path of --config; by default the user's own and the system's
 */
export function configPlace(
  fileName: ConfigName,
  named: string | undefined,
): { path: string; isThere: boolean } {
  const places = named === undefined ? configPlaces(fileName) : [named];
  const found = places.find(mayBeThere);
  return { path: found ?? places[0] ?? '', isThere: found !== undefined };
}

/** Whether a file exists or cannot be looked at. Reading it then reports why. */
function mayBeThere(path: string): boolean {
  try {
    stat(path);
    return true;
  } catch (error) {
    return !failedWith(error, 'ENOENT') && !failedWith(error, 'ENOTDIR');
  }
}

/**
 * Reads and checks a config file.
 * @param schema valibot's, with strict objects, so that an unknown key is refused by its path
 * @param fileName its usual name, which the sample has too
 * @throws Fault `usage` that names the file, and the key if one is wrong; also if other accounts can write the file
 */
export function readConfig<T extends v.GenericSchema>(
  path: string,
  schema: T,
  fileName: ConfigName,
): v.InferOutput<T> {
  const { checked } = checkConfigFile(path, schema, fileName);
  if ('value' in checked) return checked.value;
  throw configFault(path, { next: nextForProblem(fileName), ...checked.problems[0] });
}

/** The next step for a config with a wrong key. */
export function nextForProblem(fileName: ConfigName): string {
  return `compare it with /etc/dialback/${fileName}.sample, which has every key`;
}

/**
 * Reads a config file, and looks for all problems in it.
 * @throws Fault `usage` if it cannot be read, or if other accounts can write it
 */
export function checkConfigFile<T extends v.GenericSchema>(
  path: string,
  schema: T,
  fileName: ConfigName,
): { text: string; checked: Checked<v.InferOutput<T>> } {
  const text = readTrusted(path, fileName);
  homeOfConfig = ownerHome(path);
  try {
    return { text, checked: checkConfig(text, schema) };
  } finally {
    homeOfConfig = undefined;
  }
}

/** The home folder for `~/` in the config that is being read; undefined for our own. */
let homeOfConfig: string | undefined;

/** If root reads the config of another account, `~/` means that account's home folder. */
function ownerHome(path: string): string | undefined {
  const { uid } = stat(path);
  return ownAccount().uid === 0 && uid !== 0 ? findAccount(uid)?.home : undefined;
}

function readTrusted(path: string, fileName: ConfigName): string {
  const tried = `read the config "${path}"`;
  let bytes: Buffer;
  try {
    bytes = readWhole(path, CONFIG_LIMIT);
  } catch (error) {
    const found = error instanceof Fault ? error.found : String(error);
    const isAbsent = error instanceof Fault && failedWith(error.cause, 'ENOENT');
    const next = isAbsent ? nextForAbsent(fileName) : inspectCommand(path);
    throw new Fault({ tried, found, next, exit: 'usage', code: 'config' });
  }
  // An account that can write the config can decide what this one does. So only its owner may: this account, or, if root restores,
  // the account that receives.
  const { uid } = ownAccount();
  const breach = findBreach(path, uid === 0 ? stat(path).uid : uid);
  if (breach) {
    throw new Fault({
      tried: `trust the config "${path}"`,
      found: breach.found,
      next: fixCommand(breach, path, ownAccount()),
      exit: 'usage',
      code: 'config',
    });
  }
  return bytes.toString('utf8');
}

/** Something in a config that is wrong. */
export interface ConfigProblem {
  /** The key, as `scope.roots.0`; '' if it is about the whole file. */
  key: string;
  /** undefined if no line has the key */
  line: number | undefined;
  /** Without the line. */
  found: string;
  /** The step that fixes it, if the usual one does not. */
  next?: string;
}

/** The values of a config, or all problems that were found in it, in the order of their lines. */
type Checked<T> = { value: T } | { problems: [ConfigProblem, ...ConfigProblem[]] };

/** The version of the keys' meanings that this program reads. A config with a higher one could have another meaning. */
const SCHEMA_VERSION = 1;

/** The key `schema` of both configs. {@link checkConfig} looks at it first. */
export const schemaKey = v.picklist([SCHEMA_VERSION], `should be ${SCHEMA_VERSION}`);

/** Parses and checks a config's text. */
function checkConfig<T extends v.GenericSchema>(text: string, schema: T): Checked<v.InferOutput<T>> {
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = (error.message.split('\n')[0] ?? '').replace('Invalid TOML document: ', '');
    const found = `column ${error.column}: ${escapeText(reason)}`;
    return { problems: [{ key: '', line: error.line, found }] };
  }
  const newer = newerSchema(table);
  if (newer) return { problems: [{ ...newer, line: keyLines(text).lineOf(['schema']) }] };
  const result = v.safeParse(schema, table);
  if (result.success) return { value: result.output };
  const lines = keyLines(text);
  const all = result.issues.flatMap(issue => problemsOf(issue, schema, lines));
  // A value can fail several checks, and a table whose keys are wrong fails those of the table for that reason only.
  const problems = all.filter(
    ({ key }, at) =>
      !all.some(other => other.key.startsWith(`${key}.`)) && all.findIndex(other => other.key === key) === at,
  );
  const [first, ...more] = problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  if (first === undefined) throw new Error('valibot found an issue without a problem');
  return { problems: [first, ...more] };
}

function newerSchema({ schema }: Record<string, unknown>): Omit<ConfigProblem, 'line'> | undefined {
  if (!Number.isSafeInteger(schema) || Number(schema) <= SCHEMA_VERSION) return undefined;
  const found = `"schema" is ${schema}: it was written for a newer dialback, and this one reads ${SCHEMA_VERSION}`;
  return { key: 'schema', found, next: 'install a newer dialback, or use a config of this version' };
}

/**
 * Parses and checks a config's text.
 * @param path the file's, for the Fault
 * @param next the next step in the Fault
 * @throws Fault `usage` that names the line and the key of the first problem
 */
export function parseConfig<T extends v.GenericSchema>(
  text: string,
  path: string,
  schema: T,
  next?: string,
): v.InferOutput<T> {
  const checked = checkConfig(text, schema);
  if ('value' in checked) return checked.value;
  throw configFault(path, { ...(next ? { next } : {}), ...checked.problems[0] });
}

/** The message about a problem of a config. */
export function configFault(path: string, { line, found, next }: ConfigProblem): Fault {
  return new Fault({
    tried: `use the config "${path}"`,
    found: line === undefined ? found : `line ${line}${found.startsWith('column ') ? ', ' : ': '}${found}`,
    exit: 'usage',
    code: 'config',
    ...(next ? { next } : {}),
  });
}

function problemsOf(issue: v.BaseIssue<unknown>, schema: v.GenericSchema, lines: KeyLines): ConfigProblem[] {
  const path: KeyPath = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
  const isUnknown = issue.kind === 'schema' && issue.type === 'strict_object' && issue.expected === 'never';
  if (!isUnknown) {
    const key = v.getDotPath(issue) ?? '';
    return [{ key, line: lines.lineOf(path), found: describe(issue, key) }];
  }
  // valibot names only the first one of each table.
  const [table, known] = [issue.path?.at(-1)?.input ?? {}, keysOfTable(schema, path.slice(0, -1))];
  return Object.keys(table)
    .filter(name => !known.includes(name))
    .map(name => {
      const own = [...path.slice(0, -1), name];
      const key = own.join('.');
      const found = `unknown key "${escapeText(key)}"${suggestion(name, known)}`;
      return { key, line: lines.lineOf(own), found };
    });
}

function describe(issue: v.BaseIssue<unknown>, key: string): string {
  const name = key === '' ? 'the file' : `"${escapeText(key)}"`;
  if (issue.received === 'undefined') return `${name} is missing`;
  const found = `${name} is ${typeText(issue.received)}`;
  if (issue.type === 'picklist') return `${found}, and ${issue.message}`;
  if (issue.kind === 'schema')
    return `${found}, and should be ${typeText(issue.expected ?? 'something else')}`;
  return `${name} ${issue.message}`;
}

/** valibot's names of types, in TOML's terms. */
const TYPES = new Map([
  ['string', 'a string'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
  ['Array', 'a list'],
  ['Object', 'a table'],
  ['null', 'a table'], // smol-toml's tables have no prototype
  ['TomlDate', 'a date'],
]);

/** @param type valibot's name of a type, or a value, which stays as it is */
function typeText(type: string): string {
  return TYPES.get(type) ?? escapeText(type, 100);
}

/** A string such as "20G". The value is in bytes. */
export const sizeKey = v.pipe(
  v.string(),
  v.check(text => parseSize(text) !== undefined, 'should be a size such as "500K", "20M" or "1G"'),
  v.transform(text => parseSize(text) ?? 0),
);

/** Node's timers wait at most 2^31 ms. */
const MAX_TIMER_MS = 24 * 86_400_000;

/**
 * A string such as "36h". The value is in milliseconds.
 * @param mostMs may be above the default only if no timer waits for the duration
 */
export function durationKey(leastMs = 1, mostMs = MAX_TIMER_MS) {
  return v.pipe(
    v.string(),
    v.check(
      text => parseDuration(text) !== undefined,
      'should be a time such as "90s", "15m", "36h" or "7d"',
    ),
    v.transform(text => parseDuration(text) ?? 0),
    v.check(
      ms => ms >= leastMs && ms <= mostMs,
      `should be at least ${leastMs / 1000} s and at most ${mostMs / 86_400_000} days`,
    ),
  );
}

/** The bounds of a quantity. */
interface PercentBounds {
  /** Refuses 0. */
  isPositive?: boolean;
  /** Refuses 100%. */
  isBelowAll?: boolean;
}

/** A string such as "20G" or "10%". The count of a size is in bytes. */
export function sizeOrPercentKey(bounds: PercentBounds = {}) {
  const read = (text: string): Quantity | undefined => {
    const bytes = parseSize(text);
    return bytes === undefined ? parsePercent(text) : { count: bytes };
  };
  return v.pipe(
    v.string(),
    v.check(text => read(text) !== undefined, 'should be a size such as "20G" or a percentage such as "10%"'),
    v.transform(text => read(text) ?? { count: 0 }),
    ...boundsOf(bounds),
  );
}

/** A whole number, or a string such as "5%". */
export function countOrPercentKey(bounds: PercentBounds = {}) {
  const read = (value: unknown): Quantity | undefined => {
    if (typeof value === 'string') return parsePercent(value);
    return Number.isSafeInteger(value) && Number(value) >= 0 ? { count: Number(value) } : undefined;
  };
  return v.pipe(
    v.unknown(),
    v.check(value => read(value) !== undefined, 'should be a whole number, or a percentage such as "5%"'),
    v.transform(value => read(value) ?? { count: 0 }),
    ...boundsOf(bounds),
  );
}

function boundsOf({ isPositive = false, isBelowAll = false }: PercentBounds) {
  const amount = (found: Quantity): number => ('count' in found ? found.count : found.percent);
  return [
    v.check<Quantity, string>(
      found => 'count' in found || (isBelowAll ? found.percent < 100 : found.percent <= 100),
      isBelowAll ? 'should be less than 100%' : 'should be at most 100%',
    ),
    v.check<Quantity, string>(found => !isPositive || amount(found) > 0, 'should be more than 0'),
  ] as const;
}

/** An absolute path. `~/` stands for the account's home folder. */
export const pathKey = v.pipe(
  v.string(),
  v.transform(path =>
    path.startsWith('~/') ? `${homeOfConfig ?? ownAccount().home}${path.slice(1)}` : path,
  ),
  v.check(path => path.startsWith('/'), 'should be an absolute path, or one that starts with ~/'),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  v.check(path => !/[\u0000-\u001f\u007f]/.test(path), 'has a control character'),
);
