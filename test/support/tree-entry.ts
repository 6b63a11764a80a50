// An entry of a snapshot's tree, for tests of its output.
import type { TreeEntry } from '../../src/store/fake-super.ts';

/** A file with usual attributes. */
export const ENTRY: TreeEntry = {
  path: Buffer.from('etc/a file'),
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 42,
  device: null,
  size: 12,
  mtimeNs: 1_700_000_000_000_000_001n,
  inode: 1n,
  links: 1,
  target: null,
  acl: null,
  xattrs: [],
};
