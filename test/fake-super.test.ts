import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { truthOf, type Xattr } from '../src/store/fake-super.ts';
import type { StoredEntry } from '../src/store/find-records.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const STORED: StoredEntry = {
  path: bytes('x'),
  inode: 5n,
  links: 3,
  isFolder: false,
  mode: 0o600,
  uid: 900,
  gid: 901,
  size: 4,
  mtimeNs: 1n,
};
const xattr = (name: string, value: string): Xattr => ({ name: bytes(name), value: bytes(value) });

describe('truthOf(), of user.rsync.%stat', () => {
  const read = (text: string, isFolder = false) => {
    const xattrs = [xattr('user.rsync.%stat', text)];
    return truthOf({ ...STORED, isFolder }, xattrs, null);
  };

  it('reads every type', () => {
    for (const [text, type, mode, device] of [
      ['100644 0,0 1:2', 'file', 0o644, null],
      ['106755 0,0 1:2', 'file', 0o6755, null],
      ['41777 0,0 1:2', 'folder', 0o1777, null],
      ['120777 0,0 1:2', 'symlink', 0o777, null],
      ['10600 0,0 1:2', 'fifo', 0o600, null],
      ['140755 0,0 1:2', 'socket', 0o755, null],
      ['20600 4000,1000000 1:2', 'char device', 0o600, { major: 4000, minor: 1_000_000 }],
      ['60660 7,250 1:2', 'block device', 0o660, { major: 7, minor: 250 }],
    ] as const) {
      const found = read(text, type === 'folder');
      assert.deepEqual(
        { type: found.type, mode: found.mode, uid: found.uid, gid: found.gid, device: found.device },
        { type, mode, uid: 1, gid: 2, device },
        text,
      );
      assert.deepEqual(found.xattrs, [], text);
    }
    const { uid, gid } = read('100644 0,0 4294967294:4294967295');
    assert.deepEqual([uid, gid], [4294967294, 4294967295]);
  });

  it('refuses what rsync would not have written', () => {
    for (const text of [
      '',
      '100644',
      '100644 0,0',
      '100844 0,0 0:0',
      '644 0,0 0:0',
      '150644 0,0 0:0',
      '100644 0,0 0:4294967296',
      '100644 0,0 -1:0',
      '100644 0 0:0',
      ' 100644 0,0 0:0',
      '100644 0,0 0:0\n',
      '7777777777 0,0 0:0',
    ])
      for (const isFolder of [false, true])
        assert.deepEqual(
          read(text, isFolder),
          { ...truthOf({ ...STORED, isFolder }, [], null), xattrs: [xattr('user.rsync.%stat', text)] },
          text,
        );
  });
});

describe('truthOf(), of packed ACLs', () => {
  const read = (name: '%aacl' | '%dacl', value: Buffer, mode = 0o644) =>
    truthOf({ ...STORED, mode }, [{ name: bytes(`user.rsync.${name}`), value }], null);
  const isRefused = (value: Buffer, what: string): void => {
    const { acl, xattrs } = read('%aacl', value);
    assert.equal(acl, null, what);
    assert.deepEqual(xattrs, [{ name: bytes('user.rsync.%aacl'), value }], what);
  };
  const pack = (numbers: number[]): Buffer => {
    const packed = Buffer.alloc(numbers.length * 4);
    for (const [index, number] of numbers.entries()) packed.writeUInt32LE(number, index * 4);
    return packed;
  };
  const user = (id: number, rights: number): number[] => [id, 0x8000_0000 + rights];

  it('takes from the mode what the ACL leaves to it', () => {
    const packed = pack([0x80, 0x80, 5, 0x80, ...user(12345, 7), 54321, 4]);
    assert.equal(read('%aacl', packed, 0o4750).acl, 'u::rwx,u:12345:rwx,g::r-x,g:54321:r--,m::r-x,o::---');
    const own = pack([0x80, 4, 0, 0x80, ...user(4_000_000_000, 4)]);
    assert.equal(read('%aacl', own, 0o600).acl, 'u::rw-,u:4000000000:r--,g::r--,m::---,o::---');
  });

  it('reads a default ACL, which no mode is part of', () => {
    const packed = pack([7, 5, 7, 0, ...user(12345, 7)]);
    assert.equal(read('%dacl', packed, 0).acl, 'd:u::rwx,d:u:12345:rwx,d:g::r-x,d:m::rwx,d:o::---');
    assert.equal(read('%dacl', pack([7, 5, 0x80, 5]), 0).acl, 'd:u::rwx,d:g::r-x,d:o::r-x');
  });

  it('refuses every other length, and rights that there are not', () => {
    for (const length of [0, 4, 15, 17, 20, 28]) isRefused(Buffer.alloc(length), String(length));
    isRefused(pack([8, 0x80, 0x80, 0x80]), 'rights');
    isRefused(pack([0x80, 0x80, 0x80, 0x80, ...user(1, 8)]), 'rights of a user');
    isRefused(pack([0x80, 0x80, 0x80, 0x80, 1, 0x4000_0000]), 'rights of a group');
  });

  it('never throws, and says what setfacl(1) could take', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(0o7777), (packed, mode) => {
        const { acl } = read('%aacl', Buffer.from(packed), mode);
        if (acl !== null)
          assert.match(acl, /^u::[rwx-]{3}(,[ug]:\d*:[rwx-]{3})*(,m::[rwx-]{3})?,o::[rwx-]{3}$/);
      }),
    );
  });
});

describe('truthOf()', () => {
  it('is what the file itself has, where rsync wrote nothing', () => {
    const { type, mode, uid, gid, acl, xattrs } = truthOf(STORED, [], null);
    assert.deepEqual(
      { type, mode, uid, gid, acl, xattrs },
      { type: 'file', mode: 0o600, uid: 900, gid: 901, acl: null, xattrs: [] },
    );
    assert.equal(truthOf({ ...STORED, isFolder: true }, [], null).type, 'folder');
  });

  it('takes the disguise off other namespaces, and off these alone', () => {
    const given = [
      xattr('user.z', '1'),
      xattr('user.rsync.security.capability', '2'),
      xattr('user.rsync.', '3'),
      xattr('user.rsyncx', '4'),
    ];
    assert.deepEqual(
      truthOf(STORED, given, null).xattrs.map(each => each.name.toString()),
      ['security.capability', 'user.rsync.', 'user.rsyncx', 'user.z'],
    );
  });

  it('shows what cannot be what its name says as the attribute that it is', () => {
    for (const [name, value] of [
      ['user.rsync.%stat', 'nonsense'],
      ['user.rsync.%stat', '40755 0,0 0:0'], // a folder's, on a file
      ['user.rsync.%aacl', 'short'],
      ['user.rsync.%dacl', ''],
      ['user.rsync.%other', 'x'],
    ] as const) {
      const truth = truthOf(STORED, [xattr(name, value)], null);
      assert.deepEqual(truth.xattrs, [xattr(name, value)]);
      assert.deepEqual([truth.type, truth.uid, truth.acl], ['file', 900, null]);
    }
  });

  it('has a target only for a symlink', () => {
    const link = truthOf(STORED, [xattr('user.rsync.%stat', '120777 0,0 0:0')], bytes('goal'));
    assert.deepEqual([link.type, link.target], ['symlink', bytes('goal')]);
    assert.equal(truthOf(STORED, [], bytes('goal')).target, null);
  });
});
