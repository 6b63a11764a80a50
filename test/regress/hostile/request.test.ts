// Goal: whatever a client asks for, and however it does, grab refuses it soon, by name, with one plain line in that client's
// journal and in the system's log; another client's name, a port where no sshd is, and requests that never end among it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { isLocked } from '../../../src/os/runfolder.ts';
import { GO } from '../../../src/wire/channel.ts';
import type { CommonHeader, DirectHeader } from '../../../src/wire/request.ts';
import { fairClock } from '../../support/fair-time.ts';
import { type HostileClient, lastOutcome } from '../../support/hostile-client.ts';
import { CONTROLS, groups, hostileSuite, type Lane, NASTY, type Seen } from '../../support/lanes.ts';
import { describeShort, IS_LONG, itShort, some } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { type Running, until } from '../../support/world.ts';

/** What is sent in the place of a request, and why it is refused. */
interface Call {
  what: string;
  command?: string;
  header?: Partial<Record<keyof (CommonHeader & DirectHeader), unknown>>;
  /** Instead of the request, or made of it. */
  input?: string | Buffer | ((request: Buffer) => Buffer);
  /** The input ends there. */
  hangsUp?: boolean;
  ends: string;
  says: RegExp;
}

const commands = (what: string, command: string, says: RegExp, ends = 'request'): Call => ({
  what,
  command,
  ends,
  says,
});
const headers = (what: string, header: Call['header'] & {}): Call => ({
  what,
  header,
  ends: 'request',
  says: new RegExp(`"${Object.keys(header)[0]}" is not acceptable`),
});
const inputs = (what: string, input: Call['input'] & {}, says: RegExp): Call => ({
  what,
  input,
  ends: 'request',
  says,
});

const headerOf = (text: string): string => `dialback-request 1\nheader ${text.length}\n${text}`;

const CALLS: Call[] = [
  commands('no command', '', /is not NAME:PORT/),
  commands('a command full of escapes', NASTY, /is not NAME:PORT/),
  commands('a command of 100 KiB', 'x'.repeat(100 * 1024), /is not NAME:PORT/),
  commands("another's name", 'other:7', matching`${says('was-used-with-the-name')} "other"`, 'name'),
  commands('a store on its own machine', 'acorn:local', /is not NAME:PORT/),
  commands(
    "the host's own word for that",
    'grab --client acorn --config /dev/stdin --local',
    /is not NAME:PORT/,
  ),
  commands('that word behind a port', 'acorn:7 --local', /is not NAME:PORT/),
  commands('a name that is a path', '../other:7', says('characters-or-a-length')),
  commands('port 0', 'acorn:0', /is not NAME:PORT/),
  commands('a port that there is not', 'acorn:65536', /no such port/),
  inputs('escapes', `${NASTY}\n`, matching`${says('a-line-is-too-long')}|first line`),
  inputs('3 MiB of anything', Buffer.alloc(3 << 20, 0xff), says('a-line-is-too-long')),
  inputs('a header of 4 GiB', 'dialback-request 1\nheader 4294967296\n', /more than 65536/),
  inputs('a header of negative length', 'dialback-request 1\nheader -1\n', /header LENGTH/),
  inputs('brackets, 60,000 deep', `dialback-request 1\nheader 60000\n${'['.repeat(60_000)}`, /not JSON/),
  inputs('a key named __proto__', headerOf('{"transport":"direct","__proto__":{}}'), /does not know/),
  inputs(
    'a key twice, full of escapes',
    'dialback-request 1\nheader 29\n{"\\u001b[2J":1,"\\u001b[2J":2}',
    says('has-the-key-twice', /\\+u001b\[2J/),
  ),
  inputs('a key full of escapes', headerOf('{"transport":"direct","\\u001b[2J":1}'), /does not know/),
  headers('a user that is an option', { user: '-oProxyCommand=id' }),
  headers('a user with a line of ssh_config', { user: 'root\nProxyCommand id' }),
  headers('a host key with a line of known_hosts', { host_key: 'ssh-ed25519 AAAA\n* ssh-rsa AAAA' }),
  headers('a root with escapes', { roots: ['/\x1b[2J'] }),
  headers('a root with `..`', { roots: ['/a/../../other'] }),
  headers('257 roots', { roots: Array.from({ length: 257 }, () => '/') }),
  headers('an rsync full of escapes', { rsync: NASTY }),
  headers('1,001 enumerated folders', { enumerated: Array.from({ length: 1001 }, () => '/a') }),
  {
    what: 'a key of another length',
    header: { key_bytes: 1 },
    ends: 'request',
    says: says('length-of-the-key'),
  },
  inputs('one byte more', request => Buffer.concat([request, Buffer.from('x')]), /something follows/),
  inputs(
    'a key that is none',
    request =>
      Buffer.from(request.toString('latin1').replace('b3BlbnNzaC1rZXk', 'b3BlbnNzaC1LZXk'), 'latin1'),
    says('ssh-add-does-not-accept'),
  ),
  { what: 'no request', input: '', hangsUp: true, ends: 'gone', says: /ended after 0 bytes/ },
  {
    what: 'half a request',
    input: request => request.subarray(0, request.length >> 1),
    hangsUp: true,
    ends: 'gone',
    says: /ended after \d+ bytes/,
  },
  { what: 'a whole request, and then nobody', hangsUp: true, ends: 'gone', says: /client disconnected/ },
];

/** What is done with a call that is to become the channel. */
interface ChannelCall {
  what: string;
  command?: string;
  /** What is sent; an honest request unless given. */
  sends?: (client: HostileClient) => Buffer;
  /** Once the host has asked for rsync. */
  answers?: string | Buffer;
  /** Once it has said go. */
  goesOn?: Buffer;
  /** The input ends with that. */
  hangsUp?: boolean;
  ends: string;
  says: RegExp;
}

const ASKED = 'rsync --server --daemon .\n';
const channelHeaders = (what: string, header: Record<string, unknown>, says?: RegExp): ChannelCall => ({
  what,
  sends: client => client.channelRequest(header),
  ends: 'request',
  says: says ?? new RegExp(`"${Object.keys(header)[0]}" is not acceptable`),
});
const answers = (what: string, answer: string | Buffer): ChannelCall => ({
  what,
  answers: answer,
  ends: 'request',
  says: matching`^${says('cannot-serve-the-request')}: the handshake: ${says('the-answer-is-not-go')}$`,
});
const rubbish = (what: string, goesOn: Buffer, says: RegExp, ends = 'no-answer'): ChannelCall => ({
  what,
  answers: GO,
  goesOn,
  ends,
  says,
});

const CHANNEL_CALLS: ChannelCall[] = [
  {
    what: 'a port, and a request for the channel',
    command: 'acorn:7',
    ends: 'request',
    says: /name different transports/,
  },
  {
    what: 'the channel, and a request to be dialled back',
    sends: client => client.request(),
    ends: 'request',
    says: /name different transports/,
  },
  { what: 'another as the name', command: 'other:channel', ends: 'name', says: /with the name "other"/ },
  { what: 'more than the channel', command: 'acorn:channel x', ends: 'request', says: /is not NAME:PORT/ },
  channelHeaders('a key that the header announces', { key_bytes: 5 }),
  {
    what: 'a key that the header does not announce',
    sends: client => client.channelRequest({}, Buffer.from('a key')),
    ends: 'request',
    says: says('length-of-the-key'),
  },
  channelHeaders('a user', { user: 'root' }, says('a-key-that-this-version')),
  channelHeaders('a host key', { host_key: 'ssh-ed25519 AAAA' }, says('a-key-that-this-version')),
  channelHeaders('a jail of "true"', { confined: 'true' }),
  channelHeaders('a jail of 1', { confined: 1 }),
  channelHeaders('a jail of null', { confined: null }),
  channelHeaders('no word of a jail', { confined: undefined }, /has no "confined"/),
  channelHeaders('a store on its own machine', { transport: 'local' }, /name different transports/),
  channelHeaders('a fourth transport', { transport: 'usb' }),
  {
    what: '"go" before it is asked',
    sends: client => Buffer.concat([client.channelRequest(), Buffer.from(GO)]),
    ends: 'request',
    says: says('something-follows-the-request'),
  },
  answers('"no"', 'no\n'),
  answers('nothing but a newline', '\n'),
  answers('"go" in capitals', 'GO\n'),
  answers('"go" with a carriage return', 'go\r\n'),
  answers('escapes', NASTY),
  answers('1 MiB without a newline', Buffer.alloc(1 << 20, 'g')),
  answers('"go" and rsync in one', 'go\n@RSYNCD: 31.0 md5\n'),
  { what: 'nobody who answers', hangsUp: true, answers: '', ends: 'gone', says: /client disconnected/ },
  {
    what: 'nobody after half an answer',
    hangsUp: true,
    answers: 'go',
    ends: 'gone',
    says: /client disconnected/,
  },
  {
    what: 'nobody after "go"',
    hangsUp: true,
    answers: GO,
    ends: 'no-answer',
    says: says('the-connection-ended-before-rsync'),
  },
  rubbish('a line of rubbish to rsync', Buffer.from(`${NASTY}\n`), says('another-program-than-rsync-wrote')),
  rubbish('1 MiB of rubbish to rsync', randomBytes(1 << 20), says('another-program-than-rsync-wrote')),
  rubbish(
    '1 MiB without a newline to rsync',
    Buffer.alloc(1 << 20, 'x'),
    says('another-program-than-rsync-wrote'),
  ),
  rubbish(
    '1 MiB of rubbish to rsync, behind its greeting',
    Buffer.concat([Buffer.from('@RSYNCD: 31.0 md5\n@RSYNCD: OK\n'), Buffer.alloc(1 << 20, 0x7f)]),
    /connection broke/,
    'broken',
  ),
];

/** What the host finds where it is to dial back. */
const LISTENERS: { what: string; greets: string | undefined; says: RegExp }[] = [
  { what: 'nobody', greets: undefined, says: /refused/ },
  { what: 'somebody who says nothing and leaves', greets: '', says: /./ },
  { what: 'a banner full of escapes', greets: `SSH-2.0-${NASTY}\r\n`, says: /./ },
  { what: 'more lines than a banner may have', greets: `${'x'.repeat(100)}\r\n`.repeat(2000), says: /./ },
  { what: 'a line without an end', greets: 'x'.repeat(1 << 20), says: /./ },
  { what: 'SSH 1', greets: 'SSH-1.5-old\r\n', says: /./ },
];

/** An attack that takes a while, beside the others. */
interface Slow {
  lane: Lane;
  done: Promise<Seen & { tookMs: number }>;
}

/** A call that may become the channel. @returns what came of it, with what the host said in `heard` */
async function handshake(
  client: HostileClient,
  { command, sends, answers, goesOn, hangsUp }: Partial<ChannelCall>,
): Promise<Seen> {
  const call = client.call(command ?? `${client.name}:channel`);
  const { stdin, stdout } = call.child;
  let said = '';
  stdout?.on('data', (text: string) => {
    said += text;
  });
  const hasSaid = (text: string): Promise<void> =>
    until(`the host says ${JSON.stringify(text)}`, () => said.startsWith(text));
  stdin?.write(sends?.(client) ?? client.channelRequest());
  let most = '';
  if (answers !== undefined) {
    most = ASKED;
    await hasSaid(most);
    stdin?.write(answers);
  }
  if (answers === GO) {
    most += GO;
    if (!hangsUp) await hasSaid(most);
    if (goesOn) stdin?.write(goesOn);
  }
  if (hangsUp) stdin?.end();
  const ended = await call.done;
  // Nothing comes that was not its turn: the command once the request is taken, rsync's words once both have said go.
  assert.ok(ended.stdout.startsWith(most), JSON.stringify(ended.stdout));
  if (answers === GO) assert.match(ended.stdout.slice(most.length), /^(@RSYNCD: |$)/);
  else assert.equal(ended.stdout, most);
  return { ...ended, stdout: '', heard: Buffer.from(ended.stdout) };
}

hostileSuite('a hostile client: requests', lanes => {
  /** Two that are slow on purpose, each in a lane of its own. */
  let drip: Slow;
  let mute: Slow;
  before(async () => {
    if (IS_LONG) return;
    const { world, others } = lanes();
    const [first, second] = [await lanes().makeLane('drip', true), await lanes().makeLane('mute', true)];
    drip = { lane: first, done: dribble(first) };
    mute = { lane: second, done: fallSilent(second) };
    // What sshd and grab start for it comes a moment after grab itself.
    for (const { lane } of [drip, mute])
      await until(
        `${lane.name} is served`,
        () =>
          world.processes().some(each => each.command.includes(`grab --client ${lane.name}`)) &&
          readdirSync(lane.shelf).some(name => name.startsWith('call.')),
      );
    for (const each of world.processes()) others.add(each.pid);
  });

  /** Says "go", and never ends the line. */
  async function fallSilent({ client, name }: Lane): Promise<Seen & { tookMs: number }> {
    const clock = fairClock();
    const seen = await handshake(client, { command: `${name}:channel`, answers: 'go' });
    return { ...seen, tookMs: clock() };
  }

  /** A request of which a byte comes now and then. */
  async function dribble({ client, name }: Lane): Promise<Seen & { tookMs: number }> {
    const clock = fairClock();
    const call = client.call(`${name}:7`);
    const request = client.request();
    let at = 0;
    const timer = setInterval(() => {
      call.child.stdin?.write(request.subarray(at, at + 1));
      at += 1;
    }, 100);
    const ended = await call.done;
    clearInterval(timer);
    return { ...ended, tookMs: clock() };
  }

  groups(lanes, {
    'what is asked for': () => {
      for (const { what, command, header, input, hangsUp, ends, says } of some(CALLS, 16)) {
        const act = async ({ client, name }: Lane): Promise<Seen> => {
          const call = client.call(command ?? `${name}:7`);
          const request = client.request(header as Partial<CommonHeader & DirectHeader> | undefined);
          call.child.stdin?.write(typeof input === 'function' ? input(request) : (input ?? request));
          if (hangsUp) call.child.stdin?.end();
          return await call.done;
        };
        it(what, () => lanes().attack(act, ends, says));
      }
    },
    'what becomes of the channel': () => {
      for (const call of some(CHANNEL_CALLS, 10))
        it(call.what, () =>
          lanes().attack(
            ({ client, name }) =>
              handshake(client, {
                ...call,
                command: (call.command ?? 'acorn:channel').replace('acorn', name),
              }),
            call.ends,
            call.says,
          ),
        );
    },
    'where it is to dial': () => {
      for (const { what, greets, says } of some(LISTENERS, 6)) {
        const act = async ({ client, name }: Lane): Promise<Seen> => {
          const server = createServer(socket => void socket.on('error', () => {}).end(greets ?? ''));
          await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
          const { port } = server.address() as AddressInfo;
          if (greets === undefined) server.close();
          const call = client.call(`${name}:${port}`);
          call.child.stdin?.write(client.request());
          const ended = await call.done;
          server.close();
          return ended;
        };
        it(what, () => lanes().attack(act, 'unreachable', says));
      }

      itShort('an sshd with another key', async () => {
        const act = async ({ client, name }: Lane): Promise<Seen> => {
          const listener = await client.listen(async () => {});
          const call = client.call(`${name}:${listener.port}`);
          const other = `ssh-ed25519 ${Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0\x20'), Buffer.alloc(32, 7)]).toString('base64')}`;
          call.child.stdin?.write(client.request({ host_key: other }));
          const ended = await call.done;
          await listener.close();
          return ended;
        };
        await lanes().attack(act, 'denied', /[Hh]ost key/);
      });
    },
  });

  it('and an honest run over the channel succeeds', async () => {
    const { world } = lanes();
    for (const lane of lanes().all) {
      const toml = join(world.client.home, `${lane.name} channel.toml`);
      const text = readFileSync(lane.toml, 'utf8').replace(
        /^from = .*\nlisten = .*$/m,
        'transport = "channel"',
      );
      world.write(world.client, toml, text);
      await lanes().assertHonest({ ...lane, toml });
    }
  });

  itShort('what goes to syslog is one plain line', async () => {
    const { world } = lanes();
    const [log, stub] = [join(world.host.home, 'logged'), join(world.base, 'logger')];
    writeFileSync(stub, `#!/bin/sh\nprintf '%s\\0' "$@" >> '${log}'\n`);
    chmodSync(stub, 0o755);
    const toml = join(world.host.home, 'syslog.toml');
    world.write(world.host, toml, `store = "${world.store}"\n`);
    // In a mount namespace of its own, where that stands in logger's place.
    const inPlace = 'mount --bind "$0" /usr/bin/logger && exec setpriv "$@"';
    const account = [`--reuid=${world.host.uid}`, `--regid=${world.host.gid}`, '--clear-groups', '--'];
    const grab = [world.binary, 'grab', '--client', 'acorn', '--config', toml];
    for (const command of [NASTY, `${NASTY}:7`, 'other:7']) {
      const { status } = await world.start(
        'root',
        '/usr/bin/unshare',
        ['-m', 'sh', '-c', inPlace, stub, ...account, ...grab],
        {
          environment: {
            HOME: world.host.home,
            SSH_CONNECTION: '127.0.0.1 1 127.0.0.1 2',
            SSH_ORIGINAL_COMMAND: command,
          },
        },
      ).done;
      assert.equal(status, 12);
    }
    const logged = readFileSync(log, 'utf8').split('\0').slice(0, -1);
    assert.equal(logged.length, 3 * 6);
    for (const word of logged) {
      assert.doesNotMatch(word, CONTROLS);
      assert.doesNotMatch(word, /\n/);
    }
    assert.match(
      logged[5] ?? '',
      matching`^acorn: failed \(${says('cannot-serve-the-request')}: the command`,
    );
  });

  itShort('a command longer than the environment can hold starts nothing', async () => {
    const lane = lanes().all[0] ?? assert.fail();
    const before = lanes().journal(lane).length;
    const { status } = await lane.client.call(...Array.from({ length: 4 }, () => 'x'.repeat(60 * 1024))).done;
    assert.notEqual(status, 0);
    assert.equal(lanes().journal(lane).length, before);
  });

  itShort('a request that comes a byte at a time is not waited for', async () => {
    const seen = await drip.done;
    assert.ok(seen.tookMs < 45_000, `${Math.round(seen.tookMs)} ms`);
    lanes().assertSeen(
      seen,
      lanes().journal(drip.lane).slice(-1),
      'request',
      matching`${says('of-the-request-arrived-within')} 30 s`,
    );
  });

  itShort('an answer that does not come to its end is not waited for', async () => {
    const seen = await mute.done;
    assert.ok(seen.tookMs < 45_000, `${Math.round(seen.tookMs)} ms`);
    lanes().assertSeen(
      seen,
      lanes().journal(mute.lane).slice(-1),
      'no-answer',
      matching`${says('did-not-answer-go-within')} 30 s`,
    );
  });

  describeShort('where it is told to wait', { skip: false }, () => {
    /** Holds the only turn, as a run does. */
    let holder: Running;
    let hostToml: string;
    before(async () => {
      const { world } = lanes();
      hostToml = readFileSync(world.hostToml, 'utf8');
      world.write(world.host, world.hostToml, `${hostToml}[requests]\nmax_concurrent = 1\n`);
      const slot = join(world.store, 'turns/0');
      const hold = ['--nonblock', slot, 'cat'];
      holder = world.start(world.host, '/usr/bin/flock', hold, { keepsInput: true });
      await until('the turn is taken', () => isLocked(slot));
    });
    after(async () => {
      const { world } = lanes();
      holder.child.stdin?.end();
      await holder.done;
      world.write(world.host, world.hostToml, hostToml);
    });

    const first = (): Lane => lanes().all[0] ?? assert.fail();
    const hostile = (): Lane => drip.lane;

    function places(): string[] {
      const text = readFileSync(join(lanes().world.store, 'turns/queue.json'), 'utf8');
      return (JSON.parse(text) as { places: { client: string }[] }).places.map(each => each.client);
    }

    /** Says a whole request, and does not hang up. @returns the code of its outcome */
    async function ask({ client, name }: Lane): Promise<{ code: string; stderr: string }> {
      const call = client.call(`${name}:7`);
      call.child.stdin?.write(client.request());
      const { stderr } = await call.done;
      return { code: lastOutcome(stderr)?.code ?? '', stderr };
    }

    it('one that does not hang up is hung up on, and learns the wait alone', async () => {
      const { code, stderr } = await ask(first());
      assert.equal(code, 'full');
      const [wait, outcome, ...more] = stderr.trim().split('\n');
      assert.match(wait ?? '', /^dialback-event: {"event":"wait","ms":\d+}$/);
      assert.match(outcome ?? '', /^dialback-event: {"event":"outcome",/);
      assert.deepEqual(more, []);
      const line = lanes().journal(first()).at(-1);
      assert.equal(line?.event, 'queued');
      assert.match(String(line?.reason), matching`1 ${says('runs-are-active-and-clients', 0)}`);
    });

    it('one that asks many times at once has one place, the last', async () => {
      const seen = await Promise.all(Array.from({ length: 8 }, () => ask(hostile())));
      for (const { code, stderr } of seen) assert.match(code, /^(full|busy)$/, stderr);
      assert.deepEqual(places(), [first().name, hostile().name]);
    });

    it('and does not get in before who was told first, however often it asks', async () => {
      const { world } = lanes();
      await ask(first());
      holder.child.stdin?.end();
      await holder.done;
      assert.equal((await ask(hostile())).code, 'full', 'the turn is kept');
      const honest = await world.run(world.client, ['backup', '--json', '--config', first().toml]);
      assert.equal(honest.status, 0, honest.stdout + honest.stderr);
      assert.doesNotMatch(honest.stdout, /"waiting"/);
      assert.equal((await ask(hostile())).code, 'unreachable', 'now it has its turn');
      assert.deepEqual(places(), []);
      await world.settled();
    });
  });
});
