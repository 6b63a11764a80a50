// Goal: the next step of a message mends the defect that it is about, and harms nothing else. Each test makes the defect, takes the
// step as it is printed, and looks again.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { nextOf } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { compileLauncher, NEEDS_ROOT, type Party, type Result, World } from '../../support/world.ts';

interface Finding {
  check: string;
  state: string;
  found: string;
  next: string | null;
}

describe('a next step', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;

  before(async () => {
    world = await World.make({ launcher: true });
    world.write(world.client, join(world.data, 'file'), 'content');
  });
  after(async () => {
    await world.dispose();
  });

  /** Does it, as root where it says so. */
  const follow = (next: string, party?: Party): void => {
    const isRoots = next.startsWith('as root: ');
    const command = next
      .replace(/^as root: /, '')
      .replace(/^.*(?:, or|the old one): /, '')
      .replace(/(?:; (?:then|and) .*| \(.*\))$/, '');
    const account = isRoots || party === undefined ? {} : { uid: party.uid, gid: party.gid };
    execFileSync('/bin/sh', ['-c', command], { ...account, cwd: '/', stdio: 'pipe' });
  };
  const doctor = async (party: Party, ...words: string[]): Promise<Finding[]> =>
    JSON.parse((await world.run(party, ['doctor', '--json', ...words])).stdout) as Finding[];
  const onHost = async (): Promise<Finding[]> =>
    await doctor(world.host, '--host', '--config', world.hostToml);
  const onClient = async (): Promise<Finding[]> =>
    await doctor(world.client, '--client', '--config', world.clientToml);
  const of = (findings: Finding[], check: string): Finding => {
    const found = findings.find(each => each.check === check);
    assert.ok(found, `${check}: ${JSON.stringify(findings)}`);
    return found;
  };

  it('for a store that belongs to root gives it back to the account', async () => {
    execFileSync('chown', ['-R', 'root', world.store]);
    const { state, next } = of(await onHost(), 'host.store');
    assert.equal(state, 'critical');
    assert.doesNotMatch(next ?? '', /id -nu 0/);
    follow(next ?? '');
    assert.equal(of(await onHost(), 'host.store').state, 'ok');
    for (const verb of ['verify', 'prune']) {
      chownSync(join(world.store, 'store.json'), 0, 0);
      const refused = await world.run(world.host, [verb, '--config', world.hostToml]);
      assert.notEqual(refused.status, 0);
      follow(nextOf(refused));
      assert.equal((await world.run(world.host, [verb, '--config', world.hostToml])).status, 0);
    }
  });

  it('for a new store in a folder of root’s leaves that folder as it is', async () => {
    const folder = join(world.base, 'srv');
    mkdirSync(folder, { mode: 0o755 });
    const toml = join(world.host.home, 'srv.toml');
    const enroll = async (store: string): Promise<Result> =>
      await world.run(world.host, ['enroll', 'desk', '--local', '--store', store, '--config', toml]);
    const refused = await enroll(folder);
    assert.notEqual(refused.status, 0);
    const next = nextOf(refused);
    assert.match(next, matching`; ${says('and-make-that-the-store')}$`);
    follow(next);
    assert.equal(lstatSync(folder).uid, 0);
    assert.equal(lstatSync(folder).mode & 0o777, 0o755);
    const store = /'([^']*)'; and make/.exec(next)?.[1] ?? '';
    const done = await enroll(store);
    assert.equal(done.status, 0, done.stderr);
  });

  it('for a config of another account’s gives the file back', async () => {
    chownSync(world.hostToml, world.client.uid, world.client.gid);
    chmodSync(world.hostToml, 0o644);
    const refused = await world.run(world.host, ['list', '--config', world.hostToml]);
    assert.equal(refused.status, 2);
    follow(nextOf(refused));
    assert.equal((await world.run(world.host, ['list', '--config', world.hostToml])).status, 0);
  });

  it('for a program in another account’s home does not take that home from it', async () => {
    const program = join(world.client.home, 'dialback');
    copyFileSync(world.binary, program);
    chmodSync(program, 0o755);
    chmodSync(world.client.home, 0o711);
    const { stdout } = await world.start(world.host, program, [
      'doctor',
      '--json',
      '--host',
      '--config',
      world.hostToml,
    ]).done;
    const { state, next } = of(JSON.parse(stdout) as Finding[], 'machine.executable');
    assert.equal(state, 'critical');
    assert.match(next ?? '', /^make install/); // test/regress/install/install follows it
    chmodSync(world.client.home, 0o700);
    rmSync(program);
  });

  it('for a list of never that is missing puts the installed one back', async () => {
    const list = '/etc/dialback/never';
    const installed = join(world.base, 'share/dialback/never');
    const had = existsSync(list) ? readFileSync(list) : undefined;
    mkdirSync(dirname(installed), { recursive: true });
    copyFileSync(join(import.meta.dirname, '../../../share/never'), installed);
    const paths = {
      to: world.launcher,
      serviceUid: world.client.uid,
      rsync: '/usr/bin/rsync',
      dialback: world.binary,
    };
    compileLauncher({ ...paths, never: list });
    chmodSync(world.launcher, 0o755);
    execFileSync('setcap', ['cap_dac_read_search=ep', world.launcher]);
    rmSync(list, { force: true });
    try {
      const { state, next } = of(await onClient(), 'client.never_list');
      assert.equal(state, 'critical');
      follow(next ?? '');
      assert.equal(readFileSync(list, 'utf8'), readFileSync(installed, 'utf8'));
      const after = await onClient();
      assert.equal(of(after, 'client.never_list').state, 'ok');
      assert.equal(of(after, 'client.jail').state, 'ok');
    } finally {
      rmSync(list, { force: true });
      if (had !== undefined) writeFileSync(list, had);
      world.installLauncher();
    }
  });

  it('is not to take the service account out of the launcher’s group', async () => {
    const { uid, gid } = lstatSync(world.launcher);
    chownSync(world.launcher, 0, world.host.gid); // as `make install` would for that account
    chmodSync(world.launcher, 0o750);
    try {
      assert.equal(of(await onClient(), 'launcher.group').state, 'ok');
      const { next } = of(await onClient(), 'launcher.run');
      assert.match(next ?? '', matching`${says('for-this-account-to-do')}$`);
      world.configure({ top: `name = "${world.name}"\ncapability = "none"` });
      const without = await onClient();
      assert.ok(!without.some(each => each.check.startsWith('launcher.') && each.state !== 'ok'));
      const { last } = await world.backup();
      assert.equal(last.outcome, 'full');
    } finally {
      chownSync(world.launcher, uid, gid);
      world.installLauncher();
      world.configure();
    }
  });

  it('of enroll by an account that may not run the launcher leads to a config that works', async () => {
    chmodSync(world.jail, 0o700);
    try {
      const toml = join(world.host.home, 'outside.toml');
      const store = join(world.host.home, 'outside');
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      const keys = join(world.host.home, 'other keys');
      const words = ['enroll', 'beech', '-', '--config', toml, '--store', store, '--authorized-keys', keys];
      const { status, stderr } = await world.run(world.host, words, { input: key });
      assert.equal(status, 0, stderr);
      const findings = await doctor(world.host, '--host', '--config', toml);
      assert.equal(of(findings, 'host.confinement').state, 'ok');
      assert.ok(!findings.some(each => each.check.startsWith('launcher.')), JSON.stringify(findings));
    } finally {
      world.installLauncher();
    }
  });

  it('on a client sends what belongs to the host there', async () => {
    const own = join(world.client.home, '.config/dialback/client.toml');
    for (const folder of [dirname(dirname(own)), dirname(own)]) {
      mkdirSync(folder, { recursive: true });
      world.own(world.client, folder);
    }
    copyFileSync(world.clientToml, own);
    chownSync(own, world.client.uid, world.client.gid);
    const refused = await world.run(world.client, ['list']);
    assert.equal(refused.status, 2);
    assert.equal(nextOf(refused), wording('run-it-on-the-backup'));
    assert.equal((await world.run(world.host, ['list', '--config', world.hostToml])).status, 0);
    rmSync(own);
  });

  it('after the other ends with a backup on this machine', async () => {
    const store = join(world.client.home, 'disk/store');
    mkdirSync(dirname(store), { mode: 0o700 });
    world.own(world.client, dirname(store));
    const seen: string[] = [];
    let command = `dialback init --name desk --transport local --target '${store}'`;
    while (!/^dialback backup/.test(command)) {
      assert.ok(
        !seen.includes(command),
        `${wording('round-in-a-circle')}: ${[...seen, command].join(' | ')}`,
      );
      seen.push(command);
      const line = command.replace(/^dialback/, `'${world.binary}'`);
      const { status, stdout, stderr } = await world.start(world.client, '/bin/sh', ['-c', line]).done;
      assert.equal(status, 0, stderr);
      command = /^next: (?:.*:\n {2})?(.*)$/m.exec(stdout)?.[1] ?? '';
    }
    assert.equal(seen.length, 2);
  });

  it('of init mends what is wrong with its key, and lets go of an old key of the host', async () => {
    const folder = join(world.client.home, '.config/dialback');
    const at = (name: string): string => join(folder, name);
    const hostKey = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ');
    const init = async (key = hostKey): Promise<Result> =>
      await world.run(world.client, ['init', '--name', 'oak', '--target', world.target, '--host-key', key]);
    rmSync(folder, { recursive: true, force: true });
    assert.equal((await init()).status, 0);
    const key = readFileSync(at('id_ed25519'));
    world.keygen(world.client, join(world.client.home, 'another'));
    const another = readFileSync(join(world.client.home, 'another.pub'), 'utf8');
    const defects: [what: string, make: () => void][] = [
      ['others may read the key', () => chmodSync(at('id_ed25519'), 0o644)],
      ['the public half is another one', () => writeFileSync(at('id_ed25519.pub'), another)],
      ['the private half is gone', () => rmSync(at('id_ed25519'))],
      ['the host has another key', () => writeFileSync(at('known_hosts'), '')],
    ];
    for (const [what, make] of defects) {
      make();
      if (what === 'the host has another key') {
        const name = `[${world.address}]:${world.port}`;
        writeFileSync(at('known_hosts'), `${name} ${another.split(' ').slice(0, 2).join(' ')}\n`);
      }
      const refused = await init();
      assert.notEqual(refused.status, 0, what);
      follow(nextOf(refused), world.client);
      const done = await init();
      assert.equal(done.status, 0, `${what}: ${nextOf(refused)}: ${done.stderr}`);
    }
    assert.notDeepEqual(readFileSync(at('id_ed25519')), key, 'one that was gone is made again');
    rmSync(folder, { recursive: true });
  });
});
