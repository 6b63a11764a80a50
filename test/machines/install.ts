/** `make install` of an older version, an upgrade, and `make uninstall`. The part "install" of test/machines/run.ts. */
import assert from 'node:assert/strict';
import { OLD_VERSION } from '../support/old-version.ts';
import { CLIENT_TOML, HOST_TOML, Installed } from './installed.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';

const SUITE = 'trixie';
const TIMER = 'dialback-backup.timer';
const BINARY = '/usr/local/bin/dialback';
const LAUNCHER = '/usr/local/libexec/dialback/launch';
const CAPABILITIES = `${BINARY} cap_dac_read_search=i\n${LAUNCHER} cap_dac_read_search=ep\n`;
/** All files but those that the system itself writes, the tree that is installed, and the users' own. */
const LIST =
  'find / -xdev \\( -path /root -o -path /home -o -path /srv -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /run \\) -prune -o -print | sort';
/** What `make install` and useradd change in the account files is not a part of it. */
const SUM_ETC =
  "find /etc -type f ! -name 'passwd*' ! -name 'group*' ! -name '*shadow*' ! -name 'sub[ug]id*' -exec sha256sum {} + | sort -k 2";

export async function changeInstallation(report: Report, keep: boolean): Promise<Row> {
  const label = `${SUITE}, installation`;
  report.step(`${label}: build another version, make and start a machine`);
  using machine = await Installed.make('install');
  await machine.addOldTree();
  await machine.start(SUITE);
  const row = await rowOf(report, machine, label, keep);
  const { check, facts } = row;
  await machine.prepare();
  const files = lines(await machine.ssh(LIST));
  const sums = lines(await machine.ssh(SUM_ETC));
  const list = async (): Promise<string[]> =>
    lines(await machine.ssh(LIST)).filter(each => !files.includes(each));
  let kept = '';
  const ownFiles = `sha256sum ${CLIENT_TOML} ${HOST_TOML} /etc/dialback/never`;

  const isInstalled = await check('make install of another version', async () => {
    await machine.install('', 'old');
    assert.match(await machine.ssh('dialback version'), new RegExp(`^dialback ${OLD_VERSION}\\b`));
    assert.equal(await machine.ssh(`getcap ${BINARY} ${LAUNCHER}`), CAPABILITIES);
    await machine.enroll();
    await machine.ssh(`echo /srv/private >>/etc/dialback/never && systemctl enable --now ${TIMER} 2>&1`);
    const { confined } = await machine.backup();
    facts.landlock = `${confined.landlock_abi}`;
    kept = await machine.ssh(ownFiles);
  });
  if (!isInstalled) return row;
  await check('upgrade', async () => {
    const output = await machine.install();
    assert.match(output, /^install: \/usr\/local\/bin\/dialback \(cap_dac_read_search=i\)$/m);
    assert.match(output, /^install: \S+\/launch \(cap_dac_read_search=ep\)$/m);
    assert.match(output, /^install: \/etc\/dialback\/never is kept, since it was changed/m);
    assert.doesNotMatch(await machine.ssh('dialback version'), new RegExp(OLD_VERSION));
    assert.equal(await machine.ssh(`getcap ${BINARY} ${LAUNCHER}`), CAPABILITIES);
    assert.equal(await machine.ssh(ownFiles), kept);
    assert.doesNotMatch(await machine.ssh('cat /etc/dialback/excludes'), /a line of the old version/);
    assert.equal(await machine.ssh(`systemctl is-active ${TIMER}`), 'active\n');
    assert.equal((await machine.snapshots()).length, 1);
  });
  await check('the next run links', async () => {
    const { confined, basis, counts } = await machine.backup();
    assert.equal(confined.send, true);
    assert.equal(basis, (await machine.snapshots())[0]);
    assert.deepEqual([counts.new, counts.content_changed, counts.attributes_changed], [0, 0, 0]);
  });
  await check('make install again changes nothing', async () => {
    assert.match(await machine.install(), /^install: nothing to do: all of it is there already$/m);
  });
  let command = '';
  await check('make uninstall leaves what it names', async () => {
    const output = await machine.uninstall();
    command = /^To remove those as well: (.*)$/m.exec(output)?.[1] ?? '';
    assert.notEqual(command, '', output);
    const own = /^(\/etc\/dialback(\/never)?|\/var\/lib\/dialback(\/.*)?)$/;
    assert.deepEqual(
      (await list()).filter(each => !own.test(each)),
      [],
    );
    assert.equal((await machine.run(`systemctl list-timers --all | grep dialback`)).stdout, '');
    assert.equal(await machine.ssh(`getcap -r / 2>/dev/null | grep dialback || true`), '');
    assert.equal((await machine.snapshots()).length, 2);
  });
  await check('the command that it prints removes that as well', async () => {
    await machine.ssh(`${command} 2>&1`);
    assert.deepEqual(await list(), []);
    assert.deepEqual(lines(await machine.ssh(SUM_ETC)), sums);
    assert.equal((await machine.run('getent passwd dialback')).stdout, '');
  });
  return row;
}

function lines(text: string): string[] {
  return text.split('\n').filter(each => each !== '');
}
