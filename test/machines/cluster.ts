/**
 * The store on a network file system, CephFS or GlusterFS: a cluster of one node from Debian's packages, in the machine itself. The
 * same steps run first on ext4 in the same machine, and each time is printed beside that of ext4. The parts "ceph" and "gluster".
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Finding } from '../../src/doctor/finding.ts';
import { EXIT } from '../../src/fault.ts';
import { CLIENT, CLIENT_TOML, DATA, HOST, HOST_TOML, Installed, STORE } from './installed.ts';
import type { Report } from './report.ts';
import { type Row, rowOf } from './results.ts';

/** A file system for the store. */
interface Cluster {
  name: 'ceph' | 'gluster';
  /** MiB. */
  memory: string;
  /** Files with a time that it cannot keep. They are part of the comparison on ext4 only. */
  lost: string[];
}

export const CEPH: Cluster = { name: 'ceph', memory: '3072', lost: ['1960', 'before-1970'] };
export const GLUSTER: Cluster = { name: 'gluster', memory: '1536', lost: [] };

const SUITE = 'bookworm';
const ADDRESS = '10.99.0.1';
/** The second disk, with ext4: the cluster's data, the store for comparison, and the copies. */
const DISK = '/srv/store';
const CACHE = '/var/cache/dialback';
/** Files of the large folder, in folders of 100. A smaller number is for a trial on a loaded machine. */
const FILES = Number(process.env.CLUSTER_FILES ?? 2000);
/** Files that are new when the run is killed. */
const NEW_FILES = 300;
/** The host keeps the newest snapshot and removes all others. */
const POLICY = '[retention]\\nlast = 1\\nmin_keep = 1\\nmin_age = "0s"\\n';

/** Seconds of each step. */
type Times = Map<string, number>;

export async function storeOnCluster(report: Report, cluster: Cluster, keep: boolean): Promise<Row> {
  const label = `${SUITE}, ${cluster.name}`;
  report.step(`${label}: make and start a machine`);
  using machine = await Installed.make(cluster.name);
  await machine.start(`${SUITE}+${cluster.name}`, [
    ...['--data', 'ext4:12G', '--mem', cluster.memory, '--smp', '2'],
  ]);
  const row = await rowOf(report, machine, label, keep);
  const isReady = await row.check('make install and a cluster of one node', async () => {
    await machine.prepare();
    await machine.makeTortureTree();
    await makeFiles(machine, `${DATA}/many`, FILES);
    await machine.install();
    await machine.ssh(`ip addr add ${ADDRESS}/32 dev lo; mkdir -p ${DISK}/${cluster.name} ${DISK}/ext4`);
    const script = `/mnt/with/tree/test/machines/${cluster.name}.sh`;
    report.say((await machine.ssh(`${script} ${DISK}/${cluster.name} /srv/net ${ADDRESS}`)).trim());
  });
  if (!isReady) return row;
  const own: Times = new Map();
  const net: Times = new Map();
  await useStore(new Trial(machine, row, 'ext4', own), `${DISK}/ext4`, report);
  for (const each of cluster.lost) await machine.ssh(`rm -r ${DATA}/torture/times/*' ${each}'`);
  await useStore(new Trial(machine, row, cluster.name, net), '/srv/net', report, true);
  for (const [step, seconds] of net) {
    const before = own.get(step);
    if (before === undefined) continue;
    report.say(
      `    ${step}: ext4 ${before.toFixed(1)} s, ${cluster.name} ${seconds.toFixed(1)} s, ratio ${(seconds / before).toFixed(2)}`,
    );
  }
  return row;
}

/** Makes files of 1 to 16 KiB without a clock or chance in them. */
async function makeFiles(machine: Installed, folder: string, count: number): Promise<void> {
  const script = `import { mkdirSync, writeFileSync } from 'node:fs';
    for (let at = 0; at < ${count}; at++) {
      const folder = '${folder}/' + Math.floor(at / 100);
      if (at % 100 === 0) mkdirSync(folder, { recursive: true });
      writeFileSync(folder + '/' + at, String(at).repeat(1024 * (1 + at % 16)).slice(0, 1024 * (1 + at % 16)));
    }`;
  await machine.ssh(`/mnt/with/node --input-type=module -e "${script}"`);
}

/** The steps on one file system. */
class Trial {
  readonly machine: Installed;
  readonly label: string;
  readonly #row: Row;
  readonly #times: Times;

  constructor(machine: Installed, row: Row, label: string, times: Times) {
    this.machine = machine;
    this.#row = row;
    this.label = label;
    this.#times = times;
  }

  async check(name: string, run: () => Promise<void>): Promise<boolean> {
    return await this.#row.check(`${this.label}: ${name}`, run);
  }

  /** Runs a command in the machine, and keeps its time. @returns its output */
  async time(step: string, command: string): Promise<string> {
    const text = await this.machine.ssh(`start=$(date +%s.%N); ${command}; status=$?
      awk -v a=$start -v b=$(date +%s.%N) 'BEGIN { printf "%.2f\\n", b - a }' >/root/seconds; exit $status`);
    this.#times.set(step, Number(await this.machine.ssh('cat /root/seconds')));
    return text;
  }

  asHost(command: string): string {
    return this.machine.as(HOST, command);
  }
}

async function useStore(trial: Trial, place: string, report: Report, isNetwork = false): Promise<void> {
  const { machine } = trial;
  const isReady = await trial.check('init and enroll', async () => {
    await machine.ssh(
      `umount -q ${STORE}; rm -rf ${CLIENT_TOML} ${HOST_TOML} /home/${HOST}/.ssh /home/${HOST}/.local; rm -rf ${STORE}
       install -d ${STORE} && install -d -o ${HOST} -g ${HOST} -m 700 ${place}/store && mount --bind ${place}/store ${STORE}`,
    );
    await machine.enroll();
  });
  if (!isReady) return;
  const name = (await machine.ssh('hostname')).trim();
  const backup = `${machine.as(CLIENT, 'dialback backup')} 2>&1`;
  await trial.check('first backup', async () => {
    await trial.time('first backup', backup);
    assert.equal((await machine.newest()).state, 'full');
  });
  await trial.check('an unchanged run links every file', async () => {
    await trial.time('unchanged backup', backup);
    const { state, counts } = await machine.newest();
    assert.equal(state, 'full');
    assert.deepEqual([counts.new, counts.content_changed, counts.attributes_changed], [0, 0, 0]);
    const alone = await machine.ssh(
      `cd ${STORE}/clients/${name}/snapshots && find */tree/${DATA}/many -type f -links 1 | wc -l`,
    );
    assert.equal(alone.trim(), '0');
  });
  await trial.check('restore equal', async () => await machine.restoreAndCompare(name));
  await trial.check('verify', async () => {
    await trial.time('verify', trial.asHost('dialback verify'));
  });
  await trial.check('find in the index', async () => {
    const found = await machine.ssh(trial.asHost(`dialback find ${name} ${FILES - 1} --json`));
    assert.ok(found.includes(`/${FILES - 1}"`), found);
  });
  if (isNetwork) await useCluster(trial, name, report);
  await trial.check('prune removes the older snapshot', async () => {
    const count = (await machine.snapshots()).length;
    await machine.ssh(`printf '${POLICY}' >>${HOST_TOML}`);
    await trial.time('prune', trial.asHost('dialback prune'));
    assert.ok((await machine.snapshots()).length < count);
    assert.equal(await machine.ssh(`ls ${STORE}/clients/${name}/trash`), '');
    await machine.restoreAndCompare(name);
  });
}

async function useCluster(trial: Trial, name: string, report: Report): Promise<void> {
  const { machine } = trial;
  await trial.check('doctor', async () => {
    const findings = await machine.doctor(HOST);
    for (const each of findings.filter(one => /^host\.(store|caches)/.test(one.check)))
      report.say(
        `    ${each.state}: ${each.check}: ${each.found}${each.next ? `\n      next: ${each.next}` : ''}`,
      );
    assert.deepEqual(critical(findings), []);
  });
  await trial.check('the lock of a client excludes another run', async () => {
    const { status } = await machine.run(
      `flock ${STORE}/clients/${name}/lock ${machine.as(CLIENT, 'dialback backup')} 2>&1`,
    );
    assert.equal(status, EXIT.locked);
  });
  await trial.check('kill and continue', async () => {
    await makeFiles(machine, `${DATA}/new`, NEW_FILES);
    await machine.ssh(`dd if=/dev/urandom of=${DATA}/new/large bs=1M count=100 status=none`);
    const arriving = `${STORE}/clients/${name}/arriving`;
    await machine.ssh(
      `${backupInBackground(machine)}
       until find ${arriving} -path '*/new/*' -type f | grep -q .; do kill -0 $! || exit 1; sleep 0.1; done
       pkill -KILL -u ${HOST}; wait; true`,
    );
    const before = await machine.snapshots();
    await machine.backup();
    assert.equal((await machine.snapshots()).length, before.length + 1);
    await machine.restoreAndCompare(name);
    await machine.ssh(trial.asHost('dialback verify'));
  });
  await trial.check('copy-store to ext4 and back', async () => {
    await machine.ssh(
      `rm -rf ${DISK}/copy && install -d -o ${HOST} -m 700 ${DISK}/copy && ${trial.asHost(`dialback copy-store ${DISK}/copy`)}`,
    );
    const other = `/home/${HOST}/copy.toml`;
    await machine.ssh(
      `rm -rf /srv/net/copy && install -d -o ${HOST} -m 700 /srv/net/copy && printf 'store = "${DISK}/copy"\\n' >${other} &&
       chown ${HOST} ${other} && ${trial.asHost(`dialback copy-store /srv/net/copy --config ${other}`)}`,
    );
    await machine.ssh(
      `rm -rf /root/restored; printf 'store = "/srv/net/copy"\\n' >${other} && chown ${HOST} ${other} && dialback restore ${name} --to /root/restored --config ${other} 2>&1`,
    );
    assert.match(await machine.torture(`compare ${DATA} /root/restored${DATA}`), /, 0 differences\n$/);
    await machine.ssh(`rm -rf ${DISK}/copy /srv/net/copy`);
  });
  await trial.check('metrics and the report', async () => {
    const metrics = await machine.ssh(trial.asHost('dialback metrics'));
    assert.ok(metrics.includes(`client="${name}"`));
    const page = await machine.ssh(trial.asHost('dialback report -o -'));
    assert.ok(page.includes(name));
  });
  await trial.check('cache_dir', async () => await moveCaches(trial, name));
}

function backupInBackground(machine: Installed): string {
  return `${machine.as(CLIENT, 'dialback backup')} >/root/killed 2>&1 &`;
}

/** Sets cache_dir, and compares what the commands print with it, without it, and after the loss of its files. */
async function moveCaches(trial: Trial, name: string): Promise<void> {
  const { machine } = trial;
  const ask = async (): Promise<string> =>
    await machine.ssh(
      trial
        .asHost(`dialback find ${name} ${FILES - 1} --json`)
        .concat(' && ', trial.asHost('dialback list --json')),
    );
  const before = await ask();
  await machine.ssh(`find ${STORE} -name '*.sqlite*' -delete; install -d -o ${HOST} -m 700 ${CACHE}`);
  await machine.configure(HOST_TOML, 'cache_dir', `"${CACHE}"`);
  for (const loss of ['', `rm -rf ${join(CACHE, '*')}`]) {
    await machine.ssh(loss);
    assert.equal(await ask(), before);
    await machine.ssh(trial.asHost('dialback metrics'));
    assert.equal(await machine.ssh(`find ${STORE} -name '*.sqlite*'`), '');
    assert.match(await machine.ssh(`find ${CACHE} -name '*.sqlite*'`), /index\.sqlite/);
  }
  const findings = await machine.doctor(HOST);
  assert.deepEqual(critical(findings), []);
}

function critical(findings: Finding[]): Finding[] {
  return findings.filter(each => each.state === 'critical');
}
