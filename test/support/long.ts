import { describe, it, type TestContext } from 'node:test';

/**
 * Whether the file that runs is a soak: NAME.long.test.ts, which imports NAME.test.ts. By this the tests choose their numbers.
 */
export const IS_LONG = (process.argv[1] ?? '').endsWith('.long.test.ts');

/** Each nth of cases that are alike; in a soak, all of them. @param first the one to begin with */
export function some<T>(all: readonly T[], nth: number, first = 0): T[] {
  return all.filter((_, at) => IS_LONG || at % nth === first % nth);
}

/** Slow tests that only a soak runs; a test of `make test` would fail too for the same defect. */
export function describeLong(name: string, options: { skip: string | false }, body: () => void): void {
  if (IS_LONG) describe(name, options, body);
}

/** A slow test that only a soak runs; a test of `make test` would fail too for the same defect. */
export function itLong(name: string, body: (context: TestContext) => void | Promise<void>): void {
  if (IS_LONG) it(name, body);
}

/** A test that only `make test` runs: it is the same in the soak, and no later test of its file needs it. */
export function itShort(name: string, body: (context: TestContext) => void | Promise<void>): void {
  if (!IS_LONG) it(name, body);
}

/** The same for a group of tests. */
export function describeShort(name: string, options: { skip: string | false }, body: () => void): void {
  if (!IS_LONG) describe(name, options, body);
}
