import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readLine, refusalOf } from '../support/command-line.ts';
import { says } from '../support/wording.ts';

const FIND = {
  verb: 'find',
  config: undefined,
  json: false,
  client: 'a',
  pattern: undefined,
  ignoresCase: false,
};

const ACCEPTED: [line: string, request: object][] = [
  ['find a', { ...FIND }],
  ['find 007 1e3 -i', { ...FIND, client: '007', pattern: '1e3', ignoresCase: true }],
  ['find a -- -x', { ...FIND, pattern: '-x' }],
];

const REFUSED: [line: string, message: RegExp][] = [
  ['find a@1 x', says('does-not-take-the-name')],
  ['find a x y', /unexpected argument/],
];

describe('find', () => {
  for (const [line, request] of ACCEPTED)
    it(`reads "${line}"`, () => assert.deepEqual(readLine(line), request));

  for (const [line, message] of REFUSED)
    it(`refuses "${line}"`, () => assert.match(refusalOf(line.split(' ')).message, message));
});
