/** JSON on standard output. */
import { plainJson } from '../wire/text.ts';

/** A value as one line of JSON. Characters that a terminal obeys or hides are written as escapes. */
export function jsonText(value: unknown): string {
  return `${plainJson(value)}\n`;
}
