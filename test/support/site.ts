/** A machine of namespaces and an overlay with a built checkout in it, for `make install` and the steps after it. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { copyCheckout, loginEnvironment } from './checkout.ts';
import { compile } from './compiled.ts';
import { type Ended, Machine } from './machine.ts';

const TOP = join(import.meta.dirname, '../..');

/**
 * The uid of the account `dialback`: useradd(8) takes this number first in a Machine. All tests have the same, so that the launcher
 * is compiled once for all of them.
 */
export const SERVICE_UID = '599';

/** An account of the machine. */
export interface User {
  uid: number;
  gid: number;
  home: string;
}

export class Site {
  readonly machine: Machine;
  readonly folder = '/srv/a new folder/dialback';

  private constructor(machine: Machine) {
    this.machine = machine;
  }

  /** Boots it. The checkout is what the working tree holds now; the binary is the one that was built last. */
  static async make(): Promise<Site> {
    const site = new Site(await Machine.boot());
    copyCheckout(site.machine.path(site.folder));
    // Copied last, so that they are newer than their sources and make does not build or fetch them again.
    mkdirSync(site.machine.path(`${site.folder}/node_modules`));
    for (const made of ['dist/dialback', 'node_modules/.package-lock.json'])
      copyFileSync(join(TOP, made), site.machine.path(`${site.folder}/${made}`));
    return site;
  }

  /**
   * Puts dist/launch and dist/jail into the checkout, as `make launcher` compiles them. `make install` with the same variables then
   * compiles nothing.
   * @param variables of tools/launcher.sh
   */
  compile(variables: { SERVICE_UID: string; PREFIX?: string; INHERITED?: string }): void {
    for (const kind of ['launch', 'jail'] as const)
      compile(kind, this.machine.path(`${this.folder}/dist/${kind}`), variables);
  }

  /** Makes an ordinary user with a home. */
  async addUser(name: string): Promise<User> {
    await this.say(`useradd --create-home ${name}`);
    return await this.user(name);
  }

  /** An account that is there. */
  async user(name: string): Promise<User> {
    const fields = (await this.say(`getent passwd ${name}`)).split(':');
    return { uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5] ?? '' };
  }

  /** In the checkout; without an account as root. */
  async run(command: string[], user?: User): Promise<Ended> {
    return await this.machine.run(command, {
      folder: this.folder,
      environment: loginEnvironment(user?.home ?? '/root'),
      timeoutMs: 120_000,
      ...(user ? { account: { uid: user.uid, gid: user.gid } } : {}),
    });
  }

  async shell(script: string, user?: User): Promise<Ended> {
    return await this.run(['sh', '-c', script], user);
  }

  /** Runs a command that must succeed. @returns its output @throws with its output if it fails */
  async say(script: string): Promise<string> {
    const { status, output } = await this.shell(script);
    if (status !== 0) throw new Error(`"${script}" ended with ${status}:\n${output}`);
    return output.trimEnd();
  }

  /**
   * Makes a package of the rsync that is installed, without a network: with the same version, files and scripts.
   * @returns the package's path
   */
  async packRsync(): Promise<string> {
    await this.say(`
      set -eu
      rm -f /var/lib/man-db/auto-update # else its installation reads all manual pages of the machine anew
      mkdir -p /var/tmp/pack/DEBIAN
      cd /var/tmp
      dpkg-query -L rsync | while IFS= read -r path; do if [ -f "$path" ]; then echo "$path"; fi; done |
        tar -cP --verbatim-files-from -T - | tar -x -C pack
      dpkg-query -s rsync | awk '/^[^ ]/ { left = /^(Status|Conffiles):/ } !left' >pack/DEBIAN/control
      for part in preinst postinst prerm postrm conffiles; do
        if [ -e "/var/lib/dpkg/info/rsync.$part" ]; then cp -p "/var/lib/dpkg/info/rsync.$part" "pack/DEBIAN/$part"; fi
      done
      dpkg-deb --root-owner-group --build pack rsync.deb
    `);
    return '/var/tmp/rsync.deb';
  }

  /** The changes of the machine since its boot, without the checkout. */
  changes(without: string[] = []): string[] {
    return this.machine.changes([this.folder, ...without]);
  }
}
