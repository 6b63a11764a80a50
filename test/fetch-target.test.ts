import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { isLeftover } from '../src/client/fetch-leftovers.ts';
import { makeReplacedFolder } from '../src/client/fetch-state.ts';
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

describe('makeReplacedFolder()', () => {
  it('gives each fetch a private folder of its own, also two of the same second', () => {
    const state = mkdtempSync(join(tmpdir(), 'dialback-'));
    try {
      const [one, other] = [makeReplacedFolder(state, new Date(0)), makeReplacedFolder(state, new Date(0))];
      assert.notEqual(one, other);
      assert.equal(statSync(one).mode & 0o777, 0o700);
    } finally {
      rmSync(state, { recursive: true });
    }
  });
});
