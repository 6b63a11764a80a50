/** Sorts the output of find(1) by sort(1), so that no process holds all of it in memory. */
import { Fault } from '../fault.ts';
import { type Child, type Command, standard, start, startInto } from '../os/process.ts';
import { recordsOf, textsOf } from '../os/records.ts';
import { scratchFolder } from '../os/scratch.ts';
import { escapeText } from '../wire/text.ts';

/** Receives a text about an entry that could not be read. */
export type Complain = (found: string) => void;

interface SortedOptions {
  /** sort(1)'s options for the order. Records end with a NUL, fields with a blank. */
  order: string[];
  /** The finder's standard input; if left out, none. */
  input?: Buffer;
  /** A program between the finder and sort(1). */
  filter?: Command;
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
  for await (const records of sorted(finder, options, recordsOf)) yield* records;
}

/** The same for texts of one character (latin1) per byte, many at a time. @throws as `sortedRecords` */
export function sortedTexts(finder: Command, options: SortedOptions): AsyncGenerator<string[]> {
  return sorted(finder, options, textsOf);
}

/** @param read reads the output of sort(1) */
async function* sorted<T>(
  finder: Command,
  options: SortedOptions,
  read: (sorting: Child, limit: number) => AsyncGenerator<T[]>,
): AsyncGenerator<T[]> {
  const { input, filter, complain, signal, tried } = options;
  // All are our own children, so they end with us. The finder's output goes straight to the next one.
  const sorting = await start(sortCommand(options.order), ['pipe', 'pipe', 'pipe']);
  const filtering = filter && (await startInto(sorting, filter));
  const children = [filtering, sorting].filter(each => each !== undefined);
  let finding: Child;
  try {
    finding = await startInto(filtering ?? sorting, finder);
  } catch (error) {
    await sorting.end();
    throw error;
  }
  children.unshift(finding);
  const abort = (): void => {
    for (const child of children) void child.end();
  };
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const complaints = complaintsOf(children);
  try {
    finding.stdin?.end(input ?? '');
    yield* read(sorting, RECORD_LIMIT);
    for (const child of children) {
      const { status } = await child.ended;
      signal?.throwIfAborted();
      if (status === 0) continue;
      const found = complaints();
      if (found.length === 0) found.push(`${child.program} failed`);
      const isBearable = child === finding && COULD_NOT_READ.includes(status ?? -1);
      if (complain === undefined || !isBearable) throw new Fault({ tried, found: found[0] ?? '' });
      for (const each of found) complain(each);
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    await Promise.all(children.map(child => child.end()));
  }
}

function sortCommand(order: readonly string[]): Command {
  return standard('sort', ['-z', '-S', SORT_MEMORY, '-T', scratchFolder(), '-t', ' ', ...order]);
}

/** Bytes that are collected before they are passed to sort(1). */
const PORTION = 65_536;

/**
 * Sorts records that this process makes.
 * @param records without the NUL
 * @returns the records in order
 * @throws Fault when sort fails; the signal's reason
 */
export async function* sortRecords(
  records: AsyncIterable<Buffer>,
  { order, signal, tried }: Pick<SortedOptions, 'order' | 'signal' | 'tried'>,
): AsyncGenerator<Buffer> {
  const sorting = await start(sortCommand(order), ['pipe', 'pipe', 'pipe']);
  const abort = (): void => void sorting.end();
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const complaints = complaintsOf([sorting]);
  try {
    await writeRecords(sorting, records);
    for await (const sorted of recordsOf(sorting, RECORD_LIMIT)) yield* sorted;
    const { status } = await sorting.ended;
    signal?.throwIfAborted();
    if (status !== 0) throw new Fault({ tried, found: complaints()[0] ?? 'sort failed' });
  } finally {
    signal?.removeEventListener('abort', abort);
    await sorting.end();
  }
}

/** Does not fail if the program stops reading: its exit status gives the reason. */
async function writeRecords({ stdin }: Child, records: AsyncIterable<Buffer>): Promise<void> {
  let portion: Buffer[] = [];
  let size = 0;
  const write = async (): Promise<boolean> => {
    const bytes = Buffer.concat(portion);
    [portion, size] = [[], 0];
    return await new Promise(resolve => stdin?.write(bytes, error => resolve(!error)) ?? resolve(false));
  };
  for await (const record of records) {
    portion.push(record, NUL);
    size += record.length + 1;
    if (size >= PORTION && !(await write())) return;
  }
  if (size === 0 || (await write())) stdin?.end();
}

const NUL = Buffer.from([0]);

/** Bytes. For a damaged disk find(1) prints more, which is dropped. */
const COMPLAINT_KEPT = 64 * 1024;

/** @returns a function that gives the lines of standard error so far */
function complaintsOf(children: Child[]): () => string[] {
  let said = '';
  for (const { stderr } of children)
    stderr?.on('data', (chunk: Buffer) => {
      if (said.length < COMPLAINT_KEPT) said += chunk.toString('latin1');
    });
  return () =>
    said
      .split('\n')
      .filter(each => each !== '')
      .map(each => escapeText(each));
}
