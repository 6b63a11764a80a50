/**
 * The Debian package on a machine with a running systemd: dpkg installs the previous version, its timer starts a backup, an upgrade comes
 * while the service runs, and then `remove` and `purge`. Nothing of the store or of the keys is lost. The part "package".
 */
import assert from 'node:assert/strict';
import { newVersion, OLD_VERSION } from '../support/old-version.ts';
import { CLIENT, CLIENT_TOML, HOST, HOST_TOML, Installed, STORE } from './installed.ts';
import { DEADLINE_MS } from './machine.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';
import { elapse, withoutDelay } from './timer.ts';

const SUITE = 'bookworm';
const TIMER = 'dialback-backup.timer';
const SERVICE = 'dialback-backup.service';
const UNITS = [TIMER, SERVICE, 'dialback-web.socket', 'dialback-web.service'];
const HOME = '/var/lib/dialback';
const VERSIONS = `${HOME}/versions`;
/** Writes down which version the run is of, also when its file is replaced, and waits. */
const HOOK = `#!/bin/sh
"/proc/$PPID/exe" version >>${VERSIONS}
: >${HOME}/waits
until [ -e /srv/go-on ]; do sleep 0.5; done
`;
const KEYS = `${HOME}/.config/dialback/id_ed25519 ${HOME}/.config/dialback/id_ed25519.pub /home/${HOST}/.ssh/authorized_keys`;
/** Each file of the store and the keys, with its inode and content. The host's process outlives the call of the client. */
const SUMS = `while pgrep -u ${HOST} >/dev/null; do sleep 1; done
  { find ${STORE} -printf '%p %i %s %T@\\n' | LC_ALL=C sort; sha256sum ${KEYS} ${HOST_TOML}; } | sha256sum`;

export async function installPackage(report: Report, keep: boolean): Promise<Row> {
  const label = `${SUITE}, package`;
  report.step(`${label}: build both packages, make and start a machine`);
  using machine = await Installed.make('package');
  const { first, second } = await machine.addDebs();
  await machine.start(SUITE);
  const row = await rowOf(report, machine, label, keep);
  const { check, facts } = row;
  const isInstalled = await check('dpkg installs the previous version, and starts no unit', async () => {
    await machine.prepare();
    assert.match(await dpkg(machine, `--install ${first}`), /^dialback: next, /m);
    assert.match(await machine.ssh('dialback version'), new RegExp(`^dialback ${OLD_VERSION}\\b`));
    for (const unit of UNITS) assert.notEqual(await activeState(machine, unit), 'active', unit);
    assert.equal((await machine.run(`systemctl is-enabled ${TIMER}`)).stdout, 'disabled\n');
    await machine.enroll();
  });
  if (!isInstalled) return row;

  await check('its timer starts a backup', async () => {
    await withoutDelay(machine);
    await elapse(machine);
    const { state, confined } = await machine.newest();
    assert.equal(state, 'full');
    assert.equal(confined.send, true);
    facts.landlock = `${confined.landlock_abi}`;
  });
  await check(
    'an upgrade while the service runs: this run ends well, the next one is of the new version',
    () => upgradeDuringRun(machine, second),
  );
  let sums = await machine.ssh(SUMS);
  await check('remove stops the units, and keeps configs, keys and the store', async () => {
    await dpkg(machine, '--remove dialback');
    for (const unit of UNITS) assert.notEqual(await activeState(machine, unit), 'active', unit);
    assert.equal((await machine.run('command -v dialback')).stdout, '');
    assert.equal(await machine.ssh(SUMS), sums);
    await machine.ssh(`test -e ${CLIENT_TOML}`);
  });
  await check('installed again, the timer is active, and a run links', async () => {
    await dpkg(machine, `--install ${second}`);
    assert.equal(await activeState(machine, TIMER), 'active');
    const basis = (await machine.snapshots()).at(-1);
    await machine.ssh(`systemctl start ${SERVICE}`);
    const newest = await machine.newest();
    assert.equal(newest.state, 'full');
    assert.equal(newest.basis, basis);
    sums = await machine.ssh(SUMS);
  });
  await check('purge removes configs and links, and keeps the keys, the account and the store', async () => {
    assert.match(
      await dpkg(machine, '--purge dialback'),
      /^dialback: kept \/var\/lib\/dialback, with the keys/m,
    );
    assert.equal(await machine.ssh(SUMS), sums);
    await machine.ssh(`id ${CLIENT} && ! test -e ${CLIENT_TOML} && ! test -e /etc/dialback`);
    assert.equal(
      await machine.ssh('find /etc/systemd /var/lib/systemd -name "*dialback*" ! -name "*.timer.d"'),
      '',
    );
    assert.equal(await activeState(machine, TIMER), 'inactive');
  });
  return row;
}

async function upgradeDuringRun(machine: Installed, second: string): Promise<void> {
  const before = await machine.snapshots();
  await machine.ssh(
    `cat >/srv/hook <<'END'\n${HOOK}END
     chmod 755 /srv/hook && printf '\\n[hooks]\\nbefore = "/srv/hook"\\n' >>${CLIENT_TOML}
     systemctl start --no-block ${SERVICE}
     until [ -e ${HOME}/waits ]; do sleep 0.5; done`,
  );
  await dpkg(machine, `--install ${second}`);
  assert.match(await machine.ssh('dialback version'), new RegExp(`^dialback ${newVersion()}\\b`));
  assert.equal(await activeState(machine, SERVICE), 'activating', 'the run goes on');
  assert.equal(await activeState(machine, TIMER), 'active');
  assert.equal((await machine.snapshots()).length, before.length);
  await machine.ssh(
    `touch /srv/go-on; while systemctl is-active ${SERVICE} | grep -q activating; do sleep 1; done`,
  );
  assert.equal(await machine.ssh(`systemctl show --value -p Result ${SERVICE}`), 'success\n');
  assert.equal((await machine.snapshots()).length, before.length + 1);
  assert.equal((await machine.newest()).state, 'full');
  await machine.ssh(`timeout ${DEADLINE_MS / 1000} systemctl start ${SERVICE}`);
  assert.equal((await machine.newest()).state, 'full');
  assert.equal((await machine.snapshots()).length, before.length + 2);
  assert.deepEqual((await machine.ssh(`cat ${VERSIONS}`)).match(/^dialback \S+/gm), [
    `dialback ${OLD_VERSION}`,
    `dialback ${newVersion()}`,
  ]);
}

async function dpkg(machine: Installed, words: string): Promise<string> {
  return await machine.ssh(`DEBIAN_FRONTEND=noninteractive dpkg ${words} 2>&1`);
}

/** As `systemctl is-active` prints it. */
async function activeState(machine: Installed, unit: string): Promise<string> {
  return (await machine.run(`systemctl is-active ${unit}`)).stdout.trim();
}
