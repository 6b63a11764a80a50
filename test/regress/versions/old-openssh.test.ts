// Goal: an ssh or sshd that does not take an option of ours is named before any host is called, with what works without it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Sides } from '../../support/sides.ts';
import { matching, says } from '../../support/wording.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const FOUND = matching`OpenSSH \d+\.\d+p\d+ ${says('does-not-accept-an-option')}: .*Bad IPQoS value`;
const CHANNEL = matching`install OpenSSH 8\.0p1 or newer; or ${says('set-transport-channel-in-client')}`;

/** A program that refuses what it is asked for when `has` is true, as OpenSSH does, and is what it was otherwise. */
function refuses(program: string, has: string): string {
  return `#!/bin/sh\nif ${has}; then echo 'line 7: Bad IPQoS value: 4' >&2; exit 255; fi\nexec ${program}.real "$@"\n`;
}

describe('an OpenSSH that does not take an option', { skip: SKIP }, () => {
  let world: Sides;
  const replace = async (program: string, has: string): Promise<void> => {
    await world.site.say(`mv ${program} ${program}.real`);
    writeFileSync(world.path(program), refuses(program, has), { mode: 0o755 });
  };
  /** What `backup` with a transport says; the host that it would call is not there. */
  const backup = async (transport: string) =>
    await world.start(
      world.client,
      `sed -i 's/^#\\?transport = .*//; s/^target = .*/&\\ntransport = "${transport}"/' ~/.config/dialback/client.toml
       dialback backup 2>&1`,
    );
  before(async () => {
    world = await Sides.install(Sides, async () => {});
    await world.as(
      world.client,
      `dialback init --name acorn --transport direct --target ssh://vault@127.0.0.1:${world.port} \\
         --host-key "$(ssh-keygen -q -t ed25519 -N '' -f /tmp/key && cut -d ' ' -f 1,2 /tmp/key.pub)"
       sed -i 's|^roots = .*|roots = ["/etc/dialback"]|' ~/.config/dialback/client.toml`,
    );
  });
  after(async () => {
    await world?.site.machine.end();
  });

  describe('an sshd', () => {
    before(async () => {
      await replace('/usr/sbin/sshd', 'for last; do :; done; grep -qs IPQoS "$last"');
    });
    after(async () => {
      await world.site.say('mv /usr/sbin/sshd.real /usr/sbin/sshd');
    });

    it('ends a direct backup before the call, and says that channel needs none', async () => {
      const { status, output } = await backup('direct');
      assert.equal(status, 1, output);
      assert.match(output, FOUND);
      assert.match(output, CHANNEL);
    });

    it('is no hindrance to channel', async () => {
      const { status, output } = await backup('channel');
      assert.equal(status, 13, output); // nobody is there
      assert.doesNotMatch(output, FOUND);
    });

    it('is named by doctor and by try', async () => {
      await backup('direct');
      const doctor = await world.start(world.client, 'dialback doctor');
      assert.match(doctor.output, FOUND);
      assert.match(doctor.output, CHANNEL);
      const tried = await world.start('root', 'dialback try');
      assert.equal(tried.status, 1, tried.output);
      assert.match(tried.output, FOUND);
      assert.match(tried.output, /^next: install OpenSSH 8\.0p1 or newer/m);
    });
  });

  it('an ssh ends a backup over a channel too, before the call', async () => {
    await replace('/usr/bin/ssh', 'echo " $* " | grep -q " IPQoS=4 "');
    const { status, output } = await backup('channel');
    assert.equal(status, 1, output);
    assert.match(output, FOUND);
    assert.match(output, /^next: install OpenSSH 8\.0p1 or newer$/m);
  });
});
