/** The keys of a config, read from its schema: for messages, for `dialback config show`, and for the manual page. Pure. */
import type * as v from 'valibot';
import type { KeyPath } from './toml-lines.ts';

/** The name of each entry of a list of tables, and of a table whose names the user chooses. */
export const ANY = '*';

/** The parts of valibot's schemas that are read here. */
interface Shape {
  type?: string;
  entries?: Record<string, Shape>;
  /** An optional key has it. */
  wrapped?: Shape;
  /** A list has it. */
  item?: Shape;
  pipe?: Shape[];
  /** A table with any names has it. */
  value?: Shape;
  default?: unknown;
  /** A key with a few possible values has them. */
  options?: unknown[];
  /** A check has it. */
  message?: unknown;
}

/** A key of a config. */
export interface ConfigKey {
  /** Its names from the top; {@link ANY} stands for the entries of a list of tables, or of a table with any names. */
  path: readonly string[];
  /** The default, as it would be written in the file; undefined if there is no fixed one. */
  fallback: unknown;
  isRequired: boolean;
  /** The values that it takes. */
  takes: string;
}

/** All keys of a config, in the order of its schema; a key that is a table is not one of them. */
export function configKeys(schema: v.GenericSchema): ConfigKey[] {
  return keysBelow(schema as Shape, []);
}

function keysBelow(schema: Shape, path: readonly string[]): ConfigKey[] {
  const table = tableOf(schema);
  if (table === undefined) return [];
  const here = table.isNamed ? [...path, ANY] : path;
  return Object.entries(table.entries).flatMap(([name, entry]) => {
    const below = keysBelow(entry, [...here, name]);
    if (below.length > 0) return below;
    const isRequired = entry.type !== 'optional';
    return [{ path: [...here, name], fallback: entry.default, isRequired, takes: takesOf(entry) }];
  });
}

/** The keys of the table at a path of a config; none if there is no table. */
export function keysOfTable(schema: v.GenericSchema, path: KeyPath): string[] {
  let at: Shape | undefined = schema as Shape;
  for (const name of path) {
    const table: Table | undefined = at && tableOf(at);
    if (table === undefined) return [];
    if (table.isNamed) at = { entries: table.entries };
    else at = table.entries[String(name)];
  }
  const found = at && tableOf(at);
  return found === undefined || found.isNamed ? [] : Object.keys(found.entries);
}

interface Table {
  entries: Record<string, Shape>;
  /** Whether it is a list of such tables, or a table of them by name. */
  isNamed: boolean;
}

function tableOf(schema: Shape): Table | undefined {
  if (schema.entries) return { entries: schema.entries, isNamed: false };
  const named = schema.item ?? schema.value;
  if (named) {
    const found = tableOf(named);
    return found && { entries: found.entries, isNamed: true };
  }
  for (const each of [schema.wrapped, ...(schema.pipe ?? [])]) {
    const found = each === undefined || each === schema ? undefined : tableOf(each);
    if (found) return found;
  }
  return undefined;
}

const TYPES: Record<string, string> = {
  string: 'a string',
  boolean: 'true or false',
  number: 'a number',
};
const SHOULD_BE = 'should be ';

/** The values of a key: from the messages of its checks, or from its type. */
function takesOf(schema: Shape): string {
  if (schema.wrapped) return takesOf(schema.wrapped);
  const parts = schema.pipe?.flatMap(each => (each.pipe && each !== schema ? each.pipe : [each])) ?? [schema];
  const list = parts.find(each => each.item);
  if (list?.item) return `a list; each entry is ${takesOf(list.item)}`;
  const limits = parts.flatMap(({ message }) =>
    typeof message === 'string' && message.startsWith(SHOULD_BE) ? message.slice(SHOULD_BE.length) : [],
  );
  if (limits.length > 0) return [...new Set(limits)].join(', ');
  return parts.flatMap(({ type }) => TYPES[type ?? ''] ?? [])[0] ?? 'a value';
}
