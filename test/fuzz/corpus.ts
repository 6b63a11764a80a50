/** The inputs that are kept: test/corpus/TARGET/, a file each, named by its content. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const CORPUS = join(import.meta.dirname, '../corpus');

/** All inputs that are kept for a target; none where there is no folder of that name. */
export function readCorpus(target: string): Buffer[] {
  const folder = join(CORPUS, target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map(name => readFileSync(join(folder, name)));
}

/** Keeps an input in a folder. @returns its path */
export function writeInput(folder: string, input: Buffer): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, createHash('sha256').update(input).digest('hex').slice(0, 16));
  writeFileSync(path, input);
  return path;
}
