/** The attack program swap.c, compiled for a test. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** @param to where the program is put */
export function compileSwap(to: string): void {
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror'];
  execFileSync(process.env.CC ?? 'gcc', [...flags, '-o', to, join(import.meta.dirname, 'swap.c')], {
    stdio: 'pipe',
  });
}
