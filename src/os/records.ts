/** Reading a program's output while it runs: lines, and records that end with a NUL. */
import type { Readable } from 'node:stream';
import { Fault } from '../fault.ts';
import { dropGarbage } from './memory.ts';
import { type Child, type Command, type ExitResult, STDERR_KEPT, start } from './process.ts';

/**
 * Calls back with each line of a stream; a newline ends it, a carriage return too.
 * @param limit characters: of a longer line only these are kept, so that no peer can fill our memory
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

/** Bounds of a program that prints records. */
export interface RecordOptions {
  /** Bytes that a record may have. */
  limit: number;
  /** Ends it, and makes `takeRecords` throw the signal's reason. */
  signal?: AbortSignal | undefined;
}

const RECORDS_END_MS = 3_000;

/**
 * Runs a program to its end and calls back with each record that it prints, as bytes; a NUL ends a record, and what stands
 * behind the last NUL is none. No more than one of them is held.
 * @returns how it ended, and what it said on standard error
 */
export async function takeRecords(
  command: Command,
  { limit, signal }: RecordOptions,
  take: (record: Buffer) => void,
): Promise<ExitResult & { stderr: string }> {
  const child = await start(command, ['nothing', 'pipe', 'pipe']);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8');
  });
  const abort = (): void => void child.end(RECORDS_END_MS);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    for await (const records of recordsOf(child, limit)) for (const record of records) take(record);
    const ending = await child.ended;
    signal?.throwIfAborted();
    return { ...ending, stderr };
  } finally {
    signal?.removeEventListener('abort', abort);
    await child.end(RECORDS_END_MS);
  }
}

/**
 * What a child prints, as bytes, cut at each NUL: what came at once at a time. What stands behind the last NUL is none.
 * @param limit bytes that a record may have
 * @throws Fault where one has more
 */
export async function* recordsOf(child: Child, limit: number): AsyncGenerator<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of (child.stdout ?? []) as AsyncIterable<Buffer>) {
    dropGarbage();
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const records: Buffer[] = [];
    let from = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, from)) {
      records.push(bytes.subarray(from, end));
      from = end + 1;
    }
    yield records;
    rest = bytes.subarray(from);
    if (rest.length > limit)
      throw new Fault({
        tried: `run "${child.program}"`,
        found: `it printed more than ${limit} bytes at once`,
      });
  }
}
