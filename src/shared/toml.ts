/** What both config files have in common: TOML in, a checked value or a fault that names the key out. */
import { parse, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { fixCommand, inspectCommand } from '../os/access-advice.ts';
import { findAccount, ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, stat } from '../os/files.ts';
import { findBreach } from '../os/trust.ts';
import { escapeText } from '../wire/text.ts';

const CONFIG_LIMIT = 1024 * 1024;

/** The config files, and the command that writes one where there is none. */
const WRITERS = { 'client.toml': 'dialback init', 'host.toml': 'dialback enroll NAME KEYFILE' } as const;

type ConfigName = keyof typeof WRITERS;

/** The user's own folder for configs; `init` keeps its key there too. */
export function ownConfigFolder(): string {
  return `${ownAccount().home}/.config/dialback`;
}

function configPlaces(fileName: ConfigName): [own: string, system: string] {
  return [`${ownConfigFolder()}/${fileName}`, `/etc/dialback/${fileName}`];
}

/** What writes a config of this name where there is none; on a client, what belongs to its host is run there. */
function nextForAbsent(fileName: ConfigName): string {
  if (fileName === 'host.toml' && findConfig('client.toml') !== undefined)
    return 'run it on the backup host: this machine is a client';
  return `${WRITERS[fileName]} (it writes one; or name one with --config)`;
}

/**
 * Finds the config file: the one named, else the first that exists of the user's and the system's.
 */
export function configPath(fileName: ConfigName, named: string | undefined): string {
  const found = named ?? findConfig(fileName);
  if (found !== undefined) return found;
  throw new Fault({
    tried: `read the config "${fileName}"`,
    found: `it is neither ${[...configPlaces(fileName), ...placesForRoot(fileName)].join(' nor ')}`,
    next: nextForAbsent(fileName),
    exit: 'usage',
  });
}

/** The account that `make install` makes. */
const SERVICE_ACCOUNT = 'dialback';

/**
 * The first config file of that name that exists, the user's or the system's; or undefined. Root, who restores and looks, finds
 * the service account's host.toml too.
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
 * The config file that is there, or else the one to write: the one named, else the user's own. For the verbs that
 * write one where there is none.
 */
export function configPlace(
  fileName: ConfigName,
  named: string | undefined,
): { path: string; isThere: boolean } {
  const places = named === undefined ? configPlaces(fileName) : [named];
  const found = places.find(mayBeThere);
  return { path: found ?? places[0] ?? '', isThere: found !== undefined };
}

/** What cannot be seen may be there: then reading it says why it cannot be read. */
function mayBeThere(path: string): boolean {
  try {
    stat(path);
    return true;
  } catch (error) {
    return !failedWith(error, 'ENOENT') && !failedWith(error, 'ENOTDIR');
  }
}

/**
 * Reads a config file whole.
 * @param schema valibot's; strict objects, so that an unknown key is refused by its path
 * @param fileName what it is called usually: the sample has that name too
 * @throws Fault with exit 2, always naming the file, and the key where it is one
 */
export function readConfig<T extends v.GenericSchema>(
  path: string,
  schema: T,
  fileName: ConfigName,
): v.InferOutput<T> {
  const next = `compare it with /etc/dialback/${fileName}.sample, which has every key`;
  const text = readTrusted(path, fileName);
  homeOfConfig = ownerHome(path);
  try {
    return parseConfig(text, path, schema, next);
  } finally {
    homeOfConfig = undefined;
  }
}

/** What `~/` stands for in the config that is being read; undefined: our own home folder. */
let homeOfConfig: string | undefined;

/** Root reads the config of the account that receives: the home folder in it is that account's. */
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
  // Who can write the config decides what is done. Its owner may: that is us, or, where root restores, the host's account.
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

/** Parses a config's text; `path` and `next` are only for the fault. */
export function parseConfig<T extends v.GenericSchema>(
  text: string,
  path: string,
  schema: T,
  next?: string,
): v.InferOutput<T> {
  const tried = `use the config "${path}"`;
  const fault = (found: string): Fault =>
    new Fault({ tried, found, exit: 'usage', code: 'config', ...(next ? { next } : {}) });
  let table: unknown;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = (error.message.split('\n')[0] ?? '').replace('Invalid TOML document: ', '');
    throw fault(`line ${error.line}, column ${error.column}: ${escapeText(reason)}`);
  }
  const result = v.safeParse(schema, table, { abortEarly: true });
  if (result.success) return result.output;
  throw fault(describe(result.issues[0]));
}

function describe(issue: v.BaseIssue<unknown>): string {
  const key = v.getDotPath(issue) ?? '';
  const name = key === '' ? 'the file' : `"${escapeText(key)}"`;
  if (issue.kind === 'schema' && issue.type === 'strict_object' && issue.expected === 'never') {
    return `${name} is not a key that it has`;
  }
  if (issue.received === 'undefined') return `${name} is missing`;
  const found = `${name} is ${inWords(issue.received)}`;
  if (issue.type === 'picklist') return `${found}, and ${issue.message}`;
  if (issue.kind === 'schema')
    return `${found}, and should be ${inWords(issue.expected ?? 'something else')}`;
  return `${name} ${issue.message}`;
}

/** valibot's names of types in TOML's words; what is none of them is a value, and stays as it is. */
const WORDS = new Map([
  ['string', 'a string'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
  ['Array', 'a list'],
  ['Object', 'a table'],
  ['null', 'a table'], // smol-toml's tables have no prototype
  ['TomlDate', 'a date'],
]);

function inWords(type: string): string {
  return WORDS.get(type) ?? escapeText(type, 100);
}

const SIZE_UNITS: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };
const TIME_UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `"20G"` as bytes (powers of 1024, as rsync's), or undefined. */
export function parseSize(text: string): number | undefined {
  const found = /^(\d{1,12})([KMGT]?)$/.exec(text);
  const value = Number(found?.[1]) * (SIZE_UNITS[found?.[2] ?? ''] ?? Number.NaN);
  return found && Number.isSafeInteger(value) ? value : undefined;
}

/** `"36h"` as milliseconds, or undefined. */
export function parseDuration(text: string): number | undefined {
  const found = /^(\d{1,9})(ms|s|m|h|d|w)$/.exec(text);
  const value = Number(found?.[1]) * (TIME_UNITS[found?.[2] ?? ''] ?? Number.NaN);
  return found && Number.isSafeInteger(value) ? value : undefined;
}

/** A string such as "20G"; the value is bytes. */
export const sizeKey = v.pipe(
  v.string(),
  v.check(text => parseSize(text) !== undefined, 'should be a size such as "500K", "20M" or "1G"'),
  v.transform(text => parseSize(text) ?? 0),
);

const MOST_MS = 24 * 86_400_000; // setTimeout(2^31 ms) is the limit of node's timers

/**
 * A string such as "36h"; the value is milliseconds.
 * @param mostMs what no timer waits for may be longer than the default
 */
export function durationKey(leastMs = 1, mostMs = MOST_MS) {
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

/** So many, or so many of a hundred. */
export type Quantity = { count: number } | { percent: number };

/** `"5%"`, `"2.5%"` as a quantity, or undefined; what is over 100 is one too, and for the caller to refuse. */
function parsePercent(text: string): Quantity | undefined {
  const found = /^(\d{1,4}(?:\.\d{1,3})?)%$/.exec(text)?.[1];
  return found === undefined ? undefined : { percent: Number(found) };
}

/** The bounds of a quantity's percentage. */
export interface PercentBounds {
  /** 0 is refused. */
  isPositive?: boolean;
  /** 100 is refused. */
  isBelowAll?: boolean;
}

/** A string such as "20G" or "10%"; of a size, the count is bytes. */
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

/** An absolute path; `~/` stands for the account's home folder. */
export const pathKey = v.pipe(
  v.string(),
  v.transform(path =>
    path.startsWith('~/') ? `${homeOfConfig ?? ownAccount().home}${path.slice(1)}` : path,
  ),
  v.check(path => path.startsWith('/'), 'should be an absolute path, or one that starts with ~/'),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  v.check(path => !/[\u0000-\u001f\u007f]/.test(path), 'has a control character'),
);
