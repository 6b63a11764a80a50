import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MESSAGES as FILE } from '../tools/messages.ts';
import { readMessages } from '../tools/quotes.ts';
import { MESSAGES } from './support/messages.ts';
import { type MessageName, matching, matchingLines, says, wording } from './support/wording.ts';

const TOP = join(import.meta.dirname, '..');
/** A name with two places for values: `it belongs to uid … with mode …, and should be ours with 0700`. */
const TWO: MessageName = 'it-belongs-to-uid-with';
const NONE: MessageName = 'a-line-is-too-long';

describe('MESSAGES', () => {
  it('are parts of messages: after a change of a message, write its new wording into test/support/messages.ts', () => {
    const messages = readMessages(readFileSync(join(TOP, FILE), 'utf8'));
    const gone = Object.entries(MESSAGES).filter(([, part]) => !messages.some(each => each.includes(part)));
    assert.deepEqual(gone, []);
  });

  it('are each in a test', () => {
    const tests = globSync('test/**/*.ts', { cwd: TOP })
      .filter(name => name !== 'test/support/messages.ts')
      .map(name => readFileSync(join(TOP, name), 'utf8'))
      .join('');
    const unused = Object.keys(MESSAGES).filter(name => !tests.includes(`'${name}'`));
    assert.deepEqual(unused, []);
  });
});

describe('says()', () => {
  it('matches the part of the message wherever it is, and no other text', () => {
    const text = wording(NONE);
    assert.match(`x: ${text}, y`, says(NONE));
    assert.doesNotMatch(text.slice(1), says(NONE));
    assert.doesNotMatch(text.toUpperCase(), says(NONE));
  });
  it('takes numbers, texts and patterns for the values, and anything for a value that is not given', () => {
    const text = wording(TWO, 7, '0755');
    for (const each of [says(TWO), says(TWO, 7), says(TWO, '7', /0\d{3}/), says(TWO, /\d/, '0755')])
      assert.match(text, each);
    for (const each of [says(TWO, 8), says(TWO, 7, '0700'), says(TWO, /[a-z]/), says(TWO, '.')])
      assert.doesNotMatch(text, each);
  });
  it('refuses more values than the message has', () => {
    assert.throws(() => says(NONE, 'x'), /0 places/);
    assert.throws(() => says(TWO, 1, 2, 3), /2 places/);
  });
});

describe('wording()', () => {
  it('puts the values in their places', () => {
    assert.equal(wording(TWO, 7, '0755'), MESSAGES[TWO].replace('…', '7').replace('…', '0755'));
  });
  it('refuses another number of values', () => {
    assert.throws(() => wording(TWO, 7), /2 places/);
    assert.throws(() => wording(NONE, 7), /0 places/);
  });
});

describe('matching() and matchingLines()', () => {
  const text = wording(NONE);
  it('are regular expressions with parts of messages in them', () => {
    assert.match(`x.: ${text}`, matching`^x\.: ${says(NONE)}$`);
    assert.doesNotMatch(`xy: ${text}`, matching`^x\.: ${says(NONE)}$`);
    assert.doesNotMatch(`x.: ${text}\n`, matching`${says(NONE)}$`);
    assert.match(`x\n${text}\ny`, matchingLines`^${says(NONE)}$`);
  });
});
