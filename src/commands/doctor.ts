/** `dialback doctor`: checks everything that a backup needs. */
import { type Finding, type State, worstStatus } from '../doctor/finding.ts';
import { doctor as collectFindings } from '../doctor/run.ts';
import { jsonText } from '../output/json.ts';
import { Arguments, type Command, exitName, JSON_OPTION } from './command.ts';

interface DoctorRequest {
  config: string | undefined;
  /** Undefined: the sides that are set up on this machine. */
  side: 'client' | 'host' | undefined;
  json: boolean;
}

export const doctor: Command<DoctorRequest> = {
  name: 'doctor',
  usage: 'doctor [--client|--host] [--config F] [--json]',
  side: 'both',
  summary: 'check everything that a backup needs; say what is wrong, why it matters, and how to fix it',
  options: [
    { name: 'config', value: 'F', help: 'read this client.toml or host.toml' },
    { name: 'client', help: 'check only what a client needs' },
    { name: 'host', help: 'check only what a backup host needs' },
    JSON_OPTION,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(doctor, words);
    if (given.has('client') && given.has('host'))
      throw given.refuse('--client and --host contradict each other');
    return {
      config: given.path('config'),
      side: given.has('client') ? 'client' : given.has('host') ? 'host' : undefined,
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const findings = await collectFindings(request);
    io.print(request.json ? jsonText(findings) : io.plain(doctorText(findings)));
    // The numbers are those of a monitoring plugin: 0 ok, 1 warning, 2 critical.
    return exitName(worstStatus(findings));
  },
};

const STATE_WIDTH = 10;

/** The findings in groups, with the reason and the next step of those that are not ok. */
export function doctorText(findings: Finding[]): string {
  const groups = Map.groupBy(findings, each => each.check.split('.')[0] ?? '');
  const lines: string[] = [];
  for (const [group, members] of groups) {
    lines.push(group);
    for (const { check, state, found, why, next } of members) {
      const label = check.slice(group.length + 1).replaceAll('_', ' ');
      lines.push(`  ${state.padEnd(STATE_WIDTH)}${label}: ${printable(found)}`);
      if (state === 'ok') continue;
      const indent = ' '.repeat(STATE_WIDTH + 2);
      lines.push(`${indent}why: ${why}`);
      if (next !== null) lines.push(`${indent}next: ${printable(next)}`);
    }
  }
  const count = (state: State): number => findings.filter(each => each.state === state).length;
  lines.push(
    `${count('critical')} critical, ${count('warning')} warning, ${count('unknown')} unknown, ${count('ok')} ok`,
  );
  return `${lines.join('\n')}\n`;
}

/** Replaces the characters that a terminal obeys or hides. Backslashes stay: a command may contain them. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?');
}
