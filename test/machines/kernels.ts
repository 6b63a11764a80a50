/**
 * A backup on kernels that users have: installed without gcc and npm, direct and over the channel between two accounts of
 * the machine, restored and compared, and the findings of `doctor`. The parts "kernels" and "arm64" of test/machines/run.ts.
 */
import assert from 'node:assert/strict';
import { findingOf } from '../support/steps.ts';
import { type Capability, CLIENT, CLIENT_TOML, DATA, HOST, HOST_TOML, Installed } from './installed.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';

interface Kernel {
  suite: string;
  /** What `uname -r` begins with. */
  release: string;
  capability: Capability;
  arch: 'x64' | 'arm64';
}

export const KERNELS: Kernel[] = [
  { suite: 'bullseye', release: '5.10.', capability: 'inherited', arch: 'x64' },
  { suite: 'bookworm', release: '6.1.', capability: 'confined', arch: 'x64' },
  { suite: 'trixie', release: '6.12.', capability: 'confined', arch: 'x64' },
];
export const ARM64: Kernel = { suite: 'trixie', release: '6.12.', capability: 'confined', arch: 'arm64' };

export async function backUpOnKernel(report: Report, kernel: Kernel, keep: boolean): Promise<Row> {
  const { suite, release, capability, arch } = kernel;
  const label = arch === 'x64' ? suite : `${suite} ${arch}`;
  report.step(`${label}: make and start a machine`);
  using machine = await Installed.make(label.replace(' ', '-'), arch);
  await machine.start(suite);
  const row = await rowOf(report, machine, label, keep);
  const { check, facts } = row;

  await check('kernel', async () => {
    assert.ok(facts.kernel.startsWith(release), facts.kernel);
  });
  const install = capability === 'inherited' ? 'make install INHERITED=1' : 'make install';
  const isInstalled = await check(`${install}, without gcc and npm`, async () => {
    await machine.prepare();
    await machine.makeTortureTree();
    await machine.install(capability === 'inherited' ? 'INHERITED=1' : '');
  });
  if (!isInstalled) return row;
  await check('init and enroll', async () => {
    await machine.enroll();
    const [client, host] = [await machine.ssh(`cat ${CLIENT_TOML}`), await machine.ssh(`cat ${HOST_TOML}`)];
    assert.equal(/^capability = "(.*)"$/m.exec(client)?.[1], capability);
    assert.equal(/^confined = false$/m.test(host), capability === 'inherited');
  });
  if (capability === 'inherited') await adviseOldKernel(machine, check, release);

  const name = (await machine.ssh('hostname')).trim();
  await check(`backup, direct, ${capability}`, async () => {
    const { confined, transport } = await machine.backup();
    assert.equal(transport, 'direct');
    assert.equal(confined.send, capability === 'confined');
    assert.equal(confined.receive, capability === 'confined');
    facts.landlock = confined.landlock_abi === null ? 'none' : `${confined.landlock_abi}`;
  });
  await check(`backup, channel, ${capability}`, async () => {
    await machine.ssh(
      `sed -i '/^target = /a transport = "channel"' ${CLIENT_TOML} && cp ${DATA}/secret ${DATA}/new`,
    );
    const { confined, transport, counts } = await machine.backup();
    assert.equal(transport, 'channel');
    assert.equal(confined.send, capability === 'confined');
    assert.deepEqual([counts.new, counts.content_changed, counts.attributes_changed], [1, 0, 0]);
  });
  await check('restore equal', async () => await machine.restoreAndCompare(name));
  await check('verify', async () => {
    await machine.ssh(machine.as(HOST, 'dialback verify'));
  });
  await check('doctor, both accounts', async () => {
    for (const user of [CLIENT, HOST]) {
      const findings = await machine.doctor(user);
      assert.deepEqual(
        findings.filter(each => each.state === 'critical'),
        [],
      );
      assert.ok(findingOf(findings, 'machine.kernel').found.includes(facts.kernel));
    }
  });
  if (arch === 'arm64')
    await check('try', async () => {
      assert.match(await machine.ssh('dialback try 2>&1'), /All of it is removed again/);
    });
  return row;
}

/** Asks for a jail on a kernel without Landlock, and follows the next steps of doctor. */
async function adviseOldKernel(machine: Installed, check: Row['check'], release: string): Promise<void> {
  await check('doctor names the kernel, client', async () => {
    await machine.configure(CLIENT_TOML, 'capability', '"confined"');
    const finding = findingOf(await machine.doctor(CLIENT), 'machine.kernel');
    assert.equal(finding.state, 'critical');
    assert.ok(finding.found.includes(release), finding.found);
    assert.match(finding.next ?? '', /capability = "inherited"/);
    const failed = await machine.run(`${machine.as(CLIENT, 'dialback backup')} 2>&1`);
    assert.notEqual(failed.status, 0);
    assert.match(failed.stdout, /Landlock|5\.13/);
    await machine.configure(CLIENT_TOML, 'capability', '"inherited"');
  });
  await check('doctor names the kernel, host', async () => {
    await machine.configure(HOST_TOML, 'confined', 'true');
    const finding = findingOf(await machine.doctor(HOST), 'machine.kernel');
    assert.equal(finding.state, 'critical');
    assert.ok(finding.found.includes(release), finding.found);
    assert.match(finding.next ?? '', /confined = false/);
    await machine.configure(HOST_TOML, 'confined', 'false');
  });
}
