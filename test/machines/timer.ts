/**
 * systemd starts a backup by the timer that `make install` lays down, twice, with a reboot between, and `dialback web`
 * at the first connection to its socket. Also steps of doctor that need systemd. The part "timer".
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { HOST_TOML, Installed } from './installed.ts';
import { DEADLINE_MS } from './machine.ts';
import { followSteps } from './next-steps.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';
import { checkWeb } from './web-unit.ts';

const SUITE = 'bookworm';
const TIMER = 'dialback-backup.timer';
const SERVICE = 'dialback-backup.service';
/**
 * Takes the random delay away. With it, systemd counts a time that was before the boot from the boot on (RandomizedDelaySec=
 * in systemd.timer(5)), and after the clock is set forward by hours the time is before the boot.
 */
const DROP_IN = `/etc/systemd/system/${TIMER}.d`;
/** From when the clock is set to when the timer elapses. */
const LEAD_SECONDS = 5;
/** The machine is off from a run until the noon after it. */
const OFF_SECONDS = 9 * 3600;

export async function runByTimer(report: Report, keep: boolean): Promise<Row> {
  const label = `${SUITE}, timer`;
  report.step(`${label}: make and start a machine`);
  using machine = await Installed.make('timer');
  await machine.start(SUITE);
  const row = await rowOf(report, machine, label, keep);
  const isReady = await row.check('make install and enroll', async () => {
    await machine.prepare();
    await machine.install();
    await machine.enroll();
    assert.equal((await machine.run(`systemctl is-enabled ${TIMER}`)).stdout, 'disabled\n');
  });
  if (!isReady) return row;

  await checkTimer(machine, row);
  await checkWeb(machine, row);
  await followSteps(machine, row);
  return row;
}

/** Enables the timer, and sees it start two backups. */
export async function checkTimer(machine: Installed, { check, facts }: Row): Promise<void> {
  let elapsed = 0;
  const hasRun = await check('a run at the time of the timer', async () => {
    await withoutDelay(machine);
    elapsed = await elapse(machine);
    const { state, confined, started } = await machine.newest();
    assert.equal(state, 'full');
    assert.equal(confined.send, true);
    facts.landlock = `${confined.landlock_abi}`;
    const lateMs = Date.parse(started) - elapsed * 1000;
    assert.ok(lateMs >= 0 && lateMs < 15 * 60_000, `started ${lateMs} ms after the time of the timer`);
  });
  if (!hasRun) return;
  await check('the run is in the journal', async () => {
    const unit = await machine.ssh(`journalctl --no-pager -o cat -u ${SERVICE}`);
    assert.match(unit, /^Starting .*Backup of this machine/m);
    assert.match(unit, /^Finished .*Backup of this machine/m);
    assert.match(await machine.ssh('journalctl --no-pager -o cat -t dialback'), /full/);
  });
  await check('a run that fails is in the journal', async () => {
    await machine.ssh(`mv ${HOST_TOML} ${HOST_TOML}.away`);
    assert.notEqual((await machine.run(`systemctl start ${SERVICE}`)).status, 0);
    await machine.ssh(`mv ${HOST_TOML}.away ${HOST_TOML}`);
    const unit = await machine.ssh(`journalctl --no-pager -o cat -u ${SERVICE} -n 20`);
    assert.match(unit, /^dialback: Cannot /m);
    assert.match(unit, /Failed with result 'exit-code'/);
  });
  await check('after a reboot the timer is active, and its run links', async () => {
    await machine.halt();
    await machine.up(new Date((elapsed + OFF_SECONDS) * 1000).toISOString().slice(0, 19));
    assert.equal(await machine.ssh(`systemctl is-active ${TIMER}`), 'active\n');
    const before = await machine.snapshots();
    elapsed = await elapse(machine);
    assert.equal((await machine.snapshots()).length, before.length + 1);
    const { state, basis, counts } = await machine.newest();
    assert.equal(state, 'full');
    assert.equal(basis, before.at(-1));
    assert.deepEqual([counts.new, counts.content_changed, counts.attributes_changed], [0, 0, 0]);
  });
}

/** Enables the timer, without its random delay. */
export async function withoutDelay(machine: Installed): Promise<void> {
  await machine.ssh(
    `mkdir -p ${DROP_IN} && printf '[Timer]\\nRandomizedDelaySec=0\\n' >${DROP_IN}/no-delay.conf && systemctl daemon-reload`,
  );
  await machine.ssh(`systemctl enable --now ${TIMER} 2>&1`);
}

/**
 * Sets the clock of the machine to just before the next time of the timer, and waits for the end of the run.
 * @returns the time of the timer, in seconds since 1970
 */
export async function elapse(machine: Installed): Promise<number> {
  const next = await machine.ssh(
    `date -d "$(systemctl show --value -p NextElapseUSecRealtime ${TIMER})" +%s`,
  );
  const at = Number(next);
  assert.match(new Date(at * 1000).toISOString(), /T02:30:00\.000Z$/);
  await machine.ssh(`date -s @${at - LEAD_SECONDS}`);
  const endMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const shown = await machine.ssh(
      `systemctl show -p ExecMainExitTimestamp -p ActiveState -p Result --timestamp=unix ${SERVICE}`,
    );
    const exited = Number(/^ExecMainExitTimestamp=@(\d+)$/m.exec(shown)?.[1] ?? 0);
    if (exited >= at && /^ActiveState=(inactive|failed)$/m.test(shown)) {
      assert.match(shown, /^Result=success$/m);
      return at;
    }
    assert.ok(performance.now() < endMs, `not ended: ${shown}`);
    await sleep(10_000); // each look takes processor time in the machine
  }
}
