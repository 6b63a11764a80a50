/** The terminal on standard error, for a status line that is rewritten in place. */
import { readProc } from './files.ts';
import { isTerminal } from './streams.ts';

/** A terminal that can erase a line. */
export interface Terminal {
  /** The present number of columns; it can change at any time. */
  columns(): number;
  /** Whether we may write on it: false while the shell runs us in the background. */
  isInFront(): boolean;
}

const USUAL_COLUMNS = 80;

/**
 * Opens the terminal. It can erase a line if TERM is set and is not `dumb` (term(7)). node's stream only reports the width; `say()`
 * writes.
 * @returns undefined when there is no such terminal
 */
export function openTerminal(environment: NodeJS.ProcessEnv): Terminal | undefined {
  if (!isTerminal(2) || ['', 'dumb', undefined].includes(environment.TERM)) return undefined;
  return { columns: () => process.stderr.columns || USUAL_COLUMNS, isInFront };
}

/** Whether the locale is UTF-8: the first of these variables that is set decides (setlocale(3)). */
export function readsUtf8({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '');
}

/** Compares the process group with the terminal's foreground group (proc(5)), which is -1 when the session has no terminal. */
function isInFront(): boolean {
  const fields = (readProc('self/stat') ?? '').split(') ').at(-1)?.split(' ') ?? [];
  const [, , group, , , front] = fields;
  return front === group || front === '-1';
}
