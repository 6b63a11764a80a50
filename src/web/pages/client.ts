/** The page of a client: its state, its snapshots and the decisions of retention, and its runs. */
import { storeSettings } from '../../host/config.ts';
import { clientOverviewOf } from '../../store/overview.ts';
import { snapshotTime } from '../../wire/text.ts';
import type { Page } from '../contract.ts';
import { clientJournal, type DecidedSnapshot, decidedSnapshots } from '../data.ts';
import { addressOf } from './address.ts';
import {
  ageOf,
  type Column,
  linksOf,
  linkTo,
  pagesOf,
  sizeOf,
  spanOf,
  stateOf,
  tableOf,
  tagOf,
} from './cells.ts';
import { chartOf, type Mark, type Point, timeLine } from './charts.ts';
import { clientFacts, problemNotes } from './client-facts.ts';
import { compareForm } from './differences.ts';
import { html, type Markup, type Value } from './html.ts';
import { journalTables } from './journal.ts';
import { documentOf } from './layout.ts';
import { clientRequest, wholeNumber } from './request.ts';
import { searchForm } from './search.ts';

/** Snapshots on one page. */
const SNAPSHOTS_SHOWN = 100;

/** `/client/NAME` */
export const client: Page = async (request, context) => {
  const { client: store, query } = clientRequest(request, context, ['page', 'runs']);
  const { name } = store;
  const settings = storeSettings(context.config);
  const facts = clientOverviewOf(settings, name, context.now);
  const all = decidedSnapshots(store, settings, context.now);
  const page = wholeNumber(query.page, 'page', 1);
  const runs = wholeNumber(query.runs, 'runs', 1);
  const names = all.map(each => each.name);
  const newest = names.at(-1);
  const body = html`<p>${stateOf(facts.level)}</p>
${problemNotes(facts)}
${linksOf(
  newest === undefined
    ? []
    : [
        linkTo(addressOf('browse', [name, newest]), 'Browse the newest snapshot'),
        linkTo('#snapshots', 'Snapshots'),
        linkTo('#runs', 'Runs'),
      ],
)}
${clientFacts(facts)}
${newest !== undefined && html`<h2>Find files</h2>${searchForm(name)}`}
${names.length > 1 && html`<h2>Compare</h2>${compareForm(name, names)}`}
<h2>Growth</h2>
${all.length < 2 ? html`<p>There are no two snapshots to compare yet.</p>` : chartsOf(all)}
<h2 id="snapshots">Snapshots</h2>
${timeLineOf(all)}
${snapshotTable(name, all, page, context.now)}
${journalTables(name, clientJournal(store), runs)}`;
  const way = [{ shown: name, address: undefined }];
  return {
    status: 200,
    html: documentOf({ title: `Client ${name}`, heading: name, way, body, isLoggedIn: true }),
  };
};

const timeIn = (name: string): Date => snapshotTime(name) ?? new Date(0);

function chartsOf(all: readonly DecidedSnapshot[]): Markup {
  const pointsOf = (value: (each: DecidedSnapshot) => number): Point[] =>
    all.map(each => ({ time: timeIn(each.name), value: value(each) }));
  const first = all[0]?.name ?? '';
  const last = all.at(-1)?.name ?? '';
  const span = `from ${first} to ${last}; the table of snapshots has the numbers`;
  return html`<div class="charts">${chartOf({
    points: pointsOf(each => each.bytes),
    caption: 'Size of each snapshot: the bytes of all its files',
    text: `Chart of the size of ${all.length} snapshots, ${span}`,
    look: 'area',
    unit: 'bytes',
  })}
${chartOf({
  points: pointsOf(each => each.new_bytes).slice(1),
  caption: 'New bytes of each snapshot after the first: files that no earlier snapshot had',
  text: `Chart of the new bytes of ${all.length - 1} snapshots, ${span}`,
  look: 'bars',
  unit: 'bytes',
})}
${chartOf({
  points: all.flatMap(each =>
    each.duration_ms === null ? [] : [{ time: timeIn(each.name), value: each.duration_ms / 1000 }],
  ),
  caption: 'Duration of each run',
  text: `Chart of the durations of runs, ${span}`,
  look: 'bars',
  unit: 'seconds',
})}</div>`;
}

function timeLineOf(all: readonly DecidedSnapshot[]): Markup | undefined {
  const marks = all.map(
    ({ name, state, flags, pinned, keep }): Mark => ({
      name,
      state,
      time: timeIn(name),
      isFlagged: flags.length > 0,
      isPinned: pinned !== null,
      isGoing: !keep,
    }),
  );
  const count = (is: (mark: Mark) => boolean): number => marks.filter(is).length;
  const text = `Time line of ${marks.length} snapshots: ${count(each => each.state !== 'full')} incomplete, ${count(each => each.isFlagged)} flagged, ${count(each => each.isPinned)} pinned, ${count(each => each.isGoing)} to be removed. The table of snapshots has the same.`;
  const caption =
    'Filled: full. Hollow: incomplete. Another color: flagged. A line above: pinned. A cross below: the next prune removes it.';
  return timeLine(marks, caption, text);
}

/** A row of the table: a snapshot and the one before it. */
interface Row {
  snapshot: DecidedSnapshot;
  before: string | undefined;
}

function snapshotTable(client: string, all: readonly DecidedSnapshot[], page: number, now: Date): Value {
  const rows = all.map((snapshot, at): Row => ({ snapshot, before: all[at - 1]?.name })).reverse();
  const start = (page - 1) * SNAPSHOTS_SHOWN;
  const shown = rows.slice(start, start + SNAPSHOTS_SHOWN);
  const going = all.filter(each => !each.keep).length;
  const count = all.length === 1 ? '1 snapshot' : `${all.length} snapshots`;
  const caption = `${count}, the newest first. The next prune removes ${going} of them.`;
  const at = (to: number): string | undefined => addressOf('client', [client], { page: String(to) });
  return html`${tableOf(caption, columnsOf(client, now), shown, 'No snapshot yet')}
${pagesOf([
  page > 1 ? ['Newer snapshots', at(page - 1)] : undefined,
  start + SNAPSHOTS_SHOWN < rows.length ? ['Older snapshots', at(page + 1)] : undefined,
])}`;
}

function columnsOf(client: string, now: Date): Column<Row>[] {
  return [
    {
      title: 'Snapshot',
      isHeading: true,
      cell: ({ snapshot: { name } }) => linkTo(addressOf('browse', [client, name]), name),
    },
    {
      title: 'State',
      cell: ({ snapshot: { state, flags, pinned } }) => [
        stateOf(state),
        ' ',
        flags.map(tagOf),
        pinned !== null && tagOf('pinned'),
      ],
    },
    { title: 'Age', cell: ({ snapshot: { name } }) => ageOf(now.getTime() - timeIn(name).getTime()) },
    { title: 'Size', kind: 'number', cell: ({ snapshot }) => sizeOf(snapshot.bytes) },
    { title: 'New', kind: 'number', cell: ({ snapshot }) => sizeOf(snapshot.new_bytes) },
    { title: 'Files', kind: 'number', cell: ({ snapshot }) => snapshot.files },
    { title: 'Duration', kind: 'number', cell: ({ snapshot }) => spanOf(snapshot.duration_ms) },
    { title: 'Retention', kind: 'words', cell: ({ snapshot }) => retentionText(snapshot) },
    {
      title: 'Compare',
      cell: ({ snapshot: { name }, before }) => {
        const address = before && addressOf('diff', [client, before, name]);
        return address ? linkTo(address, 'compare', `Compare ${name} with the one before`) : '-';
      },
    },
  ];
}

function retentionText({ keep, reasons, mayGoAtLowWater, pinned }: DecidedSnapshot): Value {
  const decision = keep ? 'stays' : 'goes';
  const room = keep && mayGoAtLowWater && ' (goes sooner if space is needed)';
  const reason = pinned !== null && pinned !== '' && html`; pin: <bdi>${pinned}</bdi>`;
  return html`${decision}: ${reasons.join(', ')}${room}${reason}`;
}
