/** Console blocks of a document: the commands are typed in order on test machines, and the output is compared with the document. */
import assert from 'node:assert/strict';

/** A command of a document, and the lines that the document shows below it. */
export interface Step {
  user: string;
  machine: string;
  /** `~` or `~/NAME`. */
  folder: string;
  command: string;
  shown: string[];
  /** The prompt's line in the document, counted from 0. */
  line: number;
}

/** `anna@laptop:~$ command`; a folder below the home is `~/NAME`. */
const PROMPT = /^([a-z]+)@([a-z]+):(~[^$#]*)[$#] (.+)$/;

/** The commands of all ```console blocks. */
function readSteps(text: string): Step[] {
  const steps: Step[] = [];
  let isConsole = false;
  for (const [at, line] of text.split('\n').entries()) {
    if (line.startsWith('```')) {
      isConsole = line === '```console';
      continue;
    }
    if (!isConsole) continue;
    const [, user, machine, folder, command] = PROMPT.exec(line) ?? [];
    if (user !== undefined && machine !== undefined && folder !== undefined && command !== undefined)
      steps.push({ user, machine, folder, command, shown: [], line: at });
    else {
      const step = steps.at(-1);
      assert.ok(step, `line ${at + 1} of a console block stands before the first prompt`);
      step.shown.push(line);
    }
  }
  return steps;
}

/** A line without the parts that differ from one run to the next: keys, times, numbers with their units, and the width of columns. */
function shapeOf(line: string): string {
  return shorten(line)
    .replaceAll(/\d{4}-\d\d-\d\d([T ]\d\d[:-]\d\d([:-]\d\d)?Z?)?/g, 'DATE')
    .replaceAll(/\d+([.,]\d+)*( ?([kMG]i?B|B|ms|s|min|%)(\/s)?\b)?/g, 'N')
    .replaceAll(/N( N)+/g, 'N') // 1 min 5 s
    .replaceAll(/ +/g, ' ')
    .trimEnd();
}

/** A line of the document that stands for any number of lines. */
const LEFT_OUT = '…';

/** The output of a command without the lines that the document leaves out: at one place, or before and behind those that it shows. */
function abridge(printed: string[], shown: string[]): string[] {
  const at = shown.indexOf(LEFT_OUT);
  if (at < 0) return printed;
  const inner = shown.slice(1, -1);
  if (at === 0 && inner.length > 0 && shown.at(-1) === LEFT_OUT) {
    const shape = inner.map(shapeOf).join('\n');
    const from = printed.findIndex(
      (_, index) =>
        printed
          .slice(index, index + inner.length)
          .map(shapeOf)
          .join('\n') === shape,
    );
    if (from >= 0) return [LEFT_OUT, ...printed.slice(from, from + inner.length), LEFT_OUT];
    return [LEFT_OUT, ...printed, LEFT_OUT];
  }
  const last = shown.length - at - 1;
  return [...printed.slice(0, at), LEFT_OUT, ...printed.slice(Math.max(at, printed.length - last))];
}

/** Keys as the document shows them. */
function shorten(line: string): string {
  return line
    .replaceAll(/ssh-ed25519 [A-Za-z0-9+/]{68}/g, 'ssh-ed25519 AAAA…')
    .replaceAll(/SHA256:[A-Za-z0-9+/]{43}/g, 'SHA256:…');
}

/**
 * Types all commands of a document.
 * @param type types a command at the prompt of a step, and returns the lines that it printed
 * @returns the commands whose output has another shape than the document shows, and the document with the output of this run
 */
export async function followTranscript(
  text: string,
  type: (step: Step, typed: string) => Promise<string[]>,
): Promise<{ differences: string[]; written: string; steps: number }> {
  const steps = readSteps(text);
  const printed: string[] = [];
  const differences: string[] = [];
  for (const step of steps) {
    // A command with a shortened key is the one that an earlier command has printed.
    const typed = step.command.includes('…')
      ? printed.map(line => line.trim()).find(line => shorten(line) === step.command)
      : step.command;
    assert.ok(typed, `no command has printed "${step.command}", but:\n${printed.join('\n')}`);
    const output = await type(step, typed);
    printed.push(...output);
    const actual = abridge(output.map(shorten), step.shown);
    if (actual.map(shapeOf).join('\n') !== step.shown.map(shapeOf).join('\n'))
      differences.push(`$ ${step.command}\n${actual.join('\n')}`);
    step.shown = actual;
  }
  return { differences, written: replaceOutput(text, steps), steps: steps.length };
}

function replaceOutput(text: string, steps: readonly Step[]): string {
  const lines = text.split('\n');
  for (const step of steps.toReversed()) {
    const end = lines.findIndex(
      (line, at) => at > step.line && (line.startsWith('```') || PROMPT.test(line)),
    );
    lines.splice(step.line + 1, end - step.line - 1, ...step.shown.filter(line => line !== ''));
  }
  return lines.join('\n');
}
