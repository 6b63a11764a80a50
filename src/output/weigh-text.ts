/** The report of `weigh`, as text and as JSON. */
import type { Unseen } from '../client/scope-list.ts';
import type { Weighed } from '../client/weigh.ts';
import type { Report, Row } from '../client/weigh-report.ts';
import type { Fate } from '../client/weight-tree.ts';
import { jsonPath } from '../os/byte-path.ts';
import { showName } from '../wire/text.ts';
import { jsonText } from './json.ts';
import { moreText, table } from './table.ts';
import { showBytes } from './units.ts';

const WHY: Record<Fate, string> = {
  taken: '',
  excluded: 'exclude list',
  tagged: 'its tag',
  never: 'never',
  mount: 'other file system',
  oversized: 'max_size',
};

function showRow({ path, isFolder }: Row): string {
  return `${showName(jsonPath(path))}${isFolder && path !== '/' ? '/' : ''}`;
}

const countText = (files: number): string => `${files} ${files === 1 ? 'file' : 'files'}`;

/** The report as text: tables, each with the heaviest entry first. */
export function weighText({ top, knowsPackages, changes }: Weighed, report: Report): string {
  const { taken, left } = top;
  const share = (bytes: number): string =>
    taken.bytes === 0 ? '' : `${((100 * bytes) / taken.bytes).toFixed(1)}%`;
  const rows = (of: Row[]): string[][] =>
    of.map(row => [
      showBytes(row.bytes),
      share(row.bytes),
      String(row.files),
      marksOf(row, changes),
      showRow(row),
    ]);
  const head = ['size', 'share', 'files', knowsPackages ? 'marks' : 'marks (no list of packages here)'];
  const parts = [
    `${showName(jsonPath(top.path))}: a backup reads ${showBytes(taken.bytes)} in ${countText(taken.files)}; ${showBytes(left.bytes)} in ${countText(left.files)} are left out\n`,
  ];
  const section = (of: Row[], text: () => string): void => {
    if (of.length > 0) parts.push('\n', text());
  };
  section(report.folders, () => table([...head, 'folder'], rows(report.folders), [0, 1, 2]));
  section(report.files, () => table([...head, 'file'], rows(report.files), [0, 1, 2]));
  section(report.leftOut, () =>
    table(
      ['saved', 'files', 'left out by', 'path'],
      report.leftOut.map(row => [showBytes(row.bytes), String(row.files), WHY[row.fate], showRow(row)]),
      [0, 1],
    ),
  );
  section(report.candidates, () =>
    table(
      ['would save', 'files', 'can be created again, by', 'dialback weigh --exclude'],
      report.candidates.map(row => [showBytes(row.bytes), String(row.files), row.cache ?? '', showRow(row)]),
      [0, 1],
    ),
  );
  if (report.never.length > 0) {
    parts.push(`\nnever read, so not weighed (${report.neverCount}):\n`);
    const shown = report.never.slice(0, NEVER_SHOWN);
    parts.push(...shown.map(path => `  ${showName(jsonPath(path))}\n`), moreText(report.neverCount, shown));
  }
  return parts.join('');
}

const NEVER_SHOWN = 20;

function marksOf({ path, cache, isLoose, left }: Row, changes: Weighed['changes']): string {
  const often = changes.get(path);
  return [
    ...(often ? [`changes (${often.changed} of ${often.looks} looks)`] : []),
    ...(cache === undefined ? [] : [`cache (${cache})`]),
    ...(isLoose ? ['no package'] : []),
    ...(left.bytes > 0 ? [`+${showBytes(left.bytes)} left out`] : []),
  ].join(', ');
}

/** The report as one line of JSON (docs/design.md, "JSON"). */
export function weighJson({ top, knowsPackages, unseen, changes }: Weighed, report: Report): string {
  const row = ({ path, isFolder, fate, bytes, files, left, isLoose, cache }: Row): object => ({
    path: jsonPath(path),
    type: isFolder ? 'folder' : 'file',
    bytes,
    files,
    left_out_bytes: left.bytes,
    fate: fate,
    in_no_package: isLoose ?? null,
    cache: cache ?? null,
    changes: changes.get(path) ?? null,
  });
  return jsonText({
    path: jsonPath(top.path),
    bytes: top.taken.bytes,
    files: top.taken.files,
    left_out_bytes: top.left.bytes,
    left_out_files: top.left.files,
    knows_packages: knowsPackages,
    folders: report.folders.map(row),
    biggest_files: report.files.map(row),
    left_out: report.leftOut.map(row),
    candidates: report.candidates.map(row),
    never: report.never.map(jsonPath),
    never_count: report.neverCount,
    unread: unseen.paths.map(each => each.path),
    unread_count: unseen.count,
  });
}

const UNREAD_SHOWN = 15;

/** The entries that rsync could not look at; '' where there are none. */
export function unseenText({ paths, count }: Unseen): string {
  if (count === 0) return '';
  const shown = paths.slice(0, UNREAD_SHOWN);
  return [
    `dialback: Cannot weigh everything: ${count} ${count === 1 ? 'entry' : 'entries'} could not be read, and a backup would lack them\n`,
    ...shown.map(each => `  ${showName(each.path)}\n`),
    moreText(count, shown),
  ].join('');
}
