/** The result of `packages` as text and as JSON. */

import { KEPT_FOR, type KeptFor, type ManagerName } from '../client/package-database.ts';
import type { PackagesResult } from '../client/packages.ts';
import type { PutBackResult } from '../client/put-back.ts';
import { jsonPath, showPath } from '../os/byte-path.ts';
import { asText, escapeText } from '../wire/text.ts';
import { moreText, table } from './table.ts';
import { showBytes } from './units.ts';

/** Names of packages that are printed; the others are counted. */
const SHOWN = 8;

/** The words that depend on the package manager: next steps with its programs. */
interface Advice {
  /** If no version is offered. */
  refresh: string;
  /** If some versions are not offered. */
  upgrade: string;
  /** If most files differ from their packages. */
  reinstall: string;
  /** If an archive has other files than the database says. */
  replace: string;
  /** The word for an archive. */
  archive: string;
}

const ADVICE: Record<ManagerName, Advice> = {
  dpkg: {
    refresh: 'next: apt-get update',
    upgrade: 'next: apt-get update && apt-get upgrade',
    reinstall: 'next: apt-get install --reinstall PACKAGE… (for the largest packages)',
    replace: 'next: apt-get install --reinstall PACKAGE, in the system',
    archive: '.deb file',
  },
  rpm: {
    refresh: 'next: dnf makecache, or zypper refresh',
    upgrade: 'next: dnf upgrade, or zypper update',
    reinstall: 'next: dnf reinstall PACKAGE…, or zypper install --force PACKAGE… (for the largest packages)',
    replace: 'next: dnf reinstall PACKAGE, or zypper install --force PACKAGE, in the system',
    archive: '.rpm file',
  },
  pacman: {
    refresh: 'next: pacman -Syu',
    upgrade: 'next: pacman -Syu',
    reinstall: 'next: pacman -S PACKAGE… (for the largest packages)',
    replace: 'next: pacman -S PACKAGE, in the system',
    archive: '.pkg.tar file',
  },
};

function sumOf(patterns: PackagesResult['patterns']): { files: number; bytes: number } {
  const sum = (key: 'files' | 'bytes'): number => patterns.reduce((total, each) => total + each[key], 0);
  return { files: sum('files'), bytes: sum('bytes') };
}

/** The files that the list leaves out, and why the other files of packages stay in the backup. */
export function packagesText(result: PackagesResult): string {
  const { patterns, unlisted, kept } = result;
  const { files, bytes } = sumOf(patterns);
  const rows = [
    ['left out', String(files), showBytes(bytes), `${patterns.length} patterns`],
    ...[...kept].map(([reason, count]) => [
      'kept',
      String(count.files),
      showBytes(count.bytes),
      KEPT_FOR[reason],
    ]),
    ...(unlisted.files === 0
      ? []
      : [['kept', String(unlisted.files), showBytes(unlisted.bytes), 'small ones, to keep the list short']]),
  ];
  return `${result.packages} packages\n${table(['', 'files', 'size', 'which'], rows, [1, 2])}`;
}

/** Facts for standard error that may need an action; '' if there are none. */
export function packagesNotes(result: PackagesResult): string {
  const { unoffered, broken, kept, unreadable, packages } = result;
  const advice = ADVICE[result.manager];
  const lines: string[] = [];
  if (unoffered.length > 0) {
    const more = unoffered.length > SHOWN ? ` and ${unoffered.length - SHOWN} more` : '';
    const names = unoffered.slice(0, SHOWN).map(each => escapeText(asText(each)));
    lines.push(
      `no package source offers the installed version of ${unoffered.length} packages: ${names.join(', ')}${more}`,
      unoffered.length === packages ? advice.refresh : advice.upgrade,
    );
  }
  if (broken > 0) lines.push(`${broken} packages are only partly installed`, 'next: dpkg --audit');
  const left = sumOf(result.patterns).files;
  if ((kept.get('changed')?.files ?? 0) > left)
    lines.push(
      'most files are newer than the installation of their packages: the system was copied or restored',
      advice.reinstall,
    );
  if ((kept.get('differs')?.files ?? 0) > left)
    lines.push(
      'most files have another mode, time or size than in their packages: the system was copied without these',
      advice.reinstall,
    );
  for (const name of unreadable)
    lines.push(`this account cannot read "${escapeText(name)}", so it is not copied`);
  return lines.map(line => (line.startsWith('next: ') ? `${line}\n` : `dialback: ${line}\n`)).join('');
}

/** The result as JSON has it. */
export function packagesJson(result: PackagesResult, list: string | undefined): object {
  const { patterns, unlisted, kept, packages, unoffered, broken, unreadable } = result;
  return {
    list: list ?? null,
    manager: result.manager,
    packages,
    left_out: { patterns: patterns.length, ...sumOf(patterns) },
    unlisted,
    kept: Object.fromEntries(
      (Object.keys(KEPT_FOR) as KeptFor[]).flatMap(reason => {
        const count = kept.get(reason);
        return count === undefined ? [] : [[reason, { ...count, examples: count.examples.map(jsonPath) }]];
      }),
    ),
    not_offered: unoffered.map(asText),
    partly_installed: broken,
    not_copied: unreadable,
  };
}

/** The files that were put back; or the versions that are needed, one in each line, for the program that downloads packages. */
export function putBackText({ files, bytes, needed }: PutBackResult, hasWritten: boolean): string {
  if (!hasWritten) return needed.map(({ version }) => `${escapeText(asText(version))}\n`).join('');
  return `put back ${files} files (${showBytes(bytes)})\n`;
}

/** For standard error; '' if all files are there. */
export function putBackNotes({ needed, different, unplaced, manager }: PutBackResult): string {
  const { archive, replace } = ADVICE[manager];
  const missing = needed.reduce((sum, each) => sum + each.files, 0);
  return [
    putBackNote(
      `dialback: Cannot put back ${missing} files and folders: there is no ${archive} of`,
      needed.map(({ version, files }) => `${escapeText(asText(version))} (${files})`),
      'next: download these versions, for example from a snapshot archive of the distribution, and run the same command',
    ),
    putBackNote(
      `dialback: Cannot put back ${different.length} files: the ${archive} has other ones`,
      different.map(showPath),
      replace,
    ),
    putBackNote(
      `dialback: Cannot put back ${unplaced.length} files: a file or a link to nowhere is in the way`,
      unplaced.map(showPath),
      'next: make the folder that the link leads to, and run the same command',
    ),
  ].join('');
}

/** @param names of which some are shown; without any, there is no note */
function putBackNote(found: string, names: readonly string[], next: string): string {
  if (names.length === 0) return '';
  const shown = names.slice(0, SHOWN);
  return [`${found}\n`, ...shown.map(each => `  ${each}\n`), moreText(names.length, shown), `${next}\n`].join(
    '',
  );
}

/** The result as JSON has it. */
export function putBackJson({ files, bytes, needed, different, unplaced }: PutBackResult): object {
  return {
    files,
    bytes,
    needed: needed.map(each => ({ ...each, version: asText(each.version) })),
    different: different.map(jsonPath),
    unplaced: unplaced.map(jsonPath),
  };
}
