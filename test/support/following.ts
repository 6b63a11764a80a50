/** Next steps as a user follows them: taken out of what the program prints, and run in a shell as they stand there. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, copyFileSync, mkdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Finding } from '../../src/finding.ts';
import type { Party, Result, World } from './world.ts';

/** How a step is run. */
export interface Following {
  /** Whom the step says to be; else it is the account that was told. */
  as?: Party | 'root';
  input?: string;
  environment?: Record<string, string>;
  /** What it may end with: a command that shows something can have found nothing. */
  status?: number;
}

/** What a message says to do; '' where it says nothing. */
export function nextOf({ stderr, stdout }: Result): string {
  return /^next: (.*)$/m.exec(stderr + stdout)?.[1] ?? '';
}

/** The one finding of a check, or the one of them whose text matches. */
export function findingOf(findings: Finding[], check: string, found = /(?:)/): Finding {
  const all = findings.filter(each => each.check === check && found.test(each.found));
  assert.equal(all.length, 1, `${check} ${found}: ${JSON.stringify(findings, null, 2)}`);
  return all[0] as Finding;
}

/** The Debian package that a program is from, by its real path: /bin and /usr/bin can be one folder. */
export function ownerOf(program: string): string {
  const real = realpathSync(program);
  const names = [real, real.replace(/^\/usr/, '')];
  for (const name of names) {
    const { status, stdout } = spawnSync('dpkg', ['-S', name], { encoding: 'utf8' });
    if (status === 0) return stdout.split(':')[0] ?? '';
  }
  return assert.fail(`no package has ${names.join(' or ')}`);
}

/** Puts another file in a program's place, or nothing that can be run, while something is done. The test has mounts of its own. */
export async function instead<T>(program: string, other: string, what: () => Promise<T>): Promise<T> {
  const real = realpathSync(program);
  execFileSync('mount', ['--bind', other, real], { stdio: 'pipe' });
  try {
    return await what();
  } finally {
    execFileSync('umount', [real], { stdio: 'pipe' });
  }
}

/** A world whose configs are in their usual places, so that a command works as it is printed. */
export class Steps {
  readonly world: World;

  constructor(world: World) {
    this.world = world;
    this.place();
  }

  /** Where client.toml is looked for. */
  get clientToml(): string {
    return join(this.world.client.home, '.config/dialback/client.toml');
  }

  /** Puts the configs there; to be called again where they have changed. */
  place(): void {
    const { client, host, clientToml, hostToml } = this.world;
    for (const [party, from, name] of [
      [client, clientToml, 'client.toml'],
      [host, hostToml, 'host.toml'],
    ] as const) {
      const folder = join(party.home, '.config/dialback');
      mkdirSync(folder, { recursive: true });
      copyFileSync(from, join(folder, name));
      for (const path of [dirname(folder), folder, join(folder, name)]) chownSync(path, party.uid, party.gid);
    }
  }

  /** Writes client.toml, in its usual place too. */
  configure(parts: Parameters<World['configure']>[0]): void {
    this.world.configure(parts);
    this.place();
  }

  /** Runs dialback as it would be typed. */
  async run(party: Party | 'root', ...words: string[]): Promise<Result> {
    return await this.world.run(party, words);
  }

  async look(party: Party): Promise<Finding[]> {
    const { stdout, stderr } = await this.run(party, 'doctor', '--json');
    assert.equal(stderr, '');
    return JSON.parse(stdout) as Finding[];
  }

  /** Runs a command in a shell, as it would be typed. Not synchronously: this process is the sshd that is called. */
  async shell(account: Party, command: string, options: Following = {}): Promise<Result> {
    const folders = `${dirname(this.world.binary)}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin`;
    const { input = '', environment } = options;
    const more = { input, environment: { PATH: folders, ...environment } };
    return await this.world.start(options.as ?? account, '/bin/sh', ['-c', command], more).done;
  }

  /**
   * Runs a step, whose whole text is known.
   * @param next as it is printed
   * @param shape of all of it; what its one group has is the command
   * @returns what the command printed
   */
  async follow(next: string | null, shape: RegExp, account: Party, options: Following = {}): Promise<string> {
    const command = new RegExp(`^(?:${shape.source})$`).exec(next ?? '')?.[1];
    assert.ok(command !== undefined, `${next} is not ${shape}`);
    const { status, stdout, stderr } = await this.shell(account, command, options);
    assert.equal(status, options.status ?? 0, `${command}\n${stdout}${stderr}`);
    return stdout;
  }
}
