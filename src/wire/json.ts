/** A strict reader for JSON from another machine. */
import type { Parsed } from '../fault.ts';
import { escapeText } from './text.ts';

/**
 * Parses JSON and refuses an object that has a key twice. JSON.parse takes the last of two values, other parsers the first (RFC 8259,
 * section 4), so a check of one could be followed by the use of the other. A reviver sees only one of them, so this searches the
 * text itself.
 * @returns the value; or the error, worded to follow the name of the text
 */
export function parseJson(text: string): Parsed<unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { reason: 'is not JSON' };
  }
  const repeated = repeatedKey(text);
  if (repeated === undefined) return { value };
  return { reason: `has the key "${escapeText(repeated, 60)}" twice in one object` };
}

/** Finds a repeated key. @param text valid JSON, in which each string before a colon is a key */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, string] of text.matchAll(/[{}]|("[^"\\]*(?:\\.[^"\\]*)*")(?:[ \t\n\r]*:)?/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (string !== undefined && token.endsWith(':')) {
      // A key can be written with and without escapes.
      const key = string.includes('\\') ? (JSON.parse(string) as string) : string.slice(1, -1);
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
