// Goal: what is printed when a run, a restore or a prune fails or finds damage leads to its end as it is printed: the next run goes
// on, verify tells what is damaged and in which snapshots, and the command for one client says more than the one for all.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, nextOf, Steps } from '../../support/steps.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

describe('a next step about a run', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  const CHANNEL = 'name = "vault"\ntransport = "channel"';

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'first');
    world.write(world.client, join(world.data, 'large'), randomBytes(600_000));
    mkdirSync(join(world.data, 'folder'));
    world.own(world.client, join(world.data, 'folder'));
    world.write(world.client, join(world.data, 'folder/inside'), 'inside');
    steps = new Steps(world);
  });
  after(async () => {
    await world.dispose();
  });

  const backup = async (): Promise<Result> => {
    const result = await steps.run(world.client, 'backup');
    await world.settled();
    return result;
  };
  const arriving = (): string[] => {
    const folder = join(world.shelf, 'arriving');
    return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  };
  const isCopying = (): boolean => arriving().some(each => /\.?large/.test(each));

  it('goes on after Ctrl-C', async () => {
    steps.configure({ remote: CHANNEL, limits: 'deadline = "5m"\nbwlimit = "200K"' });
    const { child, done } = world.start(world.client, world.binary, ['backup']);
    await until('it copies', isCopying);
    child.kill('SIGINT');
    const ended = await done;
    assert.equal(ended.status, 130);
    await world.settled();
    await steps.follow(
      nextOf(ended),
      matching`(dialback backup) \(${says('it-continues-with-the-files')}\)`,
      world.client,
    );
    await world.settled();
    assert.equal(world.snapshots().length, 1);
  });

  it('goes on after the connection broke', async () => {
    world.write(world.client, join(world.data, 'large'), randomBytes(900_000));
    // Without an event from the host, `backup` would tell of another failure.
    let isTold = false;
    const { done } = world.start(world.client, world.binary, ['backup', '-v'], {
      onLine: line => {
        isTold ||= line.endsWith(': copying');
      },
    });
    await until('it copies', () => isTold && isCopying());
    const sshd = world.processes().filter(each => /^sshd/.test(each.command));
    for (const { pid } of sshd) process.kill(pid, 'SIGKILL');
    const ended = await done;
    assert.equal(ended.status, 13, ended.stderr);
    await world.settled();
    await steps.follow(
      nextOf(ended),
      matching`(dialback backup), ${says('which-continues-where-this-run')}`,
      world.client,
    );
    await world.settled();
    assert.equal(world.snapshots().length, 2);
  });

  it('shows why run after run fails', async () => {
    steps.configure({ remote: CHANNEL });
    const hostToml = readFileSync(world.hostToml, 'utf8');
    world.write(world.host, world.hostToml, `${hostToml}[hooks]\nbefore = ["/bin/false"]\n`);
    for (let count = 0; count < 3; count += 1) assert.notEqual((await backup()).status, 0);
    const { next } = findingOf(await steps.doctor(world.client), 'client.runs');
    const shape = /(dialback backup -v --remote vault)/;
    await steps.follow(next, shape, world.client, { status: 1 });
    world.write(world.host, world.hostToml, hostToml);
    await steps.follow(next, shape, world.client);
    await world.settled();
    assert.ok(!(await steps.doctor(world.client)).some(each => each.check === 'client.runs'));
  });

  it('finds the snapshot that has a damaged file whole', async () => {
    const [whole = ''] = world.snapshots();
    world.write(world.client, join(world.data, 'file'), 'second');
    assert.equal((await backup()).status, 0);
    const damaged = world.snapshots().at(-1) ?? '';
    const file = join(world.tree(damaged), world.data, 'file');
    const { atime, mtime } = statSync(file);
    writeFileSync(file, 'sec0nd');
    utimesSync(file, atime, mtime);
    const restore = async (snapshot: string): Promise<Result> => {
      const to = join(world.base, `restored ${snapshot}`);
      return await world.run('root', [
        'restore',
        `${world.name}@${snapshot}`,
        '--config',
        world.hostToml,
        '--to',
        to,
        join(world.data, 'file'),
      ]);
    };
    const told = await restore(damaged);
    assert.notEqual(told.status, 0);
    const shape = matching`(dialback verify \S+) \(${says('it-tells-which-snapshots-share')}`;
    const said = await steps.follow(`${nextOf(told)}`, shape, world.host, { status: 1 });
    assert.match(said, / 1 damaged$/m);
    const other = await restore(whole);
    assert.equal(other.status, 0, other.stderr);
    assert.equal(readFileSync(join(world.base, `restored ${whole}`, world.data, 'file'), 'utf8'), 'first');
  });

  it('tells what of the store is damaged', async () => {
    const [first = ''] = world.snapshots();
    const folder = join(world.tree(first), world.data, 'folder');
    const { mode } = statSync(folder);
    chmodSync(folder, 0);
    const listed = await steps.run(world.host, 'ls', '-R', `${world.name}@${first}`);
    // Once for its entries, by find, and once for its own attributes, by getfattr.
    assert.match(listed.stderr, matchingLines`^${says('cannot-read-all-of-the', '2 entries')}$`);
    const { status, stdout, stderr } = await steps.shell(
      world.host,
      nextOf(listed).replace(matching` \(${says('it-tells-what-is-damaged')}\)$`, ''),
    );
    assert.equal(status, 1, stdout + stderr);
    assert.match(stderr, /^ {2}acorn: tree of .*\/folder': Permission denied$/m);
    chmodSync(folder, mode);
  });

  it('shows whose the folders of a removal are, and says more of the one client that could not be pruned', async () => {
    const config = `store = "${world.store}"\nsyslog = false\n[retention]\nlast = 1\nmin_keep = 1\nmin_age = "1s"\n`;
    world.write(world.host, world.hostToml, config);
    steps.place();
    const trash = join(world.shelf, 'trash');
    chownSync(trash, 0, 0);
    chmodSync(trash, 0o755);
    const moved = await steps.run(world.host, 'prune');
    assert.equal(moved.status, 1);
    const shown = await steps.follow(nextOf(moved), /(ls -ld '[^']*' '[^']*' '[^']*')/, world.host);
    assert.deepEqual(
      shown
        .trim()
        .split('\n')
        .map(line => line.split(/ +/)[2]),
      [world.host.login, world.host.login, 'root'],
    );
    chownSync(trash, world.host.uid, world.host.gid);

    const key = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8');
    assert.equal((await world.enroll('oak', key)).status, 0);
    const closed = join(world.store, 'clients/oak/snapshots');
    chownSync(closed, 0, 0);
    const all = await steps.run(world.host, 'prune');
    assert.equal(all.status, 1);
    assert.match(all.stderr, /^dialback: Cannot prune 1 of 2 clients:\n {2}oak: /);
    const one = await steps.shell(world.host, nextOf(all));
    assert.equal(one.status, 1);
    assert.match(one.stderr, /^dialback: Cannot prune "oak": ".*\/oak\/snapshots": permission denied\n/);
    const closedTo = await steps.follow(nextOf(one), /(ls -ld '[^']*\/oak\/snapshots')/, world.host);
    assert.match(closedTo, /^drwx------ .* root /);
    chownSync(closed, world.host.uid, world.host.gid);
    await steps.follow(nextOf(all), /(dialback prune oak)/, world.host);
  });
});
