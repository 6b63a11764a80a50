/**
 * A small coverage-guided fuzzer: it changes inputs at random, and keeps those that reach a part of src/ which none before
 * them has reached. V8 itself says what was reached (node:inspector, Profiler.takePreciseCoverage), so that the sources run
 * as they are. The same seed gives the same inputs: a failure comes again.
 *
 * Reading the coverage costs more than an input does. So it is read once for a batch, and only a batch that has reached
 * something new is run once more, half by half. What happens inside a regular expression no coverage tells: what a
 * target returns counts as a place too.
 */
import { Session } from 'node:inspector';
import { Script } from 'node:vm';
import { stretch } from '../support/fair-time.ts';

/** What is fuzzed, and what must hold. */
export interface Target {
  /** Also its folder's name in test/corpus/. */
  name: string;
  /** Inputs to start from; good ones, and such as are nearly good. */
  seeds: readonly (string | Buffer)[];
  /** Pieces that a good input is made of. */
  words: readonly string[];
  /** The longest input that is made. */
  mostBytes?: number;
  /** @returns in a word or two what became of it @throws where something that must hold does not */
  run(input: Buffer): string;
}

/** An input that broke what must hold, and how. */
export interface Failure {
  input: Buffer;
  error: unknown;
}

export interface Explored {
  executions: number;
  /** The inputs that each reached something new, in the order in which they were found. */
  kept: Buffer[];
  /** How many characters of src/ were reached. */
  reached: number;
  failure?: Failure;
}

const BATCH = 200;
/** A batch takes less than a second; in a decoder that does not come back from one input, it is ended after so long, or later on a busy machine. */
const PATIENCE_MS = 30_000;

/**
 * @param inputs are run first, as they are
 * @param until is asked before each batch
 */
export function explore(
  target: Target,
  inputs: readonly Buffer[],
  options: { seed: number; until: (executions: number) => boolean; patienceMs?: number },
): Explored {
  using coverage = new Coverage();
  const random = randomNumbers(options.seed);
  const kept = new Set<Buffer>();
  const outcomes = new Set<string>();
  let executions = 0;

  /** Runs inputs, and keeps those that came to a new end. @returns the first failure */
  function run(batch: readonly Buffer[]): Failure | undefined {
    const { ends, failure } = runAll(target, batch, options.patienceMs);
    executions += ends.length + (failure ? 1 : 0);
    for (const [at, end] of ends.entries()) {
      const input = batch[at];
      if (outcomes.has(end) || !input) continue;
      outcomes.add(end);
      kept.add(input);
    }
    return failure;
  }

  /** Runs inputs, and keeps those that have reached a new place: of more than one, by halves. */
  function attempt(batch: readonly Buffer[]): Failure | undefined {
    const failure = run(batch);
    const [only] = batch;
    if (failure || !coverage.take() || !only) return failure;
    if (batch.length === 1) {
      kept.add(only);
      return undefined;
    }
    coverage.undo();
    const middle = batch.length >> 1;
    return attempt(batch.slice(0, middle)) ?? attempt(batch.slice(middle));
  }

  const mutate = mutator(target, random);
  let failure = attempt(inputs);
  while (!failure && !options.until(executions)) {
    const from = kept.size > 0 ? [...kept] : inputs;
    failure = attempt(Array.from({ length: BATCH }, () => mutate(from)));
  }
  return { executions, kept: [...kept], reached: coverage.reached, ...(failure ? { failure } : {}) };
}

/**
 * The fewest of these inputs, the shortest first, that reach what all of them reach.
 * @param known reach what need not be kept again
 */
export function distil(target: Target, inputs: readonly Buffer[], known: readonly Buffer[]): Buffer[] {
  using coverage = new Coverage();
  const outcomes = new Set<string>();
  const isNew = (input: Buffer): boolean => {
    const before = outcomes.size;
    for (const end of runAll(target, [input]).ends) outcomes.add(end);
    return coverage.take() || outcomes.size > before;
  };
  for (const input of known) isNew(input);
  return inputs.toSorted((one, other) => one.length - other.length).filter(isNew);
}

/** Runs inputs, until one fails; one that does not come to an end fails too. @returns what became of each */
function runAll(
  target: Target,
  inputs: readonly Buffer[],
  patienceMs = PATIENCE_MS,
): { ends: string[]; failure?: Failure } {
  const ends: string[] = [];
  work = () => {
    for (const input of inputs) ends.push(target.run(input));
  };
  try {
    TIMED.runInThisContext({ timeout: Math.round(patienceMs * stretch()) });
    return { ends };
  } catch (error) {
    return { ends, failure: { input: inputs[ends.length] ?? Buffer.alloc(0), error } };
  }
}

// A script's time limit is the only one that also ends what never comes back, a regular expression among it. A script sees
// nothing of ours but what is global.
let work = (): void => undefined;
const KEY = 'what dialback fuzzes';
Object.defineProperty(globalThis, Symbol.for(KEY), { value: () => work() });
const TIMED = new Script(`globalThis[Symbol.for('${KEY}')]()`);

/** Which characters of src/ have been run, function by function, since it was made. */
class Coverage {
  readonly #session = new Session();
  #reached = new Map<string, Uint8Array>();
  /** What the last take() has added. */
  #added: [Uint8Array, number][] = [];

  constructor() {
    this.#session.connect();
    this.#post('Profiler.enable');
    // With counts: then what is read is what has run since it was last read.
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    this.take();
  }

  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    // Within one thread it answers at once.
    this.#session.post(method, parameters, (error, result) => {
      if (error) throw error;
      answer = result;
    });
    return answer;
  }

  /** Adds what has run since the last time. @returns whether that was anything new */
  take(): boolean {
    this.#added = [];
    const { result } = this.#post('Profiler.takePreciseCoverage') as { result: ScriptCoverage[] };
    for (const { url, functions } of result) {
      if (!url.includes('/src/') || url.includes('/node_modules/')) continue;
      for (const { ranges } of functions) this.#addFunction(url, ranges);
    }
    return this.#added.length > 0;
  }

  #addFunction(url: string, ranges: Range[]): void {
    const [whole] = ranges;
    if (!whole || whole.count === 0) return;
    const { startOffset: start, endOffset: end } = whole;
    const now = new Uint8Array(end - start);
    // Outer ranges come before those inside of them.
    for (const each of ranges)
      now.fill(each.count > 0 ? 1 : 0, each.startOffset - start, each.endOffset - start);
    const key = `${url} ${start} ${end}`;
    const all = this.#reached.get(key) ?? new Uint8Array(end - start);
    this.#reached.set(key, all);
    for (const [at, isReached] of now.entries()) {
      if (isReached === 0 || all[at] === 1) continue;
      all[at] = 1;
      this.#added.push([all, at]);
    }
  }

  /** Forgets what the last take() has added. */
  undo(): void {
    for (const [all, at] of this.#added) all[at] = 0;
    this.#added = [];
  }

  get reached(): number {
    return this.#reached.values().reduce((sum, all) => sum + all.reduce((one, other) => one + other, 0), 0);
  }

  [Symbol.dispose](): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }
}

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface ScriptCoverage {
  url: string;
  functions: { ranges: Range[] }[];
}

/** A number from 0 to below `below`, the next of a row that the seed decides (mulberry32). */
type RandomNumbers = (below: number) => number;

function randomNumbers(seed: number): RandomNumbers {
  let state = seed | 0;
  return below => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What has broken parsers before: ends, escapes, marks, numbers at their edges, names that a language keeps to itself. */
const WORDS = [
  ...[
    '\0',
    '\n',
    '\r',
    '\r\n',
    '\t',
    ' ',
    '\u001b[31m',
    '\u007f',
    '\u0085',
    '\u2028',
    '\u202e',
    '\ufeff',
    'ä',
    '\u{1f600}',
  ],
  ...[
    '/',
    '//',
    '/./',
    '/../',
    '.',
    '..',
    '\\',
    '\\\\',
    '"',
    "'",
    '`',
    '$',
    '*',
    '**',
    '?',
    '[',
    ']',
    '{',
    '}',
    '-',
    '--',
    '+',
    '#',
    ';',
  ],
  ...['=', ':', ',', '%', '@', '|', '&', '!', '~', '\\040', '\\377', '\\#012', '\\u0000', '\\ud800'],
  ...[
    '0',
    '-0',
    '-1',
    '1',
    '00',
    '1e9',
    '0x10',
    '255',
    '256',
    '65535',
    '65536',
    '4294967296',
    '9007199254740993',
    'NaN',
  ],
  ...['true', 'false', 'null', 'undefined', '__proto__', 'constructor', 'toString', 'hasOwnProperty'],
];

/** Bytes that are not UTF-8: alone, cut off, overlong, a surrogate. */
const ODD_BYTES = ['ff', 'c3', 'c080', 'eda080', 'f0908080', 'f4908080', '80'].map(hex =>
  Buffer.from(hex, 'hex'),
);

/** @returns makes a new input out of some */
function mutator(target: Target, random: RandomNumbers): (from: readonly Buffer[]) => Buffer {
  const words = [...WORDS, ...target.words].map(word => Buffer.from(word));
  const own = target.words.map(word => Buffer.from(word));
  const most = target.mostBytes ?? 2048;
  const pick = <T>(list: readonly T[], otherwise: T): T => list[random(list.length)] ?? otherwise;
  const NOTHING = Buffer.alloc(0);

  /** Two places in an input, mostly near each other. */
  function stretch(input: Buffer): [number, number] {
    const from = random(input.length + 1);
    const length = random(random(3) === 0 ? input.length + 1 : 9);
    return [from, Math.min(input.length, from + length)];
  }
  const put = (input: Buffer, [from, to]: [number, number], piece: Buffer): Buffer =>
    Buffer.concat([input.subarray(0, from), piece, input.subarray(to)]);

  const changes: ((input: Buffer, from: readonly Buffer[]) => Buffer)[] = [
    // One bit; one byte.
    input => put(input, at(input), Buffer.from([(input[here] ?? 0) ^ (1 << random(8))])),
    input => put(input, at(input), Buffer.from([random(256)])),
    // A piece taken out, put in, put in the place of another.
    input => put(input, stretch(input), NOTHING),
    input => put(input, gap(input), pick(own, NOTHING)),
    input => put(input, gap(input), pick(words, NOTHING)),
    input => put(input, stretch(input), pick(words, NOTHING)),
    input => put(input, gap(input), pick(ODD_BYTES, NOTHING)),
    // One of its own: twice, elsewhere, or many times.
    input => put(input, gap(input), input.subarray(...stretch(input))),
    input => put(input, stretch(input), input.subarray(...stretch(input))),
    input => {
      const piece = input.subarray(...stretch(input));
      return put(input, gap(input), Buffer.concat(Array<Buffer>(2 ** random(10)).fill(piece)));
    },
    // A piece of another input.
    (input, from) => {
      const other = pick(from, NOTHING);
      return put(input, stretch(input), other.subarray(...stretch(other)));
    },
    // The beginning of one and the end of another.
    (input, from) => {
      const other = pick(from, NOTHING);
      return Buffer.concat([
        input.subarray(0, random(input.length + 1)),
        other.subarray(random(other.length + 1)),
      ]);
    },
    // Another number in the place of one.
    input => {
      const text = input.toString('latin1');
      const numbers = [...text.matchAll(/\d+/g)];
      const found = pick<RegExpExecArray | undefined>(numbers, undefined);
      if (!found) return input;
      const value = String(Number(found[0]) + pick([-1, 1, 10, -10, 2 ** 31, 2 ** 53], 0));
      return put(input, [found.index, found.index + found[0].length], Buffer.from(value));
    },
  ];
  let here = 0;
  function at(input: Buffer): [number, number] {
    here = random(input.length + 1);
    return [here, Math.min(input.length, here + 1)];
  }
  function gap(input: Buffer): [number, number] {
    const place = random(input.length + 1);
    return [place, place];
  }

  return from => {
    let made = pick(from, NOTHING);
    for (let times = 1 + random(4); times > 0; times -= 1)
      made = pick(changes, (input: Buffer) => input)(made, from).subarray(0, most);
    return made;
  };
}
