// Goal: a client that calls again and again, and sends nothing, has four calls at once and no more. Other clients call as ever, and
// so does that one when it hangs up.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lastOutcome } from '../../support/hostile-client.ts';
import { NEEDS_ROOT, type Result, type Running, until, World } from '../../support/world.ts';

/** The calls that one client may have open at once (docs/protocol.md, the table of limits). */
const CALLS_LIMIT = 4;

describe('many calls of one client', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    const other = join(world.client.home, 'other');
    world.keygen(world.client, other);
    assert.equal((await world.enroll('beech', readFileSync(`${other}.pub`, 'utf8'))).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** @param input undefined: nothing is sent, and nothing ended */
  function call(name: string, key: string, what: string, input?: string): Running {
    const { client, address, port, host } = world;
    const options = ['-F', 'none', '-o', 'BatchMode=yes', '-i', join(client.home, key), '-p', String(port)];
    return world.start(client, '/usr/bin/ssh', [...options, '-l', host.login, address, `${name}:${what}`], {
      ...(input === undefined ? { keepsInput: true } : { input }),
    });
  }
  const own = (what = 'channel', input?: string): Running => call(world.name, '.ssh/id_ed25519', what, input);
  const codeOf = ({ stderr }: Result): string | null | undefined => lastOutcome(stderr)?.code;
  /** Places that are taken in the client's folder. */
  const taken = (): number =>
    new Set(
      world
        .processes()
        .flatMap(({ pid }) => openFiles(pid))
        .filter(path => path.startsWith(join(world.shelf, 'call.'))),
    ).size;

  it('are refused from the fifth on, whatever they ask for, and cost the others nothing', async () => {
    const silent: Running[] = [];
    for (let number = 0; number < CALLS_LIMIT; number += 1) {
      silent.push(own(number % 2 === 0 ? 'channel' : 'probe'));
      // One after the other: each has its place.
      await until('the call is there', () => taken() > number);
    }
    for (const what of ['channel', '7', 'probe'])
      assert.equal(codeOf(await own(what, 'x').done), 'busy', what);
    assert.equal(codeOf(await call('beech', 'other', 'channel', 'nonsense\n').done), 'request');
    const last = world.journal('host').at(-1);
    assert.match(String(last?.reason), /this client has 4 open calls already/);
    silent[0]?.child.stdin?.end();
    assert.equal(codeOf((await silent[0]?.done) ?? assert.fail()), 'gone');
    assert.equal(codeOf(await own('channel', 'nonsense\n').done), 'request');
    for (const each of silent) each.child.stdin?.end();
    await Promise.all(silent.map(each => each.done));
    assert.equal((await world.backup()).status, 0);
  });
});

/** Where the descriptors of a process lead; nothing where it has just ended. */
function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map(each => readlinkSync(`/proc/${pid}/fd/${each}`));
  } catch {
    return [];
  }
}
