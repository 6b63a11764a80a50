import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import { Fault } from '../src/fault.ts';
import {
  type Child,
  type Command,
  endingText,
  PLAIN_ENVIRONMENT,
  run,
  standard,
  start,
} from '../src/os/process.ts';
import { isAlive, killProcess, type Process, processAt } from '../src/os/process-table.ts';
import { programPath } from '../src/os/programs.ts';
import { parseOpensshVersion } from '../src/os/versions.ts';
import { matching, says, wording } from './support/wording.ts';

const sh = (script: string, ...args: string[]): Command => ({
  program: '/bin/sh',
  args: ['-c', script, 'sh', ...args],
  environment: PLAIN_ENVIRONMENT,
});

/** The first line that a child prints. */
async function firstLine(child: Child): Promise<string> {
  if (!child.stdout) throw new Error('no output');
  for await (const line of createInterface({ input: child.stdout })) return line;
  return '';
}

/** The processes whose numbers a line has. */
const processes = (line: string): Process[] =>
  line.split(' ').map(pid => {
    const found = processAt(Number(pid));
    assert.ok(found, `no process ${pid}`);
    return found;
  });

/** Waits until none is left; what is left is ended, and fails the test. */
async function requireGone(list: Process[], context: TestContext): Promise<void> {
  context.after(() => list.filter(isAlive).forEach(each => void process.kill(each.pid, 'SIGKILL')));
  const end = performance.now() + 5_000;
  while (list.some(isAlive) && performance.now() < end) await new Promise(resolve => setTimeout(resolve, 5));
  assert.deepEqual(list.filter(isAlive), []);
}

/** A shell, its child and its grandchild, none of which hears SIGTERM; it prints their numbers. */
const STUBBORN = `trap '' TERM
sh -c 'trap "" TERM; sleep 300 & echo $1 $$ $!; wait' sh $$ & wait`;

describe('run()', () => {
  it('gives status, output and errors of a program, and its input to it', async () => {
    const { status, stdout, stderr } = await run(sh('cat; echo problem >&2; exit 7'), { input: 'in\0put' });
    assert.deepEqual([status, stdout.toString(), stderr], [7, 'in\0put', 'problem\n']);
    const ended = await run(sh('kill -9 $$'));
    assert.deepEqual([ended.status, ended.signal], [null, 'SIGKILL']);
  });

  it('gives a program the environment, folder and descriptors that it is told, and nothing else', async () => {
    process.env.LEAKED_BY_TEST = 'x';
    const { stdout } = await run({ ...standard('env', ['-0']), cwd: '/usr' });
    delete process.env.LEAKED_BY_TEST;
    assert.deepEqual(stdout.toString().split('\0').filter(Boolean).sort(), [
      'LC_ALL=C',
      `PATH=${PLAIN_ENVIRONMENT.PATH}`,
    ]);
    assert.equal((await run({ ...standard('pwd', []), cwd: '/usr' })).stdout.toString(), '/usr\n');
    const ours = openSync('/dev/null', 'r');
    const { stdout: listed } = await run(standard('ls', ['/proc/self/fd']));
    closeSync(ours);
    // 3 is ls's own; what is far above was there before this process began.
    const low = listed
      .toString()
      .split('\n')
      .filter(each => each !== '' && Number(each) <= Math.max(ours, 60));
    assert.deepEqual(low, ['0', '1', '2', '3']);
    assert.equal((await run(sh('cat'))).stdout.length, 0); // /dev/null
  });

  it('has a program ended first when memory runs out, where that is asked for, and what it starts', async () => {
    const script = 'cat /proc/self/oom_score_adj; exit 5';
    const own = readFileSync('/proc/self/oom_score_adj', 'latin1');
    assert.notEqual(own, '1000\n');
    const first: Command = { ...sh(script), endedFirst: true };
    for (const [command, score] of [
      [sh(script), own],
      [first, '1000\n'],
    ] as const) {
      const { status, stdout } = await run(command);
      assert.deepEqual([status, stdout.toString()], [5, score]);
    }
  });

  it('does not go through a shell', async () => {
    const { stdout } = await run(standard('printf', ['%s', '$(id); `id` * "']));
    assert.equal(stdout.toString(), '$(id); `id` * "');
  });

  it('ends a program that is late, and says so', async t => {
    await using folder = temporary();
    await assert.rejects(
      run(sh(`echo $$ > '${folder.path}/pid'; exec sleep 300`), { timeoutMs: 300 }),
      error =>
        error instanceof Fault &&
        matching`^${says('cannot-run-it-did-not', '/bin/sh')} 0\.3 s$`.test(error.message),
    );
    const pid = Number(readFileSync(`${folder.path}/pid`, 'utf8'));
    const found = processAt(pid);
    await requireGone(found ? [found] : [], t);
  });

  it('takes as much output as the limit, and ends a program that prints one byte more', async () => {
    assert.equal((await run(sh('printf 12345'), { limit: 5 })).stdout.length, 5);
    await assert.rejects(
      run(sh('printf 123456'), { limit: 5 }),
      matching`${says('it-printed-more-than')} 5 bytes`,
    );
    await assert.rejects(
      run(standard('yes', []), { limit: 100_000 }),
      matching`${says('it-printed-more-than')} 100000 bytes`,
    );
  });

  it('is not stopped by a program that prints errors without end', async () => {
    const { stderr } = await run(sh('head -c 3000000 /dev/zero | tr "\\0" x >&2'));
    assert.ok(stderr.length >= 16_384 && stderr.length <= 16_384 + 65_536);
  });

  it('ends a program and all below it when its signal aborts, and throws the reason', async t => {
    await using folder = temporary();
    const controller = new AbortController();
    const file = `${folder.path}/pids`;
    const running = run(sh(`exec >'${file}.new'; (mv '${file}.new' '${file}') ; ${STUBBORN}`), {
      signal: controller.signal,
    });
    const running2 = running.catch(error => error);
    let line = '';
    while (!/^\d+ \d+ \d+$/.test(line)) {
      await new Promise(resolve => setTimeout(resolve, 5));
      line = readOr(file).trim();
    }
    const family = processes(line);
    const reason = new Error('enough');
    controller.abort(reason);
    assert.equal(await running2, reason);
    await requireGone(family, t);
  });

  it('throws the reason at once when its signal has aborted already', async () => {
    const reason = new Error('enough');
    await assert.rejects(
      run(sh('sleep 300'), { signal: AbortSignal.abort(reason) }),
      each => each === reason,
    );
  });

  it('takes a program that does not read its input for what it is', async () => {
    assert.equal((await run(sh('exit 3'), { input: Buffer.alloc(1_000_000) })).status, 3);
  });

  it('throws a fault when there is no such program', async () => {
    for (const program of ['/nonexistent/program', '/etc/passwd', 'sh', './sh', ''])
      await assert.rejects(
        run({ program, args: [], environment: {} }),
        error => error instanceof Fault && error.message.startsWith(`Cannot run "${program}": `),
        program,
      );
  });
});

function temporary(): { path: string } & AsyncDisposable {
  const path = mkdtempSync(`${tmpdir()}/dialback process `);
  return { path, [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }) };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

describe('Child', () => {
  it('end() ends a child that ignores SIGTERM, its child and its grandchild', async t => {
    const child = await start(sh(STUBBORN), ['nothing', 'pipe', 'nothing']);
    const family = processes(await firstLine(child));
    assert.equal(family.length, 3);
    await child.end(50);
    assert.deepEqual(family.filter(isAlive), []);
    await requireGone(family, t);
    assert.equal((await child.exited).signal, 'SIGKILL');
  });

  it('end() gives a child the time to put things in order', async () => {
    const child = await start(sh("trap 'exit 5' TERM; echo ready; sleep 300 & wait"), [
      'nothing',
      'pipe',
      'nothing',
    ]);
    assert.equal(await firstLine(child), 'ready');
    await child.end(5_000);
    assert.deepEqual(await child.exited, { status: 5, signal: null });
  });

  it('end() of a child that has ended already does nothing, once or twice', async () => {
    const child = await start(sh('exit 4'), ['nothing', 'pipe', 'pipe']);
    assert.deepEqual(await child.exited, { status: 4, signal: null });
    await child.end();
    await child.end();
    assert.equal(endingText(await child.ended), 'ended with status 4');
  });

  it('end() leaves processes alone that are not below the child', async t => {
    const other = await start(sh('exec sleep 300'), ['nothing', 'nothing', 'nothing']);
    t.after(() => other.end(0));
    const child = await start(sh('exec sleep 300'), ['nothing', 'nothing', 'nothing']);
    await child.end(0);
    const found = processAt(other.pid);
    assert.ok(found && isAlive(found));
  });
});

describe('killProcess()', () => {
  it('ends one process, and leaves alone another that got its number', async () => {
    const child = await start(sh("trap '' TERM; echo x; sleep 300 & wait"), ['nothing', 'pipe', 'nothing']);
    await firstLine(child);
    const found = processAt(child.pid);
    assert.ok(found);
    await killProcess({ ...found, startTicks: '1' }, 0);
    assert.ok(isAlive(found));
    const family = child.end(0);
    await family;
    assert.ok(!isAlive(found));
  });
});

/** Runs a script with the sources at hand, in a node of its own. */
function inNode(script: string): { status: number | null; stdout: string; stderr: string } {
  const file = `${import.meta.dirname}/../src/os/process.ts`;
  const text = `import { endMeFirst, exec } from ${JSON.stringify(file)};\n${script}`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module-typescript', '-e', text],
    {
      encoding: 'utf8',
      input: 'the input',
      timeout: 20_000,
    },
  );
  return { status, stdout, stderr };
}

describe('exec()', () => {
  it('is the program, in the same process, with the same input, the environment it is told, and SIGPIPE as usual', () => {
    const { status, stdout } = inNode(`
      process.stdout.write(process.pid + '\\n');
      exec({ program: '/bin/sh', args: ['-c', 'echo $$; env | grep -c LEAK; cat; echo; grep SigIgn /proc/self/status; exit 9'], environment: { PATH: '/usr/bin:/bin' } });
    `);
    const [before, after, leaked, input, ignored] = stdout.split('\n');
    assert.equal(status, 9);
    assert.equal(after, before);
    assert.equal(leaked, '0');
    assert.equal(input, 'the input');
    assert.equal(BigInt(`0x${ignored?.split(/\s+/)[1]}`) & 0x1000n, 0n, 'SIGPIPE is ignored');
  });

  it('throws a fault and lives on, when there is no such program', () => {
    const { status, stdout } = inNode(`
      for (const program of ['/nonexistent', 'sh', './sh', '/etc/passwd', ''])
        try { exec({ program, args: [], environment: {} }); } catch (error) { console.log(error.name, error.message); }
    `);
    assert.equal(status, 0);
    assert.deepEqual(
      stdout.trimEnd().split('\n'),
      ['/nonexistent', 'sh', './sh', '/etc/passwd', ''].map(
        each => `Fault ${wording('cannot-run-it-is-not', each)}`,
      ),
    );
  });
});

describe('endMeFirst()', () => {
  it('holds for what this process becomes', () => {
    const { status, stdout } = inNode(`
      endMeFirst();
      endMeFirst();
      exec({ program: '/bin/cat', args: ['/proc/self/oom_score_adj'], environment: {} });
    `);
    assert.equal(stdout, '1000\n');
    assert.equal(status, 0);
  });
});

describe('programPath()', () => {
  it('does not ask PATH', () => {
    const before = process.env.PATH;
    process.env.PATH = '/nonexistent';
    assert.match(programPath('sh'), /^\/(usr\/)?bin\/sh$/);
    process.env.PATH = before;
  });
  it('names the package of a program that is missing', () => {
    assert.throws(
      () => programPath('no-such-program'),
      matching`${says('cannot-run-it-is-in', 'no-such-program')} \/usr\/bin, `,
    );
  });
});

describe('parseOpensshVersion()', () => {
  it('reads the version that ssh tells, and that an sshd greets with', () => {
    assert.equal(parseOpensshVersion('OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19'), '9.2p1');
    assert.equal(parseOpensshVersion('SSH-2.0-OpenSSH_10.0p2\r\n'), '10.0p2');
    for (const text of ['', 'OpenSSH', 'dropbear_2022.83', 'OpenSSH_x'])
      assert.equal(parseOpensshVersion(text), undefined);
  });
});
