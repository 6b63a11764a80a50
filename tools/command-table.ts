// Writes the table of commands into the documentation: `node tools/command-table.ts`. It is made from the commands themselves, and
// stands between two markers. test/command-table.test.ts compares it.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadCommands } from '../src/commands/table.ts';

/** The files that may have the markers. */
export const DOCUMENTS = ['README.md', 'docs/manual.md'];
const START = '<!-- generated: commands -->';
const END = '<!-- end: commands -->';

const COMMANDS = await loadCommands();

/** A row for each command that help shows: its usage without optional options, the machine, and its summary. */
export function commandTable(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = COMMANDS.map(
    ({ usage, side, summary }) =>
      `| \`${cell(usage.replace(/ \[-([^[\]]|\[[^\]]*\])*\]/g, ''))}\` | ${side} | ${cell(summary)} |\n`,
  );
  return `| command | where | purpose |\n|---|---|---|\n${rows.join('')}`;
}

/** @returns the text with the table between its markers; undefined where it does not have them */
export function withTable(text: string): string | undefined {
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start < 0 || end < start) return undefined;
  return `${text.slice(0, start)}${START}\n${commandTable()}${text.slice(end)}`;
}

if (import.meta.main)
  for (const document of DOCUMENTS) {
    const path = join(import.meta.dirname, '..', document);
    const changed = existsSync(path) ? withTable(readFileSync(path, 'utf8')) : undefined;
    if (changed !== undefined) writeFileSync(path, changed);
  }
