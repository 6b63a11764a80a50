/** The output of getfattr(1). */
import { unescapeOctal } from '../os/byte-path.ts';
import type { Xattr } from './fake-super.ts';

/**
 * Parses the output of `getfattr --absolute-names -d -e hex`. Each file with xattrs has a line `# file: PATH`, then
 * lines NAME=0xHEX, then an empty line. In PATH and NAME some bytes are written as \ooo, the backslash always.
 * @returns by path, one character per byte, as it was passed to getfattr
 */
export function parseAttributes(output: Buffer): Map<string, Xattr[]> {
  const files = new Map<string, Xattr[]>();
  let current: Xattr[] = [];
  for (const line of output.toString('latin1').split('\n')) {
    const path = /^# file: (.*)$/s.exec(line)?.[1];
    if (path !== undefined) {
      current = [];
      files.set(unescapeOctal(path), current);
      continue;
    }
    const found = /^([^=]+)(?:=0x((?:[0-9a-f]{2})*))?$/s.exec(line);
    if (!found) continue;
    const name = Buffer.from(unescapeOctal(found[1] ?? ''), 'latin1');
    current.push({ name, value: Buffer.from(found[2] ?? '', 'hex') });
  }
  return files;
}
