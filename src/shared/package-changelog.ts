/** The changelog of an installed Debian package, which shows that a vulnerability is fixed in an old version (advisories.ts). */
import { gunzipSync } from 'node:zlib';
import { readWhole } from '../os/content.ts';
import { changelogOf, openAdvisories, RSYNC_ADVISORIES } from './advisories.ts';

/** Bytes of a changelog that are read, before and after decompression. */
const CHANGELOG_BYTES = 32 * 1024 * 1024;

/** Reads the changelog of a Debian package. @returns undefined if there is none, or if it belongs to another version */
export function readChangelog(name: string, version: string): string | undefined {
  try {
    const packed = readWhole(`/usr/share/doc/${name}/changelog.Debian.gz`, CHANGELOG_BYTES);
    const text = gunzipSync(packed, { maxOutputLength: CHANGELOG_BYTES }).toString('utf8');
    const found = changelogOf(version, text);
    return 'value' in found ? found.value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether an installed rsync may have a known vulnerability, since neither its version nor its changelog shows that all are fixed. */
export function isRsyncVulnerable(version: string): boolean {
  return openAdvisories(version, readChangelog('rsync', version), RSYNC_ADVISORIES).length > 0;
}
