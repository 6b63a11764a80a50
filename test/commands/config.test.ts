import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'smol-toml';
import { CLIENT_SCHEMA } from '../../src/client/config.ts';
import { Fault } from '../../src/fault.ts';
import { HOST_SCHEMA } from '../../src/host/config.ts';
import { configKeys } from '../../src/shared/config-keys.ts';
import { CollectingIo, commandOf, refusalOf } from '../support/command-line.ts';
import { scratch } from '../support/scratch.ts';
import { says, wording } from '../support/wording.ts';

const SHARE = join(import.meta.dirname, '..', '..', 'share');

interface Row {
  config: string;
  key: string;
  value: unknown;
  origin: string;
  line: number | null;
}

async function run(...argv: string[]): Promise<{ exit: string; io: CollectingIo }> {
  const io = new CollectingIo();
  const { command, words } = commandOf(['config', ...argv]);
  return { exit: await command.run(command.parse(words), io), io };
}

async function faultOf(...argv: string[]): Promise<Fault> {
  try {
    await run(...argv);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error('it did not fail');
}

/** Writes a config, in a home folder of its own. */
function write(t: TestContext, text: string, name = 'client.toml'): string {
  const home = scratch(t);
  const saved = process.env.HOME;
  process.env.HOME = home;
  t.after(() => {
    process.env.HOME = saved;
  });
  mkdirSync(`${home}/.config/dialback`, { recursive: true, mode: 0o700 });
  const path = `${home}/.config/dialback/${name}`;
  writeFileSync(path, text);
  return path;
}

const CLIENT = '[[remote]]\ntarget = "a@b"\n';

describe('dialback config check', () => {
  it('accepts both samples', async () => {
    for (const name of ['client.toml', 'host.toml']) {
      const { exit, io } = await run('check', `${SHARE}/${name}`);
      assert.equal(exit, 'done');
      assert.equal(io.warned, '');
      assert.ok(io.printed.startsWith(`"${SHARE}/${name}": `));
    }
  });

  it('names every problem with its line and the nearest key, and ends with 2', async t => {
    const path = write(
      t,
      'nmae = "x"\n[[remote]]\ntarget = "a@b"\nprot = 1\nliste = ""\n[scope]\nexlcude = []\nroots = ["x"]\n[limits]\nnice = 20\n',
    );
    const { exit, io } = await run('check', path);
    assert.equal(exit, 'usage');
    assert.equal(io.printed, '');
    const lines = io.warned.trimEnd().split('\n');
    assert.match(lines.pop() ?? '', /^next: .*client\.toml\.sample/);
    const found = lines.map(line => line.slice(line.indexOf(`"${path}": `) + path.length + 4));
    assert.deepEqual(found.slice(0, 4), [
      'line 1: unknown key "nmae" (did you mean "name"?)',
      'line 4: unknown key "remote.0.prot"',
      'line 5: unknown key "remote.0.liste" (did you mean "listen"?)',
      'line 7: unknown key "scope.exlcude" (did you mean "exclude"?)',
    ]);
    assert.match(found[4] ?? '', /^line 8: "scope\.roots\.0" /);
    assert.match(found[5] ?? '', /^line 10: "limits\.nice" /);
    assert.equal(found.length, 6);
  });

  it('prints the same problems as JSON', async t => {
    const path = write(t, '[[remote]]\n[limits]\nnise = 1\n');
    const { exit, io } = await run('check', '--json', path);
    assert.equal(exit, 'usage');
    assert.deepEqual(JSON.parse(io.printed), [
      {
        config: path,
        side: 'client',
        problems: [
          { key: 'remote.0.target', line: 1, found: '"remote.0.target" is missing' },
          { key: 'limits.nise', line: 3, found: 'unknown key "limits.nise" (did you mean "nice"?)' },
        ],
      },
    ]);
  });

  it('refuses a newer schema before anything else in the file', async t => {
    const path = write(t, `${CLIENT}[new_table]\nx = 1\n`.replace(/^/, 'schema = 2\n'));
    const { exit, io } = await run('check', path);
    assert.equal(exit, 'usage');
    assert.match(
      io.warned,
      new RegExp(`^dialback: .*: line 1: ${says('is-it-was-written-for', 2, 1).source}\n`),
    );
    assert.match(io.warned, says('install-a-newer-dialback'));
    assert.equal((await faultOf('show', path)).exit, 'usage');
  });

  it('accepts the only schema there is, and refuses other values', async t => {
    assert.equal((await run('check', write(t, `schema = 1\n${CLIENT}`))).exit, 'done');
    for (const value of ['0', '-1', '1.5', '"1"', 'true', 'nan'])
      assert.equal((await run('check', write(t, `schema = ${value}\n${CLIENT}`))).exit, 'usage', value);
  });

  it('finds what no schema can express, as the other commands do', async t => {
    const fault = await faultOf('check', write(t, CLIENT + CLIENT));
    assert.equal(fault.exit, 'usage');
    assert.match(fault.found, says('two-remotes-are-called', 'b'));
  });

  it('refuses a file that is not TOML by line and column, and one that others can write', async t => {
    const path = write(t, 'name = \n');
    assert.match((await run('check', path)).io.warned, /: line 1, column \d+: /);
    chmodSync(path, 0o666);
    assert.equal((await faultOf('check', path)).exit, 'usage');
    assert.equal((await faultOf('check', `${path}.absent`)).exit, 'usage');
  });

  it('takes the kind of a file from its name, its keys or an option', async t => {
    const folder = scratch(t);
    const file = (name: string, text: string): string => {
      writeFileSync(`${folder}/${name}`, text);
      return `${folder}/${name}`;
    };
    const sideOf = async (...argv: string[]): Promise<string> =>
      JSON.parse((await run('check', '--json', ...argv)).io.printed)[0].side;
    assert.equal(await sideOf(file('a.toml', CLIENT)), 'client');
    assert.equal(await sideOf(file('b.toml', 'store = "/s"')), 'host');
    assert.equal(await sideOf(file('host.toml', '')), 'host');
    assert.equal(await sideOf('--host', file('c.toml', '')), 'host');
    assert.equal((await faultOf('check', file('d.toml', ''))).next, wording('add-client-or-host'));
    assert.equal((await faultOf('check', `${folder}/absent.toml`)).exit, 'usage');
  });

  it('is refused without an action, and with both sides', () => {
    assert.match(refusalOf(['config']).found, says('an-argument-is-missing'));
    assert.match(refusalOf(['config', 'chekc']).found, /unknown action "chekc"/);
    assert.match(refusalOf(['config', 'check', '--client', '--host']).found, /contradict/);
  });
});

describe('dialback config show', () => {
  const rowsOf = async (...argv: string[]): Promise<Map<string, Row>> => {
    const rows: Row[] = JSON.parse((await run('show', '--json', ...argv)).io.printed);
    return new Map(rows.map(row => [row.key, row]));
  };

  it('shows each key of the schema with its value, and the line or default that it comes from', async t => {
    const path = write(
      t,
      `name = "desk"\n${CLIENT}[scope]\nroots = [\n  "~/a",\n]\n[limits]\nbwlimit = "5M"\n`,
    );
    const rows = await rowsOf(path);
    const told = (key: string): unknown[] => {
      const { value, origin, line } = rows.get(key) ?? assert.fail(key);
      return [value, origin, line];
    };
    assert.deepEqual(told('name'), ['desk', 'file', 1]);
    assert.deepEqual(told('remote.0.target'), ['a@b', 'file', 3]);
    assert.deepEqual(told('remote.0.name'), ['b', 'default', null]);
    assert.deepEqual(told('remote.0.identity'), [`${process.env.HOME}/.ssh/id_ed25519`, 'default', null]);
    assert.deepEqual(told('scope.roots'), [[`${process.env.HOME}/a`], 'file', 5]);
    assert.deepEqual(told('limits.bwlimit'), ['5M', 'file', 9]);
    assert.deepEqual(told('limits.deadline'), ['24h', 'default', null]);
    assert.deepEqual(told('limits.max_size'), [null, 'unset', null]);
    const keys = configKeys(CLIENT_SCHEMA).map(key => key.path.join('.').replace('*', '0'));
    assert.deepEqual([...rows.keys()], keys);
  });

  it('shows the settings of one client, its own and those for all', async t => {
    const path = write(
      t,
      'store = "/s"\nmax_age = "36h"\n[retention]\ndaily = 7\n[client."lap.top".retention]\ndaily = 3\n',
      'host.toml',
    );
    const rows = await rowsOf(path);
    const keys = configKeys(HOST_SCHEMA);
    assert.equal(rows.size, keys.length);
    assert.partialDeepStrictEqual(rows.get('client.lap.top.retention.daily'), { value: 3, line: 6 });
    assert.partialDeepStrictEqual(rows.get('client.lap.top.max_age'), { value: '36h', line: 2 });
    assert.partialDeepStrictEqual(rows.get('client.lap.top.requests.deadline'), {
      value: '24h',
      origin: 'default',
    });
    assert.partialDeepStrictEqual(rows.get('client.lap.top.space.max_size'), {
      value: null,
      origin: 'unset',
    });
  });

  it('prints text that is the same config, with a comment behind each key', async t => {
    for (const name of ['client.toml', 'host.toml'] as const) {
      const all = readFileSync(`${SHARE}/${name}`, 'utf8').replaceAll(/^#(?=[a-z_]+ = )/gm, '');
      const path = write(t, all, name);
      const { io } = await run('show', path);
      const settings = io.printed.split('\n').filter(line => line !== '' && !/^[#[]/.test(line));
      for (const line of settings) assert.match(line, / # (line \d+|default)$/);
      const before = await rowsOf(path);
      const copy = `${path}.copy.toml`;
      writeFileSync(copy, io.printed);
      for (const [key, { value }] of await rowsOf(copy)) assert.deepEqual(value, before.get(key)?.value, key);
      assert.ok(parse(io.printed));
    }
  });

  it('shows the configs that the other commands read, and says where it looked for them', async t => {
    const path = write(t, 'store = "/s"\n', 'host.toml');
    assert.ok((await run('show', '--host')).io.printed.startsWith(`# ${path}\n`));
    process.env.HOME = scratch(t);
    const fault = await faultOf('show', '--client');
    assert.equal(fault.exit, 'usage');
    assert.match(fault.found, /client\.toml.*\/etc\/dialback/);
  });

  it('fails with the first problem of a wrong config', async t => {
    const fault = await faultOf('show', write(t, 'nmae = 1\n'));
    assert.equal(fault.exit, 'usage');
    assert.match(fault.found, /^"remote" is missing/);
  });
});
