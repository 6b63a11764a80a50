// Goal: a client whose rsync cannot open files never gets a snapshot for it. Where the trial shows it, the host is not even
// called; where only the files of the scope fail, the run fails with a code of its own. What is no failure stays none: a scope
// of empty folders, and files that did not change.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { attacksOn } from '../../../src/wire/attacks.ts';
import { compileLibrary } from '../../support/compiled.ts';
import { FAILING_FILES } from '../../support/failing-files.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { type Done, lastLine, NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe("a client's rsync that cannot open files", { skip: NEEDS_ROOT }, () => {
  let world: World;
  let starts: string;
  let other: OtherRsync;
  before(async () => {
    world = await World.make();
    starts = join(world.client.home, 'starts');
    other = new OtherRsync(world); // LD_PRELOAD takes no path with a blank
    compileLibrary(FAILING_FILES, `${other.folder}/preload.so`);
  });
  after(async () => {
    await world.dispose();
    other[Symbol.dispose]();
  });

  /** `backup` with an rsync, for the client alone, that opens no plain file below `below`. */
  async function backup(below: string): Promise<Result & { last: Done }> {
    const rsync = other.write([
      `case "$*" in *--daemon*) echo "$*" >>'${starts}'; export FAILS_BELOW='${below}' LD_PRELOAD=${other.folder}/preload.so ;; esac`,
      `exec ${other.real} "$@"`,
    ]);
    const result = await other.run(rsync, ['backup', '--json', '--config', world.clientToml]);
    await world.settled();
    return { ...result, last: lastLine(result) };
  }

  const hostJournal = (): Record<string, unknown>[] => world.journal('host');
  const started = (): number =>
    existsSync(starts) ? readFileSync(starts, 'utf8').split('\n').length - 1 : 0;
  const remembered = (): string[] => {
    const path = join(world.clientState, 'rsync.json');
    return existsSync(path) ? Object.keys(JSON.parse(readFileSync(path, 'utf8'))) : [];
  };

  it('is not used: the run fails before the host is called', async () => {
    world.write(world.client, join(world.data, 'a file'), 'content');
    const { status, last, stderr } = await backup('/');
    assert.equal(status, 1, stderr);
    assert.equal(last.outcome, 'failed');
    assert.match(last.error ?? '', /"\/usr\/bin\/rsync".* \(22\)/);
    assert.deepEqual(
      world.journal('client').map(each => each.event),
      ['started', 'finished'],
    );
    assert.deepEqual(hostJournal(), [], 'the host has heard nothing');
    assert.deepEqual(world.snapshots(), []);
    assert.deepEqual(remembered(), [], 'a failure is tried again');
  });

  it('fails the run where not one file of the scope can be opened, and nothing is kept', async () => {
    mkdirSync(join(world.data, 'folder'));
    symlinkSync('nowhere', join(world.data, 'folder/a link'));
    for (const name of ['folder/one', 'folder/two']) world.write(world.client, join(world.data, name), name);
    const { status, last, stderr } = await backup(world.data);
    assert.equal(status, 1, stderr);
    assert.equal(last.outcome, 'failed');
    assert.equal(last.snapshot, null);
    assert.equal(hostJournal().at(-1)?.code, 'nothing');
    assert.deepEqual(world.snapshots(), []);
    assert.deepEqual(remembered(), [], 'the next run tries this rsync again');
  });

  it('leaves a scope without files what it is: a full run', async () => {
    const empty = join(world.client.home, 'empty');
    mkdirSync(join(empty, 'a folder'), { recursive: true });
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, empty]);
    world.configure({ scope: `roots = ["${empty}"]` });
    const { status, last, stderr } = await backup(world.data);
    world.configure();
    assert.equal(status, 0, stderr);
    assert.equal(last.outcome, 'full');
  });

  it('is asked once for each binary: the trial is remembered, until the binary is another one', async () => {
    assert.deepEqual(remembered(), ['none']);
    const begun = started();
    assert.equal((await backup(world.data)).status, 1);
    assert.equal(started(), begun + 1, 'the pull alone; the trial was remembered');
    const again = started();
    assert.equal((await backup(`${world.data}/folder/one`)).status, 3);
    assert.equal(started(), again + 2 + attacksOn('').length, 'the trial with its attacks, and the pull');
  });

  it('leaves a run in which files did not change incomplete, and lists those that failed', async () => {
    appendFileSync(join(world.data, 'folder/two'), ' and more');
    const { status, last, stderr } = await backup(world.data);
    assert.equal(status, 3, stderr);
    assert.equal(last.outcome, 'incomplete');
    assert.equal(last.missing_count, 2);
    const { status: whole } = await world.backup();
    assert.equal(whole, 0, 'with an rsync that works');
    rmSync(starts);
  });
});
