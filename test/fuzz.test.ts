import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { CORPUS, readCorpus } from './fuzz/corpus.ts';
import { distil, type Explored, explore, type Target } from './fuzz/explore.ts';
import { buildLaunchFuzzer, dictionaryText, launchExecutions, runLaunchFuzzer } from './fuzz/launch.ts';
import { TARGETS } from './fuzz/targets.ts';

/** So many inputs a target, and always the same ones: `make fuzz` goes on from here. */
const EXECUTIONS = 2500;
const LAUNCH_EXECUTIONS = 100_000;
const SEED = 1;

const upTo = (most: number) => (executions: number) => executions >= most;
const inputsOf = (target: Target): Buffer[] => [
  ...target.seeds.map(each => Buffer.from(each)),
  ...readCorpus(target.name),
];

function requireWhole({ failure }: Explored): void {
  if (failure) assert.fail(`${inspect(failure.input.toString('latin1'))}\n${inspect(failure.error)}`);
}

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

describe('what must hold of every decoder', () => {
  for (const target of TARGETS)
    it(`holds of ${target.name}, for its corpus and ${EXECUTIONS} inputs more`, () => {
      const inputs = inputsOf(target);
      requireWhole(explore(target, inputs, { seed: SEED, until: upTo(inputs.length + EXECUTIONS) }));
    });
});

describe('what the launcher parses', () => {
  let scratch: string;
  let program: string;
  before(() => {
    scratch = mkdtempSync(`${tmpdir()}/dialback fuzz `);
    program = join(scratch, 'launch-fuzz');
    buildLaunchFuzzer(program);
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  it(`stands its corpus and ${LAUNCH_EXECUTIONS} inputs more, under the sanitizers`, () => {
    const [words, found] = [join(scratch, 'words'), join(scratch, 'found')];
    writeFileSync(words, dictionaryText());
    mkdirSync(found);
    const { status, output } = runLaunchFuzzer(program, [
      ...[`-seed=${SEED}`, `-runs=${LAUNCH_EXECUTIONS}`, `-dict=${words}`, '-print_final_stats=1'],
      ...[`-artifact_prefix=${scratch}/`, found, join(CORPUS, 'launch')],
    ]);
    assert.equal(status, 0, output);
    assert.ok(launchExecutions(output) >= LAUNCH_EXECUTIONS, output);
  });
});
