import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { compare, findQuotes, readMessages } from '../tools/quotes.ts';

const HEAD = 'one\ntwo\nthree\n\n';
const MESSAGES = `${HEAD}src/a.ts
  Cannot open "…": the door is locked | the window is small
    next: take the other key
  of the house … with a roof
`;

const count = async (text: string, file = 'test/a.test.ts'): Promise<number> =>
  (await findQuotes(new Map([[file, text]]), MESSAGES)).get(file)?.length ?? 0;

describe('the quotes of messages in tests', () => {
  it('are not more than tools/quotes.json allows', async () => {
    const { tooMany } = await compare(join(import.meta.dirname, '..'));
    assert.deepEqual(tooMany, []);
  });
});

describe('readMessages()', () => {
  it('reads each message with its next step', () => {
    assert.deepEqual(readMessages(MESSAGES), [
      'Cannot open "…": the door is locked | the window is small\nnext: take the other key',
      'of the house … with a roof',
    ]);
  });
});

describe('findQuotes()', () => {
  it('finds four words of a message in a row, in strings and regular expressions', async () => {
    for (const text of [
      "check('the door is locked');",
      'check(`x $' + '{x} the door is locked`);',
      'check(/^"x": the door is locked$/m);',
      'check(/.* take the other key/);',
      "check('x: the window is small');",
    ])
      assert.equal(await count(text), 1, text);
  });
  it('finds none in fewer words, around a value, in the name of a test, in a comment and in an import', async () => {
    for (const text of [
      "check('the door is');",
      "check('of the house with a roof');",
      'check(/the door .* is locked/);',
      "it('says that the door is locked', () => {});",
      "describe('the door is locked', () => {});",
      '// the door is locked',
      "import 'the door is locked';",
    ])
      assert.equal(await count(text), 0, text);
  });
  it('finds them in the body of a test, and counts each', async () => {
    assert.equal(await count("it('works', () => { a('the door is locked'); b(/the door is locked/); });"), 2);
  });
  it('leaves out the table of the messages that tests name', async () => {
    assert.equal(await count("const x = 'the door is locked';", 'test/support/messages.ts'), 0);
  });
});
