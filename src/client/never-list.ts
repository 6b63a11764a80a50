/** The administrator's list of paths that no backup reads, /etc/dialback/never. The launcher enforces it. */
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith } from '../os/files.ts';
import { NEVER_LIST } from '../os/launcher.ts';
import { isRoot } from '../wire/request.ts';

const LIST_BYTES = 1024 * 1024;
/** PATH_MAX without its NUL. */
const PATH_BYTES = 4095;

/** A line with a path. */
interface Line {
  /** Counts from 1. */
  number: number;
  /** Without trailing slashes. */
  path: string;
  /** Why the launcher would refuse the line. */
  fault: string | undefined;
}

/** An absolute path a line. Empty lines and lines that begin with `#` are comments. */
function linesOf(text: string): Line[] {
  return text.split('\n').flatMap((line, index) => {
    if (line === '' || line.startsWith('#')) return [];
    const path = line.replace(/(?<=.)\/+$/, '');
    return [{ number: index + 1, path, fault: checkLine(line, path) }];
  });
}

/**
 * Parses the list.
 * @returns the paths that the launcher accepts, and a sentence for each line that it would refuse
 */
export function parseNeverList(text: string): { paths: string[]; faults: string[] } {
  const lines = linesOf(text);
  return {
    paths: lines.flatMap(({ path, fault }) => (fault === undefined ? [path] : [])),
    faults: lines.flatMap(({ number, fault }) => (fault === undefined ? [] : [`line ${number}: ${fault}`])),
  };
}

function checkLine(line: string, path: string): string | undefined {
  if (!line.startsWith('/')) return 'it does not begin with "/"';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(line)) return 'it has a control character in it';
  if (/\s$/.test(line)) return 'it ends with a blank, which would be part of the name';
  if (Buffer.byteLength(line) > PATH_BYTES) return 'it is too long for a path';
  if (!isRoot(path)) return 'it has ".", ".." or a repeated slash in it';
  return undefined;
}

/**
 * Reads the list for a run. Lines that the launcher would refuse are paths too: without a launcher they still keep back what
 * they name.
 * @returns no paths where there is no list; the launcher refuses to work then
 * @throws Fault where this account may not read it
 */
export function readNeverList(): string[] {
  if (!exists(NEVER_LIST)) return [];
  let bytes: Buffer;
  try {
    bytes = readWhole(NEVER_LIST, LIST_BYTES);
  } catch (error) {
    if (!(error instanceof Fault) || !failedWith(error.cause, 'EACCES')) throw error;
    throw new Fault({ tried: error.tried, found: error.found, next: `as root: chmod 644 ${NEVER_LIST}` });
  }
  return linesOf(bytes.toString('utf8')).map(each => each.path);
}
