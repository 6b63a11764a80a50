// The attacks of a hostile host (test/regress/hostile/host.test.ts) and those of the trial (test/attacks.test.ts) against the
// installed rsync: `node test/versions/hostile.ts [--all]`, as root, in a root file system of another suite. It
// needs ssh, sshd, dist/dialback and a compiler for the launcher (CC=test/versions/outside-cc.sh). Prints one line for each attack
// that succeeds, and at the end one with the version and the counts; exits 1 if one succeeds. `--all`: the long ones as well.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { run } from 'node:test';

const TOP = join(import.meta.dirname, '../..');
const FILES = ['test/attacks.test.ts', 'test/regress/hostile/host.test.ts'];
const DEADLINE_MS = 20 * 60_000;

process.env.DIALBACK_OTHER_RSYNC = process.argv.includes('--all') ? 'all' : 'most';
const version = /version (\S+)/.exec(execFileSync('rsync', ['--version'], { encoding: 'utf8' }))?.[1];
let held = 0;
const lost: string[] = [];
const events = run({
  cwd: TOP,
  files: FILES.map(file => join(TOP, file)),
  concurrency: 1,
  signal: AbortSignal.timeout(DEADLINE_MS),
});
for await (const event of events) {
  if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
  const { name, skip, details } = event.data;
  if (event.type === 'test:pass') {
    if (skip === undefined && details.type !== 'suite') held += 1;
    continue;
  }
  const { error } = event.data.details;
  if ('failureType' in error && error.failureType === 'subtestsFailed') continue;
  const reason = error.cause instanceof Error ? error.cause.message : String(error.cause ?? error);
  lost.push(name);
  process.stdout.write(
    `rsync ${version}: ${name}: ${reason.trim().slice(0, 1000).replaceAll('\n', ' | ')}\n`,
  );
}
process.stdout.write(`rsync ${version}: ${held} held, ${lost.length} did not\n`);
process.exitCode = lost.length > 0 || held === 0 ? 1 : 0;
