// The node executables that become dialback. They are npm packages, and package-lock.json pins their checksums.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TOP = join(import.meta.dirname, '..');

export type Arch = 'x64' | 'arm64';

type Manifest = { optionalDependencies: Record<string, string> };
type Lock = { packages: Record<string, { integrity?: string } | undefined> };

/** Reads a JSON file at the top of the checkout. */
export function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(join(TOP, name), 'utf8')) as T;
}

/** @returns the version of the base, as package.json has it */
export function baseVersion(arch: Arch): string | undefined {
  return readJson<Manifest>('package.json').optionalDependencies[`node-linux-${arch}`];
}

/**
 * Finds the base. npm installs only the one for this machine; the other one is downloaded into `work`.
 * @returns its path
 * @throws Error where it is absent, or its checksum is not the one in the lock file
 */
export async function findBase(arch: Arch, work: string): Promise<string> {
  const name = `node-linux-${arch}`;
  const installed = join(TOP, 'node_modules', name, 'bin', 'node');
  if (existsSync(installed)) return installed;
  if (arch === process.arch) throw new Error(`Cannot read "${installed}": it is not there`);
  const pinned = readJson<Lock>('package-lock.json').packages[`node_modules/${name}`]?.integrity;
  const pack = ['pack', '--loglevel=error', '--ignore-scripts', '--pack-destination', work];
  const { stdout } = await run('npm', [...pack, `${name}@${baseVersion(arch)}`]);
  const archive = join(work, stdout.trim());
  const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (found !== pinned) throw new Error(`Cannot use ${name}: its checksum is ${found}, not ${pinned}`);
  await run('tar', ['-xzf', archive, '-C', work, 'package/bin/node']);
  return join(work, 'package', 'bin', 'node');
}
