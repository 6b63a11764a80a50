/** Both rsyncs of a fetch: the host's, a daemon that reads a fake-super tree, and the client's, which writes real files. */
import { below, literalPattern } from './filter-pattern.ts';
import { asArgument, CHECKSUM_IDLE_SECONDS, MODULE, moduleConfig, NANOSECONDS, NEEDED } from './rsync.ts';
import { encodeName } from './text.ts';

/**
 * rsyncd.conf(5) for the host's daemon.
 * @param options.tree the snapshot's tree
 * @param options.filter the file with `offerFilter`
 */
export function offerConfig(options: { tree: string; filter: string; confined: boolean }): string {
  return moduleConfig({
    ...options,
    path: options.tree,
    idleSeconds: CHECKSUM_IDLE_SECONDS, // a client that compares contents is silent for long; ssh notices a lost connection
    needed: [...NEEDED, 'checksum', 'no-implied-dirs', 'backup', 'backup-dir'], // a sender makes no backups, but its peer names them
    more: ['fake super = yes'], // owners, modes and devices as they were on the client, whatever the peer asks for
  });
}

/**
 * The filter of the daemon: it shows the offered paths and the folders above them. A line for the tree itself keeps a peer's merge
 * rules from reading any file, as in client/filter.ts.
 * @param paths below the tree, one character a byte, without a leading slash; empty: the whole tree
 */
export function offerFilter(tree: string, paths: readonly string[]): string {
  const lines = [`- ${below(literalPattern(tree))}`];
  if (paths.length > 0) {
    const above = new Set(paths.flatMap(foldersAbove));
    for (const folder of [...above].sort()) lines.push(`+ /${literalPattern(folder)}/`);
    for (const path of paths) {
      const pattern = literalPattern(`/${path}`);
      lines.push(`+ ${pattern}`, `+ ${below(pattern)}`);
    }
    lines.push('- /**');
  }
  return lines.map(line => `${line}\n`).join('');
}

/** The folders above a path without the top, outermost first. */
export function foldersAbove(path: string): string[] {
  const names = path.split('/').slice(0, -1);
  return names.map((_, at) => names.slice(0, at + 1).join('/'));
}

/** Options of the client's rsync. */
interface FetchOptions {
  /** Absolute, in the form of `decodeName`; only `/` for a whole machine. */
  paths: string[];
  /** The folder that the paths are put into. */
  to: string;
  isRootUser: boolean;
  /** The remote shell, for rsync's -e. */
  shell: string;
  idleSeconds: number;
  /** Put files back where they were: replaced files go to this folder. */
  backupFolder: string | undefined;
}

/** rsync's arguments on the client. Bytes where a path is not UTF-8. */
export function fetchArguments(options: FetchOptions): (string | Buffer)[] {
  const { paths, to, isRootUser, backupFolder } = options;
  return [
    '-aHAXS',
    '--numeric-ids',
    isRootUser ? '--super' : '--no-super',
    // A setuid program of another account would run as the account that gets it.
    ...(isRootUser ? [] : ['--chmod=Fu-s,Fg-s']),
    '--relative',
    NANOSECONDS,
    '-M--no-msgs2stderr',
    '--stats',
    '--no-human-readable',
    '--info=progress2',
    `--timeout=${options.idleSeconds}`,
    ...(backupFolder === undefined
      ? ['--partial'] // the next fetch continues a large file
      : [
          '--checksum', // size and time of a file that lies there prove nothing
          '--no-implied-dirs', // leave the folders above as they are
          '--backup',
          `--backup-dir=${backupFolder}`,
        ]),
    '-e',
    options.shell,
    '--',
    ...paths.map(path => toWord(`host::${MODULE}${asArgument(path, paths)}`)),
    `${to === '/' ? '' : to}/`,
  ];
}

/** A text of `decodeName` as an argument. */
function toWord(text: string): string | Buffer {
  return text.isWellFormed() ? text : encodeName(text);
}
