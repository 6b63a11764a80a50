/** Where SQLite's files of the store are: on a local file system, in a folder that this account can write to. */
import type { Account } from '../os/account.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const CACHES = new Topic(
  'host.caches',
  "indexes and the overview are SQLite's files, whose locks and shared memory a network file system may not have",
);

/** Types of file systems whose files other machines can change, as /proc/self/mountinfo has them. */
const NETWORK = new Set(
  'nfs nfs4 cifs smb3 ceph fuse.ceph-fuse fuse.glusterfs fuse.sshfs fuse.s3fs fuse.rclone 9p afs lustre beegfs ocfs2 gfs2 gpfs'.split(
    ' ',
  ),
);

/** The place of the caches. */
interface CachePlace {
  /** `cache_dir` of host.toml; undefined if the caches are in the store. */
  cacheDir: string | undefined;
  /** The type of the file system that they are on. */
  type: string;
  /** Whether the folder exists, and this account can write to it. */
  isUsable: boolean;
}

/** Decides about them. Pure. @param account the account of the store */
export function checkCaches(
  store: string,
  { cacheDir, type, isUsable }: CachePlace,
  { name }: Pick<Account, 'name'>,
): Finding {
  if (cacheDir === undefined)
    return NETWORK.has(type)
      ? CACHES.warning(
          `"${store}" is on a network file system (${type}), and SQLite's files are in it`,
          `as root: install -d -o ${name} -m 700 /var/cache/dialback; then cache_dir = "/var/cache/dialback" in host.toml`,
        )
      : CACHES.ok(`in the store (${type})`);
  const quoted = quoteForShell(cacheDir);
  if (!isUsable)
    return CACHES.warning(
      `this account cannot write to "${cacheDir}": each command makes its index again`,
      `as root: install -d -o ${name} -m 700 ${quoted}`,
    );
  return NETWORK.has(type)
    ? CACHES.warning(
        `"${cacheDir}" is on a network file system too (${type})`,
        'set cache_dir in host.toml to a folder on a local disk',
      )
    : CACHES.ok(`in "${cacheDir}" (${type})`);
}
