// A long fuzz run: `make fuzz [TARGET=NAME] [SECONDS=60] [SEED=N]`, with this time for each target (test/fuzz/targets.ts, and `launch`,
// the launcher). Inputs that reach new code go to test/corpus/; commit them. Inputs that break a target go to dist/fuzz/, and the run
// exits with 1.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CORPUS, readCorpus, writeInput } from '../test/fuzz/corpus.ts';
import { distil, explore, type Target } from '../test/fuzz/explore.ts';
import { buildLaunchFuzzer, dictionaryText, launchExecutions, runLaunchFuzzer } from '../test/fuzz/launch.ts';
import { TARGETS } from '../test/fuzz/targets.ts';

const { TARGET, SECONDS = '60', SEED = String(Date.now() % 1_000_000) } = process.env;
const BROKEN = join(import.meta.dirname, '../dist/fuzz');
const LAUNCH = 'launch';
/** The smallest set of new inputs that together reach all new code. */
const FEW = ['-set_cover_merge=1', '-use_counters=0'];

function fuzz(target: Target): boolean {
  const corpus = readCorpus(target.name);
  const inputs = [...target.seeds.map(each => Buffer.from(each)), ...corpus];
  const endMs = performance.now() + Number(SECONDS) * 1000;
  const { executions, kept, reached, failure } = explore(target, inputs, {
    seed: Number(SEED),
    until: () => performance.now() >= endMs,
  });
  if (failure) {
    const path = writeInput(join(BROKEN, target.name), failure.input);
    console.log(`${target.name}: broken after ${executions} inputs by ${path}`);
    console.log(failure.error);
    return false;
  }
  const fresh = distil(target, kept, inputs);
  for (const input of fresh) writeInput(join(CORPUS, target.name), input);
  console.log(
    `${target.name}: ${executions} inputs, ${reached} characters of src/ reached, ${fresh.length} new in its corpus`,
  );
  return true;
}

function fuzzLauncher(): boolean {
  mkdirSync(BROKEN, { recursive: true });
  const scratch = mkdtempSync(join(BROKEN, 'run-'));
  const [program, words, found] = [
    join(scratch, 'launch-fuzz'),
    join(scratch, 'words'),
    join(scratch, 'found'),
  ];
  try {
    buildLaunchFuzzer(program);
    writeFileSync(words, dictionaryText());
    mkdirSync(found);
    const before = readCorpus(LAUNCH).length;
    const { status, output } = runLaunchFuzzer(program, [
      ...[`-seed=${SEED}`, `-max_total_time=${SECONDS}`, `-dict=${words}`, '-print_final_stats=1'],
      ...[`-artifact_prefix=${BROKEN}/launch-`, found, join(CORPUS, LAUNCH)],
    ]);
    if (status !== 0) {
      console.log(`${LAUNCH}: broken\n${output}`);
      return false;
    }
    const merged = runLaunchFuzzer(program, [...FEW, join(CORPUS, LAUNCH), found]);
    if (merged.status !== 0) throw new Error(merged.output);
    console.log(
      `${LAUNCH}: ${launchExecutions(output)} inputs, ${readCorpus(LAUNCH).length - before} new in its corpus`,
    );
    return true;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const names = [...TARGETS.map(({ name }) => name), LAUNCH];
if (TARGET !== undefined && !names.includes(TARGET)) {
  console.error(
    `fuzz: Cannot fuzz "${TARGET}": there is no such target\nnext: TARGET= one of ${names.join(' ')}`,
  );
  process.exit(2);
}
console.log(`seed ${SEED}, ${SECONDS} s each`);
const isWanted = (name: string): boolean => TARGET === undefined || TARGET === name;
const results = [
  ...TARGETS.filter(({ name }) => isWanted(name)).map(fuzz),
  ...(isWanted(LAUNCH) ? [fuzzLauncher()] : []),
];
process.exitCode = results.every(Boolean) ? 0 : 1;
