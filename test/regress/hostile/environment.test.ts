// Goal: no variable of the environment makes the executable read or write a file, load a module, print what it does or take over
// one of its descriptors; not where a host's sshd takes every variable from its clients either.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lastOutcome } from '../../support/hostile-client.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('the environment', { skip: NEEDS_ROOT }, () => {
  let world: World;
  /** All may write to it. */
  let folder: string;
  let variables: Record<string, string>;
  before(async () => {
    world = await World.make({ sshd: ['AcceptEnv *'] });
    writeFileSync(join(world.data, 'a file'), 'content');
    folder = join(world.base, 'open to all');
    mkdirSync(folder);
    chmodSync(folder, 0o1777);
    // OpenSSL ends a program whose config it cannot use; where it reads this one, the version says so.
    const config =
      'openssl_conf = main\n[main]\nproviders = list\n[list]\nx = y\n[y]\nmodule = /nowhere\nactivate = 1\n';
    writeFileSync(join(folder, 'openssl.cnf'), config);
    const at = (name: string): string => join(folder, name);
    variables = {
      OPENSSL_CONF: at('openssl.cnf'),
      OPENSSL_CONF_INCLUDE: folder,
      OPENSSL_MODULES: folder,
      OPENSSL_ENGINES: folder,
      SSL_CERT_FILE: at('certificates'),
      SSL_CERT_DIR: folder,
      NODE_V8_COVERAGE: at('coverage'),
      NODE_COMPILE_CACHE: at('cache'),
      NODE_OPTIONS: `--require ${at('module.js')} --cpu-prof --cpu-prof-dir=${at('profile')}`,
      NODE_EXTRA_CA_CERTS: at('certificates'),
      NODE_ICU_DATA: at('icu'),
      NODE_REDIRECT_WARNINGS: at('warnings'),
      NODE_PENDING_DEPRECATION: '1',
      NODE_DEBUG_NATIVE: 'all',
      NODE_REPL_EXTERNAL_MODULE: at('module.js'),
      NODE_REPL_HISTORY: at('history'),
      NODE_PATH: folder,
      NODE_PRESERVE_SYMLINKS: '1',
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      NODE_USE_ENV_PROXY: '1',
      NODE_USE_SYSTEM_CA: '1',
      UV_THREADPOOL_SIZE: '1024',
      UV_USE_IO_URING: '1',
      ICU_TIMEZONE_FILES_DIR: folder,
      SSLKEYLOGFILE: at('keys'),
    };
  });
  after(async () => {
    await world.dispose();
  });

  const said = ({ status, stdout, stderr }: Result) => ({ status, stdout, stderr });

  it('changes nothing of what a command says, and makes no file', async () => {
    const commands = [
      ['version'],
      ['list', '--config', world.hostToml, '--json'],
      ['status', '--config', world.hostToml],
    ];
    const runs = commands.map(async words => {
      const plain = said(await world.run(world.host, words));
      for (const [name, value] of Object.entries(variables)) {
        if (words[0] !== 'version') break; // each by itself once; with the others all of them at once
        const found = said(await world.run(world.host, words, { environment: { [name]: value } }));
        assert.deepEqual(found, plain, `${name}, ${words[0]}`);
      }
      assert.deepEqual(said(await world.run(world.host, words, { environment: variables })), plain);
    });
    await Promise.all(runs);
    assert.deepEqual(readdirSync(folder), ['openssl.cnf']);
  });

  const call = async (environment: Record<string, string>, what: string): Promise<Result> => {
    const set = Object.entries(environment).map(([name, value]) => `${name}="${value}"`);
    const options = set.length === 0 ? [] : ['-o', `SetEnv ${set.join(' ')}`];
    return await world.callHost(options, [what], 'nonsense\n');
  };

  it('of a client that the host takes every variable from has no effect there', async () => {
    const plain = await call({}, `${world.name}:channel`);
    assert.equal(lastOutcome(plain.stderr)?.code, 'request', plain.stderr);
    const found = await call(variables, `${world.name}:channel`);
    assert.deepEqual(said(found), said(plain));
    assert.deepEqual(readdirSync(folder), ['openssl.cnf']);
  });

  it('is refused where node itself would obey it, and nothing of the host is told', async () => {
    for (const name of [
      'NODE_DEBUG',
      'NODE_CHANNEL_FD',
      'NODE_CHANNEL_SERIALIZATION_MODE',
      'NODE_UNIQUE_ID',
    ]) {
      const value =
        { NODE_DEBUG: 'child_process,fs,net', NODE_CHANNEL_SERIALIZATION_MODE: 'json' }[name] ?? '9';
      const { stderr } = await call({ [name]: value }, `${world.name}:channel`);
      assert.equal(stderr.includes(world.host.home), false, `${name}: ${stderr}`);
      const last = world.journal('host').at(-1);
      assert.equal(last?.code, name === 'NODE_CHANNEL_FD' ? last?.code : 'config', name);
      if (last?.code === 'config') assert.match(String(last.reason), new RegExp(`environment has ${name}`));
    }
  });

  it('still lets a backup through', async () => {
    const { status } = await world.backup([], { environment: variables });
    assert.equal(status, 0);
    assert.deepEqual(readdirSync(folder), ['openssl.cnf']);
  });
});
