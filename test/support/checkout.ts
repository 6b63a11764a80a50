/** A fresh checkout of the working tree, with uncommitted changes, and the environment of a new user's shell. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export const TOP = join(import.meta.dirname, '../..');

/** Why the long tests are skipped in the clean machine that install/clean-machine makes; test/run.ts expects exactly this. */
export const IN_CLEAN_MACHINE: string | false =
  process.env.DIALBACK_CLEAN_MACHINE === '1' && 'inside the clean machine: it runs outside of it';

/**
 * Copies what a clone would hold if all were committed now: no node_modules, and of dist/ only its .gitignore. Times
 * are not kept, as a clone keeps none.
 * @param to a folder that is made, with its parents
 */
export function copyCheckout(to: string): void {
  for (const path of listCheckout()) {
    const [source, copy] = [join(TOP, path), join(to, path)];
    mkdirSync(dirname(copy), { recursive: true });
    if (lstatSync(source).isSymbolicLink()) symlinkSync(readlinkSync(source), copy);
    else copyFileSync(source, copy); // with its permissions
  }
}

/** @returns paths of files relative to the top; without a .git all files except those of a build or of npm */
function listCheckout(): string[] {
  if (existsSync(join(TOP, '.git'))) {
    // safe.directory: root may check what belongs to somebody else.
    const args = ['-c', `safe.directory=${TOP}`, 'ls-files', '-z', '-co', '--exclude-standard'];
    const names = execFileSync('git', args, { cwd: TOP, encoding: 'utf8' }).split('\0');
    // A file can be removed and still be in the index; lstat, for a link may lead nowhere.
    return names.filter(name => name !== '' && lstatSync(join(TOP, name), { throwIfNoEntry: false }));
  }
  return readdirSync(TOP, { recursive: true, withFileTypes: true })
    .filter(each => !each.isDirectory())
    .map(each => join(each.parentPath, each.name).slice(TOP.length + 1))
    .filter(name => !/^(node_modules|dist)\//.test(name) || name === 'dist/.gitignore');
}

/**
 * The environment of a new login, without the variables that `npm test` sets. Its PATH in particular finds node 24.
 * How the network is reached (proxies, certificates) belongs to the machine and is kept.
 */
export function loginEnvironment(home: string): Record<string, string> {
  const kept = /^(https?_proxy|no_proxy|all_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR))$/i;
  const network = Object.entries(process.env).filter(([name]) => kept.test(name)) as [string, string][];
  const path = (process.env.PATH ?? '').split(':').filter(folder => !/node_modules|node-gyp/.test(folder));
  return { ...Object.fromEntries(network), PATH: path.join(':'), HOME: home };
}
