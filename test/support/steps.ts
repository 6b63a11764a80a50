/** For tests that follow next steps: they take a step from the program's output and run it as it is printed. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Finding } from '../../src/doctor/finding.ts';
import type { Party, Result, StartOptions, World } from './world.ts';

/** The step of an error, behind `next: `. */
export function nextOf({ stdout, stderr }: Pick<Result, 'stdout' | 'stderr'>): string {
  const found = /^next: (.*)$/m.exec(stderr + stdout)?.[1];
  assert.ok(found, `no next step: ${stdout}${stderr}`);
  return found;
}

/** The one finding of a check, or the one of them whose text matches. */
export function findingOf(findings: readonly Finding[], check: string, found = /(?:)/): Finding {
  const all = findings.filter(each => each.check === check && found.test(each.found));
  assert.equal(all.length, 1, `${check} ${found}: ${JSON.stringify(findings, null, 2)}`);
  return all[0] as Finding;
}

/** The finding of `doctor` with this name; the worst, if there are several. */
export function worstOf(findings: readonly Finding[], check: string): Finding {
  const all = findings.filter(each => each.check === check);
  const found = all.find(each => each.state !== 'ok') ?? all[0];
  assert.ok(found, `${check}: ${findings.map(each => each.check).join(', ')}`);
  return found;
}

/** A World in which commands are typed as they are printed: `dialback` is in PATH, and its configs are in their usual places. */
class Typed {
  readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  /** Runs a command in a shell of its own. Not synchronously: this process is the sshd that is called. */
  protected async typed(
    party: Party | 'root',
    command: string,
    { input = '', environment = {} }: Pick<StartOptions, 'input' | 'environment'> = {},
  ): Promise<Result> {
    const folders = `${dirname(this.world.binary)}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin`;
    const more = { input, environment: { PATH: folders, ...environment } };
    return await this.world.start(party, '/bin/sh', ['-c', command], more).done;
  }

  async doctor(party: Party, environment: Record<string, string> = {}): Promise<Finding[]> {
    const { stdout, stderr } = await this.world.run(party, ['doctor', '--json'], { environment });
    assert.equal(stderr, '');
    return JSON.parse(stdout) as Finding[];
  }
}

/** A host, on which the usual places have links to the configs. */
export class Follower extends Typed {
  constructor(world: World) {
    super(world);
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

  /** Runs a command as somebody who has logged in. */
  async shell(party: Party | 'root', command: string, input = ''): Promise<Result> {
    return await this.typed(party, command, { input });
  }

  /** The same for a step that must succeed. `as root: ` before it means that root runs it. @returns its output */
  async follow(party: Party | 'root', step: string, input = ''): Promise<string> {
    const isRoots = step.startsWith('as root: ');
    const command = step.replace(/^as root: /, '');
    const { status, stdout, stderr } = await this.shell(isRoots ? 'root' : party, command, input);
    assert.equal(status, 0, `${command}\n${stdout}${stderr}`);
    return stdout + stderr;
  }

  /** Runs a command that must fail. @returns its next step */
  async refused(party: Party | 'root', command: string, input = ''): Promise<string> {
    const result = await this.shell(party, command, input);
    assert.notEqual(result.status, 0, `${command}\n${result.stdout}`);
    return nextOf(result);
  }

  /** Checks that the finding of `doctor` is not ok. @returns its next step */
  async nextOf(party: Party, check: string, found: RegExp): Promise<string> {
    const finding = worstOf(await this.doctor(party), check);
    assert.notEqual(finding.state, 'ok', finding.found);
    assert.match(finding.found, found);
    return finding.next ?? '';
  }

  async isWell(party: Party, ...checks: string[]): Promise<void> {
    const findings = await this.doctor(party);
    for (const check of checks) {
      const { state, found } = worstOf(findings, check);
      assert.equal(state, 'ok', `${check}: ${found}`);
    }
  }
}

/** How a step is run. */
interface Following extends Pick<StartOptions, 'environment'> {
  /** The account that the step names; by default the one that printed it. */
  as?: Party | 'root';
  input?: string;
  /** The accepted exit statuses: a command that shows something can find nothing. */
  status?: number;
}

/** A client, on which the usual places have copies of the configs, which a step may replace. */
export class Steps extends Typed {
  constructor(world: World) {
    super(world);
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

  /** Runs dialback. */
  async run(party: Party | 'root', ...words: string[]): Promise<Result> {
    return await this.world.run(party, words);
  }

  async shell(account: Party, command: string, options: Following = {}): Promise<Result> {
    return await this.typed(options.as ?? account, command, options);
  }

  /**
   * Runs a step, whose whole text is known.
   * @param next as it is printed
   * @param shape a pattern for the whole step; its group is the command
   * @returns the command's output
   */
  async follow(next: string | null, shape: RegExp, account: Party, options: Following = {}): Promise<string> {
    const command = new RegExp(`^(?:${shape.source})$`).exec(next ?? '')?.[1];
    assert.ok(command !== undefined, `${next} is not ${shape}`);
    const { status, stdout, stderr } = await this.shell(account, command, options);
    assert.equal(status, options.status ?? 0, `${command}\n${stdout}${stderr}`);
    return stdout;
  }
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

/** mount(8) in the test's mount namespace. @returns a function that unmounts it, once */
export function mount(...words: string[]): () => void {
  execFileSync('mount', words, { stdio: 'pipe' });
  let isMounted = true;
  return () => {
    if (isMounted) execFileSync('umount', [words.at(-1) ?? ''], { stdio: 'pipe' });
    isMounted = false;
  };
}

/** Hides a program behind an empty file, which cannot be executed. @returns a function that shows it again */
export function hide(path: string): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'hidden-'));
  const empty = join(folder, 'empty');
  writeFileSync(empty, '', { mode: 0o644 });
  const show = mount('--bind', empty, realpathSync(path));
  rmSync(folder, { recursive: true }); // the mount keeps the file
  return show;
}

/** Hides a program while something is done. */
export async function without<T>(program: string, what: () => Promise<T>): Promise<T> {
  return await whileMounted(hide(program), what);
}

/** Puts another file in a program's place while something is done. */
export async function instead<T>(program: string, other: string, what: () => Promise<T>): Promise<T> {
  return await whileMounted(mount('--bind', other, realpathSync(program)), what);
}

async function whileMounted<T>(unmount: () => void, what: () => Promise<T>): Promise<T> {
  try {
    return await what();
  } finally {
    unmount();
  }
}
