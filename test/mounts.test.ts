import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { inText, isWithin, mountOf, namesByMounts, otherNames, parseMountTable } from '../src/os/mounts.ts';

/** As the kernel writes it: a real-looking table. */
const SEEN = `22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
23 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
24 27 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=8148732k
25 24 0:22 / /dev/pts rw,nosuid,noexec,relatime shared:3 - devpts devpts rw,gid=5
26 27 0:23 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw,size=1634812k
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
30 27 259:3 / /home rw,relatime - ext4 /dev/nvme0n1p3 rw
31 30 0:50 / /home/me/my\\040files rw,relatime shared:9 master:1 - fuse.sshfs me@there:/a\\040-\\040b rw
32 27 0:51 / /mnt/tab\\011new\\012line\\134back\\043hash rw - nfs4 there:/x rw
33 27 0:52 / /media/usb rw - vfat /dev/sda1 rw
34 27 0:53 /sub /srv/bound rw - ext4 /dev/nvme0n1p2 rw
35 27 0:54 / /var/lib/docker/ä rw - overlay overlay rw
36 27 0:23 / /home/chroot/proc rw - proc proc rw
37 27 0:55 / /homely rw - tmpfs tmpfs rw
38 26 0:23 / /run rw - tmpfs tmpfs rw`;

describe('parseMountTable()', () => {
  it('tells who mounted a file system of FUSE, where it is not root', () => {
    const line = (type: string, options: string): string => `40 27 0:60 / /x rw - ${type} a ${options}`;
    const user = (type: string, options: string) => parseMountTable(line(type, options))[0]?.user;
    assert.equal(user('fuse.sshfs', 'rw,user_id=1000,group_id=0'), 1000);
    assert.equal(user('fuse.sshfs', 'rw,user_id=0,group_id=0'), undefined);
    assert.equal(user('ext4', 'rw,user_id=1000'), undefined);
    assert.equal(user('fuseblk', 'rw,no_user_id=7'), undefined);
  });

  it('reads path, type and device of a real-looking table, with octal escapes and optional fields', () => {
    const mounts = parseMountTable(`${SEEN}\n`);
    assert.equal(mounts.length, 15);
    const { path, root, device, options, type } = mounts[7] ?? assert.fail();
    assert.deepEqual([path, root, device, type], ['/home/me/my files', '/', '0:50', 'fuse.sshfs']);
    assert.deepEqual(options, ['rw', 'relatime']);
    assert.equal(mounts[10]?.root, '/sub');
    assert.deepEqual(mounts[8]?.path, '/mnt/tab\tnew\nline\\back#hash');
    assert.deepEqual(mounts[11]?.path, '/var/lib/docker/ä');
  });

  it("reads this machine's own table whole", () => {
    const text = readFileSync('/proc/self/mountinfo', 'utf8');
    const mounts = parseMountTable(text);
    assert.equal(mounts.length, text.trimEnd().split('\n').length);
    for (const { path, type, device } of mounts) {
      assert.match(path, /^\//);
      assert.match(type, /^[a-z0-9._-]+$/i);
      assert.match(device, /^\d+:\d+$/);
    }
  });

  it('leaves out lines that it does not understand, and never throws', () => {
    for (const text of [
      '',
      '\n\n',
      'x',
      ' - ',
      '1 2 3:4 / /x',
      '1 2 3:4 - ext4',
      'a b c - d',
      '1 2 3:4 / /x - ext4',
    ])
      assert.deepEqual(parseMountTable(text), [], text);
    fc.assert(fc.property(fc.string(), text => void parseMountTable(text)));
  });

  it('keeps bytes that are not UTF-8', () => {
    const [mount] = parseMountTable('1 0 8:1 /\\377 /a\\303\\244\\376 rw - ext4 /dev/sda1 rw');
    assert.deepEqual([mount?.path, mount?.root], ['/a\u00c3\u00a4\u00fe', '/\u00ff']);
  });
});

describe('inText()', () => {
  it('gives names as text, and changes nothing else', () => {
    const [bytes] = parseMountTable('1 0 8:1 /x\\303\\244 /\u00c3\u00a4 rw - ext4 /dev/sda1 rw');
    assert.deepEqual(inText(bytes ? [bytes] : []), [{ ...bytes, path: '/ä', root: '/xä' }]);
  });
});

describe('isWithin()', () => {
  const cases: [string, string, boolean][] = [
    ['/', '/', true],
    ['/', '/a', true],
    ['/a', '/a', true],
    ['/a', '/a/b', true],
    ['/a', '/ab', false],
    ['/a', '/', false],
    ['/a/b', '/a', false],
    ['/a', '/b/a', false],
    ['/a', '/A', false],
  ];
  for (const [folder, path, expected] of cases)
    it(`is ${expected} when ${path} is asked for in ${folder}`, () =>
      assert.equal(isWithin(folder, path), expected));
});

const MOUNTINFO = `22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 8:1 /srv/data /export/data rw - ext4 /dev/sda1 rw
25 22 8:2 / /home rw,nosuid shared:1 - ext4 /dev/sda2 rw
26 22 8:2 /anna/my\\040files /mnt/bound rw - ext4 /dev/sda2 rw
27 22 8:2 / /hidden rw - ext4 /dev/sda2 rw
28 22 0:9 / /hidden rw - tmpfs none rw
29 22 8:3 / /srv/disk rw - ext4 /dev/sdb1 rw
30 22 8:3 /sub /mnt/sub rw - ext4 /dev/sdb1 rw
`;

describe('mountOf() and otherNames()', () => {
  const table = parseMountTable(MOUNTINFO);
  it('find the mount that a path is on', () => {
    const on = (path: string) => mountOf(table, path)?.path;
    assert.equal(on('/'), '/');
    assert.equal(on('/homes'), '/');
    assert.equal(on('/home'), '/home');
    assert.equal(on('/home/anna'), '/home');
    assert.equal(mountOf(table, '/hidden/x')?.type, 'tmpfs');
    assert.deepEqual(mountOf(table, '/home')?.options, ['rw', 'nosuid']);
    assert.equal(mountOf([], '/'), undefined);
  });
  const cases: [string, string[]][] = [
    ['/etc', []],
    ['/srv/data', ['/export/data']],
    ['/srv/data/deep/x', ['/export/data/deep/x']],
    ['/srv/database', []],
    ['/srv', ['/export/data', '/mnt/sub']],
    ['/export/data', ['/srv/data']],
    ['/export', ['/srv/data']],
    ['/home/anna', ['/mnt/bound']],
    ['/home/anna/my files/x', ['/mnt/bound/x']],
    ['/home/bob', []],
    ['/mnt/bound', ['/home/anna/my files']],
    ['/srv/disk/sub/x', ['/mnt/sub/x']],
    ['/srv/disk/other', []],
    ['/mnt', ['/home/anna/my files', '/srv/disk/sub']],
    ['/proc/1', []],
  ];
  for (const [path, names] of cases)
    it(`find ${names.length === 0 ? 'no other name' : names.join(' and ')} of ${path}`, () =>
      assert.deepEqual(otherNames(table, path), names));
  it('and namesByMounts() names the path itself alone', () => {
    const names = (path: string): string[] => namesByMounts(table, path);
    assert.deepEqual(names('/srv/data'), ['/export/data']);
    assert.deepEqual(names('/srv'), []);
    assert.deepEqual(names('/home/anna/my files'), ['/mnt/bound']);
    assert.deepEqual(names('/srv/disk/sub/x'), ['/mnt/sub/x']);
    assert.deepEqual(names('/proc/1'), []);
  });
  it('never throw, whatever the table', () => {
    fc.assert(
      fc.property(fc.string(), fc.stringMatching(/^\/[a-z/]{0,10}$/), (text, path) => {
        otherNames(parseMountTable(`${MOUNTINFO}${text}`), path);
      }),
    );
  });
});
