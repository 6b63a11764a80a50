// Goal: a client gets a new key while backups go on: the host accepts both keys until the first good run with the new one, and only the
// new one after it. A kill at any step leaves a key that works, and the same command completes the rotation.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lastOutcome } from '../../support/hostile-client.ts';
import { itLong } from '../../support/long.ts';
import { tracedChanges } from '../../support/traced-changes.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

/** System calls that change the disk: a kill comes right before one of them. */
const CHANGES = 'rename,renameat,renameat2,unlink,unlinkat,openat,write,fsync,chmod';

describe('the rotation of a key', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let identity: string;
  before(async () => {
    world = await World.make();
    world.configure({ remote: 'name = "vault"\ntransport = "channel"' });
    identity = join(world.client.home, '.ssh/id_ed25519');
    writeFileSync(join(world.data, 'letter'), 'a letter');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world?.dispose();
  });

  const rotate = async (...args: string[]): Promise<Result> =>
    await world.run(world.client, ['rotate-key', '--config', world.clientToml, ...args]);
  const enrolling = (...args: string[]): string[] => [
    ...[
      'enroll',
      '--from',
      '-',
      '--config',
      world.hostToml,
      '--authorized-keys',
      world.authorizedKeys,
      ...args,
    ],
  ];
  const enroll = async (line: string, ...args: string[]): Promise<Result> =>
    await world.run(world.host, enrolling(...args), { input: line });
  const keyOf = (path: string): string => readFileSync(`${path}.pub`, 'utf8').split(' ')[1] ?? '';
  const linesThere = (): string[] => readFileSync(world.authorizedKeys, 'utf8').trim().split('\n');
  const keysJson = (): { current: string | null; pending: string | null } =>
    JSON.parse(readFileSync(join(world.shelf, 'keys.json'), 'utf8'));
  const backup = async (): Promise<void> => {
    const { status, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
  };
  const keep = (name: string): string => {
    const copy = join(world.client.home, name);
    for (const end of ['', '.pub']) {
      copyFileSync(`${identity}${end}`, `${copy}${end}`);
      world.own(world.client, `${copy}${end}`);
    }
    return copy;
  };
  /** The code of a run by hand with a key; `denied` if sshd refuses the key. */
  const callWith = async (key: string): Promise<string> => {
    const { client, host, port, address, name } = world;
    const options = [
      '-F',
      'none',
      '-i',
      key,
      '-o',
      'BatchMode=yes',
      '-o',
      'IdentitiesOnly=yes',
      '-p',
      String(port),
    ];
    const session = world.start(
      client,
      '/usr/bin/ssh',
      [...options, '-l', host.login, address, `${name}:channel`],
      { input: 'nonsense\n' },
    );
    const { stderr } = await session.done;
    return /Permission denied/.test(stderr) ? 'denied' : (lastOutcome(stderr)?.code ?? stderr);
  };
  let old = '';
  let line = '';

  it('makes a key that the host does not know, while backups go on with the old one', async () => {
    assert.equal((await rotate('--cancel')).status, 1);
    old = keep('old');
    const made = await rotate('--batch');
    assert.equal(made.status, 0, made.stderr);
    line = made.stdout;
    assert.match(line, /^acorn ssh-ed25519 \S{68}\n$/);
    assert.equal(keyOf(identity), keyOf(old));
    const early = await rotate('--batch');
    assert.equal(early.status, 12, early.stderr);
    assert.equal(early.stdout, line);
    assert.match(early.stderr, /next: .* --rotate/);
    assert.equal(keyOf(identity), keyOf(old));
    await backup();
    assert.equal((await rotate('--cancel')).status, 0);
    line = (await rotate('--batch')).stdout;
  });

  it('has both keys accepted after `enroll --rotate`, which changes nothing the second time', async () => {
    assert.equal((await enroll(line)).status, 12);
    const unknown = await enroll(line.replace('acorn', 'elm'), '--rotate');
    assert.equal(unknown.status, 12);
    const first = await enroll(line, '--rotate');
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stdout, /^acorn: .*both keys/);
    assert.equal(linesThere().length, 2);
    assert.equal(keysJson().current, null);
    // A script that enrolls by either key changes nothing.
    for (const again of [line, `acorn ${readFileSync(`${old}.pub`, 'utf8')}`])
      for (const more of [[], ['--rotate']])
        assert.match((await enroll(again, ...more)).stdout, /unchanged: 1 client/);
    await backup();
    assert.notEqual(keysJson().pending, null);
    assert.equal(await callWith(old), 'request');
    const doctor = await world.run(world.host, ['doctor', '--host', '--json', '--config', world.hostToml]);
    assert.doesNotMatch(doctor.stdout, /authorized_keys.* not bound/);
  });

  it('refuses the old key after the first good run with the new one, whatever authorized_keys has', async () => {
    const before = linesThere();
    const switched = await rotate('--json');
    assert.equal(switched.status, 0, switched.stderr);
    assert.equal((JSON.parse(switched.stdout) as { did: string }).did, 'switched');
    assert.ok(line.includes(keyOf(identity)));
    assert.deepEqual(
      readdirSync(world.clientState).filter(each => each.startsWith('next-key')),
      [],
    );
    // A dry run and a refused call do not settle it.
    assert.equal((await world.backup(['--dry-run'])).status, 0);
    assert.equal(await callWith(old), 'request');
    await backup();
    assert.deepEqual([keysJson().current === null, keysJson().pending], [false, null]);
    assert.equal(linesThere().length, 1);
    assert.ok(linesThere()[0]?.includes(keyOf(identity)));
    assert.equal(await callWith(old), 'denied');
    world.write(world.host, world.authorizedKeys, `${before.join('\n')}\n`);
    assert.equal(await callWith(old), 'unenrolled');
    assert.equal(await callWith(identity), 'request');
    assert.equal((await enroll(`acorn ${readFileSync(`${old}.pub`, 'utf8')}`)).status, 12);
    assert.equal((await enroll(line)).status, 0);
    assert.equal(linesThere().length, 1);
    assert.equal(await callWith(old), 'denied');
  });

  itLong('is undone by `enroll --replace`, and survives another name', async () => {
    const renamed = ['rename', 'acorn', 'desk', '--config', world.hostToml];
    const host = async (...args: string[]): Promise<Result> =>
      await world.run(world.host, [...args, '--authorized-keys', world.authorizedKeys]);
    assert.equal((await host(...renamed)).status, 0);
    assert.match(linesThere()[0] ?? '', / grab --key [0-9a-f]{16} --client desk /);
    assert.equal((await host('rename', 'desk', 'acorn', '--config', world.hostToml)).status, 0);
    await backup();
    const replaced = await enroll(`acorn ${readFileSync(`${old}.pub`, 'utf8')}`, '--replace');
    assert.equal(replaced.status, 0, replaced.stderr);
    assert.equal(existsSync(join(world.shelf, 'keys.json')), false);
    assert.equal(await callWith(identity), 'denied');
    assert.equal(await callWith(old), 'request');
    for (const end of ['', '.pub']) copyFileSync(`${old}${end}`, `${identity}${end}`);
    await backup();
  });

  /** Runs a command to its end. @returns the changes of its main thread, as strace(1) names them for an injection */
  async function changesOf(
    start: (strace: string[]) => Promise<Result>,
    from: RegExp,
    log: string,
  ): Promise<string[]> {
    const whole = await start(['-e', `trace=${CHANGES}`, '-o', log]);
    assert.equal(whole.status, 0, whole.stderr);
    const calls = tracedChanges(readFileSync(log, 'latin1'));
    rmSync(log);
    const first = calls.findIndex(({ rest }) => from.test(rest));
    assert.ok(first >= 0, JSON.stringify(calls));
    return calls.slice(first).map(({ at }) => at);
  }

  itLong(
    'is completed by the same command when the client is killed, and a backup works before that',
    async () => {
      const start = async (strace: string[]): Promise<Result> =>
        await world.start(world.client, '/usr/bin/strace', [
          ...['-f', '-qq', '--seccomp-bpf', ...strace, '--', world.binary],
          ...['rotate-key', '--config', world.clientToml],
        ]).done;
      const prepare = async (): Promise<void> => {
        const made = await rotate('--batch');
        assert.equal(made.status, 0, made.stderr);
        assert.equal((await enroll(made.stdout, '--rotate')).status, 0);
      };
      await prepare();
      const changes = await changesOf(start, /id_ed25519|next-key/, join(world.client.home, 'trace'));
      assert.ok(changes.length > 6, changes.join());
      await backup();
      for (const at of changes) {
        await prepare();
        await start(['-e', `inject=${at}`, '-o', '/dev/null']);
        await backup();
        const again = await rotate('--json');
        assert.equal(again.status, 0, `${at}: ${again.stderr}`);
        // A call that was killed after the last step leaves nothing to complete: this one has made another key.
        if ((JSON.parse(again.stdout) as { did: string }).did === 'made') await rotate('--cancel');
        await backup();
        assert.equal(linesThere().length, 1, at);
        assert.ok(linesThere()[0]?.includes(keyOf(identity)), at);
      }
    },
  );

  itLong(
    'is completed by the same command when the host is killed, and the old key works meanwhile',
    async () => {
      let next = '';
      const start = async (strace: string[]): Promise<Result> =>
        await world.start(
          world.host,
          '/usr/bin/strace',
          ['-f', '-qq', '--seccomp-bpf', ...strace, '--', world.binary, ...enrolling('--rotate')],
          { input: next },
        ).done;
      const prepare = async (): Promise<void> => {
        await rotate('--cancel');
        next = (await rotate('--batch')).stdout;
      };
      await prepare();
      const changes = await changesOf(start, /keys\.json/, join(world.host.home, 'trace'));
      assert.ok(changes.length > 6, changes.join());
      for (const at of changes) {
        await prepare();
        await start(['-e', `inject=${at}`, '-o', '/dev/null']);
        await backup();
        assert.equal((await enroll(next, '--rotate')).status, 0, at);
        await backup();
        assert.equal((await rotate('--json')).status, 0, at);
        await backup();
        assert.equal(linesThere().length, 1, at);
        assert.equal(keysJson().pending, null);
      }
    },
  );
});
