/** The texts of an export, for standard error: the archive is on standard output. */
import type { ExportResult } from '../store/export.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import { snapshotNotes } from './snapshot-notes.ts';
import { showBytes } from './units.ts';

/** The last line of an export on a terminal. */
export function exportText({ files, bytes, snapshot }: ExportResult): string {
  return `exported ${files} ${files === 1 ? 'file' : 'files'} of ${snapshot}, ${showBytes(bytes)}\n`;
}

/** Notes that are printed in any case. Empty for a full snapshot without sockets. */
export function exportNotes(result: ExportResult): string {
  const { snapshot, sockets, lostAttributes } = result;
  const notes = snapshotNotes(result);
  return [
    ...(notes.length > 0 ? [`dialback: Note: exported ${snapshot}: ${notes.join('; ')}\n`] : []),
    ...(sockets > 0 ? [socketsText(sockets)] : []),
    ...(lostAttributes
      ? [`dialback: Cannot export ${snapshot} as it was: ${LOST_ATTRIBUTES}\nnext: ${COPY_AGAIN}\n`]
      : []),
  ].join('');
}

function socketsText(count: number): string {
  const what =
    count === 1
      ? '1 socket: a tar archive cannot have one'
      : `${count} sockets: a tar archive cannot have them`;
  return `dialback: Note: left out ${what}\n`;
}
