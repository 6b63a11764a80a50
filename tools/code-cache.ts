// V8's code cache. With it each start of the executable takes 20 ms less, since V8 does not compile the bundle. V8 accepts a cache only
// with the options that made it, and the seed of its string hashes is one of them. By default that seed is random, and the cache's
// bytes differ with it. This makes the cache with a fixed seed, so that the bytes are always the same, and stores the checksum of the
// options without the seed. V8 computes the hashes of a cache's strings again with its own seed when it reads the cache. If it
// refuses a cache (on another processor the options can differ), it compiles the bundle, which is only slower.
//
// node contains caches of its own modules, made with V8's default options. With the executable's options V8 would refuse them and
// compile each module, which took a tenth of the CPU time of most commands. So this stores the checksum of these options there too.

import { execFileSync } from 'node:child_process';

/** V8's options in the executable. */
export const V8_OPTIONS = [
  // No threads: one that compiles can wait for a collection by the main thread, while the main thread exits and waits for it, in
  // a deadlock (docs/design.md, "Measured").
  '--single-threaded',
  // Less memory instead of speed: collect young objects often, and old objects at once instead of incrementally.
  '--max-semi-space-size=1',
  '--no-incremental-marking',
  '--optimize-for-size',
  '--expose-gc', // os/memory.ts, dropGarbage()
];

const FIXED_SEED = '--hash-seed=1';
/** Puts all functions into the cache. By default it has only the outermost one, and V8 compiles the others on their first call. */
const WITH_ALL_FUNCTIONS = '--no-lazy';
/** The length of a cache's magic number and version, which are the same in all caches of one V8. */
const START_BYTES = 8;
/** The offset of the options' checksum in a code cache (V8, code-serializer.h). */
const OPTIONS = { start: 12, end: 16 };

const MAKE = `
  const { Script } = require('node:vm');
  const sources = JSON.parse(require('node:fs').readFileSync(0, 'latin1'));
  const caches = sources.map(source => new Script(source).createCachedData().toString('base64'));
  process.stdout.write(JSON.stringify(caches));
`;

function make(sources: readonly string[], options: readonly string[]): Buffer[] {
  const made = execFileSync(process.execPath, [...options, '-e', MAKE], {
    input: Buffer.from(JSON.stringify(sources), 'latin1'),
    maxBuffer: 2 ** 26,
  });
  return (JSON.parse(made.toString('latin1')) as string[]).map(each => Buffer.from(each, 'base64'));
}

/** The code cache of a script without code, which differs with V8 and its options only. */
function makeEmpty(options: readonly string[]): Buffer {
  return make(['0'], options)[0] ?? Buffer.alloc(0);
}

/**
 * Makes the code caches of scripts.
 * @param sources in Latin-1
 * @param options V8's options when the scripts run
 * @returns the same bytes each time
 */
export function codeCaches(sources: readonly string[], options: readonly string[]): Buffer[] {
  const caches = make(sources, [FIXED_SEED, WITH_ALL_FUNCTIONS, ...options]);
  const empty = makeEmpty(options);
  for (const cache of caches) empty.copy(cache, OPTIONS.start, OPTIONS.start, OPTIONS.end);
  return caches;
}

/**
 * Makes V8 accept the code caches that a node has of its own modules when it runs with these options.
 * @param base a node of this processor and version; changed in place
 * @param options V8's options; they must not change the bytecode
 * @returns the number of caches
 */
export function acceptBuiltinCaches(base: Buffer, options: readonly string[]): number {
  const theirs = makeEmpty([]);
  const ours = makeEmpty(options);
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
