/** The store and the table of all clients, for the overview and the report. */
import { showBytes } from '../../output/units.ts';
import type { ClientOverview, DiskOverview, Overview } from '../../store/overview.ts';
import { ageOf, factsOf, linkTo, sizeOf, stateOf, tableOf, timeOf } from './cells.ts';
import { diskBar } from './charts.ts';
import { growthOf, problemNotes } from './client-facts.ts';
import { html, type Markup, type Value } from './html.ts';

/** The orders of the table. */
export const ORDERS = [
  ['state', 'problems first'],
  ['name', 'name'],
  ['age', 'oldest backup first'],
  ['size', 'largest first'],
] as const;
export type Order = (typeof ORDERS)[number][0];

const RANK: Record<ClientOverview['level'], number> = { critical: 0, warning: 1, ok: 2 };

/** The clients in an order; equal ones by name. */
export function ordered(clients: readonly ClientOverview[], order: Order): ClientOverview[] {
  const values: Record<Order, (client: ClientOverview) => number> = {
    state: ({ level }) => RANK[level],
    name: () => 0,
    age: ({ last_full: full }) => -(full?.age_ms ?? Number.MAX_VALUE),
    size: ({ last_full: full }) => -(full?.bytes ?? 0),
  };
  const value = values[order];
  return [...clients].sort((one, other) => value(one) - value(other) || (one.client < other.client ? -1 : 1));
}

/** The counts of clients by state, the problems of the store, and its disk. */
export function storeFacts({ at, store, clients, problems, disk }: Overview): Markup {
  const count = (level: string): number => clients.filter(each => each.level === level).length;
  const numbers = [
    [count('critical'), 'critical'],
    [count('warning'), 'warning'],
    [count('ok'), 'ok'],
  ] as const;
  return html`<ul class="counts">
${numbers.map(([number, level]) => html`<li><b>${number}</b> ${stateOf(level)}</li>\n`)}</ul>
${problemNotes({ problems })}
<h2>Store</h2>
${factsOf([
  ['Folder', html`<bdi class="name">${store}</bdi>`],
  ['Time of this page', timeOf(at)],
  [
    'Free space',
    html`${sizeOf(disk.free_bytes)} of ${sizeOf(disk.total_bytes)}; ${sizeOf(disk.min_free_bytes)} must stay free`,
  ],
  disk.total_inodes === 0 ? undefined : ['Free inodes', `${disk.free_inodes} of ${disk.total_inodes}`],
  ['Days until full', forecastText(disk)],
])}
${diskBar(disk, `${showBytes(disk.total_bytes - disk.free_bytes)} of ${showBytes(disk.total_bytes)} are used`)}`;
}

function forecastText({ forecast }: DiskOverview): string {
  if (forecast === null) return 'unknown: there is too little data';
  const { days_until_full: days, growth_bytes_per_day: growth, basis } = forecast;
  const perDay = `${growth < 0 ? '-' : ''}${showBytes(Math.abs(growth))} a day`;
  const ground =
    basis === 'free-space' ? 'by the free space of the last days' : 'by the new bytes of the last snapshots';
  const shown =
    days === null ? 'more than ten years, or it does not grow' : days < 10 ? days : Math.round(days);
  return `${shown} (${perDay}, ${ground})`;
}

/** The table of clients. @param addressOfClient where the page or the section of a client is */
export function clientTable(
  clients: readonly ClientOverview[],
  caption: string,
  addressOfClient: (name: string) => string | undefined,
): Value {
  return tableOf<ClientOverview>(
    caption,
    [
      { title: 'Client', isHeading: true, cell: ({ client }) => linkTo(addressOfClient(client), client) },
      { title: 'State', cell: ({ level, retired }) => [stateOf(level), retired !== null && ' retired'] },
      { title: 'Alerts', kind: 'words', cell: alertsOf },
      {
        title: 'Last full',
        cell: ({ last_full: full }) =>
          full ? html`<span title="${full.snapshot}">${ageOf(full.age_ms)}</span>` : 'none',
      },
      { title: 'Size', kind: 'number', cell: ({ last_full: full }) => (full ? sizeOf(full.bytes) : '-') },
      { title: 'Growth', cell: growthOf },
      { title: 'New', kind: 'number', cell: ({ last_full: full }) => (full ? sizeOf(full.new_bytes) : '-') },
      { title: 'On the disk', kind: 'number', cell: ({ held }) => (held ? sizeOf(held.bytes) : '?') },
      { title: 'Snapshots', kind: 'number', cell: ({ snapshots }) => snapshots },
      {
        title: 'Next removal',
        cell: ({ next_removal: next }) =>
          next ? html`<span title="${next.snapshot}">${timeOf(next.at)}</span>` : 'none',
      },
    ],
    clients,
    'There is no such client.',
  );
}

/** Alerts in a cell; the client's own page has all. */
const ALERTS_SHOWN = 3;

function alertsOf({ problems }: ClientOverview): Value {
  if (problems.length === 0) return 'none';
  const shown = problems.slice(0, ALERTS_SHOWN).map(({ text }) => html`<bdi>${text}</bdi><br>`);
  return [shown, problems.length > ALERTS_SHOWN && `and ${problems.length - ALERTS_SHOWN} more`];
}
