/**
 * The lines of a TOML text in which its keys are. smol-toml does not report them. So each statement is parsed by itself: it has as many
 * lines as smol-toml needs to read it. The text as a whole must be valid. Pure.
 */
import { parse } from 'smol-toml';

/** The names and indexes from the top of a config to a key. */
export type KeyPath = readonly (string | number)[];

/** Finds the lines of keys. */
export interface KeyLines {
  /** @returns the line of a key, or else of the table that would have it; undefined for a key of the top that is not there */
  lineOf(path: KeyPath): number | undefined;
}

/** @param text a valid TOML text */
export function keyLines(text: string): KeyLines {
  const found = new Map<string, number>();
  /** The last index of each list of tables, by its path. */
  const lists = new Map<string, number>();
  const note = (path: KeyPath, line: number): void => {
    const name = JSON.stringify(path);
    if (!found.has(name)) found.set(name, line);
  };
  let table: KeyPath = [];
  for (const { line, isHeader, value } of statementsOf(text)) {
    if (isHeader) {
      table = tablePath(value, lists);
      for (let length = 1; length <= table.length; length += 1) note(table.slice(0, length), line);
    } else for (const path of pathsOf(value)) note([...table, ...path], line);
  }
  return {
    lineOf(path) {
      for (let length = path.length; length > 0; length -= 1) {
        const line = found.get(JSON.stringify(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return undefined;
    },
  };
}

interface Statement {
  /** Its first line; the first line of the text is 1. */
  line: number;
  /** Whether it is `[table]` or `[[list]]`. */
  isHeader: boolean;
  value: object;
}

/** A line in which a list, an inline table or a text of several lines can end. */
const CAN_END = /[\]}]|"""|'''/;
/** The characters that are parsed at most: a list of thousands of lines with brackets would take minutes. */
const MOST_PARSED = 20_000_000;

/** @returns all statements, or the first ones if the others would take too long */
function* statementsOf(text: string): Generator<Statement> {
  const lines = text.split('\n');
  let left = MOST_PARSED;
  for (let from = 0; from < lines.length; ) {
    let end = from + 1;
    let length = 0;
    let value: object | undefined;
    for (; end <= lines.length; end += 1) {
      const last = lines[end - 1] ?? '';
      length += last.length;
      if (end > from + 1 && !CAN_END.test(last)) continue;
      left -= length;
      if (left < 0) return;
      value = parsed(`${lines.slice(from, end).join('\n')}\n`);
      if (value !== undefined) break;
    }
    if (value !== undefined && Object.keys(value).length > 0)
      yield { line: from + 1, isHeader: /^\s*\[/.test(lines[from] ?? ''), value };
    from = end;
  }
}

function parsed(text: string): object | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** The path of a header, as `{ a: { b: [{}] } }` for `[[a.b]]`. Names of lists that it leads through get the last index. */
function tablePath(value: unknown, lists: Map<string, number>): KeyPath {
  const path: (string | number)[] = [];
  for (let at = value; ; ) {
    const [name, inner] = Object.entries(at as object)[0] ?? [];
    if (name === undefined) return path;
    path.push(name);
    const list = JSON.stringify(path);
    const last = lists.get(list);
    if (Array.isArray(inner)) {
      const index = last === undefined ? 0 : last + 1;
      lists.set(list, index);
      return [...path, index];
    }
    if (last !== undefined) path.push(last);
    at = inner;
  }
}

/** All paths in a value, of tables and lists too. */
function pathsOf(value: unknown): KeyPath[] {
  if (typeof value !== 'object' || value === null || value instanceof Date) return [];
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? [...value.entries()]
    : Object.entries(value);
  return entries.flatMap(([name, inner]) => [[name], ...pathsOf(inner).map(path => [name, ...path])]);
}
