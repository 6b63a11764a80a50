import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { nextWords } from '../../src/commands/completion.ts';
import { loadCommand } from '../../src/commands/table.ts';
import { createClient, createStore } from '../../src/store/store.ts';
import { COMMANDS, CollectingIo, refusalOf } from '../support/command-line.ts';
import { scratch } from '../support/scratch.ts';

const OLD = '2026-11-23T00-12-00Z';
const NEW = '2026-11-24T00-12-00Z';

/** Makes a home folder with a host.toml, a client.toml and a store. */
function makeHome(t: TestContext): string {
  const home = scratch(t);
  const saved = process.env.HOME;
  process.env.HOME = home;
  t.after(() => {
    process.env.HOME = saved;
  });
  const configs = `${home}/.config/dialback`;
  mkdirSync(configs, { recursive: true, mode: 0o700 });
  writeFileSync(`${configs}/host.toml`, `store = ${JSON.stringify(`${home}/store`)}\n`);
  writeFileSync(`${configs}/client.toml`, '[[remote]]\ntarget = "a@vault"\n[[remote]]\ntarget = "b@other"\n');
  createStore(`${home}/store`);
  for (const name of ['laptop', 'desk']) {
    const { folder } = createClient(`${home}/store`, name);
    for (const snapshot of [OLD, NEW, 'no snapshot']) mkdirSync(`${folder}/snapshots/${snapshot}`);
  }
  mkdirSync(`${home}/store/clients/No Client`);
  return home;
}

async function output(...line: string[]): Promise<string[]> {
  const io = new CollectingIo();
  const command = await loadCommand('complete');
  assert.equal(await command.run(command.parse(['--', ...line]), io), 'done');
  assert.equal(io.warned, '');
  return io.printed.split('\n').slice(0, -1);
}

/** The words without their descriptions. */
async function words(...line: string[]): Promise<string[]> {
  const [kind, ...rest] = await output(...line);
  assert.match(kind ?? '', /^(word|file|folder)$/);
  return rest.map(each => each.split('\t')[0] ?? '');
}

describe('dialback complete', () => {
  it('offers each command that help shows with its summary, and none of the others', async () => {
    assert.deepEqual(
      (await output('')).slice(1, -2),
      COMMANDS.map(({ name, summary }) => `${name}\t${summary}`),
    );
    assert.deepEqual(await words('remo'), ['remove', 'remove-client']);
    assert.deepEqual(await words('--v'), ['--version']);
    for (const hidden of ['comp', 'rel', 'she', 'serve']) assert.deepEqual(await words(hidden), []);
  });

  it('offers each option of each command once, and knows the kind of each value and argument', async () => {
    for (const { name, options, positionals } of COMMANDS) {
      const offered = options.map(option => `--${option.name}`);
      assert.deepEqual(await words(name, '--'), [...offered, '--help'], name);
      for (const { name: option, value } of options) {
        if (value === undefined) {
          assert.ok(!(await words(name, `--${option}`, '--')).includes(`--${option}`), `${name} --${option}`);
          continue;
        }
        const next = await nextWords([name, `--${option}`, '']);
        assert.ok(next.value, `${name} --${option}`);
        const behind = await nextWords([name, `--${option}=x`]);
        assert.deepEqual(
          [behind.value?.wanted, behind.value?.text],
          [next.value.wanted, 'x'],
          `${name} --${option}`,
        );
      }
      const given = positionals.map(() => 'x');
      for (const [at] of positionals.entries())
        assert.ok((await nextWords([name, ...given.slice(0, at), ''])).value, `${name} ${at}`);
    }
  });

  it('offers clients, and with a mark their snapshots, the newest first', async t => {
    makeHome(t);
    assert.deepEqual(await words('list', ''), ['desk', 'laptop']);
    assert.deepEqual(await words('pin', 'l'), ['laptop@']);
    assert.deepEqual(await words('restore', 'd'), ['desk', 'desk@']);
    assert.deepEqual(await words('restore', 'desk@'), ['desk@latest', `desk@${NEW}`, `desk@${OLD}`]);
    assert.deepEqual(await words('verify', 'desk@2026-11-24'), [`desk@${NEW}`]);
    assert.deepEqual(await words('diff', `desk@${OLD}`, '2'), [NEW, OLD]);
    assert.deepEqual(await words('explain', 'desk', 'l'), ['latest']);
    assert.deepEqual(await words('enroll', ''), [], 'a new name');
  });

  it('offers values, remotes and topics', async t => {
    makeHome(t);
    assert.deepEqual(await words('init', '--transport', ''), ['direct', 'channel', 'local']);
    assert.deepEqual(await words('init', '--transport=l'), ['--transport=local']);
    assert.deepEqual(await words('backup', '--remote', ''), ['vault', 'other']);
    assert.deepEqual(await words('backup', '--remote=o'), ['--remote=other']);
    assert.deepEqual(await words('config', ''), ['check', 'show']);
    assert.deepEqual(await words('help', 'ho'), ['hooks']);
    assert.deepEqual(await words('help', 'verif'), ['verify']);
  });

  it('tells where names of files and folders can stand', async () => {
    for (const [kind, ...line] of [
      ['file', 'list', '--config', ''],
      ['file', 'list', '--config=/e'],
      ['file', 'config', 'check', ''],
      ['file', 'enroll', 'x', ''],
      ['file', 'report', '-o', ''],
      ['file', 'weigh', '/a', ''],
      ['folder', 'restore', 'x', '--to', ''],
      ['folder', 'try', ''],
      ['word', 'fetch', ''],
      ['word', 'version', ''],
      ['word', 'no-such', ''],
      ['word', 'list', 'x', ''],
      ['word', 'version', '--', '--'],
    ] as const)
      assert.deepEqual(await output(...line), [kind], line.join(' '));
  });

  it('reads the config that the line names', async t => {
    const home = makeHome(t);
    writeFileSync(`${home}/other.toml`, `store = ${JSON.stringify(`${home}/other`)}\n`);
    createStore(`${home}/other`);
    createClient(`${home}/other`, 'phone');
    assert.deepEqual(await words('list', '--config', `${home}/other.toml`, ''), ['phone']);
    assert.deepEqual(await words('list', `--config=${home}/other.toml`, ''), ['phone']);
  });

  it('prints nothing where a config or a store cannot be read, and for the names of attackers', async t => {
    const home = makeHome(t);
    writeFileSync(`${home}/wrong.toml`, 'store = 5\n');
    for (const line of [
      ['list', '--config', `${home}/wrong.toml`, ''],
      ['list', '--config', `${home}/absent.toml`, ''],
      ['backup', '--config', `${home}/wrong.toml`, '--remote', ''],
      ['restore', 'nobody@'],
    ])
      assert.deepEqual(await output(...line), [], line.join(' '));
    for (const name of ['..@', '../..@', '/etc@', '@', 'a/b@'])
      assert.deepEqual(await words('restore', name), [], name);
    assert.deepEqual(await words('diff', '../../x', ''), []);
  });

  it('is no command for a person', () => {
    for (const argv of [['complete'], ['complete', 'x']])
      assert.match(refusalOf(argv).found, /no such command/);
  });
});
