import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { dpkg } from '../src/client/dpkg.ts';
import type { PackageDatabase } from '../src/client/package-database.ts';
import { findPackagedFiles, type PackagedFiles } from '../src/client/packaged-files.ts';
import { examinePackages } from '../src/client/packages.ts';
import { DebianSystem, NEEDS_DPKG } from './support/debian-system.ts';
import { scratch } from './support/scratch.ts';
import { says } from './support/wording.ts';

const NEVER = new AbortController().signal;

const TOOLS = {
  name: 'tools',
  files: {
    '/bin/tool': 'a program',
    '/usr/bin/setuid': 'a setuid program',
    '/usr/bin/changed': 'as the package has it',
    '/usr/bin/modes': 'mode',
    '/usr/bin/owned': 'owner',
    '/usr/bin/capable': 'capability',
    '/usr/bin/acl': 'acl',
    '/usr/bin/diverted': 'diverted',
    '/usr/bin/override': 'override',
    '/usr/bin/one': 'one inode',
    '/usr/bin/two': '= /usr/bin/one',
    '/usr/bin/touched': 'time',
    '/usr/bin/removed': 'removed',
    '/usr/bin/replaced': '-> tool',
    '/usr/bin/link': '-> tool',
    '/usr/share/tools/data': 'data',
    '/usr/share/elsewhere/folder': '-> ../tools',
    '/usr/share/tools/more/data': 'more data',
    '/usr/share/doc/tools/copyright': 'copyright',
    '/etc/tools.conf': 'the default',
  },
  modes: { '/usr/bin/setuid': 0o4755 },
  conffiles: ['/etc/tools.conf'],
};

function makeSystem(base: string): DebianSystem {
  const system = new DebianSystem(base);
  system.install(TOOLS, { name: 'local', files: { '/usr/bin/local': 'in no package source' } });
  system.offer('tools');
  return system;
}

async function readDatabase({ folder }: DebianSystem): Promise<PackageDatabase> {
  const at = { system: folder, database: join(folder, 'var/lib/dpkg/status') };
  return await dpkg.read(at, NEVER, { policy: true });
}

async function examine(system: DebianSystem): Promise<PackagedFiles> {
  return await findPackagedFiles(await readDatabase(system), system.folder, NEVER);
}

const reasonOf = ({ kept }: PackagedFiles, path: string): string | undefined =>
  [...kept].find(([, { examples }]) => examples.includes(path))?.[0];

describe('findPackagedFiles()', { skip: NEEDS_DPKG }, () => {
  let path: (inside: string) => string;
  let found: PackagedFiles;
  const base = mkdtempSync(`${tmpdir()}/dialback test `);
  after(() => rmSync(base, { recursive: true, force: true }));
  before(async () => {
    const system = makeSystem(base);
    path = inside => system.path(inside);
    appendFileSync(path('usr/bin/changed'), '!');
    utimesSync(path('usr/bin/changed'), 1767323045, 1767323045);
    chmodSync(path('usr/bin/modes'), 0o755);
    execFileSync('chown', ['1:1', path('usr/bin/owned')]);
    execFileSync('setcap', ['cap_net_raw=ep', path('usr/bin/capable')]);
    execFileSync('setfacl', ['-m', 'u:1:r', path('usr/bin/acl')]);
    utimesSync(path('usr/bin/touched'), 1, 1);
    rmSync(path('usr/bin/removed'));
    rmSync(path('usr/bin/replaced'));
    execFileSync('ln', ['-s', 'tool', path('usr/bin/replaced')]);
    const admin = `--admindir=${path('var/lib/dpkg')}`;
    execFileSync('dpkg-statoverride', [admin, '--add', 'root', 'root', '0644', '/usr/bin/override']);
    writeFileSync(path('var/lib/dpkg/diversions'), '/usr/bin/diverted\n/usr/bin/diverted.real\n:\n');
    found = await examine(system);
  });

  it('takes files and links that nobody has changed, by their real path', () => {
    const proven = [...found.proven.keys()].sort();
    assert.deepEqual(proven, [
      '/usr/bin/link',
      '/usr/bin/setuid',
      '/usr/bin/tool',
      '/usr/share/doc/tools/copyright',
      '/usr/share/tools/data',
      '/usr/share/tools/more/data',
    ]);
    assert.equal(found.proven.get('/usr/bin/tool'), 'a program'.length);
  });

  const kept: [path: string, reason: string][] = [
    ['/etc/tools.conf', 'conffile'],
    ['/usr/bin/diverted', 'diverted'],
    ['/usr/bin/override', 'overridden'],
    ['/usr/bin/one', 'linked'],
    ['/usr/bin/two', 'linked'],
    ['/usr/bin/owned', 'owner'],
    ['/bin', 'folderLink'],
    ['/usr/share/elsewhere/folder', 'folderLink'],
    ['/usr/bin/local', 'unoffered'],
  ];
  for (const [path, reason] of kept)
    it(`keeps ${path}: ${reason}`, () => assert.equal(reasonOf(found, path), reason));

  it('keeps each file whose change time is later than the installation, whatever was changed', () => {
    // Content with the old time, mode, time, link, capability and ACL: each of them sets the change time.
    assert.equal(found.kept.get('changed')?.files, 6);
    for (const name of ['changed', 'modes', 'touched', 'replaced', 'capable', 'acl'])
      assert.ok(!found.proven.has(`/usr/bin/${name}`), name);
  });

  it('knows which paths are missing, and which folders dpkg would make again', () => {
    assert.deepEqual([...found.missing], ['/usr/bin/removed']);
    for (const folder of ['/usr/share/tools', '/usr/share/tools/more', '/usr/share/doc/tools'])
      assert.ok(found.plainFolders.has(folder), folder);
  });
});

describe('findPackagedFiles() where the change time says nothing', { skip: NEEDS_DPKG }, () => {
  it('compares contents, attributes and owners', async context => {
    const system = makeSystem(scratch(context));
    appendFileSync(system.path('usr/bin/changed'), '!');
    execFileSync('setcap', ['cap_net_raw=ep', system.path('usr/bin/capable')]);
    execFileSync('setfacl', ['-m', 'u:1:r', system.path('usr/bin/acl')]);
    execFileSync('setfacl', ['-m', 'u:1:r', system.path('usr/share/tools/more')]);
    const database = await readDatabase(system);
    for (const each of database.packages) each.unpackedNs = 2n ** 62n;
    const found = await findPackagedFiles(database, system.folder, NEVER);
    assert.equal(reasonOf(found, '/usr/bin/changed'), 'content');
    assert.deepEqual(found.kept.get('attributes')?.examples.sort(), ['/usr/bin/acl', '/usr/bin/capable']);
    assert.ok(!found.plainFolders.has('/usr/share/tools/more'));
    assert.ok(found.proven.has('/usr/bin/modes'));
  });
});

describe('examinePackages()', { skip: NEEDS_DPKG }, () => {
  it('has one pattern for a folder in which all can be put back, and none for one with a file of another kind', async context => {
    const system = makeSystem(scratch(context));
    const patterns = async (): Promise<string[]> =>
      (await examinePackages({ system: system.folder, write: undefined }, NEVER)).patterns.map(each =>
        each.pattern.slice(system.folder.length),
      );
    assert.ok((await patterns()).includes('/usr/share/tools/*'));
    writeFileSync(system.path('usr/share/tools/more/extra'), 'of no package');
    const after = await patterns();
    assert.ok(!after.includes('/usr/share/tools/*'));
    assert.ok(after.includes('/usr/share/tools/data'));
    assert.ok(after.includes('/usr/share/tools/more/data'));
  });

  it('refuses a folder without a package manager, and one with an unknown one, by name', async context => {
    const folder = scratch(context);
    const refused = (next: RegExp) => ({ exit: 'usage', message: next });
    const run = async (system: string) => await examinePackages({ system, write: undefined }, NEVER);
    await assert.rejects(run(folder), refused(says('there-is-no-database')));
    await assert.rejects(run(`${folder}/absent`), refused(/no such folder/));
    mkdirSync(`${folder}/other/lib/apk/db`, { recursive: true });
    await assert.rejects(run(`${folder}/other`), refused(/apk manages/));
  });
});
