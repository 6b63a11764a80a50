/** The log of the server: one line for each event, escaped, and at most some lines in a time. */
import { monotonicMs } from '../os/clock.ts';
import { escapeText } from '../wire/text.ts';

const LINES = 30;
const SPAN_MS = 10_000;
const LINE_LIMIT = 500;

/** @param write receives a line with its newline */
export function makeLog(write: (line: string) => void, clock = monotonicMs): (text: string) => void {
  let since = clock();
  let lines = 0;
  return text => {
    const now = clock();
    if (now - since > SPAN_MS) {
      if (lines > LINES) write(`dialback web: ${lines - LINES} more lines were left out\n`);
      [since, lines] = [now, 0];
    }
    lines += 1;
    if (lines <= LINES) write(`dialback web: ${escapeText(text, LINE_LIMIT)}\n`);
  };
}
