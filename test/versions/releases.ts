/**
 * The releases before this version, as client of a host of this version and the other way round. Each is built from git's history with
 * the packages that are installed here. The accounts, ssh, sshd and rsync are those of this machine.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { encodeCode, SECRET_BYTES } from '../../src/wire/offer-code.ts';
import { TOP } from '../support/checkout.ts';
import { diffManifests, manifest } from '../support/manifest.ts';
import { matching, says } from '../support/wording.ts';
import { type Done, type Result, World } from '../support/world.ts';

/** How this version is called in the table. */
export const THIS_VERSION = 'this version';

/** The releases that are tested. */
export const RELEASES = ['0.1.0', '0.1.1'];

/** Client and host; one of them is this version. */
export const RELEASE_PAIRS: [client: string, host: string][] = RELEASES.flatMap(
  (each): [string, string][] => [
    [each, THIS_VERSION],
    [THIS_VERSION, each],
  ],
);

function git(...args: string[]): string {
  return execFileSync('git', ['-C', TOP, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 }).trim();
}

/** The commit of each release, by its version. */
let commits: Map<string, string> | undefined;

/**
 * Finds the commit of a release: the one that set this version; for the first version, the last one before the next.
 * @returns undefined if the history does not go back so far
 */
function commitOf(version: string): string | undefined {
  if (commits === undefined) {
    commits = new Map();
    const setting = git('log', '--format=%H', '-G^  "version":', '--', 'package.json').split('\n').reverse();
    for (const [at, commit] of setting.entries()) {
      const next = setting[at + 1];
      const own = at === 0 && next !== undefined ? `${next}^` : commit;
      const { version: found } = JSON.parse(git('show', `${own}:package.json`)) as { version: string };
      if (!commits.has(found)) commits.set(found, own);
    }
  }
  return commits.get(version);
}

/** @returns why the releases cannot be built here; undefined if they can */
export function whyNoReleases(): string | undefined {
  try {
    if (git('rev-parse', '--is-shallow-repository') === 'true')
      return 'this clone is shallow: git fetch --unshallow gets the history that the older releases are built from';
  } catch {
    return 'older releases need a clone with its history';
  }
  const missing = RELEASES.find(each => commitOf(each) === undefined);
  return missing === undefined ? undefined : `the history lacks release ${missing}`;
}

/** The executables, built when they are first needed. */
export class Releases {
  readonly #folder: string;
  readonly #built = new Map<string, string>();

  /** @param folder for the builds; it exists */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @returns the path of the executable of a version */
  executable(version: string): string {
    if (version === THIS_VERSION) return join(TOP, 'dist/dialback');
    const built = this.#built.get(version) ?? this.#build(version);
    this.#built.set(version, built);
    return built;
  }

  #build(version: string): string {
    const commit = commitOf(version);
    if (commit === undefined) throw new Error(`there is no commit of ${version}`);
    const folder = join(this.#folder, version);
    mkdirSync(folder, { recursive: true });
    execFileSync('tar', ['-x', '-C', folder], {
      input: execFileSync('git', ['-C', TOP, 'archive', commit], { maxBuffer: 1 << 28 }),
    });
    symlinkSync(join(TOP, 'node_modules'), join(folder, 'node_modules'));
    const PATH = `${join(TOP, 'node_modules/.bin')}:${process.env.PATH ?? ''}`;
    execFileSync(process.execPath, ['build.ts'], {
      cwd: folder,
      stdio: 'pipe',
      env: { ...process.env, PATH },
    });
    const executable = join(folder, 'dist/dialback');
    assert.equal(execFileSync(executable, ['version'], { encoding: 'utf8' }).trim(), `dialback ${version}`);
    return executable;
  }
}

const FILES = 200;
const CHANGED = 9;
/** The lines of client.toml for each transport. */
const REMOTES: Record<string, string> = {
  direct: 'name = "vault"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"',
  channel: 'name = "vault"\ntransport = "channel"',
};

/** A client and a host with different executables. */
class Pair {
  readonly world: World;
  readonly #client: string;

  private constructor(world: World) {
    this.world = world;
    this.#client = join(world.base, 'bin/client');
  }

  static async make(client: string, host: string): Promise<Pair> {
    const pair = new Pair(await World.make({ isSetUp: false }));
    pair.upgrade('client', client);
    pair.upgrade('host', host);
    return pair;
  }

  /** Puts another executable into its place. */
  upgrade(side: 'client' | 'host', executable: string): void {
    const to = side === 'client' ? this.#client : this.world.binary;
    rmSync(to, { force: true });
    copyFileSync(executable, to);
    chmodSync(to, 0o755);
  }

  /** Enrolls the client, and makes its files. */
  async setUp(transport: string): Promise<void> {
    const { world } = this;
    const { client, host } = world;
    world.keygen(client, join(client.home, '.ssh/id_ed25519'));
    const hostKey = readFileSync(join(host.home, 'sshd/key.pub'), 'utf8').trim();
    world.write(
      client,
      join(client.home, '.ssh/known_hosts'),
      `[${world.address}]:${world.port} ${hostKey}\n`,
    );
    world.write(host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
    this.configure(transport);
    const key = readFileSync(join(client.home, '.ssh/id_ed25519.pub'), 'utf8');
    requireStatus(await world.enroll(world.name, key), 0);
    for (let file = 0; file < FILES; file += 1) this.#write(file, 'first');
  }

  configure(transport: string, limits = ''): void {
    this.world.configure({ remote: REMOTES[transport] ?? '', limits: `deadline = "5m"\n${limits}` });
  }

  #write(file: number, content: string): void {
    const path = join(this.world.data, `file ${file}`);
    writeFileSync(path, `${content}, ${file}\n`);
    chownSync(path, this.world.client.uid, this.world.client.gid);
  }

  change(round: string): void {
    for (let file = 0; file < CHANGED; file += 1) this.#write(file, round);
  }

  /** Runs a command with the client's executable. */
  async client(...words: string[]): Promise<Result> {
    const { world } = this;
    return await world.start(world.client, this.#client, [...words, '--config', world.clientToml]).done;
  }

  async host(...words: string[]): Promise<Result> {
    const { world } = this;
    return await world.run(world.host, [...words, '--config', world.hostToml]);
  }

  /** @returns the last line of `backup --json` */
  async backup(status = 0): Promise<Done> {
    const result = await this.client('backup', '--json');
    requireStatus(result, status);
    await this.world.settled();
    return JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '') as Done;
  }

  get snapshots(): string[] {
    return readdirSync(join(this.world.shelf, 'snapshots')).sort();
  }

  /** Backs up after a change, and requires that only that was sent, and that the rest is linked. */
  async backUpChanges(round: string): Promise<void> {
    this.change(round);
    const done = await this.backup();
    assert.equal(done.outcome, 'full');
    assert.ok(done.transferred_bytes < CHANGED * 40, `${done.transferred_bytes} bytes were sent`);
    const inode = (snapshot: string, file: number): number =>
      statSync(join(this.world.tree(snapshot), this.world.data, `file ${file}`)).ino;
    const [before = '', newest = ''] = this.snapshots.slice(-2);
    assert.equal(inode(newest, FILES - 1), inode(before, FILES - 1));
    assert.notEqual(inode(newest, 0), inode(before, 0));
  }

  /** Restores the newest snapshot with the host's executable, and compares it with the client's files. */
  async requireRestored(): Promise<void> {
    const { world } = this;
    const to = join(world.base, `restored ${this.snapshots.length}`);
    requireStatus(
      await world.run('root', ['restore', world.name, '--to', to, '--config', world.hostToml]),
      0,
    );
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  }

  /** The reason of the last line in the client's journal on the host. */
  get reason(): string {
    return String(this.world.journal('host').at(-1)?.reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world.dispose();
  }
}

function requireStatus({ status, stdout, stderr }: Result, expected: number): void {
  assert.equal(status, expected, stdout + stderr);
}

/** One test of a pair. @throws with the difference */
type ReleaseTest = (executable: (version: string) => string, client: string, host: string) => Promise<void>;

function backupTest(transport: string): ReleaseTest {
  return async (executable, client, host) => {
    await using pair = await Pair.make(executable(client), executable(host));
    await pair.setUp(transport);
    assert.equal((await pair.backup()).outcome, 'full');
    await pair.backUpChanges('second');
    await pair.requireRestored();
  };
}

/** Both sides find no fault, and the client's has called the host. */
const doctorTest: ReleaseTest = async (executable, client, host) => {
  await using pair = await Pair.make(executable(client), executable(host));
  await pair.setUp('channel');
  await pair.backup();
  for (const { status, stdout, stderr } of [
    await pair.client('doctor', '--client'),
    await pair.host('doctor', '--host'),
  ]) {
    assert.ok(status === 0 || status === 1, stdout + stderr);
    assert.match(stdout, /^0 critical, .* 0 unknown, /m);
  }
};

/** Both sides are of the older release, and one of them is upgraded: it goes on with what is there. */
const upgradeTest: ReleaseTest = async (executable, client, host) => {
  const older = client === THIS_VERSION ? host : client;
  await using pair = await Pair.make(executable(older), executable(older));
  await pair.setUp('direct');
  await pair.backup();
  pair.upgrade('client', executable(client));
  pair.upgrade('host', executable(host));
  await pair.backUpChanges('after one upgrade');
  await pair.requireRestored();
  for (const side of ['client', 'host'] as const) pair.upgrade(side, executable(THIS_VERSION));
  await pair.backUpChanges('after both upgrades');
  await pair.requireRestored();
  requireStatus(await pair.host('verify', pair.world.name), 0);
};

/** Both sides name what does not work, and nothing is stored. */
const refusalTest: ReleaseTest = async (executable, client, host) => {
  await using pair = await Pair.make(executable(client), executable(host));
  await pair.setUp('channel');
  if (client !== THIS_VERSION) {
    await pair.backup();
    requireStatus(await pair.host('offer', pair.world.name), 0);
    const { status, stderr } = await pair.client('fetch', 'a code');
    assert.deepEqual([status, says('there-is-no-such-command').test(stderr)], [2, true], stderr);
    return;
  }
  for (const transport of Object.keys(REMOTES)) {
    pair.configure(transport, 'max_size = "1G"');
    const done = await pair.backup(12);
    assert.match(done.error ?? '', says('did-not-accept-the-request'));
    assert.match(pair.reason, says('a-key-that-this-version'));
  }
  const code = encodeCode(Buffer.alloc(SECRET_BYTES, 7));
  const fetched = await pair.client('fetch', code, '--to', join(pair.world.client.home, 'fetched'));
  requireStatus(fetched, 12);
  assert.match(fetched.stderr, matching`${says('did-not-accept-the-request')}\nnext: .*dialback version`);
  assert.match(pair.reason, /fetch/);
  assert.deepEqual(pair.snapshots, []);
};

/** The tests of a pair, by the column of the table. */
export const RELEASE_TESTS: Record<string, ReleaseTest> = {
  'backup and restore, direct': backupTest('direct'),
  'backup and restore, channel': backupTest('channel'),
  '`dialback doctor`': doctorTest,
  'an upgrade of one side, then of both': upgradeTest,
  'refusals that both name': refusalTest,
};
