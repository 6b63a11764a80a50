// Goal: dialback can be the login shell of the account that receives: then a key opens a backup and nothing else, even a
// key that was put into authorized_keys without a command.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('dialback as login shell', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'a file'), 'content');
    execFileSync('/usr/sbin/usermod', ['--shell', world.binary, world.host.login], { stdio: 'pipe' });
  });
  after(async () => {
    await world.dispose();
  });

  it('runs the line that enroll wrote', async () => {
    const { status, last } = await world.backup();
    assert.equal(status, 0, last.error ?? '');
    assert.equal(world.snapshots().length, 1);
  });

  it('refuses everything to a key without a command: one line, exit 12', async () => {
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    writeFileSync(world.authorizedKeys, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub')));
    const line = `'${world.binary}' grab --client ${world.name} --config '${world.hostToml}'`;
    for (const [args, command] of [
      [['-T'], []],
      [['-tt'], []],
      [[], ['id']],
      [[], ['sh', '-c', 'id']],
      [[], [line]],
      [[], [`${world.name}:4444`]],
      [[], ['']],
      [['-s'], ['sftp']],
    ] as const) {
      const { status, stdout, stderr } = await world.callHost([...args], [...command]);
      const isForShell = args[0] !== '-tt' && args[0] !== '-s'; // those sshd itself refuses
      assert.ok(
        isForShell ? status === 12 : status !== 0,
        `${args.join(' ')} ${command.join(' ')}: ${status}`,
      );
      assert.doesNotMatch(stdout + stderr, /uid=/);
      if (args[0] !== '-tt' && args[0] !== '-s')
        assert.match(stderr, matching`^${says('cannot-do-this-here')}: [^\n]*\n$`);
    }
    writeFileSync(world.authorizedKeys, enrolled);
  });

  it('refuses a forced command that enroll would not have written', () => {
    const good = `'${world.binary}' grab --client ${world.name} --config '${world.hostToml}'`;
    for (const command of [
      `${good} `,
      ` ${good}`,
      `${good}; id`,
      good.replace(' grab', '  grab'),
      good.replace(`--client ${world.name}`, '--client ../x'),
      good.replace(world.hostToml, 'host.toml'),
      good.replaceAll("'", ''),
      good.replace(world.binary, '/usr/bin/env'),
      'grab --client x --config /x',
    ]) {
      const result = spawnSync(world.binary, ['-c', command], {
        env: {
          SSH_ORIGINAL_COMMAND: `${world.name}:1`,
          SSH_CONNECTION: '127.0.0.1 1 127.0.0.1 2',
          HOME: world.host.home,
        },
        uid: world.host.uid,
        gid: world.host.gid,
        encoding: 'utf8',
      });
      assert.equal(result.status, 12, command);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, matching`^${says('cannot-do-this-here')}: [^\n]*\n$`, command);
    }
  });

  it('refuses an interactive login, whatever it is called as', () => {
    for (const [argv0, args] of [
      ['-dialback', []],
      ['-dialback', ['-c']],
      ['-dialback', ['help']],
      ['-dialback', ['--version']],
      ['-', []],
      ['dialback', ['-c', '']],
      ['dialback', ['-c', 'x', 'y']],
      ['dialback', ['-c', '-c']],
    ] as const) {
      const result = spawnSync(world.binary, args, {
        argv0,
        env: {},
        encoding: 'utf8',
        uid: world.host.uid,
        gid: world.host.gid,
      });
      assert.equal(result.status, 12, `${argv0} ${args.join(' ')}: ${result.stdout}${result.stderr}`);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, matching`^${says('cannot-do-this-here')}: [^\n]*\n$`);
    }
  });

  itLong(
    'with account_client: the historic form, one account a client, without a forced command',
    async () => {
      const enrolled = readFileSync(world.authorizedKeys, 'utf8');
      const folder = join(world.host.home, '.config/dialback');
      execFileSync('/usr/bin/install', [
        '-d',
        '-m',
        '700',
        '-o',
        world.host.login,
        '-g',
        world.host.login,
        join(world.host.home, '.config'),
        folder,
      ]);
      world.write(
        world.host,
        join(folder, 'host.toml'),
        `${readFileSync(world.hostToml, 'utf8')}account_client = "${world.name}"\n`,
      );
      writeFileSync(
        world.authorizedKeys,
        `restrict ${readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8')}`,
      );
      const { status, last } = await world.backup();
      assert.equal(status, 0, last.error ?? '');
      const other = await world.callHost([], ['id']);
      assert.equal(other.status, 12);
      world.configure({ top: 'name = "somebody-else"' });
      const wrong = await world.backup();
      assert.equal(wrong.status, 12);
      assert.match(wrong.last.error ?? '', /under another name/);
      world.configure();
      writeFileSync(world.authorizedKeys, enrolled);
    },
  );
});
