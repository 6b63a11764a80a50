/** The output and the files of pacman, as records. Pure parsers; paths are bytes, one character each (os/byte-path.ts). */
import { unescapeOctal } from '../os/byte-path.ts';
import type { FileRecord } from './package-database.ts';

/** A name and a version. */
export interface PacmanName {
  name: string;
  version: string;
}

/** Reads the output of `pacman -Q`: a name and a version in each line. */
export function parsePacmanNames(output: string): PacmanName[] {
  return output.split('\n').flatMap(line => {
    const [, name, version] = /^(\S+) (\S+)$/.exec(line) ?? [];
    return name === undefined || version === undefined ? [] : [{ name, version }];
  });
}

/**
 * Reads the output of `pacman -Sl`: a source, a name, a version, and `[installed]` if just this version is installed.
 * @param remote the sources that count
 * @returns the installed packages with a version that such a source has, as NAME=VERSION
 */
export function parsePacmanOffers(output: string, remote: ReadonlySet<string>): Set<string> {
  return new Set(
    output.split('\n').flatMap(line => {
      const [, source, name, version] = /^(\S+) (\S+) (\S+) \[installed\]$/.exec(line) ?? [];
      return source !== undefined && remote.has(source) ? [`${name}=${version}`] : [];
    }),
  );
}

/** Reads a file of pacman's database: a heading such as `%NAME%`, and then its values up to an empty line. */
export function parsePacmanSections(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let values: string[] = [];
  for (const line of text.split('\n')) {
    const heading = /^%([A-Z0-9]+)%$/.exec(line)?.[1];
    if (heading !== undefined) {
      values = [];
      found.set(heading, values);
    } else if (line !== '') values.push(line);
  }
  return found;
}

/** Reads the values of `%BACKUP%`: a path without the first slash, and the MD5 of its first content. @returns the paths */
export function parseBackupFiles(values: readonly string[]): string[] {
  return values.flatMap(each => {
    const path = /^([^\t]+)\t/.exec(each)?.[1];
    return path === undefined ? [] : [`/${path}`];
  });
}

/** A file of a package. */
export interface MtreeFile extends FileRecord {
  path: string;
  /** SHA-256 in hexadecimal; undefined if it has none. */
  sha256: string | undefined;
}

const KINDS: Record<string, FileRecord['kind']> = { file: 'file', link: 'link', dir: 'folder' };
const NS = 1_000_000_000n;

/**
 * Reads a list of files as bsdtar writes it (mtree(5)).
 * @returns the files of the package. The kind of an entry without all facts is `other`
 */
export function parseMtree(text: string): MtreeFile[] {
  const defaults = new Map<string, string>();
  return text.split('\n').flatMap(line => {
    const [first = '', ...words] = line.split(' ');
    const own = words.flatMap((word): [string, string][] => {
      const [, key, value] = /^([a-z0-9]+)=(.*)$/.exec(word) ?? [];
      return key === undefined || value === undefined ? [] : [[key, value]];
    });
    if (first === '/set') for (const [key, value] of own) defaults.set(key, value);
    if (first === '/unset') for (const key of words) defaults.delete(key);
    // pacman's own files are at the top: .MTREE, .PKGINFO, .BUILDINFO, .INSTALL and .CHANGELOG.
    if (!first.startsWith('./') || /^\.\/\.[A-Z]+$/.test(first)) return [];
    return [fileOf(unescapeOctal(first.slice(1)), new Map([...defaults, ...own]))];
  });
}

function fileOf(path: string, facts: ReadonlyMap<string, string>): MtreeFile {
  const [, seconds, rest = '0'] = /^(\d+)(?:\.(\d{1,9}))?$/.exec(facts.get('time') ?? '') ?? [];
  const kind = KINDS[facts.get('type') ?? ''] ?? 'other';
  const size = facts.get('size') ?? (kind === 'file' ? '' : '0');
  const mode = facts.get('mode') ?? '';
  const isWhole = seconds !== undefined && /^[0-7]{1,4}$/.test(mode) && /^\d+$/.test(size);
  return {
    path,
    kind: isWhole ? kind : 'other',
    mode: Number.parseInt(mode, 8),
    isOwnedByRoot: facts.get('uid') === '0' && facts.get('gid') === '0',
    hasCapability: false,
    // bsdtar prints the nanoseconds as a number, without leading zeros.
    mtimeNs: BigInt(seconds ?? 0) * NS + BigInt(rest),
    size: Number(size),
    target: unescapeOctal(facts.get('link') ?? ''),
    sha256: facts.get('sha256digest'),
  };
}
