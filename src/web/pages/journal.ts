/** The tables of a client's journal. */
import type { ClientJournal, JournalEntry } from '../data.ts';
import { addressOf } from './address.ts';
import { type Column, linkTo, pagesOf, spanOf, stateOf, tableOf, timeOf } from './cells.ts';
import { html, type Markup, type Value } from './html.ts';

/** Runs on one page, and other entries. */
const RUNS_SHOWN = 50;
const OTHERS_SHOWN = 30;
/** Characters of a text of the journal. */
const TEXT_SHOWN = 600;

/** The runs, and below them the other entries. @param page of the runs, from 1 on */
export function journalTables(client: string, { runs, others }: ClientJournal, page: number): Markup {
  const start = (page - 1) * RUNS_SHOWN;
  const at = (to: number): string | undefined => {
    const address = addressOf('client', [client], { runs: String(to) });
    return address && `${address}#runs`;
  };
  const count = runs.length === 1 ? '1 run or refused request' : `${runs.length} runs and refused requests`;
  return html`<h2 id="runs">Runs</h2>
${tableOf(`${count} in the journal, the newest first`, runColumns(client), runs.slice(start, start + RUNS_SHOWN), 'The journal has no run here.')}
${pagesOf([
  page > 1 ? ['Newer runs', at(page - 1)] : undefined,
  start + RUNS_SHOWN < runs.length ? ['Older runs', at(page + 1)] : undefined,
])}
${
  others.length > 0 &&
  html`<h2>Other entries of the journal</h2>
${tableOf(`The newest ${Math.min(OTHERS_SHOWN, others.length)} of ${others.length}`, OTHER_COLUMNS, others.slice(0, OTHERS_SHOWN), '')}`
}`;
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN).toWellFormed()}…` : text;
}

const TIME: Column<JournalEntry> = {
  title: 'Time',
  isHeading: true,
  cell: ({ time }) => timeOf(textOf(time)),
};

function runColumns(client: string): Column<JournalEntry>[] {
  return [
    TIME,
    { title: 'Outcome', cell: outcomeOf },
    {
      title: 'Snapshot',
      cell: ({ snapshot }) =>
        typeof snapshot === 'string' ? linkTo(addressOf('browse', [client, snapshot]), snapshot) : '-',
    },
    {
      title: 'Duration',
      kind: 'number',
      cell: ({ duration_ms: ms }) => spanOf(typeof ms === 'number' ? ms : null),
    },
    { title: 'From', kind: 'mono', cell: ({ peer }) => textOf(peer) || '-' },
    {
      title: 'Reason',
      kind: 'words',
      cell: ({ code, reason }) => html`<bdi>${textOf(reason ?? code)}</bdi>`,
    },
  ];
}

function outcomeOf({ event, outcome }: JournalEntry): Value {
  const kind = event === 'run' ? '' : event === 'refused' ? 'refused: ' : `${textOf(event)}: `;
  return [kind, stateOf(textOf(outcome))];
}

const OTHER_COLUMNS: Column<JournalEntry>[] = [
  TIME,
  { title: 'Event', cell: ({ event }) => textOf(event) },
  { title: 'Details', kind: 'words', cell: detailsOf },
];

function detailsOf({ time: _, event: __, ...more }: JournalEntry): Value {
  const parts = Object.entries(more).filter(([, value]) => value !== null && value !== undefined);
  return html`<bdi>${parts.map(([key, value]) => `${key}: ${textOf(value)}`).join(', ') || '-'}</bdi>`;
}
