// Goal: nothing gets its final name in the store before it is on the disk. strace shows the order of the system calls of a whole
// run, of its manifest, of a pin and of a prune; it also lets syncfs(2) and fsync(2) fail, and then nothing is committed.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** One line of strace's log: a call that has returned, or the end of a process. */
interface Step {
  pid: string;
  text: string;
}

describe('the order of a commit', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let enrolled = '';
  before(async () => {
    world = await World.make();
    mkdirSync(join(world.data, 'folder'));
    for (let at = 0; at < 20; at += 1)
      writeFileSync(join(world.data, 'folder', `file ${at}`), `content ${at}\0\0`);
    enrolled = readFileSync(world.authorizedKeys, 'utf8');
  });
  after(async () => {
    await world.dispose();
  });

  const CALLS =
    'trace=syncfs,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,execve,exit_group';

  /** The words for strace in front of a command. */
  function tracing(log: string, more: string[]): string[] {
    return ['/usr/bin/strace', '-f', '-qq', '-y', '-s', '4096', '-e', CALLS, ...more, '-o', log];
  }

  /** A backup whose grab is traced. @param inject a fault, as strace(1) has it */
  async function traceBackup(
    name: string,
    inject: string[] = [],
  ): Promise<{ status: number | null; steps: Step[] }> {
    const log = join(world.host.home, name);
    const command = /command="([^"]*)"/.exec(enrolled)?.[1] ?? '';
    const words = tracing(log, inject).map(each => `'${each}'`);
    writeFileSync(world.authorizedKeys, enrolled.replace(command, `${words.join(' ')} ${command}`));
    const { status } = await world.backup();
    return { status, steps: read(log) };
  }

  /** A call that another process interrupts stands in two lines: they are put together where it returns. */
  function read(log: string): Step[] {
    const pending = new Map<string, string>();
    return readFileSync(log, 'latin1')
      .split('\n')
      .flatMap(line => {
        const [, pid = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
        if (text.endsWith(' <unfinished ...>')) {
          pending.set(pid, text.slice(0, -' <unfinished ...>'.length));
          return [];
        }
        const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
        return text === '' ? [] : [{ pid, text: rest === undefined ? text : `${pending.get(pid)}${rest}` }];
      });
  }

  /** Where the first step is that matches; it must be there. */
  function find(steps: Step[], what: string, pattern: RegExp, from = 0): number {
    const at = steps.findIndex(({ text }, index) => index >= from && pattern.test(text));
    assert.ok(at >= 0, `no ${what} behind step ${from}:\n${steps.map(each => each.text).join('\n')}`);
    return at;
  }

  const quoted = (path: string): string => path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

  /** A file that is written beside its place: synced, then renamed, then its folder synced. */
  function requireReplaced(steps: Step[], path: string): number {
    const renamed = find(
      steps,
      `rename to ${path}`,
      new RegExp(`^rename\\w*\\(.*"${quoted(path)}"(?:, .*)?\\) = 0$`),
    );
    const source = /^rename\w*\((?:AT_FDCWD[^,]*, )?"([^"]*)"/.exec(steps[renamed]?.text ?? '')?.[1] ?? '';
    const synced = find(steps, `fsync of ${source}`, new RegExp(`^fsync\\(\\d+<${quoted(source)}>\\) = 0$`));
    assert.ok(synced < renamed, `${path}: synced at ${synced}, renamed at ${renamed}`);
    const folder = path.slice(0, path.lastIndexOf('/'));
    find(steps, `fsync of ${folder}`, new RegExp(`^fsync\\(\\d+<${quoted(folder)}>\\) = 0$`), renamed);
    return renamed;
  }

  it('tree and record are on the disk before the rename, and the rename before the run is over', async () => {
    const { status, steps } = await traceBackup('log');
    assert.equal(status, 0);
    const [name = ''] = world.snapshots();
    const arriving = join(world.shelf, 'arriving', name);
    const snapshot = join(world.shelf, 'snapshots', name);

    const synced = find(steps, 'syncfs', new RegExp(`^syncfs\\(\\d+<${quoted(arriving)}>\\) = 0$`));
    const receivers = steps.filter(({ text }) => /^execve\("\/usr\/bin\/rsync".*"-aHAXS"/.test(text));
    assert.ok(receivers.length > 0);
    const ends = receivers.map(({ pid }) =>
      steps.findIndex(each => each.pid === pid && /^exit_group\(/.test(each.text)),
    );
    assert.ok(
      ends.every(end => end >= 0 && end < synced),
      'rsync has ended by then',
    );
    const stored = steps.findLastIndex(
      ({ text }) => /^rename/.test(text) && text.includes(`${arriving}/tree/`),
    );
    assert.ok(stored < synced, 'and so has its receiver');
    for (const record of ['snapshot.json', 'excludes']) {
      const at = find(steps, record, new RegExp(`^fsync\\(\\d+<${quoted(join(arriving, record))}>\\) = 0$`));
      assert.ok(at < synced, record);
    }
    const renamed = find(
      steps,
      'rename',
      new RegExp(`^rename\\("${quoted(arriving)}", "${quoted(snapshot)}"\\) = 0$`),
    );
    assert.ok(synced < renamed);
    const onDisk = find(
      steps,
      'fsync',
      new RegExp(`^fsync\\(\\d+<${quoted(join(world.shelf, 'snapshots'))}>\\) = 0$`),
      renamed,
    );
    // What is written of it afterwards: sums first, since verify trusts a manifest by them.
    const sums = requireReplaced(steps, join(snapshot, 'sha256sums'));
    const manifest = requireReplaced(steps, join(snapshot, 'manifest.mtree.gz'));
    assert.ok(onDisk < sums && sums < manifest);
    requireReplaced(steps, join(world.shelf, 'ledger.json'));
  });

  it('a pin is on the disk, and a snapshot that goes is in trash/ before anything of it is deleted', async () => {
    writeFileSync(world.authorizedKeys, enrolled);
    assert.equal((await world.backup()).status, 0);
    assert.equal((await world.backup()).status, 0);
    const [oldest = '', pinned = ''] = world.snapshots();
    const run = async (log: string, words: string[]): Promise<Step[]> => {
      const [strace = '', ...args] = [...tracing(join(world.host.home, log), []), world.binary];
      const all = [...args, ...words, '--config', world.hostToml];
      const { status, stdout, stderr } = await world.start(world.host, strace, all).done;
      assert.equal(status, 0, stdout + stderr);
      return read(join(world.host.home, log));
    };
    requireReplaced(
      await run('pin log', ['pin', `${world.name}@${pinned}`, '--reason', 'kept']),
      join(world.shelf, 'snapshots', pinned, 'pinned'),
    );
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[retention]\nlast = 1\nmin_keep = 1\nmin_age = "0s"\n`,
    );
    const steps = await run('prune log', ['prune']);
    const gone = join(world.shelf, 'snapshots', oldest);
    const renamed = find(
      steps,
      'rename',
      new RegExp(`^rename\\("${quoted(gone)}", "[^"]*/trash/[^"]*"\\) = 0$`),
    );
    const trash = find(
      steps,
      'trash',
      new RegExp(`^fsync\\(\\d+<${quoted(join(world.shelf, 'trash'))}>\\) = 0$`),
      renamed,
    );
    const left = find(
      steps,
      'snapshots',
      new RegExp(`^fsync\\(\\d+<${quoted(join(world.shelf, 'snapshots'))}>\\) = 0$`),
      trash,
    );
    const deleted = find(steps, 'unlink', /^(?:unlink(?:at)?|rmdir)\(.*\/trash\//);
    assert.ok(left < deleted, `${left} < ${deleted}`);
  });

  it('a disk that cannot be written to: the run fails, nothing is committed, and the tree is not believed', async () => {
    const before = world.snapshots();
    const { status } = await traceBackup('failing log', ['-e', 'inject=syncfs:error=EIO']);
    assert.equal(status, 1);
    assert.deepEqual(world.snapshots(), before);
    const left = readdirSync(join(world.shelf, 'arriving'));
    assert.equal(left.length, 1);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving', left[0] ?? '')), ['tree']);
    writeFileSync(world.authorizedKeys, enrolled);
    assert.equal((await world.backup()).last.outcome, 'full');
  });

  it('a record that cannot be written to the disk: the same', async () => {
    const before = world.snapshots();
    assert.equal((await traceBackup('fsync log', ['-e', 'inject=fsync:error=EIO'])).status, 1);
    assert.deepEqual(world.snapshots(), before);
    writeFileSync(world.authorizedKeys, enrolled);
    assert.equal((await world.backup()).last.outcome, 'full');
  });
});
