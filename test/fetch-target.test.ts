import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isLeftover } from '../src/client/fetch-leftovers.ts';
import { isSystemPath } from '../src/client/fetch-target.ts';

describe('isSystemPath()', () => {
  it('holds for what a running system uses', () => {
    for (const path of [
      '/',
      '/usr',
      '/usr/bin',
      '/usr/lib/x',
      '/etc',
      '/var',
      '/var/lib',
      '/boot/grub',
      '/bin/sh',
      '/run/x',
      '/proc/1',
      '/usr/local',
    ])
      assert.ok(isSystemPath(path), path);
  });

  it('does not hold for what people and services keep', () => {
    for (const path of [
      '/home',
      '/home/x',
      '/root',
      '/srv',
      '/opt/x',
      '/etc/nginx',
      '/etc/fstab',
      '/var/www',
      '/var/lib/postgresql',
      '/usr/local/bin',
      '/usrx',
      '/binary',
    ])
      assert.ok(!isSystemPath(path), path);
  });
});

describe('isLeftover()', () => {
  const wanted = new Set(['file', '.hidden', 'x'.repeat(250), '.file.abc123']);

  it("holds for the names of rsync's unfinished files", () => {
    for (const name of ['.file.a1B2c3', '.hidden.a1B2c3', `.${'x'.repeat(247)}.a1B2c3`])
      assert.ok(isLeftover(name, wanted), name);
  });

  it('does not hold for names of the snapshot, and of others', () => {
    for (const name of [
      '.file.abc123',
      'file',
      '.other.a1B2c3',
      '.file.swp',
      '.file.a1B2c34',
      'file.a1B2c3',
      '.x.a1B2c3',
    ])
      assert.ok(!isLeftover(name, wanted), name);
  });
});
