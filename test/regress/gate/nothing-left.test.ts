// Goal: however a run ends, it leaves no process, no listener, no agent, no key and no run folder, on either side.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';
import { says } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, until, World } from '../../support/world.ts';

describe('nothing is left', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 50; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
    writeLarge();
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    // grab goes on for a moment after a client that is gone: it ends its rsync in good order.
    await until(
      `nothing is left: ${world.leftovers().join('; ')}`,
      () => world.leftovers().length === 0,
      15_000,
    );
    world.configure();
  });

  /**
   * 8 MiB at 2 MiB a second: time enough for a signal while it is copied. Nothing in it repeats itself, else all of it could be
   * made from the first few blocks that an earlier run left, and be there at once.
   */
  function writeLarge(): void {
    writeFileSync(join(world.data, 'large'), randomBytes(8 * 1024 * 1024));
  }

  /** How much of the large file lies under its temporary name. */
  const isGrab = ({ command }: { command: string }): boolean =>
    command.startsWith(`${world.binary} grab --client`);

  function arrived(): number {
    for (const name of readdirSync(join(world.shelf, 'arriving'))) {
      const folder = join(world.shelf, 'arriving', name, 'tree', world.data);
      if (!existsSync(folder)) continue;
      const temporary = readdirSync(folder).find(each => each.startsWith('.large.'));
      if (temporary) return statSync(join(folder, temporary)).size;
    }
    return 0;
  }

  itShort('after success', async () => {
    const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(status, 0, stderr);
    const left = world.leftovers().filter(each => !isOfManifest(Number(/^process (\d+):/.exec(each)?.[1])));
    assert.deepEqual(
      left,
      [],
      'at once; but for what makes the manifest, on the host, in a session of its own',
    );
  });

  /** Whether a process belongs to what grab leaves behind on purpose, or has ended. */
  function isOfManifest(pid: number): boolean {
    const read = (path: string): string => {
      try {
        return readFileSync(`/proc/${path}`, 'latin1');
      } catch {
        return '';
      }
    };
    const stat = read(`${pid}/stat`);
    const session = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
    return stat === '' || read(`${session}/cmdline`).includes('\0manifest\0--client\0');
  }

  itShort('after a refusal by the host', async () => {
    world.configure({ top: 'name = "somebody-else"' });
    const { status, last } = await world.backup();
    assert.equal(status, 12);
    assert.match(last.error ?? '', says('knows-this-key-under-another'));
    assert.deepEqual(world.leftovers(), [], 'at once');
  });

  itLong('when the host does not take the key', async () => {
    const keys = readFileSync(world.authorizedKeys);
    writeFileSync(world.authorizedKeys, '');
    const { status, last } = await world.backup();
    writeFileSync(world.authorizedKeys, keys);
    assert.equal(status, 12);
    assert.match(last.error ?? '', says('does-not-accept-the-key'));
    assert.deepEqual(world.leftovers(), [], 'at once');
  });

  itLong("when the host's key is another one than expected", async () => {
    const path = join(world.client.home, '.ssh/known_hosts');
    const known = readFileSync(path, 'utf8');
    const wrong = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    writeFileSync(path, `[127.0.0.1]:${world.port} ${wrong}`);
    const { status, last } = await world.backup();
    writeFileSync(path, known);
    assert.equal(status, 13);
    assert.match(last.error ?? '', says('its-key-is-not-the'));
    assert.deepEqual(world.leftovers(), [], 'at once');
  });

  itLong('when the host is unreachable', async () => {
    const toml = readFileSync(world.clientToml, 'utf8');
    world.write(world.client, world.clientToml, toml.replace(`127.0.0.1:${world.port}`, '127.0.0.1:1'));
    const { status, last } = await world.backup();
    assert.equal(status, 13);
    assert.match(last.error ?? '', /Connection refused/);
    assert.deepEqual(world.leftovers(), [], 'at once');
  });

  itShort('when the host cannot connect back', async () => {
    // Nobody is allowed in: the host's connection is closed before a byte of it is read.
    world.configure({ remote: 'name = "vault"\nfrom = ["192.0.2.1"]\nlisten = "127.0.0.1:0"' });
    const { status, last } = await world.backup();
    assert.equal(status, 13);
    assert.match(last.error ?? '', says('could-not-connect-back'));
    assert.deepEqual(world.leftovers(), [], 'at once');
  });

  itLong('when rsync fails', async () => {
    const arriving = join(world.shelf, 'arriving');
    // rsync cannot write into its tree: a file lies where the scope's first folder goes.
    const ran = world.start(world.client, world.binary, ['backup', '--json', '--config', world.clientToml], {
      onLine: line => {
        if (!line.includes('"dialling"')) return;
        for (const name of readdirSync(arriving)) chmodSync(join(arriving, name, 'tree'), 0o500);
      },
    });
    const result = await ran.done;
    assert.equal(result.status, 1, result.stdout);
    assert.match(lastLine(result).error ?? '', says('rsync-ended-with-an-error'));
    for (const name of readdirSync(arriving)) rmSync(join(arriving, name), { recursive: true });
  });

  // Each signal in each phase is a soak; the short suite has each signal once, in the last three phases.
  for (const [first, signal] of (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).entries()) {
    for (const [at, phase] of (['keys', 'calling', 'dialling', 'admitted', 'copying'] as const).entries()) {
      if (!IS_LONG && (at < 2 || at % 3 !== first)) continue;
      it(`after ${signal} to the client while it is at "${phase}"`, async () => {
        world.configure({ limits: 'bwlimit = "2M"' });
        rmSync(join(world.shelf, 'snapshots'), { recursive: true });
        mkdirSync(join(world.shelf, 'snapshots'));
        chownSync(join(world.shelf, 'snapshots'), world.host.uid, world.host.gid);
        const running = world.start(
          world.client,
          world.binary,
          ['backup', '--json', '--config', world.clientToml],
          {
            onLine: line => {
              if (line.includes(`"phase":"${phase}"`)) running.child.kill(signal);
            },
          },
        );
        const { status, stdout } = await running.done;
        assert.equal(status, 130, stdout);
        const own = world
          .leftovers()
          .filter(each => !each.includes(world.hostState) && !each.startsWith('process'));
        assert.deepEqual(own, [], 'of the client, at once');
      });
    }
  }

  it('after SIGTERM to the host while it copies; the client is told', async () => {
    writeLarge(); // how much of the last one is there depends on when the last signal came
    world.configure({ limits: 'bwlimit = "2M"' });
    // The host may still work on the run of the last test, and would refuse this one.
    await until('the host has ended its last run', () => !world.processes().some(isGrab));
    const running = world.start(world.client, world.binary, [
      'backup',
      '--json',
      '--config',
      world.clientToml,
    ]);
    const early = running.done.then(({ stdout }) => assert.fail(`it has ended: ${stdout}`));
    await Promise.race([until('a part of the large file has come', () => arrived() > 1024 * 1024), early]);
    early.catch(() => {});
    const grab = world.processes().find(isGrab);
    assert.ok(grab);
    process.kill(grab.pid, 'SIGTERM');
    const result = await running.done;
    assert.equal(result.status, 1);
    assert.match(lastLine(result).error ?? '', says('interrupted-on-the-backup-host'));
  });

  it('and the next run takes up what the last one left', async () => {
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.ok(last.transferred_bytes < 7 * 1024 * 1024, `${last.transferred_bytes} bytes sent again`);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
    assert.deepEqual(readdirSync(join(world.shelf, 'trash')), []);
  });

  itShort('with the store gone', async () => {
    renameSync(world.store, `${world.store} elsewhere`);
    const { status, last } = await world.backup();
    renameSync(`${world.store} elsewhere`, world.store);
    assert.equal(status, 10);
    assert.match(last.error ?? '', says('no-store-at-hand'));
    assert.deepEqual(world.leftovers(), [], 'at once');
  });
});
