/**
 * Checks before a restore that there is room: bytes and inodes, on DIR's file system and on every other one that is
 * mounted below DIR. It asks for the least that is needed, so a restore that would fit is never refused.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { lstat, realPath, statfs } from '../os/files.ts';
import { isWithin, type MountEntry, mountOf, mountTableInBytes } from '../os/mounts.ts';
import { standard } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { asText, escapeText } from '../wire/text.ts';
import { BLOCK_BYTES, splitRecord } from './find-records.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { sortedRecords } from './sorted-find.ts';
import { joinPath } from './tree-path.ts';

/** Bytes and inodes, needed or free. */
interface Amount {
  bytes: number;
  inodes: number;
}

const FIELDS = ['%i', '%b', '%s', '%y'];
/** A folder, a symlink and, on some file systems, a small file need no block of their own. */
const INLINE_BYTES = 160;

/**
 * @param target where: the nearest existing folder; isMerge: whether DIR has entries; freed: folders to remove before
 *   anything is written
 * @throws Fault `noSpace` that names the file system
 */
export async function requireRoom(
  selection: Selection,
  target: { to: string; where: string; isMerge: boolean; freed: string[] },
  signal: AbortSignal,
): Promise<void> {
  const { to, where, isMerge, freed } = target;
  const folder = realPath(where);
  const top = Buffer.from(folder).toString('latin1'); // the table of mounts has one character per byte
  const table = mountTableInBytes();
  const mounts = isMerge ? table.filter(each => each.path !== top && isWithin(top, each.path)) : [];
  const needs = new Map<string, Amount>([[top, { bytes: 0, inodes: 0 }]]);
  const { tree } = selection.snapshot;
  for (const { paths = [Buffer.alloc(0)], depth } of passesOf(selection))
    for await (const entry of usageOf(tree, paths, depth, signal)) {
      add(needs, top, entry); // everything is staged in DIR first
      const mount = mountOf(mounts, `${top}/${entry.path.toString('latin1')}`)?.path;
      if (mount !== undefined) addMerged(needs, mount, entry, joinPath(folder, entry.path));
    }
  const free = { bytes: 0, inodes: 0 };
  for (const each of freed)
    for await (const { bytes } of usageOf(each, [Buffer.alloc(0)], undefined, signal)) {
      free.bytes += bytes;
      free.inodes += 1;
    }
  for (const [place, need] of addUp(needs, table)) {
    const found = lackOn(place, need, place === top ? free : { bytes: 0, inodes: 0 });
    if (found === undefined) continue;
    throw new Fault({
      tried: `restore to "${escapeText(to)}"`,
      found,
      next: 'restore to another file system, or name PATHs to restore a part',
      exit: 'noSpace',
    });
  }
}

/**
 * Adds up the needs on the mounts of one file system. rsync cannot link from the stage to another mount of DIR's own file
 * system, such as a bind mount or a subvolume of Btrfs (link(2), EXDEV). It copies, and both copies need room.
 */
function addUp(needs: ReadonlyMap<string, Amount>, table: readonly MountEntry[]): Map<string, Amount> {
  const sums = new Map<string, { place: string; need: Amount }>();
  for (const [place, need] of needs) {
    const device = mountOf(table, place)?.device ?? place;
    const sum = sums.get(device)?.need ?? { bytes: 0, inodes: 0 };
    const { bytes, inodes } = { bytes: sum.bytes + need.bytes, inodes: sum.inodes + need.inodes };
    sums.set(device, { place: sums.get(device)?.place ?? place, need: { bytes, inodes } });
  }
  return new Map([...sums.values()].map(each => [each.place, each.need]));
}

interface Usage extends Amount {
  path: Buffer;
  /** Including unallocated parts. */
  size: number;
}

function add(needs: Map<string, Amount>, place: string, { bytes }: Pick<Amount, 'bytes'>): void {
  const need = needs.get(place) ?? { bytes: 0, inodes: 0 };
  need.bytes += bytes;
  need.inodes += 1;
  needs.set(place, need);
}

/**
 * A replaced file gives its room back. rsync writes sparse files in full here, since it cannot link (copy_file() in
 * its util1.c).
 */
function addMerged(needs: Map<string, Amount>, mount: string, { size: bytes }: Usage, path: Buffer): void {
  const need = needs.get(mount) ?? { bytes: 0, inodes: 0 };
  needs.set(mount, need);
  try {
    const found = lstat(path);
    need.bytes += bytes - Math.min(bytes, found.blocks * BLOCK_BYTES);
  } catch {
    need.bytes += bytes;
    need.inodes += 1;
  }
}

/** Lists every inode once, however many names it has. */
async function* usageOf(
  folder: string,
  paths: readonly Buffer[],
  depth: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<Usage> {
  const limit = depth === undefined ? [] : ['-maxdepth', String(depth)];
  const find = [
    '-0',
    '-I{}',
    programPath('find'),
    '-P',
    '{}',
    ...limit,
    '-printf',
    `${FIELDS.join(' ')} %p\\0`,
  ];
  const input = Buffer.concat(paths.map(path => Buffer.concat([Buffer.from('./'), path, Buffer.from([0])])));
  const finder = { ...standard('xargs', find), cwd: folder };
  const options = {
    order: ['-u', '-k', '1,1n'],
    input,
    // A file that cannot be measured may still fit.
    complain: () => {},
    signal,
    tried: `measure "${folder}"`,
  };
  for await (const record of sortedRecords(finder, options)) {
    const { fields, name } = splitRecord(record, FIELDS.length);
    const [blocks, size] = [Number(fields[1]), Number(fields[2])];
    const isSmall = fields[3] === 'd' || size <= INLINE_BYTES;
    const bytes = isSmall ? 0 : Math.min(blocks * BLOCK_BYTES, size);
    // find prints `.` or `./PATH`.
    yield { bytes, inodes: 1, path: name.subarray('./'.length), size: isSmall ? 0 : size };
  }
}

/** @returns a sentence about the lack; undefined if there is enough */
function lackOn(place: string, need: Amount, freed: Amount): string | undefined {
  const name = asText(place);
  const { bsize, bfree, bavail, files, ffree } = statfs(Buffer.from(place, 'latin1'));
  const bytes = (ownAccount().uid === 0 ? bfree : bavail) * bsize + freed.bytes;
  const inodes = ffree + freed.inodes;
  const on = `on the file system of "${escapeText(name)}"`;
  if (need.bytes > bytes) return `it needs ${inMiB(need.bytes)} MiB ${on}, and ${inMiB(bytes)} MiB are free`;
  // Some file systems make inodes when they need them, and report none.
  if (files > 0 && need.inodes > inodes)
    return `it needs ${need.inodes} inodes ${on}, and ${inodes} are free`;
  return undefined;
}

function inMiB(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
