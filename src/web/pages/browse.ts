/** The page of a folder or a file in a snapshot. */
import { Fault } from '../../fault.ts';
import { fileFault } from '../../os/files.ts';
import type { TreeEntry } from '../../store/fake-super.ts';
import { type FolderPage, readEntry, readFolderPage } from '../../store/folder-page.ts';
import { encodeName } from '../../wire/text.ts';
import type { Page, PageContext, PageReply } from '../contract.ts';
import { addressOf } from './address.ts';
import { linksOf, linkTo, noteOf, pagesOf, stateOf, tableOf } from './cells.ts';
import { entryAddress, entryColumns, entryFacts, lastName } from './entry.ts';
import { html, type Markup, nameOf, nameText } from './html.ts';
import { documentOf } from './layout.ts';
import { type SnapshotRequest, snapshotRequest } from './request.ts';
import { clientStep, pathSteps } from './way.ts';

/** Entries of a folder on one page. */
const ENTRIES_SHOWN = 200;

/** `/browse/NAME/SNAPSHOT/PATH…` */
export const browse: Page = async (request, context) => {
  const wanted = snapshotRequest(request, context, ['after', 'before']);
  const { client, snapshot, inside } = wanted;
  const shown = `/${nameText(inside)}`;
  const tried = `show "${shown}"`;
  try {
    const entry = await readEntry(snapshot.tree, inside, context.signal);
    if (entry === undefined) throw new Fault({ tried, found: `snapshot ${snapshot.name} does not have it` });
    const body = entry.type === 'folder' ? await folderBody(wanted, entry, context) : fileBody(wanted, entry);
    return replyOf(wanted, `${shown} in ${client.name}@${snapshot.name}`, body);
  } catch (error) {
    context.signal.throwIfAborted();
    throw error instanceof Fault ? error : fileFault(error, tried);
  }
};

function replyOf({ client, snapshot, inside }: SnapshotRequest, title: string, body: Markup): PageReply {
  const heading =
    inside.length === 0 ? html`Snapshot ${snapshot.name} of ${client.name}` : nameOf(lastName(inside));
  const way = [
    clientStep(client.name),
    ...pathSteps('browse', [client.name, snapshot.name], snapshot.name, inside),
  ];
  return { status: 200, html: documentOf({ title, heading, way, body, isLoggedIn: true }) };
}

async function folderBody(
  wanted: SnapshotRequest,
  folder: TreeEntry,
  { signal }: PageContext,
): Promise<Markup> {
  const { client, snapshot, inside, query } = wanted;
  const [after, before] = [query.after, query.before].map(text =>
    text === undefined ? undefined : encodeName(text),
  );
  const part = { after, before, count: ENTRIES_SHOWN };
  const page = await readFolderPage(snapshot.tree, inside, part, signal);
  const columns = entryColumns(entry => entryAddress(client.name, snapshot.name, entry.path));
  const isTop = inside.length === 0;
  const shown = page.entries.length === page.total ? '' : `, ${page.entries.length} of them here`;
  const caption = html`${page.total === 1 ? '1 entry' : `${page.total} entries`}${shown}, sorted by name`;
  const hasAttributes = !isTop || snapshot.record.scope.roots.includes('/');
  return html`${stateLine(wanted)}
${linksOf([
  linkTo(
    addressOf('download', [client.name, snapshot.name, inside]),
    isTop ? 'Download all as tar' : 'Download as tar',
  ),
  ...(isTop ? [] : [linkTo(addressOf('versions', [client.name, inside]), 'Versions')]),
  linkTo(addressOf('search', [client.name]), 'Search'),
])}
${noteOf('warning', 'Unreadable entries', page.unread.slice(0, UNREAD_SHOWN))}
${tableOf(caption, columns, page.entries, 'No entries')}
${partLinks(wanted, page)}
${hasAttributes && html`<h2>Attributes of the folder</h2>${entryFacts(folder)}`}`;
}

const UNREAD_SHOWN = 20;

function partLinks({ client, snapshot, inside }: SnapshotRequest, page: FolderPage): Markup | undefined {
  const { entries, hasEarlier, hasLater } = page;
  const [first, last] = [entries[0], entries.at(-1)];
  const at = (query: Record<string, Buffer>): string | undefined =>
    addressOf('browse', [client.name, snapshot.name, inside], query);
  return pagesOf([
    hasEarlier ? ['First entries', at({})] : undefined,
    hasEarlier && first ? ['Earlier names', at({ before: lastName(first.path) })] : undefined,
    hasLater && last ? ['Later names', at({ after: lastName(last.path) })] : undefined,
  ]);
}

function stateLine({ client, snapshot }: SnapshotRequest): Markup {
  return html`<p>In snapshot ${snapshot.name} of ${client.name}: ${stateOf(snapshot.record.state)}</p>`;
}

function fileBody(wanted: SnapshotRequest, entry: TreeEntry): Markup {
  const { client, snapshot, inside } = wanted;
  return html`${stateLine(wanted)}
${linksOf([
  ...(entry.type === 'file'
    ? [linkTo(addressOf('download', [client.name, snapshot.name, inside]), 'Download')]
    : []),
  linkTo(addressOf('versions', [client.name, inside]), 'Versions'),
])}
<h2>Attributes on the client</h2>
${entryFacts(entry)}`;
}
