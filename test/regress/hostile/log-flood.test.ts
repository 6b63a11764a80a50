// Goal: the ssh of either side writes a log as long as the machine that it calls likes. That fills neither the disk nor the
// memory, and how the connection ended stands in the message and in the journal all the same.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { encodeRequest } from '../../../src/wire/request.ts';
import { HostileSshd } from '../../support/hostile-sshd.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const FLOOD_BYTES = 1024 * 1024;
const REASON = 'enough of it';

/** Bytes of all files in the run folders of a state folder. */
function bytesIn(state: string): number {
  if (!existsSync(state)) return 0;
  const files = readdirSync(state)
    .filter(name => name.startsWith('run-'))
    .flatMap(name => readdirSync(join(state, name)).map(file => join(state, name, file)));
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

describe('a flood for the log of ssh', { skip: NEEDS_ROOT }, () => {
  let world: World;
  /** While it was flooded, the most that lay in a run folder. */
  let mostBytes = 0;
  let sshd: HostileSshd;
  let state = '';
  before(async () => {
    world = await World.make();
    sshd = new HostileSshd(async connection => {
      await sshd.flood(connection, FLOOD_BYTES);
      mostBytes = bytesIn(state);
      await connection.disconnect(REASON);
    });
    await sshd.listen();
  });
  after(async () => {
    sshd.close();
    await world.dispose();
  });

  it('by a client stays out of the files of the host, whose journal has the reason', async () => {
    [mostBytes, sshd.sentBytes, state] = [0, 0, world.hostState];
    const key = join(world.client.home, 'one-time');
    world.keygen(world.client, key);
    const privateKey = readFileSync(key);
    const request = encodeRequest({
      header: {
        transport: 'direct',
        user: world.client.login,
        host_key: sshd.key,
        roots: [world.data],
        key_bytes: privateKey.length,
        excludes_bytes: 0,
        dry_run: false,
        rsync: '3.5.0',
        enumerated: [],
      },
      key: privateKey,
      excludes: Buffer.alloc(0),
    });
    const { client, address, port, host } = world;
    const ssh = ['-F', 'none', '-o', 'BatchMode=yes', '-i', join(client.home, '.ssh/id_ed25519')];
    const where = ['-p', String(port), '-l', host.login, address, `${world.name}:${sshd.port}`];
    const call = world.start(client, '/usr/bin/ssh', [...ssh, ...where], { keepsInput: true });
    call.child.stdin?.write(request);
    const { stderr } = await call.done;
    assert.equal(sshd.sentBytes >= FLOOD_BYTES, true, stderr);
    assert.equal(mostBytes < 16 * 1024, true, `${mostBytes} bytes lay in the run folder`);
    const last = world.journal('host').at(-1);
    assert.match(String(last?.reason), /bytes left out/);
    assert.match(String(last?.reason), new RegExp(REASON));
    assert.equal(String(last?.reason).length < 8000, true);
  });

  it('by a host stays out of the files of the client, whose message has the reason', async () => {
    [mostBytes, sshd.sentBytes, state] = [0, 0, world.clientState];
    const known = join(world.client.home, 'known_hosts');
    world.write(world.client, known, `[127.0.0.1]:${sshd.port} ${sshd.key}\n`);
    world.configure({ remote: `name = "flooder"\nknown_hosts = "${known}"\ntransport = "channel"` });
    const toml = readFileSync(world.clientToml, 'utf8');
    world.write(
      world.client,
      world.clientToml,
      toml.replace(/^target = .*$/m, `target = "ssh://a@127.0.0.1:${sshd.port}"`),
    );
    const { status, last } = await world.backup();
    assert.equal(status, 13, JSON.stringify(last));
    assert.match(last.error ?? '', new RegExp(REASON));
    assert.equal(sshd.sentBytes >= FLOOD_BYTES, true);
    assert.equal(mostBytes < 16 * 1024, true, `${mostBytes} bytes lay in the run folder`);
    await until('nothing is left', () => world.leftovers().length === 0);
  });
});
