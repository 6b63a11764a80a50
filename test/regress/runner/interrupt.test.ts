// Goal: a test run that is interrupted ends soon and leaves nothing behind: no process, account, mount, loop device or folder.
// So does a file that hangs, which fails. With places of their own for files, and where there can be none.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const FIXTURE = 'test/runner/fixtures/hangs.ts';
const NPM = ['npm', 'test', '--silent', '--', FIXTURE];

/** Numbers of seconds that only processes of one run sleep. */
let marks = 8_000_000 + (process.pid % 1000) * 1000;

const accounts = (): string[] =>
  readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter(line => line.startsWith('dbtest-'));

/** A run that was started. */
interface Started {
  child: ChildProcess;
  /** Arguments that only its processes have. */
  words: string[];
  output: () => string;
  /** What its folders' names have, and those of no other run. */
  tag: string;
  /** What another run may have been killed with, or be using. */
  accountsBefore: string[];
}

/** What of a run can be seen: nothing of it may be there afterwards. */
function traces({ words, tag, accountsBefore }: Pick<Started, 'words' | 'tag' | 'accountsBefore'>): string[] {
  const found = processes(words);
  for (const folder of ['/tmp', '/var/lib', '/root'])
    for (const name of readdirSync(folder)) if (name.includes(tag)) found.push(`folder: ${folder}/${name}`);
  for (const line of accounts()) if (!accountsBefore.includes(line)) found.push(`account: ${line}`);
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n'))
    if (line.includes(tag)) found.push(`mount: ${line}`);
  return [...found, ...loops(tag)];
}

function processes(words: string[]): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter(each => /^\d+$/.test(each))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
      if (words.some(word => command.includes(word))) found.push(`process: ${command.join(' ')}`);
    } catch {
      // it has ended in between
    }
  }
  return found;
}

/** Loop devices of a run's files; all runs of the machine have theirs in one list. */
function loops(tag: string): string[] {
  const list = execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], {
    encoding: 'utf8',
  });
  return list.split('\n').filter(line => line.includes(tag));
}

/** Starts a run, and waits until all is made. */
async function start(command: string[], environment: Record<string, string>): Promise<Started> {
  const words = [1, 2, 3].map(() => String(marks++));
  const accountsBefore = accounts();
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: TOP,
    env: { ...process.env, ...environment, DIALBACK_TEST_MARKS: words.join(' ') },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  await until('the test hangs', () => {
    assert.equal(child.exitCode, null, output);
    // unshare(1) has the word of its child.
    return words.every(word => processes([word]).some(each => each.startsWith('process: /bin/sleep')));
  });
  const folder = readdirSync('/tmp').find(name => name.startsWith('dialback-run-')) ?? assert.fail();
  const started = { child, words, output: () => output, tag: folder.slice(-4), accountsBefore };
  for (const kind of [/^process: /, /^folder: \/var\/lib\//, /^folder: \/root\//])
    assert.ok(
      traces(started).some(each => kind.test(each)),
      String(kind),
    );
  assert.equal(loops(started.tag).length, 1);
  return started;
}

async function assertGone(started: Started): Promise<void> {
  await until('all is gone', () => traces(started).length === 0).catch(() =>
    assert.deepEqual(traces(started), []),
  );
}

describe('an interrupted run', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  for (const places of ['yes', 'no']) {
    const environment = { DIALBACK_TEST_PLACES: places };
    const where = places === 'yes' ? 'files in places of their own' : 'files without places';

    it(`${where}: Ctrl-C, which goes to all of the terminal's processes`, async () => {
      const run = await start(NPM, environment);
      const { child, output } = run;
      process.kill(-(child.pid ?? 0), 'SIGINT');
      await once(child, 'close');
      assert.equal(child.exitCode, 130, output());
      assert.match(output(), /^SIGINT: all is killed and removed$/m);
      assert.match(output(), /^stopped by SIGINT after 0 of 1 files$/m);
      await assertGone(run);
    });

    it(`${where}: SIGTERM of the first process alone`, async () => {
      const run = await start(NPM, environment);
      const { child, output } = run;
      process.kill(child.pid ?? 0, 'SIGTERM');
      await once(child, 'close');
      assert.notEqual(child.exitCode, 0, output());
      await assertGone(run);
    });

    it(`${where}: a file of which no test ends in time`, async () => {
      const run = await start(NPM, { ...environment, DIALBACK_TEST_LIMIT_SECONDS: '3' });
      const { child, output } = run;
      await once(child, 'close');
      assert.equal(child.exitCode, 1, output());
      assert.match(output(), /no test has ended for 3\.0 s/);
      assert.match(output(), /^1 passed, 1 failed$/m);
      await assertGone(run);
    });
  }

  it('SIGTERM of make alone, which has started npm as `make test` does', async () => {
    const makefile = join(mkdtempSync(join(tmpdir(), 'dialback make ')), 'Makefile');
    const recipe = /^test:\n(?:\t.*\n)*\t(@npm test .*)$/m.exec(
      readFileSync(join(TOP, 'Makefile'), 'utf8'),
    )?.[1];
    assert.ok(recipe);
    writeFileSync(makefile, `.PHONY: test\ntest:\n\t${recipe} -- ${FIXTURE}\n`);
    const run = await start(['make', '-f', makefile], {});
    rmSync(dirname(makefile), { recursive: true });
    process.kill(run.child.pid ?? 0, 'SIGTERM');
    await once(run.child, 'close');
    await assertGone(run);
  });

  it('kill -9 of the runner: whatever it has started ends', async () => {
    const { child, words, tag } = await start(NPM, {});
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await once(child, 'close');
    await until('all has ended', () => processes(words).length === 0);
    // Nobody is there to remove them.
    for (const folder of ['/tmp', '/var/lib', '/root'])
      for (const name of readdirSync(folder).filter(each => each.includes(tag)))
        rmSync(join(folder, name), { recursive: true });
  });
});
