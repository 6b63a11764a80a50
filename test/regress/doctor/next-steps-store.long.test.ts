// Goal: on a host, the next step of an error of enroll, of the readers and of what removes mends its cause, as it is printed, and
// leads in no circle.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Follower, nextOf, worstOf } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, until, World } from '../../support/world.ts';

describe('a next step about a store', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let follower: Follower;
  let host: Party;
  let client: Party;
  let key: string;

  before(async () => {
    world = await World.make({ launcher: true });
    follower = new Follower(world);
    ({ host, client } = world);
    mkdirSync(join(world.data, 'a folder'));
    world.write(client, join(world.data, 'a folder/file'), 'content');
    symlinkSync('a folder/file', join(world.data, 'link'));
    world.own(client, join(world.data, 'a folder'));
    key = readFileSync(join(client.home, '.ssh/id_ed25519.pub'), 'utf8');
    for (const _ of ['first', 'second']) assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  const run = async (command: string): Promise<string> => await follower.follow(host, command);

  describe('of enroll', () => {
    /** Enrolls with a config and a store of its own. */
    const enroll = (store: string): string =>
      `dialback enroll desk --local --config '${host.home}/other.toml' --store '${store}'`;

    it('for a store of root’s gives it to the account', async () => {
      chownSync(world.store, 0, 0);
      chmodSync(world.store, 0o755);
      const command = 'dialback enroll desk --local';
      await run(await follower.refused(host, command));
      chmodSync(world.store, 0o700);
      await run(command);
      await run('dialback unenroll desk');
      assert.equal(lstatSync(world.store).uid, host.uid);
    });

    it('for a folder that the account cannot make has root make it', async () => {
      const store = join(world.base, "root's $own/disk/store");
      const command = enroll(store.replace("'", `'\\''`));
      const step = await follower.refused(host, command);
      assert.match(step, /^as root: install -d /);
      await run(step);
      await run(command);
      assert.ok(existsSync(join(store, 'store.json')));
      rmSync(join(host.home, 'other.toml'));
    });

    it('for a folder that others can look into closes it', async () => {
      const store = join(host.home, 'an open store');
      mkdirSync(store);
      world.own(host, store);
      chmodSync(store, 0o755);
      const command = enroll(store);
      const step = await follower.refused(host, command);
      assert.match(step, /^chmod 700 /);
      await run(step);
      await run(command);
      rmSync(join(host.home, 'other.toml'));
    });

    it('for a key of another client makes one, which is enrolled and used', async () => {
      const step = await follower.refused(host, 'dialback enroll oak -', key);
      const [there, here, more] =
        /^on the client: (.*); then here: (.*); and there: identity = (\S+) in client\.toml$/
          .exec(step)
          ?.slice(1) ?? [];
      assert.equal(more, '"KEY"');
      const made = join(client.home, 'own-key');
      await follower.follow(client, (there ?? 'false').replace('KEY', `'${made}'`));
      const copy = join(host.home, 'own-key.pub');
      world.write(host, copy, readFileSync(`${made}.pub`));
      await run((here ?? 'false').replace('KEY.pub', `'${copy}'`));
      const toml = readFileSync(world.clientToml, 'utf8');
      world.configure({
        top: 'name = "oak"',
        remote: `name = "vault"\nidentity = "${made}"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"`,
      });
      assert.equal((await world.backup()).status, 0);
      world.write(client, world.clientToml, toml);
      await run('dialback unenroll oak');
    });

    it('for root becomes the account', async () => {
      const store = join(host.home, 'dialback-store');
      const file = join(world.base, 'a-key.pub');
      world.keygen(client, join(client.home, 'another'));
      writeFileSync(file, readFileSync(join(client.home, 'another.pub')));
      const command = `dialback enroll birch '${file}'`;
      const toml = join(host.home, 'by-root.toml');
      const rest = `--config '${toml}' --store '${store}' --authorized-keys '${join(host.home, 'keys')}'`;
      const step = await follower.refused('root', `${command} ${rest}`);
      assert.ok(step.startsWith('runuser --pty -u ACCOUNT -- dialback enroll birch '), step);
      await follower.follow(
        'root',
        step.replace('ACCOUNT', host.login).replace(/ (?:…|\.\.\.)$/, ` ${rest}`),
      );
      assert.equal(lstatSync(join(store, 'clients/birch')).uid, host.uid);
    });

    it('for a client that has no key there lists those that are there', async () => {
      const step = await follower.refused(host, 'dialback unenroll nobody');
      assert.match(await run(step), /^acorn /m);
    });
  });

  it('for grab by hand enrolls, and the client’s backup then starts it', async () => {
    world.write(host, world.authorizedKeys, '');
    const step = await follower.refused(host, `dialback grab --client acorn --config '${world.hostToml}'`);
    const [enroll, backup] = step.split(`; ${wording('then-on-the-client')}, `);
    const file = join(host.home, 'acorn.pub');
    world.write(host, file, key);
    await run((enroll ?? 'false').replace('NAME', 'acorn').replace('KEYFILE', `'${file}'`));
    await follower.follow(client, backup ?? 'false');
    await world.settled();
  });

  it('for a client or a snapshot that is not there lists those that are', async () => {
    const [first = ''] = world.snapshots();
    assert.match(await run(await follower.refused(host, 'dialback ls nobody@latest')), /^acorn /m);
    for (const verb of ['ls', 'pin', 'remove'])
      assert.match(
        await run(await follower.refused(host, `dialback ${verb} acorn@2001`)),
        new RegExp(`^acorn +${first} `, 'm'),
      );
  });

  it('for a folder or a link shows what it is, or what it leads to', async () => {
    const cat = (path: string): string => `dialback cat acorn@latest '${path}'`;
    const folder = await follower.refused(host, cat(join(world.data, 'a folder')));
    assert.match(await run(folder), /file/);
    const link = await follower.refused(host, cat(join(world.data, 'link')));
    assert.match(link, /^dialback cat /);
    assert.equal(await run(link), 'content');
  });

  it('for a pinned snapshot, one that is to be confirmed, and a client that is enrolled goes on to the end', async () => {
    const [first = ''] = world.snapshots();
    await run(`dialback pin acorn@${first}`);
    /** Follows the steps until the command goes well. @returns them */
    const goOn = async (command: string): Promise<string[]> => {
      const steps: string[] = [];
      let result = await follower.shell(host, command);
      while (result.status !== 0) {
        const step = nextOf(result);
        assert.ok(!steps.includes(step), `${wording('round-in-a-circle')}: ${steps.join(' | ')}`);
        steps.push(step);
        for (const each of step.split('; then ')) await run(each);
        if (step.includes(' --confirm ')) break;
        result = await follower.shell(host, command);
      }
      return steps;
    };
    assert.deepEqual(await goOn(`dialback remove acorn@${first}`), [
      `dialback unpin acorn@${first}`,
      `dialback remove acorn@${first} --dry-run; then dialback remove acorn@${first} --confirm acorn@${first}`,
    ]);
    const left = world.snapshots();
    assert.ok(!left.includes(first));
    for (const each of left.slice(1)) await run(`dialback remove acorn@${each} --confirm acorn@${each}`);
    const last = await follower.refused(host, `dialback remove acorn@${left[0]}`);
    const [, client = 'false'] = matching`^(.*), ${says('if-the-client-is-to')}$`.exec(last) ?? [];
    assert.deepEqual(await goOn(client), [
      'dialback unenroll acorn',
      'dialback remove-client acorn --dry-run; then dialback remove-client acorn --confirm acorn',
    ]);
    assert.ok(!existsSync(world.shelf));
    const again = await world.enroll(world.name, key);
    assert.equal(again.status, 0, again.stderr);
    assert.equal((await world.backup()).status, 0);
  });

  it('for a disk of fstab that is not mounted mounts it', async () => {
    const disk = join(world.base, 'the disk');
    const point = join(world.base, 'mount point');
    const store = join(point, 'store');
    const toml = readFileSync(world.hostToml, 'utf8');
    for (const each of [disk, point]) mkdirSync(each, { mode: 0o755 });
    renameSync(world.store, join(disk, 'store'));
    world.write(host, world.hostToml, toml.replace(world.store, store));
    const fstab = join(world.base, 'fstab');
    const escaped = (path: string): string => path.replaceAll(' ', '\\040');
    writeFileSync(fstab, `${escaped(disk)} ${escaped(point)} none bind,noauto 0 0\n`);
    execFileSync('mount', ['--bind', fstab, '/etc/fstab']);
    try {
      const step = await follower.refused(host, 'dialback list');
      assert.match(step, /^as root: mount /);
      await run(step);
      assert.match(await run('dialback list'), /^acorn /m);
    } finally {
      for (const each of [point, '/etc/fstab']) execFileSync('umount', [each]);
      renameSync(join(disk, 'store'), world.store);
      world.write(host, world.hostToml, toml);
    }
  });

  it('for a launcher that lends nothing leads through doctor to one that does', async () => {
    execFileSync('setcap', ['-r', world.launcher], { stdio: 'pipe' });
    const doctor = await follower.refused(client, 'dialback backup');
    assert.equal(doctor, 'dialback doctor');
    const { status, stdout } = await follower.shell(client, `${doctor} --json`);
    assert.equal(status, 2);
    const { state, next } = worstOf(JSON.parse(stdout), 'launcher.capability');
    assert.equal(state, 'critical');
    await follower.follow('root', next ?? 'false');
    await follower.follow(client, 'dialback backup');
    await world.settled();
  });

  it('for a launcher that is gone says so in the config, of the client and of the host', async () => {
    rmSync(dirname(world.launcher), { recursive: true });
    const step = await follower.refused(client, 'dialback backup');
    const [, line, file] =
      matching`^make install, ${says('as-root-in-dialbacks-sources')}; or write \x60(.*)\x60 into (\S+)$`.exec(
        step,
      ) ?? [];
    assert.equal(file, 'client.toml');
    world.write(client, world.clientToml, `${line}\n${readFileSync(world.clientToml, 'utf8')}`);
    const far = await follower.refused(client, 'dialback backup');
    assert.equal(far, wording('ask-its-administrator-the-hosts'));
    assert.match(
      String(world.journal('host').at(-1)?.reason),
      matching`${says('launcher-is-gone-and')} host\.toml `,
    );
    const { next } = worstOf(await follower.doctor(host), 'host.confinement');
    await run((next ?? 'false').replace(matching`^make install.*; ${says('or-to-do-without')}: `, ''));
    await follower.follow(client, 'dialback backup');
    await world.settled();
  });

  it('for a run that does not end names its process', async () => {
    const lock = join(world.shelf, 'lock');
    const holder = world.start(host, '/usr/bin/flock', ['--no-fork', lock, 'sleep', '600']);
    await until('the lock is held', () => world.processes().some(({ command }) => command === 'sleep 600'));
    const step = await follower.refused(host, 'dialback unenroll acorn');
    const fuser = step.replace(matching` ${says('shows-the-process-kill-it')}$`, '');
    const { status, stdout, stderr } = await follower.shell(host, fuser);
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), String(holder.child.pid));
    assert.match(stderr, / sleep$/m);
    await follower.follow(host, `kill ${stdout}`);
    await holder.done;
    await run('dialback remove-client acorn --dry-run');
  });
});
