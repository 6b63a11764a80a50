/** The output and the files of dpkg and apt, as records. Pure parsers; paths are bytes, one character each (os/byte-path.ts). */

/** A package whose files are unpacked and whose scripts have run. */
export interface InstalledPackage {
  name: string;
  architecture: string;
  version: string;
  /** The beginning of the names of its files in the folder `info` of the database. */
  base: string;
  /** The paths of its conffiles, also of those that it had in earlier versions. */
  conffiles: string[];
}

/** For `dpkg-query --show --showformat`: a line for each package, and then its conffiles, each in a line that begins with a blank. */
export const PACKAGE_FORMAT =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query replaces these
  '${db:Status-Status}\\t${Package}\\t${Architecture}\\t${Version}\\t${Multi-Arch}\\n${Conffiles}\\n';

/** deb-triggers(5): such a package is installed, and waits for another one. */
const INSTALLED = new Set(['installed', 'triggers-pending', 'triggers-awaited']);

/**
 * Reads the output of dpkg-query with `PACKAGE_FORMAT`.
 * @returns the installed packages, and the number of those that are partly installed; removed ones with conffiles count as neither
 */
export function parsePackages(output: string): { installed: InstalledPackage[]; broken: number } {
  const installed: InstalledPackage[] = [];
  let broken = 0;
  let current: InstalledPackage | undefined;
  for (const line of output.split('\n')) {
    if (line.startsWith(' ')) {
      const path = /^ (\/.*) (?:[0-9a-f]{32}|newconffile|nonexistent)(?: [a-z-]+)*$/.exec(line)?.[1];
      if (path !== undefined) current?.conffiles.push(path);
      continue;
    }
    const [status = '', name = '', architecture = '', version = '', multiArch] = line.split('\t');
    if (name === '') continue;
    current = undefined;
    if (status === 'config-files' || status === 'not-installed') continue;
    if (!INSTALLED.has(status)) {
      broken += 1;
      continue;
    }
    const base = multiArch === 'same' ? `${name}:${architecture}` : name;
    current = { name, architecture, version, base, conffiles: [] };
    installed.push(current);
  }
  return { installed, broken };
}

/** Reads `info/NAME.list`: a path in each line. @returns them without `/.`, which every package has */
export function parseFileList(text: string): string[] {
  return text.split('\n').filter(path => path.startsWith('/') && path !== '/.');
}

/** Reads `info/NAME.md5sums` (deb-md5sums(5)). @returns the hexadecimal MD5 by absolute path */
export function parseChecksums(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, sum, path] = /^([0-9a-f]{32}) {2}(.+)$/.exec(line) ?? [];
    if (sum !== undefined && path !== undefined) sums.set(`/${path}`, sum);
  }
  return sums;
}

/** Reads the file `diversions`: three lines for each. @returns both paths of each diversion */
export function parseDiversions(text: string): string[] {
  return text.split('\n').filter((line, index) => index % 3 !== 2 && line !== '');
}

/** Reads the file `statoverride`: owner, group, mode and path in a line. @returns the paths */
export function parseOverrides(text: string): string[] {
  return text.split('\n').flatMap(line => /^\S+ \S+ \S+ (\/.*)$/.exec(line)?.[1] ?? []);
}

/**
 * Reads the output of `apt-cache policy NAME…`, in the language C.
 * @returns the names of the packages whose installed version a source on another machine offers. A medium of this machine (`file:`,
 *   `copy:`, `cdrom:`) does not count: it may be lost with the machine
 */
export function parsePolicy(output: string): Set<string> {
  const offered = new Set<string>();
  let name = '';
  let isOfInstalled = false;
  for (const line of output.split('\n')) {
    const heading = /^(\S+):$/.exec(line)?.[1];
    if (heading !== undefined) [name, isOfInstalled] = [heading, false];
    else if (/^ {5}\S|^ \*\*\* /.test(line)) isOfInstalled = line.startsWith(' *** ');
    else if (isOfInstalled && /^ {6,}-?\d+ (?!file:|copy:|cdrom:)[a-z][a-z0-9+.-]*:/.test(line))
      offered.add(name);
  }
  return offered;
}

/** The name of a package as apt and dpkg write it: with its architecture if that is another one than the machine's. */
export function packageLabel(each: Pick<InstalledPackage, 'name' | 'architecture'>, native: string): string {
  const isPlain = each.architecture === native || each.architecture === 'all';
  return isPlain ? each.name : `${each.name}:${each.architecture}`;
}

/** The paths of keys that a source list names (sources.list(5), Signed-By). A key can also stand in the list itself. */
export function signedBy(text: string): string[] {
  const found = [...text.matchAll(/\bsigned-by\s*[:=]\s*([^\]\n]*)/gi)].flatMap(each =>
    (each[1] ?? '').split(/[\s,]+/),
  );
  return found.filter(each => /^\/(?!.*\/\.\.?(?:\/|$))[^\0]+$/.test(each));
}
