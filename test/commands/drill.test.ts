import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { drill } from '../../src/commands/drill.ts';
import { Fault } from '../../src/fault.ts';
import { drillProblems, drillText } from '../../src/output/drill.ts';
import type { Drilled } from '../../src/store/drill.ts';
import { wording } from '../support/wording.ts';

const DONE: Drilled = {
  client: 'acorn',
  snapshot: 's',
  entries: 500,
  chosen: 20,
  files: 31,
  bytes: 2048,
  too_large: 0,
  max_bytes: 1024 ** 3,
  damaged: [],
  damaged_count: 0,
  differences: [],
  messages: [],
  problems: 0,
  failed: null,
};

describe('drill.parse()', () => {
  it('has defaults', () => {
    const all = { client: undefined, sample: 20, maxBytes: 1024 ** 3, config: undefined, json: false };
    assert.deepEqual(drill.parse([]), all);
    const words = ['acorn', '--sample', '3', '--max-bytes', '500G', '--config', '/f', '--json'];
    assert.deepEqual(drill.parse(words), {
      client: 'acorn',
      sample: 3,
      maxBytes: 500 * 1024 ** 3,
      config: '/f',
      json: true,
    });
  });

  for (const words of [
    ['--sample', '0'],
    ['--sample', '1001'],
    ['--sample', '5%'],
    ['--sample=-1'],
    ['--max-bytes', '0'],
    ['--max-bytes', '1.5G'],
    ['--max-bytes', 'all'],
    ['--max-bytes', '1G', '--max-bytes', '2G'],
    ['a', 'b'],
    ['--to', '/x'],
  ])
    it(`refuses ${words.join(' ')}`, () =>
      assert.throws(
        () => drill.parse(words),
        error => error instanceof Fault && error.exit === 'usage',
      ));
});

describe('drillText()', () => {
  it('has one line for a client', () => {
    const line = wording(
      'drill-result',
      'acorn',
      20,
      500,
      's',
      31,
      '2.0 KiB',
      wording('drill-without-problems'),
    );
    assert.equal(drillText(DONE), `${line}\n`);
    assert.match(drillText({ ...DONE, too_large: 2 }), /; 2 larger than 1\.0 GiB are never chosen\n$/);
    assert.match(drillText({ ...DONE, problems: 4 }), /: 4 problems\n$/);
    assert.equal(drillText({ ...DONE, snapshot: null }), `acorn: ${wording('there-is-no-snapshot-yet')}\n`);
    assert.equal(drillText({ ...DONE, failed: 'reason' }), 'acorn: not drilled\n');
  });
});

describe('drillProblems()', () => {
  it('names what was not given back, escaped and limited', () => {
    assert.equal(drillProblems([DONE]), '');
    const damaged = Array.from({ length: 20 }, (_, at) => ({
      path: `f\x1b ${at}`,
      difference: 'content' as const,
    }));
    const text = drillProblems([
      DONE,
      {
        ...DONE,
        client: 'birch',
        damaged,
        damaged_count: 20,
        differences: [{ kind: 'mode', count: 1, lacking: 1, examples: ['/m'] }],
        messages: ['rsync: \x1b[2J'],
        problems: 22,
      },
    ]);
    const lines = text.split('\n');
    assert.equal(lines[0], wording('drill-problems', '22 problems'));
    assert.equal(lines[1], '  birch@s');
    assert.equal(lines[2], '  /f\\u001b 0: other content');
    assert.ok(lines.includes('  and 5 more'));
    assert.ok(lines.includes('  1 another mode, "/m"'), text);
    assert.ok(lines.includes('  rsync: \\u001b[2J'), text);
    assert.equal(lines.at(-2), wording('verify-after-drill', 'birch'));
  });
});
