import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { overSsh } from '../src/client/call.ts';
import { parseResolved } from '../src/client/ssh-settings.ts';
import type { ExitName, Fault } from '../src/fault.ts';
import type { ExitResult } from '../src/os/process.ts';
import { matching, says, wording } from './support/wording.ts';

const TOP = mkdtempSync(join(tmpdir(), 'db call-'));
after(() => rmSync(TOP, { recursive: true, force: true }));

let count = 0;

/** The fault for an ssh that ended so, with these words in its log. */
async function explain(ending: ExitResult, hasReported: boolean, words = ''): Promise<Fault> {
  count += 1;
  const logFile = join(TOP, `log ${count}`);
  await using held = new AsyncDisposableStack();
  const { explainEnd } = await overSsh(held, {
    target: 'vault',
    identity: '/k',
    knownHosts: '/known',
    logFile,
    connectSeconds: 1,
    idleSeconds: 1,
    more: [],
    command: '',
  });
  if (words !== '') writeFileSync(logFile, `${words}\n`);
  return await explainEnd(ending, hasReported);
}

const status = (number: number | null): ExitResult => ({ status: number, signal: null });

describe('overSsh()', () => {
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGHUP'] as const)
    for (const hasReported of [false, true])
      it(`names ${signal} and not the host, when it killed ssh ${hasReported ? 'after an' : 'before any'} event`, async () => {
        const fault = await explain({ status: null, signal }, hasReported, 'a warning of ssh');
        assert.equal(fault.found, `${wording('ssh-on-this-machine-was')} ${signal}`);
        assert.equal(fault.exit, 'failed');
        assert.match(fault.next ?? '', /^dialback backup/);
        assert.doesNotMatch(fault.text(), /administrator|hung up|log has the reason/);
      });

  const cases: [ending: ExitResult, hasReported: boolean, words: string, exit: ExitName, found: RegExp][] = [
    [
      status(255),
      true,
      '',
      'unreachable',
      matching`^the connection broke: ${says('it-does-not-answer-any')} `,
    ],
    [status(255), true, 'Connection reset', 'unreachable', /^the connection broke: Connection reset$/],
    [status(255), false, '', 'unreachable', matching`^${says('ssh-exited-without-a-message')}$`],
    [status(255), false, 'x: No route to host', 'unreachable', /^x: No route to host$/],
    [
      status(255),
      false,
      'me@x: Permission denied (publickey).',
      'refused',
      matching`${says('does-not-accept-the-key')} "\/k"`,
    ],
    [
      status(255),
      false,
      'No ED25519 host key is known for x',
      'unreachable',
      matching`"\/known" ${says('does-not-have-its-key')}`,
    ],
    [status(255), false, 'Host key verification failed.', 'unreachable', says('its-key-is-not-the')],
    [status(255), false, 'WARNING: UNPROTECTED PRIVATE KEY FILE!', 'usage', says('others-can-read-it')],
    [status(1), true, '', 'failed', matching`^${says('it-hung-up-without-an-outcome')} 1\)$`],
    [status(0), false, '', 'failed', matching`^${says('it-hung-up-without-an-outcome')} 0\)$`],
    [status(null), false, '', 'failed', matching`^${says('it-hung-up-without-an-outcome')} unknown\)$`],
  ];
  for (const [ending, hasReported, words, exit, found] of cases)
    it(`explains status ${ending.status} ${hasReported ? 'after' : 'without'} events, when ssh says "${words}"`, async () => {
      const fault = await explain(ending, hasReported, words);
      assert.match(fault.found, found);
      assert.equal(fault.exit, exit);
    });

  it('marks a wrong host key, which no other attempt can change', async () => {
    const fault = await explain(status(255), false, 'REMOTE HOST IDENTIFICATION HAS CHANGED!');
    assert.equal(fault.code, 'wrong-key');
  });
});

describe('parseResolved()', () => {
  const text = 'host x\nuser me\nhostname 192.0.2.1\nport 22\nproxycommand none\n';
  it('reads where the call goes, and by what name its key is known', () => {
    const called = { hostName: '192.0.2.1', port: 22, knownAs: '192.0.2.1', isProxied: false };
    assert.deepEqual(parseResolved(text), called);
    assert.equal(parseResolved(text.replace('22', '8022'))?.knownAs, '[192.0.2.1]:8022');
    assert.equal(parseResolved(`${text}hostkeyalias vault\n`)?.knownAs, 'vault');
    assert.equal(parseResolved(`${text}proxyjump a,b\n`)?.isProxied, true);
    assert.equal(parseResolved(text.replace('none', '/bin/nc %h %p'))?.isProxied, true);
  });
  it('reads nothing out of something else', () => {
    for (const other of ['', 'hostname x\n', 'port 22\n', 'hostname x\nport none\n'])
      assert.equal(parseResolved(other), undefined, other);
  });
});
