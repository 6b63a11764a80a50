/** Tables and lists as text. */

/**
 * Rows in columns, below a line of titles.
 * @param right the indexes of the columns that are aligned to the right: those with numbers
 */
export function table(head: string[], rows: string[][], right: number[] = []): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map(row => row[column]?.length ?? 0)),
  );
  const line = (row: string[]): string =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return `${[head, ...rows].map(line).join('\n')}\n`;
}

/**
 * The last line of a list that is shown in part.
 * @param count the length of the whole list
 * @returns '' where all of it is shown
 */
export function moreText(count: number, shown: readonly unknown[]): string {
  return count > shown.length ? `  and ${count - shown.length} more\n` : '';
}
