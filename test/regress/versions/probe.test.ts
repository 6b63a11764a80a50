// Goal: the question of `doctor` whether a host accepts its calls works between this version and 0.1.1, on either side. A client of 0.1.1
// asks with bytes that measure the connection, and then backs up without compression.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { decodeEvent, type HostEvent } from '../../../src/wire/events.ts';
import { lastOutcome } from '../../support/hostile-client.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

describe('a probe', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    world.configure({ remote: 'name = "vault"\ntransport = "channel"' });
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await until('nothing is left', () => world.leftovers().length === 0, 15_000);
  });

  /** The exit status of a call with this input, and its events. */
  async function probe(
    input: string,
    command = `${world.name}:probe`,
  ): Promise<[number | null, HostEvent[]]> {
    const { status, stdout, stderr } = await world.callHost([], [command], input);
    assert.equal(stdout, '');
    const decoded = stderr.split('\n').map(line => decodeEvent(line));
    return [status, decoded.flatMap(each => ('value' in each ? [each.value] : []))];
  }
  const codes = (received: HostEvent[]): unknown[] =>
    received.map(each => (each.event === 'outcome' ? each.code : each.event));

  async function callFinding(): Promise<string> {
    const { stdout } = await world.run(world.client, [
      ...['doctor', '--client', '--json'],
      ...['--config', world.clientToml],
    ]);
    const findings = JSON.parse(stdout) as { check: string; state: string; found: string }[];
    return findings
      .filter(each => each.check === 'client.call')
      .map(each => `${each.state}: ${each.found}`)
      .join('\n');
  }

  it('without input is accepted, and leaves nothing', async () => {
    assert.deepEqual(await probe(''), [0, [{ event: 'accepted' }]]);
    assert.match(
      await callFinding(),
      matching`^ok: "vault" ${says('accepts-this-machines-key-and')} "acorn"$`,
    );
    assert.deepEqual(world.journal('host'), []);
    assert.deepEqual(world.snapshots(), []);
  });

  for (const [what, input] of [
    ['that of a client or doctor of 0.1.1', 'block 1\nx'],
    ['a request', 'dialback-request 1\nheader 2\n{}'],
    ['one byte', '\n'],
  ] as const)
    it(`is refused with the code "request" when its input is ${what}`, async () => {
      const [status, received] = await probe(input);
      assert.equal(status, 12);
      assert.deepEqual(codes(received), ['request']);
      const { event, reason } = world.journal('host').at(-1) ?? {};
      assert.equal(event, 'refused');
      assert.match(String(reason), matching`${says('the-probe-has-input')}$`);
    });

  it('is refused at once when the client leaves its input open, as 0.1.1 does', async () => {
    const { client, address, port, host } = world;
    const options = ['-F', 'none', '-o', 'BatchMode=yes', '-i', join(client.home, '.ssh/id_ed25519')];
    const where = ['-p', String(port), '-l', host.login, address, `${world.name}:probe`];
    const call = world.start(client, '/usr/bin/ssh', [...options, ...where], { keepsInput: true });
    call.child.stdin?.write('block 1\nx');
    const { stderr } = await call.done;
    assert.equal(lastOutcome(stderr)?.code, 'request');
  });

  it('is refused under the name of another', async () => {
    assert.deepEqual(codes((await probe('', 'beech:probe'))[1]), ['name']);
    assert.deepEqual(codes((await probe('', `${world.name}:probe --config /etc/x`))[1]), ['request']);
  });

  it('is enough for doctor when a host of 0.1.1 ends the call well, and not when the host ends it otherwise', async () => {
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    const answer = (script: string): void => {
      const path = join(world.host.home, 'answer');
      world.write(world.host, path, `#!/bin/sh\n${script}\n`, 0o700);
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      world.write(world.host, world.authorizedKeys, `restrict,command="'${path}'" ${key}`);
    };
    // It reads to the end of the input, sends nothing and exits with 0.
    answer('[ "$SSH_ORIGINAL_COMMAND" = acorn:probe ] && exec cat >/dev/null');
    assert.match(await callFinding(), matching`^ok: "vault" ${says('accepts-this-machines-key-and-ended')}`);
    answer('cat >/dev/null; exit 1');
    assert.match(await callFinding(), matching`^critical: .*${says('it-hung-up-without-an-outcome')} 1\)`);
    world.write(world.host, world.authorizedKeys, enrolled);
    assert.match(await callFinding(), /^ok: .* knows it as "acorn"$/);
  });
});
