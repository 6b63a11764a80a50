/** The launcher's programs for tests. Many tests need the same ones, so they are compiled once. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';

const TOP = join(import.meta.dirname, '../..');
const CACHE = join(TOP, 'node_modules/.cache/dialback-launcher');
const KEPT_MS = 86_400_000;
const SOURCES = ['tools/launcher.sh', 'tools/linkat.sh', 'src/launcher/*'];

/**
 * Compiles `launch` or `jail` with tools/launcher.sh, or copies what it has compiled from the same sources with the same variables.
 * @param to the path of the program; its mode becomes 0755
 * @param variables of the script, all paths included
 * @throws with the compiler's output
 */
export function compile(kind: 'launch' | 'jail', to: string, variables: Record<string, string>): void {
  const kept = join(CACHE, keyOf(kind, variables));
  try {
    copyFileSync(kept, to);
  } catch {
    compileInto(kept, kind, variables);
    copyFileSync(kept, to);
  }
  chmodSync(to, 0o755);
}

function keyOf(kind: string, variables: Record<string, string>): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([kind, variables, process.env.CC, process.env.LAUNCH_CFLAGS]));
  for (const path of globSync(SOURCES, { cwd: TOP }).sort())
    hash.update(path).update(readFileSync(join(TOP, path)));
  return hash.digest('hex');
}

/** Another test may compile the same: the last step is a rename. */
function compileInto(kept: string, kind: string, variables: Record<string, string>): void {
  mkdirSync(CACHE, { recursive: true });
  for (const name of readdirSync(CACHE)) removeIfOld(join(CACHE, name));
  const made = `${kept}.${randomBytes(4).toString('hex')}`;
  execFileSync(join(TOP, 'tools/launcher.sh'), [kind, made], {
    env: { ...process.env, ...variables },
    stdio: 'pipe',
  });
  renameSync(made, kept);
}

function removeIfOld(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found && Date.now() - found.mtimeMs > KEPT_MS) rmSync(path, { force: true });
}
