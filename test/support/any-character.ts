/** Characters for the strings of property tests. */
import fc from 'fast-check';

/** The surrogates (UTF-16), which are no characters. */
const FIRST_SURROGATE = 0xd800;
const SURROGATES = 0x800;
const LAST = 0x10_ffff;

/**
 * Any character, in the order and with the probabilities of fast-check's unit 'binary'. For that one fast-check first makes a table
 * of all 1.1 million characters, which takes a second of processor time in each test file.
 */
export const ANY_CHARACTER: fc.Arbitrary<string> = fc.nat({ max: LAST - SURROGATES }).map(
  at => String.fromCodePoint(at < FIRST_SURROGATE ? at : at + SURROGATES),
  text => {
    const point = typeof text === 'string' ? text.codePointAt(0) : undefined;
    if (point === undefined || text !== String.fromCodePoint(point)) throw new Error('not one character');
    if (point < FIRST_SURROGATE) return point;
    if (point < FIRST_SURROGATE + SURROGATES) throw new Error('a lone surrogate');
    return point - SURROGATES;
  },
);
