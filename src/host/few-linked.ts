/**
 * Detects a run that links far fewer files than the client's runs usually do. It comes after a chmod of the whole tree, with a new
 * rsync, or when the times of a file system have moved. It costs the host the space of a first run. Pure.
 *
 * It compares counts of rsync's report, so the flag is in the record from the commit on and costs no reading. Moved files that were
 * linked after rsync count as linked. The share is of the files that the run could have linked: those of the run before, or of this run
 * if they are fewer. So files that come or go do not change it. The client influences the counts; they decide about a flag only.
 */
import { ADOPTED, type SnapshotRecord } from '../store/snapshot.ts';
import type { UnlinkedCounts } from '../wire/rsync-output.ts';

/** The beginning of each flag; a reason follows. store/problems.ts has the texts. */
const FLAG = 'few-linked-';

/** A run that has ended well, before its commit. */
interface EndedRun {
  basis: SnapshotRecord | undefined;
  counts: Pick<SnapshotRecord['counts'], 'files' | 'linked' | 'moved'>;
  unlinked: UnlinkedCounts;
  rsync: { client: string | null; host: string };
}

/** The finding about a run. */
interface FewLinked {
  flags: string[];
  /** For the journal: the run's share of linked files, and the client's usual one, in percent. */
  share: number;
  usual: number;
}

/** Runs that the usual share is computed from: the newest ones. */
const RUNS = 30;
/** With fewer, no share is usual. */
const LEAST_RUNS = 3;
/** A share of less than this part of the usual one is far below it. */
const FAR_BELOW = 0.5;
/** With fewer unlinked files than this beyond the usual ones, the cost is small and the share is chance. */
const LEAST_FILES = 500;

/**
 * Checks a run against the client's earlier ones.
 * @param earlier the records of the client's snapshots, oldest first
 * @returns undefined for a run as usual; also if the basis is rechecked, since then rsync's report does not say what changed
 */
export function checkLinkedShare(earlier: readonly SnapshotRecord[], run: EndedRun): FewLinked | undefined {
  const { basis, counts } = run;
  if (basis === undefined || basis.durable !== true) return undefined;
  const shares = earlier.flatMap((record, at) => {
    const before = earlier[at - 1];
    const isUsual = before !== undefined && record.state === 'full' && !isFlagged(record);
    return isUsual ? [shareOf(record.counts, before.counts.files)] : [];
  });
  const last = shares.filter(Number.isFinite).slice(-RUNS);
  if (last.length < LEAST_RUNS) return undefined;
  const usual = medianOf(last);
  const share = shareOf(counts, basis.counts.files);
  const possible = Math.min(counts.files, basis.counts.files);
  // Not true if a count is missing.
  if (!(share < FAR_BELOW * usual && (usual - share) * possible >= LEAST_FILES)) return undefined;
  const flags = reasonsOf(run, basis).map(each => `${FLAG}${each}`);
  return { flags, share: percent(share), usual: percent(usual) };
}

const percent = (share: number): number => Math.round(share * 100);

/** An adopted snapshot is no run of the client. */
function isFlagged({ flags }: SnapshotRecord): boolean {
  return flags.some(each => each.startsWith(FLAG) || each === ADOPTED);
}

/** @param before the number of files of the run before */
function shareOf({ files, linked, moved = 0 }: EndedRun['counts'], before: number): number {
  return Math.min(1, (linked + moved) / Math.min(files, before));
}

function medianOf(numbers: number[]): number {
  return [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? 0;
}

/** The first of equally frequent reasons counts. A changed ACL changes the mode too, and a changed owner clears set-id bits. */
const ORDER = ['acl', 'owner', 'xattrs', 'mode', 'time', 'content', 'new'] as const;

/** The most frequent reason, and another rsync if there is one. That rsync is the reason if it found no file of the basis. */
function reasonsOf({ unlinked, rsync, counts: { moved = 0 } }: EndedRun, basis: SnapshotRecord): string[] {
  const counts = { ...unlinked, new: unlinked.new - moved };
  const most = ORDER.reduce((best, each) => (counts[each] > counts[best] ? each : best));
  const isOther = rsync.host !== basis.rsync.host || rsync.client !== basis.rsync.client;
  return [...(isOther && most === 'new' ? [] : [most]), ...(isOther ? ['rsync'] : [])];
}
