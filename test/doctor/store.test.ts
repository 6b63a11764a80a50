import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkCaches } from '../../src/doctor/caches.ts';
import type { Finding, State } from '../../src/doctor/finding.ts';
import { checkInodes, checkProbe, checkSpace } from '../../src/doctor/store-disk.ts';
import { checkStore } from '../../src/doctor/store-folder.ts';
import { check, states } from '../support/findings.ts';
import { says } from '../support/wording.ts';

describe('host: checkStore()', () => {
  const us = { uid: 990, name: 'dialback' };
  it('is content with a folder of its own', () =>
    check(checkStore('/s', { uid: 990, mode: 0o40700 }, us, true), 'ok'));
  it("refuses somebody else's, one that others can look into, one that cannot be written to", () => {
    check(checkStore('/s', { uid: 5, mode: 0o40700 }, us, true), 'critical', /uid 5/, /^runuser/);
    for (const mode of [0o40750, 0o40705, 0o40710, 0o40777])
      check(
        checkStore('/s', { uid: 990, mode }, us, true),
        'critical',
        /open to others/,
        /^chmod 700 '\/s'$/,
      );
    check(checkStore('/s', { uid: 990, mode: 0o40500 }, us, false), 'critical', /cannot write to/);
  });
});

describe('host: checkProbe()', () => {
  const good = {
    type: 'ext4',
    xattrs: undefined,
    links: undefined,
    hasNanoseconds: true,
    hasLateTimes: true,
    hasEarlyTimes: true,
  };
  it('is content with ext4, and tells its limit of links', () => {
    const findings = checkProbe('/s', good, true);
    assert.deepEqual(states(findings), ['ok', 'ok', 'ok']);
    assert.match(findings[1]?.found ?? '', /65000 to a file/);
    assert.doesNotMatch(checkProbe('/s', { ...good, type: 'xfs' }, true)[1]?.found ?? '', /to a file/);
  });
  it('warns of the limit when rsync gets no library that goes on there', () => {
    assert.deepEqual(states(checkProbe('/s', good, false)), ['ok', 'warning', 'ok']);
    assert.deepEqual(states(checkProbe('/s', { ...good, type: 'xfs' }, false)), ['ok', 'ok', 'ok']);
  });
  it('refuses what cannot keep a backup', () => {
    assert.deepEqual(states(checkProbe('/s', { ...good, xattrs: 'x' }, true)), ['critical', 'ok', 'ok']);
    assert.deepEqual(states(checkProbe('/s', { ...good, links: 'permission denied' }, true)), [
      'ok',
      'critical',
      'ok',
    ]);
    assert.deepEqual(states(checkProbe('/s', { ...good, hasNanoseconds: false }, true)), [
      'ok',
      'ok',
      'warning',
    ]);
  });
});

describe('host: checkProbe(), of times', () => {
  const probe = {
    type: 'ext4',
    xattrs: undefined,
    links: undefined,
    hasNanoseconds: true,
    hasLateTimes: true,
    hasEarlyTimes: true,
  };
  const judge = (more: object): Finding => checkProbe('/s', { ...probe, ...more }, true)[2] ?? assert.fail();
  it('warns when times after 2038 are cut, and names the lack of nanoseconds first', () => {
    check(
      judge({ hasLateTimes: false }),
      'warning',
      says('cuts-times-after-2038'),
      says('inodes-of-256-bytes'),
    );
    check(judge({ hasLateTimes: false, hasNanoseconds: false }), 'warning', says('does-not-keep-them'));
    check(judge({ hasEarlyTimes: false }), 'warning', /1970/);
    check(judge({}), 'ok', /keeps them/);
  });
});

describe('host: checkSpace() and checkInodes()', () => {
  const GIB = 1024 ** 3 / 4096;
  const room = (bavail: number, blocks: number) => ({
    bsize: 4096,
    blocks,
    bavail,
    files: 1000,
    ffree: 1000,
  });
  const cases: [free: number, all: number, State][] = [
    [500, 1000, 'ok'],
    [100, 1000, 'ok'],
    [99, 1000, 'warning'],
    [20, 1000, 'warning'],
    [19, 1000, 'critical'],
    [0.9, 2, 'warning'],
    [0.05, 1, 'critical'],
    [0, 1000, 'critical'],
    [0, 0, 'critical'],
  ];
  for (const [free, all, state] of cases)
    it(`are ${state} when ${free} of ${all} GiB are free`, () =>
      check(checkSpace('/s', room(free * GIB, all * GIB)), state));
  for (const [ffree, files, state] of [
    [0, 0, 'ok'],
    [100, 1000, 'ok'],
    [99, 1000, 'warning'],
    [20, 1000, 'warning'],
    [19, 1000, 'critical'],
    [0, 1000, 'critical'],
  ] as const)
    it(`are ${state} when ${ffree} of ${files} inodes are free`, () =>
      check(checkInodes('/s', { ...room(1, 1), ffree, files }), state));
});

describe('host: checkCaches()', () => {
  const us = { name: 'dialback' };
  const judge = (cacheDir: string | undefined, type: string, isUsable = true): Finding =>
    checkCaches('/s', { cacheDir, type, isUsable }, us);
  it('warns when SQLite is on a network file system, in the store or in cache_dir', () => {
    for (const type of ['ceph', 'fuse.ceph-fuse', 'fuse.glusterfs', 'nfs4', 'cifs']) {
      check(
        judge(undefined, type),
        'warning',
        new RegExp(`\\(${type.replace('.', '\\.')}\\)`),
        / dialback .*cache_dir/,
      );
      check(judge('/c', type), 'warning', /too/, /local disk/);
    }
  });
  it('takes local file systems, and warns of a folder that it cannot write to', () => {
    for (const type of ['ext4', 'xfs', 'btrfs', 'zfs', 'fuseblk', 'unknown']) {
      check(judge(undefined, type), 'ok');
      check(judge('/c', type), 'ok', /"\/c"/);
    }
    check(judge('/c d', 'ext4', false), 'warning', /cannot write/, /'\/c d'$/);
  });
});
