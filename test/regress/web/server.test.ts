// Goal: `dialback web` answers a browser that has the token, and nobody else. Wrong hosts, origins, tokens, paths and methods are
// refused. Downloads are the files of the snapshot. Slow connections and slow readers keep no client out, and cost little memory.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, rmdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { addSnapshot } from '../../support/client-store.ts';
import { ask, exchange, login, type Question, type Running, WebSite } from '../../support/web-site.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

const SNAPSHOT = '2026-01-01T00-00-00Z';
const LATER = '2026-01-02T00-00-00Z';
const HOSTILE = '<script>alert(1)<\u202e.txt';
const BIG_BYTES = 1024 ** 3;

function fill(tree: string): void {
  mkdirSync(join(tree, 'folder/empty'), { recursive: true });
  writeFileSync(join(tree, 'folder/a b'), 'a secret');
  writeFileSync(join(tree, 'folder', HOSTILE), 'hostile');
  writeFileSync(join(tree, 'folder/link'), '/etc/shadow');
  linkSync(join(tree, 'folder/a b'), join(tree, 'folder/linked'));
  writeFileSync(join(tree, 'folder/holes'), 'x');
  truncateSync(join(tree, 'folder/holes'), 10_000_000);
  writeFileSync(join(tree, 'big'), '');
  truncateSync(join(tree, 'big'), BIG_BYTES);
  for (const [path, value] of [
    ['folder/link', '120777 0,0 0:0'],
    ['folder/a b', '100640 0,0 1234:5678'],
  ])
    execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', value ?? '', join(tree, path ?? '')]);
}

/** A second snapshot: one file is the same, one is new. */
function fillLater(before: string, tree: string): void {
  mkdirSync(join(tree, 'folder'), { recursive: true });
  for (const name of ['a b', HOSTILE]) linkSync(join(before, 'folder', name), join(tree, 'folder', name));
  writeFileSync(join(tree, 'folder/new file'), 'new');
}

describe('dialback web', { skip: NEEDS_ROOT }, () => {
  let site: WebSite;
  let running: Running;
  let cookie: string;
  let tree: string;
  before(async () => {
    site = WebSite.make(makeClient => {
      const client = makeClient('oak');
      addSnapshot(client, SNAPSHOT);
      tree = `${client.folder}/snapshots/${SNAPSHOT}/tree`;
      fill(tree);
      addSnapshot(client, LATER);
      fillLater(tree, `${client.folder}/snapshots/${LATER}/tree`);
    });
    running = await site.start();
  });
  after(async () => {
    await running?.stop();
    site?.dispose();
  });
  const asked = async (question: Question = {}): ReturnType<typeof ask> =>
    await ask(running.place, { ...question, headers: { Cookie: cookie, ...question.headers } });
  const origin = (): string => `http://127.0.0.1:${running.place}`;
  const form = (token: string, headers: Record<string, string | undefined> = {}): Question => ({
    method: 'POST',
    path: '/login',
    headers: { Origin: origin(), 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    body: `token=${token}`,
  });

  it('shows the login form, and nothing else, to a browser without a session', async () => {
    for (const path of [
      '/',
      '/client/oak',
      `/browse/oak/${SNAPSHOT}`,
      `/download/oak/${SNAPSHOT}/folder/a%20b`,
    ]) {
      const { status, headers, body } = await ask(running.place, { path });
      assert.equal(status, 401, path);
      assert.equal(headers.get('set-cookie'), undefined);
      assert.ok(!body.includes('a secret'), path);
    }
    assert.equal((await ask(running.place, { path: '/login' })).status, 200);
  });

  it('takes the token once, from its own form', async () => {
    const { token } = running;
    for (const [question, status] of [
      [form('0'.repeat(64)), 403],
      [form(''), 403],
      [form(token, { Origin: undefined }), 403],
      [form(token, { Origin: 'http://evil.example' }), 403],
      [form(token, { Host: 'evil.example', Origin: 'http://evil.example' }), 403],
      [form(token, { 'Content-Type': 'text/plain' }), 400],
      [{ ...form(token), body: `token=${token}&token=${token}` }, 400],
      [{ ...form(token), body: `token=${'0'.repeat(5000)}` }, 400],
      [{ ...form(token), path: `/login?token=${token}`, method: 'PUT' }, 405],
    ] as const) {
      const found = await ask(running.place, question);
      assert.equal(found.status, status, JSON.stringify(question));
      assert.equal(found.headers.get('set-cookie'), undefined);
    }
    // A visit of the printed address does not use it up: programs that look at links would.
    assert.equal((await ask(running.place, { path: `/login?token=${token}` })).status, 200);
    cookie = await login(running);
    assert.equal((await asked()).status, 200);
    assert.equal((await ask(running.place, form(token))).status, 403, 'used');
    const wrong = `${cookie.slice(0, -1)}${cookie.endsWith('0') ? '1' : '0'}`;
    assert.equal((await ask(running.place, { headers: { Cookie: wrong } })).status, 401);
    assert.equal((await asked({ headers: { Cookie: `${cookie}; ${cookie}` } })).status, 401);
  });

  it('refuses wrong hosts, origins, methods and paths, also with a session', async () => {
    const questions: [Question, number][] = [
      [{ headers: { Host: 'evil.example' } }, 403],
      [{ headers: { Host: `evil.example:${running.place}` } }, 403],
      [{ headers: { Host: undefined } }, 400],
      [{ headers: { Origin: 'http://evil.example' } }, 403],
      [{ headers: { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' } }, 403],
      [{ body: 'x' }, 403],
      ...['PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'].map((method): [Question, number] => [
        { method },
        405,
      ]),
      [{ method: 'POST', headers: { Origin: origin() } }, 405],
      ...[
        '/../../../../etc/passwd',
        `/download/oak/${SNAPSHOT}/../../../../../etc/passwd`,
        `/download/oak/${SNAPSHOT}/%2e%2e/%2e%2e/snapshot.json`,
        `/download/oak/${SNAPSHOT}/..%2f..%2fsnapshot.json`,
        `/download/oak/${SNAPSHOT}/folder/a%20b%00`,
        `/download/oak/${SNAPSHOT}//etc/passwd`,
        `/download/oak/${SNAPSHOT}/folder/%61%20b`,
        `/download/oak/${SNAPSHOT}/folder/`,
        `http://127.0.0.1:${running.place}/`,
        `/${'a/'.repeat(7000)}`,
      ].map((path): [Question, number] => [{ path }, 400]),
      [{ path: '/download/..%5c/latest' }, 404],
      [{ path: `/download/${'x'.repeat(200)}/${SNAPSHOT}` }, 404],
      [{ path: '/download/oak' }, 400],
      [{ path: `/download/oak/${SNAPSHOT}/none` }, 404],
      [{ path: `/download/oak/${SNAPSHOT}/folder/link` }, 404],
      [{ path: '/no/such/page' }, 404],
      [{ path: `/${'x'.repeat(30_000)}` }, 431],
    ];
    for (const [question, status] of questions)
      assert.equal((await asked(question)).status, status, JSON.stringify(question).slice(0, 200));
    assert.match(
      (await exchange(running.place, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n')).toString(),
      /^HTTP\/1.1 400 /,
    );
    assert.match((await exchange(running.place, 'not http\r\n\r\n')).toString(), /^HTTP\/1.1 400 /);
    assert.doesNotMatch(running.log(), /[^\x20-\x7e\n…]/);
    assert.ok(!running.log().includes(running.token), 'no secret in the log');
  });

  it('sends headers with every response that let a page do nothing', async () => {
    const responses = await Promise.all([
      asked(),
      asked({ path: '/style.css' }),
      asked({ path: '/no/such/page' }),
      asked({ path: `/download/oak/${SNAPSHOT}/folder/a%20b` }),
      asked({ headers: { Host: 'evil.example' } }),
      asked({ method: 'PUT' }),
      ask(running.place),
    ]);
    for (const { headers } of responses) {
      assert.match(
        headers.get('content-security-policy') ?? '',
        /default-src 'none'.*frame-ancestors 'none'/,
      );
      assert.doesNotMatch(headers.get('content-security-policy') ?? '', /script-src|unsafe/);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('cache-control'), 'no-store');
      assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin');
      assert.equal(headers.get('access-control-allow-origin'), undefined);
    }
    const [, style] = responses;
    assert.match(style?.headers.get('content-type') ?? '', /^text\/css/);
  });

  it('shows every page in the jail, and no markup of a client', async () => {
    for (const [path, found] of [
      ['/', /oak/],
      ['/client/oak', /2026-01-01/],
      [`/browse/oak/${SNAPSHOT}/folder`, /1234.*5678/s],
      [`/browse/oak/latest/folder/a%20b`, /rw-r-----|0?640/],
      ['/versions/oak/folder/a%20b', /2026-01-0[12]/],
      ['/search/oak?q=a+b', /folder\/a/],
      ['/search/oak?q=%3Cscript*', /alert/],
      [`/diff/oak/${SNAPSHOT}/${LATER}`, /new file/],
    ] as const) {
      const { status, body } = await asked({ path });
      assert.equal(status, 200, path);
      assert.match(body.toString(), found, path);
      assert.doesNotMatch(body.toString(), /<script|\u202e/, path);
    }
    // While another process writes the index, its log is read too.
    using index = new DatabaseSync(join(tree, '../../../index.sqlite'));
    index.exec('BEGIN IMMEDIATE; CREATE TABLE other (id INTEGER); COMMIT; BEGIN IMMEDIATE;');
    const { status, body } = await asked({ path: '/search/oak?q=a+b' });
    assert.equal(status, 200);
    assert.match(body.toString(), /folder\/a/);
    assert.doesNotMatch(running.log(), /an error at/);
  });

  it('downloads a file as it is, under a name that shows no tricks', async () => {
    const path = `/download/oak/latest/folder/${encodeURIComponent(HOSTILE)}`;
    const { status, headers, body } = await asked({ path });
    assert.equal(status, 200);
    assert.equal(body.toString(), 'hostile');
    assert.equal(headers.get('content-type'), 'application/octet-stream');
    assert.equal(
      headers.get('content-disposition'),
      `attachment; filename="_script_alert_1___.txt"; filename*=UTF-8''%3cscript%3ealert%281%29%3c_.txt`,
    );
    const head = await asked({ path: `/download/oak/${SNAPSHOT}/big`, method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), String(BIG_BYTES));
    assert.equal(head.body.length, 0);
  });

  it('downloads a folder as the archive that export writes', async () => {
    const { status, headers, body } = await asked({ path: `/download/oak/${SNAPSHOT}/folder` });
    assert.equal(status, 200);
    assert.match(headers.get('content-disposition') ?? '', /filename="folder-2026-01-01T00-00-00Z.tar"/);
    const words = ['export', '--config', site.config, `oak@${SNAPSHOT}`, '/folder'];
    const exported = execFileSync('runuser', ['-u', site.login, '--', site.binary, ...words], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.ok(body.equals(exported), `${body.length} and ${exported.length} bytes`);
    const listed = execFileSync('tar', ['-tvf', '-', '--numeric-owner'], { input: body }).toString();
    assert.match(listed, /^-rw-r----- 1234\/5678 .* folder\/a b$/m);
    assert.match(listed, /folder\/linked link to folder\/a b$/m);
    assert.match(listed, /folder\/link -> \/etc\/shadow$/m);
  });

  it('holds little memory for a reader that takes nothing', async () => {
    const status = `/proc/${site.serverPid()}/status`;
    const rssKb = (): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(status, 'latin1'))?.[1]);
    const before = rssKb();
    const request = `GET /download/oak/${SNAPSHOT}/big HTTP/1.1\r\nHost: 127.0.0.1:${running.place}\r\nCookie: ${cookie}\r\n\r\n`;
    const readers = await Promise.all(
      Array.from({ length: 8 }, async () => await open(running.place, request)),
    );
    await Promise.all(readers.map(each => new Promise(resolve => each.once('readable', resolve))));
    assert.equal((await asked()).status, 200, 'others are served meanwhile');
    assert.ok(rssKb() - before < 100_000, `${rssKb() - before} kB more`);
    for (const each of readers) each.destroy();
  });

  it('serves others while slow connections wait', async () => {
    const slow: Socket[] = [];
    for (let number = 0; number < 450; number += 1)
      slow.push(await open(running.place, 'GET / HTTP/1.1\r\nHost: 127'));
    const begun = Date.now();
    for (let number = 0; number < 5; number += 1) assert.equal((await asked()).status, 200);
    assert.ok(Date.now() - begun < 5000);
    // More than the limit: the oldest ones were closed.
    await until(
      'the oldest slow connections are closed',
      () => slow.filter(each => each.destroyed).length >= 50,
    );
    for (const each of slow) each.destroy();
  });

  it('ends a session at logout, and prints a new token at SIGUSR2', async () => {
    const logout = { method: 'POST', path: '/logout', headers: { Origin: origin() } };
    assert.equal((await asked({ ...logout, headers: { Origin: 'http://evil.example' } })).status, 403);
    assert.equal((await asked({ ...logout, method: 'GET' })).status, 405);
    assert.equal((await asked()).status, 200);
    const { status, headers } = await asked(logout);
    assert.equal(status, 303);
    assert.match(headers.get('set-cookie') ?? '', /^dialback=; .*Max-Age=0/);
    assert.equal((await asked()).status, 401);
    const { token } = running;
    running.child.kill('SIGUSR2');
    await until('it prints a new token', () => running.token !== token);
    cookie = await login(running);
    assert.equal((await asked()).status, 200);
  });

  it('takes SIGUSR2 also while it starts', async () => {
    const other = site.spawn(['web', '--config', site.config, '--listen', '127.0.0.1:0']);
    let stdout = '';
    other.stdout?.on('data', chunk => {
      stdout += chunk;
    });
    const status = (): string => readFileSync(`/proc/${other.pid}/status`, 'latin1');
    await until('it has a handler', () => (maskOf(status(), 'SigCgt') & SIGUSR2_BIT) !== 0n);
    const signals = setInterval(() => other.kill('SIGUSR2'), 5);
    await until('it prints its address', () => other.exitCode !== null || /token=/.test(stdout));
    await until('it prints another one', () => other.exitCode !== null || /token=.*token=/s.test(stdout));
    clearInterval(signals);
    assert.equal(other.exitCode, null);
    other.kill('SIGTERM');
    await new Promise(resolve => other.once('close', resolve));
    assert.equal(other.exitCode, 0);
  });

  it('runs without privileges, and dies with the process that started it', async () => {
    const other = await site.start();
    const status = readFileSync(`/proc/${site.serverPid(other)}/status`, 'latin1');
    for (const line of ['NoNewPrivs:\t1', 'Seccomp:\t2', 'CapPrm:\t0000000000000000', 'CapBnd:'])
      assert.ok(status.includes(`\n${line}`), line);
    other.child.kill('SIGKILL');
    await until('all its processes are gone', () => site.processes().length === 3);
    assert.equal((await asked()).status, 200);
  });

  it('changes nothing in the store', () => {
    const { mtimeMs } = statSync(tree);
    assert.equal(statSync(join(tree, 'folder/a b')).nlink, 3);
    assert.ok(mtimeMs < Date.now());
    const owned = execFileSync('find', [site.store, '-newer', site.config, '-type', 'f']).toString();
    assert.doesNotMatch(owned.replaceAll(/^.*(?:index|catalog)\.sqlite.*\n/gm, ''), /./);
  });
});

describe('dialback web, where it cannot or may not listen', { skip: NEEDS_ROOT }, () => {
  let site: WebSite;
  before(() => {
    site = WebSite.make(makeClient => addSnapshot(makeClient('oak'), SNAPSHOT));
  });
  after(() => {
    site?.dispose();
  });
  const refusal = async (...words: string[]): Promise<{ status: number | null; stderr: string }> =>
    await site.run(['web', '--config', site.config, ...words]);

  it('refuses addresses that other machines reach, unless it is told', async () => {
    for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:8030']) {
      const { status, stderr } = await refusal('--listen', address);
      assert.equal(status, 2);
      assert.match(stderr, /TLS\nnext: .*127\.0\.0\.1/);
    }
  });

  it('refuses a port, and a socket, that another program has', async () => {
    const path = join(site.base, 'home/web socket');
    // A client that cannot be read keeps nobody from the others.
    const odd = join(site.store, 'clients/ash');
    mkdirSync(odd, { mode: 0o700 });
    const first = await site.start(['--socket', path]);
    rmdirSync(odd);
    assert.match(first.log(), /"ash"/);
    try {
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal((await ask(path, {})).status, 401);
      assert.equal((await ask(path, { headers: { Host: 'evil.example' } })).status, 403);
      const { status, stderr } = await refusal('--socket', path);
      assert.equal(status, 1);
      assert.match(stderr, /web socket".*another program/);
    } finally {
      await first.stop();
    }
    // The socket of a server that has gone is replaced.
    const second = await site.start(['--socket', path]);
    await second.stop();
    writeFileSync(join(site.base, 'home/file'), 'mine');
    const { status, stderr } = await refusal('--socket', join(site.base, 'home/file'));
    assert.equal(status, 2);
    assert.match(stderr, /not a socket/);
    assert.equal(readFileSync(join(site.base, 'home/file'), 'utf8'), 'mine');
  });

  it('uses a socket that a service manager passes', async () => {
    const path = join(site.base, 'home/passed');
    const script = `
      $^F = 9; use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, sockaddr_un($ARGV[0])); listen($s, 5);
      require POSIX; POSIX::dup2(fileno($s), 3); $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1;
      exec { $ARGV[1] } @ARGV[1 .. $#ARGV];`;
    const child = site.spawnProgram('/usr/bin/perl', [
      '-e',
      script,
      path,
      site.binary,
      'web',
      '--config',
      site.config,
    ]);
    let stdout = '';
    child.stdout?.on('data', chunk => {
      stdout += chunk;
    });
    await until('it prints its address', () => /token=/.test(stdout));
    assert.equal((await ask(path, {})).status, 401);
    child.kill('SIGTERM');
    await new Promise(resolve => child.once('close', resolve));
    assert.equal(child.exitCode, 0);
  });

  it('refuses root, words that contradict each other, and a machine without the jail', async () => {
    const root = spawnSync(site.binary, ['web', '--config', site.config], { encoding: 'utf8' });
    assert.equal(root.status, 2);
    assert.match(root.stderr, /as root.*\nnext: runuser/);
    for (const words of [
      ['--listen', '127.0.0.1:1', '--socket', '/x'],
      ['--listen', 'x'],
      ['--host', 'a b'],
      ['x'],
    ])
      assert.equal((await refusal(...words)).status, 2, words.join(' '));
    execFileSync('mv', [site.jail, `${site.jail}.away`]);
    const { status, stderr } = await refusal();
    execFileSync('mv', [`${site.jail}.away`, site.jail]);
    assert.equal(status, 1);
    assert.match(stderr, /libexec\/dialback\/jail".*\nnext: make install/);
  });
});

const SIGUSR2_BIT = 1n << BigInt(constants.signals.SIGUSR2 - 1);

/** A mask of signals in /proc/PID/status. */
function maskOf(status: string, name: string): bigint {
  return BigInt(`0x${new RegExp(`^${name}:\\s+([0-9a-f]+)`, 'm').exec(status)?.[1]}`);
}

async function open(place: number | string, bytes: string): Promise<Socket> {
  const socket = typeof place === 'number' ? connect(place, '127.0.0.1') : connect(place);
  socket.on('error', () => {});
  await new Promise(resolve => socket.once('connect', resolve).once('close', resolve));
  socket.pause();
  socket.write(bytes);
  return socket;
}
