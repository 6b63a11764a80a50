/** The file system of the store: the attributes that it keeps, and its free space. */
import type { Probe } from '../store/file-system.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const XATTRS = new Topic(
  'host.store_xattrs',
  'user xattrs keep the owners, modes, links and devices, which a store without them loses',
);
const LINKS = new Topic(
  'host.store_links',
  'an unchanged file is a hard link to the backup before: without hard links each backup is a full copy',
);
const TIMES = new Topic(
  'host.store_times',
  'rsync compares the times of files to the nanosecond: a store that does not keep them receives each backup in full',
);

const MOVE_NEXT = 'put `store` in host.toml on ext4, XFS or Btrfs';
const MOVE_FOR_TIMES_NEXT =
  'put `store` in host.toml on ext4 with inodes of 256 bytes, on XFS with bigtime, or on Btrfs';
/** The most hard links of one file, where backups can reach the limit (ext4: Linux, EXT4_LINK_MAX). */
const LINK_LIMITS: Record<string, number> = { ext2: 32_000, ext3: 32_000, ext4: 65_000, btrfs: 65_535 };

/**
 * Checks xattrs, hard links and times, in this order.
 * @param hasLibrary whether rsync gets the library that copies a file where a link is refused
 */
export function checkProbe(store: string, probe: Probe, hasLibrary: boolean): Finding[] {
  const { type, xattrs } = probe;
  return [
    xattrs === undefined
      ? XATTRS.ok(`"${store}" (${type}) keeps them`)
      : XATTRS.critical(`"${store}" (${type}): ${xattrs}`, MOVE_NEXT),
    checkLinks(store, probe, hasLibrary),
    checkTimes(store, probe),
  ];
}

function checkLinks(store: string, { type, links }: Probe, hasLibrary: boolean): Finding {
  if (links !== undefined) return LINKS.critical(`"${store}" (${type}): ${links}`, MOVE_NEXT);
  const limit = LINK_LIMITS[type];
  if (limit === undefined) return LINKS.ok(`"${store}" (${type}) has them`);
  const found = `"${store}" (${type}) has them, ${limit} to a file`;
  return hasLibrary
    ? LINKS.ok(`${found}: a file in more backups than that is copied once more`)
    : LINKS.warning(
        `${found}: a client with more hard links of one file fails, because this executable was built without gcc`,
        "apt-get install gcc libc6-dev, and make clean build in dialback's sources",
      );
}

function checkTimes(store: string, { type, hasNanoseconds, hasLateTimes, hasEarlyTimes }: Probe): Finding {
  if (!hasNanoseconds) return TIMES.warning(`"${store}" (${type}) does not keep them`, MOVE_NEXT);
  if (!hasEarlyTimes)
    return TIMES.warning(
      `"${store}" (${type}) changes times before 1970: such a file is sent in each backup, and restored with another time`,
      MOVE_NEXT,
    );
  return hasLateTimes
    ? TIMES.ok(`"${store}" (${type}) keeps them`)
    : TIMES.warning(`"${store}" (${type}) cuts times after 2038`, MOVE_FOR_TIMES_NEXT);
}

const SPACE = new Topic('host.store_space', 'every run of every client fails on a full disk');
const INODES = new Topic('host.store_inodes', 'each folder and each changed file of a backup needs an inode');

const LOW_SHARE = 0.1;
const OUT_SHARE = 0.02;
const LOW_BYTES = 1024 ** 3;
const OUT_BYTES = 100 * 1024 ** 2;

/** The result of statfs(2). */
interface Room {
  bsize: number;
  blocks: number;
  bavail: number;
  files: number;
  ffree: number;
}

function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)}%`;
}

/** Warns below 1 GiB or 10% free; critical below 100 MiB or 2%. */
export function checkSpace(store: string, { bsize, blocks, bavail }: Room): Finding {
  const free = bavail * bsize;
  const found = `${Math.floor(free / 1024 ** 2)} MiB free (${percent(bavail, Math.max(1, blocks))}) for "${store}"`;
  const next = `du -xsh ${quoteForShell(`${store}/clients`)}/*; make room, or use a larger disk`;
  if (free < OUT_BYTES || bavail < blocks * OUT_SHARE) return SPACE.critical(found, next);
  if (free < LOW_BYTES || bavail < blocks * LOW_SHARE) return SPACE.warning(found, next);
  return SPACE.ok(found);
}

/** Warns below 10% free inodes; critical below 2%. A file system that reports no number creates inodes as they are needed. */
export function checkInodes(store: string, { files, ffree }: Room): Finding {
  if (files === 0) return INODES.ok('the file system creates them as they are needed');
  const found = `${ffree} of ${files} free (${percent(ffree, files)}) for "${store}"`;
  const next = 'use a file system made with more inodes (mkfs.ext4 -N), or XFS or Btrfs';
  if (ffree < files * OUT_SHARE) return INODES.critical(found, next);
  if (ffree < files * LOW_SHARE) return INODES.warning(found, next);
  return INODES.ok(found);
}
