/** The result of a client's last drill, in clients/NAME/drill.json. */
import type { Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { parseJson } from '../wire/json.ts';
import { SNAPSHOT } from '../wire/text.ts';
import type { ClientStore } from './store.ts';

/** The content of drill.json; also a part of `status --json`. Times are RFC 3339. */
export interface DrillRecord {
  /** When the last drill ended. */
  at: string;
  /** The snapshot that it restored from; null if it did not get that far. */
  snapshot: string | null;
  /** The entries that it chose, and the files and bytes that it restored. */
  chosen: number;
  files: number;
  bytes: number;
  /** The number of differences and messages. */
  problems: number;
  /** Why the drill could not be done; null if it was. */
  failed: string | null;
  /** When a drill last gave everything back; null if none did. */
  succeeded: string | null;
}

const VERSION = 1;
const RECORD_LIMIT = 16_384;
/** Characters of a reason. */
const REASON_LIMIT = 2000;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export function encodeDrillRecord(record: DrillRecord): string {
  const { at, snapshot, chosen, files, bytes, problems, failed, succeeded } = record;
  const json = { version: VERSION, at, snapshot, chosen, files, bytes, problems, failed, succeeded };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Decodes drill.json. Unknown, missing and malformed parts are refused. */
export function decodeDrillRecord(text: string): Parsed<DrillRecord> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return parsed;
  const found = parsed.value;
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    return { reason: 'it is not an object' };
  const { version, ...record } = found as Record<string, unknown>;
  if (version !== VERSION) return { reason: 'unknown version' };
  const names = Object.keys(record);
  const unknown = names.find(name => !Object.hasOwn(CHECKS, name));
  if (unknown !== undefined) return { reason: 'unknown key' };
  const wrong = (Object.keys(CHECKS) as (keyof DrillRecord)[]).find(name => !CHECKS[name](record[name]));
  return wrong === undefined
    ? { value: record as unknown as DrillRecord }
    : { reason: `malformed "${wrong}"` };
}

type Check = (value: unknown) => boolean;
const isCount: Check = value => Number.isSafeInteger(value) && (value as number) >= 0;
const isTime: Check = value =>
  typeof value === 'string' && TIME.test(value) && !Number.isNaN(Date.parse(value));
const orNull =
  (check: Check): Check =>
  value =>
    value === null || check(value);

const CHECKS: Record<keyof DrillRecord, Check> = {
  at: isTime,
  snapshot: orNull(value => typeof value === 'string' && SNAPSHOT.test(value)),
  chosen: isCount,
  files: isCount,
  bytes: isCount,
  problems: isCount,
  failed: orNull(value => typeof value === 'string' && value.length <= REASON_LIMIT),
  succeeded: orNull(isTime),
};

function pathOf({ folder }: ClientStore): string {
  return `${folder}/drill.json`;
}

/** The last drill of a client; undefined if there was none, or if its record cannot be read. */
export function readDrillRecord(client: ClientStore): DrillRecord | undefined {
  if (!exists(pathOf(client))) return undefined;
  try {
    const parsed = decodeDrillRecord(readWhole(pathOf(client), RECORD_LIMIT).toString('utf8'));
    return 'value' in parsed ? parsed.value : undefined;
  } catch {
    return undefined; // the file is only a memory; the next drill writes it again
  }
}

/**
 * Records a drill. A drill without problems is the last success; any other keeps the time of the earlier success.
 * @throws Fault when the file cannot be written
 */
export function writeDrillRecord(client: ClientStore, result: Omit<DrillRecord, 'succeeded'>): void {
  const isSuccess = result.problems === 0 && result.failed === null;
  const succeeded = isSuccess ? result.at : (readDrillRecord(client)?.succeeded ?? null);
  const failed = result.failed?.slice(0, REASON_LIMIT) ?? null;
  replaceFile(pathOf(client), encodeDrillRecord({ ...result, failed, succeeded }));
}

/** A success that is older is a warning: a drill each month, and some days for a machine that is switched off. */
const DRILL_AGE_DAYS = 35;
const DAY_MS = 86_400_000;

/** The number of problems in words. */
export function problemsText(count: number): string {
  return count === 1 ? '1 problem' : `${count} problems`;
}

/** A problem of the last drill, for `status` and `doctor`. */
export interface DrillProblem {
  level: 'warning' | 'critical';
  text: string;
}

/**
 * Checks the last drill. Pure.
 * @param record undefined if there was none. That is no problem, because a drill is not required.
 */
export function drillProblem(record: DrillRecord | undefined, at: Date): DrillProblem | undefined {
  if (record === undefined) return undefined;
  const day = record.at.slice(0, 10);
  if (record.problems > 0)
    return {
      level: 'critical',
      text: `the drill of ${day} could not give everything back: ${problemsText(record.problems)}; dialback drill names them`,
    };
  if (record.failed !== null)
    return { level: 'warning', text: `the drill of ${day} could not be done: ${record.failed}` };
  const ageMs = at.getTime() - Date.parse(record.at);
  if (ageMs > DRILL_AGE_DAYS * DAY_MS)
    return {
      level: 'warning',
      text: `the last drill was on ${day}, more than ${DRILL_AGE_DAYS} days ago`,
    };
  return undefined;
}
