/** The page of all clients. */
import { storeSettings } from '../../host/config.ts';
import { overviewOf } from '../../store/overview.ts';
import type { Page } from '../contract.ts';
import { addressOf } from './address.ts';
import { pagesOf } from './cells.ts';
import { clientTable, ORDERS, type Order, ordered, storeFacts } from './fleet.ts';
import { fieldValue, html, type Markup, type Value } from './html.ts';
import { documentOf } from './layout.ts';
import { readQuery, wholeNumber } from './request.ts';

/** Clients on one page. */
const CLIENTS_SHOWN = 100;

/** The values of the form above the table. */
interface Filter {
  q: string;
  state: string;
  sort: Order;
}

/** `/` */
export const overview: Page = async (request, context) => {
  const query = readQuery(request.query, ['q', 'state', 'sort', 'page']);
  const page = wholeNumber(query.page, 'page', 1);
  const filter: Filter = {
    q: query.q ?? '',
    state: query.state === 'problems' ? 'problems' : '',
    sort: ORDERS.find(([key]) => key === query.sort)?.[0] ?? 'state',
  };
  const all = await overviewOf(storeSettings(context.config), context.signal, context.now);
  const wanted = ordered(all.clients, filter.sort).filter(
    ({ client, level }) => client.includes(filter.q.toLowerCase()) && (filter.state === '' || level !== 'ok'),
  );
  const start = (page - 1) * CLIENTS_SHOWN;
  const shown = wanted.slice(start, start + CLIENTS_SHOWN);
  const body = html`${storeFacts(all)}
<h2>Clients</h2>
${filterForm(filter)}
${clientTable(shown, captionOf(wanted.length, start, shown.length), name => addressOf('client', [name]))}
${otherParts(filter, page, start + CLIENTS_SHOWN < wanted.length)}`;
  return {
    status: 200,
    html: documentOf({
      title: 'All clients',
      heading: 'Backups of all clients',
      way: [],
      body,
      isLoggedIn: true,
    }),
  };
};

function captionOf(count: number, start: number, shown: number): string {
  const clients = count === 1 ? '1 client' : `${count} clients`;
  return shown === count ? clients : `${clients}; these are ${start + 1} to ${start + shown}`;
}

function otherParts({ q, state, sort }: Filter, page: number, hasMore: boolean): Markup | undefined {
  const at = (to: number): string | undefined =>
    addressOf('', [], { q: q || undefined, state: state || undefined, sort, page: String(to) });
  return pagesOf([
    page > 1 ? ['Previous clients', at(page - 1)] : undefined,
    hasMore ? ['Next clients', at(page + 1)] : undefined,
  ]);
}

function filterForm({ q, state, sort }: Filter): Value {
  const option = (value: string, text: string, chosen: string): Markup =>
    html`<option value="${value}"${value === chosen && html` selected`}>${text}</option>`;
  return html`<form class="fields" method="get" action="/" role="search" aria-label="Clients">
<p><label for="q">Part of the name</label><input type="search" id="q" name="q" value="${fieldValue(q)}" maxlength="64"></p>
<p><label for="state">State</label><select id="state" name="state">${option('', 'any', state)}${option('problems', 'with a problem', state)}</select></p>
<p><label for="sort">Order</label><select id="sort" name="sort">${ORDERS.map(([key, text]) => option(key, text, sort))}</select></p>
<p><button type="submit">Show</button></p>
</form>`;
}
