// Goal: what the commands of a host need grows no faster than its clients: system calls, and the memory of each process. With 30 and
// 90 clients after daily runs; tools/bench-fleet.ts shows times with up to 10,000.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { DAY_MS } from '../src/store/retention.ts';
import { asOwner, enrollmentLine, type Fleet, giveToOwner, makeFleet } from '../tools/runs/fleet.ts';
import { IN_CLEAN_MACHINE } from './support/checkout.ts';
import { putExecutable } from './support/world.ts';

const FEW = 30;
const TIMES = 3;
const DAYS = 120;
/** V8 makes some calls of its own, such as futex(2), and does not make the same number each time. */
const TOLERANCE = 1.15;
/** Noon of yesterday, so that all runs of a day are on the same day. */
const END_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS / 2;

describe('a fleet', { skip: IN_CLEAN_MACHINE }, () => {
  let scratch: string;
  let executable: string;
  let few: Fleet;
  let many: Fleet;

  before(() => {
    scratch = mkdtempSync(join(tmpdir(), 'dialback-fleet-'));
    executable = join(scratch, 'dialback');
    putExecutable(executable, true);
    const folder = (name: string): string => mkdtempSync(join(scratch, name));
    giveToOwner(scratch);
    few = makeFleet(executable, folder('few-'), FEW, DAYS, END_MS);
    many = makeFleet(executable, folder('many-'), FEW * TIMES, DAYS, END_MS);
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  it('has the same number of snapshots for each client', () => {
    assert.equal(many.snapshots, few.snapshots * TIMES);
    assert.equal(many.decisions, few.decisions * TIMES);
    assert.ok(few.snapshots >= FEW * 20 && few.snapshots <= FEW * 40, `${few.snapshots} snapshots`);
  });

  /** The number of all system calls of a command (strace(1)). */
  function calls({ folder, config }: Fleet, words: string[], input: string): number {
    const counts = join(folder, 'strace');
    const command = [executable, ...words, '--config', config];
    const { status, stderr } = spawnSync('strace', ['-f', '-qq', '-c', '-o', counts, ...command], {
      ...asOwner(folder),
      input,
      stdio: ['pipe', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
    // status exits with the level of the worst client.
    assert.ok(status !== null && status <= 2, stderr);
    const total = /^\s*100\.00\s+[\d.]+\s+\d*\s+(\d+)(?:\s+\d+)? total$/m.exec(readFileSync(counts, 'utf8'));
    assert.ok(total, readFileSync(counts, 'utf8'));
    return Number(total[1]);
  }

  const enroll = (fleet: Fleet): string[] => [
    'enroll',
    'more',
    '-',
    '--authorized-keys',
    fleet.authorizedKeys,
  ];
  const key = enrollmentLine('more').replace('more ', '');
  const commands: [string, (fleet: Fleet) => string[], string][] = [
    ['metrics without a catalog', () => ['metrics'], ''],
    ['metrics', () => ['metrics'], ''],
    ['status', () => ['status'], ''],
    ['list', () => ['list'], ''],
    ['prune --dry-run without an index', () => ['prune', '--dry-run'], ''],
    ['prune --dry-run', () => ['prune', '--dry-run'], ''],
    ['enroll', enroll, key],
  ];
  for (const [name, words, input] of commands)
    it(`${name} needs at most ${TIMES} times the system calls for ${TIMES} times the clients`, t => {
      const [less, more] = [calls(few, words(few), input), calls(many, words(many), input)];
      t.diagnostic(`${less} and ${more} system calls`);
      assert.ok(more <= less * TIMES * TOLERANCE, `${more} instead of ${less}`);
    });
});
