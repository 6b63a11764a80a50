/** The terminal on standard error, as far as one line can be written there again and again. */
import { readProc } from './files.ts';
import { isTerminal } from './streams.ts';

export interface Terminal {
  /** Columns, now: it can change at any time. */
  columns(): number;
  /** Whether it is ours to write on: not while the shell has us in the background. */
  isInFront(): boolean;
}

const USUAL_COLUMNS = 80;

/**
 * The terminal, where there is one that can erase a line: TERM says so (term(7)) by being there and not `dumb`.
 * node's stream is asked for the width alone; nothing is written by it (streams.ts, say()).
 */
export function openTerminal(environment: NodeJS.ProcessEnv): Terminal | undefined {
  if (!isTerminal(2) || ['', 'dumb', undefined].includes(environment.TERM)) return undefined;
  return { columns: () => process.stderr.columns || USUAL_COLUMNS, isInFront };
}

/** Whether whoever reads our text takes it for UTF-8: the first of these three that is set says so (setlocale(3)). */
export function readsUtf8({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '');
}

/** proc(5): the process group, and the one that the terminal has in front; -1 for no terminal of this session's. */
function isInFront(): boolean {
  const fields = (readProc('self/stat') ?? '').split(') ').at(-1)?.split(' ') ?? [];
  const [, , group, , , front] = fields;
  return front === group || front === '-1';
}
