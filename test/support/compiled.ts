/** The launcher's programs, and C programs of tests. Many tests need the same ones, so they are compiled once. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
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
  const what = [kind, variables, process.env.CC, process.env.LAUNCH_CFLAGS];
  const sources = globSync(SOURCES, { cwd: TOP }).map(path => join(TOP, path));
  copyCompiled(to, keyOf(what, sources.sort()), made => {
    execFileSync(join(TOP, 'tools/launcher.sh'), [kind, made], {
      env: { ...process.env, ...variables },
      stdio: 'pipe',
    });
  });
}

/**
 * Compiles a program of one source file, or copies what it has compiled from the same file.
 * @param source its path
 * @param to the path of the program; its mode becomes 0755
 * @param more a compiler, and the files that the source includes
 * @throws with the compiler's output
 */
export function compileProgram(
  source: string,
  to: string,
  flags: readonly string[],
  more: { compiler?: string; included?: readonly string[] } = {},
): void {
  const { compiler = process.env.CC ?? 'gcc', included = [] } = more;
  copyCompiled(to, keyOf([compiler, flags], [source, ...included]), made => {
    execFileSync(compiler, [...flags, '-o', made, source], { stdio: 'pipe' });
  });
}

/**
 * Compiles a library for LD_PRELOAD, or copies what it has compiled from the same text.
 * @param text the source in C
 * @param to the path of the library
 * @throws with the compiler's output
 */
export function compileLibrary(text: string, to: string): void {
  const compiler = process.env.CC ?? 'gcc';
  const flags = ['-shared', '-fPIC', '-O1', '-w', '-x', 'c', '-', '-ldl'];
  copyCompiled(to, keyOf([compiler, flags, text], []), made => {
    execFileSync(compiler, [...flags, '-o', made], { input: text, stdio: 'pipe' });
  });
}

/** Reads a text that `keepText()` has kept. @returns undefined if there is none */
export function keptText(name: string): string | undefined {
  const kept = join(CACHE, name);
  return existsSync(kept) ? readFileSync(kept, 'utf8') : undefined;
}

/** Keeps a text for the other tests, and for later runs. */
export function keepText(name: string, text: string): void {
  const kept = join(CACHE, name);
  mkdirSync(CACHE, { recursive: true });
  const copy = `${kept}.${randomBytes(4).toString('hex')}`;
  writeFileSync(copy, text);
  renameSync(copy, kept);
}

/** Puts a program where it is wanted. @param compileTo compiles it, if there is none by this key */
function copyCompiled(to: string, key: string, compileTo: (made: string) => void): void {
  const kept = join(CACHE, key);
  try {
    copyFileSync(kept, to);
  } catch {
    mkdirSync(CACHE, { recursive: true });
    for (const name of readdirSync(CACHE)) removeIfOld(join(CACHE, name));
    // Another test may compile the same: the last step is a rename.
    const made = `${kept}.${randomBytes(4).toString('hex')}`;
    compileTo(made);
    renameSync(made, kept);
    copyFileSync(kept, to);
  }
  chmodSync(to, 0o755);
}

function keyOf(what: unknown, sources: readonly string[]): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(what));
  for (const path of sources) hash.update(path).update(readFileSync(path));
  return hash.digest('hex');
}

function removeIfOld(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found && Date.now() - found.mtimeMs > KEPT_MS) rmSync(path, { force: true });
}
