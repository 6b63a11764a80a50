// Goal: a host that answers with what no host says gets nothing onto the client's screen or into its journal, holds no run up
// beyond the client's own deadline, and is not believed where it cannot be right; the next honest run succeeds.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  encodeEvent,
  failedOutcome,
  type HostEvent,
  type OutcomeEvent,
  PHASES,
} from '../../../src/wire/events.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { fairClock, stretch } from '../../support/fair-time.ts';
import { CONTROLS, NASTY } from '../../support/lanes.ts';
import { IS_LONG, itLong, itShort, some } from '../../support/long.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

/** From the call to its end on a quiet machine; with the deadline in the client's config, in seconds. */
const SOON_MS = 20_000;
const DEADLINE = 4;
/** Of runs that go on until then. */
const SHORT_DEADLINE = 3;
/** From the deadline to the end. */
const END_MS = 8_000;
/** Of `backup`, whatever is said to it (an honest run takes 80 to 100). */
const MEMORY_MIB = 250;

const FULL: OutcomeEvent = {
  ...failedOutcome('internal'),
  outcome: 'full',
  code: null,
  rsync_exit: 0,
  snapshot: '2026-11-23T00-12-00Z',
  files: 1,
  bytes: 7,
};
const INCOMPLETE: OutcomeEvent = { ...FULL, outcome: 'incomplete', missing_count: 2 };
const lines = (...events: HostEvent[]): string => events.map(encodeEvent).join('');
const COPYING: HostEvent = { event: 'phase', phase: 'copying' };
const FIELDS = JSON.stringify(FULL).slice(1, -1);
const raw = (json: string): string => `dialback-event: ${json}\n`;

/** A host that says something on standard error, and how the run ends for its client. */
interface Row {
  what: string;
  says: string;
  /** Lets the client's gate be passed first, as an honest host would. */
  dials?: boolean;
  /** After that it says this without end, in lines if it ends in one; or it `waits`. */
  goesOn?: string;
  status: number;
  error: RegExp;
  dryRun?: boolean;
  /** The phases that the host is believed to have told, where that matters. */
  phases?: string[];
  /** The fewest and the most that is heard of progress. */
  progress?: [least: number, most?: number];
}

const row = (what: string, says: string, error: RegExp, status = 1): Row => ({ what, says, error, status });
const dialling = (what: string, says: string, error: RegExp, status = 1): Row => ({
  ...row(what, says, error, status),
  dials: true,
});
const NO_OUTCOME = says('it-hung-up-without-an');
/** What a host says until the deadline. */
const endless = (what: string, goesOn: string, more: Partial<Row> = {}): Row => ({
  ...row(what, '', says('the-deadline-has-passed')),
  goesOn,
  phases: [],
  progress: [0, 0],
  ...more,
});
const PROGRESS: HostEvent = { event: 'progress', bytes: 1, percent: 1 };
const FILES: HostEvent = { event: 'files', done: 1, total: 2, percent: null };
const phase = (name: 'dialling' | 'copying' | 'committing'): HostEvent => ({ event: 'phase', phase: name });
const names = (count: number, length: number): OutcomeEvent => ({
  ...INCOMPLETE,
  missing_count: count,
  missing: Array.from({ length: count }, () => ({ path: 'x'.repeat(length), errno: 13 })),
});

/** Of each kind of rows some: all of them in the soak. */
const ROWS: Row[] = [
  ...some(
    [
      row('nothing', '', NO_OUTCOME),
      row('escapes', `${NASTY}\n`.repeat(100), NO_OUTCOME),
      row('an event with escapes around it', `${NASTY}${lines(FULL)}`, NO_OUTCOME),
      row('an event in the middle of a line', `x ${lines(FULL)}`, NO_OUTCOME),
      row('a line of 1 MiB', `dialback-event: ${'x'.repeat(1 << 20)}\n`, NO_OUTCOME),
      row('an outcome in a line that is too long', raw(`{${FIELDS}${' '.repeat(300_000)}}`), NO_OUTCOME),
      row('an outcome in front of too many blanks', raw(`{${FIELDS}}${' '.repeat(300_000)}`), NO_OUTCOME),
      row('an outcome with 101 names', lines(names(101, 1)), NO_OUTCOME),
      row('an outcome with a name that is too long', lines(names(1, 16_385)), NO_OUTCOME),
      row('an outcome with a key twice', raw(`{"outcome":"failed",${FIELDS}}`), NO_OUTCOME),
      row('an outcome with a key more', raw(`{${FIELDS},"text":"hello"}`), NO_OUTCOME),
      row(
        'an outcome with a number that is none',
        raw(`{${FIELDS.replace('"files":1', '"files":1e400')}}`),
        NO_OUTCOME,
      ),
      row('brackets, 200,000 deep', raw('['.repeat(200_000)), NO_OUTCOME),
      row('an outcome in two halves', lines(FULL).replace(',"code"', '\n,"code"'), NO_OUTCOME),
      row(
        'an outcome that contradicts itself',
        raw(`{${FIELDS.replace('"code":null', '"code":"busy"')}}`),
        NO_OUTCOME,
      ),
    ],
    8,
  ),
  ...some(
    [
      row('success, without having dialled', lines(FULL), says('says-that-it-is-done')),
      row('phases and success, without having dialled', lines(COPYING, FULL), says('was-never-let-in')),
      row('success for a part, without having dialled', lines(INCOMPLETE), says('was-never-let-in')),
      {
        ...row(
          'success of a dry run, without having dialled',
          lines({ ...FULL, snapshot: null }),
          /never let in/,
        ),
        dryRun: true,
      },
    ],
    4,
  ),
  dialling('success without a snapshot', lines({ ...FULL, snapshot: null }), /says that it kept nothing/),
  { ...dialling(wording('a-snapshot-of-a-dry'), lines(FULL), says('made-a-snapshot-of-a')), dryRun: true },
  ...some<Row>(
    [
      row(
        'a refusal, and then success',
        lines(failedOutcome('busy'), FULL),
        says('still-at-work-on-another'),
        11,
      ),
      row(
        'a wait that is longer than there is time',
        lines({ event: 'wait', ms: Number.MAX_SAFE_INTEGER }, failedOutcome('full')),
        matching`${says('as-many-runs-as-it')}$`,
        11,
      ),
      row('a code for every status', lines(failedOutcome('no-space')), /no space left/, 14),
      {
        ...row(
          'a refusal, and then a phase',
          lines(failedOutcome('busy'), PROGRESS, COPYING),
          /another run/,
          11,
        ),
        phases: [],
        progress: [0, 0],
      },
      {
        ...row('phases backwards', lines(phase('committing'), COPYING, phase('dialling')), NO_OUTCOME),
        phases: ['committing'],
      },
      {
        ...row(
          'phases in turn',
          lines(phase('dialling'), COPYING, phase('dialling'), COPYING, phase('committing')),
          NO_OUTCOME,
        ),
        phases: ['dialling', 'copying', 'committing'],
      },
      {
        ...row('a refusal, and then no end', lines(failedOutcome('name')), /under another name/, 12),
        goesOn: 'waits',
      },
      {
        ...row('a refusal, and then phases without end', lines(failedOutcome('name')), /another name/, 12),
        goesOn: lines(COPYING),
      },
    ],
    3,
  ),
  ...some(
    [
      endless('silence', 'waits'),
      endless('escapes without end', `${NASTY}\n`),
      endless('a line without end', 'x'),
      endless('one phase without end', lines(COPYING), { phases: ['copying'] }),
      endless('phases in turn without end', lines(phase('dialling'), COPYING), {
        phases: ['dialling', 'copying'],
      }),
      endless('progress without end', lines(FILES, PROGRESS), { progress: [1] }),
    ],
    6,
  ),
];

/** The most memory that a process has had so far; 0 once it is gone. */
function peakOf(pid: number | undefined): number {
  try {
    return (
      Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024
    );
  } catch {
    return 0;
  }
}

describe('a hostile host and its outcomes', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let enrolled = '';
  let script = '';
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'kept'), 'content');
    world.configure({ limits: deadlineOf(DEADLINE) });
    // The host's sshd says something too, before anybody has authenticated.
    const config = join(world.host.home, 'sshd/config');
    writeFileSync(join(world.host.home, 'banner'), `${NASTY}\n`);
    chmodSync(join(world.host.home, 'banner'), 0o644);
    writeFileSync(config, `${readFileSync(config, 'utf8')}Banner "${world.host.home}/banner"\n`);
    enrolled = readFileSync(world.authorizedKeys, 'utf8');
    script = join(world.host.home, 'hostile.sh');
  });
  after(async () => {
    await world.dispose();
  });
  beforeEach(() => {
    writeFileSync(world.authorizedKeys, enrolled);
  });

  /** Puts a script in the place of grab. What goes on without end comes as fast as it can in a soak, else at 20 MB a second. */
  function answer({ says, goesOn, dials }: Pick<Row, 'says' | 'goesOn' | 'dials'>): void {
    const { host } = world;
    world.write(host, join(host.home, 'says'), says);
    world.write(host, join(host.home, 'goes on'), goesOn ?? '');
    const grab = /command="([^"]*)"/.exec(enrolled)?.[1] ?? '';
    const flood = `yes "$(cat '${host.home}/goes on')" ${goesOn?.endsWith('\n') ? '' : "| tr -d '\\n'"} >&2`;
    const body = [
      // The real one does the work; what it says of it is dropped.
      dials ? `${grab} 2>&1 | cat >/dev/null` : ':',
      `cat '${host.home}/says' >&2`,
      goesOn === undefined
        ? ''
        : goesOn === 'waits'
          ? 'exec cat >/dev/null'
          : IS_LONG
            ? flood
            : `while ${flood.replace('>&2', '| head -c 1000000 >&2')}; do sleep 0.05; done`,
    ];
    world.write(host, script, `${body.join('\n')}\n`);
    writeFileSync(
      world.authorizedKeys,
      enrolled.replace(/command="(?:[^"\\]|\\.)*"/, () => `command="exec /bin/sh '${script}'"`),
    );
  }

  let deadlineMs = 0;
  /** In client.toml. On a busy machine it is later: an honest answer must come before it. */
  function deadlineOf(quiet: number): string {
    const seconds = Math.ceil(quiet * stretch());
    deadlineMs = seconds * 1000;
    return `deadline = "${seconds}s"`;
  }

  /** What a run said, how long it took, and how much memory. */
  interface Ran extends Result {
    tookMs: number;
    peakMib: number;
  }
  async function run(...more: string[]): Promise<Ran> {
    const clock = fairClock();
    let linesLeft = 2000;
    const { child, done } = world.start(
      world.client,
      world.binary,
      ['backup', '--config', world.clientToml, ...more],
      {
        // Of a flood that is passed on, enough is enough.
        onLine: () => {
          linesLeft -= 1;
          if (linesLeft < 0) child.kill('SIGKILL');
        },
      },
    );
    let peakMib = 0;
    const timer = setInterval(() => {
      peakMib = Math.max(peakMib, peakOf(child.pid));
    }, 20);
    const result = await done;
    clearInterval(timer);
    return { ...result, tookMs: clock(), peakMib };
  }

  /** What has to hold of every run: it is soon over, plain, and leaves nothing. */
  async function assertPlain(result: Ran, most = 20_000): Promise<void> {
    assert.ok(result.tookMs < Math.max(SOON_MS, deadlineMs + END_MS), `${Math.round(result.tookMs)} ms`);
    assert.ok(result.stdout.length + result.stderr.length < most, 'it floods nothing');
    assert.ok(result.peakMib > 0 && result.peakMib < MEMORY_MIB, `${result.peakMib} MiB`);
    assert.doesNotMatch(result.stdout + result.stderr, CONTROLS);
    assert.doesNotMatch(readFileSync(join(world.clientState, 'journal.jsonl'), 'utf8'), CONTROLS);
    await until('nothing is left', () => world.leftovers().length === 0, 10_000);
  }

  const finished = (): Record<string, unknown>[] =>
    world.journal('client').filter(each => each.event === 'finished');

  for (const each of ROWS) {
    it(each.what, async () => {
      world.configure({ limits: deadlineOf(each.goesOn ? SHORT_DEADLINE : DEADLINE) });
      answer(each);
      const before = finished().length;
      const result = await run('--json', ...(each.dryRun ? ['--dry-run'] : []));
      const events = result.stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as Record<string, unknown>);
      const last = events.at(-1) ?? {};
      assert.equal(last.event, 'done');
      assert.match(String(last.error), each.error);
      assert.equal(result.status, each.status);
      assert.equal(events.filter(event => event.event === 'done').length, 1);
      const phases = events.flatMap(event =>
        event.event === 'phase' && PHASES.some(known => known === event.phase) ? [event.phase] : [],
      );
      if (each.phases) assert.deepEqual(phases, each.phases);
      const progress = events.filter(event => event.event === 'progress').length;
      // Two a second are heard, and the first: for as long as this run may take.
      const [least, most = (2 * deadlineMs) / 1000 + 1] = each.progress ?? [0];
      assert.ok(progress >= least && progress <= most, `progress is told ${progress} times`);
      await assertPlain(result);
      const lines = finished().slice(before);
      assert.equal(lines.length, 1, 'one line');
      assert.match(String(lines[0]?.reason), each.error);
    });
  }

  itShort('a turn that never comes is asked for now and then, until the deadline', async () => {
    world.configure({ limits: 'deadline = "8s"' });
    answer({ says: lines({ event: 'wait', ms: 0 }, failedOutcome('full')) });
    const before = finished().length;
    const result = await run();
    // The deadline comes in a wait, or in an attempt.
    const said = /: (.* as many runs as it takes at once|the deadline has passed) \((\d+) attempts\)\n/;
    const [, why = '', count = ''] = said.exec(result.stderr) ?? [];
    assert.equal(result.status, why.startsWith('the deadline') ? 1 : 11, result.stderr);
    assert.ok(Number(count) >= 2 && Number(count) <= 8, result.stderr);
    assert.equal(finished().length - before, Number(count));
    await assertPlain(result);
    world.configure({ limits: deadlineOf(DEADLINE) });
  });

  itLong('names of what is missing, full of escapes, are shown as escapes', async () => {
    const missing = [
      { path: `/a${NASTY}`, errno: 13 },
      {
        path: { base64: Buffer.from(`/\xff${NASTY}`, 'latin1').toString('base64') },
        errno: Number.MAX_SAFE_INTEGER,
      },
    ];
    answer({ says: lines({ ...INCOMPLETE, missing, missing_count: Number.MAX_SAFE_INTEGER }), dials: true });
    for (const how of ['--json', '-v']) {
      const result = await run(how);
      assert.equal(result.status, 3, result.stdout + result.stderr);
      await assertPlain(result);
    }
  });

  itLong('as many names as an event can have, and as long, are all that is said', async () => {
    answer({ says: lines(names(100, 2400)), dials: true });
    for (const how of ['--json', '-v']) {
      const result = await run(how);
      assert.equal(result.status, 3, result.stdout + result.stderr);
      await assertPlain(result, 300_000);
    }
  });

  itLong('the end after any byte of an answer is no success', async () => {
    const whole = lines({ event: 'phase', phase: 'dialling' }, COPYING, FULL);
    const start = whole.lastIndexOf('dialback-event: ');
    for (const bytes of some(
      [1, start - 1, start, start + 16, start + 40, whole.length - 30, whole.length - 3, whole.length - 2],
      2,
      1,
    )) {
      // What is nearly whole would be believed of a host that was let in.
      answer({ says: whole.slice(0, bytes), dials: bytes >= whole.length - 3 });
      const result = await run('--json');
      assert.equal(result.status, 1, `${bytes} bytes: ${result.stdout}`);
      assert.match(result.stdout, NO_OUTCOME);
      await assertPlain(result);
    }
    answer({ says: whole, dials: true });
    assert.equal((await run('--json')).status, 0);
  });

  it('the next honest run succeeds', async () => {
    world.configure();
    const { status, last, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(join(world.tree(last.snapshot ?? ''), world.data, 'kept'), 'utf8'), 'content');
  });
});
