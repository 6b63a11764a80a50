/** The table of docs/versions.md with the results on emulated machines. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Facts, LAB, type Machine } from './machine.ts';
import type { Report } from './report.ts';

const BEGIN = '<!-- emulated machines: written by test/machines/run.ts --results -->';
const END = '<!-- end of emulated machines -->';
const HEAD = '| machine | date | kernel | Landlock ABI | systemd | rsync | OpenSSH | parts | result |';
const INTRODUCTION = `## Emulated machines

\`make test-machines\` starts these machines in qemu, each with a kernel and a systemd of its own (docs/testing.md). One row is
one machine.
`;

/** A machine, and the checks that were made in it. */
export interface Row {
  facts: Facts;
  /** Runs a check, and adds it to the row. @returns whether it passed */
  check: (name: string, run: () => Promise<void>) => Promise<boolean>;
  machine: string;
  ran: string[];
  failed: string[];
}

/**
 * @param label the name of the row
 * @param keep whether the machine stays when a check fails
 */
export async function rowOf(report: Report, machine: Machine, label: string, keep: boolean): Promise<Row> {
  const row: Row = {
    machine: label,
    facts: await machine.facts(),
    ran: [],
    failed: [],
    check: async (name, run) => {
      const passed = await report.check(`${label}: ${name}`, run);
      row.ran.push(name);
      if (passed) return true;
      row.failed.push(name);
      if (keep && !machine.isKept) {
        machine.isKept = true;
        report.say(
          `    the machine is kept: ${LAB} ssh ${machine.name} COMMAND, ${LAB} down ${machine.name}`,
        );
      }
      return false;
    },
  };
  return row;
}

/** Replaces the rows of the machines that ran, and keeps the others. Makes the file, and the section, where there is none. */
export function writeResults(path: string, rows: Row[], now: Date): void {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '# Versions that were tested\n';
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  const isThere = begin >= 0 && end > begin;
  const old = isThere ? text.slice(begin, end) : '';
  const lines = new Map<string, string>();
  for (const [line, machine = ''] of old.matchAll(/^\| ([^|]+) \| \d{4}-.*$/gm)) lines.set(machine, line);
  for (const row of rows) lines.set(row.machine, lineOf(row, now));
  const section = [BEGIN, INTRODUCTION, HEAD, HEAD.replaceAll(/[^|]+/g, '---'), ...lines.values(), END].join(
    '\n',
  );
  writeFileSync(
    path,
    isThere ? text.slice(0, begin) + section + text.slice(end + END.length) : `${text}\n${section}\n`,
  );
}

function lineOf({ machine, facts, ran, failed }: Row, now: Date): string {
  const result = failed.length === 0 ? 'passed' : `failed: ${failed.join('; ')}`;
  const { kernel, landlock, systemd, rsync, openssh } = facts;
  const cells = [
    machine,
    now.toISOString().slice(0, 10),
    kernel,
    landlock,
    systemd,
    rsync,
    openssh,
    ran.join('; '),
    result,
  ];
  return `| ${cells.map(each => (each === '' ? '-' : each.replaceAll('|', '/'))).join(' | ')} |`;
}
