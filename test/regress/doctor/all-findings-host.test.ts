// Goal: where one thing of a host is broken, `doctor` finds that and nothing else, and the command that it names fixes it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Doctor, lines } from '../../support/doctor.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, type World } from '../../support/world.ts';

describe('doctor on a host', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let doctor: Doctor;
  let world: World;

  let host: Party;
  before(async () => {
    doctor = await Doctor.make();
    ({ world } = doctor);
    ({ host } = world);
  });
  after(async () => {
    await world.dispose();
  });

  it('a store that is gone', async () => {
    renameSync(join(world.store, 'store.json'), join(world.store, 'gone'));
    assert.match(
      await doctor.only(host, 'critical', 'host.store', matching`${says('there-is-no-store-json')}$`),
      /^mount its disk/,
    );
    renameSync(join(world.store, 'gone'), join(world.store, 'store.json'));
    renameSync(world.store, `${world.store} gone`);
    const found = lines(await doctor.fresh(host));
    assert.deepEqual(found, ['critical host.store']);
    renameSync(`${world.store} gone`, world.store);
    await doctor.isAsBefore(host);
  });

  it('a store that others can look into, or that is somebody elses', async () => {
    chmodSync(world.store, 0o750);
    doctor.obey(
      host,
      await doctor.only(host, 'critical', 'host.store', matching`${says('open-to-others-mode')} 0750\)$`),
    );
    await doctor.isWell(host);
    chownSync(world.store, 0, 0);
    chmodSync(world.store, 0o755);
    await doctor.only(host, 'critical', 'host.store', /belongs to uid 0/);
    chownSync(world.store, host.uid, host.gid);
    chmodSync(world.store, 0o700);
    await doctor.isAsBefore(host);
  });

  it('a file system that keeps no xattrs', async () => {
    const disk = join(world.base, 'a disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'ramfs', 'ramfs', disk]);
    try {
      const store = join(disk, 'store');
      for (const path of [store, join(store, 'clients'), join(store, 'clients', world.name)]) {
        mkdirSync(path, { mode: 0o700 });
        chownSync(path, host.uid, host.gid);
      }
      world.write(host, join(store, 'store.json'), '{"version":1}\n');
      world.write(host, world.hostToml, `store = "${store}"\nsyslog = false\n`);
      // It tells no size either.
      const found = lines(await doctor.fresh(host));
      assert.deepEqual(found, ['critical host.store_xattrs', 'critical host.store_space']);
    } finally {
      execFileSync('umount', [disk]);
    }
    world.write(host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
    await doctor.isAsBefore(host);
  });

  it('a small disk that is nearly full', async () => {
    const disk = join(world.base, 'small');
    const image = join(world.base, 'small.img');
    mkdirSync(disk);
    execFileSync('/usr/bin/truncate', ['-s', '64M', image]);
    execFileSync('mkfs.ext4', ['-q', '-N', '64', image]);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    try {
      const store = join(disk, 'store');
      for (const path of [store, join(store, 'clients'), join(store, 'clients', world.name)]) {
        mkdirSync(path, { mode: 0o700 });
        chownSync(path, host.uid, host.gid);
      }
      world.write(host, join(store, 'store.json'), '{"version":1}\n');
      world.write(host, world.hostToml, `store = "${store}"\nsyslog = false\n`);
      assert.deepEqual(lines(await doctor.fresh(host)), ['critical host.store_space']);
      for (let index = 0; index < 46; index += 1) writeFileSync(join(disk, `${index}`), '');
      const found = lines(await doctor.fresh(host));
      assert.ok(
        found.some(each => /(warning|critical) host\.store_inodes/.test(each)),
        found.join(', '),
      );
    } finally {
      execFileSync('umount', [disk]);
    }
    world.write(host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
    await doctor.isAsBefore(host);
  });

  it('authorized_keys that others can write, with a bare key, or with another executable', async () => {
    const file = world.authorizedKeys;
    chmodSync(file, 0o666);
    doctor.obey(
      host,
      await doctor.only(
        host,
        'critical',
        'host.authorized_keys',
        matching`${says('can-be-written-by-others-mode')} 666\)$`,
      ),
    );
    await doctor.isWell(host);
    appendFileSync(file, readFileSync(join(host.home, 'sshd/key.pub')));
    const next = await doctor.only(
      host,
      'warning',
      'host.authorized_keys',
      matching`^line 2 .* ${says('was-not-written-by-dialback')}`,
    );
    doctor.obey(host, next.replace(/^remove it: /, ''));
    await doctor.isWell(host);
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, good.replace(world.binary, '/usr/local/bin/dialback'));
    doctor.obey(host, await doctor.only(host, 'warning', 'host.authorized_keys', /is not bound to/));
    await doctor.isWell(host);
    assert.equal(readFileSync(file, 'utf8'), good);
    renameSync(world.shelf, `${world.shelf}-gone`);
    doctor.obey(
      host,
      await doctor.only(
        host,
        'critical',
        'host.authorized_keys',
        matching`${says('the-store-has-no-folder')}$`,
      ),
    );
    await doctor.isWell(host);
    rmSync(world.shelf, { recursive: true });
    renameSync(`${world.shelf}-gone`, world.shelf);
    rmSync(file);
    await doctor.only(host, 'warning', 'host.authorized_keys', says('no-client-is-enrolled'));
    writeFileSync(file, good);
    chownSync(file, host.uid, host.gid);
    chmodSync(file, 0o600);
    await doctor.isAsBefore(host);
  });

  it('a config that is not there', async () => {
    renameSync(world.hostToml, `${world.hostToml}.away`);
    await doctor.only(host, 'critical', 'host.config', says('there-is-no-such-file'));
    renameSync(`${world.hostToml}.away`, world.hostToml);
    await doctor.isAsBefore(host);
  });
});
