// Goal: the Ansible roles of share/ansible set up a backup host and three clients, two of them by the Debian package and one by a prebuilt
// tree. The second run changes nothing, and each client makes a real backup that can be restored.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment, TOP } from '../../support/checkout.ts';
import { Machine } from '../../support/machine.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const CLIENTS = ['web1', 'web2', 'db1'] as const;
type Name = (typeof CLIENTS)[number] | 'backup';
const CHECKOUT = '/root/dialback';
const EPOCH = 1_790_000_000;

/** Machines on one cable each to the host, on which Ansible runs too. */
describe('the Ansible roles', { skip: IN_CLEAN_MACHINE || NEEDS_ROOT }, () => {
  const machines = new Map<Name, Machine>();
  before(async () => {
    for (const name of ['backup', ...CLIENTS] as const)
      machines.set(name, await Machine.boot({ ownNetwork: true }));
    for (const [number, name] of CLIENTS.entries()) {
      const ends = [`eth${number}`, 'netns', String(machine('backup').pid), 'type', 'veth', 'peer'];
      const other = ['name', 'eth0', 'netns', String(machine(name).pid)];
      execFileSync('ip', ['link', 'add', ...ends, ...other], { stdio: 'pipe' });
      await say(
        'backup',
        `ip address add 192.168.${80 + number}.1/24 dev eth${number}; ip link set eth${number} up`,
      );
      await say(
        name,
        `ip address add 192.168.${80 + number}.2/24 dev eth0; ip link set eth0 up; hostname ${name}
        printf '%s\\n' '127.0.0.1 localhost' '192.168.${80 + number}.1 backup.example.org' >/etc/hosts
        mkdir -p /srv/data && echo 'the data of ${name}' >/srv/data/file && chmod 600 /srv/data/file`,
      );
    }
    const hosts = CLIENTS.map((name, at) => `'192.168.${80 + at}.2 ${name}.example.org'`).join(' ');
    await say('backup', `hostname backup; printf '%s\\n' '127.0.0.1 localhost' ${hosts} >/etc/hosts`);
    for (const name of machines.keys())
      await say(
        name,
        `rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -A; mkdir -p /run/sshd /root/.ssh; chmod 700 /root/.ssh; /usr/sbin/sshd
        userdel dialback 2>/dev/null || true; rm -rf /var/lib/dialback /etc/dialback`,
      );
    await say('backup', `rm -f /root/.ssh/id_*; ssh-keygen -q -N '' -t ed25519 -f /root/.ssh/id_ed25519`);
    const known = CLIENTS.map(
      name => `${name}.example.org ${read(name, '/etc/ssh/ssh_host_ed25519_key.pub')}`,
    );
    writeFileSync(machine('backup').path('/root/.ssh/known_hosts'), known.join(''));
    for (const name of CLIENTS)
      writeFileSync(
        machine(name).path('/root/.ssh/authorized_keys'),
        read('backup', '/root/.ssh/id_ed25519.pub'),
        {
          mode: 0o600,
        },
      );
    await build();
  });
  after(async () => {
    for (const each of machines.values()) await each.end();
  });

  function machine(name: Name): Machine {
    return machines.get(name) ?? assert.fail(name);
  }
  const read = (name: Name, path: string): string => readFileSync(machine(name).path(path), 'utf8');
  async function run(name: Name, script: string, folder = '/') {
    return await machine(name).run(['sh', '-ec', script], {
      folder,
      environment: loginEnvironment('/root'),
      timeoutMs: 400_000,
    });
  }
  /** As root; it has to succeed. */
  async function say(name: Name, script: string, folder = '/'): Promise<string> {
    const { status, output } = await run(name, script, folder);
    assert.equal(status, 0, `${script}\n${output}`);
    return output;
  }

  /** Builds the package and the archive on the host, and writes the inventory. */
  async function build(): Promise<void> {
    const host = machine('backup');
    copyCheckout(host.path(CHECKOUT));
    mkdirSync(host.path(`${CHECKOUT}/node_modules`));
    for (const made of ['dist/dialback', 'node_modules/.package-lock.json'])
      copyFileSync(join(TOP, made), host.path(`${CHECKOUT}/${made}`));
    // The texts of the licenses, which the package has.
    const { dependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    for (const name of [...Object.keys(dependencies), `node-linux-${process.arch}`]) {
      const [from, to] = [join(TOP, 'node_modules', name), host.path(`${CHECKOUT}/node_modules/${name}`)];
      mkdirSync(to);
      for (const file of readdirSync(from).filter(each => /^licen[sc]e/i.test(each)))
        copyFileSync(join(from, file), join(to, file));
    }
    await say('backup', `SOURCE_DATE_EPOCH=${EPOCH} DPKG_DEB_COMPRESSOR_LEVEL=0 tools/deb.sh`, CHECKOUT);
    await say(
      'backup',
      `make launcher SERVICE_UID=590
      tar -cf /root/prebuilt.tar --exclude='dist/*.deb' -C /root dialback
      mkdir /root/play
      cp dist/dialback_*.deb /root/play/dialback.deb
      mv /root/prebuilt.tar /root/play/`,
      CHECKOUT,
    );
    cpSync(join(TOP, 'share/ansible'), host.path('/root/play'), { recursive: true });
    const inventory = `
[dialback_hosts]
backup ansible_connection=local ansible_host=backup.example.org

[dialback_clients]
web1.example.org
web2.example.org dialback_transport=channel
db1.example.org dialback_deb= dialback_archive=/root/play/prebuilt.tar

[all:vars]
ansible_user=root
dialback_deb=/root/play/dialback.deb
dialback_store=/srv/backups/dialback
dialback_roots=["/srv/data"]
dialback_schedule=cron
dialback_host_settings='[retention]\\nlast = 5'
`;
    writeFileSync(host.path('/root/play/inventory.ini'), inventory);
  }

  /** Runs the playbook. @returns the counts of each machine */
  async function play(): Promise<Map<string, Record<string, number>>> {
    const output = await say(
      'backup',
      'ANSIBLE_NOCOLOR=1 ANSIBLE_FORCE_COLOR=0 ansible-playbook -i inventory.ini site.yml',
      '/root/play',
    );
    const recap = output.slice(output.indexOf('PLAY RECAP'));
    const counts = [...recap.matchAll(/^(\S+) +: (.*)$/gm)].map(([, name = '', text = '']) => {
      const pairs = [...text.matchAll(/(\w+)=(\d+)/g)].map(([, key, value]) => [key, Number(value)]);
      return [name, Object.fromEntries(pairs)] as [string, Record<string, number>];
    });
    assert.equal(counts.length, 4, output);
    for (const [name, count] of counts)
      assert.deepEqual([count.failed, count.unreachable], [0, 0], `${name}\n${output}`);
    return new Map(counts);
  }

  it('set up a host and three clients, and change nothing the second time', async () => {
    const first = await play();
    for (const [name, count] of first) assert.ok((count.changed ?? 0) > 0, name);
    const second = await play();
    for (const [name, count] of second) assert.equal(count.changed, 0, name);
    const keys = read('backup', '/var/lib/dialback/.ssh/authorized_keys').trim().split('\n');
    assert.equal(keys.length, 3);
    for (const name of CLIENTS)
      assert.match(read(name, '/etc/cron.d/dialback'), /^41 2 .* dialback .*backup$/m);
  });

  it('make clients whose backups can be restored', async () => {
    for (const name of CLIENTS) {
      await say(name, 'cd / && runuser -u dialback -- dialback backup');
      const restored = `/root/restored-${name}`;
      await say('backup', `dialback restore ${name} --to ${restored}`);
      assert.equal(read('backup', `${restored}/srv/data/file`), `the data of ${name}\n`);
    }
    const status = JSON.parse(
      await say('backup', 'cd / && runuser -u dialback -- dialback status --json'),
    ) as { client: string; snapshots: number }[];
    assert.deepEqual(
      status.map(each => [each.client, each.snapshots]),
      [
        ['db1', 1],
        ['web1', 1],
        ['web2', 1],
      ],
    );
    const config = read('web2', '/var/lib/dialback/.config/dialback/client.toml');
    assert.match(config, /^transport = "channel"$/m);
    assert.match(config, /^capability = "confined"$/m);
  });

  it('have a sample of cloud-init beside them, whose values init takes', async () => {
    const host = machine('backup');
    copyFileSync(join(TOP, 'share/cloud-init/client.yml'), host.path('/root/play/client.yml'));
    const parse = 'import json, sys, yaml; json.dump(yaml.safe_load(open("client.yml")), sys.stdout)';
    const sample = JSON.parse(await say('backup', `/usr/bin/python3 -c '${parse}'`, '/root/play')) as {
      write_files: { path: string; content: string }[];
      runcmd: string[][];
    };
    const key = read('backup', '/etc/ssh/ssh_host_ed25519_key.pub').split(' ').slice(0, 2).join(' ');
    const [file] = sample.write_files;
    assert.ok(file);
    const values = file.content.replace('ssh-ed25519 AAAA', key);
    assert.notEqual(values, file.content);
    await say('db1', 'useradd --create-home anna');
    writeFileSync(machine('db1').path(file.path), values);
    const init = sample.runcmd.flat().find(each => each.includes('dialback init')) ?? assert.fail();
    const line = await say('db1', init.replaceAll('id=dialback', 'id=anna').replace(/ \| tee .*/, ''));
    assert.match(line, /^web1 ssh-ed25519 \S{68}\n$/);
  });

  it('refuse values that an existing client.toml does not have', async () => {
    const failed = await run(
      'backup',
      `ansible-playbook -i inventory.ini site.yml -l web1.example.org,backup -e '{"dialback_roots": ["/etc"]}'`,
      '/root/play',
    );
    assert.equal(failed.status, 2, failed.output);
    assert.match(failed.output, /roots = .*\/srv\/data/s);
  });
});
