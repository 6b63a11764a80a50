// Goal: whoever holds the one-time key gets rsync, reading, once, and nothing else: no other command, no second session,
// no forwarding, no terminal, no file transfer. The test plays a hostile host: its forced command keeps the request.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { decodeRequest } from '../../../src/wire/request.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort, some } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, type Running, until, World } from '../../support/world.ts';

const ALLOWED = 'rsync --server --daemon .';

/** A hostile host in the middle of a run: it has the key and the port, and the client waits for it. */
class Hostile {
  readonly world: World;
  readonly port: number;
  readonly run: Running;
  readonly #key: string;

  private constructor(world: World, port: number, key: string, run: Running) {
    this.world = world;
    this.port = port;
    this.#key = key;
    this.run = run;
  }

  static async begin(world: World): Promise<Hostile> {
    const { host, client } = world;
    const call = join(host.home, 'call');
    const request = join(host.home, 'request');
    world.write(host, call, '');
    world.write(host, request, '');
    const key = readFileSync(join(client.home, '.ssh/id_ed25519.pub'), 'utf8');
    const script = `printf %s \\"$SSH_ORIGINAL_COMMAND\\" > '${call}'; exec cat > '${request}'`;
    world.write(host, world.authorizedKeys, `restrict,command="${script}" ${key}`);
    const run = world.start(client, world.binary, ['backup', '--json', '--config', world.clientToml]);
    await until('the request has come', () => 'request' in decodeRequest(readFileSync(request)));
    const decoded = decodeRequest(readFileSync(request));
    assert.ok('request' in decoded);
    const path = join(host.home, 'stolen key');
    world.write(host, path, decoded.request.key);
    return new Hostile(world, Number(readFileSync(call, 'utf8').split(':')[1]), path, run);
  }

  /** ssh with the one-time key, as the host's user. */
  start(args: string[], command: string[] = [], environment: Record<string, string> = {}): Running {
    const { host, client } = this.world;
    const options = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'BatchMode=yes',
      'LogLevel=ERROR',
    ];
    return this.world.start(
      host,
      '/usr/bin/ssh',
      [
        ...['-F', 'none', '-i', this.#key, '-p', String(this.port), '-l', client.login],
        ...options.flatMap(each => ['-o', each]),
        ...args,
        '127.0.0.1',
        ...command,
      ],
      { environment, timeoutMs: 20_000, keepsInput: true },
    );
  }

  async ssh(args: string[], command: string[] = []): Promise<Result> {
    const { child, done } = this.start(args, command);
    child.stdin?.end();
    return await done;
  }

  /** Hangs up, and waits for the client's end. */
  async end(): Promise<Result> {
    this.run.child.kill('SIGTERM');
    return await this.run.done;
  }
}

describe('the one-time key', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'a file'), 'content');
  });
  after(async () => {
    await world.dispose();
  });

  let hostile: Hostile;
  beforeEach(async () => {
    hostile = await Hostile.begin(world);
  });
  afterEach(async () => {
    await hostile.end();
    await until('the client has cleaned up', () => world.leftovers().length === 0);
  });

  const refusedEvents = (): Record<string, unknown>[] =>
    world.journal('client').filter(each => each.event === 'refused');

  it('runs none of these commands', async () => {
    const marker = join(world.client.home, 'marker');
    const everyByte = String.fromCharCode(...Array.from({ length: 127 }, (_, index) => index + 1));
    const commands = [
      'id',
      `touch '${marker}'`,
      `${ALLOWED} `,
      ` ${ALLOWED}`,
      `${ALLOWED}; touch '${marker}'`,
      `${ALLOWED}\ntouch '${marker}'`,
      `${ALLOWED} --config=/dev/null`,
      'rsync --server --sender -logDtpre.iLsfxCIvu . /',
      'rsync --server -logDtpre.iLsfxCIvu . /tmp',
      'rsync --server --daemon --config=/tmp/x .',
      '/usr/bin/rsync --server --daemon .',
      `nice -n20 ${ALLOWED}`,
      `nice -n-5 ${ALLOWED}`,
      `ionice -c1 ${ALLOWED}`,
      `env A=B ${ALLOWED}`,
      `$(touch '${marker}')`,
      everyByte,
      'x'.repeat(100 * 1024),
    ];
    for (const command of some(commands, 3)) {
      const before = refusedEvents().length;
      const { status, stdout, stderr } = await hostile.ssh([], [command]);
      assert.equal(status, 12, command.slice(0, 60));
      assert.equal(stdout, '');
      assert.match(stderr, matching`^${says('cannot-let-this-in')}: [^\n]*\n$`);
      assert.equal(refusedEvents().length, before + 1, 'a line in the journal');
    }
    assert.ok(!existsSync(marker));
  });

  itLong('runs nothing when the command is longer than an environment string can be', async () => {
    const before = refusedEvents().length;
    // On ssh's command line an argument has the same limit: so it comes in several.
    const words = Array.from({ length: 4 }, () => 'x'.repeat(60 * 1024));
    const { status, stdout } = await hostile.ssh([], words);
    assert.notEqual(status, 0);
    assert.equal(stdout, '');
    assert.equal(refusedEvents().length, before, 'the gate was not reached');
  });

  itShort('opens no login, no terminal and no subsystem', async () => {
    const before = refusedEvents().length;
    const login = await hostile.ssh(['-T']);
    assert.equal(login.status, 12);
    assert.equal(login.stdout, '');
    assert.equal(refusedEvents().length, before + 1);
    const terminal = await hostile.ssh(['-tt'], [ALLOWED]);
    assert.equal(terminal.status, 255);
    assert.match(terminal.stderr, /PTY allocation request failed/);
    const sftp = await hostile.ssh(['-s'], ['sftp']);
    assert.notEqual(sftp.status, 0);
    assert.equal(sftp.stdout, '');
  });

  itShort('forwards nothing, in neither direction', async () => {
    const target = `127.0.0.1:${world.port}`;
    const remote = await hostile.ssh(['-N', '-o', 'ExitOnForwardFailure=yes', '-R', `0:${target}`]);
    assert.equal(remote.status, 255);
    assert.match(remote.stderr, /forwarding failed/);
    for (const [option, greeting] of [
      ['-L', ''],
      ['-D', '\x05\x01\x00'],
    ] as const) {
      const local = join(world.host.home, `forward${option}`);
      const where = option === '-L' ? `${local}:${target}` : local;
      const ssh = hostile.start(['-N', option, where]);
      await until('ssh listens', () => existsSync(local));
      const answer = await speak(local, greeting, world.port);
      assert.doesNotMatch(answer, /SSH-2\.0/, `${option} reached the host's sshd`);
      ssh.child.kill('SIGTERM');
      await ssh.done;
    }
  });

  itLong('authenticates and then does nothing: the run goes on without it', async () => {
    const idle = hostile.start(['-N', '-v']);
    let words = '';
    idle.child.stderr?.on('data', (text: string) => {
      words += text;
    });
    await until('it has authenticated', () => /Authenticated to/.test(words));
    const reader = hostile.start([], [ALLOWED]);
    await until('the reader was let in', () =>
      world.journal('client').some(each => each.event === 'granted'),
    );
    // Who takes the ticket wins; the others are ended.
    assert.equal((await idle.done).status, 255);
    reader.child.kill('SIGTERM');
    await reader.done;
  });

  itShort('lets one session read, with an environment of constants, and no second one', async () => {
    const grants = (): number => world.journal('client').filter(each => each.event === 'granted').length;
    const before = grants();
    const reader = hostile.start(['-A', '-X'], [ALLOWED], { DISPLAY: ':7', SSH_AUTH_SOCK: '/tmp/nothing' });
    await until('the grant is on record', () => grants() === before + 1);
    const command = `rsync --server --daemon --config=${world.clientState}`;
    await until('the gate is rsync', () => world.processes().some(each => each.command.includes(command)));
    const rsync = world.processes().find(each => each.command.includes(command));
    const names = readFileSync(`/proc/${rsync?.pid}/environ`, 'latin1').split('\0');
    assert.deepEqual(names.filter(each => each !== '').sort(), [
      'LC_ALL=C',
      'PATH=/usr/bin:/bin:/usr/sbin:/sbin',
    ]);
    const nice = readFileSync(`/proc/${rsync?.pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[16];
    assert.equal(nice, '10', "the client's own limit");
    const score = readFileSync(`/proc/${rsync?.pid}/oom_score_adj`, 'latin1').trim();
    assert.equal(score, '1000', 'out of memory, it is the first to go');
    const second = await hostile.ssh([], [ALLOWED]);
    assert.equal(second.status, 255);
    assert.match(second.stderr, /Connection refused|Connection reset|Connection closed/);
    assert.equal(grants(), before + 1);
    reader.child.kill('SIGTERM');
    await reader.done;
  });
});

/** What comes back through a forwarding: all that is sent before the other side closes. */
function speak(socketPath: string, greeting: string, port: number): Promise<string> {
  return new Promise(resolve => {
    let answer = '';
    const socket = connect(socketPath);
    socket.setTimeout(3_000, () => socket.destroy());
    if (greeting !== '') {
      socket.write(greeting, 'latin1');
      socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
    }
    socket.on('data', chunk => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
  });
}
