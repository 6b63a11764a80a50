/** What must hold of every decoder, for changed inputs: fuzz.test.ts has some, fuzz.long.test.ts many. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { CORPUS, readCorpus } from './corpus.ts';
import { type Explored, explore, type Target } from './explore.ts';
import { buildLaunchFuzzer, dictionaryText, launchExecutions, runLaunchFuzzer } from './launch.ts';
import { TARGETS } from './targets.ts';

export const upTo = (most: number) => (executions: number) => executions >= most;
const inputsOf = (target: Target): Buffer[] => [
  ...target.seeds.map(each => Buffer.from(each)),
  ...readCorpus(target.name),
];

function requireWhole({ failure }: Explored): void {
  if (failure) assert.fail(`${inspect(failure.input.toString('latin1'))}\n${inspect(failure.error)}`);
}

/**
 * @param executions so many inputs a target
 * @param launches so many of the launcher's
 * @param seed which ones: always the same
 */
export function fuzzSuite(executions: number, launches: number, seed: number): void {
  describe('what must hold of every decoder', () => {
    for (const target of TARGETS)
      it(`holds of ${target.name}, for its corpus and ${executions} inputs more`, () => {
        const inputs = inputsOf(target);
        requireWhole(explore(target, inputs, { seed, until: upTo(inputs.length + executions) }));
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

    it(`stands its corpus and ${launches} inputs more, under the sanitizers`, () => {
      const [words, found] = [join(scratch, 'words'), join(scratch, 'found')];
      writeFileSync(words, dictionaryText());
      mkdirSync(found);
      const { status, output } = runLaunchFuzzer(program, [
        ...[`-seed=${seed}`, `-runs=${launches}`, `-dict=${words}`, '-print_final_stats=1'],
        ...[`-artifact_prefix=${scratch}/`, found, join(CORPUS, 'launch')],
      ]);
      assert.equal(status, 0, output);
      assert.ok(launchExecutions(output) >= launches, output);
    });
  });
}
