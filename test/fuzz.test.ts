import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { distil, explore, type Target } from './fuzz/explore.ts';
import { fuzzSuite, upTo } from './fuzz/suite.ts';
import { TARGETS } from './fuzz/targets.ts';

/** So many inputs a target, and always the same ones: `make fuzz` goes on from here. */
const EXECUTIONS = 100;
const LAUNCH_EXECUTIONS = 5000;
const SEED = 1;

describe('explore()', () => {
  const summons = TARGETS.find(({ name }) => name === 'summons');
  assert.ok(summons);
  const plain: Target = { ...summons, seeds: ['laptop'], words: [] };
  const seeds = [Buffer.from('laptop')];

  it('finds what only few inputs reach, and names the input', () => {
    const target: Target = {
      ...plain,
      run(input) {
        const end = plain.run(input);
        if (end === 'accepted') throw new Error('it was accepted');
        return end;
      },
    };
    const { failure, executions } = explore(target, seeds, { seed: SEED, until: upTo(50_000) });
    assert.match(failure?.input.toString() ?? '', /^[^:]+:\d+$/);
    assert.match(String(failure?.error), /it was accepted/);
    assert.ok(executions < 50_000);
  });

  it('ends what does not come back, and names the input', () => {
    const target: Target = {
      ...plain,
      run: input => String(/^(\w+)+$/.test(`${input}${'a'.repeat(60)}!`)),
    };
    const { failure } = explore(target, seeds, { seed: SEED, until: upTo(1), patienceMs: 200 });
    assert.equal(failure?.input.toString(), 'laptop');
    assert.match(String(failure?.error), /timed out/);
  });

  it('gives the same inputs for the same seed, and others for another', () => {
    const [first, second, other] = [1, 1, 2].map(seed => {
      const seen: string[] = [];
      const note = (input: Buffer): string => `${seen.push(input.toString('hex')) > 0}`;
      const target: Target = { ...plain, run: note };
      explore(target, seeds, { seed, until: upTo(400) });
      return seen;
    });
    assert.deepEqual(first, second);
    assert.notDeepEqual(first, other);
  });
});

describe('distil()', () => {
  it('keeps the shortest of those that reach the same', () => {
    const target: Target = { name: 'x', seeds: [], words: [], run: input => String(input[0]) };
    const inputs = ['bb', 'aaa', 'aa', 'b', 'c'].map(each => Buffer.from(each));
    const kept = distil(target, inputs, [Buffer.from('cc')]);
    assert.deepEqual(kept.map(String), ['b', 'aa']);
  });
});

fuzzSuite(EXECUTIONS, LAUNCH_EXECUTIONS, SEED);
