import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

const SCRIPT = join(import.meta.dirname, '../.ci/run');

describe('.ci/run', () => {
  let top: string;
  before(() => {
    top = mkdtempSync(join(tmpdir(), 'dialback ci-'));
    for (const name of ['.ci', 'bin', 'tmp']) mkdirSync(join(top, name));
    copyFileSync(SCRIPT, join(top, '.ci/run'));
  });
  after(() => rmSync(top, { recursive: true, force: true }));

  const environment = (): Record<string, string> => ({
    PATH: `${top}/bin:/usr/bin:/bin`,
    TMPDIR: join(top, 'tmp'),
  });

  /** Runs it with a make that does this. */
  function check(script: string): { status: number | null; last: string; output: string } {
    writeFileSync(join(top, 'bin/make'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const { status, stdout } = spawnSync('bash', [join(top, '.ci/run')], {
      env: environment(),
      encoding: 'utf8',
    });
    assert.deepEqual(readdirSync(join(top, 'tmp')), []);
    return { status, last: stdout.trimEnd().split('\n').at(-1) ?? '', output: stdout };
  }

  it('adds up what the commands say, with the reasons of skips', () => {
    const { status, last, output } = check(
      'case $1 in test) echo "skipped: 2: why"; echo "7 passed, 0 failed, 2 skipped" ;; *) echo "3 passed, 0 failed" ;; esac',
    );
    assert.deepEqual([status, last], [0, '16 passed, 0 failed, 2 skipped']);
    assert.match(output, /^make test skipped: 2: why$/m);
  });

  const BAD: [what: string, script: string, last: string][] = [
    ['a test failed', 'echo "failed: x"; echo "3 passed, 1 failed"; exit 1', '12 passed, 4 failed'],
    ['a command did not come to its end', 'echo "3 passed, or so"; exit 2', '0 passed, 4 failed'],
    ['a command printed nothing', 'exit 0', '0 passed, 4 failed'],
    ['a status has no failure', 'echo "3 passed, 0 failed"; exit 2', '12 passed, 4 failed'],
    [
      'only the last one is well',
      '[ "$1" = test ] && exit 3; echo "3 passed, 0 failed"',
      '9 passed, 1 failed',
    ],
  ];
  for (const [what, script, last] of BAD)
    it(`fails where ${what}`, () => {
      const checked = check(script);
      assert.deepEqual([checked.status, checked.last], [1, last]);
    });

  it('hands SIGTERM on, and ends', async () => {
    writeFileSync(
      join(top, 'bin/make'),
      // Not expanded before sleep runs: sleep would hold the pipe.
      "#!/bin/sh\ntrap 'kill $!; echo told; exit 1' TERM\nsleep 60 &\necho here\nwait\n",
    );
    const child = spawn('bash', [join(top, '.ci/run')], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    for await (const text of child.stdout.setEncoding('utf8')) {
      output += text;
      if (/^here$/m.test(output)) child.kill('SIGTERM');
      if (/^told$/m.test(output)) break;
    }
    if (child.exitCode === null) await once(child, 'exit');
    assert.equal(child.exitCode, 143);
  });
});
