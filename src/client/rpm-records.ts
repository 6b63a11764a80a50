/** The output of rpm, dnf and zypper, as records. Pure parsers; paths are bytes, one character each (os/byte-path.ts). */
import type { DigestAlgorithm } from '../os/content.ts';
import type { FileRecord } from './package-database.ts';

/**
 * For `rpm --query --qf`: a line for each package, and then one for each of its files. `shescape` puts a text between single quotes, and
 * writes a quote in it as `'\''`. A name can have a line break between them.
 */
export const RPM_FORMAT =
  'P %{NAME:shescape} %{EPOCHNUM} %{VERSION:shescape} %{RELEASE:shescape} %{ARCH:shescape} %{FILEDIGESTALGO}\\n' +
  '[F %{FILENAMES:shescape} %{FILEMODES} %{LONGFILESIZES} %{FILEMTIMES} %{FILEFLAGS} %{FILESTATES}' +
  ' %{FILEUSERNAME:shescape} %{FILEGROUPNAME:shescape} %{FILECAPS:shescape} %{FILEDIGESTS:shescape}' +
  ' %{FILELINKTOS:shescape}\\n]';

/** A file of a package. */
export interface RpmFile extends FileRecord {
  path: string;
  /** In hexadecimal; '' if it has none. */
  digest: string;
  isConfig: boolean;
  /** Whether rpm has written it: it is no %ghost, and was not left out by an option of the installation. */
  isWritten: boolean;
}

export interface RpmPackage {
  name: string;
  architecture: string;
  /** With the epoch, if that is not 0. */
  version: string;
  /** Name, epoch, version, release and architecture, as dnf writes all of them. */
  identity: string;
  /** undefined for one that this version does not know. */
  algorithm: DigestAlgorithm | undefined;
  files: RpmFile[];
}

/** rpm prints `(none)` for a tag that a package does not have. */
const TEXT = `('[^']*(?:'\\\\''[^']*)*'|\\(none\\))`;
const NUMBER = '(-?\\d+|\\(none\\))';
const PACKAGE = new RegExp(`P ${TEXT} (\\d+) ${TEXT} ${TEXT} ${TEXT} ${NUMBER}\\n`, 'y');
const FILE = new RegExp(
  `F ${TEXT} ${NUMBER} ${NUMBER} ${NUMBER} ${NUMBER} ${NUMBER} ${TEXT} ${TEXT} ${TEXT} ${TEXT} ${TEXT}\\n`,
  'y',
);

/** RFC 9580, "Hash Algorithms". A package without the tag has MD5. */
const ALGORITHMS: Record<string, DigestAlgorithm> = {
  '(none)': 'md5',
  '1': 'md5',
  '2': 'sha1',
  '8': 'sha256',
  '9': 'sha384',
  '10': 'sha512',
  '11': 'sha224',
};

/** rpmfiles.h */
const FLAG = { config: 1, ghost: 64 };
const STATE_NORMAL = 0;
const NS = 1_000_000_000n;
/** inode(7) */
const KINDS = new Map<number, FileRecord['kind']>([
  [0o100000, 'file'],
  [0o120000, 'link'],
  [0o040000, 'folder'],
]);
const KIND_BITS = 0o170000;
/** The name under which rpm keeps the keys that it trusts. */
export const KEY_PACKAGE = 'gpg-pubkey';

/** Reads the output of rpm with `RPM_FORMAT`. @returns undefined if it is of another form */
export function parseRpmPackages(output: string): RpmPackage[] | undefined {
  const packages: RpmPackage[] = [];
  let files: RpmFile[] = [];
  for (let at = 0; at < output.length; ) {
    const expected = output.startsWith('F ', at) ? FILE : PACKAGE;
    expected.lastIndex = at;
    const found = expected.exec(output);
    if (found === null) return undefined;
    at = expected.lastIndex;
    if (expected === FILE) {
      if (packages.length === 0) return undefined;
      files.push(fileOf(found));
      continue;
    }
    files = [];
    packages.push(packageOf(found, files));
  }
  return packages.filter(each => each.name !== KEY_PACKAGE);
}

function packageOf(
  [, name, epoch, version, release, arch, algorithm]: RegExpExecArray,
  files: RpmFile[],
): RpmPackage {
  const text = { name: plain(name), version: `${plain(version)}-${plain(release)}`, arch: plain(arch) };
  return {
    name: text.name,
    architecture: text.arch,
    version: epoch === '0' ? text.version : `${epoch}:${text.version}`,
    identity: `${text.name}-${epoch}:${text.version}.${text.arch}`,
    algorithm: ALGORITHMS[algorithm ?? ''],
    files,
  };
}

function fileOf(found: RegExpExecArray): RpmFile {
  const [, path, mode, size, mtime, flags, state, user, group, capability, digest, target] = found;
  const bits = Number(mode) & 0xffff;
  const isGhost = (Number(flags) & FLAG.ghost) !== 0;
  return {
    path: plain(path),
    kind: KINDS.get(bits & KIND_BITS) ?? 'other',
    mode: bits & 0o7777,
    isOwnedByRoot: plain(user) === 'root' && plain(group) === 'root',
    hasCapability: plain(capability) !== '',
    mtimeNs: BigInt(mtime ?? 0) * NS,
    size: Number(size),
    target: plain(target),
    digest: plain(digest),
    isConfig: (Number(flags) & FLAG.config) !== 0,
    isWritten: !isGhost && Number(state) === STATE_NORMAL,
  };
}

/** The reverse of `shescape`. @returns '' for `(none)` */
function plain(text: string | undefined): string {
  return text?.startsWith("'") ? text.slice(1, -1).replaceAll(`'\\''`, `'`) : '';
}

/** For `dnf repoquery --qf`: a line for each version that a source has. dnf 5 adds no line end itself. */
export const DNF_FORMAT = '%{name}-%{epoch}:%{version}-%{release}.%{arch} %{repoid}\n';

/**
 * Reads the output of dnf with `DNF_FORMAT`.
 * @param remote the sources that count
 * @returns the identities of packages
 */
export function parseDnfOffers(output: string, remote: ReadonlySet<string>): Set<string> {
  return new Set(
    output.split('\n').flatMap(line => {
      const [, identity, source] = /^(\S+) (\S+)$/.exec(line) ?? [];
      return identity !== undefined && source !== undefined && remote.has(source) ? [identity] : [];
    }),
  );
}

/**
 * Reads the output of `zypper --xmlout search --details`.
 * @param remote the sources that count, by their names too
 * @returns the identities of packages
 */
export function parseZypperOffers(output: string, remote: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  for (const [element] of output.matchAll(/<solvable [^<>]*\/>/g)) {
    const values = new Map(
      [...element.matchAll(/ ([a-z]+)="([^"]*)"/g)].map(([, key, value]) => [key, unescapeXml(value ?? '')]),
    );
    const [name, edition, arch] = ['name', 'edition', 'arch'].map(key => values.get(key));
    const isPackage = values.get('kind') === 'package' && values.get('status') === 'installed';
    if (name === undefined || edition === undefined || !isPackage) continue;
    const version = edition.includes(':') ? edition : `0:${edition}`;
    if (remote.has(values.get('repository') ?? '')) found.add(`${name}-${version}.${arch}`);
  }
  return found;
}

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(lt|gt|amp|quot|apos);/g, (_, name: string) => ENTITIES[name] ?? '');
}

/**
 * Reads a file of package sources (dnf.conf(5), zypper(8)).
 * @returns the ids and the names of those that have a URL on another machine. A medium or a folder of this machine (`file:`, `dir:`,
 *   `cd:`) may be lost with it
 */
export function parseRemoteSources(text: string): string[] {
  const found: string[] = [];
  let id = '';
  let name: string | undefined;
  let key = '';
  let isRemote = false;
  const end = (): void => {
    if (isRemote && id !== '') found.push(id, ...(name === undefined ? [] : [name]));
  };
  for (const line of text.split(/\r?\n/)) {
    const section = /^\[([^\]]+)\]/.exec(line)?.[1];
    if (section !== undefined) {
      end();
      [id, name, key, isRemote] = [section, undefined, '', false];
      continue;
    }
    if (/^\s*[#;]/.test(line)) continue;
    const [, own, value] = /^([A-Za-z_]\w*)\s*=\s*(.*)$/.exec(line) ?? [];
    if (own !== undefined) key = own;
    if (own === 'name') name = value?.trim();
    // A value can go on in the next lines, which begin with a blank.
    const urls = own === undefined && !/^\s/.test(line) ? '' : (value ?? line);
    if (['baseurl', 'mirrorlist', 'metalink'].includes(key))
      isRemote ||= urls.split(/[\s,]+/).some(each => /^(?:https?|ftp):\/\//.test(each));
  }
  end();
  return found;
}
