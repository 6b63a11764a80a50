/** What `tools/bench-runs.ts` measures: dialback and other programs, each with its own commands for the same work over ssh. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bed } from './bed.ts';
import { findPrograms, type Programs } from './programs.ts';

/** One program. Only `prepare` and `backup` are asked of all. */
export interface Peer {
  name: string;
  version: () => string;
  /** Makes its repository and accounts. */
  prepare: () => Promise<void>;
  backup: () => Promise<void>;
  /** Gives the newest backup back into this empty folder of the client. */
  restore?: (to: string) => Promise<void>;
  removeOldest?: () => Promise<void>;
  /** Reads all content of the newest backup, and compares it with what was recorded. */
  verify?: () => Promise<void>;
}

function firstLine(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0] ?? '';
}

/** dialback, confined on both sides. @param transport as in client.toml */
function dialback(bed: Bed, transport: 'direct' | 'channel', generation: number): Peer {
  const { world } = bed;
  const name = `oak-${transport}-${generation}`;
  const toml = join(bed.home('client'), `${name}.toml`);
  const hostToml = join(bed.home('host'), `${name}.toml`);
  const store = bed.store(`dialback-${transport}`);
  const identity = join(bed.home('client'), name);
  const shelf = join(store, 'clients', name, 'snapshots');
  const newest = (): string => readdirSync(shelf).sort().at(-1) ?? '';
  const host = ['--config', hostToml];
  const writeHostToml = (more: string): void =>
    world.write(world.host, hostToml, `store = "${store}"\nsyslog = false\n${more}`);
  return {
    name: `dialback-${transport}`,
    version: () => firstLine(world.binary, 'version'),
    prepare: async () => {
      writeHostToml('');
      world.keygen(world.client, identity);
      const key = readFileSync(`${identity}.pub`, 'utf8');
      const made = await world.run(
        world.host,
        ['enroll', name, '-', ...host, '--authorized-keys', world.authorizedKeys],
        { input: key },
      );
      if (made.status !== 0) throw new Error(made.stderr);
      const lines = [
        `name = "${name}"`,
        `state = "${world.client.home}/state ${name}"`, // sshd takes keys only below the home folder,
        'capability = "confined"',
        '[[remote]]',
        'name = "vault"',
        `target = "${world.target}"`,
        `identity = "${identity}"`,
        `known_hosts = "${bed.home('client')}/known"`,
        `transport = "${transport}"`,
        ...(transport === 'direct' ? ['from = ["127.0.0.1"]', 'listen = "127.0.0.1:0"'] : []),
        '[scope]',
        `roots = ["${bed.data}"]`,
        '[limits]',
        'nice = 0',
        'ionice = "none"',
        'deadline = "2h"',
      ];
      world.write(world.client, toml, lines.map(line => `${line}\n`).join(''));
    },
    backup: async () => void (await bed.run('client', [world.binary, 'backup', '--config', toml])),
    restore: async to => {
      const offered = await bed.run('host', [world.binary, 'offer', name, '--json', ...host]);
      const { code } = JSON.parse(offered) as { code: string };
      await bed.run('client', [world.binary, 'fetch', code, '--config', toml, '--to', to]);
    },
    removeOldest: async () => {
      // No rule but this one keeps a snapshot.
      writeHostToml(`[retention]\nlast = ${readdirSync(shelf).length - 1}\nmin_age = "0s"\n`);
      await bed.run('host', [world.binary, 'prune', ...host]);
    },
    verify: async () =>
      void (await bed.run('host', [world.binary, 'verify', `${name}@${newest()}`, ...host])),
  };
}

/** Whether this rsync follows links safely, which costs time, and has an option against that. */
const knowsLinks = /--insecure-links/.test(execFileSync('rsync', ['--help'], { encoding: 'utf8' }));

/**
 * rsync by hand: the host pulls with the options that dialback uses, without a jail.
 * @param isSafe as rsync is by default; otherwise in its fastest form, in which a hostile client can write outside of the backup
 */
function rsync(bed: Bed, isSafe: boolean): Peer {
  const folder = bed.store(isSafe ? 'rsync' : 'rsync-fast');
  const backups = (): string[] => readdirSync(folder).sort();
  let count = 0;
  return {
    name: isSafe ? 'rsync' : 'rsync --insecure-links',
    version: () => firstLine('rsync', '--version'),
    prepare: async () => makeFolder(bed, folder),
    backup: async () => {
      const basis = backups().at(-1);
      count += 1;
      const to = `${folder}/${String(count).padStart(4, '0')}`;
      const links = basis === undefined ? [] : [`--link-dest=${folder}/${basis}`];
      const options = ['-aHAXS', '--numeric-ids', '--fake-super', '--modify-window=-1'];
      const fast = isSafe ? [] : ['--insecure-links'];
      const from = `127.0.0.1:${bed.data}/`;
      await bed.run('host', [
        'rsync',
        ...options,
        ...fast,
        ...links,
        '-e',
        bed.shell('host'),
        from,
        `${to}/`,
      ]);
    },
    restore: async to => {
      const from = `${folder}/${backups().at(-1)}/`;
      const options = ['-aHAXS', '--numeric-ids', '--fake-super'];
      await bed.run('host', ['rsync', ...options, '-e', bed.shell('host'), from, `127.0.0.1:${to}/`]);
    },
    removeOldest: async () => void (await bed.run('host', ['rm', '-rf', `${folder}/${backups()[0]}`])),
  };
}

/** restic, which the client runs against a repository behind sftp. */
function restic(bed: Bed, program: string): Peer {
  const folder = bed.store('restic');
  const shell = `${bed.shell('client')} 127.0.0.1 -s sftp`;
  const run = async (...words: string[]): Promise<string> =>
    await bed.run(
      'client',
      [program, '-q', '-o', `sftp.command=${shell}`, '-r', `sftp:x:${folder}`, ...words],
      {
        RESTIC_PASSWORD: 'x',
      },
    );
  return {
    name: 'restic',
    version: () => firstLine(program, 'version'),
    prepare: async () => void (await run('init')),
    backup: async () => void (await run('backup', bed.data)),
    restore: async to => void (await run('restore', 'latest', '--target', to)),
    removeOldest: async () => {
      const [oldest] = JSON.parse(await run('snapshots', '--json')) as { id: string }[];
      await run('forget', '--prune', oldest?.id ?? '');
    },
    verify: async () => void (await run('check', '--read-data')),
  };
}

/** borg, which the client runs against `borg serve`. */
function borg(bed: Bed, program: string): Peer {
  const repository = `ssh://127.0.0.1:${bed.ports.host}${bed.store('borg')}`;
  const environment = {
    BORG_RSH: bed.shell('client'),
    BORG_REMOTE_PATH: program,
    BORG_PASSPHRASE: 'x',
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
  };
  const run = async (...words: string[]): Promise<string> =>
    await bed.run('client', [program, ...words], environment);
  const list = async (): Promise<string[]> =>
    (await run('list', '--short', repository)).split('\n').filter(each => each !== '');
  let count = 0;
  return {
    name: 'borg',
    version: () => firstLine(program, '--version'),
    prepare: async () => void (await run('init', '--encryption=repokey-blake2', repository)),
    backup: async () => {
      count += 1;
      await run('create', `${repository}::${String(count).padStart(4, '0')}`, bed.data);
    },
    restore: async to => {
      const name = (await list()).at(-1) ?? '';
      await bed.run(
        'client',
        ['sh', '-c', 'cd "$1" && exec "$2" extract "$3"', 'sh', to, program, `${repository}::${name}`],
        environment,
      );
    },
    removeOldest: async () => {
      await run('delete', `${repository}::${(await list())[0]}`);
      await run('compact', repository);
    },
    verify: async () => void (await run('check', '--verify-data', repository)),
  };
}

/** rdiff-backup: the host pulls a mirror, with increments beside it. */
function rdiffBackup(bed: Bed, program: string): Peer {
  const folder = bed.store('rdiff-backup');
  const schema = ['--remote-schema', `${bed.shell('host')} %s ${program} server`];
  return {
    name: 'rdiff-backup',
    version: () => firstLine(program, '--version'),
    prepare: async () => makeFolder(bed, folder),
    backup: async () =>
      void (await bed.run('host', [program, ...schema, 'backup', `127.0.0.1::${bed.data}`, folder])),
    restore: async to =>
      void (await bed.run('host', [program, '--force', ...schema, 'restore', folder, `127.0.0.1::${to}`])),
    removeOldest: async () => {
      // A backup without a change leaves no increment.
      const [, second] = readdirSync(join(folder, 'rdiff-backup-data'))
        .flatMap(each => /^increments\.(.+)\.dir$/.exec(each)?.[1] ?? [])
        .sort();
      if (second === undefined) throw new Error('Cannot remove an increment: there are fewer than two');
      await bed.run('host', [program, 'remove', 'increments', '--older-than', second, folder]);
    },
    verify: async () => void (await bed.run('host', [program, 'verify', folder])),
  };
}

/** rsnapshot: the host pulls with its rsync. */
function rsnapshot(bed: Bed, snapshotProgram: string): Peer {
  const { world } = bed;
  const config = join(bed.home('host'), 'rsnapshot.conf');
  const [program = '', ...args] = bed.ssh('host');
  return {
    name: 'rsnapshot',
    version: () => firstLine(snapshotProgram, 'version'),
    prepare: async () => {
      const lines = [
        ['config_version', '1.2'],
        ['snapshot_root', `${bed.store('rsnapshot')}/`],
        ['cmd_cp', '/bin/cp'],
        ['cmd_rm', '/bin/rm'],
        ['cmd_rsync', '/usr/bin/rsync'],
        ['cmd_ssh', `/usr/bin/${program}`],
        ['ssh_args', args.join(' ')],
        ['rsync_long_args', '--delete --numeric-ids --relative --delete-excluded -HAXS --fake-super'],
        ['link_dest', '1'],
        ['retain', 'alpha', '100'],
        ['lockfile', join(bed.home('host'), 'rsnapshot.pid')],
        ['backup', `127.0.0.1:${bed.data}/`, 'client/'],
      ];
      world.write(world.host, config, lines.map(words => `${words.join('\t')}\n`).join(''));
    },
    backup: async () => void (await bed.run('host', [snapshotProgram, '-c', config, 'alpha'])),
    restore: async to => {
      const from = `${bed.store('rsnapshot')}/alpha.0/client${bed.data}/`;
      const options = ['-aHAXS', '--numeric-ids', '--fake-super'];
      await bed.run('host', ['rsync', ...options, '-e', bed.shell('host'), from, `127.0.0.1:${to}/`]);
    },
    // As rsnapshot removes it, when there are more than the config retains.
    removeOldest: async () => {
      const folder = bed.store('rsnapshot');
      const oldest = readdirSync(folder).length - 1;
      await bed.run('host', ['rm', '-rf', `${folder}/alpha.${oldest}`]);
    },
  };
}

function makeFolder(bed: Bed, path: string): void {
  mkdirSync(path, { mode: 0o700 });
  chownSync(path, bed.world.host.uid, bed.world.host.gid);
}

/**
 * All of them, in the order of the tables.
 * @param generation a number for the accounts of new repositories on a fresh file system
 */
export function allPeers(bed: Bed, generation: number): Peer[] {
  const programs: Programs = findPrograms();
  return [
    dialback(bed, 'direct', generation),
    dialback(bed, 'channel', generation),
    rsync(bed, true),
    ...(knowsLinks ? [rsync(bed, false)] : []),
    restic(bed, programs.restic),
    borg(bed, programs.borg),
    rdiffBackup(bed, programs.rdiffBackup),
    rsnapshot(bed, programs.rsnapshot),
  ];
}
