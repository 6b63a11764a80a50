/** The executable that runs, and its command line. */
import { isSea } from 'node:sea';
import { readProc } from './files.ts';

/** Whether this is the packaged executable, not the sources under node. */
export function isPackaged(): boolean {
  return isSea();
}

/** This executable's absolute path. */
export function ownExecutable(): string {
  return process.execPath;
}

/**
 * The arguments of the command line as bytes, without node and the program. node replaces bytes that are not UTF-8, so such an
 * argument comes from /proc/self/cmdline.
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
