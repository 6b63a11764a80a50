// Goal: the README's commands work as they are written: its console blocks are run in order, on two machines with a cable between
// them, and print what the README shows. UPDATE_README=1 writes the output into the README.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';
import { compile } from '../../support/compiled.ts';
import { Machine } from '../../support/machine.ts';
import { SERVICE_UID } from '../../support/site.ts';
import { followTranscript, type Step } from '../../support/transcript.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const README = join(TOP, 'README.md');
const MACHINES = ['laptop', 'backup'] as const;
type MachineName = (typeof MACHINES)[number];

describe("the README's commands", { skip: IN_CLEAN_MACHINE || NEEDS_ROOT }, () => {
  const machines = new Map<MachineName, Machine>();
  before(async () => {
    for (const name of MACHINES) machines.set(name, await Machine.boot({ ownNetwork: true }));
    const end = (name: MachineName): string[] => ['eth0', 'netns', String(machine(name).pid)];
    const pair = ['link', 'add', ...end('laptop'), 'type', 'veth', 'peer', 'name', ...end('backup')];
    execFileSync('ip', pair, { stdio: 'pipe' });
    for (const [number, name] of MACHINES.entries()) {
      copyCheckout(machine(name).path('/root/dialback'));
      mkdirSync(machine(name).path('/root/dialback/node_modules'));
      for (const made of ['dist/dialback', 'node_modules/.package-lock.json'])
        copyFileSync(join(TOP, made), machine(name).path(`/root/dialback/${made}`));
      // What `make install` would compile: it has the number that useradd gives the account.
      for (const kind of ['launch', 'jail'] as const)
        compile(kind, machine(name).path(`/root/dialback/dist/${kind}`), { SERVICE_UID });
      await setUp(
        name,
        `ip address add 192.168.77.${number + 1}/24 dev eth0
        ip link set eth0 up
        printf '%s\\n' '127.0.0.1 localhost' '192.168.77.1 laptop' '192.168.77.2 backup.example.org backup' >/etc/hosts`,
      );
    }
    await setUp(
      'laptop',
      `hostname laptop
      useradd --create-home --shell /bin/bash anna
      echo 'Dear Bob, I have a backup.' >/home/anna/letter.txt
      mkdir /home/anna/photos
      head -c 300000 /dev/urandom >/home/anna/photos/cat.jpg
      rm -f /home/anna/.??*
      chown -R anna: /home/anna`,
    );
    await setUp(
      'backup',
      `hostname backup.example.org
      rm -f /etc/ssh/ssh_host_*
      ssh-keygen -q -A
      mkdir -p /run/sshd
      /usr/sbin/sshd
      make -C /root/dialback install`,
    );
  });
  after(async () => {
    for (const each of machines.values()) await each.end();
  });

  function machine(name: MachineName): Machine {
    const found = machines.get(name);
    assert.ok(found, name);
    return found;
  }

  /** As root; it has to succeed. */
  async function setUp(name: MachineName, script: string): Promise<void> {
    const { status, output } = await run(name, ['sh', '-ec', script], '/');
    assert.equal(status, 0, output);
  }

  async function run(name: MachineName, command: string[], folder: string) {
    return await machine(name).run(command, {
      folder,
      environment: loginEnvironment('/root'),
      timeoutMs: 180_000,
    });
  }

  /** Types a command at the prompt of its user. @returns the lines that it printed */
  async function type({ user, machine: at, folder, command }: Step, typed: string): Promise<string[]> {
    const name = MACHINES.find(each => each === at) ?? assert.fail(`there is no machine ${at}`);
    const home = { root: '/root', dialback: '/var/lib/dialback' }[user] ?? `/home/${user}`;
    const script = user === 'root' ? ['sh', '-c', typed] : ['su', '--pty', '-', user, '-c', typed];
    const { status, output } = await run(name, script, user === 'root' ? folder.replace('~', home) : '/');
    assert.equal(status, 0, `${command}\n${output}`);
    return output.replaceAll('\r', '').trimEnd().split('\n');
  }

  it('print what the README shows', async () => {
    const { differences, written, steps } = await followTranscript(readFileSync(README, 'utf8'), type);
    assert.ok(steps >= 8, String(steps));
    if (process.env.UPDATE_README !== '1') {
      assert.deepEqual(differences, [], 'UPDATE_README=1 writes what the commands print');
      return;
    }
    writeFileSync(README, written);
  });
});
