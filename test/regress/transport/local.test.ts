// Goal: with transport = "local" a backup goes to a disk of this machine: same gate, ticket, jails and scope, and no ssh. The
// store is never a part of itself, the disk can go as soon as `backup` has ended, an absent one is never written to, and one
// that is torn out costs no finished snapshot. LOCAL_IN_FULL=1 does the slow parts twice, with the jails and without.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matching, says, wording } from '../../support/wording.ts';
import {
  type Done,
  lastLine,
  NEEDS_ROOT,
  type Result,
  type Running,
  until,
  World,
} from '../../support/world.ts';

const MIB = 1024 * 1024;
/** What takes long is done once, with the jails or without. LOCAL_IN_FULL=1: both. */
const IN_FULL = process.env.LOCAL_IN_FULL === '1';

/** A USB disk: an ext4 of its own, in the folder of everything that is backed up, and the account that uses it. */
class Desk {
  readonly world: World;
  /** What is backed up: the data, and beside it the disk's mount point. */
  readonly top: string;
  readonly data: string;
  readonly disk: string;
  readonly store: string;
  readonly #image: string;
  #device: string | undefined;

  private constructor(world: World) {
    this.world = world;
    this.top = join(world.base, 'the desk');
    this.data = join(this.top, 'my data');
    this.disk = join(this.top, 'usb disk');
    this.store = join(this.disk, 'the store');
    this.#image = join(world.base, 'disk.img');
  }

  static async make(options: { launcher: boolean }): Promise<Desk> {
    const desk = new Desk(await World.make({ ...options, isSetUp: false }));
    for (const folder of [desk.top, desk.data, desk.disk]) mkdirSync(folder, { mode: 0o755 });
    desk.own(desk.data);
    writeFileSync(desk.#image, '');
    truncateSync(desk.#image, 64 * MIB);
    execFileSync('mkfs.ext4', ['-q', '-N', '4096', desk.#image]);
    desk.plugIn();
    rmSync(join(desk.disk, 'lost+found'), { recursive: true });
    const account = ['-o', desk.world.client.login, '-g', desk.world.client.login, '-m', '700'];
    execFileSync('/usr/bin/install', ['-d', ...account, desk.store]);
    return desk;
  }

  own(path: string): void {
    chownSync(path, this.world.client.uid, this.world.client.gid);
  }

  put(name: string, content: string | Buffer): void {
    writeFileSync(join(this.data, name), content);
    this.own(join(this.data, name));
  }

  plugIn(): void {
    this.#device = execFileSync('losetup', ['--find', '--show', this.#image]).toString().trim();
    execFileSync('mount', [this.#device, this.disk]);
  }

  /** As whoever takes care does; it fails where anything is still at work there. */
  unplug(...how: string[]): void {
    execFileSync('umount', [...how, this.disk], { stdio: 'pipe' });
    if (this.#device !== undefined) execFileSync('losetup', ['--detach', this.#device]);
    this.#device = undefined;
  }

  /** From now on nothing can be read from the disk or written to it (EXT4_IOC_SHUTDOWN, without flushing the log). */
  tearOut(): void {
    const script = 'open D, "<", $ARGV[0] or die; my $f = pack "L", 2; ioctl(D, 0x8004587d, $f) or die $!';
    execFileSync('/usr/bin/perl', ['-e', script, this.disk], { stdio: 'pipe' });
  }

  isPluggedIn(): boolean {
    return readFileSync('/proc/self/mountinfo', 'utf8').includes(this.disk.replaceAll(' ', '\\040'));
  }

  get shelf(): string {
    return join(this.store, 'clients', this.world.name);
  }

  get snapshots(): string[] {
    return readdirSync(join(this.shelf, 'snapshots')).sort();
  }

  configure(parts: { remote?: string; scope?: string; limits?: string } = {}): void {
    const toml = [
      `name = "${this.world.name}"`,
      '[[remote]]',
      'transport = "local"',
      `target = "${this.store}"`,
      parts.remote ?? '',
      '[scope]',
      parts.scope ?? `roots = ["${this.data}"]`,
      '[limits]',
      parts.limits ?? 'deadline = "5m"',
      '',
    ].join('\n');
    const folder = join(this.world.client.home, '.config/dialback');
    this.world.write(this.world.client, join(folder, 'client.toml'), toml);
  }

  async run(...args: string[]): Promise<Result> {
    return await this.world.run(this.world.client, args);
  }

  start(...args: string[]): Running {
    return this.world.start(this.world.client, this.world.binary, args);
  }

  async backup(): Promise<Result & { last: Done }> {
    const result = await this.run('backup', '--json');
    return { ...result, last: lastLine(result) };
  }

  leftovers(): string[] {
    const state = join(this.world.client.home, '.local/state/dialback');
    const runs = existsSync(state) ? readdirSync(state).filter(each => each.startsWith('run-')) : [];
    return [...this.world.leftovers(), ...runs];
  }

  /** What has come of a file that is on its way. */
  isArriving(name: string): boolean {
    for (const each of readdirSync(join(this.shelf, 'arriving'))) {
      const folder = join(this.shelf, 'arriving', each, 'tree', this.data);
      if (existsSync(folder) && readdirSync(folder).some(file => file.includes(name))) return true;
    }
    return false;
  }

  async dispose(): Promise<void> {
    await until('nobody is at work', () => this.world.processes().length === 0);
    while (this.isPluggedIn()) this.unplug('--lazy');
    await this.world.dispose();
  }
}

/** The last command that a text prints, as words of a command line. */
function commandIn(text: string, verb: string): string[] {
  const line = text.split('\n').find(each => each.includes(`dialback ${verb}`)) ?? assert.fail(text);
  const words = line.slice(line.indexOf(`dialback ${verb}`)).matchAll(/'([^']*)'|(\S+)/g);
  return [...words].map(each => each[1] ?? each[2] ?? '').slice(1);
}

for (const launcher of some([true, false], 2)) {
  describe(`a store on a disk of this machine, ${launcher ? 'confined' : 'without a jail'}`, {
    skip: NEEDS_ROOT || IN_CLEAN_MACHINE,
  }, () => {
    let desk: Desk;
    before(async () => {
      desk = await Desk.make({ launcher });
      for (let file = 0; file < 40; file += 1) desk.put(`file ${file}`, `content ${file} `.repeat(500));
    });
    after(async () => {
      await desk.dispose();
    });

    it('comes from nothing to its first backup by the commands that are printed', async () => {
      const { name } = desk.world;
      const init = ['init', '--name', name, '--transport', 'local', '--target', desk.store];
      const first = await desk.run(...init);
      assert.equal(first.status, 0, first.stderr);
      const enrolled = await desk.run(...commandIn(first.stdout, 'enroll'));
      assert.equal(enrolled.status, 0, enrolled.stderr);
      assert.match(enrolled.stdout, /created the store ".*the store"\n/);
      assert.match(enrolled.stdout, /\nnext: dialback backup\n$/);
      const second = await desk.run(...init);
      assert.match(second.stdout, /it is set up already.*\nnext: dialback backup\n$/s);
      assert.deepEqual(readdirSync(join(desk.world.client.home, '.ssh')), [], 'no key is made or enrolled');
      const again = await desk.run('enroll', name, '--local');
      assert.match(again.stdout, matching`${says('kept-the-backups-of')} "acorn" already`);
      const stranger = await desk.run('enroll', 'x', '--local', '--store', join(desk.disk, 'other'));
      assert.equal(stranger.status, 2);
      assert.match(stranger.stderr, /has the store ".*the store"/);
    });

    it('backs up without ssh, and gives back what was there', async () => {
      desk.configure();
      let others: string[] = [];
      const running = desk.start('backup', '--json');
      let isOver = false;
      void running.done.then(() => {
        isOver = true;
      });
      await until('it is over', () => {
        others = [...others, ...desk.leftovers().filter(each => /ssh|listener/.test(each))];
        return isOver;
      });
      const result = await running.done;
      assert.equal(result.status, 0, result.stdout + result.stderr);
      assert.deepEqual(others, []);
      const last = lastLine(result);
      assert.deepEqual([last.remote, last.outcome, last.files], [desk.store, 'full', 40]);
      const to = join(desk.world.base, 'restored');
      assert.equal((await desk.run('list')).status, 0);
      const restored = await desk.world.run('root', [
        ...['restore', desk.world.name, '--to', to, '--config'],
        join(desk.world.client.home, '.config/dialback/host.toml'),
      ]);
      assert.equal(restored.status, 0, restored.stderr);
      assert.deepEqual(diffManifests(manifest(desk.data), manifest(join(to, desk.data))), []);
      const record = JSON.parse(
        readFileSync(join(desk.shelf, 'snapshots', last.snapshot ?? '', 'snapshot.json'), 'utf8'),
      ) as { transport: string; confined: { send: boolean; receive: boolean } };
      assert.equal(record.transport, 'local');
      assert.deepEqual([record.confined.send, record.confined.receive], [launcher, launcher]);
      assert.deepEqual(desk.leftovers(), []);
    });

    it('sends what has changed the next time; then the disk is free at once, with its manifest made', async () => {
      desk.put('file 7', 'changed');
      const { status, last } = await desk.backup();
      desk.unplug();
      assert.equal(status, 0);
      assert.ok(last.transferred_bytes < 1000, String(last.transferred_bytes));
      desk.plugIn();
      const [newest = ''] = desk.snapshots.slice(-1);
      assert.ok(readdirSync(join(desk.shelf, 'snapshots', newest)).includes('manifest.mtree.gz'));
      const verified = await desk.run('verify');
      assert.equal(verified.status, 0, verified.stderr);
    });

    it('never has the store in itself, though its disk is in the scope, nor by another name', async () => {
      writeFileSync(join(desk.disk, 'beside the store'), 'no part of it');
      const mirror = join(desk.top, 'mirror');
      mkdirSync(mirror);
      symlinkSync(desk.store, join(desk.data, 'a link to it'));
      execFileSync('mount', ['--bind', desk.disk, mirror]);
      try {
        // Another one that is not there is kept back by its name alone.
        const absent = `[[remote]]\ntransport = "local"\ntarget = "${desk.top}/none"`;
        desk.configure({ scope: `roots = ["${desk.top}"]`, remote: absent });
        const result = await desk.run('backup', '--json', '--remote', desk.store);
        const last = lastLine(result);
        assert.equal(result.status, 0, JSON.stringify(last) + result.stderr);
        const tree = join(desk.shelf, 'snapshots', last.snapshot ?? '', 'tree', desk.top);
        assert.deepEqual(readdirSync(tree).sort(), ['mirror', 'my data', 'usb disk']);
        for (const folder of ['mirror', 'usb disk']) {
          assert.ok(readdirSync(join(tree, folder)).includes('beside the store'), folder);
          assert.ok(!readdirSync(join(tree, folder)).includes('the store'), folder);
        }
      } finally {
        execFileSync('umount', [mirror]);
        rmSync(mirror, { recursive: true });
        rmSync(join(desk.data, 'a link to it'));
        desk.configure();
      }
    });

    const itConfined = IS_LONG && (launcher || IN_FULL) ? it : undefined;
    const itPlain = !launcher || IN_FULL ? it : undefined;

    itConfined?.('ends in good order when any part is killed, and goes on with the next run', async () => {
      const victims = [/dialback backup --json/, /dialback grab/, /rsync --server --daemon/, /--fake-super/];
      for (const victim of victims) {
        desk.put('large', randomBytes(6_000_000));
        desk.configure({ limits: 'bwlimit = "2M"' });
        const running = desk.start('backup', '--json');
        await until('the large file is under way', () => desk.isArriving('large'));
        const target = desk.world.processes().find(each => victim.test(each.command));
        process.kill(target?.pid ?? assert.fail(`${victim}`), 'SIGKILL');
        assert.notEqual((await running.done).status, 0, String(victim));
        await until(`nobody is at work after ${victim}`, () => desk.world.processes().length === 0, 15_000);
        desk.configure();
        const next = await desk.backup();
        assert.equal(next.status, 0, `${victim}: ${JSON.stringify(next.last)}`);
        assert.deepEqual(desk.leftovers(), []);
      }
    });

    itPlain?.('ends with 130 at Ctrl-C, and uses what had come', async () => {
      // One that no snapshot has: else rsync goes by the older version, and not by what had come.
      desk.put('unseen', randomBytes(8_000_000));
      desk.configure({ limits: 'bwlimit = "2M"' });
      const { child, done } = desk.world.start(desk.world.client, desk.world.binary, ['backup'], {
        detached: true,
      });
      await until('some of it has come', () => {
        const [name = ''] = readdirSync(join(desk.shelf, 'arriving'));
        const folder = join(desk.shelf, 'arriving', name, 'tree', desk.data);
        const file = existsSync(folder) && readdirSync(folder).find(each => each.startsWith('.unseen.'));
        return file !== undefined && file !== false && readFileSync(join(folder, file)).length > 3_000_000;
      });
      process.kill(-(child.pid ?? assert.fail()), 'SIGINT');
      assert.equal((await done).status, 130);
      await until('nothing is left', () => desk.leftovers().length === 0);
      desk.configure();
      const { status, last } = await desk.backup();
      assert.equal(status, 0);
      assert.ok(last.transferred_bytes < 6_000_000, `${last.transferred_bytes} bytes were sent again`);
    });

    itPlain?.('says that the disk is gone when it is torn out, and has lost no snapshot', async () => {
      for (const how of ['shut down', 'unmounted'] as const) {
        const kept = desk.snapshots;
        desk.put('large', randomBytes(6_000_000));
        desk.configure({ limits: 'bwlimit = "2M"\ndeadline = "1m"' });
        const running = desk.start('backup', '--json');
        await until('the large file is under way', () => desk.isArriving('large'));
        if (how === 'shut down') desk.tearOut();
        else desk.unplug('--lazy');
        const result = await running.done;
        assert.equal(result.status, 10, `${how}: ${result.stdout} ${result.stderr}`);
        assert.match(
          lastLine(result).error ?? '',
          matching`the store ".*" ${says('disappeared-or-its-disk-does')}`,
        );
        await until('nothing is left', () => desk.leftovers().length === 0);
        if (how === 'shut down') desk.unplug();
        assert.deepEqual(readdirSync(desk.disk), [], 'nothing is made on the mount point');
        desk.plugIn();
        assert.deepEqual(desk.snapshots, kept);
        desk.configure();
        assert.equal((await desk.backup()).status, 0, how);
      }
      assert.equal((await desk.run('verify')).status, 0);
    });
  });
}

describe('a disk that is not there, or not the one', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let desk: Desk;
  before(async () => {
    desk = await Desk.make({ launcher: false });
    desk.put('file', 'content');
    const enrolled = await desk.run('enroll', desk.world.name, '--local', '--store', desk.store);
    assert.equal(enrolled.status, 0, enrolled.stderr);
    desk.configure();
    desk.unplug();
  });
  after(async () => {
    await desk.dispose();
  });

  const journal = (): Record<string, unknown>[] =>
    readFileSync(join(desk.world.client.home, '.local/state/dialback/journal.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>);

  itShort('is an error, unless the config says otherwise', async () => {
    for (const remote of ['', 'absent = "fail"']) {
      desk.configure({ remote });
      const { status, stdout, stderr } = await desk.run('backup');
      assert.deepEqual([status, stdout], [10, '']);
      assert.match(
        stderr,
        matching`^${says('cannot-back-up')} to ".*": ".*the store" is not there\nnext: mount its `,
      );
    }
  });

  itShort('is skipped in silence, and on record, where that is wanted', async () => {
    desk.configure({ remote: 'absent = "skip"' });
    assert.deepEqual(await desk.run('backup'), { status: 0, signal: null, stdout: '', stderr: '' });
    const { event, outcome, reason } = journal().at(-1) ?? {};
    assert.deepEqual([event, outcome, reason], ['finished', 'skipped', `"${desk.store}" is not there`]);
    const verbose = await desk.run('backup', '-v');
    assert.equal(verbose.stdout, `${desk.store}: skipped: "${desk.store}" is not there\n`);
    const json = await desk.run('backup', '--json');
    const last = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual([last.outcome, last.exit, last.error], ['skipped', 0, null]);
  });

  itShort('is waited for, and used when it comes', async () => {
    desk.configure({ remote: 'absent = "wait"' });
    let waits = false;
    const running = desk.world.start(desk.world.client, desk.world.binary, ['backup', '-v'], {
      onLine: line => {
        waits ||= line.endsWith(`: ${wording('waiting-for-its-disk')}`);
      },
    });
    await until('it waits', () => waits);
    desk.plugIn();
    const { status, stderr } = await running.done;
    desk.unplug();
    assert.equal(status, 0, stderr);
  });

  itShort('is waited for until the deadline, and no longer than that, or until Ctrl-C', async () => {
    desk.configure({ remote: 'absent = "wait"', limits: 'deadline = "1s"' });
    const late = await desk.run('backup');
    assert.equal(late.status, 10);
    assert.match(
      late.stderr,
      matching`is not there, ${says('and-it-did-not-come')}\n${says('mount-its-disk')}`,
    );
    desk.configure({ remote: 'absent = "wait"' });
    let waits = false;
    const { child, done } = desk.world.start(desk.world.client, desk.world.binary, ['backup', '-v'], {
      onLine: () => {
        waits = true;
      },
    });
    await until('it waits', () => waits);
    child.kill('SIGINT');
    assert.equal((await done).status, 130);
  });

  it('is never made up for by a store on its mount point', () => {
    assert.deepEqual(readdirSync(desk.disk), []);
  });

  itShort('does not keep another remote from its backup, nor from being asked alone', async () => {
    desk.configure({ remote: 'absent = "skip"\n[[remote]]\ntarget = "me@127.0.0.1"\nname = "nas"' });
    const { status, stderr } = await desk.run('backup');
    assert.equal(status, 2, stderr);
    assert.match(stderr, matching`^dialback: nas: ${says('cannot-use-the-key-it', /.*id_ed25519/)}\n`);
    assert.equal((await desk.run('backup', '--remote', desk.store)).status, 0);
  });

  itLong('is not mistaken for another store, or for the disk of what is backed up', async () => {
    desk.plugIn();
    const hostToml = join(desk.world.client.home, '.config/dialback/host.toml');
    const text = readFileSync(hostToml, 'utf8');
    const cases: [config: Parameters<Desk['configure']>[0], host: string | undefined, says: RegExp][] = [
      [
        {},
        `store = "${desk.data}"\n`,
        matching`host\.toml" ${says('keeps-its-backups-in-another')}, ".*my data"\nnext: `,
      ],
      [{}, undefined, matching`${says('there-is-no-host-toml', 'acorn')} '`],
      [
        { scope: `roots = ["${desk.disk}"]` },
        text,
        matching`${says('on-the-same-file-system')} ".*usb disk", so `,
      ],
      [
        { scope: `roots = ["${desk.data}", "${desk.store}/clients"]` },
        text,
        says('the-root-is-in-that', /.*clients/),
      ],
      [
        { remote: `host_config = "${desk.data}/none"` },
        text,
        matching`${says('cannot-read-the-config')} ".*none"`,
      ],
    ];
    for (const [config, host, says] of cases) {
      if (host === undefined) rmSync(hostToml);
      else desk.world.write(desk.world.client, hostToml, host);
      desk.configure(config);
      const { status, stderr } = await desk.run('backup');
      assert.equal(status, 2, stderr);
      assert.match(stderr, says);
    }
    const moved = join(desk.world.client.home, 'usb.toml');
    rmSync(hostToml, { force: true });
    desk.world.write(desk.world.client, moved, text);
    const scope = `roots = ["${desk.disk}"]`;
    desk.configure({ remote: `host_config = "${moved}"\nsame_filesystem = true`, scope });
    const { status, last, stderr } = await desk.backup();
    assert.equal(status, 0, stderr + JSON.stringify(last));
    const tree = join(desk.shelf, 'snapshots', last.snapshot ?? '', 'tree', desk.disk);
    assert.ok(!readdirSync(tree).includes('the store'));
    desk.world.write(desk.world.client, hostToml, text);
  });

  it('is not passed over in silence where it is there, and another account has it', async () => {
    if (!desk.isPluggedIn()) desk.plugIn();
    desk.configure({ remote: 'absent = "skip"' });
    chownSync(desk.store, 0, 0);
    const { status, stderr } = await desk.run('backup');
    desk.own(desk.store);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^dialback: Cannot look into the store ".*the store": permission denied\nnext: ls -ld /,
    );
  });

  itShort('is refused by enroll where its file system can keep no backup', async () => {
    const ramfs = join(desk.top, 'ramfs');
    mkdirSync(ramfs);
    execFileSync('mount', ['-t', 'ramfs', 'none', ramfs]);
    try {
      desk.own(ramfs);
      const config = ['--config', join(desk.world.client.home, 'ramfs.toml')];
      const { status, stderr } = await desk.run(
        ...['enroll', 'x', '--local', '--store', `${ramfs}/s`, ...config],
      );
      assert.equal(status, 2);
      assert.match(stderr, says('its-file-system-does-not', 'ramfs'));
      assert.deepEqual(readdirSync(ramfs), []);
      assert.ok(!existsSync(config[1] ?? ''));
    } finally {
      execFileSync('umount', [ramfs]);
      rmSync(ramfs, { recursive: true });
    }
  });

  itLong('doctor says how it is, and asks for no sshd and no key', async () => {
    desk.configure();
    const look = async (): Promise<{ check: string; state: string; found: string }[]> =>
      JSON.parse((await desk.run('doctor', '--json')).stdout) as {
        check: string;
        state: string;
        found: string;
      }[];
    const there = await look();
    const of = (findings: typeof there, check: string): string[] =>
      findings.filter(each => each.check === check).map(each => `${each.state}: ${each.found}`);
    assert.match(
      of(there, 'client.disk').join(),
      matching`^ok: ".*": ${says('the-store-is-in-its')} ".*usb disk"$`,
    );
    for (const check of ['host.store', 'host.store_xattrs', 'host.store_links', 'host.store_times'])
      assert.match(of(there, check).join(), /^ok: /);
    assert.match(of(there, 'host.authorized_keys').join(), matching`^${says('ok-no-key-is-enrolled')}`);
    const absent = ['host.sshd', 'client.key', 'client.known_hosts', 'client.reach'];
    assert.deepEqual(
      absent.flatMap(check => of(there, check)),
      [],
    );
    desk.configure({ scope: `roots = ["${desk.top}"]` });
    assert.match(
      of(await look(), 'client.disk').join(),
      matching`^warning: .*, ${says('the-disk-of-the-store')}`,
    );
    desk.unplug();
    assert.match(of(await look(), 'client.disk').join(), /^critical: .* is not there: a backup fails until/);
    desk.configure({ remote: 'absent = "skip"' });
    const skipped = await look();
    assert.match(of(skipped, 'client.disk').join(), /^warning: .*a backup is skipped until/);
    assert.deepEqual(of(skipped, 'host.store'), []);
    desk.plugIn();
  });
});

describe('grab --local', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'file'), 'content');
    world.own(world.client, join(world.data, 'file'));
  });
  after(async () => {
    await world.dispose();
  });

  itLong('is refused where sshd stands before it, whoever wrote the line', async () => {
    const honest = readFileSync(world.authorizedKeys, 'utf8');
    world.write(world.host, world.authorizedKeys, honest.replace(/(--config '[^']*')/, '$1 --local'));
    for (const remote of [undefined, 'name = "vault"\ntransport = "channel"']) {
      world.configure(remote === undefined ? {} : { remote });
      const { status, last } = await world.backup();
      assert.equal(status, 1);
      assert.equal(
        last.error,
        `${wording('cannot-back-up-to')} "vault": ${wording('the-backup-host-is-not')}`,
      );
      assert.match(
        String(world.journal('host').at(-1)?.reason),
        /--local was used, but there is an SSH_CONN/,
      );
    }
    world.write(world.host, world.authorizedKeys, honest);
    world.configure();
    assert.equal((await world.backup()).status, 0);
  });

  itShort('takes no request for another transport, and none without it is served by hand', async () => {
    const args = ['grab', '--client', world.name, '--config', world.hostToml];
    const byHand = await world.run(world.host, args);
    assert.equal(byHand.status, 2);
    assert.match(
      byHand.stderr,
      matching`^dialback: ${says('cannot-run-grab-by-hand')}: .*${says('there-is-no-ssh-connection')}`,
    );
    const empty = await world.run(world.host, [...args, '--local']);
    assert.equal(empty.status, 1);
    assert.match(empty.stderr, /^dialback-event: .*"code":"gone"/);
    const header = JSON.stringify({
      ...{ transport: 'channel', confined: false, roots: ['/'], key_bytes: 0, excludes_bytes: 0 },
      ...{ dry_run: true, rsync: '3.5.0', enumerated: [] },
    });
    const request = `dialback-request 1\nheader ${header.length}\n${header}key 0\nexcludes 0\n`;
    const running = world.start(world.host, world.binary, [...args, '--local'], { keepsInput: true });
    running.child.stdin?.write(request);
    const refused = await running.done;
    assert.equal(refused.status, 12);
    assert.match(refused.stderr, /^dialback-event: .*"code":"request"/);
    assert.match(String(world.journal('host').at(-1)?.reason), /name different transports/);
  });
});
