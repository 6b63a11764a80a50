import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  changelogOf,
  compareVersions,
  OPENSSH_ADVISORIES,
  openAdvisories,
  RSYNC_ADVISORIES,
} from '../src/shared/advisories.ts';

describe('compareVersions()', () => {
  const order = [
    '2.6.9',
    '3.2.0',
    '3.2.7',
    '3.4.0',
    '3.4.1',
    '3.5.0',
    '3.10.0',
    '9.2p1',
    '9.9p1',
    '9.9p2',
    '10.0p1',
  ];
  it('orders them by their numbers, not by their letters', () => {
    for (const [one, left] of order.entries())
      for (const [other, right] of order.entries())
        assert.equal(Math.sign(compareVersions(left, right)), Math.sign(one - other), `${left} ${right}`);
  });
  it("takes no part of a packager's suffix", () => {
    for (const text of ['3.5.0+ds1-0+deb12u1', '3.5.0-1', '3.5.0~rc1', '3.5', '3.5.0pre1'])
      assert.equal(compareVersions(text, '3.5.0'), 0, text);
  });
  it('finds no version in other text', () => {
    for (const text of ['', 'unknown', 'v3', '.5', 'p1']) assert.equal(compareVersions(text, '0'), 0, text);
  });
});

describe('openAdvisories()', () => {
  const names = (version: string, changelog?: string) =>
    openAdvisories(version, changelog, RSYNC_ADVISORIES).map(each => each.fixedIn);
  it('finds those that were mended later', () => {
    assert.deepEqual(names('3.2.7'), ['3.4.0', '3.4.3', '3.5.0']);
    assert.deepEqual(names('3.4.0'), ['3.4.3', '3.5.0']);
    assert.deepEqual(names('3.4.3'), ['3.5.0']);
    assert.deepEqual(names('3.5.0'), []);
    assert.deepEqual(names('3.6.1'), []);
  });
  it("believes the package's changelog", () => {
    const changelog = 'rsync (3.2.7-1+deb12u2)\n  * CVE-2024-12084, CVE-2024-12085\n';
    assert.deepEqual(names('3.2.7', changelog), ['3.4.3', '3.5.0']);
    for (const other of ['CVE-2024-120850', 'CVE-2024-1208', 'CVE-2024-12084'])
      assert.deepEqual(names('3.2.7', `rsync (3.2.7-1)\n  * ${other}\n`), ['3.4.0', '3.4.3', '3.5.0'], other);
  });
  it('leaves out what an old version does not have yet', () => {
    const of = (version: string) =>
      openAdvisories(version, undefined, OPENSSH_ADVISORIES).map(each => each.fixedIn);
    assert.deepEqual(of('8.4p1'), ['9.6p1', '9.9p2']);
    assert.deepEqual(of('8.5p1'), ['9.6p1', '9.8p1', '9.9p2']);
    assert.deepEqual(of('9.7p1'), ['9.8p1', '9.9p2']);
    assert.deepEqual(of('9.9p1'), ['9.9p2']);
    assert.deepEqual(of('10.0p2'), []);
  });
});

describe('changelogOf()', () => {
  it('takes the changelog of the version that runs, with an epoch or without', () => {
    assert.ok('value' in changelogOf('9.2p1', 'openssh (1:9.2p1-2+deb12u10) bookworm; urgency=medium\n'));
    assert.ok('value' in changelogOf('3.5.0', 'rsync (3.5.0+ds1-0+deb12u1) bookworm-security\n'));
  });
  it('takes no other', () => {
    for (const text of ['', 'x', 'rsync (3.4.1-1) x', 'rsync 3.5.0', '\nrsync (3.5.0-1) x'])
      assert.ok('reason' in changelogOf('3.5.0', text), text);
  });
});
