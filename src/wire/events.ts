/**
 * The events that a host sends to its client, one per line on standard error: `dialback-event: {json}`.
 *
 * No field takes free text. The reason of a failure is one of the codes below, and the client has the sentence for it. So an event
 * cannot contain a path, a user or another client's name of the host (P1), and a hostile host cannot put text on the client's
 * screen.
 */
import { type ExitName, Fault, type Parsed } from '../fault.ts';
import { parseJson } from './json.ts';
import { type JsonName, snapshotTime } from './text.ts';

const EVENT_PREFIX = 'dialback-event: ';

/** The longest line that a client reads as an event; longer ones are dropped. */
export const EVENT_LINE_LIMIT = 256 * 1024;
/** The most names that an outcome lists as missing; `missing_count` counts all of them. */
export const MISSING_LIMIT = 100;

/** Reasons of a failed run: the client's exit status, its sentence and its next step. */
export const FAILURES = {
  name: ['refused', 'the backup host knows this key under another name', 'check `name` in client.toml'],
  request: [
    'refused',
    'the backup host did not accept the request',
    'compare `dialback version` on both machines',
  ],
  address: [
    'refused',
    'the backup host cannot see the address that this call came from',
    'use transport = "channel", which needs no call back',
  ],
  unenrolled: [
    'refused',
    'the backup host does not take backups of this machine any more',
    'ask its administrator to enroll it again',
  ],
  'no-offer': [
    'refused',
    'the backup host has no open offer with this code for this key',
    'check the code; or get a new one, on the host: dialback offer NAME',
  ],
  'too-early': ['refused', 'the backup host takes the next backup of this machine later', 'try again later'],
  busy: ['locked', 'the backup host is still at work on another run of this client', 'try again later'],
  full: ['locked', 'the backup host is at work on as many runs as it takes at once', 'try again later'],
  'no-store': [
    'noStore',
    'the backup host has no store at hand',
    'ask its administrator whether the disk is mounted',
  ],
  config: [
    'failed',
    'the backup host is not set up correctly',
    "ask its administrator; the host's log has the reason",
  ],
  unreachable: [
    'unreachable',
    'the backup host could not connect back to this machine',
    'open the port of `listen` for it; behind NAT use transport = "channel"',
  ],
  denied: [
    'refused',
    'the backup host connected back, but could not authenticate there',
    'check that `from` names its address, and that this account has a working login shell',
  ],
  'no-answer': [
    'failed',
    'the backup host connected back, but nothing answered there as rsync',
    'see that `$SHELL -c true` prints nothing for this account',
  ],
  rsync: ['failed', 'rsync ended with an error', "see the host's log"],
  broken: ['failed', 'the connection broke while files were copied', undefined],
  nothing: [
    'failed',
    'not one file of `roots` could be read',
    'check `roots`, and that this account may read them; dialback doctor',
  ],
  idle: ['failed', 'nothing came for too long while files were copied', undefined],
  deadline: ['failed', "the run took longer than the host's deadline", undefined],
  'no-space': ['noSpace', 'the backup host has no space left', 'ask its administrator'],
  'over-budget': [
    'noSpace',
    'this machine has added as much as the backup host takes from it within a day, or in one snapshot',
    'try again later: the next run goes on from there; the log of the host has the limit',
  ],
  gone: ['failed', 'the client hung up before the end', undefined],
  interrupted: ['failed', 'the run was interrupted on the backup host', undefined],
  internal: ['failed', 'the backup host failed', "ask its administrator; the host's log has the reason"],
} as const satisfies Record<string, readonly [ExitName, string, string | undefined]>;

export type FailureCode = keyof typeof FAILURES;

/** A Fault whose code goes to the client. @param found for our own log only */
export function failure(code: FailureCode, found: string): Fault {
  return new Fault({ tried: 'serve the request', found, exit: FAILURES[code][0], code });
}

/** The phases of a run on the host. */
export const PHASES = ['dialling', 'copying', 'committing'] as const;
export type Phase = (typeof PHASES)[number];

/** One name that a snapshot lacks, and errno's number if rsync reported it. */
export interface Missing {
  path: JsonName;
  errno: number | null;
}

/** An entry that the host could not store, or whose attributes it could not store. */
export interface Unstored extends Missing {
  part: 'entry' | 'attributes';
}

/** Precedes the outcome of an incomplete run. A client that does not know this event drops it. */
export interface UnstoredEvent {
  event: 'unstored';
  count: number;
  /** At most MISSING_LIMIT. */
  files: Unstored[];
}

/** The result of a run. */
export interface OutcomeEvent {
  event: 'outcome';
  outcome: 'full' | 'incomplete' | 'failed';
  /** Only with `failed`. */
  code: FailureCode | null;
  /** rsync's exit status; null if it did not run. */
  rsync_exit: number | null;
  /** The snapshot's name; null if there is none. */
  snapshot: string | null;
  files: number;
  bytes: number;
  transferred_bytes: number;
  vanished: number;
  /** Files that were replaced during the run, in a folder whose children the client's jail grants one by one. */
  changed_during_run: number;
  missing_count: number;
  missing: Missing[];
}

export type HostEvent =
  | { event: 'phase'; phase: Phase }
  | { event: 'progress'; bytes: number; percent: number }
  /**
   * Precedes a progress event when it has changed. A client that does not know it drops it and uses `progress`. Folders and links
   * count too. `percent` is of the whole run; null until the size of the run is known.
   */
  | { event: 'files'; done: number; total: number; percent: number | null }
  /** Precedes the outcome of a call that came too early, or that found all slots taken: the time until it may call again. */
  | { event: 'wait'; ms: number }
  /** The answer to a probe: the host knows the client's key and name (host/probe.ts). */
  | { event: 'accepted' }
  | UnstoredEvent
  | OutcomeEvent;

/** Encodes an event as a line. It shortens a list that makes the line too long. */
export function encodeEvent(event: HostEvent): string {
  const line = `${EVENT_PREFIX}${JSON.stringify(event)}\n`;
  if (line.length <= EVENT_LINE_LIMIT) return line;
  // A client drops a longer line. The count still counts all names.
  if (event.event === 'outcome')
    return encodeEvent({ ...event, missing: event.missing.slice(0, event.missing.length / 2) });
  if (event.event === 'unstored')
    return encodeEvent({ ...event, files: event.files.slice(0, event.files.length / 2) });
  return line;
}

/** The outcome of a failed run, with all counts zero. */
export function failedOutcome(code: FailureCode, rsyncExit: number | null = null): OutcomeEvent {
  return {
    event: 'outcome',
    outcome: 'failed',
    code,
    rsync_exit: rsyncExit,
    snapshot: null,
    files: 0,
    bytes: 0,
    transferred_bytes: 0,
    vanished: 0,
    changed_during_run: 0,
    missing_count: 0,
    missing: [],
  };
}

/**
 * Decodes a line of the host's standard error.
 * @param line without its newline
 * @returns the event with exactly the known fields, or why the line is not an event
 */
export function decodeEvent(line: string): Parsed<HostEvent> {
  if (!line.startsWith(EVENT_PREFIX)) return { reason: 'it is not an event' };
  if (line.length > EVENT_LINE_LIMIT) return { reason: `it is longer than ${EVENT_LINE_LIMIT} characters` };
  const parsed = parseJson(line.slice(EVENT_PREFIX.length));
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const found = parsed.value;
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    return { reason: 'it is not an object' };
  const fields = found as Record<string, unknown>;
  const kind = fields.event;
  if (!isKind(kind)) return { reason: 'it is an unknown event' };
  const checks: Record<string, (value: unknown) => boolean> = EVENT_CHECKS[kind];
  for (const key of Object.keys(fields)) {
    if (key !== 'event' && !Object.hasOwn(checks, key)) return { reason: `${kind} has an unknown key` };
  }
  for (const [key, isGood] of Object.entries(checks)) {
    if (!Object.hasOwn(fields, key) || !isGood(fields[key]))
      return { reason: `${kind} has no acceptable "${key}"` };
  }
  if (kind === 'files' && (fields.done as number) > (fields.total as number))
    return { reason: 'more files are done than there are' };
  if (kind === 'unstored' && (fields.files as Unstored[]).length > (fields.count as number))
    return { reason: 'more is named than is counted' };
  if (kind === 'outcome') {
    const outcome = fields as unknown as OutcomeEvent;
    if ((outcome.outcome === 'failed') !== (outcome.code !== null)) {
      return { reason: 'outcome and code contradict each other' };
    }
    if (outcome.outcome === 'failed' && outcome.snapshot !== null)
      return { reason: 'a failed run has a snapshot' };
    if (outcome.outcome === 'full' && outcome.missing_count > 0)
      return { reason: 'a full run lacks something' };
    if (outcome.missing.length > outcome.missing_count) return { reason: 'more is missing than is counted' };
  }
  return { value: fields as unknown as HostEvent };
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const isPercent = (value: unknown): boolean => isCount(value) && (value as number) <= 100;

const EVENT_CHECKS = {
  phase: { phase: (value: unknown) => (PHASES as readonly unknown[]).includes(value) },
  progress: { bytes: isCount, percent: isPercent },
  files: {
    done: isCount,
    total: isCount,
    percent: (value: unknown) => value === null || isPercent(value),
  },
  wait: { ms: isCount },
  accepted: {},
  unstored: {
    count: isCount,
    files: (value: unknown) =>
      Array.isArray(value) && value.length <= MISSING_LIMIT && value.every(isUnstored),
  },
  outcome: {
    outcome: (value: unknown) => value === 'full' || value === 'incomplete' || value === 'failed',
    code: (value: unknown) => value === null || (typeof value === 'string' && Object.hasOwn(FAILURES, value)),
    rsync_exit: (value: unknown) => value === null || (isCount(value) && (value as number) <= 255),
    snapshot: (value: unknown) =>
      value === null || (typeof value === 'string' && snapshotTime(value) !== undefined),
    files: isCount,
    bytes: isCount,
    transferred_bytes: isCount,
    vanished: isCount,
    changed_during_run: isCount,
    missing_count: isCount,
    missing: (value: unknown) =>
      Array.isArray(value) && value.length <= MISSING_LIMIT && value.every(isMissing),
  },
} satisfies Record<HostEvent['event'], Record<string, (value: unknown) => boolean>>;

const isKind = (kind: unknown): kind is HostEvent['event'] =>
  typeof kind === 'string' && Object.hasOwn(EVENT_CHECKS, kind);

function isMissing(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { path, errno, ...rest } = value as Record<string, unknown>;
  return Object.keys(rest).length === 0 && isJsonName(path) && (errno === null || isCount(errno));
}

function isUnstored(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { part, ...missing } = value as Record<string, unknown>;
  return (part === 'entry' || part === 'attributes') && isMissing(missing);
}

function isJsonName(value: unknown): boolean {
  if (typeof value === 'string') return value.length <= 16_384;
  if (typeof value !== 'object' || value === null) return false;
  const { base64, ...rest } = value as Record<string, unknown>;
  return (
    Object.keys(rest).length === 0 && typeof base64 === 'string' && /^[A-Za-z0-9+/=]{1,22000}$/.test(base64)
  );
}
