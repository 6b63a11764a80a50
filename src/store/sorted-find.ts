/** Sorts the output of find(1) by sort(1), so that no process holds all of it in memory. */
import { Fault } from '../fault.ts';
import { type Child, type Command, standard, start, startInto } from '../os/process.ts';
import { recordsOf } from '../os/records.ts';
import { scratchFolder } from '../os/scratch.ts';
import { escapeText } from '../wire/text.ts';

/** Receives a text about something that could not be read. */
export type Complain = (found: string) => void;

interface SortedOptions {
  /** sort(1)'s options for the order. Records end with a NUL, fields with a blank. */
  order: string[];
  /** The finder's standard input; if left out, none. */
  input?: Buffer;
  /** Receives what the finder could not read, and the rest is returned; if left out, that is a Fault. */
  complain?: Complain | undefined;
  signal: AbortSignal | undefined;
  /** For the message: `read "…"`. */
  tried: string;
}

/** Memory of sort(1) before it uses a temporary file. */
const SORT_MEMORY = '64M';
const RECORD_LIMIT = 1024 * 1024;
/** find(1) exits with 1 if it could not read something; xargs(1) with 123 if a program that it started did. */
const COULD_NOT_READ = [1, 123];

/**
 * Runs a program that prints records.
 * @returns the records in order, without the NUL
 * @throws Fault when the program or sort fails; the signal's reason
 */
export async function* sortedRecords(finder: Command, options: SortedOptions): AsyncGenerator<Buffer> {
  const { order, input, complain, signal, tried } = options;
  // Both are our own children, so they end with us. The finder's output goes straight to sort.
  const sort = standard('sort', ['-z', '-S', SORT_MEMORY, '-T', scratchFolder(), '-t', ' ', ...order]);
  const sorting = await start(sort, ['pipe', 'pipe', 'pipe']);
  const finding = await startInto(sorting, finder);
  const abort = (): void => {
    void finding.end();
    void sorting.end();
  };
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const complaint = firstWords([finding, sorting]);
  try {
    finding.stdin?.end(input ?? '');
    for await (const records of recordsOf(sorting, RECORD_LIMIT)) yield* records;
    for (const child of [finding, sorting]) {
      const { status } = await child.ended;
      signal?.throwIfAborted();
      if (status === 0) continue;
      const found = complaint() ?? `${child.program} failed`;
      const isBearable = child === finding && COULD_NOT_READ.includes(status ?? -1);
      if (complain === undefined || !isBearable) throw new Fault({ tried, found });
      complain(found);
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    await Promise.all([finding.end(), sorting.end()]);
  }
}

const COMPLAINT_KEPT = 2000;

function firstWords(children: Child[]): () => string | undefined {
  let said = '';
  for (const { stderr } of children)
    stderr?.on('data', (chunk: Buffer) => {
      if (said.length < COMPLAINT_KEPT) said += chunk.toString('latin1');
    });
  return () => {
    const line = said.split('\n').find(each => each !== '');
    return line === undefined ? undefined : escapeText(line);
  };
}
