// Goal: a damaged directory entry beside a `never`, on the way to it, or in its place does not stop the backup: the entry is
// named as missing (or kept back, where `never` names it), and the rest is saved.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { type Done, NEEDS_ROOT, World } from '../../support/world.ts';

describe('a damaged entry', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let disk: string;
  let isMounted = false;

  before(async () => {
    world = await World.make({ launcher: true });
    disk = join(world.data, 'a disk');
    const image = join(world.base, 'image');
    mkdirSync(disk);
    execFileSync('/usr/bin/truncate', ['-s', '32M', image]);
    execFileSync('mkfs.ext4', ['-q', image]);
    const mount = (options: string): void => {
      execFileSync('mount', ['-o', options, image, disk]);
      isMounted = true;
    };
    mount('loop');
    for (const folder of ['kept', 'damaged folder']) {
      mkdirSync(join(disk, folder));
      writeFileSync(join(disk, folder, 'file'), folder);
    }
    for (const name of ['good', 'damaged']) writeFileSync(join(disk, name), name);
    execFileSync('umount', [disk]);
    isMounted = false;
    for (const name of ['/damaged', '"/damaged folder"'])
      execFileSync('/usr/sbin/debugfs', ['-w', '-R', `clri ${name}`, image], { stdio: 'pipe' });
    mount('loop,errors=continue');
    // EUCLEAN, a name that node does not know.
    assert.throws(() => lstatSync(join(disk, 'damaged')), { errno: -117 });
    assert.throws(() => lstatSync(join(disk, 'damaged folder')), { errno: -117 });
  });
  after(async () => {
    if (isMounted) execFileSync('umount', [disk]);
    await world.dispose();
  });

  const has = ({ snapshot }: Done, name: string): boolean =>
    existsSync(join(world.tree(snapshot ?? ''), disk, name));

  async function checkRun(never: string[], missing: string[]): Promise<Record<string, unknown>[]> {
    const list = never.map(name => JSON.stringify(join(disk, name))).join(', ');
    world.configure({ scope: `roots = ["${world.data}"]\nnever = [${list}]` });
    const { status, last, stdout, stderr } = await world.backup();
    assert.equal(status, missing.length === 0 ? 0 : 3, stdout + stderr);
    assert.deepEqual([...last.missing].sort(), missing.map(name => join(disk, name)).sort());
    assert.ok(has(last, 'good'));
    assert.ok(!has(last, 'kept'));
    return stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
      .filter(each => each.event === 'warning');
  }

  it('beside a never is named as missing', async () => {
    assert.deepEqual(await checkRun(['kept'], ['damaged', 'damaged folder']), []);
  });

  it('that never names, or on the way to what it names, is kept back, and told of', async () => {
    const warnings = await checkRun(['kept', 'damaged', 'damaged folder/file'], ['damaged folder']);
    assert.deepEqual(
      warnings.map(each => [each.code, /"([^"]*)"/.exec(String(each.message))?.[1]]),
      [
        ['never', join(disk, 'damaged')],
        ['never', join(disk, 'damaged folder/file')],
      ],
    );
  });
});
