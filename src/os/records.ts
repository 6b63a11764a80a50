/** Reading a program's output while it runs: lines, and records that end with a NUL. */
import type { Readable } from 'node:stream';
import { Fault } from '../fault.ts';
import { dropGarbage } from './memory.ts';
import { type Child, type Command, type ExitResult, STDERR_KEPT, start } from './process.ts';

/**
 * Calls back with each line of a stream. A newline or a carriage return ends a line.
 * @param limit characters: longer lines are cut, so that a peer cannot fill our memory
 */
export function eachLine(stream: Readable | null, limit: number, take: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (chunk: string) => {
    dropGarbage();
    const lines = chunk.split(/[\n\r]/);
    for (const [index, piece] of lines.entries()) {
      rest = (rest + piece).slice(0, limit);
      if (index === lines.length - 1) break;
      take(rest);
      rest = '';
    }
  });
  stream?.on('end', () => {
    if (rest !== '') take(rest);
  });
}

/** Limits of a program that prints records. */
interface RecordOptions {
  /** The most bytes of a record. */
  limit: number;
  /** Kills it, and makes `takeRecords` throw the signal's reason. */
  signal?: AbortSignal | undefined;
}

const RECORDS_END_MS = 3_000;

/**
 * Runs a program to its end and calls back with each record that it prints, as bytes. A NUL ends a record; bytes after the last NUL
 * are dropped. Memory holds one record at a time.
 * @returns how it exited, and its standard error
 * @throws Fault when a record is too long; the signal's reason
 */
export async function takeRecords(
  command: Command,
  options: RecordOptions,
  take: (record: Buffer) => void,
): Promise<ExitResult & { stderr: string }> {
  return await takeChunks(command, options, bytes => {
    for (const record of splitRecords(bytes)) take(record);
  });
}

/**
 * The same for texts of one character (latin1) per byte, many at a time. It takes a third of the time of `takeRecords`.
 * @throws as `takeRecords`
 */
export async function takeTexts(
  command: Command,
  options: RecordOptions,
  take: (records: string[]) => void,
): Promise<ExitResult & { stderr: string }> {
  return await takeChunks(command, options, bytes => take(splitTexts(bytes)));
}

/** Runs a program, and calls back with whole records: bytes that end with a NUL. */
async function takeChunks(
  command: Command,
  { limit, signal }: RecordOptions,
  take: (bytes: Buffer) => void,
): Promise<ExitResult & { stderr: string }> {
  const child = await start(command, ['nothing', 'pipe', 'pipe']);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8');
  });
  const abort = (): void => void child.end(RECORDS_END_MS);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    for await (const bytes of wholeRecordsOf(child, limit)) take(bytes);
    const ending = await child.ended;
    signal?.throwIfAborted();
    return { ...ending, stderr };
  } finally {
    signal?.removeEventListener('abort', abort);
    await child.end(RECORDS_END_MS);
  }
}

/**
 * Splits a child's output at each NUL, one chunk at a time. Bytes after the last NUL are dropped.
 * @param limit the most bytes of a record
 * @throws Fault when a record is longer
 */
export async function* recordsOf(child: Child, limit: number): AsyncGenerator<Buffer[]> {
  for await (const bytes of wholeRecordsOf(child, limit)) yield splitRecords(bytes);
}

/** The same for texts of one character (latin1) per byte. @throws as `recordsOf` */
export async function* textsOf(child: Child, limit: number): AsyncGenerator<string[]> {
  for await (const bytes of wholeRecordsOf(child, limit)) yield splitTexts(bytes);
}

function splitTexts(bytes: Buffer): string[] {
  const records = bytes.toString('latin1').split('\0');
  records.pop(); // empty: the bytes end with a NUL
  return records;
}

/** The records of bytes that end with a NUL. */
function splitRecords(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, from)) {
    records.push(bytes.subarray(from, end));
    from = end + 1;
  }
  return records;
}

/** The output of a child in parts that end with a NUL. */
async function* wholeRecordsOf(child: Child, limit: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of (child.stdout ?? []) as AsyncIterable<Buffer>) {
    dropGarbage();
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf(0) + 1;
    yield bytes.subarray(0, end);
    rest = bytes.subarray(end);
    if (rest.length > limit)
      throw new Fault({
        tried: `run "${child.program}"`,
        found: `it printed more than ${limit} bytes at once`,
      });
  }
}
