/** The explanation of a snapshot, as text and as JSON. */
import type { Explanation } from '../store/explain.ts';
import type { Cause, ChangedAttribute, Why } from '../store/unlinked-cause.ts';
import type { CauseSum, HeavyFolder } from '../store/unlinked-sums.ts';
import { escapeText, showName } from '../wire/text.ts';
import { clientPath, manifestPath } from './path.ts';
import { table } from './table.ts';
import { showBytes } from './units.ts';

const CAUSES: Record<Cause, string> = {
  new: 'new',
  moved: 'moved or renamed',
  content: 'content changed',
  'content-same-time': 'content changed, but neither size nor time',
  attributes: 'only attributes changed',
  'link-limit': 'identical: the link limit is reached',
  'other-basis': 'identical: the run linked against another snapshot',
  rechecked: 'identical: compared again, since the older file may not have reached the disk',
  rsync: 'identical: another rsync made it',
  checksum: 'identical: the run compared contents',
  unknown: 'identical: the records give no reason',
  first: 'first snapshot',
  unreadable: 'cannot be read',
};

const ATTRIBUTES: Record<ChangedAttribute, string> = {
  mode: 'mode',
  owner: 'owner',
  time: 'time',
  acl: 'ACL',
  xattrs: 'extended attributes',
};

function whyText({ cause, what }: Why): string {
  const names = what.map(each => ATTRIBUTES[each]).join(', ');
  return names === '' ? CAUSES[cause] : `${CAUSES[cause]}: ${names}`;
}

/** @returns two tables, by cause and by folder, with notes below them */
export function explanationText(found: Explanation): string {
  const { causes, folders } = found;
  const tables =
    causes.length === 0
      ? []
      : [
          '',
          table(['why', 'files', 'size', 'for example'], causes.map(causeCells), [1, 2]).trimEnd(),
          '',
          table(['folder', 'why', 'files', 'size'], folders.map(folderCells), [2, 3]).trimEnd(),
        ];
  const notes = notesOf(found);
  const lines = [headText(found), countsText(found), ...tables, ...(notes.length > 0 ? ['', ...notes] : [])];
  return `${lines.join('\n')}\n`;
}

function headText({ client, newer, older, by }: Explanation): string {
  const reasons = {
    basis: 'its run linked against it',
    before: 'the one before',
    named: 'as named',
    none: '',
  };
  const compared =
    older === undefined
      ? ': there is no older snapshot to compare it with'
      : `, compared with ${older.name} (${reasons[by]})`;
  return `${client}@${newer.name}${compared}`;
}

function countsText({ files, linked, linkedElsewhere, causes }: Explanation): string {
  const sum = (key: 'files' | 'bytes'): number => causes.reduce((all, each) => all + each[key], 0);
  const elsewhere =
    linkedElsewhere > 0 ? `, ${linkedElsewhere} linked to another path or an older snapshot` : '';
  return `${files} files: ${linked} linked${elsewhere}, ${sum('files')} not linked (${showBytes(sum('bytes'))})`;
}

function causeCells(sum: CauseSum): string[] {
  const { path, from } = sum.example;
  const origin = from === null ? '' : ` (was ${showName(clientPath(from))})`;
  return [whyText(sum), String(sum.files), showBytes(sum.bytes), `${showName(clientPath(path))}${origin}`];
}

function folderCells(folder: HeavyFolder): string[] {
  const name = showName(manifestPath(folder.path));
  return [name, whyText(folder), String(folder.files), showBytes(folder.bytes)];
}

/** Facts from the records, a line each. */
function notesOf({ newer, older, causes, removedBasis }: Explanation): string[] {
  const { record } = newer;
  const [now, before] = [record.rsync, older?.record.rsync];
  const other = (side: string, version: string | null, was: string | null): string[] =>
    version === was
      ? []
      : [
          `the rsync of the ${side} was ${escapeText(was ?? 'unknown')}, and is ${escapeText(version ?? 'unknown')}`,
        ];
  return [
    ...(removedBasis === undefined
      ? []
      : [`the run linked against ${escapeText(removedBasis)}, which was removed`]),
    ...(record.counts.moved === undefined
      ? []
      : [`${record.counts.moved} moved files are linked to the older ones (link_moved in host.toml)`]),
    ...(record.flags.some(each => each.startsWith('few-linked-'))
      ? ["the run linked far fewer files than this client's runs usually do"]
      : []),
    ...(record.flags.includes('damaged') ? [`the record of ${newer.name} cannot be read`] : []),
    ...(older?.record.flags.includes('damaged') ? [`the record of ${older.name} cannot be read`] : []),
    ...(before === undefined
      ? []
      : [...other('host', now.host, before.host), ...other('client', now.client, before.client)]),
    ...(now.options.includes('--checksum')
      ? ['the run compared contents (checksum_every in client.toml)']
      : []),
    ...causes.flatMap(each =>
      each.shiftNs === null
        ? []
        : [`${whyText(each)}: the times of all ${each.files} files changed by ${shiftText(each.shiftNs)}`],
    ),
  ];
}

/** A difference of two times: `+3600 s`. */
function shiftText(ns: bigint): string {
  const seconds = Number(ns) / 1e9;
  return `${seconds > 0 ? '+' : ''}${seconds} s`;
}

/** @returns the same facts for --json */
export function explanationJson(found: Explanation): object {
  const { client, newer, older, by, removedBasis, files, linked, linkedElsewhere } = found;
  const { basis, flags, rsync } = newer.record;
  return {
    client,
    snapshot: newer.name,
    compared_with: older?.name ?? null,
    compared_because: by,
    basis,
    basis_removed: removedBasis !== undefined,
    flags,
    rsync: { client: rsync.client, host: rsync.host, checksum: rsync.options.includes('--checksum') },
    rsync_before: older ? { client: older.record.rsync.client, host: older.record.rsync.host } : null,
    files,
    linked,
    linked_elsewhere: linkedElsewhere,
    moved_linked: newer.record.counts.moved ?? 0,
    causes: found.causes.map(each => ({
      cause: each.cause,
      what: each.what,
      files: each.files,
      bytes: each.bytes,
      example: clientPath(each.example.path),
      example_was: each.example.from && clientPath(each.example.from),
      time_shift_s: each.shiftNs === null ? null : Number(each.shiftNs) / 1e9,
    })),
    folders: found.folders.map(({ path, cause, what, files, bytes }) => ({
      path: manifestPath(path),
      cause,
      what,
      files,
      bytes,
    })),
    manifests: found.manifests.map(({ snapshot, problem }) => ({
      snapshot,
      problem: problem === 'missing' ? problem : 'damaged',
      found: problem === 'missing' ? null : problem.damage,
    })),
  };
}

/** @returns a text for standard error about each manifest that was needed and could not be used */
export function manifestWarnings({ client, manifests }: Explanation): string {
  return manifests
    .map(({ snapshot, problem }) => {
      const found = problem === 'missing' ? 'there is none' : problem.damage;
      const effect = 'files were read instead, and moved files count as new';
      const reason = problem === 'missing' ? 'it makes the manifest' : 'it tells what is damaged';
      return [
        `dialback: Cannot use the manifest of "${client}@${snapshot}": ${found}; ${effect}\n`,
        `next: dialback verify ${client}@${snapshot} (${reason})\n`,
      ].join('');
    })
    .join('');
}
