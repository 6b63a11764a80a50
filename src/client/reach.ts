/** What may be read on this machine as it is now: the config's scope, and what is mounted and never read here (client/scope.ts). */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { readWhole } from '../os/files.ts';
import { readNeverList } from '../os/launcher.ts';
import { otherNames, parseMountTable } from '../os/mounts.ts';
import { ENUMERATED_LIMIT, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { type ClientConfig, calledRemotes, callFiles } from './config.ts';
import { isLocal, realPlace } from './local.ts';
import { enumeratedFolders, mountsLeftOut, parseExcludes } from './scope.ts';

const EXCLUDES_BYTES = 1024 * 1024;

/** The exclude patterns, out of the file and the config. @throws Fault that names the line */
export function readExcludes(config: ClientConfig): string[] {
  const { exclude, exclude_from: file } = config.scope;
  const fromFile =
    file === undefined ? [] : readWhole(file, EXCLUDES_BYTES).toString('latin1').split(/\r?\n/);
  return [
    ...parseExcludes(fromFile, `"${file}"`),
    ...parseExcludes(exclude.map(asBytes), '`exclude` in client.toml'),
  ];
}

/** The enumerated folders that a request can name. Of others a changed file counts as unreadable, which is safe. */
export function enumeratedNames(scope: { roots: string[]; never: string[] }): string[] {
  const names = enumeratedFolders(scope).map(path => Buffer.from(path, 'latin1').toString('utf8'));
  return names.filter(isRoot).slice(0, ENUMERATED_LIMIT);
}

/** Roots and what is never read, be it in the scope or not (design: always in `never`); a character a byte. */
export function kernelScope(config: ClientConfig, state: string): { roots: string[]; never: string[] } {
  const { roots, mounts, never } = config.scope;
  const table = parseMountTable(readWhole('/proc/self/mountinfo', 16 * 1024 * 1024).toString('latin1'));
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const stores = config.remote.filter(isLocal).map(each => each.target);
  const own = [state, ...identities, ...stores, ...readNeverList()];
  for (const root of roots) {
    if (never.includes(root)) {
      throw new Fault({
        tried: `back up "${root}"`,
        found: 'it is both in `roots` and in `never`',
        exit: 'usage',
      });
    }
  }
  const bytes = roots.map(asBytes);
  // A mount point with a longer name than a path may have is kept back with a folder above it.
  const left = mountsLeftOut(table, mounts, bytes).map(path => {
    let at = path;
    while (Buffer.byteLength(at, 'latin1') > PATH_LIMIT) at = dirname(at);
    return at;
  });
  // The kernel goes by the place, the filter by the name: both names of a place that a link leads to are kept back.
  const named = [...never, ...own].flatMap(path => [path, realPlace(path)]);
  // A store that is seen at two places would get into itself by the other one.
  const mirrors = stores.flatMap(path => otherNames(table, asBytes(realPlace(path))));
  return { roots: bytes, never: [...new Set([...named.map(asBytes), ...mirrors, ...left])] };
}

/** Text as the bytes that it has in a file, a character each: names need not be UTF-8. */
function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
