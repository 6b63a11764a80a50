import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../src/fault.ts';
import { PLAIN_ENVIRONMENT, run, standard, start } from '../src/os/process.ts';
import {
  awaitLock,
  defaultStateFolder,
  makeRunFolder,
  prepareStateFolder,
  takeLock,
} from '../src/os/runfolder.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { matching, says, wording } from './support/wording.ts';

/** A folder with a blank in its name that is the home folder meanwhile: sshd looks no further up. */
function scratch(context: TestContext): string {
  const path = mkdtempSync(`${tmpdir()}/dialback state `);
  const before = process.env.HOME;
  process.env.HOME = path;
  context.after(() => {
    process.env.HOME = before;
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

function fault(path: string): Fault {
  try {
    prepareStateFolder(path);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error(`"${path}" was accepted`);
}

/** Whether the real flock(1), in a process of its own, can have the lock. */
function isFree(path: string): boolean {
  return spawnSync('flock', ['--nonblock', path, 'true']).status === 0;
}

describe('prepareStateFolder()', () => {
  it('makes a private folder, with its parents, and leaves it as it is', t => {
    const top = scratch(t);
    const path = `${top}/a b/ü/state`;
    prepareStateFolder(path);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    writeFileSync(`${path}/x`, '');
    prepareStateFolder(path);
    assert.ok(existsSync(`${path}/x`));
  });

  for (const path of ['', '.', 'state', './state', '../state', '~/state', ' /state'])
    it(`refuses ${JSON.stringify(path)}, which is no absolute path`, () =>
      assert.equal(fault(path).found, wording('it-must-be-an-absolute')));

  for (const mark of ['"', "'", '\\', '%', '$', '`', '#', '\n', '\r', '\t', '\0', '\u001b', '\u007f'])
    it(`refuses a name with ${JSON.stringify(mark)}, and makes nothing`, t => {
      const top = scratch(t);
      assert.match(fault(`${top}/a${mark}b`).found, matching`${says('a-character-that-sshd-ssh')}$`);
      assert.match(fault(`${top}/a${mark}/b`).found, matching`${says('more-than-a-letter')}$`);
      assert.deepEqual(readdirSync(top), []);
    });

  it('refuses what is not a folder: a file, a link to a folder, a link to nowhere', t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, '');
    mkdirSync(`${top}/folder`, 0o700);
    symlinkSync(`${top}/folder`, `${top}/link`);
    symlinkSync(`${top}/none`, `${top}/dangling`);
    assert.equal(fault(`${top}/file`).found, wording('it-is-not-a-folder'));
    assert.equal(fault(`${top}/link`).found, wording('it-is-not-a-folder'));
    fault(`${top}/dangling`);
    fault(`${top}/file/below`);
    assert.ok(!existsSync(`${top}/none`));
  });

  it('refuses a folder that others may look into, and says what to do', t => {
    const top = scratch(t);
    mkdirSync(`${top}/state`);
    for (const mode of [0o701, 0o704, 0o710, 0o740, 0o750, 0o755, 0o777, 0o1777]) {
      chmodSync(`${top}/state`, mode);
      const { found, next, exit } = fault(`${top}/state`);
      assert.deepEqual([found, next, exit], ['others may look into it', `chmod 700 '${top}/state'`, 'usage']);
    }
  });

  it('refuses a folder below one that others can write', t => {
    const top = scratch(t);
    mkdirSync(`${top}/open/state`, { recursive: true, mode: 0o700 });
    for (const mode of [0o770, 0o707, 0o1777]) {
      chmodSync(`${top}/open`, mode);
      assert.match(
        fault(`${top}/open/state`).found,
        matching`^".*\/open" ${says('above-it-can-be-written')}`,
      );
    }
  });

  it('refuses a folder of another user', {
    skip: process.getuid?.() === 0 ? false : 'needs root to make a folder of another user',
  }, t => {
    const top = scratch(t);
    mkdirSync(`${top}/state`, 0o700);
    chownSync(`${top}/state`, 12_345, 12_345);
    assert.match(fault(`${top}/state`).found, matching`^${says('it-belongs-to-uid')} 12345, not to `);
  });

  it('throws nothing but a usage fault, whatever the path', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), text => {
        if (!text.startsWith('/')) assert.equal(fault(text).exit, 'usage');
        else if (/[\p{Cc}"'\\%$`#]/u.test(text)) assert.ok(true);
      }),
    );
  });
});

describe('takeLock()', () => {
  it('excludes a second taker, in this process and in another, until it is released', async t => {
    const top = scratch(t);
    const path = `${top}/lock`;
    await using other = new AsyncDisposableStack();
    {
      await using held = new AsyncDisposableStack();
      assert.equal(typeof (await takeLock(held, path)), 'number');
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal(await takeLock(other, path), undefined);
      assert.equal(isFree(path), false);
    }
    assert.equal(isFree(path), true);
    assert.equal(typeof (await takeLock(other, path)), 'number');
  });

  it('is held by a child that was handed the descriptor, after we have let go', async t => {
    const top = scratch(t);
    const path = `${top}/lock`;
    const held = new AsyncDisposableStack();
    const descriptor = await takeLock(held, path);
    assert.ok(descriptor !== undefined);
    const child = await start(standard('sleep', ['300']), ['nothing', 'nothing', 'nothing', descriptor]);
    t.after(() => child.end(0));
    const stranger = await start(standard('sleep', ['300']), ['nothing', 'nothing', 'nothing']);
    t.after(() => stranger.end(0));
    await held.disposeAsync();
    assert.equal(isFree(path), false);
    await child.end(100);
    assert.equal(isFree(path), true); // the stranger had no part in it
  });

  it('leaves no descriptor open, when somebody else has the lock', async t => {
    const top = scratch(t);
    await using held = new AsyncDisposableStack();
    await takeLock(held, `${top}/lock`);
    const before = readdirSync('/proc/self/fd').length;
    for (let each = 0; each < 5; each += 1) assert.equal(await takeLock(held, `${top}/lock`), undefined);
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });

  it('follows no link', async t => {
    const top = scratch(t);
    symlinkSync(`${top}/elsewhere`, `${top}/lock`);
    await using held = new AsyncDisposableStack();
    await assert.rejects(takeLock(held, `${top}/lock`), /ELOOP/);
    assert.ok(!existsSync(`${top}/elsewhere`));
  });
});

describe('awaitLock()', () => {
  it('has the lock once its holder lets go of it, and not before', async t => {
    const path = `${scratch(t)}/lock`;
    const held = new AsyncDisposableStack();
    await takeLock(held, path);
    await using other = new AsyncDisposableStack();
    let hasIt = false;
    const waiting = awaitLock(other, path, new AbortController().signal).then(() => {
      hasIt = true;
    });
    await using third = new AsyncDisposableStack();
    assert.equal(await takeLock(third, path), undefined);
    assert.equal(hasIt, false);
    await held.disposeAsync();
    await waiting;
    assert.equal(isFree(path), false);
  });

  it('gives up as soon as the signal aborts, and leaves nothing open', async t => {
    const path = `${scratch(t)}/lock`;
    const held = new AsyncDisposableStack();
    await takeLock(held, path);
    const before = readdirSync('/proc/self/fd').length;
    const reason = new Error('enough');
    const controller = new AbortController();
    {
      await using other = new AsyncDisposableStack();
      const waiting = awaitLock(other, path, controller.signal);
      setImmediate(() => controller.abort(reason));
      await assert.rejects(waiting, reason);
    }
    assert.equal(readdirSync('/proc/self/fd').length, before);
    await held.disposeAsync();
    assert.equal(isFree(path), true);
  });
});

describe('makeRunFolder()', () => {
  it('is private, and gone with all in it when it is released', async t => {
    const top = scratch(t);
    const held = new AsyncDisposableStack();
    const path = await makeRunFolder(held, top);
    assert.match(path, /\/run-[A-Za-z0-9]{6}$/);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    mkdirSync(`${path}/deep`);
    writeFileSync(`${path}/deep/file`, '');
    await held.disposeAsync();
    assert.ok(!existsSync(path));
  });

  it('removes what a killed run has left, and leaves alone what another run still holds', async t => {
    const top = scratch(t);
    await using held = new AsyncDisposableStack();
    const alive = await makeRunFolder(held, top);
    for (const name of ['run-AAAAAA', 'run-short', 'other']) mkdirSync(`${top}/${name}`, 0o700);
    const stale: string[] = [];
    const mine = await makeRunFolder(held, top, async path => {
      stale.push(path);
      // Where another run is just removing its own folder, a new file in it would make that fail.
      assert.deepEqual(readdirSync(path), []);
    });
    assert.deepEqual(stale, [`${top}/run-AAAAAA`]);
    assert.ok(!existsSync(`${top}/run-AAAAAA`));
    const left = readdirSync(top).filter(name => !name.endsWith('.lock'));
    assert.deepEqual(
      left.sort(),
      [alive, mine, `${top}/run-short`, `${top}/other`].map(path => path.slice(top.length + 1)).sort(),
    );
  });
});

describe('defaultStateFolder()', () => {
  it('is below the home folder', () => {
    assert.equal(
      defaultStateFolder({ uid: 1, gid: 1, name: 'x', home: '/home/x' }),
      '/home/x/.local/state/dialback',
    );
  });
});

it('flock(1) is the one that the tests ask', async () => {
  assert.equal(
    (await run({ ...standard('flock', ['--version']), environment: PLAIN_ENVIRONMENT })).status,
    0,
  );
});
