// Goal: a client without an sshd program is told so, before anybody is called, and what works without one; it is not taken for a
// firewall.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a client without sshd', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
  });
  after(async () => {
    await world.dispose();
  });

  it('is told what is missing, and which transport needs none', async () => {
    const { uid, gid } = world.client;
    // In a mount namespace of its own, in which sshd is nothing that can be run.
    const script =
      'for each in /usr/sbin/sshd /usr/bin/sshd; do [ ! -e $each ] || mount --bind /dev/null $each; done; exec "$@"';
    const account = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
    const backup = [world.binary, 'backup', '--config', world.clientToml];
    const { status, stderr } = await world.start(
      'root',
      '/usr/bin/unshare',
      ['--mount', '/bin/sh', '-c', script, 'sh', ...account, ...backup],
      { environment: { HOME: world.client.home } },
    ).done;
    assert.equal(status, 1, stderr);
    assert.match(stderr, says('cannot-let-the-backup-host'));
    assert.match(stderr, /^next: .*openssh-server; or set transport = "channel"/m);
    assert.deepEqual(world.journal('host'), []);
  });
});
