/** JSON output. */
import { plainJson } from '../wire/text.ts';

/** A value as one line of JSON; what a terminal would obey or hide is written as an escape. */
export function jsonText(value: unknown): string {
  return `${plainJson(value)}\n`;
}
