import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkCall, checkReach, collectReach } from '../../src/doctor/connection.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { collectKey } from '../../src/doctor/ssh-keys.ts';
import { checkListen, checkTransport, lastDialed } from '../../src/doctor/transport.ts';
import { Fault } from '../../src/fault.ts';
import { check } from '../support/findings.ts';
import { scratch } from '../support/scratch.ts';
import { matching, says, wording } from '../support/wording.ts';

describe('collectKey()', () => {
  const keygen = (path: string): void => {
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a comment', '-f', path]);
  };
  it('takes the public half that belongs to the key, also with another comment, or none', async t => {
    const key = join(scratch(t), 'a key');
    keygen(key);
    check(await collectKey(key), 'ok');
    writeFileSync(`${key}.pub`, readFileSync(`${key}.pub`, 'utf8').replace('a comment', 'another comment'));
    check(await collectKey(key), 'ok');
    rmSync(`${key}.pub`);
    check(await collectKey(key), 'ok');
  });
  it('refuses another public half', async t => {
    const key = join(scratch(t), 'a key');
    keygen(key);
    keygen(`${key}2`);
    for (const other of [readFileSync(`${key}2.pub`, 'utf8'), '', 'AAAA']) {
      writeFileSync(`${key}.pub`, other);
      const next = `ssh-keygen -y -f '${key}' > '${key}.pub'`;
      const finding = await collectKey(key);
      check(finding, 'critical', says('not-the-public-half'));
      assert.equal(finding.next, next);
    }
  });
});

describe('checkReach() and collectReach()', () => {
  const HERE = { hostName: 'h', port: 22, knownAs: 'h', isProxied: false };
  const reach = (hostName: string, port: number, connectMs: number, greetingMs: number) =>
    collectReach({ hostName, port, isProxied: false }, connectMs, greetingMs);
  const way = { source: '127.0.0.1', peer: '127.0.0.1' };
  it('are content with a greeting alone', () => {
    check(checkReach(HERE, { greeting: 'SSH-2.0-x\u001b', way }), 'ok', /answers \(SSH-2\.0-x\\u001b\)$/);
    check(
      checkReach(HERE, { found: wording('no-program-listens-there') }),
      'critical',
      matching`^"h" port 22: ${says('no-program-listens-there')}$`,
    );
  });

  const served = async (
    t: TestContext,
    words: string | undefined,
    ends = false,
    afterMs = 0,
  ): Promise<number> => {
    const server = createServer(async socket => {
      socket.on('error', () => {});
      if (afterMs > 0) await sleep(afterMs);
      if (words !== undefined) socket.write(words);
      if (ends) socket.end();
    });
    t.after(() => server.close());
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address ? address.port : 0;
  };
  const cases: [words: string | undefined, ends: boolean, expected: object][] = [
    ['SSH-2.0-OpenSSH_9.2p1\r\n', false, { greeting: 'SSH-2.0-OpenSSH_9.2p1', way }],
    ['a banner\r\nSSH-2.0-x\r\n', false, { greeting: 'SSH-2.0-x', way }],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', true, { found: wording('the-program-that-answers-there') }],
    ['x'.repeat(10_000), false, { found: wording('the-program-that-answers-there') }],
    [undefined, true, { found: wording('it-closed-the-connection-without') }],
    [undefined, false, { found: `${wording('it-sends-no-greeting')} within 0.3 s` }],
    ['SSH-2.0-without an end', false, { found: `${wording('it-sends-no-greeting')} within 0.3 s` }],
  ];
  for (const [words, ends, expected] of cases)
    it(`tell ${JSON.stringify(expected)} when ${JSON.stringify(words?.slice(0, 20))} comes`, async t => {
      // Only silence is to be waited for: an answer may be late on a busy machine.
      const isSilent = !ends && !/\r\n|x{1000}/.test(words ?? '');
      const greetingMs = isSilent ? 300 : 60_000;
      assert.deepEqual(await reach('127.0.0.1', await served(t, words, ends), 5000, greetingMs), expected);
    });
  it('wait longer for the greeting than for the connection: a host may be busy', async t => {
    const port = await served(t, 'SSH-2.0-late\r\n', false, 1000);
    assert.deepEqual(await reach('127.0.0.1', port, 500, 60_000), { greeting: 'SSH-2.0-late', way });
  });
  it('tell when nothing listens, and when there is no such name', async t => {
    const port = await served(t, undefined);
    await new Promise(resolve => setImmediate(resolve));
    const free = port === 1 ? 2 : 1; // ports that nobody listens on
    assert.deepEqual(await reach('127.0.0.1', free, 1000, 1000), {
      found: wording('no-program-listens-there'),
    });
    const { found } = (await reach('no-such-host.invalid', 22, 5000, 1000)) as { found: string };
    assert.match(found, /^its name |^no answer/);
  });
});

describe('client: checkCall()', () => {
  const judge = (answer: Parameters<typeof checkCall>[0]): Finding => checkCall(answer, 'vault', 'acorn');
  it('is content with a host that answers, with one that is at work, and with one that does not know the question', () => {
    for (const answer of ['accepted', 'busy', 'full', 'request'] as const)
      check(judge(answer), 'ok', matching`^"vault" ${says('accepts-this-machines-key-and')} "acorn"$`);
  });
  it('does not claim more than a good end of the call shows', () =>
    check(judge('ended'), 'ok', matching`^"vault" ${says('accepts-this-machines-key-and-ended')}`));
  it('says what the host says, or ssh', () => {
    check(judge('name'), 'critical', says('knows-this-key-under-another'), /`name`/);
    check(judge('no-store'), 'critical', says('no-store-at-hand'));
    const fault = new Fault({
      tried: wording('call-the-backup-host'),
      found: wording('it-does-not-accept-the'),
      next: 'enroll',
    });
    check(
      judge(fault),
      'critical',
      matching`^${says('cannot-call-the-backup-host')}: it does not`,
      /^enroll$/,
    );
  });
  it('warns of one that is silent', () => check(judge('late'), 'warning', /no answer within 30 s/));
});

describe('checkTransport()', () => {
  const near = { source: '192.168.1.7', peer: '192.168.1.2' };
  const nat = { source: '192.168.1.7', peer: '203.0.113.5' };
  const at = '2026-11-23T00:12:00.500Z';
  type TransportFacts = Parameters<typeof checkTransport>[0];
  const facts: TransportFacts = {
    label: 'nas',
    transport: 'direct',
    undialed: undefined,
    way: near,
    dialedAt: undefined,
  };
  const judge = (change: Partial<TransportFacts>): Finding => checkTransport({ ...facts, ...change });

  it('is content with direct where nothing speaks against it, and names channel too', () =>
    check(
      judge({}),
      'ok',
      matching`^"nas": ${says('direct-will-probably-work')}: from 192\.168\.1\.7 to .*; ${says('channel-would-work-too')}$`,
    ));
  it('warns of direct behind NAT, and of an account that no host can connect back to, and names the next step', () => {
    const next = matching`^in the \[\[remote\]\] "nas" ${says('of-client-toml-transport-channel')}$`;
    check(
      judge({ way: nat }),
      'warning',
      matching`^"nas": ${says('direct-will-probably-not-work-channel', /.*behind NAT/)}$`,
      next,
    );
    check(
      judge({ undialed: 'it has no shell' }),
      'warning',
      /not work: it has no shell; channel will$/,
      next,
    );
  });
  it('believes a run in which the host has connected back more than addresses', () => {
    check(
      judge({ dialedAt: at }),
      'ok',
      matching`${says('worked-in-the-run-of')} 2026-11-23T00:12:00\.500Z; `,
    );
    check(
      judge({ dialedAt: at, way: nat }),
      'ok',
      /worked in the run of .*, although .*behind NAT; channel would/,
    );
    check(judge({ dialedAt: at, way: undefined }), 'ok');
  });
  it('does not know of direct where the call goes through another program', () =>
    check(
      judge({ way: undefined }),
      'unknown',
      matching`^"nas": ${says('direct-may-work-or-not')}`,
      /^dialback backup; or in the/,
    ));
  it('is content with channel always, and says what direct would do', () => {
    const over = (change: Partial<TransportFacts>): Finding => judge({ ...change, transport: 'channel' });
    const works = `"nas": ${wording('channel-which-works-wherever-the')}`;
    for (const [change, direct] of [
      [{}, `${wording('would-probably-work-too')}: from`],
      [{ way: nat }, `${wording('would-probably-not-work')}: towards`],
      [{ undialed: 'no shell' }, `${wording('would-probably-not-work')}: no shell`],
      [{ undialed: 'no shell', way: nat }, `${wording('would-probably-not-work')}: no shell`],
      [{ way: undefined }, 'may work or not: the call'],
      [{ dialedAt: at, way: nat }, `${wording('would-probably-not-work')}: towards`],
    ] as const) {
      const finding = over(change);
      check(finding, 'ok');
      assert.ok(finding.found.startsWith(`${works} ${direct}`), finding.found);
    }
  });
});

describe('lastDialed()', () => {
  const line = (event: string, more: object = {}) => ({ event, remote: 'nas', time: `at ${event}`, ...more });
  const back = line('granted', { peer: '192.0.2.1 50000 192.0.2.7 8022' });
  const over = line('granted', { peer: 'nobody' });
  const started = line('started');
  const finished = line('finished');
  it('is the time at which the last run let in who had connected back', () => {
    assert.equal(lastDialed([started, back, finished], 'nas'), 'at granted');
    assert.equal(lastDialed([started, finished, started, back], 'nas'), 'at granted');
    const other = [line('started', { remote: 'x' }), line('finished', { remote: 'x' })];
    assert.equal(lastDialed([started, back, finished, ...other], 'nas'), 'at granted');
  });
  it('is nothing when the last run let nobody in, or over a channel, or there was none', () => {
    for (const journal of [
      [],
      [{}],
      [back],
      [started, finished],
      [started, back, finished, started],
      [started, back, finished, started, finished],
      [started, back, finished, started, over, finished],
      [started, line('refused', { peer: '192.0.2.1' }), finished],
      [started, line('granted'), finished],
      [started, line('granted', { peer: 7 }), finished],
      [started, line('granted', { peer: '192.0.2.1', time: 7 }), finished],
      [line('started', { remote: 'x' }), line('granted', { remote: 'x', peer: '192.0.2.1' })],
    ])
      assert.equal(lastDialed(journal, 'nas'), undefined, JSON.stringify(journal));
  });
});

describe('checkListen()', () => {
  const judge = (failed: string | undefined, isBusy = false) =>
    checkListen('0.0.0.0:8022', failed, isBusy, 'nas');
  it('is content where it can listen, or a run does', () => {
    check(judge(undefined), 'ok');
    check(judge('EADDRINUSE', true), 'ok', says('a-run-is-under-way'));
  });
  it('names what is in the way', () => {
    check(judge('EADDRINUSE'), 'critical', /another program/, /^ss -ltnp 'sport = :8022'/);
    check(judge('EACCES', true), 'critical', /may not listen/, /1024/);
    check(judge('EADDRNOTAVAIL'), 'critical', says('not-an-address-of-this'), /^ip address/);
    check(judge('EAFNOSUPPORT'), 'critical', /EAFNOSUPPORT/);
  });
});
