/** For tests that follow the next steps: a step is taken out of what the program prints, and run as it is printed. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Finding } from '../../src/finding.ts';
import type { Party, Result, World } from './world.ts';

/** The step of an error, behind `next: `. */
export function nextOf({ stdout, stderr }: Pick<Result, 'stdout' | 'stderr'>): string {
  const found = /^next: (.*)$/m.exec(stderr + stdout)?.[1];
  assert.ok(found, `no next step: ${stdout}${stderr}`);
  return found;
}

/** A World in which a step finds `dialback`, and dialback its configs, without a word more: in PATH and in ~/.config. */
export class Follower {
  readonly world: World;

  constructor(world: World) {
    this.world = world;
    const configs: [Party, file: string, target: string][] = [
      [world.host, 'host.toml', world.hostToml],
      [world.client, 'client.toml', world.clientToml],
    ];
    for (const [party, file, target] of configs) {
      const folder = join(party.home, '.config/dialback');
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (const each of [folder, dirname(folder)]) world.own(party, each);
      symlinkSync(target, join(folder, file));
    }
  }

  /** Runs a command in a shell of its own, as somebody who has logged in. */
  async shell(party: Party | 'root', command: string, input = ''): Promise<Result> {
    const path = `${dirname(this.world.binary)}:/usr/bin:/bin:/usr/sbin:/sbin`;
    return await this.world.start(party, '/bin/sh', ['-c', command], { environment: { PATH: path }, input })
      .done;
  }

  /** The same, which has to go well. `as root: ` in front of it says who runs it. @returns what it prints */
  async follow(party: Party | 'root', step: string, input = ''): Promise<string> {
    const isRoots = step.startsWith('as root: ');
    const command = step.replace(/^as root: /, '');
    const { status, stdout, stderr } = await this.shell(isRoots ? 'root' : party, command, input);
    assert.equal(status, 0, `${command}\n${stdout}${stderr}`);
    return stdout + stderr;
  }

  /** The command fails. @returns what it says to do */
  async refused(party: Party | 'root', command: string, input = ''): Promise<string> {
    const result = await this.shell(party, command, input);
    assert.notEqual(result.status, 0, `${command}\n${result.stdout}`);
    return nextOf(result);
  }

  async doctor(party: Party, environment: Record<string, string> = {}): Promise<Finding[]> {
    const { stdout, stderr } = await this.world.run(party, ['doctor', '--json'], { environment });
    assert.equal(stderr, '');
    return JSON.parse(stdout) as Finding[];
  }

  /** `doctor` finds that one thing is not well. @returns what is to be done */
  async nextOf(party: Party, check: string, found: RegExp): Promise<string> {
    const finding = findingOf(await this.doctor(party), check);
    assert.notEqual(finding.state, 'ok', finding.found);
    assert.match(finding.found, found);
    return finding.next ?? '';
  }

  async isWell(party: Party, ...checks: string[]): Promise<void> {
    const findings = await this.doctor(party);
    for (const check of checks) {
      const { state, found } = findingOf(findings, check);
      assert.equal(state, 'ok', `${check}: ${found}`);
    }
  }
}

/** What `doctor` found of one thing: the worst, where it says several. */
export function findingOf(findings: readonly Finding[], check: string): Finding {
  const all = findings.filter(each => each.check === check);
  const found = all.find(each => each.state !== 'ok') ?? all[0];
  assert.ok(found, `${check}: ${findings.map(each => each.check).join(', ')}`);
  return found;
}

/** Debian's package that a program is of. dpkg knows a file of /usr by the name that its package has it by: /sbin, say. */
export function packageOwning(path: string): string {
  const real = realpathSync(path);
  for (const name of [path, real, real.replace(/^\/usr/, '')]) {
    const { status, stdout } = spawnSync('dpkg', ['-S', name], { encoding: 'utf8' });
    if (status === 0) return stdout.split(':')[0] ?? '';
  }
  throw new Error(`no package has "${real}"`);
}

/** mount(8). @returns what unmounts it */
export function mount(...words: string[]): () => void {
  execFileSync('mount', words, { stdio: 'pipe' });
  return () => void execFileSync('umount', [words.at(-1) ?? ''], { stdio: 'pipe' });
}

/** Hides a file behind /dev/null, which nobody may run. @returns what shows it again */
export function hide(path: string): () => void {
  const real = realpathSync(path);
  execFileSync('mount', ['--bind', '/dev/null', real]);
  return () => {
    spawnSync('umount', [real]);
  };
}
