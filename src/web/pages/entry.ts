/** An entry of a snapshot as the pages show it: its attributes as they were on the client. */
import { modeText, showMode } from '../../output/tree-entry.ts';
import type { TreeEntry, Xattr } from '../../store/fake-super.ts';
import { jsonName, showName } from '../../wire/text.ts';
import { addressOf } from './address.ts';
import { type Column, factsOf, fileTime, linkTo, sizeOf, tagOf } from './cells.ts';
import { html, type Markup, nameOf, type Value } from './html.ts';

/** The last name of a path. */
export function lastName(path: Buffer): Buffer {
  return path.subarray(path.lastIndexOf('/') + 1);
}

/** The amount of an entry: the bytes of a file, the numbers of a device. */
export function amountOf({ type, size, device }: TreeEntry): Value {
  if (device) return `${device.major}, ${device.minor}`;
  return type === 'file' || type === 'symlink' ? sizeOf(size) : '-';
}

/** The short marks of an entry that has more attributes. */
function marksOf({ acl, xattrs }: TreeEntry): Value {
  const count = xattrs.length;
  return [acl !== null && tagOf('ACL'), count > 0 && tagOf(count === 1 ? '1 xattr' : `${count} xattrs`)];
}

/** The columns of a folder's table. @param addressOfEntry where the entry's own page is */
export function entryColumns(addressOfEntry: (entry: TreeEntry) => string | undefined): Column<TreeEntry>[] {
  return [
    { title: 'Name', kind: 'path', isHeading: true, cell: entry => entryName(entry, addressOfEntry(entry)) },
    { title: 'Size', kind: 'number', cell: amountOf },
    { title: 'Modified', cell: entry => fileTime(entry.mtimeNs) },
    { title: 'Mode', kind: 'mono', cell: ({ type, mode }) => showMode(type, mode) },
    { title: 'Owner', kind: 'mono', cell: ({ uid, gid }) => `${uid}:${gid}` },
    { title: 'More', cell: marksOf },
  ];
}

function entryName(entry: TreeEntry, address: string | undefined): Markup {
  const { type, path, target } = entry;
  const shown = html`${nameOf(lastName(path))}${type === 'folder' && '/'}`;
  const kind = type === 'file' || type === 'folder' ? undefined : tagOf(type);
  const leads =
    type === 'symlink' && html` &rarr; ${target === null ? '(unreadable target)' : nameOf(target)}`;
  return html`${linkTo(address, shown)} ${kind}${leads}`;
}

/** All attributes of an entry. */
export function entryFacts(entry: TreeEntry): Markup {
  const { type, mode, uid, gid, size, device, mtimeNs, target, acl } = entry;
  return factsOf([
    ['Type', type],
    ['Mode', html`<span class="mono">${modeText(mode)} ${showMode(type, mode)}</span>`],
    [
      'Owner',
      html`<span class="mono">${uid}:${gid}</span> <span class="soft">(uid and gid on the client)</span>`,
    ],
    type === 'file' ? ['Size', html`${sizeOf(size)} <span class="soft">(${size} bytes)</span>`] : undefined,
    device === null ? undefined : ['Device', `${device.major}, ${device.minor}`],
    ['Modified', fileTime(mtimeNs)],
    type === 'symlink' ? ['Target', target === null ? '(unreadable)' : nameOf(target)] : undefined,
    ['ACL', acl === null ? 'none' : acl.split(',').map(each => html`<span class="mono">${each}</span><br>`)],
    ['Extended attributes', xattrsOf(entry.xattrs)],
  ]);
}

/** Attributes that are shown of one entry. */
const XATTRS_SHOWN = 100;
/** Bytes of a value that are shown. */
const VALUE_SHOWN = 200;

function xattrsOf(xattrs: readonly Xattr[]): Value {
  if (xattrs.length === 0) return 'none';
  const shown = xattrs.slice(0, XATTRS_SHOWN).map(({ name, value }) => {
    const bytes = value.subarray(0, VALUE_SHOWN);
    const rest = value.length > bytes.length ? ` … (${value.length} bytes)` : '';
    return html`<li>${nameOf(name)} = <code><bdi>${showName(jsonName(bytes))}</bdi></code>${rest}</li>`;
  });
  const more = xattrs.length > XATTRS_SHOWN && html`<li>and ${xattrs.length - XATTRS_SHOWN} more</li>`;
  return html`<ul>${shown}${more}</ul>`;
}

/** The address of an entry's page in a snapshot. */
export function entryAddress(client: string, snapshot: string, path: Buffer): string | undefined {
  return addressOf('browse', [client, snapshot, path]);
}
