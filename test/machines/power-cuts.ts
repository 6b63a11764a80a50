/**
 * Cuts the power of a backup host during the copy and around the commit of a backup, and compares every byte of every
 * snapshot with the client's files afterwards. The part "cuts" of test/machines/run.ts.
 *
 * Each file system gets one machine (Debian 12) that is client and host at once (transport local), with its store on a disk
 * that loses unflushed writes. The client's files are on a read-only disk, which no power cut can change.
 *
 * A cut: start a backup that has new files to copy, kill the machine, start it again. Then every snapshot that is listed
 * must be complete and equal to the client's files, and no earlier one may have changed; the next backup must end full and be
 * equal too; and `verify` must find no damage.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Comparison, TreeComparison } from './compare.ts';
import { DEADLINE_MS, LAB, Machine } from './machine.ts';
import { type Report, seconds } from './report.ts';
import { type Row, rowOf } from './results.ts';

const HERE = import.meta.dirname;
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
/** From the phase "committing" to the last cut around the commit, at least. */
const COMMIT_SPREAD_MS = 4_000;

/** As `make install` does it, for the user of the machine. */
const INSTALL_LAUNCHER = [
  'install -D -m 755 /mnt/with/dialback /usr/local/bin/dialback',
  `install -D -o root -g ${USER} -m 750 /mnt/with/launch /usr/local/libexec/dialback/launch`,
  'install -D -m 755 /mnt/with/jail /usr/local/libexec/dialback/jail',
  'setcap cap_dac_read_search=i /usr/local/bin/dialback',
  'setcap cap_dac_read_search=ep /usr/local/libexec/dialback/launch',
  'install -D -m 644 /dev/null /etc/dialback/never',
].join(' && ');

/** `part`: 0 to 1, how far into the copy, or into the time around the commit. */
interface Cut {
  kind: 'copy' | 'commit';
  part: number;
}

/** With the duration of a commit that is not cut. */
type TimedCut = Cut & { commitMs: number };

interface Run {
  /** Milliseconds from the start of each phase to the end, or to the cut. */
  copyingMs: number | undefined;
  committingMs: number | undefined;
  bytes: number;
  outcome: string | undefined;
  status: number | null;
  /** Its standard error. */
  errors: string;
}

export interface CutOptions {
  /** FS:COPY:COMMIT: ext4, xfs or btrfs, and the number of cuts during the copy and around the commit. */
  plan: Plan;
  /** The dialback that is tested. */
  executable: string;
  /** From `make launcher SERVICE_UID=1000`: rsync runs in its jails on both sides. */
  launcher?: string | undefined;
  /** Whether to stop at the first cut with a difference, and leave the machine as it is. */
  keep: boolean;
}

/** Makes the cuts of one file system. Each cut counts as a check of the report. */
export async function cutPower(report: Report, options: CutOptions): Promise<Row> {
  const { plan, executable, launcher, keep } = options;
  report.step(`${plan.fs}: make and start a machine`);
  using machine = StoreMachine.prepare(plan, resolve(executable), launcher);
  await machine.start();
  const row = await rowOf(report, machine, `power cuts, ${plan.fs}`, keep);
  const differences = await cutAll(report, machine, plan, keep);
  row.ran.push(`${plan.copy} cuts during the copy, ${plan.commit} around the commit`);
  if (differences > 0) row.failed.push(`${differences} differences`);
  return row;
}

export interface Plan {
  fs: string;
  copy: number;
  commit: number;
}

/** @throws Error if it is not a plan */
export function parsePlan(text: string): Plan {
  const [, fs = '', copy, commit] = /^(ext4|xfs|btrfs):(\d{1,3}):(\d{1,3})$/.exec(text) ?? [];
  if (fs === '') throw new Error(`Cannot read "${text}": not FS:COPY:COMMIT with ext4, xfs or btrfs`);
  return { fs, copy: Number(copy), commit: Number(commit) };
}

/** @returns the number of differences */
async function cutAll(report: Report, machine: StoreMachine, plan: Plan, keep: boolean): Promise<number> {
  report.step(`${plan.fs}: a backup without a cut`);
  const whole = await machine.backup(0);
  if (whole.outcome !== 'full')
    throw new Error(`Cannot begin: the first backup ended ${whole.outcome}\n${whole.errors}`);
  const commitMs = whole.committingMs ?? 0;
  report.say(`${plan.fs}: without a cut: copy ${seconds(whole.copyingMs ?? 0)}, commit ${seconds(commitMs)}`);
  const cuts = cutsOf(plan);
  let before = (await machine.compare()).snapshots;
  let total = 0;
  for (const [index, cut] of cuts.entries()) {
    const name = `${plan.fs} cut ${index + 1}/${cuts.length}`;
    const step = (what: string): void => report.step(`${name}: ${what}`);
    const { line, found, snapshots } = await cutOnce(machine, index + 1, { ...cut, commitMs }, before, step);
    report.count(`${name} ${line}`, found);
    total += found.length;
    before = snapshots;
    if (keep && found.length > 0) {
      machine.isKept = true;
      report.say(`    the machine is kept: ${LAB} ssh ${machine.name} COMMAND, ${LAB} down ${machine.name}`);
      return total;
    }
  }
  report.step(`${plan.fs}: compare and verify all snapshots`);
  const found: string[] = [];
  const { snapshots } = await machine.compare();
  note(found, machine.known, 'at the end', snapshots, before);
  await machine.verify(found);
  report.count(`${plan.fs}: ${snapshots.length} snapshots compared and verified at the end`, found);
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
  machine: StoreMachine,
  run: number,
  cut: TimedCut,
  before: TreeComparison[],
  step: (what: string) => void,
): Promise<{ line: string; found: string[]; snapshots: TreeComparison[] }> {
  const startedMs = performance.now();
  const found: string[] = [];
  step('the backup that is cut');
  const interrupted = await machine.backup(run, cut);
  if (![undefined, 'full'].includes(interrupted.outcome))
    found.push(`the run before the cut: ${interrupted.outcome}`);
  step('start again');
  await machine.cut();
  const upMs = await machine.up();
  // The snapshot before the cut is the one that these runs link against. All others are compared at the end.
  const basis = before.at(-1)?.name;
  step('compare');
  const after = await machine.compare(basis);
  note(found, machine.known, 'after the cut', after.snapshots, before);
  step('the next backup');
  const next = await machine.backup(run);
  if (next.outcome !== 'full' || next.status !== 0)
    found.push(`next run: ${next.outcome}, exit ${next.status}: ${next.errors.trim()}`);
  step('compare and verify');
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

/** A machine with a store. */
class StoreMachine extends Machine {
  /** The differences that were counted. */
  readonly known = new Set<string>();
  /** How much a run has to copy. */
  newBytes = 0;
  readonly #fs: string;
  readonly #hasLauncher: boolean;

  private constructor(fs: string, hasLauncher: boolean) {
    super(`cuts-${fs}`);
    this.#fs = fs;
    this.#hasLauncher = hasLauncher;
  }

  /** Writes the read-only disk: programs, data, and a config for each run. */
  static prepare({ fs, copy, commit }: Plan, executable: string, launcher: string | undefined): StoreMachine {
    const machine = new StoreMachine(fs, launcher !== undefined);
    const put = (name: string): string => join(machine.folder, name);
    copyFileSync(executable, put('dialback'));
    if (launcher !== undefined) {
      copyFileSync(resolve(launcher), put('launch'));
      copyFileSync(join(dirname(resolve(launcher)), 'jail'), put('jail'));
    }
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

  async start(): Promise<void> {
    await this.create(SUITE, ['--data', this.#fs, '--mem', '1024']);
    await this.ssh(`useradd -m -u 1000 ${USER} && install -d -o ${USER} -m 700 ${STORE}`);
    if (this.#hasLauncher) await this.ssh(INSTALL_LAUNCHER);
    await this.ssh(`${this.#asUser(`enroll ${CLIENT} --local --store ${STORE}`)} && sync`);
  }

  /** @param from the oldest snapshot whose tree is compared; of older ones only the record is read */
  async compare(from = ''): Promise<Comparison> {
    const command = `/mnt/with/node /mnt/with/compare.ts ${STORE} ${CLIENT} ${from}`;
    return JSON.parse(await this.ssh(command)) as Comparison;
  }

  /** Adds what `verify` says where it finds damage. @param what a snapshot, or nothing for all of them */
  async verify(found: string[], what = ''): Promise<void> {
    const { status, stdout, stderr } = await this.run(this.#asUser(`verify ${what}`));
    if (status !== 0)
      found.push(`verify ${what}: exit ${status}: ${`${stdout}${stderr}`.trim().slice(-500)}`);
  }

  /** Runs a backup to its end or, given a cut, until the moment of it. */
  async backup(run: number, cut?: TimedCut): Promise<Run> {
    const child = this.spawn('ssh', this.name, this.#asUser(`backup --json --config /mnt/with/${run}.toml`));
    const ended = new Promise<number | null>(done => child.once('close', done));
    const atMs: Record<string, number> = {};
    const result: Run = {
      copyingMs: undefined,
      committingMs: undefined,
      bytes: 0,
      outcome: undefined,
      status: null,
      errors: '',
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
    child.stderr?.on('data', (text: Buffer) => {
      result.errors += text.toString();
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
    return result;
  }

  #asUser(command: string): string {
    return this.as(USER, `${this.#hasLauncher ? '/usr/local/bin' : '/mnt/with'}/dialback ${command}`);
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
    truncateSync(join(at, 'image'), imageBytes); // the rest is sparse
    bytes += imageBytes - dataBytes;
    put('large', randomBytes(600 * KIB), Buffer.alloc(group % 2 === 0 ? 0 : 8 * KIB));
    put('empty');
    put('only NULs', Buffer.alloc(100 * KIB));
    symlinkSync('no such file', join(at, 'link'));
    linkSync(join(at, 'text 3'), join(at, 'text 3, another name'));
  }
  return bytes;
}
