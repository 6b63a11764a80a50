/**
 * Makes docs/performance.md and its plots from the results in docs/performance/*.json: `node tools/performance.ts`. Copy the file of
 * a run of tools/bench-runs.ts, tools/bench-fleet.ts or tools/bench-burst.ts there first. Where several results are of the same
 * part, the newest one counts. It needs gnuplot for the plots. A test compares the text with the results.
 */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cost } from './runs/bed.ts';
import {
  costTable,
  MEASURES,
  markdown,
  median,
  type Part,
  pointTable,
  type RunRecord,
  slope,
  type TableRecord,
  WORKS,
} from './runs/results.ts';

const DOCS = join(import.meta.dirname, '../docs');
const OURS = /^dialback-/;
const LIMIT = 40e6;
/** Colors that people with any color vision can tell apart (Okabe and Ito, 2008), on the plots' white ground. */
const COLORS = ['#0072b2', '#56b4e9', '#d55e00', '#e69f00', '#009e73', '#cc79a7', '#999999', '#000000'];

type Record_ = RunRecord | TableRecord;

interface Plot {
  /** The name of its file in docs/performance. */
  name: string;
  /** For gnuplot, without terminal and output. */
  script: string;
}

function readRecords(): Record_[] {
  return globSync(join(DOCS, 'performance/*.json'))
    .map(path => JSON.parse(readFileSync(path, 'utf8')) as Record_)
    .sort((a, b) => (a.date < b.date ? -1 : 1));
}

const keyOf = ({ set, files, fileSystem, cache }: Part): string => `${set}-${files}-${fileSystem}-${cache}`;

const describePart = ({ set, files, bytes, fileSystem, cache }: Part): string =>
  `${set}: ${files.toLocaleString('en')} files, ${(bytes / 1e6).toFixed(0)} MB, ${fileSystem}, ${cache} cache`;

/** One comparison of dialback with the best other program. */
interface Comparison {
  work: string;
  part: Part;
  /** Of dialback's median and the other's; above 1 dialback needs more. */
  ratio: number;
  other: string;
}

/** Compares dialback's better transport with the best other program. */
function compare(parts: readonly Part[], read: (cost: Cost) => number): Comparison[] {
  return parts.flatMap(part =>
    WORKS.flatMap(work => {
      const medians = Object.entries(part.costs[work] ?? {}).map(([name, costs]): [string, number] => [
        name,
        median(costs.map(read)),
      ]);
      const least = (all: [string, number][]): [string, number] | undefined =>
        all.sort((a, b) => a[1] - b[1])[0];
      const ours = least(medians.filter(([name]) => OURS.test(name)));
      const theirs = least(medians.filter(([name]) => !OURS.test(name)));
      if (!ours || !theirs) return [];
      return [{ work, part, ratio: ours[1] / theirs[1], other: theirs[0] }];
    }),
  );
}

/** For each work the part where dialback is the slowest beside another program. */
function worst(all: readonly Comparison[]): Comparison[] {
  return WORKS.flatMap(work => {
    const [most] = all.filter(each => each.work === work).sort((a, b) => b.ratio - a.ratio);
    return most ? [most] : [];
  });
}

const sayComparison = ({ work, part, ratio, other }: Comparison): string =>
  `${work[0]?.toUpperCase()}${work.slice(1)}: ${ratio.toFixed(2)} times ${other} (${part.set}, ${part.fileSystem}, ${part.cache}).`;

/** Says in which works dialback is slower. */
function describeSlower(parts: readonly Part[]): string {
  const all = compare(parts, cost => cost.seconds);
  const slower = all.filter(each => each.ratio > 1);
  if (all.length === 0) return 'There are no results beside other programs yet.';
  const count = `dialback was slower than the fastest other program in ${slower.length} of ${all.length} measurements.`;
  if (slower.length === 0) return count;
  const each = worst(slower).map(sayComparison).join(' ');
  return `${count} For each work this is the largest ratio of the times. ${each}`;
}

function describeMore(parts: readonly Part[]): string {
  const processor = compare(parts, cost => cost.client + cost.host).filter(each => each.ratio > 1);
  const wire = compare(parts, cost => cost.wire).filter(each => each.ratio > 1);
  const lines: string[] = [];
  for (const [what, found] of [
    ['Processor time of both sides together', processor],
    ['Bytes on the network', wire],
  ] as const)
    if (found.length > 0)
      lines.push(
        `${what}, where dialback needs more than the best other program: ${worst(found).map(sayComparison).join(' ')}`,
      );
  return lines.join('\n\n');
}

function describeRuns(records: readonly Record_[]): string {
  const rows = records.map(each => {
    const { processor, cores, memory, kernel, system, load } = each.machine;
    const machine = `${cores} × ${processor}, ${(memory / 2 ** 30).toFixed(0)} GiB, ${system}, kernel ${kernel}`;
    return [each.date.slice(0, 10), `\`${each.command}\``, each.versions.commit ?? '', machine, String(load)];
  });
  const head = ['date', 'command', 'commit', 'machine', 'load before'];
  const versions = new Map(records.flatMap(each => Object.entries(each.versions)));
  versions.delete('commit');
  const programs = [...versions].map(([name, version]) => `- ${name}: ${version.trim()}`);
  return `${markdown([head, ...rows])}\n\nThe programs, as they name themselves:\n\n${programs.join('\n')}`;
}

function barPlot(part: Part): Plot {
  const works = WORKS.filter(work => part.costs[work] !== undefined);
  const programs = [...new Set(works.flatMap(work => Object.keys(part.costs[work] ?? {})))];
  const cell = (work: (typeof WORKS)[number], program: string): string => {
    const costs = part.costs[work]?.[program];
    return costs === undefined ? 'NaN' : median(costs.map(each => each.seconds)).toFixed(3);
  };
  const lines = works.map(work => `"${work}" ${programs.map(program => cell(work, program)).join(' ')}`);
  const bars = programs.map(
    (program, at) =>
      `$data using ${at + 2}${at === 0 ? ':xtic(1)' : ''} title "${program}" linecolor rgb "${COLORS[at % COLORS.length]}"`,
  );
  const script = [
    `$data << EOD\n${lines.join('\n')}\nEOD`,
    'set style data histogram',
    'set style histogram clustered gap 1',
    'set style fill solid',
    'set logscale y',
    'set ylabel "seconds"',
    'set xtics rotate by -20',
    'set key outside top horizontal',
    'set grid ytics',
    `plot ${bars.join(', ')}`,
  ];
  return { name: `${keyOf(part)}.svg`, script: script.join('\n') };
}

/** The seconds of each work for each number of files. */
function slopePlot({ parts }: RunRecord): Plot {
  const works = WORKS.filter(work => parts.some(each => each.costs[work] !== undefined));
  const value = (part: Part, work: (typeof WORKS)[number]): string => {
    const samples = Object.values(part.costs[work] ?? {}).flat();
    return samples.length === 0 ? 'NaN' : median(samples.map(each => each.seconds)).toFixed(3);
  };
  const lines = parts.map(part => `${part.files} ${works.map(work => value(part, work)).join(' ')}`);
  const curves = works.map(
    (work, at) =>
      `$data using 1:${at + 2} with linespoints linewidth 2 pointtype 7 title "${work}" linecolor rgb "${COLORS[at % COLORS.length]}"`,
  );
  const script = [
    `$data << EOD\n${lines.join('\n')}\nEOD`,
    'set logscale xy',
    'set xlabel "files"',
    'set ylabel "seconds"',
    'set key left top',
    'set grid',
    `plot ${curves.join(', ')}`,
  ];
  return { name: 'slope.svg', script: script.join('\n') };
}

function slopeTables({ parts }: RunRecord): string {
  const works = WORKS.filter(work => parts.some(each => each.costs[work] !== undefined));
  const head = ['', ...parts.map(each => `${each.files.toLocaleString('en')} files`)];
  const tables = MEASURES.map(({ title, read, digits }) => {
    const rows = works.map(work => {
      const points = parts.map(({ files, costs }): [number, number] => [
        files,
        median(
          Object.values(costs[work] ?? {})
            .flat()
            .map(read),
        ),
      ]);
      const [from, to] = points.slice(-2);
      const last = from && to ? slope(from, to).toFixed(2) : '';
      return [work, ...points.map(([, cost]) => cost.toFixed(digits)), last];
    });
    return `${title}:\n\n${markdown([[...head, 'slope of the last two'], ...rows])}`;
  });
  const names = [...new Set(parts.flatMap(each => Object.keys(each.processes ?? {})))].sort();
  const rows = names.map(name => [
    name,
    ...parts.map(({ processes }) => {
      const bytes = processes?.[name];
      return bytes === undefined ? '—' : (bytes / 1e6).toFixed(1);
    }),
  ]);
  const most = Math.max(...parts.flatMap(each => Object.values(each.processes ?? {})));
  const verdict = `The largest is ${(most / 1e6).toFixed(1)} MB; the limit is ${LIMIT / 1e6} MB.`;
  return [
    ...tables,
    `Private memory of one process of dialback at its most, in MB. ${verdict}\n\n${markdown([head, ...rows])}`,
  ].join('\n\n');
}

const MEANING = `- A time begins with the command and ends when everything is on the disk of both sides: \`sync -f\` is a part of it, for every program.
- Client and host are two accounts of one machine. They use ssh over the loopback device of a network namespace.
- Each side has a fresh file system on a loop device. Each first backup goes to a fresh one.
- In each round every program does the same work on the same files, and each round begins with another program. Tables have medians of the rounds.
- Processor time is that of all processes of a side (cgroup v2), and includes work of the host after the command, such as dialback's manifest.
- dialback runs in its jails on both sides.
- rsync is the machine's own, pulled by the host with the options that dialback uses and \`--link-dest\`. With \`--insecure-links\` it is faster, and safe only if no other account can write to the backups.
- restic, borg, rdiff-backup and rsnapshot are those of Debian 13. restic and borg compress and encrypt, the others do not.
- With a cold cache the page cache is dropped before each command.`;

/** The document, and the plots that it shows. */
export function makePerformance(): { text: string; plots: Plot[] } {
  const records = readRecords();
  const runs = records.filter((each): each is RunRecord => each.kind === 'runs');
  const byKey = new Map(runs.flatMap(each => each.parts).map(part => [keyOf(part), part]));
  const parts = [...byKey.values()];
  const slopeRecord = records.findLast((each): each is RunRecord => each.kind === 'slope');
  const tables = records.filter(
    (each): each is TableRecord => each.kind === 'fleet' || each.kind === 'burst',
  );
  const plots: Plot[] = [];
  const picture = (plot: Plot, alternative: string): string => {
    plots.push(plot);
    return `![${alternative}](performance/${plot.name})`;
  };
  const more = describeMore(parts);
  const sections = [
    '# Performance',
    describeSlower(parts),
    ...(more === '' ? [] : [more]),
    'tools/performance.ts writes this document from the results in docs/performance. Do not edit it.',
    `## How it is measured\n\n${MEANING}`,
    ...[...new Set(runs.map(each => each.memoryMethod))].map(each => `- Memory: ${each}.`),
    describeRuns(records),
  ];
  for (const part of parts) {
    sections.push(`## ${describePart(part)}`, `Rounds: ${part.rounds}.`);
    sections.push(picture(barPlot(part), `Seconds of each program, ${describePart(part)}`));
    for (const measure of MEASURES) sections.push(`${measure.title}:`, costTable(part, measure));
  }
  if (slopeRecord !== undefined)
    sections.push(
      '## From few files to many',
      'Small files, dialback only. A slope of 1 is linear.',
      picture(slopePlot(slopeRecord), 'Seconds for each number of files'),
      slopeTables(slopeRecord),
    );
  const newest = new Map(tables.map(each => [each.title, each]));
  for (const each of newest.values()) sections.push(`## ${each.title}`, pointTable(each));
  return { text: `${sections.join('\n\n')}\n`, plots };
}

/** A white ground, since a viewer may be light or dark. No time and no random names, so that the same results give the same bytes. */
function draw({ name, script }: Plot): void {
  const path = join(DOCS, 'performance', name);
  const head = `set terminal svg size 960,480 dynamic background rgb "white" font "sans-serif,13" name "plot"\nset output "${path}"\n`;
  execFileSync('gnuplot', [], {
    input: `${head}${script}\nunset output\n`,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

if (import.meta.main) {
  const { text, plots } = makePerformance();
  writeFileSync(join(DOCS, 'performance.md'), text);
  for (const plot of plots) draw(plot);
}
