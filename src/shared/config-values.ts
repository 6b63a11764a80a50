/** The values of all keys of a config, and where each comes from: for `dialback config show`. Pure. */
import { parse, stringify } from 'smol-toml';
import type * as v from 'valibot';
import { ANY, type ConfigKey, configKeys } from './config-keys.ts';
import { type KeyPath, keyLines } from './toml-lines.ts';

/** The value of a key. */
export interface ConfigValue {
  path: KeyPath;
  /** As it would be written in the file, with `~/` expanded; undefined if it is not set and has no default. */
  value: unknown;
  origin: 'file' | 'default' | 'unset';
  /** The line of the file that sets it. */
  line: number | undefined;
}

/** A config, as it was read. */
interface ReadConfig {
  text: string;
  schema: v.GenericSchema;
  /** The schema's output for the text. */
  parsed: unknown;
  /** The defaults that the schema does not have, by the path of the key. */
  defaults: ReadonlyMap<string, unknown>;
}

/** @returns the values in the order of the schema */
export function configValues({ text, schema, parsed, defaults }: ReadConfig): ConfigValue[] {
  const written: unknown = parse(text);
  const lines = keyLines(text);
  const keys = configKeys(schema);
  const resolve = ({ path: pattern, fallback }: ConfigKey, path: KeyPath): ConfigValue => {
    const value = at(written, path);
    if (value !== undefined)
      return { path, value: expanded(value, at(parsed, path)), origin: 'file', line: lines.lineOf(path) };
    const own = fallback ?? defaults.get(path.join('.'));
    if (own !== undefined) return { path, value: own, origin: 'default', line: undefined };
    // A key that is not set for one client has the value for all.
    const general =
      pattern[0] === 'client' ? keys.find(each => isEqual(each.path, pattern.slice(2))) : undefined;
    if (general) return { ...resolve(general, general.path), path };
    return { path, value: undefined, origin: 'unset', line: undefined };
  };
  return keys.flatMap(key => pathsOf(key.path, written).map(path => resolve(key, path)));
}

/** The paths that a key has in a config: one for each table that {@link ANY} stands for. */
function pathsOf(pattern: readonly string[], written: unknown): KeyPath[] {
  const any = pattern.indexOf(ANY);
  if (any < 0) return [pattern];
  const head = pattern.slice(0, any);
  const tables = at(written, head) ?? {};
  const names = Array.isArray(tables) ? [...tables.keys()] : Object.keys(tables);
  return names.map(name => [...head, name, ...pattern.slice(any + 1)]);
}

function at(table: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (found, name) => (found as Record<string | number, unknown> | undefined)?.[name],
    table,
  );
}

/** Paths are shown as they are used; sizes and times as they are written. */
function expanded(written: unknown, parsed: unknown): unknown {
  const isText =
    typeof parsed === 'string' || (Array.isArray(parsed) && parsed.every(each => typeof each === 'string'));
  return isText ? parsed : written;
}

function isEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

/** The column of the comments. */
const COMMENT_COLUMN = 36;

/** The values as a config, with a comment behind each that says where it comes from. */
export function valuesText(values: readonly ConfigValue[]): string {
  const tables = Map.groupBy(values, ({ path }) => JSON.stringify(path.slice(0, -1)));
  return [...tables.values()].map(tableText).join('\n');
}

function tableText(values: readonly ConfigValue[]): string {
  const names = values[0]?.path.slice(0, -1) ?? [];
  const name = names
    .filter(each => typeof each === 'string')
    .map(nameText)
    .join('.');
  const header = typeof names.at(-1) === 'number' ? `[[${name}]]\n` : `[${name}]\n`;
  return `${names.length > 0 ? header : ''}${values.map(lineText).join('')}`;
}

function lineText({ path, value, origin, line }: ConfigValue): string {
  const name = String(path.at(-1));
  if (value === undefined) return `# ${name}: not set\n`;
  const setting = stringify({ [name]: value }).trimEnd();
  const place = line === undefined ? 'the file' : `line ${line}`;
  return `${setting.padEnd(COMMENT_COLUMN)} # ${origin === 'file' ? place : 'default'}\n`;
}

/** A name as TOML writes it in a header. */
function nameText(name: string): string {
  return stringify({ [name]: 1 }).replace(/ = 1\n?$/, '');
}
