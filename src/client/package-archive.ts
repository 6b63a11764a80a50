/** Unpacks archives of rpm and pacman. bsdtar reads both, and does not write outside of the folder (bsdtar(1), -P). */
import { Fault } from '../fault.ts';
import { type Command, run, standard } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';

const ARCHIVE_MS = 10 * 60_000;

/** In the language C bsdtar refuses names that are not ASCII. */
export function bsdtar(words: string[]): Command {
  return standard('bsdtar', words, { LC_ALL: 'C.UTF-8' });
}

/**
 * Unpacks all files of an archive into an empty folder, without their owners and extended attributes.
 * @throws Fault if the archive is damaged, or if bsdtar is not installed; the signal's reason
 */
export async function unpackArchive(archive: string, folder: string, signal: AbortSignal): Promise<void> {
  const kept = ['--no-same-owner', '--no-acls', '--no-xattrs', '--no-fflags'];
  const command = bsdtar(['--extract', ...kept, '--directory', folder, '--file', archive]);
  const { status, stderr } = await run(command, { signal, timeoutMs: ARCHIVE_MS });
  if (status === 0) return;
  throw new Fault({
    tried: `unpack "${escapeText(archive)}"`,
    found: `bsdtar ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
    next: 'download it again',
  });
}
