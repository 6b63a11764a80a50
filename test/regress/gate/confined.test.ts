// Goal: with the launcher, an ordinary user's rsync reads every file of the scope, both sides' rsync run in their jails,
// what is `never` does not leave, and a launcher that does not work is never gone without.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { installStep } from '../../../src/os/install-steps.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { makeTortureTree } from '../../support/tree.ts';
import { matching, says } from '../../support/wording.ts';
import { lastLine, mayMakeNamespaces, NEEDS_ROOT, until, World } from '../../support/world.ts';

interface Recorded {
  confined: { send: boolean; receive: boolean; landlock_abi: number | null; own_root: boolean };
  state: string;
  counts: Record<string, number>;
  rsync: { options: string[] };
}

describe('confined', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  /** Root's own folder, which the client's user cannot look into. */
  let secret: string;
  before(async () => {
    world = await World.make({ launcher: true });
    secret = join(world.base, "root's own");
    mkdirSync(secret, { mode: 0o700 });
    makeTortureTree(join(secret, 'tree'), { asRoot: true });
    writeFileSync(join(secret, 'mode 0000'), 'nobody may', { mode: 0 });
    mkdirSync(join(secret, 'closed'), { mode: 0 });
    writeFileSync(join(secret, 'closed', 'below mode 0000'), 'nobody may');
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  function recorded(snapshot: string | null): Recorded {
    const path = join(world.shelf, 'snapshots', snapshot ?? '', 'snapshot.json');
    return JSON.parse(readFileSync(path, 'utf8')) as Recorded;
  }
  function configure(never: string[] = [], more: { top?: string; limits?: string } = {}): void {
    const { top = '', ...rest } = more;
    const list = never.map(path => JSON.stringify(path)).join(', ');
    const scope = `roots = ["${secret}", "${world.data}"]\nnever = [${list}]`;
    world.configure({ scope, top: `name = "${world.name}"\n${top}`, ...rest });
  }
  /** The names in a snapshot's tree below the secret folder. */
  function arrived(snapshot: string | null, folder = ''): string[] {
    return readdirSync(join(world.tree(snapshot ?? ''), secret, folder)).sort();
  }

  it('reads what only root may, and says which jails there were', async () => {
    configure();
    const { status, last, stdout, stderr } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    assert.equal(stderr, '');
    assert.equal(last.outcome, 'full');
    const { confined, rsync } = recorded(last.snapshot);
    assert.ok((confined.landlock_abi ?? 0) >= 2, JSON.stringify(confined));
    assert.deepEqual(confined, {
      send: true,
      receive: true,
      landlock_abi: confined.landlock_abi,
      own_root: mayMakeNamespaces(world.host),
    });
    assert.ok(rsync.options.includes('--insecure-links'));
    const granted = world.journal('client').find(each => each.event === 'granted');
    assert.equal(granted?.capability, 'confined');
  });

  itLong('gives root back exactly that', async () => {
    const to = join(world.base, 'restored');
    const { status, stderr } = await world.restore(to);
    assert.equal(status, 0, stderr);
    assert.deepEqual(diffManifests(manifest(secret), manifest(join(to, secret))), []);
    rmSync(to, { recursive: true });
  });

  itLong('sends nothing again on an unchanged run, and links what it had', async () => {
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.equal(last.transferred_bytes, 0);
    assert.equal(recorded(last.snapshot).counts.new, 0);
  });

  itLong('takes up what an interrupted run left', async () => {
    writeFileSync(join(secret, 'large'), randomBytes(8 * 1024 * 1024), { mode: 0o600 });
    configure([], { limits: 'bwlimit = "2M"' });
    const running = world.start(world.client, world.binary, [
      'backup',
      '--json',
      '--config',
      world.clientToml,
    ]);
    const arriving = join(world.shelf, 'arriving');
    const half = (): number => {
      for (const name of readdirSync(arriving)) {
        const folder = join(arriving, name, 'tree', secret);
        if (!existsSync(folder)) continue;
        const temporary = readdirSync(folder).find(each => each.startsWith('.large.'));
        if (temporary) return readFileSync(join(folder, temporary)).length;
      }
      return 0;
    };
    await until('a part of the large file has come', () => half() > 1024 * 1024);
    running.child.kill('SIGTERM');
    assert.equal((await running.done).status, 130);
    await until('grab has ended', () => world.processes().length === 0);
    configure();
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.ok(last.transferred_bytes < 7 * 1024 * 1024, `${last.transferred_bytes} bytes were sent`);
    rmSync(join(secret, 'large'));
  });

  itLong('has each rsync ended first when memory runs out, and nothing else of a run', async () => {
    writeFileSync(join(secret, 'large'), randomBytes(4 * 1024 * 1024), { mode: 0o600 });
    configure([], { limits: 'bwlimit = "2M"' });
    const running = world.start(world.client, world.binary, [
      'backup',
      '--json',
      '--config',
      world.clientToml,
    ]);
    const scores = (): [command: string, score: string][] =>
      world.processes().flatMap(({ pid, command }) => {
        try {
          return [[command, readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim()]];
        } catch {
          return []; // it has ended in between
        }
      });
    let seen = scores();
    const count = (pattern: RegExp): number => seen.filter(([command]) => pattern.test(command)).length;
    const reader = /^rsync --server --daemon --config=/;
    const writer = /^rsync -aHAXS |^.*\/jail (?:receive|pump) /;
    await until('both sides copy', () => {
      seen = scores();
      return count(reader) === 1 && count(/^rsync -aHAXS /) === 2;
    });
    const own = readFileSync('/proc/self/oom_score_adj', 'latin1').trim();
    assert.notEqual(own, '1000');
    for (const [command, score] of seen)
      assert.equal(score, reader.test(command) || writer.test(command) ? '1000' : own, command);
    for (const program of [
      / backup --json/,
      / grab --client/,
      /^sshd/,
      /ssh-agent/,
      /jail receive/,
      /jail pump/,
    ])
      assert.ok(count(program) > 0, `${program}\n${seen.join('\n')}`);
    assert.equal((await running.done).status, 0);
    rmSync(join(secret, 'large'));
  });

  it('keeps a never back: a folder, a file, by its name and by that of a link', async () => {
    const folders = join(secret, 'folders');
    for (const name of ['kept', 'private', 'private/deep', 'aimed'])
      mkdirSync(join(folders, name), { recursive: true });
    for (const name of ['kept/file', 'private/deep/file', 'aimed/file', 'a file', 'beside it'])
      writeFileSync(join(folders, name), name, { mode: 0o600 });
    symlinkSync('aimed', join(folders, 'link'));
    configure([join(folders, 'private'), join(folders, 'a file')]);
    const { status, last, stdout } = await world.backup();
    assert.equal(status, 0, stdout);
    assert.deepEqual(arrived(last.snapshot, 'folders'), ['aimed', 'beside it', 'kept', 'link']);
    assert.deepEqual(arrived(last.snapshot, 'folders/kept'), ['file']);
    // Where root's own link leads to is kept back too. The account cannot look into this folder: the launcher says where.
    writeFileSync(join(folders, 'aimed/file'), 'new', { mode: 0o600 });
    configure([join(folders, 'link')]);
    const second = await world.backup();
    assert.equal(second.status, 0, second.stdout);
    assert.ok(!arrived(second.last.snapshot, 'folders').includes('aimed'));
    assert.ok(!arrived(second.last.snapshot, 'folders').includes('link'));
    rmSync(join(folders, 'link'));
  });

  it("keeps back what the administrator's list names, though the config does not", async () => {
    const folder = join(secret, 'folders/kept');
    appendFileSync(world.neverList, `${folder}\n`);
    writeFileSync(join(folder, 'file'), 'new', { mode: 0o600 });
    configure();
    const { status, last, stdout } = await world.backup();
    assert.equal(status, 0, stdout);
    assert.ok(!arrived(last.snapshot, 'folders').includes('kept'));
    writeFileSync(world.neverList, '');
  });

  itLong('counts a file that is replaced during the run, and is full all the same', async () => {
    const folder = join(secret, 'replaced');
    mkdirSync(join(folder, 'never'), { recursive: true });
    const large = join(folder, 'a large');
    writeFileSync(large, randomBytes(4 * 1024 * 1024));
    writeFileSync(join(folder, 'z'), 'before');
    configure([join(folder, 'never')], { limits: 'bwlimit = "2M"' });
    const running = world.start(
      world.client,
      world.binary,
      ['backup', '--json', '--config', world.clientToml],
      {
        onLine: line => {
          if (!line.includes('"copying"')) return;
          writeFileSync(join(folder, 'new'), 'after');
          renameSync(join(folder, 'new'), join(folder, 'z'));
        },
      },
    );
    const result = await running.done;
    const last = lastLine(result);
    assert.equal(result.status, 0, result.stdout + result.stderr);
    assert.equal(last.outcome, 'full');
    assert.deepEqual(last.missing, []);
    assert.equal(recorded(last.snapshot).counts.changed_during_run, 1);
    const { last: next } = await world.backup();
    assert.equal(recorded(next.snapshot).counts.changed_during_run, 0);
    assert.equal(readFileSync(join(world.tree(next.snapshot ?? ''), folder, 'z'), 'utf8'), 'after');
  });

  describe('never goes without it', () => {
    const CAPABILITY = ['cap_dac_read_search=ep'];
    const setcap = (...args: string[]): void => {
      execFileSync('setcap', [...args, world.launcher], { stdio: 'pipe' });
    };
    async function fails(pattern: RegExp, exit = 1): Promise<void> {
      const before = world.snapshots();
      const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
      assert.equal(status, exit, stderr);
      assert.match(stderr, pattern);
      assert.equal(stderr.trim().split('\n').length, 2, 'one line, and the next step');
      assert.deepEqual(world.snapshots(), before);
    }

    it('when it has lost its capability', async () => {
      configure();
      setcap('-r');
      await fails(/Cannot confine rsync: .*setcap cap_dac_read_search=ep.*\nnext: dialback doctor\n/);
      setcap(...CAPABILITY);
    });
    itLong('when this account may not run it', async () => {
      chmodSync(world.launcher, 0o750);
      await fails(matching`${says('cannot-run-the-launcher-this')}\nnext: dialback doctor\n`);
      chmodSync(world.launcher, 0o755);
    });
    it('when others can change it', async () => {
      chmodSync(world.launcher, 0o775);
      await fails(matching`Cannot confine rsync: .*${says('can-be-written-by-others-mode')} 0775\)`);
      chmodSync(world.launcher, 0o755);
    });
    it("when the administrator's list is not there", async () => {
      renameSync(world.neverList, `${world.neverList} elsewhere`);
      await fails(/Cannot confine rsync: Cannot trust ".*never": realpath: No such file/);
      renameSync(`${world.neverList} elsewhere`, world.neverList);
    });
    itLong('when the config wants it, and it is not there', async () => {
      configure([], { top: 'capability = "confined"' });
      renameSync(world.launcher, `${world.launcher} elsewhere`);
      await fails(matching`${says('cannot-run-the-launcher')} ".*": it is not there`);
      renameSync(`${world.launcher} elsewhere`, world.launcher);
    });
    itLong('when it cannot be seen, which is another thing than not being there', async () => {
      configure();
      chmodSync(dirname(world.launcher), 0o700);
      await fails(matching`${says('cannot-look-for-the-launcher', /.*/, 'permission denied')}\n`);
      chmodSync(dirname(world.launcher), 0o755);
    });
    it('when it is gone since the last run', async () => {
      const both = [world.launcher, world.jail];
      for (const path of both) renameSync(path, `${path} elsewhere`);
      await fails(
        matching`${says('cannot-go-without-the-kernels-jail')}, .*\nnext: ${new RegExp(installStep(false, { by: 'make' }))}; or write `,
      );
      // The client says that it goes without; the host does not.
      configure([], { top: 'capability = "none"' });
      await fails(says('the-backup-host-is-not'));
      assert.match(String(world.journal('host').at(-1)?.reason), says('cannot-go-without-the-kernels'));
      for (const path of both) renameSync(`${path} elsewhere`, path);
    });
    it('on the host, where it refuses', async () => {
      chmodSync(world.jail, 0o777);
      await fails(says('the-backup-host-is-not'));
      assert.match(
        String(world.journal('host').at(-1)?.reason),
        matching`${says('did-not-confine-rsync')}.*${says('can-be-written-by-others')}`,
      );
      chmodSync(world.jail, 0o755);
    });
    itLong('on the host', async () => {
      configure();
      chmodSync(world.jail, 0o700);
      const toml = readFileSync(world.clientToml, 'utf8');
      // The client goes without, and says so in its config; the host does not.
      configure([], { top: 'capability = "none"' });
      await fails(says('the-backup-host-is-not'));
      const refused = world.journal('host').at(-1);
      assert.match(String(refused?.reason), says('cannot-run-the-launcher'));
      chmodSync(world.jail, 0o755);
      world.write(world.client, world.clientToml, toml);
    });
    itLong('but on both sides when both configs say so', async () => {
      configure([], { top: 'capability = "none"' });
      const toml = readFileSync(world.hostToml, 'utf8');
      world.write(world.host, world.hostToml, `confined = false\n${toml}`);
      // A run that can read no file at all would fail.
      const readable = join(world.data, 'readable');
      world.write(world.client, readable, 'content');
      const { status, last, stdout } = await world.backup();
      rmSync(readable);
      world.write(world.host, world.hostToml, toml);
      assert.equal(status, 3, `what only root may read is missing: ${stdout}`);
      assert.deepEqual(recorded(last.snapshot).confined, {
        send: false,
        receive: false,
        landlock_abi: null,
        own_root: false,
      });
      assert.ok(last.missing.includes(secret), JSON.stringify(last.missing));
    });
  });
});
