import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';
import { checkReceiver, checkVersions } from '../../src/doctor/versions.ts';
import { check } from '../support/findings.ts';

describe('checkVersions()', () => {
  const rsync = (version: string, changelog?: string, hasZstd = true): Finding[] =>
    checkVersions({ rsync: { version, changelog, hasZstd }, openssh: undefined }, false);
  const zstdOf = (hasZstd: boolean): Finding => rsync('3.5.0', undefined, hasZstd)[0] ?? assert.fail();
  const rsyncOf = (version: string): Finding => rsync(version)[1] ?? assert.fail();
  const opensshOf = (version: string, changelog: string | undefined, isDialed: boolean): Finding =>
    checkVersions({ rsync: undefined, openssh: { version, changelog } }, isDialed)[0] ?? assert.fail();

  it('has no finding for a program that is not installed', () =>
    assert.deepEqual(checkVersions({ rsync: undefined, openssh: undefined }, true), []));
  it('warns of an rsync without zstd', () => {
    check(zstdOf(true), 'ok', /zstd/);
    check(zstdOf(false), 'warning', /not compressed/, /rsync --version/);
  });
  it('is content with a version without known vulnerabilities', () => {
    check(rsyncOf('3.5.0'), 'ok', /^rsync 3\.5\.0/);
    check(opensshOf('9.9p2', undefined, true), 'ok');
    check(opensshOf('9.2p1', 'CVE-2023-48795 sshsigdie CVE-2025-26465', true), 'ok');
  });
  it('only warns of a vulnerability, since a distribution can have fixed it', () => {
    check(rsyncOf('3.4.1'), 'warning', /3\.5\.0/, /apt-get install rsync/);
    check(opensshOf('9.7p1', undefined, false), 'warning', /regreSSHion/, /apt-get install openssh/);
  });
  it('refuses a version that cannot work', () => {
    const old = opensshOf('7.9p1', undefined, true);
    check(old, 'critical', /OpenSSH 7\.9p1; the oldest .* is 8\.0p1/, /or set transport = "channel"/);
    check(opensshOf('7.9p1', 'CVE-2023-48795 CVE-2025-26465', false), 'warning', /8\.0p1/);
    check(opensshOf('8.0p1', 'CVE-2023-48795 CVE-2025-26465', true), 'ok');
    check(opensshOf('8.4p1', 'CVE-2023-48795 CVE-2025-26465', true), 'ok');
  });
  it('does not know a version that was not told', () => {
    check(rsyncOf('unknown'), 'unknown');
    check(opensshOf('unknown', undefined, true), 'unknown');
  });
});

describe('host: checkReceiver()', () => {
  it('warns of an rsync that follows links during a restore', () => {
    check(checkReceiver(true), 'ok');
    check(checkReceiver(false), 'warning', /restore --force/, /apt-get install rsync/);
  });
});
