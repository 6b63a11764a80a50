// Goal: `make rpm` gives the same bytes in two folders, one with a blank in its name, and rpmlint finds nothing. rpm itself installs
// the package, upgrades it, puts its files back as doctor says, refuses a version that could not read a store, and removes it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment, TOP } from '../../support/checkout.ts';
import { type Ended, Machine } from '../../support/machine.ts';
import { buildOldVersion, newVersion, OLD_VERSION } from '../../support/old-version.ts';
import { FACTS, LAUNCHER, PRINT_FACTS, UID_FILE } from '../../support/package-facts.ts';
import { findingOf } from '../../support/steps.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const STEP_MS = 5 * 60_000;
const STORE = '/var/lib/dialback/dialback-store';

/** Makes the rpm of a checkout, without compression. @returns its path */
function makeRpm(folder: string, output: string): string {
  const { status, stdout, stderr } = spawnSync(join(folder, 'tools/rpm.sh'), [], {
    cwd: folder,
    env: {
      ...loginEnvironment(homedir()),
      SOURCE_DATE_EPOCH: '1790000000',
      RPM_PAYLOAD: 'w0.ufdio',
      RPM_OUTPUT: output,
    },
    encoding: 'utf8',
    timeout: STEP_MS,
  });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return /^[0-9a-f]{64} {2}(.*)$/m.exec(stdout)?.[1] ?? assert.fail(stdout);
}

describe('the rpm', { skip: IN_CLEAN_MACHINE || NEEDS_ROOT }, () => {
  let base: string;
  let old: string;
  const packages: string[] = [];
  let machine: Machine;
  before(async () => {
    base = mkdtempSync('/tmp/dialback-rpm-');
    for (const name of ['old', 'one', 'two']) mkdirSync(join(base, name));
    old = await buildOldVersion();
    packages.push(makeRpm(old, join(base, 'old')), makeRpm(TOP, join(base, 'one')));
    machine = await Machine.boot();
    // As where rpm is the package manager: Debian's asks for an option in each command, and has its database in a home.
    await say(
      'rm -rf /etc/debian_version /var/lib/rpm && mkdir -p /etc/rpm && echo "%_dbpath /var/lib/rpm" >/etc/rpm/macros && rpm --initdb && userdel dialback 2>/dev/null; mkdir -p /srv',
    );
    for (const path of packages) copyFileSync(path, machine.path(`/srv/${path.split('/').at(-1)}`));
  });
  after(async () => {
    await machine?.end();
    for (const folder of [base, old]) if (folder) rmSync(folder, { recursive: true, force: true });
  });

  async function run(script: string, home = '/root'): Promise<Ended> {
    const become =
      home === '/root' ? [] : ['setpriv', '--reuid=dialback', '--regid=dialback', '--init-groups'];
    return await machine.run([...become, 'sh', '-c', script], {
      folder: '/srv',
      environment: { ...loginEnvironment(home), HOME: home },
      timeoutMs: STEP_MS,
    });
  }
  /** As root; it must succeed. */
  async function say(script: string): Promise<string> {
    const { status, output } = await run(script);
    assert.equal(status, 0, `${script}\n${output}`);
    return output;
  }
  const file = (version: string): string => `./dialback-${version}-1.x86_64.rpm`;
  async function checkInstalled(version: string): Promise<void> {
    const facts = await say(
      `${PRINT_FACTS}
       dialback version`,
    );
    assert.deepEqual(facts.trim().split('\n').slice(0, FACTS.length), FACTS);
    assert.match(facts, new RegExp(`^dialback ${version.replaceAll('.', '\\.')}\\b`, 'm'));
    assert.equal(
      (await run('rpm --verify --nodeps dialback')).output.replace(/^.* c \/etc\/dialback\/excludes\n/m, ''),
      '',
    );
  }

  it('has the same bytes in two folders, and rpmlint finds nothing in it', () => {
    const folder = join(base, 'further down/the other');
    copyCheckout(folder);
    const [, one = ''] = packages;
    copyFileSync(join(TOP, 'dist/dialback'), join(folder, 'dist/dialback')); // it has a test of its own
    symlinkSync(join(TOP, 'node_modules'), join(folder, 'node_modules'));
    const two = makeRpm(folder, join(base, 'two'));
    assert.equal(sha256(two), sha256(one));
    const config = join(TOP, 'tools/rpm/rpmlint.toml');
    const { status, stdout } = spawnSync('rpmlint', ['--strict', '--config', config, one], {
      env: loginEnvironment(base), // Debian's rpm makes a database in the home
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout);
    assert.match(stdout, /0 errors, 0 warnings/);
    assert.deepEqual(
      readdirSync(join(folder, 'dist')).filter(name => name.startsWith('.build')),
      [],
    );
  });

  it('is installed, and upgraded without a loss', async () => {
    const output = await say(`rpm --install --nodeps ${file(OLD_VERSION)} 2>&1`);
    assert.match(output, /^dialback: next, .* dialback init$/m);
    await checkInstalled(OLD_VERSION);
    await say("echo '# mine' >>/etc/dialback/excludes");
    await say(`rpm --upgrade --nodeps ${file(newVersion())} 2>&1`);
    await checkInstalled(newVersion());
    assert.match(readFileSync(machine.path('/etc/dialback/excludes'), 'utf8'), /^# mine$/m);
    assert.match(await say('dialback try 2>&1'), /^All of it .*: /m);
  });

  it('is put back by the command that doctor prints', async () => {
    const look = async (): Promise<Finding> => {
      const { output } = await run('dialback doctor --client --json', '/var/lib/dialback');
      return findingOf(JSON.parse(output) as Finding[], 'launcher.file');
    };
    await say(
      `mkdir -p /srv/data && printf '%s\\n' 'name = "acorn"' 'capability = "confined"' '[[remote]]' 'target = "ssh://vault@127.0.0.1:9"' \\
         'transport = "channel"' 'identity = "/srv/key"' 'known_hosts = "/srv/key.pub"' '[scope]' 'roots = ["/srv/data"]' >/etc/dialback/client.toml
       touch /srv/key /srv/key.pub && rm ${LAUNCHER} /etc/dialback/never`,
    );
    const { next } = await look();
    const command = /^(rpm --reinstall \.\/\S+), as root, /.exec(next ?? '')?.[1];
    assert.equal(command, `rpm --reinstall ${file(newVersion())}`);
    await say(`${command} --nodeps 2>&1`);
    assert.equal((await look()).state, 'ok');
    await checkInstalled(newVersion());
  });

  it('is not replaced by a version that could not read a store', async () => {
    const write = (version: number): string =>
      `install -d -o dialback -g dialback ${STORE} && echo '{"version":${version}}' >${STORE}/store.json`;
    await say(write(2));
    const { status, output } = await run(`rpm --upgrade --oldpackage --nodeps ${file(OLD_VERSION)} 2>&1`);
    assert.notEqual(status, 0, output);
    assert.match(
      output,
      new RegExp(`^dialback: Cannot install ${OLD_VERSION}: .*, and a store has version 2:$`, 'm'),
    );
    assert.ok(output.includes(`  ${STORE}\n`), output);
    await checkInstalled(newVersion());
    await say(write(1));
    await say(`rpm --upgrade --oldpackage --nodeps ${file(OLD_VERSION)} 2>&1`);
    await checkInstalled(OLD_VERSION);
  });

  it('leaves the store, the keys and changed configs when it is removed', async () => {
    const output = await say('echo key >/var/lib/dialback/key && rpm --erase dialback 2>&1');
    assert.match(output, /^dialback: kept \/var\/lib\/dialback, with the keys, and the account dialback$/m);
    assert.ok(output.includes(`  ${STORE}\n`), output);
    for (const gone of ['/usr/bin/dialback', '/usr/libexec/dialback', UID_FILE, '/etc/cron.d/dialback'])
      assert.ok(!existsSync(machine.path(gone)), gone);
    for (const kept of [`${STORE}/store.json`, '/var/lib/dialback/key', '/etc/dialback/client.toml'])
      assert.ok(existsSync(machine.path(kept)), kept);
    assert.match(readFileSync(machine.path('/etc/dialback/excludes.rpmsave'), 'utf8'), /^# mine$/m);
    await say('id dialback');
  });
});

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
