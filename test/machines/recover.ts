/**
 * A whole machine is backed up, and a new one is made from nothing by the commands of docs/recover.md, read from that document. It
 * starts from its own disk by its own boot loader. The part "recover".
 *
 * The backup host is a user of this machine: his sshd answers on the only connection that the machines have.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { commandsOf, type DocumentCommand } from '../support/document.ts';
import { World } from '../support/world.ts';
import { CLIENT, CLIENT_TOML, Installed } from './installed.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';

const SUITE = 'bookworm+boot';
const NAME = 'laptop';
/** As the machines know the host (lab, --service). */
const HOST_ADDRESS = '10.0.2.100';
const HOST_NAME = 'backup.example.org';
const DOCUMENT = join(import.meta.dirname, '../../docs/recover.md');
const FROM_NOTHING = 'A machine from nothing';
const WITHOUT_PACKAGES = 'Without the files of packages';
/** The list of `dialback packages`, as the document names it. */
const LIST = '/var/lib/dialback/packages/list';
/** Serves the packages of the image (image.sh) within a machine, which reaches no mirror. A file: URL would be a medium of the machine. */
const SERVE_PACKAGES = `
  echo '127.0.0.1 mirror.example.org' >>/etc/hosts
  busybox httpd -p 127.0.0.1:80 -h /media/with/debs`;
const SOURCE = 'deb [trusted=yes] http://mirror.example.org ./';
/** Files of an image are newer than their packages. These packages, half of the machine, are installed again. */
const REINSTALLED = 'libperl5.36 perl-modules-5.36 coreutils udev bash libssl3 linux-image-6.1.*-cloud-amd64';

/**
 * What differs after a recovery, below the top: what the document says is not in the backup, and what the running machine writes
 * after it.
 */
const NAMED = [
  ...['dev', 'proc', 'sys', 'run', 'tmp', 'mnt', 'media'],
  ...['var/cache', 'var/lib/apt/lists', 'lost\\+found', '(?:.*/)?\\.cache', '(?:.*/)?\\.ssh'],
  'var/lib/dialback/\\.local/state', // dialback's own state
  'var/lib/dialback/\\.config/dialback/id_ed25519', // and its keys
  'var/log|var/lib/systemd|var/tmp', // written while the backup ran
];
/** The command after which all files are there. */
const GIVES_FILES = /^(?:rsync|dialback fetch) /;
const IS_NAMED = new RegExp(`^(?:\\.|(?:${NAMED.join('|')})(?:/.*)?)$`);

/** @param isSmall the backup has no files of packages; the document's commands put them back */
export async function recoverMachine(report: Report, keep: boolean, isSmall = false): Promise<Row> {
  const label = isSmall ? 'bookworm, recovery of a small backup' : 'bookworm, recovery';
  report.step(`${label}: make and start a machine`);
  const world = await World.make({ isSetUp: false });
  // A signal ends this process without the `finally`.
  const remove = (): void => removeAccounts(world);
  process.once('exit', remove);
  try {
    const { uid, gid, home } = world.host;
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
    const sshd = `/usr/sbin/sshd -i -f "${home}/sshd/config"`;
    const service = `/usr/bin/setpriv --reuid ${uid} --regid ${gid} --clear-groups ${sshd}`;
    const make = async (name: string): Promise<Installed> => {
      const machine = await Installed.make(name);
      if (isSmall) await machine.addPackages(SUITE);
      return machine;
    };
    using old = await make('recover-old');
    await old.start(SUITE, ['--service', service]);
    const row = await rowOf(report, old, label, keep);
    const files = await backUp(world, old, row, isSmall);
    if (files === undefined) return row;
    using fresh = await make('recover-new');
    await fresh.start(SUITE, ['--service', service, '--data', 'none:4G']);
    if (keep) fresh.isKept = true;
    await recover(world, fresh, row, files, isSmall);
    return row;
  } finally {
    process.off('exit', remove);
    await world.dispose();
  }
}

function removeAccounts({ base, client, host }: World): void {
  for (const { login } of [client, host]) spawnSync('/usr/sbin/userdel', ['--force', login]);
  rmSync(base, { recursive: true, force: true });
}

/** Makes a machine with users, a service, capabilities and hard links, and backs it up. @returns its files, as `torture.ts list` prints them */
async function backUp(
  world: World,
  machine: Installed,
  { check }: Row,
  isSmall: boolean,
): Promise<string | undefined> {
  let files = '';
  const isReady =
    (await check('make install, users, a service', async () => {
      await machine.ssh(`echo '${HOST_ADDRESS} ${HOST_NAME}' >>/etc/hosts`);
      await machine.install();
      await machine.ssh(
        `useradd --create-home --uid 1234 anna && usermod -aG adm anna && echo anna:secret | chpasswd
         runuser -u anna -- sh -c 'echo letter >/home/anna/letter && ln /home/anna/letter /home/anna/copy'
         cp /bin/true /usr/local/bin/capable && setcap cap_net_raw+ep /usr/local/bin/capable
         printf '[Service]\\nExecStart=/bin/sleep infinity\\nUser=anna\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/annas.service
         systemctl enable -q annas.service; mkdir /srv/torture`,
      );
      await machine.torture('make /srv/torture');
    })) &&
    (!isSmall || (await check('dialback packages', async () => await listPackages(machine)))) &&
    (await check('backup of the whole machine', async () => {
      await machine.ssh(machine.as(CLIENT, 'dialback init'));
      const key = await machine.ssh(`cat $(dirname ${CLIENT_TOML})/id_ed25519.pub`);
      const enrolled = await world.enroll(NAME, key);
      assert.equal(enrolled.status, 0, enrolled.stderr);
      const hostKey = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8').trim();
      const target = `--target ${world.host.login}@${HOST_NAME} --host-key '${hostKey}'`;
      await machine.ssh(machine.as(CLIENT, `dialback init --name ${NAME} ${target}`));
      await machine.ssh(
        `grep -q '^transport = "channel"' ${CLIENT_TOML} || sed -i '/^target = /a transport = "channel"' ${CLIENT_TOML}
         sed -i '/^roots = /a mounts = "one"' ${CLIENT_TOML}
         ${isSmall ? `sed -i 's|^exclude_from = \\(.*\\)|exclude_from = [\\1, "${LIST}"]|' ${CLIENT_TOML} && grep -q '${LIST}' ${CLIENT_TOML}` : ''}
         printf '[limits]\\ncompress = "no"\\n' >>${CLIENT_TOML}; cat ${CLIENT_TOML}`,
      );
      const said = await machine.ssh(`${machine.as(CLIENT, 'dialback backup -v')} 2>&1`);
      assert.match(said, /backed up: /);
      await world.settled();
    }));
  if (!isReady) return undefined;
  files = await machine.listFiles('/');
  await machine.halt();
  return files;
}

/** Leaves out what apt can put back. The kernel and the tools of the machine are in packages. */
async function listPackages(machine: Installed): Promise<void> {
  await machine.ssh(
    `mkdir -p /media/with && mount --bind /mnt/with /media/with ${SERVE_PACKAGES}
     echo '${SOURCE}' >/etc/apt/sources.list && rm -f /etc/apt/sources.list.d/* && apt-get update -q 2>&1 &&
     DEBIAN_FRONTEND=noninteractive apt-get install -q -y --reinstall ${REINSTALLED} 2>&1 && rm /var/cache/apt/archives/*.deb
     install -d -o ${CLIENT} -g ${CLIENT} -m 700 ${dirname(LIST)}`,
  );
  await machine.ssh(`${machine.as(CLIENT, `dialback packages --write ${LIST}`)} 2>&1`);
  const patterns = await machine.ssh(`grep '^/' ${LIST}`);
  assert.ok(patterns.split('\n').length > 100);
  assert.match(patterns, /^\/boot\/vmlinuz/m);
}

/** The commands of the document, for this test's machines. */
function commandsFor(world: World, heading: string): DocumentCommand[] {
  const snapshots = readdirSync(join(world.store, 'clients', NAME, 'snapshots')).sort();
  const inTest = (command: string): string =>
    command
      .replaceAll('/dev/sda', '/dev/vdb')
      .replaceAll('dialback@', `${world.host.login}@`)
      .replaceAll('/var/lib/dialback/dialback-store', world.store.replaceAll(' ', '\\ '))
      .replaceAll(/snapshots\/2026-\S+Z/g, `snapshots/${snapshots.at(-1)}`);
  return commandsOf(readFileSync(DOCUMENT, 'utf8'), heading).map(each => ({
    ...each,
    command: inTest(each.command),
  }));
}

async function recover(
  world: World,
  machine: Installed,
  { check }: Row,
  files: string,
  isSmall: boolean,
): Promise<void> {
  await machine.ssh(
    `echo '${HOST_ADDRESS} ${HOST_NAME}' >>/etc/hosts
     mkdir -p /media/usb /media/with && mount --bind /mnt/with/tree/dist /media/usb && mount --bind /mnt/with /media/with && umount /mnt/with
     ${isSmall ? SERVE_PACKAGES : ''}`,
  );
  const steps = commandsFor(world, FROM_NOTHING);
  const more = isSmall ? commandsFor(world, WITHOUT_PACKAGES) : [];
  const output = new Map<string, string>();
  const isRecovered = await check(`${steps.length + more.length} commands of docs/recover.md`, async () => {
    for (const step of steps) {
      if (step.at === 'laptop' || step.command === 'systemctl reboot') break;
      output.set(step.command, await runStep(world, machine, step, output));
      if (!GIVES_FILES.test(step.command)) continue;
      // One script: later commands need the variable and the folder of earlier ones.
      if (isSmall) await machine.ssh(['set -e', ...more.map(each => `${each.command} 2>&1`)].join('\n'));
      await compare(machine, files);
    }
  });
  if (!isRecovered) return;
  await machine.halt();
  await check('the new machine starts from its disk', async () => {
    await machine.lab('boot', machine.name);
  });
  await check('its services, accounts, capabilities and hard links', async () => {
    for (const step of steps.filter(each => each.at === 'laptop' && !each.command.includes('init')))
      await machine.ssh(step.command);
    const source = (await machine.ssh('findmnt -no SOURCE /')).trim();
    assert.equal(source, '/dev/vda2');
    assert.equal(
      (await machine.ssh('systemctl is-active annas.service ssh.service')).trim(),
      'active\nactive',
    );
    assert.equal((await machine.ssh('systemctl --failed --no-legend')).trim(), '');
    assert.match(await machine.ssh('id anna'), /^uid=1234\(anna\) .*\(adm\)/);
    assert.match(await machine.ssh('getcap /usr/local/bin/capable'), /cap_net_raw=ep/);
    assert.match(await machine.ssh('getcap /usr/local/libexec/dialback/launch'), /cap_dac_read_search=ep/);
    const inodes = (await machine.ssh('stat -c "%i %h %U" /home/anna/letter /home/anna/copy'))
      .trim()
      .split('\n');
    assert.equal(inodes[0], inodes[1]);
    assert.match(inodes[0] ?? '', / 2 anna$/);
    assert.equal((await machine.ssh("grep -c '^anna:[$]' /etc/shadow")).trim(), '1');
  });
}

/** Runs a command of the document where it says. `…` and CODE stand for what an earlier command printed. */
async function runStep(
  world: World,
  machine: Installed,
  { at, command }: DocumentCommand,
  output: ReadonlyMap<string, string>,
): Promise<string> {
  const key = [...output.values()].find(each => each.startsWith('ssh-ed25519 ')) ?? '';
  const code = /dialback fetch (\S+) /.exec([...output.values()].join(''))?.[1] ?? '';
  const hostKey = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8').trim().split(' ');
  const words = command
    .replace('ssh-ed25519 AAAA… rescue', key.trim())
    .replace('ssh-ed25519 AAAA…', hostKey.slice(0, 2).join(' '))
    .replace(' CODE ', ` ${code} `);
  if (at === 'rescue') return await machine.ssh(words);
  const options = `--config "${world.hostToml}"`;
  const onHost = `cd "${world.host.home}"; ${words.replace('dialback offer', `"${world.binary}" offer ${options}`)}`;
  const { status, stdout, stderr } = await world.start(world.host, '/bin/sh', ['-c', onHost]).done;
  assert.equal(status, 0, `${onHost}\n${stdout}${stderr}`);
  return stdout;
}

/** Compares the recovered tree with the old machine's, before it starts. */
async function compare(machine: Installed, files: string): Promise<void> {
  const [before, after] = [files, await machine.listFiles('/mnt')].map(
    text =>
      new Map(
        text
          .trimEnd()
          .split('\n')
          .map(line => {
            const at = line.indexOf('\t');
            return [line.slice(0, at), line.slice(at + 1)] as const;
          }),
      ),
  );
  assert.ok(before && after && before.size > 5000, String(before?.size));
  const paths = new Set([...before.keys(), ...after.keys()]);
  const differences = [...paths]
    .filter(path => before.get(path) !== after.get(path) && !IS_NAMED.test(path))
    .map(path => `${path}: ${before.get(path)} -> ${after.get(path)}`);
  assert.deepEqual(differences, []);
}
