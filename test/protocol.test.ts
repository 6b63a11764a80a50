import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EXIT } from '../src/fault.ts';
import { decodeEvent, EVENT_LINE_LIMIT, encodeEvent, FAILURES, MISSING_LIMIT } from '../src/wire/events.ts';
import {
  decodeFetchRequest,
  decodeOfferedEntry,
  decodeOfferHead,
  encodeFetchRequest,
  encodeOfferLine,
} from '../src/wire/fetch.ts';
import { decodeRequest, encodeRequest, REQUEST_LIMITS, ROOTS_LIMIT } from '../src/wire/request.ts';
import { parseGateCommand } from '../src/wire/rsync.ts';
import { parseCallCommand } from '../src/wire/text.ts';

const TEXT = readFileSync(join(import.meta.dirname, '..', 'docs', 'protocol.md'), 'utf8');

/** An example of the document: a fenced block with a word behind its fence. */
interface Example {
  kind: string;
  /** All bytes between the fences, the last newline included. */
  content: string;
  /** The line right above the fence. */
  above: string;
  line: number;
}

function readExamples(text: string): Example[] {
  const examples: Example[] = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const kind = /^```([a-z-]+)$/.exec(lines[at] ?? '')?.[1];
    if (kind === undefined) continue;
    const end = lines.indexOf('```', at + 1);
    assert.notEqual(end, -1, `the block in line ${at + 1} does not end`);
    const inside = lines.slice(at + 1, end).find(line => line.includes('```'));
    assert.equal(inside, undefined, `the block in line ${at + 1} has a fence in it`);
    const content = lines
      .slice(at + 1, end)
      .map(line => `${line}\n`)
      .join('');
    examples.push({ kind, content, above: lines[at - 1] ?? '', line: at + 1 });
    at = end;
  }
  return examples;
}

const EXAMPLES = readExamples(TEXT);

/** The examples of a kind; a document that has lost them must not pass. */
function ofKind(kind: string, least: number): Example[] {
  const found = EXAMPLES.filter(example => example.kind === kind);
  assert.ok(found.length >= least, `docs/protocol.md has ${found.length} blocks of \`\`\`${kind}`);
  return found;
}

const linesOf = (example: Example): string[] => example.content.split('\n').slice(0, -1);

/** The reason that stands above a refused example. */
function reasonAbove(example: Example): string {
  const reason = /^Refused: (.+)$/.exec(example.above)?.[1];
  assert.ok(reason, `line ${example.line} has no "Refused: REASON" above it`);
  return reason;
}

describe('docs/protocol.md', () => {
  it('has no example of a kind that is not tested', () => {
    const known = [
      ...['request', 'event', 'summons', 'gate', 'fetch'].flatMap(kind => [kind, `${kind}-refused`]),
      'offer-head',
      'offer-entry',
    ];
    assert.deepEqual(
      EXAMPLES.filter(({ kind }) => !known.includes(kind)).map(({ kind }) => kind),
      [],
    );
  });

  for (const example of ofKind('request', 2)) {
    it(`has a request in line ${example.line} that decodeRequest() takes and encodeRequest() makes`, () => {
      const bytes = Buffer.from(example.content);
      const decoded = decodeRequest(bytes);
      assert.ok('request' in decoded, JSON.stringify(decoded));
      assert.equal(encodeRequest(decoded.request).toString(), example.content);
      // Not one byte less: what is missing is waited for.
      for (let length = 0; length < bytes.length; length += 1)
        assert.ok('incomplete' in decodeRequest(bytes.subarray(0, length)));
    });
  }

  for (const example of ofKind('request-refused', 5)) {
    it(`has a request in line ${example.line} that decodeRequest() refuses for the reason above it`, () => {
      const decoded = decodeRequest(Buffer.from(example.content));
      assert.deepEqual(decoded, { reason: reasonAbove(example) });
    });
  }

  for (const example of ofKind('event', 2)) {
    it(`has events in line ${example.line} that decodeEvent() takes and encodeEvent() makes`, () => {
      for (const line of linesOf(example)) {
        const decoded = decodeEvent(line);
        assert.ok('value' in decoded, `${line}: ${JSON.stringify(decoded)}`);
        assert.equal(encodeEvent(decoded.value), `${line}\n`);
      }
    });
  }

  for (const example of ofKind('event-refused', 5)) {
    it(`has an event in line ${example.line} that decodeEvent() refuses for the reason above it`, () => {
      const [line = '', ...more] = linesOf(example);
      assert.deepEqual(more, []);
      assert.deepEqual(decodeEvent(line), { reason: reasonAbove(example) });
    });
  }

  it('has calls that parseCallCommand() takes and refuses as it says', () => {
    for (const line of ofKind('summons', 1).flatMap(linesOf))
      assert.ok('value' in parseCallCommand(line), line);
    for (const line of ofKind('summons-refused', 1).flatMap(linesOf))
      assert.ok('reason' in parseCallCommand(line), line);
  });

  it('has commands that parseGateCommand() takes and refuses as it says', () => {
    for (const line of ofKind('gate', 1).flatMap(linesOf)) assert.ok('value' in parseGateCommand(line), line);
    for (const line of ofKind('gate-refused', 1).flatMap(linesOf))
      assert.ok('reason' in parseGateCommand(line), line);
  });

  it('has requests of fetch that decodeFetchRequest() takes and refuses as it says', () => {
    for (const line of ofKind('fetch', 1).flatMap(linesOf)) {
      const decoded = decodeFetchRequest(line);
      assert.ok('value' in decoded, line);
      assert.equal(encodeFetchRequest(decoded.value), `${line}\n`);
    }
    for (const line of ofKind('fetch-refused', 1).flatMap(linesOf))
      assert.ok('reason' in decodeFetchRequest(line), line);
  });

  it('has the lines of an offer that its decoders take and encodeOfferLine() makes', () => {
    for (const [kind, decode] of [
      ['offer-head', decodeOfferHead],
      ['offer-entry', decodeOfferedEntry],
    ] as const)
      for (const line of ofKind(kind, 1).flatMap(linesOf)) {
        const decoded = decode(line);
        assert.ok('value' in decoded, `${line}: ${JSON.stringify(decoded)}`);
        assert.equal(encodeOfferLine(decoded.value), `${line}\n`);
      }
  });

  it('has every failure code with its exit status and sentence, and no other', () => {
    const told = [...TEXT.matchAll(/^\| `([a-z-]+)` \| (\d+) \| (.+) \|$/gm)].map(row => row.slice(1));
    const real = Object.entries(FAILURES).map(([code, [exit, words]]) => [code, String(EXIT[exit]), words]);
    assert.deepEqual(told, real);
  });

  it('has the limits that the code has', () => {
    const limits: [what: string, most: number][] = [
      ['the part `header`', REQUEST_LIMITS.header],
      ['the part `key`', REQUEST_LIMITS.key],
      ['the part `excludes`', REQUEST_LIMITS.excludes],
      ['roots in a request', ROOTS_LIMIT],
      ["an event's line", EVENT_LINE_LIMIT],
      ['names in `missing`', MISSING_LIMIT],
    ];
    for (const [what, most] of limits)
      assert.match(
        TEXT,
        new RegExp(`^\\| ${what.replaceAll(/[`']/g, '.')} \\| ${most}( \\w+)? \\|$`, 'm'),
        what,
      );
  });
});
