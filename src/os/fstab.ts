/** The mount points of fstab(5) that have nothing mounted. */
import { asText } from '../wire/text.ts';
import { unescapeOctal } from './byte-path.ts';
import { inText, isWithin, parseMountTable } from './mounts.ts';

/** Parses fstab(5). @returns the mount points; fstab writes `\040` for a blank */
function parseFstab(text: string): string[] {
  return text.split('\n').flatMap(line => {
    const [device = '', path = ''] = line.trim().split(/\s+/);
    if (device === '' || device.startsWith('#') || !path.startsWith('/')) return [];
    const name = asText(unescapeOctal(path));
    return [name.length > 1 ? name.replace(/\/+$/, '') : name];
  });
}

/**
 * Finds the mount point that contains a path and has nothing mounted. Pure.
 * @param fstab the content of /etc/fstab, and `mountinfo` that of /proc/self/mountinfo, with one character for each byte
 */
export function unmountedAbove(path: string, fstab: string, mountinfo: string): string | undefined {
  const mounted = inText(parseMountTable(mountinfo)).map(each => each.path);
  const above = parseFstab(fstab).filter(each => isWithin(each, path));
  return above.find(each => !mounted.includes(each));
}
