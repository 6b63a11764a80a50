/** Steps that `doctor` prints and that need systemd. Each is followed as it is printed, and must end the finding. */
import assert from 'node:assert/strict';
import type { Finding } from '../../src/doctor/finding.ts';
import { quoteForShell } from '../../src/wire/text.ts';
import { findingOf } from '../support/steps.ts';
import { CLIENT, HOST, HOST_TOML, type Installed, STORE } from './installed.ts';
import type { Row } from './results.ts';

const WORK = '/tmp/clock';
const TIME_SERVICE = 'systemd-timesyncd';
const AHEAD_SECONDS = 300;
/** systemd-timesyncd asks again after 30 s where an answer is lost. */
const SYNC_SECONDS = 120;

/** The host's hook: it stops the run just before the host names the snapshot, until the clock is set. */
const HOOK = `#!/bin/sh
touch ${WORK}/begun
until [ -e ${WORK}/set ]; do sleep 0.1; done
`;

/** @param machine where `make install` and `enroll` have run */
export async function followSteps(machine: Installed, { check }: Row): Promise<void> {
  await check('a step of doctor starts the sshd that was stopped', async () => {
    await machine.ssh('systemctl disable --now ssh 2>&1');
    const finding = await look(machine, HOST, 'host.sshd');
    assert.equal(finding.state, 'warning', finding.found);
    await machine.ssh(`${finding.next} 2>&1`);
    assert.equal((await look(machine, HOST, 'host.sshd')).state, 'ok');
    assert.equal(await machine.ssh('systemctl is-enabled ssh'), 'enabled\n');
  });
  await check('a step of doctor sets the clock that was wrong', async () => {
    await serveTime(machine);
    await backUpWithWrongClock(machine);
    const finding = await look(machine, CLIENT, 'client.clock');
    assert.equal(finding.state, 'warning', finding.found);
    assert.match(finding.found, /^the clock of ".*" was (29\d|30\d) s ahead of this one, /);
    const [, set = '', backup = ''] =
      /^on .+, as root: (.+); then (.+)$/.exec(finding.next ?? '') ??
      assert.fail(`no commands in "${finding.next}"`);
    assert.ok((await errorSeconds(machine)) > AHEAD_SECONDS - 5);
    assert.equal(await machine.ssh(`systemctl is-enabled ${TIME_SERVICE} || true`), 'masked\n');
    await machine.ssh(`${set} 2>&1`);
    await machine.ssh(
      `for at in $(seq ${SYNC_SECONDS}); do
         [ "$(timedatectl show -p NTPSynchronized --value)" = yes ] && exit
         sleep 1
       done
       timedatectl timesync-status; journalctl --no-pager -u ${TIME_SERVICE}; exit 1`,
    );
    assert.ok(Math.abs(await errorSeconds(machine)) < 5, 'the clock is still wrong');
    await machine.ssh(`${machine.as(CLIENT, backup)} 2>&1`);
    assert.equal((await look(machine, CLIENT, 'client.clock')).state, 'ok');
  });
}

/** Starts a time server in the machine, which has no network, and names it to systemd-timesyncd, which the image has masked. */
async function serveTime(machine: Installed): Promise<void> {
  await machine.ssh(
    `install -d -m 777 ${WORK}
     read -r uptime rest </proc/uptime && echo $(($(date +%s) - \${uptime%.*})) >${WORK}/boot
     mkdir -p /etc/systemd/timesyncd.conf.d && printf '[Time]\\nNTP=127.0.0.1\\n' >/etc/systemd/timesyncd.conf.d/local.conf
     systemd-run --unit=time-server /mnt/with/node /mnt/with/tree/test/machines/time-server.ts 2>&1`,
  );
}

/** @returns by how much the machine's clock is ahead of where it was when the time server was started */
async function errorSeconds(machine: Installed): Promise<number> {
  return Number(
    await machine.ssh(
      `read -r uptime rest </proc/uptime && echo $(($(date +%s) - \${uptime%.*} - $(cat ${WORK}/boot)))`,
    ),
  );
}

/**
 * The machine is client and host, and has one clock. So that it is wrong for the host alone, it is ahead from just before the host
 * names the snapshot to just after it. Afterwards it is ahead again: this is the machine whose clock is wrong.
 */
async function backUpWithWrongClock(machine: Installed): Promise<void> {
  const [ahead, right] = ['+', '-'].map(sign => `date -s "@$(($(date +%s) ${sign} ${AHEAD_SECONDS}))"`);
  const arriving = `ls ${STORE}/clients/*/arriving | grep -q .`;
  await machine.ssh(
    `cp ${HOST_TOML} ${WORK}/host.toml
     printf %s ${quoteForShell(HOOK)} >/home/${HOST}/hook && chown ${HOST} /home/${HOST}/hook && chmod 700 /home/${HOST}/hook
     printf '\\n[hooks]\\nbefore = "/home/${HOST}/hook"\\n' >>${HOST_TOML}
     { ${machine.as(CLIENT, 'dialback backup')}; echo $? >${WORK}/status; } >${WORK}/output 2>&1 &
     until [ -e ${WORK}/begun ] || [ -e ${WORK}/status ]; do sleep 0.1; done
     ${ahead} && touch ${WORK}/set
     until ${arriving} || [ -e ${WORK}/status ]; do :; done
     ${right} && wait && ${ahead}
     cp ${WORK}/host.toml ${HOST_TOML}
     [ "$(cat ${WORK}/status)" = 0 ] || { cat ${WORK}/output; exit 1; }`,
  );
}

/** The finding of a check, in the output of `doctor` as this account. */
async function look(machine: Installed, user: string, check: string): Promise<Finding> {
  return findingOf(await machine.doctor(user), check);
}
