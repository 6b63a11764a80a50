// Goal: where every run fails, or backs nothing up, `doctor` does not say that all is well: on the client it calls the host as a run
// does, looks at what the scope leaves, and at how the last runs ended; on the host it looks at the last runs too.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, World } from '../../support/world.ts';

interface Finding {
  check: string;
  state: string;
  found: string;
  next: string | null;
}

describe('doctor, where every run fails', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (const name of ['one', 'two']) {
      mkdirSync(join(world.data, name));
      writeFileSync(join(world.data, name, 'a file'), 'content');
    }
  });
  after(async () => {
    await world.dispose();
  });

  const look = async (party: Party): Promise<Finding[]> => {
    const which =
      party === world.client
        ? ['--client', '--config', world.clientToml]
        : ['--host', '--config', world.hostToml];
    const { stdout, stderr } = await world.run(party, ['doctor', '--json', ...which]);
    assert.equal(stderr, '');
    return JSON.parse(stdout) as Finding[];
  };
  const CHANNEL = 'name = "vault"\ntransport = "channel"';
  const find = async (check: string): Promise<string> => {
    const found = (await look(world.client)).filter(each => each.check === check);
    return found.map(each => `${each.state}: ${each.found}`).join('\n');
  };
  const backup = async (): Promise<number | null> =>
    (await world.run(world.client, ['backup', '--config', world.clientToml])).status;
  const restored = async (): Promise<void> => {
    world.configure({ remote: CHANNEL });
    assert.match(
      await find('client.call'),
      matching`^ok: "vault" ${says('accepts-this-machines-key-and')} "acorn"$`,
    );
  };

  it('leaves no trace on the host where the call is well', async () => {
    await restored();
    assert.deepEqual(world.journal('host'), []);
  });

  it('says so where the key of the host is another one', async () => {
    const file = join(world.client.home, '.ssh/known_hosts');
    const good = readFileSync(file);
    world.keygen(world.client, join(world.client.home, 'foreign'));
    const other = readFileSync(join(world.client.home, 'foreign.pub'), 'utf8');
    world.write(world.client, file, `[127.0.0.1]:${world.port} ${other}`);
    assert.match(await find('client.call'), matching`^critical: .*${says('its-key-is-not-the-one')}`);
    assert.equal(await backup(), 13);
    world.write(world.client, file, good);
    await restored();
  });

  it('says so where the host does not take the key, or not under this name', async () => {
    const lines = readFileSync(world.authorizedKeys);
    world.write(world.host, world.authorizedKeys, '');
    assert.match(await find('client.call'), matching`^critical: .*${says('it-does-not-accept-the')}`);
    assert.equal(await backup(), 12);
    world.write(world.host, world.authorizedKeys, lines);
    world.configure({ remote: CHANNEL, top: 'name = "oak"' });
    assert.match(
      await find('client.call'),
      matching`^critical: "vault": .*${says('knows-this-key-under-another')} \(name\)$`,
    );
    await restored();
  });

  it('says so where the account of the host is another one', async () => {
    const toml = readFileSync(world.clientToml, 'utf8');
    const target = `target = "ssh://${world.client.login}@127.0.0.1:${world.port}"`;
    world.write(world.client, world.clientToml, toml.replace(/^target = .*$/m, target));
    assert.match(await find('client.call'), matching`^critical: ${says('cannot-call-the-backup-host')}`);
    assert.notEqual(await backup(), 0);
    await restored();
  });

  it('says so where the excludes and `never` leave nothing', async () => {
    const roots = `roots = ["${world.data}"]`;
    const scopes = [
      `exclude = ["${world.data}/*"]`,
      'exclude = ["one", "two"]',
      `never = ["${world.data}/one", "${world.data}/two"]`,
      `exclude = ["two"]\nnever = ["${world.data}/one"]`,
    ];
    for (const scope of scopes) {
      world.configure({ remote: CHANNEL, scope: `${roots}\n${scope}` });
      assert.match(await find('client.roots'), says('critical-the-excludes-and-never'), scope);
    }
    world.configure({ remote: CHANNEL, scope: `${roots}\nexclude = ["one", "*.tmp"]` });
    assert.match(await find('client.roots'), /^ok: /);
  });

  it('says so where what must never leave is not there', async () => {
    const never = join(world.data, 'onne');
    world.configure({ remote: CHANNEL, scope: `roots = ["${world.data}"]\nnever = ["${never}"]` });
    assert.match(
      await find('client.never'),
      matchingLines`^warning: ".*\/onne" ${says('does-not-exist-if-its')}`,
    );
    world.configure({
      remote: CHANNEL,
      scope: `roots = ["${world.data}"]\nnever = ["${join(world.data, 'one')}"]`,
    });
    assert.match(await find('client.never'), /^ok: /);
    await restored();
  });

  it('on both sides, from the third run on that fails, whatever the reason is', async () => {
    assert.equal(await backup(), 0);
    await world.settled();
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[hooks]\nbefore = ["/bin/false"]\n`,
    );
    const failing = async (party: Party, check: string): Promise<Finding | undefined> =>
      (await look(party)).find(each => each.check === check);
    for (let count = 1; count < 4; count += 1) {
      assert.equal(await failing(world.client, 'client.runs'), undefined, `${count}`);
      assert.equal(await failing(world.host, 'host.runs'), undefined, `${count}`);
      assert.notEqual(await backup(), 0);
    }
    const [client, host] = [
      await failing(world.client, 'client.runs'),
      await failing(world.host, 'host.runs'),
    ];
    assert.match(client?.found ?? '', /^"vault": the last 3 runs failed/);
    assert.match(host?.found ?? '', /^"acorn": the last 3 runs failed, .*before/);
    const { status, stdout } = await world.run(world.host, ['status', '--config', world.hostToml]);
    assert.equal(status, 1);
    assert.match(stdout, /^acorn: the last 3 runs failed/m);
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
    assert.equal(await backup(), 0);
    assert.equal(await failing(world.client, 'client.runs'), undefined);
    assert.equal(await failing(world.host, 'host.runs'), undefined);
  });
});
