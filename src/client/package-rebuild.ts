/** Lists for a rebuild of a machine: the names and versions of its packages, and where they come from. */

import { Fault } from '../fault.ts';
import { asBytes } from '../os/byte-path.ts';
import { readWhole } from '../os/content.ts';
import { lstat, readdir } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';
import { aptOptions, inSystem, type PackageDatabase } from './dpkg.ts';
import { InnerPaths } from './inner-path.ts';

/** Where apt finds sources, pins and keys (apt.conf(5)). Passwords belong into auth.conf (apt_auth.conf(5)), which is not copied. */
const APT_FILES = ['/etc/apt/sources.list', '/etc/apt/preferences', '/etc/apt/trusted.gpg'];
const APT_FOLDERS = [
  '/etc/apt/sources.list.d',
  '/etc/apt/preferences.d',
  '/etc/apt/keyrings',
  '/etc/apt/trusted.gpg.d',
];
const FILE_BYTES = 16 * 1024 * 1024;
const SOURCE_LISTS = /^\/etc\/apt\/sources\.list(?:$|\.d\/)/;
const LIST_MS = 60_000;

export interface Rebuild {
  /** Contents by path below F.rebuild. */
  files: Map<string, Buffer>;
  /** Files of apt that this account cannot read. */
  unreadable: string[];
}

/**
 * Collects the lists for a rebuild.
 * @param system the folder of the system; `/`: this one
 * @throws Fault if dpkg or apt-mark fails
 */
export async function collectRebuild(database: PackageDatabase, system: string): Promise<Rebuild> {
  const { architecture, foreignArchitectures, packages } = database;
  const admin = `--admindir=${inSystem(system, '/var/lib/dpkg')}`;
  const versions = packages.map(each => `${each.label}=${each.version}\n`).sort();
  const files = new Map([
    ['selections', await output('dpkg', [admin, '--get-selections'])],
    ['versions', Buffer.from(versions.join(''), 'latin1')],
    ['manual', await output('apt-mark', [...aptOptions(system), 'showmanual'])],
    ['architectures', Buffer.from([architecture, ...foreignArchitectures].map(each => `${each}\n`).join(''))],
  ]);
  const unreadable: string[] = [];
  // A link of the system must not lead to a file of this machine: its content would be in the backup.
  const inner = new InnerPaths(asBytes(system));
  const names = [...APT_FILES, ...APT_FOLDERS.flatMap(folder => namesIn(inner, folder))];
  const keys = new Set<string>();
  const take = (name: string): Buffer | undefined => {
    try {
      const place = inner.realPlace(asBytes(name));
      const path = place === undefined ? undefined : inner.outside(place);
      if (path === undefined || !lstat(path, { throwIfNoEntry: false })?.isFile()) return undefined;
      const content = readWhole(path, FILE_BYTES);
      files.set(`files${name}`, content);
      return content;
    } catch {
      unreadable.push(name);
      return undefined;
    }
  };
  for (const name of names) {
    const content = take(name);
    if (content !== undefined && SOURCE_LISTS.test(name))
      for (const key of signedBy(content.toString('utf8'))) keys.add(key);
  }
  for (const key of keys) if (!files.has(`files${key}`)) take(key);
  return { files, unreadable };
}

/** The paths of keys that a source list names (sources.list(5), Signed-By). A key can also stand in the list itself. */
function signedBy(text: string): string[] {
  const found = [...text.matchAll(/\bsigned-by\s*[:=]\s*([^\]\n]*)/gi)].flatMap(each =>
    (each[1] ?? '').split(/[\s,]+/),
  );
  return found.filter(each => /^\/(?!.*\/\.\.?(?:\/|$))[^\0]+$/.test(each));
}

function namesIn(inner: InnerPaths, folder: string): string[] {
  const place = inner.isFolder(folder) ? inner.realPlace(folder) : undefined;
  if (place === undefined) return [];
  return readdir(inner.outside(place))
    .sort()
    .map(name => `${folder}/${name}`);
}

async function output(program: string, args: string[]): Promise<Buffer> {
  const { status, stdout, stderr } = await run(standard(program, args), { timeoutMs: LIST_MS });
  if (status === 0) return stdout;
  throw new Fault({
    tried: 'list the packages',
    found: `${program} ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
  });
}
