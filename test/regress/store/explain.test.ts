// Goal: `explain` names why each file of a snapshot is not linked to the older one, and in which folder: changed modes, owners, times,
// ACLs and xattrs, other content, new and moved files, the link limit, a run that compares contents, another rsync on the host, a
// basis that was removed. It says so when a manifest is missing or damaged, and then reads the files instead.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { LIMIT, Site } from '../../support/link-limit.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, type World } from '../../support/world.ts';

interface Explained {
  snapshot: string;
  compared_with: string | null;
  compared_because: string;
  basis_removed: boolean;
  rsync: { host: string; checksum: boolean };
  rsync_before: { host: string } | null;
  files: number;
  linked: number;
  linked_elsewhere: number;
  causes: {
    cause: string;
    what: string[];
    files: number;
    bytes: number;
    example: string;
    example_was: string | null;
    time_shift_s: number | null;
  }[];
  folders: { path: string; cause: string; what: string[]; files: number; bytes: number }[];
  manifests: { snapshot: string; problem: string }[];
}

const FILES = 5;
const SIZE = 5000;
/** More than a run can fail to link without a flag. */
const MANY = 600;
const FOLDERS = ['chmod', 'chown', 'touch', 'moved', 'setfacl', 'setfattr', 'content', 'stays'];

describe('explain', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  let world: World;
  let other: OtherRsync;
  let server: Server | undefined;
  const snapshots: string[] = [];

  before(async () => {
    site = await Site.make();
    ({ world } = site);
    other = new OtherRsync(world);
    world.configure({ limits: 'deadline = "5m"\nchecksum_every = "30d"' });
    // Otherwise the host links moved files, and there is nothing to explain about them.
    appendFileSync(world.hostToml, '[space]\nlink_moved = false\n');
  });
  after(async () => {
    server?.close();
    other[Symbol.dispose]();
    await site.dispose();
  });

  const at = (...parts: string[]): string => join(world.data, ...parts);

  function fill(folder: string): void {
    mkdirSync(at(folder, 'below'), { recursive: true });
    for (let index = 0; index < FILES; index += 1)
      writeFileSync(at(folder, 'below', `file ${index}`), `${folder} ${index} `.repeat(SIZE).slice(0, SIZE));
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, at(folder)]);
  }

  async function keep(): Promise<string> {
    const { snapshot } = await site.keep();
    snapshots.push(snapshot);
    return snapshot;
  }

  async function explain(words: string[], party: 'host' | 'root' = 'host'): Promise<Result> {
    const who = party === 'root' ? 'root' : world.host;
    return await world.run(who, ['explain', ...words, '--config', world.hostToml]);
  }

  async function explained(words: string[], party: 'host' | 'root' = 'host'): Promise<Explained> {
    const { status, stdout, stderr } = await explain([...words, '--json'], party);
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as Explained;
  }

  /** The number of files by cause. */
  const byCause = ({ causes }: Explained): Record<string, number> =>
    Object.fromEntries(causes.map(each => [[each.cause, ...each.what].join(' '), each.files]));

  /** The causes of each folder, by its name below the data. */
  const byFolder = ({ folders }: Explained): Record<string, string> =>
    Object.fromEntries(
      folders.map(each => [each.path.slice(world.data.length + 1), [each.cause, ...each.what].join(' ')]),
    );

  it('tells the first snapshot from later ones', async () => {
    for (const each of FOLDERS) fill(each);
    mkdirSync(at('many'));
    for (let index = 0; index < MANY; index += 1) writeFileSync(at('many', `${index}`), 'x');
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, at('many')]);
    site.group('split', 20);
    writeFileSync(at('full'), 'x'.repeat(SIZE));
    world.own(world.client, at('full'));
    const first = await keep();
    const found = await explained([world.name]);
    assert.equal(found.snapshot, first);
    assert.equal(found.compared_with, null);
    const { length } = FOLDERS;
    assert.deepEqual(byCause(found), { first: length * FILES + 21 + MANY });
    assert.equal(
      found.causes[0]?.bytes,
      MANY + (length * FILES + 1) * SIZE + statSync(at('split/00/0')).size,
      'a group counts once',
    );
  });

  it('names what was changed, by folder', async () => {
    const [first = ''] = snapshots;
    execFileSync('chmod', ['-R', 'g+w', at('chmod')]);
    execFileSync('chown', ['-R', '4321:4322', at('chown')]);
    for (let index = 0; index < FILES; index += 1) {
      const path = at('touch/below', `file ${index}`);
      const { mtimeMs } = statSync(path);
      utimesSync(path, 1000, Math.floor(mtimeMs / 1000) - 3600);
    }
    renameSync(at('moved'), at('away'));
    execFileSync('setfacl', ['-R', '-m', 'u:4321:rwX', at('setfacl')]);
    for (let index = 0; index < FILES; index += 1) {
      const path = at('setfattr/below', `file ${index}`);
      execFileSync('setfattr', ['-n', 'user.note', '-v', 'seen', path]);
      appendFileSync(at('content/below', `file ${index}`), 'more');
    }
    fill('new');
    linkSync(at('stays/below/file 0'), at('stays/below/second name'));
    const stored = join(world.tree(first), world.data);
    site.fill(join(stored, 'split/00/0'), LIMIT - 10);
    site.fill(join(stored, 'full'), LIMIT);
    const second = await keep();
    const found = await explained([`${world.name}@${second}`]);
    assert.deepEqual([found.compared_with, found.compared_because], [first, 'basis']);
    const causes = byCause(found);
    assert.ok((causes['link-limit'] ?? 0) > 1, JSON.stringify(found));
    assert.deepEqual(
      { ...causes, 'link-limit': 0 },
      {
        'attributes mode': FILES,
        'attributes owner': FILES,
        'attributes time': FILES,
        'attributes acl': FILES,
        'attributes xattrs': FILES,
        content: FILES,
        new: FILES,
        moved: FILES,
        'link-limit': 0,
      },
    );
    assert.deepEqual(
      { ...byFolder(found), '': '' },
      {
        '': '',
        'chmod/below': 'attributes mode',
        'chown/below': 'attributes owner',
        'touch/below': 'attributes time',
        'away/below': 'moved',
        'setfacl/below': 'attributes acl',
        'setfattr/below': 'attributes xattrs',
        'content/below': 'content',
        'new/below': 'new',
        'split/00': 'link-limit',
      },
    );
    const moved = found.causes.find(each => each.cause === 'moved');
    assert.equal(moved?.example_was, at('moved/below/file 0'));
    assert.equal(found.linked_elsewhere, 1);
    const sizes = [...found.folders].map(each => each.bytes);
    assert.deepEqual(
      sizes,
      [...sizes].sort((one, another) => another - one),
    );
    const narrowed = await explained([`${world.name}@${second}`, first, at('away'), at('touch')], 'root');
    assert.deepEqual(byCause(narrowed), { moved: FILES, 'attributes time': FILES });
    const { stdout } = await explain([`${world.name}@${second}`]);
    assert.match(stdout, /^only attributes changed: owner +5 +24\.4 KiB /m);
  });

  it('says that a run compared contents, where it found what has the same size and time', async () => {
    const path = at('stays/below/file 1');
    execFileSync('cp', ['-p', path, join(world.base, 'copy')]);
    writeFileSync(path, 'y'.repeat(SIZE));
    execFileSync('touch', ['--reference', join(world.base, 'copy'), path]);
    const due = Date.now() - 30 * 86_400_000;
    world.write(world.client, join(world.clientState, 'checksums.json'), JSON.stringify({ vault: due }));
    const third = await keep();
    const found = await explained([`${world.name}@${third}`, at('stays'), at('new')]);
    assert.deepEqual(byCause(found), { 'content-same-time': 1 });
    assert.equal(found.rsync.checksum, true);
    const { stdout } = await explain([`${world.name}@${third}`]);
    assert.match(stdout, says('the-run-compared-contents'));
  });

  it('flags a chmod of the whole tree, for list and status', async () => {
    await keep();
    execFileSync('chmod', ['-R', 'o-r', at('many')]);
    const flagged = await site.keep();
    snapshots.push(flagged.snapshot);
    assert.deepEqual(
      flagged.flags.filter(each => each.startsWith('few-linked-')),
      ['few-linked-mode'],
    );
    const [line] = world.journal('host').filter(each => each.event === 'few-linked');
    assert.equal(line?.snapshot, flagged.snapshot);
    const config = ['--config', world.hostToml];
    const listed = await world.run(world.host, ['list', world.name, ...config]);
    assert.match(listed.stdout, new RegExp(`${flagged.snapshot}.*few-linked-mode`));
    const status = await world.run(world.host, ['status', ...config]);
    assert.match(status.stdout, says('linked-far-fewer-files', /most .* mode/));
    const found = await explain([`${world.name}@${flagged.snapshot}`]);
    assert.match(found.stdout, new RegExp(`^only attributes changed: mode +${MANY} `, 'm'));
  });

  it('names another rsync of the host that did not link', async () => {
    await answerWith([
      'for each; do case "$each" in --link-dest=*) ;; *) set -- "$@" "$each" ;; esac; shift; done',
      `if [ "$*" = --version ]; then ${other.real} --version | sed '1s/version [0-9.]*/version 3.9.9/'; exit; fi`,
      `exec ${other.real} "$@"`,
    ]);
    const { snapshot, flags } = await site.keep();
    snapshots.push(snapshot);
    assert.deepEqual(
      flags.filter(each => each.startsWith('few-linked-')),
      ['few-linked-rsync'],
    );
    const found = await explained([`${world.name}@${snapshot}`]);
    assert.deepEqual(byCause(found), { rsync: found.files });
    assert.equal(found.rsync.host, '3.9.9');
    assert.notEqual(found.rsync_before?.host, '3.9.9');
  });

  it('reads the files where a manifest is missing or damaged, and says so', async () => {
    const [first = '', second = ''] = snapshots;
    const manifest = (snapshot: string): string =>
      join(world.shelf, 'snapshots', snapshot, 'manifest.mtree.gz');
    const wanted = byCause(await explained([`${world.name}@${second}`]));
    const content = readFileSync(manifest(first));
    truncateSync(manifest(first), Math.floor(content.length / 2));
    rmSync(manifest(second));
    const { status, stdout, stderr } = await explain([`${world.name}@${second}`, '--json']);
    assert.equal(status, 0);
    const found = JSON.parse(stdout) as Explained;
    assert.deepEqual(found.manifests, [
      { ...found.manifests[0], snapshot: first, problem: 'damaged' },
      { snapshot: second, problem: 'missing', found: null },
    ]);
    const { moved = 0, new: fresh = 0, ...rest } = wanted;
    assert.deepEqual(byCause(found), { ...rest, new: fresh + moved });
    // A file that cannot be read is named, and the others are explained.
    const unreadable = join(world.tree(first), at('chmod/below/file 0'));
    const { mode } = statSync(unreadable);
    chmodSync(unreadable, 0);
    const partly = await explain([`${world.name}@${second}`, at('chmod'), '--json']);
    assert.equal(partly.status, 1);
    assert.deepEqual(byCause(JSON.parse(partly.stdout)), { 'attributes mode': FILES - 1, unreadable: 1 });
    assert.match(partly.stderr, /chmod\/below\/file 0": /);
    chmodSync(unreadable, mode);
    const next = [...stderr.matchAll(/^next: dialback (verify \S+) \(/gm)].map(each => each[1] ?? '');
    assert.deepEqual(next, [`verify ${world.name}@${first}`, `verify ${world.name}@${second}`]);
    // The steps are followed as printed: one tells the damage, the other one makes the manifest.
    const verify = async (words: string): Promise<Result> =>
      await world.run(world.host, [...words.split(' '), '--config', world.hostToml]);
    const damaged = await verify(next[0] ?? '');
    assert.notEqual(damaged.status, 0);
    assert.match(damaged.stderr, /manifest\.mtree\.gz/);
    await verify(next[1] ?? '');
    writeFileSync(manifest(first), content);
    assert.deepEqual(byCause(await explained([`${world.name}@${second}`])), wanted);
  });

  it('compares with the one before where the basis was removed, and says so', async () => {
    const [first = '', second = '', third = ''] = snapshots;
    const removed = await world.run(world.host, [
      ...['remove', `${world.name}@${second}`, '--confirm', `${world.name}@${second}`],
      ...['--config', world.hostToml],
    ]);
    assert.equal(removed.status, 0, removed.stderr);
    const found = await explained([`${world.name}@${third}`]);
    assert.deepEqual(
      [found.compared_with, found.compared_because, found.basis_removed],
      [first, 'before', true],
    );
    const causes = byCause(found);
    assert.equal(causes['attributes owner'], FILES);
    // The run linked these against the snapshot that is gone, and that one could not link them against the first.
    assert.ok((causes['other-basis'] ?? 0) > 1, JSON.stringify(causes));
  });

  it('refuses what it cannot explain', async () => {
    const [first = '', , third = ''] = snapshots;
    const cases: [string[], number, RegExp][] = [
      [[`${world.name}@${first}`, first], 2, says('both-names-are-of-this')],
      [[`${world.name}@${first}`, `oak@${third}`], 2, says('the-two-snapshots-are-not')],
      [[`${world.name}@1999`], 1, says('there-is-no-such-snapshot')],
      [[`${world.name}@${third}`, '1999'], 1, says('there-is-no-such-snapshot')],
      [[`${world.name}@${third}`, '/nothing'], 1, /neither .* nor .* has it/],
      [[`${world.name}@${first}`, '/nothing'], 1, says('snapshot-does-not-have-it', first)],
      [[`${world.name}@${third}`, '/a/../b'], 2, says('it-is-not-an-absolute')],
      [['oak'], 1, says('the-store-has-no-client')],
    ];
    for (const [words, status, message] of cases) {
      const result = await explain(words);
      assert.equal(result.status, status, `${words.join(' ')}: ${result.stderr}`);
      assert.match(result.stderr, message);
      assert.equal(result.stdout, '');
    }
    const same = await explain([`${world.name}@${first}`, first]);
    assert.match(same.stderr, new RegExp(`^next: dialback list ${world.name}$`, 'm'));
    const listed = await world.run(world.host, ['list', world.name, '--config', world.hostToml]);
    assert.equal(listed.status, 0);
    assert.ok(listed.stdout.includes(third));
  });

  /** From now on the host has another rsync: this script. */
  async function answerWith(script: string[]): Promise<void> {
    const rsync = other.write(script);
    const { host } = world;
    const words = 'mount --bind "$1" /usr/bin/rsync && shift && exec setpriv --clear-groups "$@"';
    const account = [`--reuid=${host.uid}`, `--regid=${host.gid}`, '--'];
    const sshd = [...account, '/usr/sbin/sshd', '-i', '-e', '-f', join(host.home, 'sshd/config')];
    const made = createServer({ pauseOnConnect: true }, socket => {
      const args = ['--mount', '/bin/sh', '-c', words, 'sh', rsync, ...sshd];
      const child = spawn('/usr/bin/unshare', args, { cwd: '/', env: {}, stdio: [socket, socket, 'ignore'] });
      child.once('spawn', () => socket.destroy());
    });
    server = made;
    await new Promise<void>(resolve => made.listen(0, '127.0.0.1', resolve));
    const address = made.address();
    world.port = typeof address === 'object' && address ? address.port : 0;
    const key = readFileSync(join(host.home, 'sshd/key.pub'), 'utf8').trim();
    const known = join(world.client.home, '.ssh/known_hosts');
    world.write(world.client, known, `[127.0.0.1]:${world.port} ${key}\n`);
    world.configure();
  }
});
