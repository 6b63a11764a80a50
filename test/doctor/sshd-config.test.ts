import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { collectSshdConfig } from '../../src/doctor/sshd-config.ts';
import { findObstacles, parseSettings } from '../../src/doctor/sshd-settings.ts';
import { matching, says } from '../support/wording.ts';

const ACCOUNT = { name: 'backup', home: '/srv/my home' };
const KEYS = '/srv/my home/.ssh/authorized_keys';
const obstacles = (text: string): string[] =>
  findObstacles(parseSettings(text), ACCOUNT, ['backup', 'users'], KEYS);

describe('findObstacles()', () => {
  const harmless = [
    '',
    'pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2',
    'authorizedkeysfile /etc/keys/%u %h/.ssh/authorized_keys',
    'allowusers root\nallowusers back*\nallowgroups admin\nallowgroups user?',
    'allowusers backup@10.0.0.*',
    'denyusers root\ndenygroups admin\ndenyusers backup@192.0.2.1',
    'pubkeyacceptedalgorithms rsa-sha2-512,ssh-ed25519',
    'authenticationmethods any',
    'authenticationmethods password publickey',
    'forcecommand none\nchrootdirectory none',
  ];
  for (const text of harmless)
    it(`finds none in ${JSON.stringify(text)}`, () => assert.deepEqual(obstacles(text), []));

  const harmful: [string, RegExp][] = [
    ['pubkeyauthentication no', /^PubkeyAuthentication no$/],
    [
      'authorizedkeysfile /etc/ssh/keys/%u',
      matching`^${says('authorizedkeysfile-the-keys-are-in', '/etc/ssh/keys/%u')} `,
    ],
    ['authorizedkeysfile none', /^AuthorizedKeysFile none/],
    ['allowusers root\nallowusers backu', /^AllowUsers root backu$/],
    ['allowgroups admin', /^AllowGroups admin$/],
    ['denyusers b*', /^DenyUsers b\*$/],
    ['denygroups users', /^DenyGroups users$/],
    ['pubkeyacceptedalgorithms rsa-sha2-512', /without ssh-ed25519$/],
    ['pubkeyacceptedkeytypes ssh-rsa', /without ssh-ed25519$/],
    ['authenticationmethods publickey,password', /^AuthenticationMethods publickey,password$/],
    ['forcecommand internal-sftp', /^ForceCommand internal-sftp$/],
    ['chrootdirectory /srv', /^ChrootDirectory \/srv$/],
  ];
  for (const [text, expected] of harmful)
    it(`finds ${JSON.stringify(text)}`, () => {
      const found = obstacles(text);
      assert.equal(found.length, 1);
      assert.match(found[0] ?? '', expected);
    });
});

describe('collectSshdConfig()', () => {
  it('finds the settings that are in effect for the account, as sshd reads them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sshd '));
    // root's sshd wants it; a machine on which the service has never run lacks it.
    const isMade = process.getuid?.() === 0 && mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    try {
      const path = join(folder, 'config');
      writeFileSync(
        path,
        'Match User backup\n  AuthorizedKeysFile /etc/keys/%u\n  ForceCommand /bin/false\n',
      );
      const of = (name: string, config = path) => collectSshdConfig({ ...ACCOUNT, name }, KEYS, config);
      const bad = await of('backup');
      assert.deepEqual(
        bad.map(({ state, found }) => [state, /: (\w+) /.exec(found)?.[1]]),
        [
          ['critical', 'AuthorizedKeysFile'],
          ['critical', 'ForceCommand'],
        ],
      );
      const good = await of('nobody');
      assert.deepEqual(
        good.map(each => each.state),
        ['ok'],
      );
      const [none] = await of('backup', join(folder, 'none'));
      assert.equal(none?.state, 'unknown');
      assert.match(none.found, /No such file/);
    } finally {
      rmSync(folder, { recursive: true });
      if (isMade) rmdirSync('/run/sshd');
    }
  });
});
