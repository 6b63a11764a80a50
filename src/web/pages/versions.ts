/** The page of the versions of a path. */
import { Fault } from '../../fault.ts';
import type { TreeEntry } from '../../store/fake-super.ts';
import { type PathVersion, readVersion, versionsOfPath } from '../../store/file-versions.ts';
import type { Page, PageContext } from '../contract.ts';
import { addressOf } from './address.ts';
import { fileTime, linksOf, linkTo, noteOf, pagesOf, tableOf } from './cells.ts';
import { amountOf, entryAddress } from './entry.ts';
import { html, nameOf, nameText, type Value } from './html.ts';
import { documentOf } from './layout.ts';
import { type ClientRequest, clientRequest, pathOf, wholeNumber } from './request.ts';
import { clientStep } from './way.ts';

/** Versions on one page. Each needs a look at the attributes in another tree. */
const VERSIONS_SHOWN = 50;

/** A version with its attributes; `entry` is undefined if they cannot be read. */
interface Row {
  version: PathVersion;
  entry: TreeEntry | undefined;
  /** The version before it. */
  older: PathVersion | undefined;
}

/** `/versions/NAME/PATH…` */
export const versions: Page = async (request, context) => {
  const wanted = clientRequest(request, context, ['page']);
  const { client, rest, query } = wanted;
  const path = pathOf(rest);
  const shown = `/${nameText(path)}`;
  const all = versionsOfPath(client, path, context.signal);
  if (all.length === 0)
    throw new Fault({
      tried: `show the versions of "${shown}"`,
      found: `no snapshot of "${client.name}" has it`,
    });
  const page = wholeNumber(query.page, 'page', 1);
  const start = (page - 1) * VERSIONS_SHOWN;
  const unread: string[] = [];
  const rows: Row[] = [];
  for (const [at, version] of all.slice(start, start + VERSIONS_SHOWN).entries()) {
    const entry = await attributesOf(wanted, version, context, unread);
    rows.push({ version, entry, older: all[start + at + 1] });
  }
  const isFolder = all[0]?.stored.isFolder === true;
  const newest = all[0]?.snapshots.at(-1) ?? '';
  const body = html`<p>${nameOf(Buffer.concat([Buffer.from('/'), path]))}</p>
${linksOf([linkTo(entryAddress(client.name, newest, path), `In the newest snapshot that has it`)])}
${noteOf('warning', 'Unreadable versions', unread)}
${isFolder && html`<p>Each snapshot has its own copy of a folder. To see what changed in it, compare two snapshots.</p>`}
${versionTable(wanted, path, rows, all.length)}
${pagesOf([
  page > 1
    ? ['Newer versions', addressOf('versions', [client.name, path], { page: String(page - 1) })]
    : undefined,
  start + VERSIONS_SHOWN < all.length
    ? ['Older versions', addressOf('versions', [client.name, path], { page: String(page + 1) })]
    : undefined,
])}`;
  const heading = html`Versions of ${nameOf(path.subarray(path.lastIndexOf('/') + 1))}`;
  const way = [clientStep(client.name), { shown: 'versions', address: undefined }];
  return {
    status: 200,
    html: documentOf({
      title: `Versions of ${shown} of ${client.name}`,
      heading,
      way,
      body,
      isLoggedIn: true,
    }),
  };
};

async function attributesOf(
  { client }: ClientRequest,
  version: PathVersion,
  { signal }: PageContext,
  unread: string[],
): Promise<TreeEntry | undefined> {
  try {
    return await readVersion(client, version, signal);
  } catch (error) {
    signal.throwIfAborted();
    unread.push(`${version.snapshots.at(-1)}: ${error instanceof Fault ? error.found : 'it cannot be read'}`);
    return undefined;
  }
}

function versionTable({ client }: ClientRequest, path: Buffer, rows: readonly Row[], count: number): Value {
  const caption = `${count === 1 ? '1 version' : `${count} versions`}, the newest first`;
  const newestOf = ({ version }: Row): string => version.snapshots.at(-1) ?? '';
  return tableOf<Row>(
    caption,
    [
      {
        title: 'In snapshots',
        isHeading: true,
        cell: row =>
          linkTo(entryAddress(client.name, newestOf(row), path), snapshotsText(row.version.snapshots)),
      },
      { title: 'Type', cell: ({ entry }) => entry?.type ?? '?' },
      { title: 'Size', kind: 'number', cell: ({ entry }) => (entry ? amountOf(entry) : '?') },
      { title: 'Modified', cell: ({ version }) => fileTime(version.stored.mtimeNs) },
      {
        title: 'Compare',
        cell: row => {
          const before = row.older?.snapshots.at(-1);
          const address = before && addressOf('diff', [client.name, before, newestOf(row), path]);
          return address
            ? linkTo(address, 'compare', `Compare the version of ${newestOf(row)} with the version before`)
            : '-';
        },
      },
      {
        title: 'Download',
        cell: row => {
          if (row.entry?.type !== 'file') return '-';
          const address = addressOf('download', [client.name, newestOf(row), path]);
          return linkTo(address, 'Download', `Download the version of ${newestOf(row)}`);
        },
      },
    ],
    rows,
    'There is no version on this page.',
  );
}

/** The first and the last of snapshots in a row. */
export function snapshotsText(snapshots: readonly string[]): string {
  const [first = '', last = ''] = [snapshots[0], snapshots.at(-1)];
  return snapshots.length === 1 ? first : `${first} to ${last} (${snapshots.length} snapshots)`;
}
