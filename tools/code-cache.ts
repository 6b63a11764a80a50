// V8's code cache: each start of the executable takes 20 ms less, since the bundle is not compiled again. V8 takes a cache only with
// the options that it was made with, of which the seed of its string hashes is one. By default that seed is random, and so are the
// cache's bytes. Here the cache is made with a fixed seed, so that it is the same each time, and gets the sum of the options without
// it. V8 computes the hashes of a cache's strings again when it reads one, with the seed that it runs with. Where it refuses a cache
// (another processor can mean other options), it compiles the bundle: slower, and nothing else.
//
// node carries caches of its own modules, made with V8's default options. With the executable's options V8 refused them all, and
// compiled each module that was loaded: a tenth of the processor time of most commands. They get the sum of these options too.

import { execFileSync } from 'node:child_process';

/** V8's, of the executable. */
export const V8_OPTIONS = [
  // No thread of V8's does anything: one that compiles may wait for a collection by the main thread, which may be at its
  // exit and wait for that one, for ever (docs/design.md, "Measured").
  '--single-threaded',
  // Little memory before speed: what is young is looked through often, what is old at once and not little by little.
  '--max-semi-space-size=1',
  '--no-incremental-marking',
  '--optimize-for-size',
  '--expose-gc', // os/memory.ts, dropGarbage()
];

const FIXED_SEED = '--hash-seed=1';
/** All functions are in the cache: by default only the outermost one is, and V8 compiles each other one when it is first called. */
const WITH_ALL_FUNCTIONS = '--no-lazy';
/** How long the part of a code cache is that is the same in all caches of one V8: its magic number and version. */
const START_BYTES = 8;
/** Where the sum of the options is in a code cache (V8, code-serializer.h). */
const OPTIONS = { start: 12, end: 16 };

const MAKE = `
  const { readFileSync } = require('node:fs');
  const script = new (require('node:vm').Script)(readFileSync(0, 'latin1'));
  process.stdout.write(script.createCachedData());
`;

function make(source: string, options: readonly string[]): Buffer {
  return execFileSync(process.execPath, [...options, '-e', MAKE], {
    input: Buffer.from(source, 'latin1'),
    maxBuffer: 2 ** 26,
  });
}

/**
 * Makes the code cache of a script.
 * @param source in Latin-1
 * @param options V8's, that the script will run with
 * @returns the same bytes each time
 */
export function codeCache(source: string, options: readonly string[]): Buffer {
  const cache = make(source, [FIXED_SEED, WITH_ALL_FUNCTIONS, ...options]);
  make('0', options).copy(cache, OPTIONS.start, OPTIONS.start, OPTIONS.end);
  return cache;
}

/**
 * Makes V8 accept the code caches that a node has of its own modules when it runs with these options.
 * @param base a node of this processor and version; changed in place
 * @param options V8's, of which none changes what bytecode a source gives
 * @returns the number of caches
 */
export function acceptBuiltinCaches(base: Buffer, options: readonly string[]): number {
  const theirs = make('0', []);
  const ours = make('0', options);
  const sum = theirs.subarray(OPTIONS.start, OPTIONS.end);
  let count = 0;
  for (let at = base.indexOf(theirs.subarray(0, START_BYTES)); at >= 0; ) {
    if (sum.equals(base.subarray(at + OPTIONS.start, at + OPTIONS.end))) {
      ours.copy(base, at + OPTIONS.start, OPTIONS.start, OPTIONS.end);
      count += 1;
    }
    at = base.indexOf(theirs.subarray(0, START_BYTES), at + 1);
  }
  return count;
}
