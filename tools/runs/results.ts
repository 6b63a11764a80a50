/** The results of benchmarks: what `tools/bench-runs.ts` and others write as JSON, and `tools/performance.ts` reads. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { quoteForShell } from '../../src/wire/text.ts';
import type { Cost } from './bed.ts';

/** What is measured, in the order of the tables. */
export const WORKS = [
  'first',
  'unchanged',
  '1 % changed',
  'one byte of a large file',
  'a folder moved',
  'restore',
  'removal of the oldest',
  'verification',
] as const;
export type Work = (typeof WORKS)[number];

/** The costs of one work for each program, a sample for each round. */
export type Costs = Partial<Record<Work, Record<string, Cost[]>>>;

/** Measurements with the same files on the same kind of file system. */
export interface Part {
  set: string;
  files: number;
  bytes: number;
  fileSystem: string;
  cache: 'warm' | 'cold';
  rounds: number;
  costs: Costs;
  /** Bytes of private memory of one process at most, by its program and command; only where that was watched. */
  processes?: Record<string, number>;
}

export interface Machine {
  processor: string;
  cores: number;
  memory: number;
  kernel: string;
  system: string;
  /** Processes that wanted a processor when the run began: on a quiet machine near 0. */
  load: number;
}

/** One run of a benchmark. `kind` says which, and what else is in it. */
export interface RunRecord {
  kind: 'runs' | 'slope';
  date: string;
  /** As it was typed, for a reader who wants to repeat it. */
  command: string;
  machine: Machine;
  /** By program. */
  versions: Record<string, string>;
  memoryMethod: string;
  parts: Part[];
}

export function describeMachine(): Machine {
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  const { length: cores, 0: first } = cpus();
  const load = Number(readFileSync('/proc/loadavg', 'latin1').split(' ')[0]);
  return {
    processor: first?.model.trim() ?? '',
    cores,
    memory: totalmem(),
    kernel: release(),
    system,
    load,
  };
}

/** A word that a shell takes as it is. */
const PLAIN_WORD = /^[\w.,=/-]+$/;

/** This command without the folder of the checkout and the path of its results. */
export function describeCommand(script: string): string {
  const words = process.argv.slice(2);
  const json = words.indexOf('--json');
  if (json >= 0) words.splice(json, 2);
  return [
    'node',
    `tools/${script}`,
    ...words.map(each => (PLAIN_WORD.test(each) ? each : quoteForShell(each))),
  ].join(' ');
}

/** The commit of the checkout, with `+` if something in it has changed. */
export function describeCommit(): string {
  const git = (...words: string[]): string => execFileSync('git', words, { encoding: 'utf8' }).trim();
  return git('rev-parse', '--short=9', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
}

/** Writes a record. An older version of the file is complete until then. */
export function writeRecord(path: string, record: object): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify(record, rounded, 1)}\n`);
  renameSync(`${path}.new`, path);
}

/** Six significant digits are more than a clock is worth. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

export function median(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}

/** A table of Markdown. @param rows the first is the head */
export function markdown(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const [head = [], ...rest] = rows;
  const rule = `|${head.map((_, column) => (column === 0 ? ' --- |' : ' ---: |')).join('')}`;
  return [line(head), rule, ...rest.map(line)].join('\n');
}

/** What is measured of each command, with the unit of the tables. */
export const MEASURES: { title: string; read: (cost: Cost) => number; digits: number }[] = [
  { title: 'Seconds until all is on the disk', read: cost => cost.seconds, digits: 2 },
  { title: 'Processor seconds of the client', read: cost => cost.client, digits: 2 },
  { title: 'Processor seconds of the host', read: cost => cost.host, digits: 2 },
  { title: 'Most memory of the client, MiB', read: cost => cost.clientMemory / 2 ** 20, digits: 0 },
  { title: 'Most memory of the host, MiB', read: cost => cost.hostMemory / 2 ** 20, digits: 0 },
  { title: 'Sent over the network, MiB', read: cost => cost.wire / 2 ** 20, digits: 2 },
  { title: 'More space used on the host, MiB', read: cost => cost.disk / 2 ** 20, digits: 2 },
];

const NOTHING = '—';

/** Medians: a line for each work, a column for each program. */
export function costTable(part: Part, measure: (typeof MEASURES)[number]): string {
  const works = WORKS.filter(work => part.costs[work] !== undefined);
  const programs = [...new Set(works.flatMap(work => Object.keys(part.costs[work] ?? {})))];
  const rows = works.map(work => {
    const cells = programs.map(program => {
      const costs = part.costs[work]?.[program];
      return costs === undefined ? NOTHING : median(costs.map(measure.read)).toFixed(measure.digits);
    });
    return [work, ...cells];
  });
  return markdown([['', ...programs], ...rows]);
}

/**
 * How two sizes of the same work compare: 1 is linear, 2 quadratic.
 * @param from and to: the number of things, and what they cost
 */
export function slope(from: [number, number], to: [number, number]): number {
  return Math.log(to[1] / from[1]) / Math.log(to[0] / from[0]);
}

/** Measurements at several values of one number, such as the clients of a fleet. */
export interface TableRecord extends Omit<RunRecord, 'kind' | 'parts' | 'memoryMethod'> {
  kind: 'fleet' | 'burst';
  title: string;
  /** What the number is. */
  of: string;
  /** Whether a slope of the last two makes sense: the cost of more of the same. */
  hasSlope: boolean;
  /** The measure's name has its unit. */
  points: { at: number; values: Record<string, number> }[];
}

const DIGITS = 3;

/** A line for each measure, a column for each value of the number. */
export function pointTable({ of, hasSlope, points }: TableRecord): string {
  const names = [...new Set(points.flatMap(each => Object.keys(each.values)))];
  const rows = names.map(name => {
    const found = points.map(({ at, values }): [number, number] => [at, values[name] ?? Number.NaN]);
    const cells = found.map(([, value]) => plain(value));
    const [from, to] = found.slice(-2);
    const last = from && to ? slope(from, to).toFixed(2) : '';
    return [name, ...cells, ...(hasSlope ? [last] : [])];
  });
  const head = [of, ...points.map(each => String(each.at)), ...(hasSlope ? ['slope of the last two'] : [])];
  return markdown([head, ...rows]);
}

/** A number with three significant digits, or all of its whole ones. */
function plain(value: number): string {
  if (Number.isNaN(value)) return NOTHING;
  return Math.abs(value) >= 10 ** (DIGITS - 1) ? value.toFixed(0) : String(Number(value.toPrecision(DIGITS)));
}
