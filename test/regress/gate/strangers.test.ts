// Goal: whoever else connects to the one-time listener costs a run nothing but a little time: peers from elsewhere, silent
// ones, 200 with a wrong key, one that authenticates and then does nothing.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { decodeRequest } from '../../../src/wire/request.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { fairClock } from '../../support/fair-time.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';
import { QUICK_EXCHANGE } from '../../support/sshd.ts';
import { NEEDS_ROOT, type Running, until, World } from '../../support/world.ts';

/** How much longer a run may take than one that nobody disturbs. */
const MORE_MS = 30_000;

describe('strangers at the listener', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let undisturbedMs = 0;
  let sockets: Socket[] = [];

  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'a file'), 'content');
    const clock = fairClock();
    assert.equal((await world.backup()).status, 0);
    undisturbedMs = clock();
    world.keygen(world.host, join(world.host.home, 'wrong key'));
    const { host } = world;
    // The host's forced command waits until the test lets it go on: by then the strangers are there.
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    const command = /command="([^"]*)"/.exec(enrolled)?.[1] ?? '';
    const gate = `printf %s \\"$SSH_ORIGINAL_COMMAND\\" > '${host.home}/call'; cat '${host.home}/go' > /dev/null; exec ${command}`;
    writeFileSync(world.authorizedKeys, enrolled.replace(`command="${command}"`, `command="${gate}"`));
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    world.configure();
    await until(
      `nothing is left: ${world.leftovers().join('; ')}`,
      () => world.leftovers().length === 0,
      15_000,
    );
  });

  /** Starts a run, has the strangers come, then lets the host go on; the run must succeed, and in time. */
  async function among(strangers: (port: number) => Promise<void>): Promise<void> {
    const { host } = world;
    world.write(host, join(host.home, 'call'), '');
    await world.start(host, '/usr/bin/mkfifo', ['-m', '600', join(host.home, 'go')]).done;
    const running = world.start(world.client, world.binary, [
      'backup',
      '--json',
      '--config',
      world.clientToml,
    ]);
    await Promise.race([
      until('the call has come', () => readFileSync(join(host.home, 'call'), 'utf8').includes(':')),
      running.done.then(result => assert.fail(`${result.stdout}${result.stderr}`)),
    ]);
    await strangers(Number(readFileSync(join(host.home, 'call'), 'utf8').split(':')[1]));
    const clock = fairClock();
    await world.start(host, '/bin/sh', ['-c', 'echo > "$1"; rm "$1"', 'sh', join(host.home, 'go')]).done;
    const { status, stdout, stderr } = await running.done;
    const tookMs = clock();
    assert.equal(status, 0, stdout + stderr);
    assert.ok(tookMs < undisturbedMs + MORE_MS, `${Math.round(tookMs)} ms`);
  }

  function stranger(port: number, from: string): Promise<Socket> {
    return new Promise(resolve => {
      const socket = connect({ port, host: '127.0.0.1', localAddress: from });
      sockets.push(socket);
      socket.on('error', () => {});
      socket.once('connect', () => resolve(socket));
    });
  }

  itShort('a peer that is not in `from` is closed before a byte is exchanged', async () => {
    await among(async port => {
      const socket = await stranger(port, '127.0.0.2');
      let heard = '';
      socket.on('data', chunk => {
        heard += chunk.toString('latin1');
      });
      await new Promise(resolve => socket.once('close', resolve));
      assert.equal(heard, '');
    });
  });

  itLong('one that says nothing', async () => {
    await among(async port => {
      await stranger(port, '127.0.0.1');
    });
  });

  itLong('twenty that say nothing, more than there are places', async () => {
    await among(async port => {
      for (let index = 0; index < 20; index += 1) await stranger(port, '127.0.0.1');
    });
  });

  const each = IS_LONG ? 25 : 1;
  it(`${8 * each} connections with a wrong key`, async () => {
    const { host, client } = world;
    const options = ['-F', 'none', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no'];
    const known = [
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'LogLevel=ERROR',
      '-o',
      QUICK_EXCHANGE.replace(' ', '='),
      '-i',
      join(host.home, 'wrong key'),
    ];
    await among(async port => {
      const attempt = async (): Promise<string> =>
        (
          await world.start(host, '/usr/bin/ssh', [
            ...options,
            ...known,
            '-l',
            client.login,
            '-p',
            String(port),
            '127.0.0.1',
            'id',
          ]).done
        ).stderr;
      const answers: string[] = [];
      const inTurn = async (): Promise<void> => {
        for (let index = 0; index < each; index += 1) answers.push(await attempt());
      };
      await Promise.all(Array.from({ length: 8 }, inTurn));
      assert.equal(
        answers.filter(answer => answer.includes('Permission denied (publickey)')).length,
        8 * each,
      );
    });
  });

  itLong('200 at once', async () => {
    await among(async port => {
      for (let index = 0; index < 200; index += 1) {
        const socket = await stranger(port, '127.0.0.1');
        socket.write('SSH-2.0-nobody\r\nrubbish that is no key exchange\r\n');
      }
    });
  });

  itShort('one that authenticates and then does nothing', async () => {
    const { host, client } = world;
    // This one has the one-time key: the host's forced command hands it out before it goes on.
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    const command = /exec ('.*)" ssh-/.exec(enrolled)?.[1] ?? '';
    const copy = join(host.home, 'request');
    world.write(host, copy, '');
    const tee = `printf %s \\"$SSH_ORIGINAL_COMMAND\\" > '${host.home}/call'; tee '${copy}' | { cat '${host.home}/go' > /dev/null; exec ${command}; }`;
    writeFileSync(
      world.authorizedKeys,
      enrolled.replace(/command="(?:[^"\\]|\\.)*"/, () => `command="${tee}"`),
    );
    let idle: Running | undefined;
    await among(async port => {
      await until('the request has come', () => 'request' in decodeRequest(readFileSync(copy)));
      const decoded = decodeRequest(readFileSync(copy));
      assert.ok('request' in decoded);
      const key = join(host.home, 'the one-time key');
      world.write(host, key, decoded.request.key);
      const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes'];
      const where = ['-i', key, '-l', client.login, '-p', String(port), '-N', '-v', '127.0.0.1'];
      idle = world.start(host, '/usr/bin/ssh', [
        '-F',
        'none',
        ...options.flatMap(each => ['-o', each]),
        ...where,
      ]);
      let words = '';
      idle.child.stderr?.on('data', (text: string) => {
        words += text;
      });
      await until('it has authenticated', () => words.includes('Authenticated to'));
    });
    assert.equal((await idle?.done)?.status, 255);
    writeFileSync(world.authorizedKeys, enrolled);
  });
});
