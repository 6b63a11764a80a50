/** The attack program swap.c, compiled for a test. */
import { join } from 'node:path';
import { compileProgram } from './compiled.ts';

/** @param to where the program is put */
export function compileSwap(to: string): void {
  compileProgram(join(import.meta.dirname, 'swap.c'), to, ['-O2', '-Wall', '-Wextra', '-Werror']);
}
