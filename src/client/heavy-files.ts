/**
 * How often the largest files change. A run does not learn which files the host receives, so the client looks itself. `weigh` notes
 * the largest files and their times. Each successful run and each `weigh` compares the times.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { run, standard } from '../os/process.ts';
import { readState, writeState } from './state-file.ts';

/** A file in the record. */
interface Known {
  /** Seconds since 1970. */
  mtime: number;
  /** One character for each look, the last one at the end: 1 if the file had changed. */
  looks: string;
}

/** How often a file had changed. */
export interface Changes {
  changed: number;
  looks: number;
}

/** The number of files that are noted. */
export const HEAVY_FILES = 200;
/** Smaller files are not noted. */
export const HEAVY_BYTES = 1024 * 1024;
const MOST_LOOKS = 10;
/** Fewer looks are too few to say that a file changes often. */
const LEAST_LOOKS = 3;
/** A file system that does not answer must not hold up a run. */
const LOOK_MS = 5_000;
const OUTPUT_BYTES = 2 * 1024 * 1024;

const KEY = 'files';
const pathIn = (state: string): string => `${state}/heavy.json`;

function readKnown(state: string): Map<string, Known> {
  const found = readState(pathIn(state), KEY);
  const known = new Map<string, Known>();
  if (typeof found !== 'object' || found === null) return known;
  for (const [path, value] of Object.entries(found)) {
    const { mtime, looks } = (value ?? {}) as Partial<Record<keyof Known, unknown>>;
    if (typeof mtime === 'number' && typeof looks === 'string' && /^[01]{0,10}$/.test(looks))
      known.set(path, { mtime, looks });
  }
  return known;
}

/** Pure. @param mtime of the file now */
function looked({ mtime: before, looks }: Known, mtime: number): Known {
  return { mtime, looks: `${looks}${mtime === before ? '0' : '1'}`.slice(-MOST_LOOKS) };
}

/**
 * Notes the largest files, and compares those that are known.
 * @param files the largest ones
 * @param isPart they are those of a part of the scope: others stay in the record, and no file is added
 * @returns how often the files changed that were different in most of the last looks
 */
export async function noteHeavyFiles(
  state: string,
  files: readonly { path: string; mtime: number }[],
  isPart = false,
): Promise<Map<string, Changes>> {
  const known = readKnown(state);
  const seen = new Map(
    files.map(({ path, mtime }) => {
      const before = known.get(path);
      return [path, before === undefined ? { mtime, looks: '' } : looked(before, mtime)] as const;
    }),
  );
  const next = isPart ? new Map([...known].map(([path, each]) => [path, seen.get(path) ?? each])) : seen;
  await writeState(pathIn(state), KEY, Object.fromEntries(next));
  return oftenChanged(next);
}

function oftenChanged(known: ReadonlyMap<string, Known>): Map<string, Changes> {
  const often = new Map<string, Changes>();
  for (const [path, { looks }] of known) {
    const changed = looks.replaceAll('0', '').length;
    if (looks.length >= LEAST_LOOKS && 2 * changed > looks.length)
      often.set(path, { changed, looks: looks.length });
  }
  return often;
}

/**
 * Looks at the noted files after a run. A file that this account cannot see gets no look. A child process looks, since a call on a
 * broken file system may never return.
 * @throws Fault where the record cannot be written
 */
export async function lookAtHeavyFiles(state: string): Promise<void> {
  const known = readKnown(state);
  if (known.size === 0) return;
  const stat = standard('xargs', ['-0', 'stat', '--printf=%Y %n\\0', '--']);
  const input = Buffer.from([...known.keys()].map(path => `${path}\0`).join(''), 'latin1');
  const result = await run(stat, { input, timeoutMs: LOOK_MS, limit: OUTPUT_BYTES }).catch(() => undefined);
  if (result === undefined) return; // too late: no look
  const { stdout } = result;
  for (const record of stdout.toString('latin1').split('\0')) {
    const [, mtime, path = ''] = /^(-?\d+) (.*)$/s.exec(record) ?? [];
    const before = known.get(path);
    if (before !== undefined) known.set(path, looked(before, Number(mtime)));
  }
  await writeState(pathIn(state), KEY, Object.fromEntries(known));
}
