/** The overview as one file, for mail or a web server. It refers to nothing outside of itself. */
import { createHash } from 'node:crypto';
import type { ClientOverview, Overview } from '../../store/overview.ts';
import { snapshotTime } from '../../wire/text.ts';
import { stateOf, timeOf } from './cells.ts';
import { chartOf } from './charts.ts';
import { clientFacts, problemNotes } from './client-facts.ts';
import { clientTable, ordered, storeFacts } from './fleet.ts';
import { html, type Markup, styleSheet } from './html.ts';
import { frameOf } from './layout.ts';
import { STYLE } from './style.ts';

/** Makes the report. */
export function reportOf(overview: Overview): string {
  const clients = ordered(overview.clients, 'state');
  const count = clients.length === 1 ? '1 client' : `${clients.length} clients`;
  const body = html`${storeFacts(overview)}
<h2>Clients</h2>
${clientTable(clients, `${count}, those with a problem first`, name => `#${sectionOf(name)}`)}
${clients.map(clientSection)}`;
  // A reader's own copy obeys a policy too: the style sheet is the only thing that a browser may use.
  const digest = createHash('sha256').update(STYLE).digest('base64');
  const head = html`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-${digest}'">
<title>Backups of ${count} - dialback</title>
<style>${styleSheet(STYLE)}</style>`;
  const bar = html`<span class="home">dialback</span><span>Report of ${timeOf(overview.at)}</span>`;
  return frameOf({ head, bar, heading: 'Backups of all clients', body, foot: 'Times are in UTC.' });
}

function sectionOf(client: string): string {
  return `client-${client}`;
}

function clientSection(client: ClientOverview): Markup {
  const points = client.growth.map(({ snapshot, bytes }) => ({
    time: snapshotTime(snapshot) ?? new Date(0),
    value: bytes,
  }));
  return html`<section aria-labelledby="${sectionOf(client.client)}">
<h2 id="${sectionOf(client.client)}">${client.client} ${stateOf(client.level)}</h2>
${problemNotes(client)}
${clientFacts(client)}
${chartOf({
  points,
  caption: `Size of the last ${points.length} snapshots`,
  text: `Chart of the size of the last ${points.length} snapshots of ${client.client}`,
  look: 'area',
  unit: 'bytes',
})}
</section>
`;
}
