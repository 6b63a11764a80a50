/**
 * A reporter of node:test (node --test-reporter): writes each event to descriptor 3 as a line of JSON, at once. Standard output
 * is the tests' own.
 */
import { writeSync } from 'node:fs';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';
import type { FileEvent } from './events.ts';

const EVENTS_FD = 3;

/** @returns the parts of it that the runner needs */
function eventOf(event: TestEvent): FileEvent | undefined {
  if (event.type === 'test:summary') return { type: 'summary' };
  if (event.type === 'test:diagnostic') {
    const { message, nesting, line, column } = event.data;
    // The counts that node adds at the end: they have no place in the file.
    const isCount = nesting === 0 && line === 1 && column === 1;
    return isCount ? undefined : { type: 'diagnostic', message };
  }
  if (event.type === 'test:dequeue') return { type: 'begin', name: event.data.name };
  if (event.type === 'test:complete') return { type: 'end', name: event.data.name };
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return undefined;
  const { name, nesting, skip, todo, details } = event.data;
  const base = { name, nesting, durationMs: details.duration_ms, isSuite: details.type === 'suite' };
  if (skip !== undefined || todo !== undefined) {
    const reason = [skip, todo].find(it => typeof it === 'string') ?? 'no reason given';
    return { type: 'skip', ...base, reason };
  }
  if (event.type === 'test:pass') return { type: 'pass', ...base };
  const { error } = event.data.details;
  // Where only something inside failed, that has its own line.
  const isInside = 'failureType' in error && error.failureType === 'subtestsFailed';
  return { type: 'fail', ...base, ...(isInside ? {} : { why: inspect(error.cause ?? error) }) };
}

// biome-ignore lint/style/noDefaultExport: node takes a reporter so
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const told = eventOf(event);
    if (told) writeSync(EVENTS_FD, `${JSON.stringify(told)}\n`);
  }
  yield '';
}
