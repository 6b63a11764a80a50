import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, it, type TestContext } from 'node:test';
import { examinePackages } from '../src/client/packages.ts';
import { type PutBackResult, putBack } from '../src/client/put-back.ts';
import { DebianSystem, NEEDS_DPKG } from './support/debian-system.ts';
import { diffManifests, manifest } from './support/manifest.ts';
import { scratch } from './support/scratch.ts';
import { says } from './support/wording.ts';

const NEVER = new AbortController().signal;
const FILES = {
  '/bin/tool': 'a program',
  '/usr/bin/setuid': 'a setuid program',
  '/usr/bin/changed': 'as the package has it',
  '/usr/bin/link': '-> tool',
  '/usr/bin/one [odd] name*': 'odd',
  '/usr/bin/removed': 'removed by the administrator',
  '/usr/share/tools/data': 'data',
  '/usr/share/tools/deep/er/data': 'more data',
  '/etc/tools.conf': 'the default',
};

/** A system whose files a backup with the list has left out, as it is restored. */
class Restored {
  readonly system: DebianSystem;
  readonly list: string;
  /** The folder of the restored system. */
  readonly folder: string;

  private constructor(base: string) {
    this.system = new DebianSystem(base);
    this.list = join(base, 'list');
    this.folder = join(base, 'restored', this.system.folder);
  }

  static async make(context: TestContext): Promise<Restored> {
    const made = new Restored(scratch(context));
    const { system, list, folder } = made;
    system.install(
      { name: 'tools', files: FILES, modes: { '/usr/bin/setuid': 0o4755 }, conffiles: ['/etc/tools.conf'] },
      { name: 'extra', files: { '/usr/bin/extra': 'extra' } },
    );
    system.offer('tools', 'extra');
    appendFileSync(system.path('usr/bin/changed'), '!');
    rmSync(system.path('usr/bin/removed'));
    await examinePackages({ system: system.folder, write: list }, NEVER);
    // rsync takes times of the same second for equal.
    const old = ['-exec', 'touch', '-h', '-d', '2026-02-03T04:05:06.789', '{}', '+'];
    execFileSync('find', [system.folder, '-type', 'd', ...old]);
    execFileSync('find', [system.path('bin'), ...old]);
    mkdirSync(folder, { recursive: true });
    // The patterns begin at the top of the machine, as in a backup.
    const top = folder.slice(0, -system.folder.length);
    execFileSync('rsync', ['-aHAX', '--relative', `--exclude-from=${list}`, `${system.folder}/`, `${top}/`]);
    return made;
  }

  async putBack(archives: string | null = this.system.archive): Promise<PutBackResult> {
    return await putBack({ system: this.folder, list: this.list, archives: archives ?? undefined }, NEVER);
  }

  /** The differences from the original, except the times of folders below one that is left out as a whole. */
  differences(): unknown[] {
    const folded = ['usr/share/tools/deep', 'usr/share/tools/deep/er'];
    const [before, after] = [this.system.folder, this.folder].map(each => manifest(each));
    assert.ok(before && after);
    for (const tree of [before, after]) for (const each of folded) delete tree.get(each)?.mtimeNs;
    return diffManifests(before, after);
  }
}

describe('putBack()', { skip: NEEDS_DPKG }, () => {
  let restored: Restored;
  beforeEach(async context => {
    restored = await Restored.make(context as TestContext);
  });

  it('names the packages that are needed, and changes nothing', async () => {
    const before = restored.differences();
    assert.ok(before.length > 5);
    const { needed } = await restored.putBack(null);
    assert.deepEqual(needed, [
      { version: 'extra=1.0-1', files: 1 },
      // With the two folders below tools.
      { version: 'tools=1.0-1', files: 8 },
    ]);
    assert.deepEqual(restored.differences(), before);
  });

  it('makes the system as it was, without the removed file, and has nothing to do a second time', async () => {
    const result = await restored.putBack();
    assert.deepEqual([result.needed, result.different, result.files], [[], [], 7]);
    assert.deepEqual(restored.differences(), []);
    assert.ok(!existsSync(join(restored.folder, 'usr/bin/removed')));
    assert.deepEqual(
      readdirSync(restored.folder).filter(each => each.startsWith('.')),
      [],
    );
    assert.deepEqual(await restored.putBack(), {
      manager: 'dpkg',
      needed: [],
      files: 0,
      bytes: 0,
      different: [],
      unplaced: [],
    });
  });

  it('does not replace a file that is there, and names a package without an archive', async () => {
    writeFileSync(join(restored.folder, 'usr/bin/tool'), 'of the administrator');
    const archive = readdirSync(restored.system.archive).find(each => each.startsWith('extra_'));
    rmSync(join(restored.system.archive, archive ?? ''));
    const { needed, files } = await restored.putBack();
    assert.deepEqual([needed, files], [[{ version: 'extra=1.0-1', files: 1 }], 5]);
    assert.equal(
      String(execFileSync('cat', [join(restored.folder, 'usr/bin/tool')])),
      'of the administrator',
    );
  });

  it('takes no file with another content than the database says', async context => {
    const other = new DebianSystem(scratch(context));
    other.install({ name: 'tools', files: { ...FILES, '/usr/bin/setuid': 'another program' } });
    const { different } = await restored.putBack(other.archive);
    assert.deepEqual(different, ['/usr/bin/setuid']);
    assert.ok(!existsSync(join(restored.folder, 'usr/bin/setuid')));
  });

  it('names an archive that is damaged, and leaves no folder of its own', async () => {
    const name = readdirSync(restored.system.archive).find(each => each.startsWith('tools_')) ?? '';
    const archive = join(restored.system.archive, name);
    truncateSync(archive, statSync(archive).size - 8192);
    await assert.rejects(restored.putBack(), { exit: 'failed', message: /tools_/ });
    assert.deepEqual(
      readdirSync(restored.folder).filter(each => each.startsWith('.')),
      [],
    );
  });

  it('reports files with a file in place of a folder above them', async () => {
    rmSync(join(restored.folder, 'usr/share'), { recursive: true });
    writeFileSync(join(restored.folder, 'usr/share'), '');
    const { files, unplaced } = await restored.putBack();
    assert.equal(files, 5);
    assert.ok(unplaced.includes('/usr/share/tools/data'), String(unplaced));
  });

  it('does not write through a link in place of a folder', async context => {
    const outside = scratch(context);
    rmSync(join(restored.folder, 'usr/share'), { recursive: true });
    symlinkSync(outside, join(restored.folder, 'usr/share'));
    const { unplaced } = await restored.putBack();
    assert.ok(unplaced.includes('/usr/share/tools/data'));
    assert.deepEqual(readdirSync(outside), []);
  });

  it('refuses a list of another kind, and a folder that does not exist', async () => {
    writeFileSync(restored.list, '*.o\n');
    await assert.rejects(restored.putBack(), { exit: 'usage', message: says('dialback-packages-has-not') });
    await assert.rejects(
      putBack({ system: restored.folder, list: restored.list, archives: '/nonexistent' }, NEVER),
      { exit: 'usage' },
    );
  });
});
