// Goal: with transport = "channel" a backup goes over the client's own call, with the same gate, jail, ticket and scope: nothing
// listens, no key is made, nothing is left; and a host that asks for something else, or nothing, gets nothing.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const CHANNEL = 'name = "vault"\ntransport = "channel"';

// What is the same without a jail is shown in a soak.
for (const launcher of some([true, false], 2)) {
  const how = launcher ? 'confined' : 'without a jail';
  describe(`the channel, ${how}`, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
    let world: World;
    before(async () => {
      world = await World.make({ launcher });
      for (let file = 0; file < 40; file += 1) put(`file ${file}`, `content ${file} `.repeat(500));
      world.configure({ remote: CHANNEL });
    });
    after(async () => {
      await world.dispose();
    });

    function put(name: string, content: string | Buffer): void {
      writeFileSync(join(world.data, name), content);
      chownSync(join(world.data, name), world.client.uid, world.client.gid);
    }

    it('backs up, and gives back what was there', async () => {
      const { status, last, stderr } = await world.backup();
      assert.equal(status, 0, `${stderr} ${JSON.stringify(world.journal('host').at(-1))}`);
      assert.equal(last.outcome, 'full');
      assert.equal(last.files, 40);
      const to = join(world.base, 'restored');
      assert.equal((await world.restore(to)).status, 0);
      const restored = manifest(join(to, world.data));
      assert.deepEqual(diffManifests(manifest(world.data), restored), []);
      const record = JSON.parse(
        readFileSync(join(world.shelf, 'snapshots', last.snapshot ?? '', 'snapshot.json'), 'utf8'),
      ) as { transport: string; confined: { send: boolean; receive: boolean } };
      assert.equal(record.transport, 'channel');
      assert.deepEqual([record.confined.send, record.confined.receive], [launcher, launcher]);
    });

    it('sends only what has changed the next time, and has the grant on record', async () => {
      put('file 7', 'changed');
      const { status, last } = await world.backup();
      assert.equal(status, 0);
      assert.ok(last.transferred_bytes < 1000, String(last.transferred_bytes));
      const granted = world.journal('client').filter(each => each.event === 'granted');
      assert.equal(granted.length, 2);
      assert.equal(granted[0]?.asked, 'rsync --server --daemon .');
    });

    it('leaves nothing, makes no key and never listens', async () => {
      let listened = false;
      let keys = false;
      const running = world.start(world.client, world.binary, [
        ...['backup', '--json', '--config', world.clientToml],
      ]);
      let isOver = false;
      void running.done.then(() => {
        isOver = true;
      });
      await until('it is over', () => {
        listened ||= world.leftovers().some(each => each.startsWith('listener'));
        // The host's own sshd is one that serves a single connection too.
        const isOurs = (command: string): boolean =>
          command.includes('ssh-keygen') ||
          (command.includes('sshd -') && command.includes(world.clientState));
        keys ||= world.processes().some(each => isOurs(each.command));
        return isOver;
      });
      assert.equal((await running.done).status, 0);
      assert.deepEqual([listened, keys], [false, false]);
      await until('nothing is left', () => world.leftovers().length === 0);
      assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
    });

    it('keeps back what is excluded and what is never read', async () => {
      mkdirSync(join(world.data, 'private'));
      put('private/key', 'secret');
      put('left.o', 'object');
      chownSync(join(world.data, 'private'), world.client.uid, world.client.gid);
      const scope = `roots = ["${world.data}"]\nexclude = ["*.o"]\nnever = ["${world.data}/private"]`;
      world.configure({ remote: CHANNEL, scope });
      const { status, last } = await world.backup();
      assert.equal(status, 0, JSON.stringify(last));
      const tree = join(world.tree(last.snapshot ?? ''), world.data);
      const names = readdirSync(tree);
      assert.ok(
        names.includes('file 1') && !names.includes('private') && !names.includes('left.o'),
        names.join(),
      );
      world.configure({ remote: CHANNEL });
    });

    itLong('ends in good order when either side is killed, and goes on with the next run', async () => {
      put('large', randomBytes(6_000_000));
      for (const victim of [
        /dialback backup --json/,
        /rsync --server --daemon/,
        /dialback grab/,
        /^\/usr\/bin\/ssh /,
      ]) {
        put('large', randomBytes(6_000_000));
        world.configure({ remote: CHANNEL, limits: 'bwlimit = "2M"' });
        const running = world.start(world.client, world.binary, [
          ...['backup', '--json', '--config', world.clientToml],
        ]);
        const target = (): number | undefined =>
          world.processes().find(each => victim.test(each.command))?.pid;
        const arriving = (): boolean => {
          const [name] = readdirSync(join(world.shelf, 'arriving'));
          const folder =
            name === undefined ? undefined : join(world.shelf, 'arriving', name, 'tree', world.data);
          try {
            return folder !== undefined && readdirSync(folder).some(each => each.includes('large'));
          } catch {
            return false;
          }
        };
        await until('the large file is under way', arriving);
        process.kill(target() ?? assert.fail(`${victim}`), 'SIGKILL');
        const { status } = await running.done;
        assert.notEqual(status, 0, String(victim));
        await until(
          `only a run folder is left after ${victim}`,
          () => world.leftovers().every(each => each.startsWith('folder ')),
          15_000,
        );
        world.configure({ remote: CHANNEL });
        const next = await world.backup();
        assert.equal(next.status, 0, `${victim}: ${JSON.stringify(next.last)}`);
        assert.deepEqual(world.leftovers(), []);
      }
    });
  });
}

describe('a hostile host at the other end of the channel', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let honest: string;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'file'), 'content');
    chownSync(join(world.data, 'file'), world.client.uid, world.client.gid);
    world.configure({ remote: CHANNEL });
    honest = readFileSync(world.authorizedKeys, 'utf8');
  });
  after(async () => {
    await world.dispose();
  });

  /** The client's key runs this script instead of grab; it reads the request, which ends with the excludes. */
  function play(script: string): void {
    const path = join(world.host.home, 'hostile.sh');
    world.write(world.host, path, `#!/bin/bash\nIFS= read -r -d '' -t 1 request\n${script}\n`, 0o700);
    world.write(world.host, world.authorizedKeys, honest.replace(/command="[^"]*"/, `command="'${path}'"`));
  }

  const cases: [what: string, script: string, status: number, says: RegExp][] = [
    ['asks for a shell', 'echo /bin/sh; sleep 5', 13, /asks for "\/bin\/sh"/],
    ['asks rsync to write', 'echo "rsync --server . /"; sleep 5', 13, /asks for/],
    ['asks with a word more', 'echo "rsync --server --daemon . /etc"; sleep 5', 13, /asks for/],
    ['says something without an end', 'head -c 1000000 /dev/zero | tr "\\0" x; sleep 5', 13, /hung up/],
    [
      'asks rightly, and does not say go',
      'echo "rsync --server --daemon ."; read -r go; echo no; sleep 5',
      13,
      /did not take/,
    ],
    ['hangs up at once', 'exit 0', 1, says('hung-up-without-an-outcome')],
    [
      'says that it is done, and never asked',
      `echo 'dialback-event: {"event":"outcome","outcome":"full","code":null,"rsync_exit":0,"snapshot":"2026-11-23T00-00-00Z","files":1,"bytes":1,"transferred_bytes":1,"vanished":0,"changed_during_run":0,"missing_count":0,"missing":[]}' >&2; sleep 5`,
      1,
      /never let in/,
    ],
    [
      'takes the channel, and talks rubbish to rsync',
      'echo "rsync --server --daemon ."; read -r go; echo go; echo rubbish; sleep 1',
      1,
      says('hung-up-without-an-outcome'),
    ],
  ];
  for (const [what, script, exit, says] of some(cases, 3)) {
    it(`gets nothing when it ${what}`, async () => {
      play(script);
      const { status, last } = await world.backup();
      assert.equal(status, exit, JSON.stringify(last));
      assert.match(last.error ?? '', says);
      await until('nothing is left', () => world.leftovers().every(each => /hostile\.sh|sleep/.test(each)));
    });
  }

  it('leaves no gate behind when the client is killed before it has asked', async () => {
    play('sleep 5');
    const decided = (): number =>
      world.journal('client').filter(({ event }) => event === 'granted' || event === 'refused').length;
    const before = decided();
    const running = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    const isAtGate = (): boolean => world.processes().some(({ command }) => / gate --run /.test(command));
    await until('a gate waits', isAtGate);
    await until('the host is called', () =>
      world.processes().some(({ command }) => command.includes('hostile.sh')),
    );
    running.child.kill('SIGKILL');
    await running.done;
    await until('the gate has gone', () => !isAtGate());
    assert.equal(decided(), before);
  });

  it('and the next honest run succeeds', async () => {
    world.write(world.host, world.authorizedKeys, honest);
    // The folder of a run that was killed goes with the next one.
    await until('nobody is left', () => world.leftovers().every(each => each.startsWith('folder ')));
    assert.equal((await world.backup()).status, 0);
    assert.deepEqual(world.leftovers(), []);
  });
});
