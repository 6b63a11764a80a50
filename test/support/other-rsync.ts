/** `backup` with another rsync in place of /usr/bin/rsync, only for the client; the host has the real one. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { Result, StartOptions, World } from './world.ts';

export class OtherRsync implements Disposable {
  /** A folder without a blank in its name, which holds the real rsync and the one in its place. */
  readonly folder: string;
  /** The real one, to be started by a script that lies in its place. */
  readonly real: string;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    this.folder = mkdtempSync('/tmp/dialback-rsync-');
    chmodSync(this.folder, 0o755);
    this.real = `${this.folder}/rsync.real`;
    copyFileSync('/usr/bin/rsync', this.real);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Writes the script in rsync's place; the same script again is not written, since its times tell that it has changed. */
  write(script: string[], name = 'rsync'): string {
    const path = `${this.folder}/${name}`;
    const text = ['#!/bin/sh', ...script, ''].join('\n');
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
    if ((statSync(path).mode & 0o111) === 0) chmodSync(path, 0o755);
    return path;
  }

  /** Runs `dialback ARGS…` as the client's account. @param rsync what is in the place of /usr/bin/rsync */
  async run(rsync: string, args: string[], options: StartOptions = {}): Promise<Result> {
    const { client, binary } = this.#world;
    const inPlace = 'mount --bind "$1" /usr/bin/rsync && shift && exec setpriv --clear-groups "$@"';
    const account = [`--reuid=${client.uid}`, `--regid=${client.gid}`, '--', binary];
    const words = ['--mount', '/bin/sh', '-c', inPlace, 'sh', rsync, ...account, ...args];
    const environment = { HOME: client.home };
    return await this.#world.start('root', '/usr/bin/unshare', words, { ...options, environment }).done;
  }
}
