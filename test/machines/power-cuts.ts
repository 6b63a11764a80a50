/**
 * Cuts the power of a backup host during the copy and around the commit of a backup, and compares every byte of every
 * snapshot with the client's files afterwards. As root: `make test-machines`, or
 *
 *   node_modules/.bin/node test/machines/power-cuts.ts [--executable FILE] [--launcher FILE] [--keep] FS:COPY:COMMIT…
 *
 * FS is ext4, xfs or btrfs; COPY and COMMIT are how many cuts are made during the copy and around the commit. Each FS gets
 * one machine (Debian 12, test/machines/lab) that is client and host at once (transport local), with its store on a disk
 * that loses unflushed writes. The client's files are on a read-only disk, which no power cut can change.
 *
 * A cut: start a backup that has new files to copy, kill the machine, start it again. Then every snapshot that is listed
 * must be complete and equal to the client's files, and no earlier one may have changed; the next backup must end full and be
 * equal too; and `verify` must find no damage. --launcher: rsync runs in its jails on both sides (FILE from `make launcher
 * SERVICE_UID=1000`). --keep: stop at the first cut with a difference, and leave the machine as it is. Exit status: 0 where there is no difference, 1 where there is one.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Comparison, TreeComparison } from './compare.ts';

const HERE = import.meta.dirname;
const LAB = join(HERE, 'lab');
const LAB_DATA = process.env.LAB_DATA ?? '/var/tmp/dialback-lab';
const SUITE = 'bookworm';
const STORE = '/srv/store/backups';
const CLIENT = 'lab';
const USER = 'anna';
const KIB = 1024;
/**
 * Slow enough that the file system commits its journal several times during a copy (ext4: every 5 s), while it writes the data
 * itself only after 30 s, or when it is told to. When the power goes, a part of what arrived is on the disk.
 */
const BWLIMIT = '2M';
/** A backup, or a command in the machine, that takes longer hangs. */
const DEADLINE_MS = 15 * 60_000;
/** From the phase "committing" to the last cut around the commit, at least. */
const COMMIT_SPREAD_MS = 4_000;

/** As `make install` does it, for the user of the machine. */
const INSTALL_LAUNCHER = [
  'install -D -m 755 /mnt/with/dialback /usr/local/bin/dialback',
  `install -D -o root -g ${USER} -m 750 /mnt/with/launch /usr/local/libexec/dialback/launch`,
  'setcap cap_dac_read_search=i /usr/local/bin/dialback',
  'setcap cap_dac_read_search=ep /usr/local/libexec/dialback/launch',
  'install -D -m 644 /dev/null /etc/dialback/never',
].join(' && ');

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** `part`: 0 to 1, how far into the copy, or into the time around the commit. */
interface Cut {
  kind: 'copy' | 'commit';
  part: number;
}

/** With how long the commit takes when it is not cut. */
type TimedCut = Cut & { commitMs: number };

interface Run {
  /** Milliseconds from the start of each phase to the end, or to the cut. */
  copyingMs: number | undefined;
  committingMs: number | undefined;
  bytes: number;
  outcome: string | undefined;
  status: number | null;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      executable: { type: 'string', default: 'dist/dialback' },
      launcher: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const plans = positionals.map(parsePlan);
  if (plans.length === 0)
    throw new Error('usage: power-cuts.ts [--executable FILE] [--launcher FILE] [--keep] FS:COPY:COMMIT…');
  let differences = 0;
  let cuts = 0;
  const startedMs = performance.now();
  for (const plan of plans) {
    using machine = Machine.prepare(plan, resolve(values.executable), values.launcher);
    differences += await cutAll(machine, plan, values.keep);
    if (machine.isKept) break;
    cuts += plan.copy + plan.commit;
  }
  say(`${cuts} cuts in ${seconds(performance.now() - startedMs)}, ${differences} differences`);
  return differences === 0 ? 0 : 1;
}

interface Plan {
  fs: string;
  copy: number;
  commit: number;
}

function parsePlan(text: string): Plan {
  const [, fs = '', copy, commit] = /^(ext4|xfs|btrfs):(\d{1,3}):(\d{1,3})$/.exec(text) ?? [];
  if (fs === '') throw new Error(`Cannot read "${text}": not FS:COPY:COMMIT with ext4, xfs or btrfs`);
  return { fs, copy: Number(copy), commit: Number(commit) };
}

/** @returns how many differences were found */
async function cutAll(machine: Machine, plan: Plan, keep: boolean): Promise<number> {
  await machine.create();
  const whole = await machine.backup(0);
  if (whole.outcome !== 'full') throw new Error(`Cannot begin: the first backup ended ${whole.outcome}`);
  const commitMs = whole.committingMs ?? 0;
  say(`${plan.fs}: without a cut: copy ${seconds(whole.copyingMs ?? 0)}, commit ${seconds(commitMs)}`);
  const cuts = cutsOf(plan);
  let before = (await machine.compare()).snapshots;
  let total = 0;
  for (const [index, cut] of cuts.entries()) {
    const { line, found, snapshots } = await cutOnce(machine, index + 1, { ...cut, commitMs }, before);
    say(`${plan.fs} cut ${index + 1}/${cuts.length} ${line}`);
    list(found);
    total += found.length;
    before = snapshots;
    if (keep && found.length > 0) {
      machine.isKept = true;
      say(`    the machine is kept: ${LAB} ssh ${machine.name} COMMAND, ${LAB} down ${machine.name}`);
      return total;
    }
  }
  const found: string[] = [];
  const { snapshots } = await machine.compare();
  note(found, machine.known, 'at the end', snapshots, before);
  await machine.verify(found);
  say(
    `${plan.fs}: ${snapshots.length} snapshots compared and verified at the end; differences: ${found.length}`,
  );
  list(found);
  return total + found.length;
}

function cutsOf({ copy, commit }: Plan): Cut[] {
  const times = (count: number, make: (i: number) => Cut): Cut[] =>
    Array.from({ length: count }, (_, i) => make(i));
  return [
    ...times(copy, i => ({ kind: 'copy', part: (i + 0.5) / copy })),
    ...times(commit, i => ({ kind: 'commit', part: i / Math.max(1, commit - 1) })),
  ];
}

/**
 * One cut and all that is looked at after it.
 * @param run which of the prepared folders is new in it
 * @param before the snapshots before it
 * @returns what to print, the differences, and the snapshots after it
 */
async function cutOnce(
  machine: Machine,
  run: number,
  cut: TimedCut,
  before: TreeComparison[],
): Promise<{ line: string; found: string[]; snapshots: TreeComparison[] }> {
  const startedMs = performance.now();
  const found: string[] = [];
  const interrupted = await machine.backup(run, cut);
  if (![undefined, 'full'].includes(interrupted.outcome))
    found.push(`the run before the cut: ${interrupted.outcome}`);
  await machine.cut();
  const upMs = await machine.up();
  // The snapshot before the cut is the one that these runs link against. All others are compared at the end.
  const basis = before.at(-1)?.name;
  const after = await machine.compare(basis);
  note(found, machine.known, 'after the cut', after.snapshots, before);
  const next = await machine.backup(run);
  if (next.outcome !== 'full' || next.status !== 0)
    found.push(`next run: ${next.outcome}, exit ${next.status}`);
  const { snapshots } = await machine.compare(basis);
  note(found, machine.known, 'after the next run', snapshots, after.snapshots);
  if (snapshots.length !== after.snapshots.length + 1) found.push('next run: no new snapshot');
  for (const { name } of snapshots.slice(before.length)) await machine.verify(found, `${CLIENT}@${name}`);
  const deceptive = after.arriving.reduce((sum, each) => sum + each.deceptive.length, 0);
  const arrived = after.arriving.reduce((sum, each) => sum + each.entries - each.missing.length, 0);
  const line = [
    where(interrupted, machine.newBytes),
    `up after ${seconds(upMs)}`,
    `arriving: ${arrived} entries, ${deceptive} with size and time but not the content`,
    `snapshots: ${snapshots.length}${after.snapshots.length > before.length ? ' (this run committed)' : ''}`,
    `next run: ${next.outcome}, copied ${seconds(next.copyingMs ?? 0)}`,
    `differences: ${found.length}`,
    `took ${seconds(performance.now() - startedMs)}`,
  ].join('; ');
  return { line, found, snapshots };
}

function where({ copyingMs, committingMs, bytes, outcome }: Run, newBytes: number): string {
  if (outcome !== undefined) return `after the end (${outcome})`;
  if (committingMs !== undefined) return `${seconds(committingMs)} into the commit`;
  return `${seconds(copyingMs ?? 0)} into the copy (${Math.round((100 * bytes) / newBytes)} %)`;
}

/**
 * Adds each difference in `now`, and each snapshot of `before` that is gone or has another record.
 * @param known differences that were counted before, of snapshots that are looked at again
 */
function note(
  found: string[],
  known: Set<string>,
  when: string,
  now: TreeComparison[],
  before: TreeComparison[],
): void {
  const add = (what: string): void => {
    if (!known.has(what)) found.push(`${when}: ${what}`);
    known.add(what);
  };
  for (const { name, missing, different, extra } of now) {
    for (const each of missing) add(`${name}: missing: ${each}`);
    for (const each of different) add(`${name}: ${each}`);
    for (const each of extra) add(`${name}: extra: ${each}`);
  }
  for (const { name, record } of before)
    if (!now.some(each => each.name === name && each.record === record))
      add(`${name}: gone, or its snapshot.json has changed`);
}

/** One machine and the folder that its read-only disk is made from; both go when it is disposed of. */
class Machine {
  readonly name: string;
  /** The differences that were counted. */
  readonly known = new Set<string>();
  /** How much a run has to copy. */
  newBytes = 0;
  /** Whether the machine stays when this is disposed of. */
  isKept = false;
  readonly #fs: string;
  readonly #folder: string;
  readonly #hasLauncher: boolean;
  readonly #children = new Set<ChildProcess>();
  readonly #interrupt = (): void => {
    this[Symbol.dispose]();
    process.exit(130);
  };

  private constructor(fs: string, hasLauncher: boolean) {
    this.#fs = fs;
    this.#hasLauncher = hasLauncher;
    this.name = `cuts-${fs}-${process.pid}`; // several may run side by side
    mkdirSync(LAB_DATA, { recursive: true });
    this.#folder = mkdtempSync(join(LAB_DATA, 'with-'));
    for (const signal of SIGNALS) process.once(signal, this.#interrupt);
  }

  /** Writes what is on the read-only disk: programs, data, and a config for each run. */
  static prepare({ fs, copy, commit }: Plan, executable: string, launcher: string | undefined): Machine {
    const machine = new Machine(fs, launcher !== undefined);
    const put = (name: string): string => join(machine.#folder, name);
    copyFileSync(executable, put('dialback'));
    if (launcher !== undefined) copyFileSync(resolve(launcher), put('launch'));
    copyFileSync(process.execPath, put('node'));
    copyFileSync(join(HERE, 'compare.ts'), put('compare.ts'));
    for (let run = 0; run <= copy + commit; run++) {
      machine.newBytes = makeData(put(`data/${run}`));
      // The folder of the run before is linked from its snapshot; the folder of this run is new.
      const roots = [Math.max(0, run - 1), run].map(each => `/mnt/with/data/${each}`);
      const capability = launcher === undefined ? 'none' : 'confined';
      writeFileSync(put(`${run}.toml`), clientConfig(capability, [...new Set(roots)]));
    }
    return machine;
  }

  async create(): Promise<void> {
    const mem = ['--mem', '1024'];
    await this.#lab('up', this.name, SUITE, '--data', this.#fs, '--with', this.#folder, ...mem);
    rmSync(this.#folder, { recursive: true });
    await this.#ssh(`useradd -m -u 1000 ${USER} && install -d -o ${USER} -m 700 ${STORE}`);
    if (this.#hasLauncher) await this.#ssh(INSTALL_LAUNCHER);
    await this.#ssh(`${this.#asUser(`enroll ${CLIENT} --local --store ${STORE}`)} && sync`);
  }

  async cut(): Promise<void> {
    await this.#lab('cut', this.name);
  }

  /** @returns the milliseconds until ssh answered */
  async up(): Promise<number> {
    const startedMs = performance.now();
    await this.#lab('up', this.name);
    return performance.now() - startedMs;
  }

  /** @param from the oldest snapshot whose tree is compared; of older ones only the record is read */
  async compare(from = ''): Promise<Comparison> {
    const command = `/mnt/with/node /mnt/with/compare.ts ${STORE} ${CLIENT} ${from}`;
    return JSON.parse(await this.#ssh(command)) as Comparison;
  }

  /** Adds what `verify` says where it finds damage. @param what a snapshot, or nothing for all of them */
  async verify(found: string[], what = ''): Promise<void> {
    const { status, stdout, stderr } = await this.#run('ssh', this.name, this.#asUser(`verify ${what}`));
    if (status !== 0)
      found.push(`verify ${what}: exit ${status}: ${`${stdout}${stderr}`.trim().slice(-500)}`);
  }

  /** Runs a backup to its end or, given a cut, until the moment of it. */
  async backup(run: number, cut?: TimedCut): Promise<Run> {
    const child = this.#spawn('ssh', this.name, this.#asUser(`backup --json --config /mnt/with/${run}.toml`));
    const ended = new Promise<number | null>(done => child.once('close', done));
    const atMs: Record<string, number> = {};
    const result: Run = {
      copyingMs: undefined,
      committingMs: undefined,
      bytes: 0,
      outcome: undefined,
      status: null,
    };
    const moment = Promise.withResolvers<void>();
    const later = (ms: number): void => void sleep(ms).then(moment.resolve);
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      const event = JSON.parse(line) as { event: string; phase?: string; bytes?: number; outcome?: string };
      if (event.event === 'phase') atMs[event.phase ?? ''] = performance.now();
      if (event.event === 'progress') result.bytes = event.bytes ?? 0;
      if (event.event === 'done') result.outcome = event.outcome;
      if (cut === undefined) return;
      const isCommitting = event.phase === 'committing';
      const isBefore = cut.kind === 'copy' || cut.part === 0;
      const share = cut.kind === 'copy' ? cut.part : 0.95;
      if (isBefore && (isCommitting || result.bytes >= share * this.newBytes)) moment.resolve();
      // Most of the cuts come early: the sync and the rename are at the beginning, the manifest takes the rest.
      else if (isCommitting) later(cut.part ** 2 * Math.max(COMMIT_SPREAD_MS, cut.commitMs));
    });
    let errors = '';
    child.stderr?.on('data', (text: Buffer) => {
      errors += text.toString();
    });
    // A run that fails has no later moment to wait for.
    void ended.then(() => {
      if (atMs.committing === undefined) moment.resolve();
    });
    const hung = sleep(DEADLINE_MS, 'hung', { ref: false });
    if ((await Promise.race([cut === undefined ? ended : moment.promise, hung])) === 'hung')
      throw new Error(`Cannot finish a backup on ${this.name}: not ended after ${seconds(DEADLINE_MS)}`);
    const nowMs = performance.now();
    const since = (from: number | undefined, to: number): number | undefined => from && to - from;
    result.copyingMs = since(atMs.copying, atMs.committing ?? nowMs);
    result.committingMs = since(atMs.committing, nowMs);
    if (cut === undefined) result.status = await ended;
    if (cut === undefined && result.status !== 0) say(`    ${errors.trim()}`);
    return result;
  }

  #asUser(command: string): string {
    return `runuser -l ${USER} -c '${this.#hasLauncher ? '/usr/local/bin' : '/mnt/with'}/dialback ${command}'`;
  }

  async #ssh(command: string): Promise<string> {
    return await this.#lab('ssh', this.name, command);
  }

  async #lab(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#run(...args);
    if (status !== 0) throw new Error(`Cannot run lab ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  async #run(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
    const child = this.#spawn(...args);
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.setEncoding('utf8').on('data', (part: string) => {
        text[stream] += part;
      });
    // Not "close": the ssh that keeps the connection for later commands holds standard error open.
    const ended = new Promise<number | null>(done => child.once('exit', done));
    const status = await Promise.race([ended, sleep(DEADLINE_MS, 'hung' as const, { ref: false })]);
    if (status === 'hung') throw new Error(`Cannot finish lab ${args.join(' ')}: it hangs`);
    return { status, ...text };
  }

  /** In a session of its own: Ctrl-C ends this program, which then ends the others in order. */
  #spawn(...args: string[]): ChildProcess {
    const child = spawn(LAB, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** Ends what runs and removes the machine. */
  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
    for (const { pid } of this.#children)
      if (pid !== undefined)
        try {
          process.kill(-pid, 'SIGKILL');
        } catch {
          // it has ended
        }
    if (!this.isKept) spawnSync(LAB, ['down', this.name], { stdio: 'inherit' });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function clientConfig(capability: 'none' | 'confined', roots: string[]): string {
  return [
    `name = "${CLIENT}"`,
    `capability = "${capability}"`,
    '[[remote]]',
    'transport = "local"',
    `target = "${STORE}"`,
    '[scope]',
    `roots = ${JSON.stringify(roots)}`,
    '[limits]',
    `bwlimit = "${BWLIMIT}"`,
    '',
  ].join('\n');
}

/**
 * About 25 MiB on the disk, in 550 files. Many end in NUL bytes, as tar files, disk images and databases do: rsync sets the size of such a
 * file by ftruncate(), and the size can reach the disk before the data.
 * @returns the sum of the sizes
 */
function makeData(folder: string): number {
  let bytes = 0;
  for (let group = 0; group < 10; group++) {
    const at = join(folder, `group ${group}`);
    mkdirSync(at, { recursive: true });
    const put = (name: string, ...parts: Buffer[]): void => {
      const content = Buffer.concat(parts);
      writeFileSync(join(at, name), content);
      bytes += content.length;
    };
    for (let i = 0; i < 15; i++) {
      // 1 KiB to about 200 KiB; the end of a tar file is two to twenty blocks of NULs.
      const size = Math.ceil(KIB * 1.43 ** i);
      put(`archive ${i}.tar`, randomBytes(size), Buffer.alloc(KIB + (i % 10) * KIB));
      put(`text ${i}`, randomBytes(Math.ceil(size / 4)));
    }
    for (let i = 0; i < 20; i++) put(`small ${i}`, randomBytes(1 + i * 60), Buffer.alloc(i % 2));
    const [dataBytes, imageBytes] = [(1 + group) * 64 * KIB, (1 + group) * 512 * KIB];
    put('image', randomBytes(dataBytes));
    truncateSync(join(at, 'image'), imageBytes); // the rest is a hole
    bytes += imageBytes - dataBytes;
    put('large', randomBytes(600 * KIB), Buffer.alloc(group % 2 === 0 ? 0 : 8 * KIB));
    put('empty');
    put('only NULs', Buffer.alloc(100 * KIB));
    symlinkSync('no such file', join(at, 'link'));
    linkSync(join(at, 'text 3'), join(at, 'text 3, another name'));
  }
  return bytes;
}

function list(found: string[]): void {
  for (const each of found.slice(0, 5)) say(`    ${each}`);
  if (found.length > 5) say(`    … and ${found.length - 5} more`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

process.exitCode = await main();
