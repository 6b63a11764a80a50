/** JSON of another machine: read strictly. */
import type { Parsed } from '../fault.ts';
import { escapeText } from './text.ts';

/**
 * Reads JSON in which no object has a key twice. JSON.parse takes the last of two, other readers the first (RFC 8259,
 * section 4): who checks the one and uses the other is deceived. Its reviver comes too late to tell, so the text is looked
 * through once more.
 * @returns the value; or what is wrong with the text, to follow its name
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

/** @param text what JSON.parse takes: so a string is one from quote to quote, and one before a colon is a key */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, string] of text.matchAll(/[{}]|("[^"\\]*(?:\\.[^"\\]*)*")(?:[ \t\n\r]*:)?/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (string !== undefined && token.endsWith(':')) {
      const key = JSON.parse(string) as string; // two ways of writing it are one key
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
