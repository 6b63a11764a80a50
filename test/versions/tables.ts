/**
 * docs/versions.md: the parts between its markers. A table has the result of each combination, and is compared with the tests that ran.
 * The list of versions is not compared, since an update of a distribution is not a failure.
 */

/** Rows and columns in their order, and the texts of the cells; a cell without a key is a dash. */
export interface Table {
  name: string;
  /** Of the columns that name a row. */
  labels: string[];
  rows: string[][];
  columns: string[];
  cells: Map<string, string>;
}

export function cellKey(row: string[], column: string): string {
  return [...row, column].join('|');
}

const NOT_RUN = '—';

function formatRow(cells: string[]): string {
  return `| ${cells.join(' | ')} |`;
}

export function formatTable({ labels, rows, columns, cells }: Table): string {
  return [
    formatRow([...labels, ...columns]),
    formatRow([...labels, ...columns].map(() => '---')),
    ...rows.map(row =>
      formatRow([...row, ...columns.map(column => cells.get(cellKey(row, column)) ?? NOT_RUN)]),
    ),
  ].join('\n');
}

function markers(name: string): [string, string] {
  return [`<!-- generated: ${name} -->`, `<!-- end: ${name} -->`];
}

/** The text between the markers of a name. @throws if a marker is missing */
export function readPart(document: string, name: string): string {
  const [begin, end] = markers(name);
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(`Cannot find the part "${name}": it needs "${begin}" and "${end}"`);
  return document.slice(from + begin.length, to).trim();
}

export function replacePart(document: string, name: string, text: string): string {
  readPart(document, name);
  const [begin, end] = markers(name);
  const [head, tail] = [document.slice(0, document.indexOf(begin)), document.slice(document.indexOf(end))];
  return `${head}${begin}\n${text}\n${tail}`;
}

/** The cells of a formatted table. @param labelCount how many columns name a row */
export function parseTable(text: string, labelCount: number): Map<string, string> {
  const [header = [], , ...rows] = text
    .split('\n')
    .filter(line => line.startsWith('|'))
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(each => each.trim()),
    );
  const cells = new Map<string, string>();
  for (const row of rows)
    for (const [index, column] of header.entries())
      if (index >= labelCount) cells.set(cellKey(row.slice(0, labelCount), column), row[index] ?? '');
  return cells;
}

/** @param ran the cells of tests that ran; other cells may have any text that the plan allows */
export function compareTable(text: string, ran: Table): string[] {
  const documented = parseTable(text, ran.labels.length);
  const planned = new Set(ran.rows.flatMap(row => ran.columns.map(column => cellKey(row, column))));
  const differences: string[] = [];
  for (const key of documented.keys()) if (!planned.has(key)) differences.push(`${key}: is no longer tested`);
  for (const key of planned) {
    const [is, says] = [ran.cells.get(key), documented.get(key)];
    if (says === undefined) differences.push(`${key}: is missing`);
    else if (is !== undefined && is !== says) differences.push(`${key}: says "${says}", and it is "${is}"`);
  }
  return differences;
}

/** Cells of tests that did not run keep the document's text. */
export function keepDocumented(text: string, ran: Table): Table {
  return { ...ran, cells: new Map([...parseTable(text, ran.labels.length), ...ran.cells]) };
}
