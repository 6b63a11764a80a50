/** The executable that runs, and its command line. */
import { isSea } from 'node:sea';
import { readProc } from './files.ts';

/** Whether this is the packaged executable (and not the sources under node). */
export function isPackaged(): boolean {
  return isSea();
}

/** This executable's absolute path. */
export function ownExecutable(): string {
  return process.execPath;
}

/**
 * The command line's words, without node and the program, as bytes. node makes of a byte that is not UTF-8 a mark that
 * says only that there was one; such a word is taken from the kernel instead.
 */
export function ownArguments(): Buffer[] {
  const words = process.argv.slice(2);
  const isWhole = !words.some(word => word.includes('\ufffd'));
  const kernel = isWhole ? [] : (readProc('self/cmdline') ?? '').split('\0').slice(0, -1);
  return words.map((word, index) => {
    const bytes = Buffer.from(kernel.at(index - words.length) ?? '', 'latin1');
    return bytes.toString('utf8') === word ? bytes : Buffer.from(word, 'utf8');
  });
}
