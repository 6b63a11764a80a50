import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { collectHooks } from '../src/doctor/hooks.ts';
import { Fault } from '../src/fault.ts';
import { type HookEnd, HookedRun, type Hooks, hooksTable, requireHooks } from '../src/shared/hooks.ts';
import { hooksHelp } from '../src/shared/hooks-text.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { matching, says, wording } from './support/wording.ts';
import { until } from './support/world.ts';

const parse = (text: string): Hooks => parseConfig(text, 'x.toml', hooksTable);

let top = '';
before(() => {
  top = mkdtempSync('/tmp/dialback hooks-');
  chmodSync(top, 0o755);
});
after(() => {
  rmSync(top, { recursive: true, force: true });
});

/** A program that is a shell script. */
function script(name: string, ...lines: string[]): string {
  const path = join(top, name);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(path, 0o755);
  return path;
}

const toml = (hooks: Record<string, string | string[]>): string =>
  Object.entries(hooks)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('');

/** A run of hooks; what each said of its end. */
function hooked(hooks: Record<string, string | string[]>): { run: HookedRun; ends: HookEnd[] } {
  const ends: HookEnd[] = [];
  return { run: new HookedRun(parse(toml(hooks)), { SIDE: 'client' }, end => ends.push(end)), ends };
}

const NEVER = new AbortController().signal;

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error('it did not fail');
}

describe('[hooks]', () => {
  for (const [text, expected] of [
    ['', {}],
    ['before = "/x"', { before: { path: '/x', args: [] } }],
    ['after = ["/x"]', { after: { path: '/x', args: [] } }],
    [
      'failed = ["/x y", "", "a b", "$(rm)", "\\n"]',
      { failed: { path: '/x y', args: ['', 'a b', '$(rm)', '\n'] } },
    ],
  ] as const)
    it(`takes ${text || 'nothing'}`, () => assert.deepEqual(parse(text), { ...expected, timeout: 600_000 }));

  for (const [text, message] of [
    ['before = "x"', matching`"before" ${says('should-be-an-absolute-path-or-a')}`],
    ['before = ""', /"before" should be/],
    ['before = []', /"before" should be/],
    ['before = ["x", "/y"]', /"before" should be/],
    ['before = ["/x", 1]', /"before" should be/],
    ['before = [["/x"]]', /"before" should be/],
    ['before = {}', /"before" should be/],
    ['before = true', /"before" should be/],
    ['before = "/x\\u0007"', /"before" should be/],
    ['after = ["/x", "\\u0000"]', /"after" should be/],
    ['success = "/x"', /unknown key "success"/],
    ['timeout = "0s"', matching`"timeout" ${says('should-be-at-least')} 1 s`],
    ['timeout = 10', /"timeout" is 10/],
  ] as const)
    it(`refuses ${text}`, () => assert.throws(() => parse(text), message));
});

describe('requireHooks()', () => {
  const refused = (path: string): Fault => {
    try {
      requireHooks(parse(toml({ after: path })));
    } catch (error) {
      assert.ok(error instanceof Fault);
      assert.equal(error.exit, 'usage');
      assert.equal(error.code, 'config');
      assert.match(error.message, matching`^${says('cannot-use-the-hook')} "after": `);
      assert.ok(error.next);
      return error;
    }
    throw new Error(`accepted: ${path}`);
  };

  it('takes a program of root or of the account, by links too', () => {
    const path = script('good', 'true');
    symlinkSync(path, join(top, 'link'));
    for (const each of [path, join(top, 'link'), '/bin/true', `${top}/../${top.slice(5)}/./good`])
      requireHooks(parse(toml({ before: each, after: [each, 'x'], failed: each })));
  });

  it('refuses what is not there, or is no program', () => {
    assert.match(refused(join(top, 'none')).found, /^there is no ".*none"$/);
    assert.match(refused(top).found, matching`${says('is-not-a-plain-file')}$`);
    assert.match(refused('/dev/null').found, matching`${says('is-not-a-plain-file')}$`);
    const path = script('plain', 'true');
    chmodSync(path, 0o644);
    assert.match(refused(path).found, matching`^${says('this-account-may-not-run')} `);
    assert.match(refused(`${path}/x`).found, /ENOTDIR/);
  });

  it('refuses what others can write: the file, a folder above it, what a link goes by', () => {
    const path = script('open', 'true');
    for (const mode of [0o775, 0o757]) {
      chmodSync(path, mode);
      assert.match(
        refused(path).found,
        new RegExp(`open" ${wording('can-be-written-by-others')} \\(mode ${mode.toString(8)}\\)`),
      );
      assert.match(refused(path).next ?? '', /^chmod go-w /);
    }
    mkdirSync(join(top, 'wide'));
    const below = script('wide/hook', 'true');
    chmodSync(join(top, 'wide'), 0o777);
    assert.match(refused(below).found, matching`wide" ${says('can-be-written-by-others')}`);
    // The program is safe, and so is the link; but another one can be put into its place.
    symlinkSync('/bin/true', join(top, 'wide/link'));
    assert.match(refused(join(top, 'wide/link')).found, matching`wide" ${says('can-be-written-by-others')}`);
    symlinkSync(join(top, 'wide/link'), join(top, 'detour'));
    assert.match(refused(join(top, 'detour')).found, matching`wide" ${says('can-be-written-by-others')}`);
    symlinkSync('circle', join(top, 'circle'));
    assert.match(refused(join(top, 'circle')).found, /ELOOP/);
  });

  it('refuses what belongs to somebody else', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
    const path = script('foreign', 'true');
    chownSync(path, 65_534, 65_534);
    assert.match(refused(path).found, /belongs to uid 65534/);
    assert.match(refused(path).next ?? '', /^chown root /);
  });
});

describe('collectHooks()', () => {
  it('says nothing where there are none, and of each one how it is', () => {
    assert.deepEqual(collectHooks('host', parse('')), []);
    const path = script('seen', 'true');
    const states = collectHooks('client', parse(toml({ before: path, failed: join(top, 'none') })));
    assert.deepEqual(
      states.map(({ check, state }) => `${check} ${state}`),
      ['client.hooks ok', 'client.hooks critical'],
    );
    assert.match(states[1]?.found ?? '', matching`^${says('cannot-use-the-hook')} "failed": there is no `);
  });
});

describe('HookedRun', () => {
  it('runs before, and then exactly one of the others, once', async () => {
    const path = script('each', 'true');
    for (const isWell of [true, false]) {
      const { run, ends } = hooked({ before: path, after: path, failed: path });
      assert.equal(await run.begin('x', NEVER), true);
      assert.equal(await run.end(isWell, {}), undefined);
      assert.equal(await run.end(isWell, {}), undefined);
      assert.deepEqual(
        ends.map(each => each.hook),
        ['before', isWell ? 'after' : 'failed'],
      );
    }
  });

  it('runs nothing at the end of what never began', async () => {
    const { run, ends } = hooked({ after: script('late', 'true') });
    await run.end(true, {});
    assert.deepEqual(ends, []);
  });

  it('leaves the run out at status 75, and then nothing else runs; of the others 75 is a failure', async () => {
    const path = script('skip', 'exit 75');
    const { run, ends } = hooked({ before: path, after: path, failed: path });
    assert.equal(await run.begin('x', NEVER), false);
    assert.equal(await run.end(false, {}), undefined);
    assert.deepEqual([ends.length, ends[0]?.failed], [1, undefined]);
    const late = hooked({ after: path });
    await late.run.begin('x', NEVER);
    assert.match((await late.run.end(true, {}))?.found ?? '', /skip" ended with status 75$/);
  });

  for (const [line, found] of [
    ['exit 1', 'ended with status 1'],
    ['kill -KILL $$', 'was ended by SIGKILL'],
  ] as const)
    it(`fails where before says ${line}, and \`failed\` runs`, async () => {
      const { run, ends } = hooked({ before: script('bad', line), failed: script('failed', 'true') });
      const fault = await faultOf(run.begin('back up to "x"', NEVER));
      assert.ok(fault.message.startsWith(`${wording('cannot-the-hook-before-2', 'back up to "x"')} ("`));
      assert.ok(fault.message.endsWith(found), fault.message);
      await run.end(false, {});
      assert.deepEqual(
        ends.map(each => each.hook),
        ['before', 'failed'],
      );
    });

  it('looks at the program once more, just before it is run', async () => {
    const path = script('changed', 'true');
    const { run, ends } = hooked({ before: path });
    chmodSync(path, 0o777);
    assert.match((await faultOf(run.begin('x', NEVER))).found, says('can-be-written-by-others'));
    assert.deepEqual(ends, []);
  });

  it('ends it with its children when its time is over, those that have lost their parent too', async () => {
    const pids = join(top, 'pids');
    const path = script(
      'slow',
      `(sleep 1000 & echo $! >>'${pids}') &`,
      'wait',
      `sleep 1001 & echo $! >>'${pids}'`,
      'wait',
      'wait',
    );
    const { run, ends } = hooked({ before: path, timeout: '1s' });
    const begun = performance.now();
    const fault = await faultOf(run.begin('x', NEVER));
    assert.match(fault.found, matching`${says('did-not-end-within')} 1 s, and was killed$`);
    assert.ok(performance.now() - begun < 60_000);
    assert.equal(ends[0]?.signal, 'SIGTERM');
    const left = readFileSync(pids, 'utf8').trim().split('\n').map(Number);
    assert.equal(left.length, 2);
    await until('its children have ended', () => left.every(pid => !isRunning(pid)));
  });

  it('takes a shorter limit than its own, and no longer one', async () => {
    const path = script('waits', 'exec sleep 1000');
    const { run } = hooked({ before: path });
    assert.match(
      (await faultOf(run.begin('x', NEVER, 500))).found,
      matching`${says('did-not-end-within')} 0\.5 s`,
    );
    const other = hooked({ before: path, timeout: '1s' });
    assert.match(
      (await faultOf(other.run.begin('x', NEVER, 60_000))).found,
      matching`${says('did-not-end-within')} 1 s`,
    );
  });

  it('ends it when the run is ended, with the reason of that', async () => {
    const stop = new AbortController();
    const { run, ends } = hooked({ before: script('stopped', 'echo here', 'sleep 1000') });
    setTimeout(
      () => stop.abort(new Fault({ tried: 'go on', found: 'interrupted', exit: 'interrupted' })),
      200,
    );
    assert.equal((await faultOf(run.begin('x', stop.signal))).exit, 'interrupted');
    assert.equal(ends[0]?.failed, wording('was-killed-since-the-run'));
  });

  it('is not held up by what a hook leaves in the background', async () => {
    const pid = join(top, 'background');
    const path = script('leaves', `sleep 1000 & echo $! >'${pid}'`, 'echo said');
    const { run, ends } = hooked({ before: path });
    const begun = performance.now();
    await run.begin('x', NEVER);
    assert.ok(performance.now() - begun < 30_000);
    assert.deepEqual(ends[0]?.words, ['said']);
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
  });

  it('gives it its arguments as they are, constants, what it is told, and nothing else', async () => {
    process.env.DIALBACK_STRAY = 'x';
    const path = script(
      'tells',
      `printf '<%s>' "$@" ''; echo`,
      'pwd; cat | wc -c',
      'env -u _ -u PWD -u OLDPWD -u SHLVL | LC_ALL=C sort',
    );
    const { run, ends } = hooked({ before: [path, 'a b', '', '$(id)', '*'], after: path });
    await run.begin('x', NEVER);
    delete process.env.DIALBACK_STRAY;
    const plain = (moment: string): string[] => [
      `DIALBACK_HOOK=${moment}`,
      'DIALBACK_SIDE=client',
      `HOME=${homedir()}`,
      'LC_ALL=C',
      `LOGNAME=${userInfo().username}`,
      'PATH=/usr/bin:/bin:/usr/sbin:/sbin',
      `USER=${userInfo().username}`,
    ];
    assert.deepEqual(ends[0]?.words, ['<a b><><$(id)><*><>', '/', '0', ...plain('before')]);
    await run.end(true, { FILES: 3, SNAPSHOT: null, REASON: 'a\nb\u001b[31m \u202e\u0000' });
    assert.deepEqual(ends[1]?.words.slice(3), [
      'DIALBACK_FILES=3',
      'DIALBACK_HOOK=after',
      'DIALBACK_REASON=a?b?[31m ??',
      ...plain('after').slice(1),
    ]);
  });

  it('gives it no descriptor of ours, a session of its own, and nothing to inherit', async () => {
    const path = script(
      'bare',
      'ls -l /proc/$$/fd | grep -c " -> .*/held$"',
      'readlink /proc/$$/fd/0',
      'cut -d" " -f6 /proc/$$/stat; echo $$',
      'grep -E "^Cap(Inh|Amb)" /proc/$$/status | cut -f2',
    );
    const { run, ends } = hooked({ before: path });
    const held = openSync(join(top, 'held'), 'w');
    await run.begin('x', NEVER);
    closeSync(held);
    const [descriptors, input, session, pid, ...capabilities] = ends[0]?.words ?? [];
    assert.deepEqual([descriptors, input], ['0', '/dev/null']);
    assert.equal(session, pid);
    assert.deepEqual(capabilities, ['0000000000000000', '0000000000000000']);
  });

  it('hears what it says by a name below /dev too, and all of it where there is no room for a pipe', async () => {
    const path = script('says', 'echo one >/dev/stderr', 'echo two >/dev/stdout', 'echo three >&2');
    const { run, ends } = hooked({ before: path, after: script('plain', 'echo out', 'echo err >&2') });
    await run.begin('x', NEVER);
    assert.deepEqual(ends[0]?.words, ['one', 'two', 'three']);
    const { TMPDIR } = process.env;
    process.env.TMPDIR = join(top, 'nowhere');
    await run.end(true, {});
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    assert.deepEqual(ends[1]?.words.sort(), ['err', 'out']);
  });

  it('keeps the last lines of what it says, escaped and cut', async () => {
    const path = script(
      'talks',
      'i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i + 1)); done',
      `printf '\\033[31m\\377\\n'`,
      'head -c 100000 /dev/zero | tr "\\0" x',
    );
    const { run, ends } = hooked({ before: path });
    await run.begin('x', NEVER);
    const { words = [], wordsLost } = ends[0] ?? {};
    assert.equal(words.length, 20);
    assert.equal(wordsLost, 982);
    assert.deepEqual(words.slice(16, 19), ['line 998', 'line 999', '\\u001b[31m\\ufffd']);
    assert.equal(words[19], `${'x'.repeat(400)}…`);
  });

  it('says why a hook at the end failed, and throws nothing', async () => {
    const { run } = hooked({ failed: script('gone', 'true') });
    await run.begin('x', NEVER);
    rmSync(join(top, 'gone'));
    const fault = await run.end(false, {});
    assert.match(fault?.message ?? '', matching`^${says('cannot-use-the-hook')} "failed": there is no `);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('hooksHelp()', () => {
  it('is printable and fits 120 columns', () => {
    for (const line of hooksHelp().split('\n')) {
      assert.doesNotMatch(line, /\p{Cc}/u);
      assert.ok(line.length <= 120, line);
    }
  });

  it('shows a table that is one', () => {
    const lines = hooksHelp().split('\n');
    const shown = lines.filter(line => /^ {2}(before|after|failed|timeout) = /.test(line)).join('\n');
    assert.equal(Object.keys(parse(shown)).length, 4);
  });
});
