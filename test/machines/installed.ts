/** A machine on which dialback is installed by `make install`, and the steps of a backup in it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { copyFile, cp } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Finding } from '../../src/doctor/finding.ts';
import type { SnapshotRecord } from '../../src/store/snapshot.ts';
import { type Arch, findBase } from '../../tools/base.ts';
import { copyCheckout } from '../support/checkout.ts';
import { makeDebs } from '../support/debs.ts';
import { buildOldVersion } from '../support/old-version.ts';
import { LAB_DATA, Machine } from './machine.ts';

const run = promisify(execFile);
const TOP = join(import.meta.dirname, '../..');
/** The launcher is compiled for this account before the machine exists: there is no compiler in it. */
const SERVICE_UID = '970';
export const CLIENT = 'dialback';
export const HOST = 'vault';
export const DATA = '/srv/data';
export const STORE = '/srv/vault';
export const CLIENT_TOML = '/var/lib/dialback/.config/dialback/client.toml';
export const HOST_TOML = `/home/${HOST}/.config/dialback/host.toml`;
const SOURCES = '/root/dialback';

export type Capability = 'confined' | 'inherited';

export class Installed extends Machine {
  readonly #arch: Arch;

  private constructor(label: string, arch: Arch) {
    super(label);
    this.#arch = arch;
  }

  /** Writes the read-only disk. */
  static async make(label: string, arch: Arch = 'x64'): Promise<Installed> {
    const machine = new Installed(label, arch);
    const work = mkdtempSync(join(TOP, 'dist/.build-machine-'));
    try {
      // The node that makes and compares trees; dialback has its own.
      await copyFile(await findBase(arch, work), join(machine.folder, 'node'));
    } finally {
      rmSync(work, { recursive: true });
    }
    const isForeign = arch !== process.arch;
    if (isForeign) await run(process.execPath, ['build.ts', '--target', arch], { cwd: TOP });
    await machine.#writeTree('tree', join(TOP, 'dist', isForeign ? `dialback-${arch}` : 'dialback'));
    return machine;
  }

  /** Writes a checkout with all that `make build` and `make launcher` make. */
  async #writeTree(name: string, executable: string): Promise<void> {
    const tree = join(this.folder, name);
    copyCheckout(tree);
    // For the account in the machine.
    const env = {
      ...process.env,
      SERVICE_UID,
      INHERITED: '1',
      CC: this.#arch === 'x64' ? 'gcc' : 'aarch64-linux-gnu-gcc',
    };
    for (const kind of ['launch', 'jail'])
      await run(join(TOP, 'tools/launcher.sh'), [kind, join(tree, 'dist', kind)], { env });
    await copyFile(executable, join(tree, 'dist/dialback'));
  }

  /** Adds the tree of an older version: another version number, launcher and list of excludes. */
  async addOldTree(): Promise<void> {
    const built = await buildOldVersion();
    try {
      await this.#writeTree('old', join(built, 'dist/dialback'));
    } finally {
      rmSync(built, { recursive: true });
    }
    for (const name of ['share/excludes', 'share/never'])
      appendFileSync(join(this.folder, 'old', name), '# a line of the old version\n');
    // The program does not look at these bytes: they make it another file.
    appendFileSync(join(this.folder, 'old/dist/launch'), '\0');
  }

  /** Adds the Debian packages of an older version and of this one, in the folder `debs`. @returns their paths in the machine */
  async addDebs(): Promise<{ first: string; second: string }> {
    const { first, second } = await makeDebs(join(this.folder, 'debs'));
    return { first: `/mnt/with/debs/${first}`, second: `/mnt/with/debs/${second}` };
  }

  /** Adds the packages of a suite's image, as a repository for apt in the folder `debs`. */
  async addPackages(suite: string): Promise<void> {
    const arch = this.#arch === 'x64' ? 'amd64' : this.#arch;
    await this.lab('image', suite, arch);
    await cp(join(LAB_DATA, `images/${suite}-${arch}.debs`), join(this.folder, 'debs'), { recursive: true });
  }

  /** Starts it. The suite's image is built if there is none. @param more options of `lab up` */
  async start(suite: string, more: string[] = []): Promise<void> {
    const arch = this.#arch === 'x64' ? 'amd64' : this.#arch;
    await this.create(suite, ['--arch', arch, '--mem', '1024', ...more]);
  }

  /**
   * `make install`, after `prepare`, from a copy of a tree on the read-only disk.
   * @param more variables for make
   * @returns its output
   */
  async install(more = '', tree = 'tree'): Promise<string> {
    assert.equal((await this.run('command -v gcc cc npm node')).stdout, '');
    const copy = `rm -rf ${SOURCES} && cp -a /mnt/with/${tree} ${SOURCES}`;
    return await this.ssh(`${copy} && make -C ${SOURCES} install SERVICE_UID=${SERVICE_UID} ${more} 2>&1`);
  }

  async uninstall(): Promise<string> {
    return await this.ssh(`make -s -C ${SOURCES} uninstall 2>&1`);
  }

  /** Makes the account that receives, its store, and some files that only root can read. */
  async prepare(): Promise<void> {
    await this.ssh(
      `useradd --create-home ${HOST} && install -d -o ${HOST} -g ${HOST} -m 700 ${STORE}
       mkdir ${DATA} && cp -a /etc ${DATA} && echo 'only root can read this' >${DATA}/secret && chmod 600 ${DATA}/secret`,
    );
  }

  async makeTortureTree(): Promise<void> {
    const made = await this.torture(`make ${DATA}/torture`);
    // ext4 has room for less than 4 KiB of attributes outside of an inode.
    assert.match(made, /^\d+ entries\n(missing: a user\.\* attribute of 4 KiB: .*\n)?$/);
  }

  /** From nothing to a config, by the commands that dialback prints. */
  async enroll(): Promise<void> {
    const second = nextCommand(await this.ssh(this.as(CLIENT, 'dialback init')));
    const third = nextCommand(await this.ssh(this.as(HOST, `${second} --store ${STORE}`)));
    const target = third.replace(/--target \S+/, `--target ${HOST}@127.0.0.1`);
    await this.ssh(this.as(CLIENT, target));
    // "auto" would measure link and processor first, which takes minutes in emulation.
    await this.ssh(
      `sed -i 's#^roots = .*#roots = ["${DATA}"]#' ${CLIENT_TOML} && printf '[limits]\\ncompress = "no"\\n' >>${CLIENT_TOML}`,
    );
  }

  async torture(args: string): Promise<string> {
    return await this.ssh(`/mnt/with/node /mnt/with/tree/test/machines/torture.ts ${args}`);
  }

  /** Lists a file system, without those that are mounted on it. @returns a line for each entry (torture.ts) */
  async listFiles(top: string): Promise<string> {
    const at = '/media/listed';
    return await this.ssh(
      `mkdir -p ${at} && mount --bind ${top} ${at} && cd $(dirname $(ls /media/with/node /mnt/with/node 2>/dev/null | head -n 1)) && ./node tree/test/machines/torture.ts list ${at}; umount ${at}`,
    );
  }

  /** Makes a backup. @returns the record of the snapshot */
  async backup(): Promise<SnapshotRecord> {
    const before = await this.snapshots();
    await this.ssh(`${this.as(CLIENT, 'dialback backup')} 2>&1`);
    const after = await this.snapshots();
    assert.equal(after.length, before.length + 1);
    const record = await this.newest();
    assert.equal(record.state, 'full');
    return record;
  }

  /** @returns the names of the snapshots, oldest first */
  async snapshots(): Promise<string[]> {
    const text = await this.ssh(`ls ${STORE}/clients/*/snapshots`);
    return text.split('\n').filter(each => each !== '');
  }

  async newest(): Promise<SnapshotRecord> {
    const path = `${STORE}/clients/*/snapshots/${(await this.snapshots()).at(-1)}/snapshot.json`;
    return JSON.parse(await this.ssh(`cat ${path}`)) as SnapshotRecord;
  }

  /** Restores the newest snapshot as root, and compares every byte and attribute. */
  async restoreAndCompare(client: string): Promise<void> {
    await this.ssh(
      `rm -rf /root/restored && dialback restore ${client} --to /root/restored --config ${HOST_TOML} 2>&1`,
    );
    assert.match(
      await this.torture(`compare ${DATA} /root/restored${DATA}`),
      /^\d+ entries, 0 differences\n$/,
    );
  }

  /** @returns what `doctor` finds for an account */
  async doctor(user: string): Promise<Finding[]> {
    const { stdout } = await this.run(this.as(user, 'dialback doctor --json'));
    return JSON.parse(stdout) as Finding[];
  }

  /** Changes `key` in a config, or adds it at the top. */
  async configure(file: string, key: string, value: string): Promise<void> {
    await this.ssh(`sed -i '/^${key} = /d' ${file} && sed -i '1i ${key} = ${value}' ${file}`);
  }
}

/** The command that a message ends with. */
function nextCommand(text: string): string {
  const command = /^next: (?:on .*:\n {2})?(.+)\n$/m.exec(text)?.[1];
  if (command === undefined) throw new Error(`Cannot find the next command in:\n${text}`);
  return command;
}
