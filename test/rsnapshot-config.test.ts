import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { joinConfigs, mapPoint, parseRsnapshotConfig } from '../src/store/rsnapshot-config.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const config = (...lines: string[][]) => parseRsnapshotConfig(lines.map(line => line.join('\t')).join('\n'));

describe('parseRsnapshotConfig()', () => {
  it('reads the lines that adopt needs, and no comment', () => {
    const found = config(
      ['# snapshot_root', '/no'],
      ['snapshot_root', '', '/var/cache/rsnapshot/'],
      ['lockfile', '/run/rsnapshot.pid'],
      ['include_conf', '/etc/rsnapshot.d/more'],
      ['backup', '/home/', '', 'localhost/'],
      ['backup_script', '/usr/local/bin/dump', 'localhost/dumps/'],
    );
    assert.equal(found.snapshotRoot, '/var/cache/rsnapshot/');
    assert.equal(found.lockfile, '/run/rsnapshot.pid');
    assert.deepEqual(found.includes, ['/etc/rsnapshot.d/more']);
    assert.deepEqual(found.backups, [{ source: '/home/', point: 'localhost', isRelative: true }]);
  });

  it('knows --relative, and the options of one line', () => {
    const relative = (longArgs: string[], more: string): boolean | undefined =>
      config(...longArgs.map(each => ['rsync_long_args', each]), ['backup', '/a/', 'b/', more]).backups[0]
        ?.isRelative;
    assert.equal(relative([], ''), true);
    assert.equal(relative(['--delete'], ''), false);
    assert.equal(relative([], '+rsync_long_args=--no-relative'), false);
    assert.equal(relative(['--delete'], 'one_fs=1,+rsync_long_args=--relative'), true);
    assert.equal(relative(['--relative'], 'rsync_long_args=--delete'), false);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.string({ unit: ANY_CHARACTER }))), lines => {
        const found = config(...lines);
        mapPoint(found, 'x');
        assert.ok(Array.isArray(joinConfigs([found, found])?.backups));
      }),
    );
  });
});

describe('mapPoint()', () => {
  const map = (point: string, ...lines: string[][]) => mapPoint(config(...lines), point);

  it('says / for whole paths, and names the roots', () => {
    const found = map('oak', ['backup', 'root@oak:/home/', 'oak/'], ['backup', 'root@oak:/etc', 'oak/']);
    assert.deepEqual(found, { at: '/', roots: ['/etc', '/home'] });
    assert.deepEqual(map('l', ['backup', '/', 'l/']), { at: '/', roots: ['/'] });
  });

  it('says the folder of a line without --relative', () => {
    const line = ['backup', 'oak:/srv/data/', 'oak/', '+rsync_long_args=--no-relative'];
    assert.deepEqual(map('oak', line), { at: '/srv/data', roots: ['/srv/data'] });
  });

  it('refuses every other line by name', () => {
    const plain = ['backup', '/home/', 'oak/'];
    const flat = (source: string) => ['backup', source, 'oak/', '+rsync_long_args=--no-relative'];
    for (const lines of [
      [['backup', '/home/', 'elm/']],
      [['backup', 'rsync://oak/module/', 'oak/']],
      [['backup', 'oak::module/', 'oak/']],
      [['backup', 'lvm://vg/home/', 'oak/']],
      [['backup', '/home/./anna/', 'oak/']],
      [['backup', '/home/*/', 'oak/']],
      [['backup', 'home/', 'oak/']],
      [plain, ['backup', '/srv/', 'oak/srv/']],
      [flat('/home/'), flat('/etc/')],
    ]) {
      const found = map('oak', ...lines);
      assert.ok('reason' in found && found.reason.length > 10, JSON.stringify([lines, found]));
    }
  });
});
