// Goal: a script sets up many clients without a question: `init --batch` prints the line for `enroll --from`, which enrolls all
// clients or none, names each line that is wrong, and changes nothing when it is repeated.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Keys } from '../../support/keys.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('many clients', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let keys: Keys;
  before(async () => {
    world = await World.make({ isSetUp: false });
    keys = new Keys();
    writeFileSync(join(world.data, 'letter'), 'a letter');
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
  });
  after(async () => {
    keys?.remove();
    await world?.dispose();
  });

  const values = (): string => join(world.client.home, 'values.toml');
  const init = async (...args: string[]): Promise<Result> =>
    await world.run(world.client, ['init', ...args, '--from', values()]);
  const writeValues = (more: string): void => {
    const hostKey = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8').split(' ').slice(0, 2);
    world.write(
      world.client,
      values(),
      `name = "oak"\ntarget = "${world.target}"\nhost_key = "${hostKey.join(' ')}"\ntransport = "channel"\n${more}`,
    );
  };
  const enroll = async (from: string, input = '', more: string[] = []): Promise<Result> =>
    await world.run(
      world.host,
      [
        ...['enroll', '--from', from, '--config', world.hostToml],
        ...['--authorized-keys', world.authorizedKeys, ...more],
      ],
      { input },
    );
  const linesThere = (): string =>
    existsSync(world.authorizedKeys) ? readFileSync(world.authorizedKeys, 'utf8') : '';
  let line = '';

  it('are each set up by one file of values, and print one line', async () => {
    writeValues('roots = ["/nowhere", 1]\n');
    const wrong = await init('--batch');
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /line 5/);
    assert.equal(wrong.stdout, '');
    writeValues(`roots = ["${world.data}"]\nexclude = ["*.tmp"]\n`);
    const made = await init('--batch');
    assert.equal(made.status, 0, made.stderr);
    assert.equal(made.stderr, '');
    assert.match(made.stdout, /^oak ssh-ed25519 \S{68}\n$/);
    line = made.stdout;
    const toml = readFileSync(join(world.client.home, '.config/dialback/client.toml'), 'utf8');
    assert.ok(toml.includes(`roots = ["${world.data}"]\n`), toml);
    assert.match(toml, /^exclude = \["\*\.tmp"\]$/m);
  });

  it('change nothing the second time, and refuse another scope', async () => {
    const again = JSON.parse((await init('--json')).stdout) as Record<string, unknown>;
    assert.equal(again.changed, false);
    assert.equal(`${again.enroll}\n`, line);
    assert.deepEqual(again.roots, [world.data]);
    assert.equal((await init('--batch')).stdout, line);
    writeValues('roots = ["/etc"]\n');
    const other = await init('--batch');
    assert.equal(other.status, 2);
    assert.match(other.stderr, /roots = \["\/etc"\]: .*my data/);
    const named = await init('--batch', '--name', 'elm');
    assert.equal(named.status, 2);
  });

  it('are all refused when one line is wrong, each by its line', async () => {
    const rsa = keys.text('rsa').trim();
    const input = `# our fleet\n\n${line}elm ${rsa}\nElm ${rsa}\nash ${rsa}\n${rsa}\n`;
    const { status, stderr, stdout } = await enroll('-', input);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^dialback: line 5: Cannot enroll .*: "Elm/m);
    assert.match(stderr, /line 6: Cannot enroll "ash": line 4 has the same/);
    assert.match(stderr, /line 7: .*: the name of/);
    assert.match(stderr, /enroll 3 of 5 .*no client was/);
    assert.equal(linesThere(), '');
    assert.equal(existsSync(world.store), false);
    const json = await enroll('-', input, ['--json']);
    const told = JSON.parse(json.stdout) as { changed: boolean; problems: { where: string }[] };
    assert.equal(told.changed, false);
    assert.deepEqual(
      told.problems.map(each => each.where),
      ['line 5', 'line 6', 'line 7'],
    );
    assert.equal((await enroll('-', '\n# nothing\n')).status, 2);
  });

  it('are enrolled together, and are unchanged the second time', async () => {
    const input = `${line}elm ${keys.text('rsa')}ash ${keys.text('ecdsa')}`;
    const first = await enroll('-', input);
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stdout, /^oak: enrolled\nelm: .*\nash: enrolled\n/m);
    const before = linesThere();
    assert.equal(before.split('\n').length, 4);
    const second = await enroll('-', input);
    assert.equal(second.status, 0, second.stderr);
    assert.match(second.stdout, /^oak: unchanged\n.*\n.*\nunchanged: 3 clients/m);
    const json = JSON.parse((await enroll('-', input, ['--json'])).stdout) as Record<string, unknown>;
    assert.equal(json.changed, false);
    assert.equal(linesThere(), before);
    const run = await world.run(world.client, ['backup']);
    assert.equal(run.status, 0, run.stderr);
    await world.settled();
  });

  it('are enrolled from a folder of keys, where other files are refused', async () => {
    const folder = join(world.host.home, 'keys');
    mkdirSync(folder);
    chmodSync(folder, 0o755);
    const put = (name: string, text: string): void => world.write(world.host, join(folder, name), text);
    put('beech.pub', keys.text('ecdsa-256'));
    put('notes', 'x');
    put('elm.pub', keys.text('ecdsa-384'));
    const refused = await enroll(folder);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /"notes": /);
    rmSync(join(folder, 'notes'));
    const before = linesThere();
    const conflict = await enroll(folder);
    assert.equal(conflict.status, 12);
    assert.match(conflict.stderr, /"elm\.pub": Cannot enroll "elm": .*\nnext: .*--replace/);
    assert.equal(linesThere(), before);
    const replaced = await enroll(folder, '', ['--replace']);
    assert.equal(replaced.status, 0, replaced.stderr);
    assert.match(replaced.stdout, /^beech: enrolled\nelm: .* its new key/m);
    assert.match((await enroll(folder)).stdout, /^unchanged: 2 clients/m);
  });
});
