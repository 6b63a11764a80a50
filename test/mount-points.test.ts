import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { enumeratedFolders, scopeFilter, scopeRecords } from '../src/client/filter.ts';
import { findHung, lookExcept, mountTableText, sortMountPoints } from '../src/client/mount-points.ts';
import type { Entry } from '../src/client/never.ts';
import type { MountEntry } from '../src/os/mounts.ts';
import { stretch } from './support/fair-time.ts';
import { FailingMount, NEEDS_FUSE } from './support/fuse.ts';
import { NEEDS_ROOT } from './support/world.ts';

const mount = (path: string, type: string, root = '/'): MountEntry => ({
  path,
  root,
  device: '0:1',
  options: ['rw'],
  type,
});
const FOLDER: Entry = { uid: 7, gid: 8, mode: 0o40700, nlink: 2 };
const FILE: Entry = { uid: 0, gid: 0, mode: 0o100644, nlink: 1 };

describe('sortMountPoints()', () => {
  const sort = (table: MountEntry[], roots: string[], mode: 'local' | 'all' | 'one' = 'local') => {
    const looked: string[] = [];
    const found = sortMountPoints(table, mode, roots, path => {
      looked.push(path);
      return path.endsWith('file') ? FILE : FOLDER;
    });
    return { ...found, looked };
  };

  it('stores the folders of the kernel and of tmpfs as they are', () => {
    const table = [
      mount('/', 'ext4'),
      mount('/proc', 'proc'),
      mount('/run', 'tmpfs'),
      mount('/home', 'ext4'),
    ];
    assert.deepEqual(sort(table, ['/']).emptied, [{ path: '/proc' }, { path: '/run' }]);
    assert.deepEqual(sort(table, ['/'], 'one').emptied, [
      { path: '/home' },
      { path: '/proc' },
      { path: '/run' },
    ]);
  });

  it('looks at no mount point behind which a server or a program is, but at the folder above it', () => {
    for (const type of ['nfs4', 'fuse.sshfs', 'fuse.gvfsd-fuse', 'autofs', 'cifs']) {
      const { emptied, hidden, looked } = sort([mount('/', 'ext4'), mount('/home/me/x', type)], ['/home']);
      assert.deepEqual(emptied, [{ path: '/home/me/x', as: { mode: 0o755, uid: 7, gid: 8 } }], type);
      assert.deepEqual([hidden, looked], [[], ['/home/me']], type);
    }
  });

  it('hides what is no folder, what can be no folder, and what is in no root', () => {
    const table = [
      mount('/run/netns/file', 'nsfs', 'net:[1]'),
      mount('/srv/x', 'nfs', '/a/file'),
      mount('/sys', 'sysfs'),
    ];
    const { emptied, hidden } = sort(table, ['/run/netns', '/srv']);
    assert.deepEqual([emptied, hidden], [[], ['/run/netns/file', '/srv/x', '/sys']]);
  });

  it('tells which of the hidden can hang', () => {
    const table = [mount('/srv/x', 'nfs', '/a/file'), mount('/srv/y', 'tmpfs', '/file')];
    const { hidden, untouched } = sort(table, ['/srv']);
    assert.deepEqual([hidden, untouched], [['/srv/x'], ['/srv/x']]);
  });

  it('takes an automount point for what is mounted on it', () => {
    const table = [
      mount('/home', 'autofs'),
      mount('/home', 'ext4'),
      mount('/mnt', 'tmpfs'),
      mount('/mnt', 'xfs'),
    ];
    assert.deepEqual(sort(table, ['/']).emptied, []);
    assert.deepEqual(
      sort([...table, mount('/home', 'nfs')], ['/']).emptied.map(each => each.path),
      ['/home'],
    );
    // The kernel's own stay out, whatever hides them.
    assert.deepEqual(sort([mount('/x', 'proc'), mount('/x', 'ext4')], ['/']).emptied, [{ path: '/x' }]);
  });

  it('names only the outermost, and goes by what is mounted there last', () => {
    const table = [
      mount('/dev', 'devtmpfs'),
      mount('/dev/pts', 'devpts'),
      mount('/nas', 'autofs'),
      mount('/nas', 'nfs'),
    ];
    assert.deepEqual(
      sort(table, ['/']).emptied.map(each => each.path),
      ['/dev', '/nas'],
    );
  });
});

describe('lookExcept()', () => {
  it('looks at nothing at or below a mount point that hangs', () => {
    const look = lookExcept(['/a/b'], path => `saw ${path}`);
    assert.equal(look('/a/b'), 'EHOSTDOWN');
    assert.equal(look('/a/b/c'), 'EHOSTDOWN');
    assert.equal(look('/a'), 'saw /a');
    assert.equal(look('/a/bc'), 'saw /a/bc');
  });
});

describe('the table, the filter and the records of mount points', () => {
  it('have each path once, with a NUL behind each record', () => {
    const emptied = [{ path: '/a b' }, { path: '/n\nx', as: { mode: 0o755, uid: 1, gid: 2 } }];
    assert.equal(
      mountTableText({ emptied, hung: ['/dead'], untouched: ['/u'] }),
      'e /a b\0s 755 1 2 /n\nx\0f /dead\0f /u\0',
    );
    assert.equal(mountTableText({ emptied: [], hung: [], untouched: [] }), '');
  });
  it('store the folder, and nothing below it', () => {
    const scope = { roots: ['/'], never: ['/k'], excludes: ['x'], empty: ['/a[b'] };
    const lines = scopeFilter(scope).split('\n');
    assert.deepEqual(lines.slice(1), ['- /k', '- /k/**', '- /a\\[b/**', '- x', '- x/**', '']);
    assert.equal(scopeRecords(scope, []), 'mount /a[b\0root /\0never /k\0');
    assert.deepEqual(enumeratedFolders({ ...scope, never: [], empty: ['/a/b'] }), ['/', '/a']);
  });
});

describe('findHung()', { skip: NEEDS_ROOT || NEEDS_FUSE }, () => {
  it('finds the mounts that do not answer, and asks none that is left out', async () => {
    const top = mkdtempSync(join(tmpdir(), 'hung-'));
    const place = mkdtempSync(join(top, 'p'));
    const dead = await FailingMount.at(top, place, 'fuse.example', 'hang');
    try {
      const table = [mount('/', 'ext4'), mount(place, 'fuse.example'), mount('/proc', 'proc')];
      const paths = { needed: [top], roots: [top], left: [] };
      const patienceMs = (): number => 500 * stretch();
      assert.deepEqual(await findHung(table, paths, patienceMs()), [place]);
      assert.deepEqual(await findHung(table, { ...paths, left: [place] }, patienceMs()), []);
      const many = Array.from({ length: 500 }, (_, index) =>
        mount(`/${'x'.repeat(4_000)}${index}`, 'fuse.example'),
      );
      // These start 400 processes at once.
      assert.deepEqual(await findHung([...many, ...table], { ...paths, roots: ['/'] }, 4 * patienceMs()), [
        place,
      ]);
      const below = { needed: [`${place}/never`], roots: ['/proc'], left: [place] };
      assert.deepEqual(await findHung(table, below, patienceMs()), [place]);
    } finally {
      await dead.dispose();
      rmSync(top, { recursive: true });
    }
  });

  it('finds one whose name is no text', async () => {
    const top = mkdtempSync(join(tmpdir(), 'hung-'));
    const folder = join(top, 'folder');
    mkdirSync(join(folder, 'p'), { recursive: true });
    const dead = await FailingMount.at(top, join(folder, 'p'), 'fuse.example', 'hang');
    // The folder above gets such a name: mount(8) of an older util-linux would look at what it mounts there, and never come back.
    const odd = Buffer.concat([Buffer.from(`${top}/`), Buffer.from([0xe4])]);
    renameSync(folder, odd);
    try {
      const path = `${odd.toString('latin1')}/p`;
      const table = [mount('/', 'ext4'), mount(path, 'fuse.example')];
      assert.deepEqual(await findHung(table, { needed: [], roots: [top], left: [] }, 500), [path]);
    } finally {
      renameSync(odd, folder);
      await dead.dispose();
      rmSync(top, { recursive: true });
    }
  });
});
