/** The files that an incomplete backup lacks: their names, the reasons and the next steps. */
import { isDeepStrictEqual } from 'node:util';
import type { RunOutcome } from '../client/run-events.ts';
import { ERRNO, errnoWords, unstoredWords } from '../os/errno.ts';
import type { UnstoredEvent } from '../wire/events.ts';
import { type JsonName, showName } from '../wire/text.ts';
import { moreText } from './table.ts';

/** A file that is not in the snapshot, or not with all of its attributes. */
interface MissingFile {
  path: JsonName;
  /** Null: the run does not know it. */
  why: string | null;
}

/** The files that a run names; first those that could not be read, then those that the host could not store. */
export function missingFiles({ outcome, unstored }: RunOutcome): MissingFile[] {
  return [
    ...(outcome?.missing ?? []).map(({ path, errno }) => ({
      path,
      why: errno === null ? null : errnoWords(errno),
    })),
    ...(unstored?.files ?? []).map(each => ({
      path: each.path,
      why: `the backup host ${unstoredWords(each)}`,
    })),
  ];
}

/** The number of these files; a run names only some of them. */
export function missingCount({ outcome, unstored }: RunOutcome): number {
  return (outcome?.missing_count ?? 0) + (unstored?.count ?? 0);
}

/** Files that are named: with the lines around them, no more than a screen. */
const SHOWN = 15;

/**
 * The list for standard error.
 * @param others the runs whose lists are printed already: the same list is not printed twice
 * @returns '' for a run that is not incomplete
 */
export function missingText(run: RunOutcome, others: RunOutcome[] = []): string {
  const { outcome, unstored } = run;
  if (outcome?.outcome !== 'incomplete') return '';
  const unread = outcome.missing_count;
  const count = missingCount(run);
  const head = `dialback: Cannot back up everything to "${run.remote}": ${foundText(unread, count)}\n`;
  const same = count > 0 ? others.find(other => hasSameList(other, run)) : undefined;
  if (same) return `${head}  the same as to "${same.remote}"\n`;
  const shown = missingFiles(run)
    .slice(0, SHOWN)
    .map(({ path, why }) => `  ${showName(path)}${why === null ? '' : ` (${why})`}\n`);
  const next = unread > 0 ? adviceFor(outcome.missing.map(each => each.errno)) : adviceForHost(unstored);
  return `${head}${shown.join('')}${moreText(count, shown)}next: ${next}\n`;
}

function hasSameList(one: RunOutcome, other: RunOutcome): boolean {
  return (
    one.outcome?.outcome === 'incomplete' &&
    missingCount(one) === missingCount(other) &&
    isDeepStrictEqual(missingFiles(one), missingFiles(other))
  );
}

/** @param unread the files that could not be read; @param count all that are missing */
function foundText(unread: number, count: number): string {
  const found = [
    ...(unread > 0 ? [`${unread} could not be read`] : []),
    ...(unread < count ? [`the backup host could not store ${count - unread} completely`] : []),
    ...(count === 0 ? ['the backup host could not store all that was sent'] : []),
  ];
  return found.join('; ');
}

const { EPERM, ENOENT, EIO, EACCES, ENODEV, ELOOP, ENAMETOOLONG, EBADMSG, ETIMEDOUT, ENOTCONN } = ERRNO;
const { EFBIG, ESTALE, ENODATA, EUCLEAN, EHOSTDOWN, EREMOTEIO } = ERRNO;

/** For a disk that returns errors. */
export const FSCK_HINT = 'see what the kernel says about the disk (dmesg), and check its file system (fsck)';

/** Next steps for files that could not be read, the most urgent kind first. */
const ADVICE: { errnos: number[]; next: string }[] = [
  {
    errnos: [EIO, EUCLEAN, EBADMSG, EREMOTEIO],
    next: FSCK_HINT,
  },
  {
    errnos: [ETIMEDOUT, ENOTCONN, ESTALE, EHOSTDOWN, ENODEV],
    next: 'mount their file system again, or name it in `exclude` of client.toml',
  },
  { errnos: [ELOOP, ENAMETOOLONG], next: 'name them in `exclude` of client.toml' },
  {
    errnos: [EPERM, EACCES],
    next: 'let this account read them, or name them in `exclude` of client.toml',
  },
  {
    errnos: [EFBIG],
    next: 'set `max_size` higher, here or on the backup host, or name them in `exclude` of client.toml',
  },
  { errnos: [ENOENT], next: 'set `roots` in client.toml to paths that exist' },
  {
    errnos: [ENODATA],
    next: 'back up again when no program writes them, or from a snapshot of the file system',
  },
];

function adviceFor(errnos: (number | null)[]): string {
  const found = ADVICE.find(each => errnos.some(errno => errno !== null && each.errnos.includes(errno)));
  return found?.next ?? 'let this account read them, or name them in `exclude` of client.toml';
}

/** For files that only the administrator of the host can do something about. */
function adviceForHost(unstored: UnstoredEvent | undefined): string {
  if (unstored === undefined) return "see the host's log";
  return "ask the host's administrator: its log has the reason; or name them in `exclude` of client.toml";
}
