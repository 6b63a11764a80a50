/** The page of the differences between two snapshots. */
import { Fault } from '../../fault.ts';
import { modeText } from '../../output/tree-entry.ts';
import { compareSnapshots, type Difference } from '../../store/diff.ts';
import type { TreeEntry } from '../../store/fake-super.ts';
import { snapshotNames } from '../../store/snapshot.ts';
import { decodeName, encodeName } from '../../wire/text.ts';
import type { Page, PageContext } from '../contract.ts';
import { addressOf } from './address.ts';
import { type Column, linkTo, noteOf, pagesOf, sizeOf, tableOf, tagOf } from './cells.ts';
import { entryAddress } from './entry.ts';
import { html, type Markup, nameOf, nameText, type Value } from './html.ts';
import { documentOf } from './layout.ts';
import { type ClientRequest, clientRequest, pathOf } from './request.ts';
import { clientStep } from './way.ts';

/** Differences on one page. */
const DIFFERENCES_SHOWN = 500;
const UNREAD_SHOWN = 20;

/** A part of the differences. */
interface Part {
  differences: Difference[];
  hasMore: boolean;
  unread: string[];
}

/** `/diff/NAME/BEFORE/AFTER/PATH…`; the form sends `/diff/NAME?before=…&after=…`. */
export const differences: Page = async (request, context) => {
  const wanted = clientRequest(request, context, ['before', 'after', 'from']);
  const { client, rest, query } = wanted;
  const [before = query.before, after = query.after, ...names] = rest;
  const way = [clientStep(client.name), { shown: 'differences', address: undefined }];
  const title = `Differences of two snapshots of ${client.name}`;
  const form = compareForm(client.name, snapshotNames(client), before, after);
  if (before === undefined || after === undefined)
    return { status: 200, html: documentOf({ title, heading: title, way, body: form, isLoggedIn: true }) };
  const chosen = { before, after, inside: pathOf(names) };
  const from = query.from === undefined ? undefined : encodeName(query.from);
  const part = await readPart(wanted, chosen, from, context);
  const body = html`${form}
<p>From ${before} to ${after}, below ${nameOf(Buffer.concat([Buffer.from('/'), chosen.inside]))}.</p>
${noteOf('warning', 'Unreadable entries', part.unread)}
${partOf(wanted, chosen, part)}`;
  return { status: 200, html: documentOf({ title, heading: title, way, body, isLoggedIn: true }) };
};

interface Chosen {
  before: string;
  after: string;
  inside: Buffer;
}

/** The most snapshots in a field; the newest ones. */
const CHOICES = 2000;

/** The form that chooses two snapshots. @param names oldest first */
export function compareForm(
  client: string,
  names: readonly string[],
  before?: string,
  after?: string,
): Markup {
  const choices = names.slice(-CHOICES).toReversed();
  const field = (
    key: string,
    label: string,
    chosen: string | undefined,
  ): Markup => html`<p><label for="${key}">${label}</label>
<select id="${key}" name="${key}">
${choices.map(name => html`<option${name === chosen && html` selected`}>${name}</option>\n`)}</select></p>`;
  return html`<form class="fields" method="get" action="${addressOf('diff', [client])}" aria-label="Compare two snapshots">
${field('before', 'Compare snapshot', before ?? choices[1])}
${field('after', 'with', after ?? choices[0])}
<p><button type="submit">Compare</button></p>
</form>`;
}

async function readPart(
  { client }: ClientRequest,
  { before, after, inside }: Chosen,
  behind: Buffer | undefined,
  { store, signal }: PageContext,
): Promise<Part> {
  const part: Part = { differences: [], hasMore: false, unread: [] };
  const paths = inside.length === 0 ? [] : [`/${decodeName(inside)}`];
  const complain = (found: string): void => {
    if (part.unread.length < UNREAD_SHOWN) part.unread.push(found);
  };
  const all = compareSnapshots(
    { store, client: client.name, before, after, paths, behind },
    signal,
    complain,
  );
  for await (const each of all) {
    if (part.differences.length === DIFFERENCES_SHOWN) {
      part.hasMore = true;
      break;
    }
    part.differences.push(each);
  }
  if (part.differences.length === 0 && part.unread.length > 0 && behind === undefined)
    throw new Fault({ tried: `compare ${before} with ${after}`, found: part.unread[0] ?? '' });
  return part;
}

function partOf({ client }: ClientRequest, chosen: Chosen, { differences: rows, hasMore }: Part): Markup {
  const { before, after, inside } = chosen;
  const count = rows.length === 1 ? '1 difference' : `${rows.length} differences`;
  const caption = hasMore ? `The next ${count}; there are more` : count;
  const last = rows.at(-1);
  return html`${tableOf(caption, columnsOf(client.name, chosen), rows, 'There is no difference.')}
${pagesOf([
  hasMore && last
    ? ['Later differences', addressOf('diff', [client.name, before, after, inside], { from: last.path })]
    : undefined,
])}`;
}

function columnsOf(client: string, { before, after }: Chosen): Column<Difference>[] {
  return [
    {
      title: 'Path',
      kind: 'path',
      isHeading: true,
      cell: ({ path, after: fresh, before: old }) => {
        const slash = (fresh ?? old)?.type === 'folder' && path.length > 0 && '/';
        const shown = html`${nameOf(Buffer.concat([Buffer.from('/'), path]))}${slash}`;
        return linkTo(
          entryAddress(client, fresh ? after : before, path),
          shown,
          linkLabel(path, fresh ? after : before),
        );
      },
    },
    { title: 'Change', cell: ({ change }) => tagOf(change) },
    { title: 'Size', kind: 'number', cell: sizesOf },
    { title: 'Attributes', kind: 'words', cell: aspectsOf },
  ];
}

function linkLabel(path: Buffer, snapshot: string): string {
  return `/${nameText(path)} in ${snapshot}`;
}

function sizesOf({ before, after }: Difference): Value {
  const size = (entry: TreeEntry | null): Value => (entry?.type === 'file' ? sizeOf(entry.size) : undefined);
  const [old, fresh] = [size(before), size(after)];
  if (old === undefined || fresh === undefined) return old ?? fresh ?? '-';
  return before?.size === after?.size ? fresh : html`${old} &rarr; ${fresh}`;
}

/** The attributes that differ, with the old and the new value of short ones. */
function aspectsOf({ what, before, after }: Difference): Value {
  if (before === null || after === null) return '-';
  const owner = ({ uid, gid }: TreeEntry): string => `${uid}:${gid}`;
  const texts = what.map(aspect => {
    if (aspect === 'type') return `type ${before.type} → ${after.type}`;
    if (aspect === 'mode') return `mode ${modeText(before.mode)} → ${modeText(after.mode)}`;
    if (aspect === 'owner') return `owner ${owner(before)} → ${owner(after)}`;
    return aspect === 'acl' ? 'ACL' : aspect;
  });
  return texts.join(', ');
}
