/** One client, one host and one way between them: a backup, its restore as root, a fetch by the client, and an unchanged second run. */
import assert from 'node:assert/strict';
import { diffManifests, type Manifest, manifest } from '../support/manifest.ts';
import type { Done } from '../support/world.ts';
import { type Account, type Cable, KEPT, SECRETS, type Station, TREE } from './station.ts';

/** How the client's rsync gets the right to read all files, and whether the host's rsync is in a jail. */
export type Right = 'confined' | 'inherited' | 'unconfined';

export interface Way {
  transport: 'direct' | 'channel' | 'local';
  right: Right;
}

export function nameOf({ transport, right }: Way): string {
  return `${transport}, ${right}`;
}

interface Snapshot {
  transport: string;
  confined: { send: boolean; receive: boolean };
}

/** The files of one combination, which shares only the machines with others. */
export class Run {
  readonly client: Station;
  readonly host: Station;
  readonly way: Way;
  readonly cable: Cable;
  /** Its name in the store. */
  readonly name: string;
  /** The client's folder: key, config, state. */
  readonly folder: string;

  /** @param purpose tells two runs of one combination apart */
  constructor(client: Station, host: Station, way: Way, cable: Cable, purpose = 'backup') {
    [this.client, this.host, this.way, this.cable] = [client, host, way, cable];
    this.name = `${client.name}-${way.transport}-${way.right}-${purpose}`;
    this.folder = `/var/lib/dialback/${host.name}-${way.transport}-${way.right}-${purpose}`;
  }

  get clientConfig(): string {
    return `${this.folder}/client.toml`;
  }

  get receiver(): Account {
    return this.way.transport === 'local' ? 'dialback' : 'vault';
  }

  get hostConfig(): string {
    if (this.way.transport === 'local') return '/var/lib/dialback/.config/dialback/host.toml';
    return `/home/vault/${this.way.right === 'unconfined' ? 'plain' : 'confined'}.toml`;
  }

  get store(): string {
    if (this.way.transport === 'local') return '/var/lib/dialback/the store';
    return `/home/vault/${this.way.right === 'unconfined' ? 'plain' : 'the store'}`;
  }

  snapshot(name: string): string {
    return `${this.store}/clients/${this.name}/snapshots/${name}`;
  }

  /** The files that the client backs up. */
  get roots(): string[] {
    return this.way.right === 'unconfined' ? [TREE, KEPT] : [TREE, KEPT, SECRETS];
  }

  async prepare(): Promise<void> {
    const { client, host, folder, name } = this;
    await client.say('dialback', `mkdir -m 700 ${folder}`);
    if (this.way.transport === 'local') {
      await client.enroll('dialback', `dialback enroll ${name} --local --store '${this.store}' 2>&1`);
    } else {
      const key = await client.say(
        'dialback',
        `ssh-keygen -q -t ed25519 -N '' -f ${folder}/key &&
         echo '${this.cable.host} ${host.hostKey}' >${folder}/known_hosts && cat ${folder}/key.pub`,
      );
      await host.enroll(
        'vault',
        `echo '${key}' | dialback enroll ${name} - --config ${this.hostConfig} 2>&1`,
      );
    }
    const toml = [
      `name = "${name}"`,
      `state = "${folder}/state"`,
      `capability = "${this.way.right === 'unconfined' ? 'none' : this.way.right}"`,
      '[[remote]]',
      ...this.#remote(),
      '[scope]',
      `roots = [${this.roots.map(each => `"${each}"`).join(', ')}]`,
      'exclude = ["*.o"]',
      `never = ["${KEPT}/never"]`,
      '[limits]',
      'deadline = "4m"',
      'compress = "no"',
      // No low priority: the machine has other work.
      'nice = 0',
      'ionice = "none"',
    ];
    await client.say('dialback', `umask 077; cat >${this.clientConfig} <<'END'\n${toml.join('\n')}\nEND`);
  }

  #remote(): string[] {
    const { transport } = this.way;
    if (transport === 'local')
      return ['name = "disk"', 'transport = "local"', `target = "${this.store}"`, 'same_filesystem = true'];
    const remote = [
      'name = "vault"',
      `target = "ssh://vault@${this.cable.host}"`,
      `identity = "${this.folder}/key"`,
      `known_hosts = "${this.folder}/known_hosts"`,
      `transport = "${transport}"`,
    ];
    if (transport === 'channel') return remote;
    return [...remote, `from = ["${this.cable.host}"]`, `listen = "${this.cable.client}:0"`];
  }

  async backup(): Promise<Done> {
    const { status, output } = await this.client.run(
      'dialback',
      `dialback backup --json --config ${this.clientConfig}`,
    );
    const journal = (): string => {
      try {
        return (
          this.host.read(`${this.store}/clients/${this.name}/journal.jsonl`).trim().split('\n').at(-1) ?? ''
        );
      } catch {
        return 'no journal of the host';
      }
    };
    assert.equal(status, 0, `${output}\n${journal()}`);
    const last = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Done;
    assert.equal(last.outcome, 'full', output);
    return last;
  }

  /** Restores the newest snapshot as root and compares it. */
  async restore(): Promise<void> {
    const to = `/srv/restored-${this.name}`;
    await this.host.say(
      'root',
      `dialback restore ${this.name} --config '${this.hostConfig}' --to '${to}' 2>&1`,
    );
    const { tree, secrets } = this.client.source;
    assertSame(tree, manifest(this.host.path(`${to}${TREE}`)));
    if (this.roots.includes(SECRETS)) assertSame(secrets, manifest(this.host.path(`${to}${SECRETS}`)));
    const kept = [...manifest(this.host.path(`${to}${KEPT}`)).keys()];
    assert.deepEqual(kept, ['.', 'file', 'folder', 'folder/file'], 'what is excluded, or never read');
    await this.host.say('root', `rm -rf '${to}'`);
  }

  /** Lets the client fetch a part of the newest snapshot, as root, and compares it. */
  async fetch(): Promise<void> {
    const { client, host, name } = this;
    const file = `${KEPT}/folder/file`;
    const said = await host.say(
      'vault',
      `dialback offer ${name} '${TREE}' '${file}' --json --config ${this.hostConfig}`,
    );
    const { code } = JSON.parse(said) as { code: string };
    const to = `/root/fetched-${host.name}-${this.name}`;
    await client.say('root', `dialback fetch ${code} --config ${this.clientConfig} --to ${to} 2>&1`);
    assertSame(client.source.tree, manifest(client.path(`${to}${TREE}`)));
    assert.equal(client.read(`${to}${file}`), client.read(file));
    const others = [...manifest(client.path(`${to}/srv`)).keys()].filter(
      each => each !== '.' && !`/srv/${each}`.startsWith(TREE),
    );
    assert.deepEqual(others, ['kept', 'kept/folder', 'kept/folder/file'], 'what was not offered');
    await client.say('root', `rm -rf ${to}`);
  }

  /** Whether two snapshots share the inodes of all entries except folders. */
  compareInodes(older: string, newer: string): void {
    const read = (snapshot: string): Manifest =>
      manifest(this.host.path(`${this.snapshot(snapshot)}/tree${TREE}`), {
        includeInode: true,
        without: ['xattrs', 'holes', 'sha256'],
      });
    const first = read(older);
    let compared = 0;
    for (const [path, { type, inode }] of read(newer)) {
      if (type === 'folder') continue;
      assert.equal(inode, first.get(path)?.inode, `${path} is another file in the second snapshot`);
      compared += 1;
    }
    assert.ok(compared > 500, `${compared} files`);
  }
}

function assertSame(source: Manifest, restored: Manifest): void {
  assert.deepEqual(diffManifests(source, restored), [], 'restored tree');
}

/** Runs one combination. The snapshots are small and stay until the machine ends. @throws with the first failed check */
export async function runCombination(client: Station, host: Station, way: Way, cable: Cable): Promise<void> {
  const run = new Run(client, host, way, cable);
  await run.prepare();
  const first = await run.backup();
  const record = JSON.parse(host.read(`${run.snapshot(first.snapshot ?? '')}/snapshot.json`)) as Snapshot;
  assert.equal(record.transport, way.transport);
  assert.deepEqual(
    [record.confined.send, record.confined.receive],
    [way.right === 'confined', way.right !== 'unconfined'],
    'confined',
  );
  await run.restore();
  if (way.transport !== 'local') await run.fetch();
  const second = await run.backup();
  assert.equal(second.transferred_bytes, 0, 'what an unchanged run transfers');
  run.compareInodes(first.snapshot ?? '', second.snapshot ?? '');
}
