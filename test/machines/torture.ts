/**
 * Runs in a test machine. `node torture.ts make FOLDER` makes a tree with everything that a backup must give back;
 * `node torture.ts compare A B` prints the differences in B, and exits with 1 if there are any; `node torture.ts list FOLDER` prints a
 * line for each entry, without the sparse ranges, which rsync makes in more files.
 */
import { diffManifests, manifest } from '../support/manifest.ts';
import { makeTortureTree } from '../support/tree.ts';

const [verb, one = '', other = ''] = process.argv.slice(2);
if (verb === 'make') {
  const { counts, missing } = makeTortureTree(one, { asRoot: true });
  console.log(`${counts.entries} entries`);
  for (const { what, reason } of missing) console.log(`missing: ${what}: ${reason}`);
} else if (verb === 'compare') {
  const [before, after] = [manifest(one), manifest(other)];
  const differences = diffManifests(before, after);
  console.log(`${before.size} entries, ${differences.length} differences`);
  for (const line of differences.slice(0, 20)) console.log(line);
  process.exitCode = differences.length > 0 ? 1 : 0;
} else if (verb === 'list') {
  const lines: string[] = [];
  for (const [path, { xattrs = new Map(), ...entry }] of manifest(one, {
    without: ['holes', 'xattr:trusted.'],
  }))
    lines.push(
      `${path}\t${JSON.stringify({ ...entry, xattrs: [...xattrs].sort() }, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}`,
    );
  console.log(lines.join('\n'));
} else {
  console.error('usage: torture.ts make FOLDER | compare A B | list FOLDER');
  process.exitCode = 2;
}
