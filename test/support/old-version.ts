/** This checkout as an older version of dialback, for tests of an upgrade: the same sources with another version number. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { copyCheckout, TOP } from './checkout.ts';

const run = promisify(execFile);

export const OLD_VERSION = '0.0.1';

/** @returns the version of this checkout */
export function newVersion(): string {
  return (JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string }).version;
}

/** Builds it. @returns a checkout with dist/dialback, which the caller removes */
export async function buildOldVersion(): Promise<string> {
  const folder = mkdtempSync(join(TOP, 'dist/.build-old-'));
  copyCheckout(folder);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ ...manifest, version: OLD_VERSION }, undefined, 2)}\n`,
  );
  mkdirSync(join(folder, 'dist'), { recursive: true });
  symlinkSync(join(TOP, 'node_modules'), join(folder, 'node_modules'));
  await run(process.execPath, ['build.ts'], { cwd: folder });
  return folder;
}
