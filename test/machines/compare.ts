/**
 * Runs in a test machine. It compares the content of a store with the files that were backed up, and prints one line of JSON
 * (`Comparison`). `node compare.ts STORE CLIENT [FROM]`; of snapshots older than FROM only the record is read. The files
 * themselves are on a read-only disk, so they are what they were.
 *
 * In a store every inode is a plain file or a folder: a symlink is a file that holds its target, and owner and mode are in
 * the xattr user.rsync.%stat.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** A tree in the store beside the folders that were backed up into it. */
export interface TreeComparison {
  name: string;
  /** SHA-256 of snapshot.json; null in an interrupted tree. */
  record: string | null;
  /** Entries that the client has. */
  entries: number;
  missing: string[];
  /** Content, type, time, owner or mode; each with what it is. */
  different: string[];
  extra: string[];
  /** Files of the same size and time with other content: the next run would take them for unchanged. */
  deceptive: string[];
}

export interface Comparison {
  snapshots: TreeComparison[];
  arriving: TreeComparison[];
}

/** The results of inodes that were already compared with a path of the client, since snapshots share most inodes. */
const compared = new Map<string, boolean>();

function main([store = '', client = '', from = '']: string[]): void {
  const folder = join(store, 'clients', client);
  const listed = (name: string): string[] => readdirSync(join(folder, name)).sort();
  const snapshots = listed('snapshots').map(name => {
    const text = readFileSync(join(folder, 'snapshots', name, 'snapshot.json'));
    const {
      client: of,
      snapshot,
      state,
      scope,
    } = JSON.parse(text.toString()) as Record<string, unknown> & {
      scope: { roots: string[] };
    };
    const roots = name < from ? [] : scope.roots;
    const found = compareTree(join(folder, 'snapshots', name, 'tree'), name, roots);
    if (of !== client || snapshot !== name || state !== 'full')
      found.different.push(`snapshot.json: ${of} ${snapshot} ${state}`);
    return { ...found, record: createHash('sha256').update(text).digest('hex') };
  });
  const arriving = listed('arriving').map(name => {
    const tree = join(folder, 'arriving', name, 'tree');
    const roots = '/mnt/with/data';
    return compareTree(
      tree,
      name,
      namesIn(tree + roots).map(each => join(roots, each)),
    );
  });
  const comparison: Comparison = { snapshots, arriving };
  process.stdout.write(`${JSON.stringify(comparison)}\n`);
}

function compareTree(tree: string, name: string, roots: string[]): TreeComparison {
  const found: TreeComparison = {
    name,
    record: null,
    entries: 0,
    missing: [],
    different: [],
    extra: [],
    deceptive: [],
  };
  const owners = roots.length > 0 ? readOwners(tree) : new Map<string, string>();
  for (const root of roots) compareEntry(found, tree, root, owners);
  return found;
}

function compareEntry(found: TreeComparison, tree: string, path: string, owners: Map<string, string>): void {
  const theirs = lstatSync(path, { bigint: true });
  const stored = tree + path;
  found.entries += 1;
  let ours: BigIntStats;
  try {
    ours = lstatSync(stored, { bigint: true });
  } catch {
    found.missing.push(path);
    return;
  }
  const words: string[] = [];
  const kind = (each: BigIntStats): string =>
    each.isDirectory() ? 'folder' : each.isFile() || each.isSymbolicLink() ? 'file' : 'special';
  if (kind(theirs) !== kind(ours) || ours.isSymbolicLink()) words.push('type');
  else if (theirs.isDirectory()) compareFolder(found, tree, path, owners);
  else if (!isSameContent(path, theirs, stored, ours)) {
    words.push(ours.blocks === 0n ? 'content (no blocks)' : 'content');
    if (theirs.size === ours.size && theirs.mtimeNs === ours.mtimeNs) found.deceptive.push(path);
  }
  if (theirs.mtimeNs !== ours.mtimeNs) words.push('time');
  const owner = `${theirs.mode.toString(8)} 0,0 ${theirs.uid}:${theirs.gid}`;
  if (owners.get(stored) !== owner) words.push(`owner or mode (${owners.get(stored)})`);
  if (words.length > 0) found.different.push(`${path}: ${words.join(', ')}`);
}

function compareFolder(found: TreeComparison, tree: string, path: string, owners: Map<string, string>): void {
  const names = new Set(namesIn(path));
  for (const name of names) compareEntry(found, tree, join(path, name), owners);
  for (const name of namesIn(tree + path)) if (!names.has(name)) found.extra.push(join(path, name));
}

function isSameContent(path: string, theirs: BigIntStats, stored: string, ours: BigIntStats): boolean {
  const key = `${ours.ino} ${path}`;
  const known = compared.get(key);
  if (known !== undefined) return known;
  const content = theirs.isSymbolicLink() ? Buffer.from(readlinkSync(path)) : readFileSync(path);
  const isSame = content.equals(readFileSync(stored));
  compared.set(key, isSame);
  return isSame;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** @returns user.rsync.%stat of every path that has it */
function readOwners(tree: string): Map<string, string> {
  const args = ['-R', '-h', '--absolute-names', '-n', 'user.rsync.%stat', tree];
  // Files without it are errors for getfattr. They show as differences.
  const text = execFileSync('/bin/sh', ['-c', 'getfattr "$@" 2>/dev/null || true', 'sh', ...args], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  });
  const pairs = [...text.matchAll(/^# file: (.*)\nuser\.rsync\.%stat="(.*)"$/gm)];
  return new Map(pairs.map(([, path = '', value = '']) => [path, value]));
}

if (import.meta.main) main(process.argv.slice(2));
