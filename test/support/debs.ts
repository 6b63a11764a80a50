/** The Debian packages of a previous version and of this one, for tests of an upgrade. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from './checkout.ts';
import { buildOldVersion, newVersion, OLD_VERSION } from './old-version.ts';

/**
 * Makes both, without compression.
 * @param folder for their files; it is made
 * @returns the names of the files
 */
export async function makeDebs(folder: string): Promise<{ first: string; second: string }> {
  mkdirSync(folder, { recursive: true });
  const old = await buildOldVersion();
  try {
    for (const top of [old, TOP]) {
      const env = { DPKG_DEB_COMPRESSOR_LEVEL: '0', SOURCE_DATE_EPOCH: '1790000000', DEB_OUTPUT: folder };
      execFileSync(join(top, 'tools/deb.sh'), { env: { ...process.env, ...env }, stdio: 'pipe' });
    }
  } finally {
    rmSync(old, { recursive: true });
  }
  const find = (version: string): string =>
    readdirSync(folder).find(name => name.startsWith(`dialback_${version}-`)) ?? assert.fail(version);
  return { first: find(OLD_VERSION), second: find(newVersion()) };
}
