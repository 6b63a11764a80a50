/** The launcher's fuzzer: test/fuzz/launch-fuzz.c with clang's libFuzzer and its sanitizers. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { compileProgram } from '../support/compiled.ts';

const OPTIONS = [
  ...['-std=c17', '-g', '-O1', '-Wall', '-Wextra', '-Werror'],
  // What only acts on the machine is never called.
  ...['-Wno-unused-function', '-Wno-unused-const-variable'],
  ...['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'],
];

/** What the launcher's inputs are made of, as libFuzzer's -dict has it. */
const WORDS = [
  ...[
    'root /',
    'never /',
    'library /',
    ' - ',
    ' / ',
    '\\\\040',
    '\\\\377',
    ' proc ',
    ' devtmpfs ',
    ' sysfs ',
    '8:1',
  ],
  ...[
    '/../',
    '/./',
    '//',
    '..',
    '/link/',
    '/loop',
    '/rise',
    '/mine/',
    '/theirs',
    '/u/',
    '/w/',
    '/a/',
    '/h',
    '/d',
    '/x',
    '/p',
    '/run-abcDE1',
    '--',
    '\\x00',
    '\\x0a',
    '\\x7f',
    '#',
  ],
];

/** @param output where the program is put */
export function buildLaunchFuzzer(output: string): void {
  const source = join(import.meta.dirname, 'launch-fuzz.c');
  const included = globSync(join(import.meta.dirname, '../../src/launcher/*')).sort();
  compileProgram(source, output, OPTIONS, { compiler: 'clang', included });
}

/** libFuzzer's dictionary. */
export function dictionaryText(): string {
  return WORDS.map(word => `"${word}"\n`).join('');
}

/** Runs it. @returns its exit status, and what it said */
export function runLaunchFuzzer(program: string, args: string[]): { status: number | null; output: string } {
  // Without leak detection, which wants to trace the process; what was allocated is freed after each run by a list.
  const result = spawnSync(program, ['-detect_leaks=0', '-max_len=2048', '-timeout=10', ...args], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status: result.status, output: `${result.stdout}${result.stderr}` };
}

/** How many inputs it says that it has run. */
export function launchExecutions(output: string): number {
  return Number(/^stat::number_of_executed_units:\s*(\d+)$/m.exec(output)?.[1] ?? Number.NaN);
}
