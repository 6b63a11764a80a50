// Goal: what doctor and backup say of a key, or of the host's, mends it as it is printed: each step is run on the very defect. Each
// defect is that of a remote of its own, so that one look finds all of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, nextOf, Steps } from '../../support/steps.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a next step about a key', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  /** What doctor finds before anything is mended. */
  let findings: Finding[];
  const REMOTES = [
    'missing',
    'no-folder',
    'passphrase',
    'nonsense',
    'foreign',
    'closed',
    'unreadable',
    'unknown',
  ];
  const key = (remote: string): string => join(world.client.home, 'keys', remote, 'key');
  const known = (remote: string): string => join(world.client.home, 'keys', remote, 'known');
  const enroll = async (file: string): Promise<void> => {
    const { status, stderr } = await world.enroll(world.name, readFileSync(`${file}.pub`, 'utf8'), [
      '--replace',
    ]);
    assert.equal(status, 0, stderr);
  };

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    const { client } = world;
    const good = join(client.home, '.ssh/id_ed25519');
    const folders = ['', ...REMOTES.filter(each => each !== 'no-folder')];
    for (const name of folders) {
      mkdirSync(join(client.home, 'keys', name));
      world.own(client, join(client.home, 'keys', name));
    }
    for (const name of REMOTES.filter(each => !['missing', 'no-folder'].includes(each))) {
      for (const end of ['', '.pub']) {
        copyFileSync(`${good}${end}`, `${key(name)}${end}`);
        world.own(client, `${key(name)}${end}`);
      }
    }
    for (const name of ['unreadable']) {
      copyFileSync(join(client.home, '.ssh/known_hosts'), known(name));
      chmodSync(known(name), 0o200);
      world.own(client, known(name));
    }
    execFileSync('ssh-keygen', ['-q', '-p', '-N', 'a secret', '-f', key('passphrase')], { stdio: 'pipe' });
    world.own(client, key('passphrase'));
    writeFileSync(key('nonsense'), 'nonsense\n');
    chownSync(key('foreign'), world.host.uid, world.host.gid);
    chownSync(join(client.home, 'keys/closed'), 0, 0);
    chmodSync(join(client.home, 'keys/closed'), 0o700);
    const remotes = REMOTES.map(name =>
      [
        name === REMOTES[0] ? '' : `[[remote]]\ntarget = "${world.target}"`,
        `name = "${name}"\ntransport = "channel"\nidentity = "${key(name)}"`,
        ['unreadable', 'unknown'].includes(name) ? `known_hosts = "${known(name)}"` : '',
      ].join('\n'),
    );
    world.configure({ remote: remotes.join('\n') });
    steps = new Steps(world);
    findings = await steps.doctor(client);
  });
  after(async () => {
    await world.dispose();
  });

  const of = (remote: string, check = 'client.key'): Finding =>
    findingOf(findings, check, new RegExp(`/keys/${remote}/`));

  it('makes a key where there is none, its folder too, and in the place of what is none', async () => {
    const make = /(ssh-keygen -t ed25519 -N '' -f '[^']*'), and enroll '([^']*\.pub)' on the host/;
    await steps.follow(of('missing').next, make, world.client);
    const withFolder =
      /(mkdir -p -m 700 '[^']*' && ssh-keygen -t ed25519 -N '' -f '[^']*'), and enroll '[^']*' on the host/;
    await steps.follow(of('no-folder').next, withFolder, world.client);
    await steps.follow(of('nonsense').next, make, world.client, { input: 'y\n' }); // it asks before it writes over something
    for (const name of ['missing', 'no-folder', 'nonsense']) {
      assert.equal(
        execFileSync('stat', ['-c', '%a %u', key(name)])
          .toString()
          .trim(),
        `600 ${world.client.uid}`,
      );
      await enroll(key(name));
      const { status, stderr } = await steps.run(world.client, 'backup', '--remote', name);
      assert.equal(status, 0, stderr);
    }
    await enroll(join(world.client.home, '.ssh/id_ed25519'));
  });

  it('takes the passphrase away, once it was entered', async () => {
    const enters = join(world.client.home, 'enters');
    world.write(world.client, enters, "#!/bin/sh\necho 'a secret'\n", 0o700);
    await steps.follow(of('passphrase').next, /(ssh-keygen -p -N '' -f '[^']*')/, world.client, {
      environment: { SSH_ASKPASS: enters, SSH_ASKPASS_REQUIRE: 'force' },
    });
  });

  it('gives a key of another account’s back', async () => {
    await steps.follow(of('foreign').next, /(chown \S+ '[^']*')/, world.client, { as: 'root' });
  });

  it('shows the folder that keeps this account from its key', async () => {
    const shown = await steps.follow(of('closed').next, /(ls -ld '[^']*\/keys\/closed')/, world.client);
    assert.match(shown, /^drwx------ .* root root .*\/keys\/closed$/m);
    chownSync(join(world.client.home, 'keys/closed'), world.client.uid, world.client.gid);
  });

  it('lets this account read the host’s key', async () => {
    await steps.follow(of('unreadable', 'client.known_hosts').next, /(chmod 600 '[^']*')/, world.client);
  });

  it('tells how the host’s key is found, and which line it makes', async () => {
    const { next } = of('unknown', 'client.known_hosts');
    const shape = matching`^(dialback enroll) ${says('on-the-host-prints-its')} the line \x60(\S+) ${says('keytype-key-with-the-key')}, into "(.*)"$`;
    const [, enrolls = '', name = '', file = ''] = shape.exec(next ?? '') ?? assert.fail(String(next));
    const ssh = '/etc/ssh'; // the test's own copy
    copyFileSync(join(world.host.home, 'sshd/key.pub'), join(ssh, 'ssh_host_ed25519_key.pub'));
    const pub = join(world.host.home, 'client.pub');
    world.write(world.host, pub, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub')));
    const words = `${enrolls} ${world.name} '${pub}' --authorized-keys '${world.authorizedKeys}'`;
    const said = await steps.follow(words, /(.*)/, world.host);
    const hostKey = /--host-key '(\S+ \S+)'/.exec(said)?.[1] ?? assert.fail(said);
    assert.equal(file, known('unknown'));
    world.write(world.client, file, `${name} ${hostKey}\n`);
  });

  it('is followed by none: all of them are well, and each remote gets a backup', async () => {
    const others = REMOTES.filter(each => !['missing', 'no-folder', 'nonsense'].includes(each));
    const now = await steps.doctor(world.client);
    for (const name of others)
      for (const check of [
        'client.key',
        ...(known(name) && existsSync(known(name)) ? ['client.known_hosts'] : []),
      ]) {
        const { state, found } = findingOf(now, check, new RegExp(`/keys/${name}/`));
        assert.equal(state, 'ok', `${name}: ${found}`);
      }
    for (const name of others)
      assert.equal(findingOf(now, 'client.call', new RegExp(`^"${name}"`)).state, 'ok', name);
  });

  it('of backup makes a key, and leads to the host', async () => {
    const fresh = join(world.client.home, "it's new/key");
    world.configure({ remote: `name = "vault"\ntransport = "channel"\nidentity = "${fresh}"` });
    steps.place();
    const backup = async () => await steps.run(world.client, 'backup');
    const refused = await backup();
    assert.equal(refused.status, 2);
    await steps.follow(
      nextOf(refused),
      matching`(mkdir -p -m 700 .* && ssh-keygen -t ed25519 -N '' -f .*), ${says('or-set-identity-in-client')}.toml`,
      world.client,
    );
    const unknown = nextOf(await backup());
    const file = /\(with (.*\.pub)\);/.exec(unknown)?.[1] ?? assert.fail(unknown);
    assert.equal(file, `${fresh}.pub`);
    await enroll(fresh);
    chmodSync(fresh, 0o644);
    const open = await backup();
    assert.equal(open.status, 2);
    await steps.follow(nextOf(open), /(chmod 600 .*)/, world.client);
    const done = await backup();
    assert.equal(done.status, 0, done.stderr);
  });
});
