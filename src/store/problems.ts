/** The problems of a client's backups, for `status` and the overview. Pure. */
import { escapeText, snapshotName } from '../wire/text.ts';
import { type DrillRecord, drillProblem } from './drill-record.ts';
import { areAlarming, type Failures, failuresText } from './health.ts';
import type { IndexSummary } from './index-summary.ts';
import { LOST_ATTRIBUTES } from './lost-attributes.ts';
import type { Silence } from './silence.ts';
import { ADOPTED } from './snapshot.ts';
import type { LastVerification } from './verified.ts';

/** The state of a client, from good to bad. */
export type Level = 'ok' | 'warning' | 'critical';

/** A problem. */
export interface Problem {
  level: 'warning' | 'critical';
  /** A fixed word for programs: one of `PROBLEM_CODES`. */
  code: ProblemCode;
  /** A sentence for a person. Text from another machine in it is escaped. */
  text: string;
}

/** The codes of all problems, of clients and of the store. */
const PROBLEM_CODES = [
  'silent',
  'no-full-snapshot',
  'too-old',
  'no-room',
  'failed-runs',
  'damaged-files',
  'lost-attributes',
  'drill',
  'flagged',
  'incomplete',
  'from-the-future',
  'cut-times',
  'unreadable',
  'clock-set-back',
  'disk-full-soon',
] as const;
export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** The facts that decide. */
export interface Observed {
  at: Date;
  /** The age of the newest full snapshot in milliseconds; undefined if there is none. */
  ageMs: number | undefined;
  /** An older full snapshot is critical. */
  maxAgeMs: number;
  silent: Silence | null;
  /** Why the host refuses its requests for lack of space. */
  lack: string | undefined;
  failures: Failures | null;
  verified: LastVerification | null;
  /** The snapshots whose files have lost their attributes. */
  lost: readonly string[];
  drilled: DrillRecord | undefined;
  /** The newest snapshot of any state. */
  newest:
    | { name: string; state: 'full' | 'incomplete'; flags: readonly string[]; unreadable: number }
    | undefined;
  index: IndexSummary | null;
  /** Whether the client is unenrolled: it makes no new snapshots, but its old ones must be intact. */
  isRetired: boolean;
}

/** The problems of a client, the critical ones first. */
export function problemsOf(observed: Observed): Problem[] {
  const { isRetired } = observed;
  const all = [
    ...(isRetired ? [] : problemsOfRuns(observed)),
    ...problemsOfFiles(observed),
    ...(isRetired ? [] : problemsOfNewest(observed)),
    ...problemsOfIndex(observed.index),
  ];
  return [...all.filter(each => each.level === 'critical'), ...all.filter(each => each.level !== 'critical')];
}

/** The worst level of some problems. */
export function levelOf(problems: readonly Problem[]): Level {
  if (problems.some(each => each.level === 'critical')) return 'critical';
  return problems.length > 0 ? 'warning' : 'ok';
}

const critical = (code: ProblemCode, text: string): Problem => ({ level: 'critical', code, text });
const warning = (code: ProblemCode, text: string): Problem => ({ level: 'warning', code, text });

function problemsOfRuns({ ageMs, maxAgeMs, silent, lack, failures }: Observed): Problem[] {
  const found: Problem[] = [];
  if (silent !== null) found.push(critical('silent', `silent: ${silent.reason}`));
  if (ageMs === undefined) found.push(critical('no-full-snapshot', 'there is no full snapshot'));
  else if (ageMs > maxAgeMs && silent === null)
    found.push(critical('too-old', 'the last full snapshot is too old'));
  if (lack !== undefined)
    found.push(critical('no-room', `the host refuses its requests: ${lack}, and no snapshot may be removed`));
  if (failures !== null && areAlarming(failures)) found.push(warning('failed-runs', failuresText(failures)));
  return found;
}

function problemsOfFiles({ at, verified, lost, drilled }: Observed): Problem[] {
  const found: Problem[] = [];
  if (verified !== null && verified.damaged > 0) {
    const text = `${verified.damaged} files were damaged at the last verification; dialback verify names them`;
    found.push(critical('damaged-files', text));
  }
  if (lost.length > 0) found.push(critical('lost-attributes', `${lost.join(', ')}: ${LOST_ATTRIBUTES}`));
  const drill = drillProblem(drilled, at);
  if (drill !== undefined) found.push({ level: drill.level, code: 'drill', text: drill.text });
  return found;
}

const FLAGS: Record<string, string> = {
  'host-errors': 'the newest snapshot lacks files that this host could not store',
  'less-confined': "the newest run's jail was weaker than the one before",
  damaged: "the newest snapshot's record cannot be read",
  'times-cut': "times in the newest snapshot are not the client's: the store's file system cannot hold them",
  'few-linked-mode': fewLinked('most of the others have another mode'),
  'few-linked-owner': fewLinked('most of the others have another owner'),
  'few-linked-time': fewLinked('most of the others have another time'),
  'few-linked-acl': fewLinked('most of the others have another ACL'),
  'few-linked-xattrs': fewLinked('most of the others have other extended attributes'),
  'few-linked-content': fewLinked('most of the others have another content'),
  'few-linked-new': fewLinked('most of the others have a new path'),
  'few-linked-rsync': fewLinked('the host or the client has another rsync'),
  unusual: 'the newest run changed far more than usual for this client; the last usual snapshot is kept',
};

function fewLinked(reason: string): string {
  return `the newest run linked far fewer files than usual: ${reason}; dialback explain shows them`;
}

/**
 * Flags that stay until a machine gets another rsync, and that cost no file. `list` shows them, and `doctor` gives
 * advice.
 */
const NO_PROBLEM = new Set([
  ADOPTED,
  'client-lists-names',
  'client-rsync-vulnerable',
  'host-rsync-vulnerable',
]);

function problemsOfNewest({ newest, at }: Observed): Problem[] {
  if (newest === undefined) return [];
  const { name, state, flags, unreadable } = newest;
  const found = flags
    .filter(flag => !NO_PROBLEM.has(flag))
    .map(flag => warning('flagged', FLAGS[flag] ?? `the newest snapshot is flagged "${escapeText(flag)}"`));
  // If everything could be read, a flag gives the reason.
  if (state === 'incomplete' && (unreadable > 0 || found.length === 0))
    found.push(warning('incomplete', `the newest snapshot is incomplete: ${unreadable} could not be read`));
  if (name > snapshotName(at))
    found.push(warning('from-the-future', 'the newest snapshot is from the future; check the clock'));
  return found;
}

function problemsOfIndex(index: IndexSummary | null): Problem[] {
  if (index === null || index.cut_times === 0) return [];
  const text = `${index.cut_times} files have the earliest or latest time that the store's file system can hold; their own times were cut`;
  return [warning('cut-times', text)];
}
