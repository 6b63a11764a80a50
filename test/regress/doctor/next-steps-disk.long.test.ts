// Goal: what is printed of a store on a disk of this machine leads to the next backup there, as it is printed: a store that is not
// made, a disk that is away, full, torn out, or another account's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, nextOf, Steps } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

describe('a next step about a disk', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  let disk: string;
  let store: string;
  let image: string;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    disk = join(world.base, 'usb disk');
    store = join(disk, 'closed/the store');
    image = join(world.base, 'disk.img');
    mkdirSync(disk, { mode: 0o755 });
    execFileSync('/usr/bin/truncate', ['-s', '16M', image]);
    execFileSync('mkfs.ext4', ['-q', '-N', '512', '-m', '0', image]);
    plugIn();
    for (const path of [disk, join(disk, 'closed'), store]) {
      if (path !== disk) mkdirSync(path, { mode: 0o700 });
      world.own(world.client, path);
    }
    steps = new Steps(world);
    const toml = [
      `name = "${world.name}"`,
      `state = "${world.clientState}"`,
      `[[remote]]\ntransport = "local"\ntarget = "${store}"`,
      `[scope]\nroots = ["${world.data}"]`,
      '[limits]\ndeadline = "5m"\n',
    ];
    world.write(world.client, steps.clientToml, toml.join('\n'));
  });
  after(async () => {
    while (execFileSync('findmnt', ['-no', 'TARGET', '-T', disk]).toString().trim() === disk)
      execFileSync('umount', ['--lazy', disk]);
    await world.dispose();
  });

  const plugIn = (): void => {
    execFileSync('mount', ['-o', 'loop', image, disk]);
  };
  const unplug = (): void => {
    execFileSync('umount', [disk]);
  };
  const backup = async (): Promise<Result> => await steps.run(world.client, 'backup');
  const succeeds = async (): Promise<void> => {
    const { status, stderr } = await backup();
    assert.equal(status, 0, stderr);
  };
  const shelf = (): string => join(store, 'clients', world.name);

  it('makes the store', async () => {
    const refused = await backup();
    assert.equal(refused.status, 2);
    await steps.follow(nextOf(refused), /(dialback enroll \S+ --local --store '[^']*')/, world.client);
    await succeeds();
  });

  it('mounts the disk, and shows what is mounted there now', async () => {
    unplug();
    const refused = await backup();
    assert.equal(nextOf(refused), 'mount its disk');
    const { state, next } = findingOf(await steps.doctor(world.client), 'client.disk');
    assert.equal(state, 'critical');
    const shown = await steps.follow(
      next,
      matching`mount its disk: (findmnt -T '[^']*') ${says('says-which-one-is-there')}`,
      world.client,
    );
    assert.doesNotMatch(shown, /usb disk/);
    plugIn();
    assert.match(execFileSync('/bin/sh', ['-c', `findmnt -T '${disk}'`]).toString(), /usb disk/);
    assert.equal(findingOf(await steps.doctor(world.client), 'client.disk').state, 'ok');
    await succeeds();
  });

  it('shows which folder is closed to this account', async () => {
    for (const path of [store, join(disk, 'closed')]) {
      chownSync(path, 0, 0);
      const refused = await backup();
      assert.notEqual(refused.status, 0);
      const shape = new RegExp(`(ls -ld '[^']*'): ${wording('it-must-belong-to')} ${world.client.login}`);
      const shown = await steps.follow(nextOf(refused), shape, world.client);
      assert.match(shown, new RegExp(`^drwx------ .* root .* ${path}$`, 'm'));
      world.own(world.client, path);
    }
    await succeeds();
  });

  it('makes room by a prune', async () => {
    const large = join(world.data, 'large');
    const toml = join(world.client.home, '.config/dialback/host.toml');
    for (let run = 0; run < 2; run += 1) {
      world.write(world.client, large, randomBytes(4 << 20));
      await succeeds();
    }
    world.write(world.client, large, randomBytes(6 << 20));
    const refused = await backup();
    assert.notEqual(refused.status, 0);
    const keeps = '[retention]\nlast = 1\nmin_keep = 1\nmin_age = "1s"\n';
    world.write(world.client, toml, `store = "${store}"\nsyslog = false\n${keeps}`);
    await steps.follow(
      nextOf(refused),
      matching`(dialback prune); ${says('or-a-larger-disk')}`,
      world.client,
    );
    await succeeds();
    rmSync(large);
    await succeeds();
    await steps.run(world.client, 'prune');
  });

  it('shows that the disk was torn out in a run, which the next one goes on from', async () => {
    world.write(world.client, join(world.data, 'slow'), randomBytes(600_000));
    const config = execFileSync('cat', [steps.clientToml]).toString();
    world.write(world.client, steps.clientToml, `${config}bwlimit = "200K"\n`);
    const { done } = world.start(world.client, world.binary, ['backup']);
    const arriving = join(shelf(), 'arriving');
    await until(
      'it copies',
      () =>
        existsSync(arriving) &&
        readdirSync(arriving, { recursive: true, encoding: 'utf8' }).some(each => each.includes('slow')),
    );
    execFileSync('/usr/bin/perl', [
      '-e',
      'open D, "<", $ARGV[0] or die; my $f = pack "L", 2; ioctl(D, 0x8004587d, $f) or die $!',
      disk,
    ]);
    const torn = await done;
    assert.notEqual(torn.status, 0);
    const shape = matching`(findmnt -T '[^']*'); ${says('once-its-disk-is-there')}`;
    await steps.follow(nextOf(torn), shape, world.client);
    await until('nobody is at work', () => world.processes().length === 0);
    execFileSync('umount', ['--lazy', disk]);
    const away = await steps.follow(nextOf(torn), shape, world.client);
    assert.doesNotMatch(away, /usb disk/);
    plugIn();
    await succeeds();
  });

  it('is to ask doctor where the host’s part of this machine does not work', async () => {
    const toml = join(world.client.home, '.config/dialback/host.toml');
    renameSync(toml, `${toml}.away`);
    world.write(world.client, toml, `store = "${store}"\nnonsense = 1\n`);
    const refused = await backup();
    assert.notEqual(refused.status, 0);
    const said = await steps.follow(nextOf(refused), /(dialback doctor)/, world.client, { status: 2 });
    assert.match(said, /critical +config: .*nonsense/);
    renameSync(`${toml}.away`, toml);
    chmodSync(toml, 0o600);
    await succeeds();
  });
});
