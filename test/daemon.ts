// Real rsync pulls through the daemon form, over a pipe instead of ssh: what a client's config and filter let out,
// and what rsync says meanwhile. Used by the tests of wire/rsync.ts and client/filter.ts.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { daemonConfig, pullArguments } from '../src/wire/rsync.ts';

/** A folder with a blank in its name; removed by its disposal. Others may enter: root's rsync daemon is nobody. */
export function makeScratch(purpose: string): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), `dialback ${purpose} `));
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => removeTree(path) };
}

/** Removes a tree, whatever modes are in it. */
export function removeTree(path: string): void {
  spawnSync('chmod', ['-R', 'u+rwX', '--', path]);
  rmSync(path, { recursive: true, force: true });
}

export interface PullOptions {
  /** A folder for the config, the filter and the shell; in it, `tree N` is where the files arrive. */
  work: string;
  roots: string[];
  filter: string;
  linkDests?: string[];
  /** Arguments of rsync beside ours. */
  more?: string[];
  compress?: boolean;
  /** Bytes; left out: no limit. */
  maxSize?: number;
  /** Whether the daemon lets it be; by default it does where it is asked for. */
  mayCompress?: boolean;
  /** Instead of the real daemon: a script for /bin/sh. */
  server?: string;
}

export interface Pulled {
  tree: string;
  stdout: string;
  /** One character a byte: names are bytes. */
  stderr: string;
  status: number | null;
}

let pulls = 0;

/** One pull, with the arguments of a backup, from the daemon that a backup would start. */
export function pull(options: PullOptions): Pulled {
  const {
    work,
    roots,
    filter,
    linkDests = [],
    more = [],
    compress = false,
    mayCompress = compress,
  } = options;
  pulls += 1;
  const tree = `${work}/tree ${pulls}`;
  mkdirSync(tree, { recursive: true });
  writeFileSync(`${work}/filter`, filter);
  writeFileSync(
    `${work}/rsyncd.conf`,
    daemonConfig({ filter: `${work}/filter`, idleSeconds: 20, confined: false, compress: mayCompress }),
  );
  const serve = options.server ?? `exec rsync --server --daemon --config='${work}/rsyncd.conf' .`;
  writeFileSync(`${work}/shell`, `#!/bin/sh\n${serve}\n`);
  chmodSync(`${work}/shell`, 0o755);
  const args = pullArguments({
    insecureLinks: false,
    roots,
    tree,
    linkDests,
    shell: `'${work}/shell'`,
    idleSeconds: 20,
    dryRun: false,
    checksum: false,
    compress,
    maxSize: options.maxSize ?? Number.MAX_SAFE_INTEGER,
  });
  const { status, stdout, stderr, error } = spawnSync('rsync', [...more, ...args], {
    encoding: 'latin1',
    maxBuffer: 64 * 1024 * 1024,
    timeout: 60_000,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  if (error) throw error;
  return { tree, stdout, stderr, status };
}
