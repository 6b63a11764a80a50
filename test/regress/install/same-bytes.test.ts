// Goal: the same sources make the same bytes, whatever folder they lie in and whoever builds them; they start without being compiled
// again, and without compiling node's own modules; and the executable for arm64 can be built here (it is not run).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { acceptBuiltinCaches, V8_OPTIONS } from '../../../tools/code-cache.ts';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';

const TOP = join(import.meta.dirname, '../../..');
const MODULES = join(TOP, 'node_modules');
const DEADLINE_MS = 5 * 60_000;

describe('a build', { skip: IN_CLEAN_MACHINE }, () => {
  let base: string;
  let odd: string;
  let isMounted = false;
  before(() => {
    base = mkdtempSync('/tmp/dialback-bytes-');
    odd = join(base, 'further down/with a blank');
    if (!IS_LONG) return; // nothing is built
    copyCheckout(odd);
    isMounted = lendModules(odd);
  });
  after(() => {
    if (isMounted) assertDone(spawnSync('umount', [join(odd, 'node_modules')], { encoding: 'utf8' }));
    if (base) rmSync(base, { recursive: true, force: true });
  });

  function build(folder: string, args: string[] = [], environment: Record<string, string> = {}): void {
    const result = spawnSync('npm', ['run', 'build', ...args], {
      cwd: folder,
      env: { ...loginEnvironment(homedir()), ...environment },
      encoding: 'utf8',
      timeout: DEADLINE_MS,
    });
    assertDone(result);
  }

  itLong('makes the same bytes in two folders, one with a blank in its name, in two environments', () => {
    mkdirSync(join(base, 'tmp'));
    build(odd, [], { TZ: 'Asia/Tokyo', LC_ALL: 'C', TMPDIR: join(base, 'tmp'), SOURCE_DATE_EPOCH: '1' });
    // The first of the two is the one that all other tests use.
    const [one, other] = [TOP, odd].map(folder => readFileSync(join(folder, 'dist/dialback')));
    assert.ok(one && other && one.length > 10_000_000);
    const old =
      'dist/dialback is not what these sources make; if it is older than they are: make dist/dialback';
    assert.equal(sha256(other), sha256(one), old);
    for (const folder of [base, TOP]) assert.ok(!other.includes(folder), 'the folder is not in it');
  });

  itShort('starts from its code cache, and without one where V8 refuses it', () => {
    const executable = readFileSync(join(TOP, 'dist/dialback'));
    const RUN = 'return script.runInThisContext();';
    const TELL = 'throw script.cachedDataRejected'.padEnd(RUN.length);
    const GOOD = "cachedData: read(name + '.cache')";
    const BAD = 'cachedData: read(name)'.padEnd(GOOD.length); // the source is no cache
    const run = (
      ...changes: [string, string][]
    ): { stdout: string; stderr: string; status: number | null } => {
      const bytes = Buffer.from(executable);
      for (const [from, to] of changes) {
        const at = bytes.indexOf(from);
        assert.ok(at > 0 && bytes.indexOf(from, at + 1) < 0, from);
        assert.equal(from.length, to.length);
        bytes.write(to, at, 'latin1');
      }
      const path = join(base, 'changed');
      writeFileSync(path, bytes, { mode: 0o755 });
      return spawnSync(path, ['version'], { encoding: 'utf8' });
    };
    const told = (...changes: [string, string][]): string | undefined =>
      /^(true|false)$/m.exec(run([RUN, TELL], ...changes).stderr)?.[0];
    assert.equal(told(), 'false');
    assert.equal(told([GOOD, BAD]), 'true');
    const { stdout, stderr, status } = run([GOOD, BAD]);
    assert.deepEqual([stdout, stderr, status], [run().stdout, '', 0]);
  });

  itShort('compiles none of the modules of node that it loads', () => {
    const path = join(base, 'node');
    const COUNT = `for (const name of ['child_process', 'crypto', 'fs', 'net', 'stream']) require(name);
      const usage = require('internal/test/binding').internalBinding('builtins').getCacheUsage();
      console.log(JSON.stringify([usage.compiledWithCache.size, usage.compiledWithoutCache.size]));`;
    const compiled = (): [number, number] => {
      const args = [...V8_OPTIONS, '--expose-internals', '--no-warnings', '-e', COUNT];
      const { stdout, stderr, status } = spawnSync(path, args, { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout) as [number, number];
    };
    const bytes = readFileSync(process.execPath);
    writeFileSync(path, bytes, { mode: 0o755 });
    const [, before] = compiled();
    assert.ok(before > 10, `${before} modules are compiled where the caches are as they were`);
    assert.ok(acceptBuiltinCaches(bytes, V8_OPTIONS) > 100);
    writeFileSync(path, bytes);
    const [fromCache, compiledStill] = compiled();
    assert.equal(compiledStill, 0);
    assert.ok(fromCache > 10);
  });

  itLong('for arm64 makes an ELF file of that machine, with dialback in it', () => {
    build(odd, ['--', '--target', 'arm64']);
    const bytes = readFileSync(join(odd, 'dist/dialback-arm64'));
    assert.equal(bytes.toString('latin1', 0, 4), '\x7fELF');
    assert.equal(bytes[4], 2, '64 bits');
    assert.equal(bytes[5], 1, 'little endian');
    assert.equal(bytes.readUInt16LE(18), 183, 'e_machine is EM_AARCH64 (elf.h)');
    // What node looks at to know that it carries a program; in a plain node a 0 stands there.
    assert.ok(bytes.includes('NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1'), 'the blob is in it');
    assert.ok(bytes.includes('SSH_ORIGINAL_COMMAND'), "dialback's own code is in it");
  });
});

/**
 * Gives a checkout the node_modules of this one: as a mount, or as copies where that is not allowed. A symlink does not do:
 * esbuild writes a comment with the path of each module, which would be outside then.
 * @returns whether it is a mount
 */
function lendModules(folder: string): boolean {
  const place = join(folder, 'node_modules');
  mkdirSync(place);
  if (spawnSync('mount', ['--bind', MODULES, place]).status === 0) return true;
  rmdirSync(place);
  // Hard links are made at once, but not on another mount, even of the same file system (EXDEV).
  if (spawnSync('cp', ['-al', MODULES, folder]).status !== 0) {
    rmSync(place, { recursive: true, force: true });
    assertDone(spawnSync('cp', ['-a', MODULES, folder], { encoding: 'utf8' }));
  }
  return false;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Fails with the command's own words. */
function assertDone(result: ReturnType<typeof spawnSync>): void {
  const { status, signal, stdout, stderr, error } = result;
  assert.equal(status, 0, `status ${status}, signal ${signal}, ${error?.message ?? ''}\n${stdout}${stderr}`);
}
