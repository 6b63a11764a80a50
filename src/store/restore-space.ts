/**
 * Whether there is room for a restore, before it writes anything: bytes and inodes, on DIR's file system and on every other
 * one that is mounted below DIR. What is asked for is the least that must fit: a restore that would fit is never refused.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { lstat, realPath, statfs } from '../os/files.ts';
import { isWithin, type MountEntry, mountOf, mountTableInBytes } from '../os/mounts.ts';
import { standard } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { asText, escapeText } from '../wire/text.ts';
import { below } from './manifest.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { sortedRecords } from './sorted-find.ts';

/** Bytes and inodes that are needed, or free. */
interface Amount {
  bytes: number;
  inodes: number;
}

/** find's -printf: inode, blocks of 512 bytes, size, type, path. */
const FORMAT = '%i %b %s %y %p\\0';
/** A folder, a symlink and, on some file systems, a small file need no block of their own. */
const INLINE_BYTES = 160;

/**
 * @param target where: the nearest folder that is there; isMerge: whether DIR has something in it; freed: what is removed
 *   before anything is written
 * @throws Fault `noSpace` that names the file system
 */
export async function requireRoom(
  selection: Selection,
  target: { to: string; where: string; isMerge: boolean; freed: string[] },
  signal: AbortSignal,
): Promise<void> {
  const { to, where, isMerge, freed } = target;
  const folder = realPath(where);
  const top = Buffer.from(folder).toString('latin1'); // as the table of mounts has paths: a character a byte
  const mounts = isMerge ? mountsBelow(top) : [];
  const needs = new Map<string, Amount>([[top, { bytes: 0, inodes: 0 }]]);
  const { tree } = selection.snapshot;
  for (const { paths = [Buffer.alloc(0)], depth } of passesOf(selection))
    for await (const entry of usageOf(tree, paths, depth, signal)) {
      add(needs, top, entry); // everything is staged in DIR first
      const mount = mountOf(mounts, `${top}/${entry.path.toString('latin1')}`)?.path;
      if (mount !== undefined) addMerged(needs, mount, entry, below(folder, entry.path));
    }
  const free = { bytes: 0, inodes: 0 };
  for (const each of freed)
    for await (const { bytes } of usageOf(each, [Buffer.alloc(0)], undefined, signal)) {
      free.bytes += bytes;
      free.inodes += 1;
    }
  for (const [place, need] of needs) {
    const found = lackOn(place, need, place === top ? free : { bytes: 0, inodes: 0 });
    if (found === undefined) continue;
    throw new Fault({
      tried: `restore to "${escapeText(to)}"`,
      found,
      next: 'restore to a folder on another file system, or a part: name PATHs',
      exit: 'noSpace',
    });
  }
}

function mountsBelow(top: string): MountEntry[] {
  return mountTableInBytes().filter(each => each.path !== top && isWithin(top, each.path));
}

interface Usage extends Amount {
  path: Buffer;
  /** With its holes. */
  size: number;
}

function add(needs: Map<string, Amount>, place: string, { bytes }: Pick<Amount, 'bytes'>): void {
  const need = needs.get(place) ?? { bytes: 0, inodes: 0 };
  need.bytes += bytes;
  need.inodes += 1;
  needs.set(place, need);
}

/** What is replaced gives its room back. rsync copies there without holes, since it cannot link (copy_file() in its util1.c). */
function addMerged(needs: Map<string, Amount>, mount: string, { size: bytes }: Usage, path: Buffer): void {
  const need = needs.get(mount) ?? { bytes: 0, inodes: 0 };
  needs.set(mount, need);
  try {
    const found = lstat(path);
    need.bytes += bytes - Math.min(bytes, found.blocks * 512);
  } catch {
    need.bytes += bytes;
    need.inodes += 1;
  }
}

/** Every inode once, however many names it has. */
async function* usageOf(
  folder: string,
  paths: readonly Buffer[],
  depth: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<Usage> {
  const limit = depth === undefined ? [] : ['-maxdepth', String(depth)];
  const find = ['-0', '-I{}', programPath('find'), '-P', '{}', ...limit, '-printf', FORMAT];
  const input = Buffer.concat(paths.map(path => Buffer.concat([Buffer.from('./'), path, Buffer.from([0])])));
  const finder = { ...standard('xargs', find), cwd: folder };
  const options = {
    order: ['-u', '-k', '1,1n'],
    input,
    // What cannot be measured may still fit.
    complain: () => {},
    signal,
    tried: `measure "${folder}"`,
  };
  for await (const record of sortedRecords(finder, options)) {
    const found = /^\d+ (\d+) (\d+) (\S) \.\/?(.*)$/s.exec(record.toString('latin1'));
    if (!found) continue;
    const [blocks, size] = [Number(found[1]), Number(found[2])];
    const isSmall = found[3] === 'd' || size <= INLINE_BYTES;
    const path = Buffer.from(found[4] ?? '', 'latin1');
    yield { bytes: isSmall ? 0 : Math.min(blocks * 512, size), inodes: 1, path, size: isSmall ? 0 : size };
  }
}

/** @returns what there is too little of, in words; undefined: there is enough */
function lackOn(place: string, need: Amount, freed: Amount): string | undefined {
  const name = asText(place);
  const { bsize, bfree, bavail, files, ffree } = statfs(Buffer.from(place, 'latin1'));
  const bytes = (ownAccount().uid === 0 ? bfree : bavail) * bsize + freed.bytes;
  const inodes = ffree + freed.inodes;
  const on = `on the file system of "${escapeText(name)}"`;
  if (need.bytes > bytes) return `it needs ${inMiB(need.bytes)} MiB ${on}, and ${inMiB(bytes)} MiB are free`;
  // Some file systems make inodes as they need them, and tell none.
  if (files > 0 && need.inodes > inodes)
    return `it needs ${need.inodes} inodes ${on}, and ${inodes} are free`;
  return undefined;
}

function inMiB(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
