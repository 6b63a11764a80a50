// Goal: where a program is missing, too old, or does not say what it is, the step names the Debian package that has it, or shows what
// it says; with the right program in its place the finding is gone.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { packageOf } from '../../../src/os/programs.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, instead, nextOf, packageOwning, Steps, without } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('a next step about a program', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  let folder: string;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    folder = join(world.base, 'programs');
    mkdirSync(folder);
    for (const name of ['rsync', 'ssh']) copyFileSync(`/usr/bin/${name}`, join(folder, name));
    steps = new Steps(world);
  });
  after(async () => {
    await world.dispose();
  });

  const pathOf = (name: string): string => {
    const paths = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].map(each => join(each, name));
    return paths.find(existsSync) ?? assert.fail(name);
  };
  const look = async (): Promise<Finding[]> => await steps.doctor(world.client);
  /** Something that says another version of itself, and is the real one for all else. */
  const saying = (name: 'rsync' | 'ssh', version: string, words = ''): string => {
    const path = join(folder, `${name} of another version`);
    const asked = name === 'ssh' ? '[ "$*" = -V ]' : 'case $* in *--version*) ;; *) false ;; esac';
    const script = [
      '#!/bin/sh',
      `if ${asked}; then echo '${version}' >&${name === 'ssh' ? 2 : 1}; exit 0; fi`,
      words,
      `exec '${join(folder, name)}' "$@"`,
      '',
    ];
    writeFileSync(path, script.join('\n'));
    chmodSync(path, 0o755);
    return path;
  };
  const withoutAll = async <T>(names: string[], what: () => Promise<T>): Promise<T> => {
    const [name, ...others] = names;
    if (name === undefined) return await what();
    return await without(pathOf(name), async () => await withoutAll(others, what));
  };

  it('names the package of each that is missing', async () => {
    const missing = ['rsync', 'ssh', 'ssh-keygen', 'flock', 'ionice', 'mkfifo', 'sshd'];
    const { state, found, next } = findingOf(await withoutAll(missing, look), 'machine.programs');
    assert.equal(state, 'critical');
    assert.deepEqual(/folders: (.*)$/.exec(found)?.[1]?.split(', ').sort(), [...missing].sort());
    const packages = /^apt-get install (.*)$/.exec(next ?? '')?.[1]?.split(' ') ?? [];
    assert.deepEqual(packages.sort(), [...new Set(missing.map(each => packageOwning(pathOf(each))))].sort());
    assert.equal(findingOf(await look(), 'machine.programs').state, 'ok');
  });

  it('names the right package of every program that is driven', () => {
    const all = [
      'setpriv',
      'env',
      'ssh-agent',
      'ssh-add',
      'cat',
      'sync',
      'rm',
      'chmod',
      'choom',
      'find',
      'xargs',
      'getcap',
      'getfattr',
    ];
    for (const name of all) assert.equal(packageOf(name) ?? 'coreutils', packageOwning(pathOf(name)), name);
  });

  it('names the package of the sshd that a backup needs, or a transport that needs none', async () => {
    const backup = async (): Promise<Result> => await steps.run(world.client, 'backup');
    const next = nextOf(await withoutAll(['sshd'], backup));
    const shape = matching`^${says('apt-get-update-apt-get')} (\S+); or ${says('set-transport-channel-in-client')}$`;
    assert.equal(shape.exec(next)?.[1], packageOwning(pathOf('sshd')));
    const done = await backup();
    assert.equal(done.status, 0, done.stderr);
    await world.settled();
  });

  it('shows what rsync and ssh say of themselves', async () => {
    await instead('/usr/bin/rsync', saying('rsync', 'something else'), async () => {
      await instead('/usr/bin/ssh', saying('ssh', 'something else'), async () => {
        const findings = await look();
        for (const [check, command] of [
          ['machine.rsync', 'rsync --version'],
          ['machine.openssh', 'ssh -V'],
        ] as const) {
          const { state, next } = findingOf(findings, check);
          assert.deepEqual([state, next], ['unknown', command]);
          const { status, stdout, stderr } = await steps.shell(world.client, command);
          assert.deepEqual([status, stdout + stderr], [0, 'something else\n'], command);
        }
      });
    });
    const now = await look();
    for (const check of ['machine.rsync', 'machine.openssh'])
      assert.notEqual(findingOf(now, check).state, 'unknown');
  });

  it('names the packages of an rsync and an ssh that are too old', async () => {
    await instead(
      '/usr/bin/rsync',
      saying('rsync', 'rsync  version 3.1.0  protocol version 31'),
      async () => {
        await instead('/usr/bin/ssh', saying('ssh', 'OpenSSH_7.1p1 Debian, OpenSSL'), async () => {
          const findings = await look();
          const rsync = findingOf(findings, 'machine.rsync');
          assert.match(rsync.found, matching`^rsync 3\.1\.0, ${says('and-its-packages-changelog-names')}`);
          assert.match(
            rsync.next ?? '',
            new RegExp(`^${wording('apt-get-update-apt-get')} ${packageOwning('/usr/bin/rsync')} \\(`),
          );
          const openssh = findingOf(findings, 'machine.openssh');
          assert.match(openssh.found, /^OpenSSH 7\.1p1; the oldest/);
          const [, ...packages] = /apt-get install ([\w-]+) ([\w-]+)/.exec(openssh.next ?? '') ?? [];
          assert.deepEqual(packages, [packageOwning('/usr/bin/ssh'), packageOwning(pathOf('sshd'))]);
        });
      },
    );
    const now = await look();
    // The machine's own can have a hole; it is not these.
    assert.doesNotMatch(findingOf(now, 'machine.rsync').found, /^rsync 3\.1\.0/);
    assert.doesNotMatch(findingOf(now, 'machine.openssh').found, /the oldest/);
  });

  it('names the package of an rsync that cannot serve a file', async () => {
    const broken = saying('rsync', 'rsync  version 3.1.0  protocol version 31', 'exit 1');
    const next = `${wording('apt-get-update-apt-get')} ${packageOwning('/usr/bin/rsync')}`;
    const [finding, refused] = await instead(
      '/usr/bin/rsync',
      broken,
      async () => [findingOf(await look(), 'client.rsync'), await steps.run(world.client, 'backup')] as const,
    );
    assert.deepEqual([finding.state, finding.next], ['critical', next]);
    assert.notEqual(refused.status, 0);
    assert.equal(nextOf(refused), next);
    assert.equal(findingOf(await look(), 'client.rsync').state, 'ok');
    const done = await steps.run(world.client, 'backup');
    assert.equal(done.status, 0, done.stderr);
    await world.settled();
  });

  it('is to see why a program does not end, and to look again', async () => {
    steps.configure({ remote: 'name = "vault"\ntransport = "channel"' });
    const slow = join(folder, 'slow');
    writeFileSync(slow, '#!/bin/sh\nexec sleep 1000\n');
    chmodSync(slow, 0o755);
    const findings = await instead(pathOf('ssh-keygen'), slow, look);
    const { state, found, next } = findingOf(
      findings,
      'client.config',
      matching`^${says('some-checks-were-not-made')}`,
    );
    assert.equal(state, 'unknown');
    assert.match(found, matching`${says('cannot-run-it-did-not', /.*ssh-keygen/)} 10 s$`);
    const shape = matching`${says('run-that-program-by-itself')} (dialback doctor)`;
    const said = await steps.follow(next, shape, world.client, { status: 1 });
    assert.match(said, /^client\n {2}ok +config: /m);
    assert.doesNotMatch(said, says('some-checks-were-not-made'));
  });
});
