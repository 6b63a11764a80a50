/** A list of any length, printed while it is read. */
import { dropGarbage } from '../os/memory.ts';
import { jsonText } from './json.ts';

/** Characters that are collected before they are printed. */
const PORTION = 65_536;

/**
 * Prints rows as they come: as text, or with `asJson` as a JSON array with one element a line. Stops where the reader has
 * gone away.
 * @param print writes a text; false: the reader has gone away
 */
export async function printRows<T>(
  print: (text: string) => boolean,
  rows: AsyncIterable<T> | Iterable<T>,
  asJson: ((row: T) => unknown) | undefined,
  asText: (row: T) => string,
): Promise<void> {
  let text = asJson ? '[' : '';
  let separator = '\n';
  for await (const row of rows) {
    text += asJson ? `${separator}${jsonText(asJson(row)).trimEnd()}` : asText(row);
    separator = ',\n';
    if (text.length < PORTION) continue;
    if (!print(text)) return;
    text = '';
    dropGarbage();
  }
  print(asJson ? `${text}${separator === '\n' ? '' : '\n'}]\n` : text);
}
