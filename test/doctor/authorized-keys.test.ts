import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Finding, State } from '../../src/doctor/finding.ts';
import { checkLines } from '../../src/doctor/key-lines.ts';
import { checkSshd } from '../../src/doctor/sshd.ts';
import { enrolledLine } from '../../src/host/authorized-keys.ts';
import type { PublicKey } from '../../src/wire/key.ts';
import { check, states } from '../support/findings.ts';
import { matching, says } from '../support/wording.ts';

describe('host: checkLines()', () => {
  const blob = ed25519();
  const key: PublicKey = { type: 'ssh-ed25519', blob, comment: 'a test' };
  const facts = {
    path: '/h/.ssh/authorized_keys',
    clients: ['a', 'b'],
    executable: '/usr/local/bin/dialback',
    config: '/etc/dialback/host.toml',
    allowsPlainKey: false,
  };
  const line = (name: string, change: Partial<{ executable: string; config: string }> = {}): string =>
    enrolledLine({ executable: facts.executable, config: facts.config, ...change, name, key });
  const judge = (lines: string[], change: Partial<Parameters<typeof checkLines>[0]> = {}): Finding[] =>
    checkLines({ ...facts, lines, ...change });

  it('is content with lines as enroll writes them, comments and empty lines', () => {
    assert.deepEqual(states(judge(['# ours', '', line('a'), line('b'), ''])), ['ok']);
    assert.match(judge([line('a')])[0]?.found ?? '', /^one client is enrolled/);
    assert.deepEqual(states(judge([line('a')], { clients: undefined })), ['ok']);
  });
  it('finds two things where another executable is named and the client has no folder', () => {
    const found = judge([line('c', { executable: '/tmp/dialback' })]);
    assert.deepEqual(states(found), ['warning', 'critical']);
  });
  const refused: [what: string, lines: string[], state: State, next: RegExp][] = [
    ['no client is enrolled', [''], 'warning', matching`^${says('dialback-enroll-name-keyfile')}$`],
    [
      'another executable is named',
      [line('a', { executable: '/tmp/dialback' })],
      'warning',
      /^echo 'ssh-ed25519 \S+ a test' \| dialback enroll a - --config '\/etc\/dialback\/host\.toml'$/,
    ],
    [
      'another config is named',
      [line('a', { config: '/home/x/host.toml' })],
      'warning',
      /dialback enroll a -/,
    ],
    [
      'there are more options',
      [`${line('a')}`.replace('restrict,', 'restrict,command="x",')],
      'warning',
      /./,
    ],
    ['the client has no folder', [line('c')], 'critical', /dialback enroll c -/],
    [
      'a client of another config has no folder in this store',
      [line('c', { config: '/home/x/host.toml' })],
      'warning',
      /dialback enroll c -/,
    ],
    [
      'the key is bare',
      [`ssh-ed25519 ${blob}`, line('a')],
      'warning',
      /^remove it: sed -i 1d '\/h\/\.ssh\/authorized_keys'$/,
    ],
    [
      'another command is forced',
      [`restrict,command="sh" ssh-ed25519 ${blob}`, line('a')],
      'warning',
      /sed -i 1d/,
    ],
    ['pty is allowed', [line('a').replace('restrict,', 'restrict,pty,'), line('a')], 'warning', /sed -i 1d/],
    [
      'the key is none',
      [line('a').replace(/ ssh-ed25519.*/, ' ssh-ed25519 AAAA')],
      'warning',
      /enroll a KEYFILE/,
    ],
  ];
  for (const [what, lines, state, next] of refused)
    it(`is ${state} when ${what}`, () => {
      const bad = judge(lines).filter(each => each.state === state && next.test(each.next ?? ''));
      assert.ok(bad.length > 0, JSON.stringify(judge(lines)));
      for (const each of judge(lines)) check(each, each.state);
    });
  it('takes a bare key where one account is one client', () =>
    assert.deepEqual(states(judge([`ssh-ed25519 ${blob}`], { allowsPlainKey: true })), ['ok']));
});

/** A made-up key of the right shape (RFC 4251 section 5, RFC 8709 section 4). */

function ed25519(): string {
  const name = Buffer.from('ssh-ed25519');
  const length = (bytes: number) => Buffer.from([0, 0, 0, bytes]);
  return Buffer.concat([length(name.length), name, length(32), Buffer.alloc(32, 7)]).toString('base64');
}

describe('host: checkSshd()', () => {
  const good: Parameters<typeof checkSshd>[0] = {
    port: 22,
    isThere: true,
    usesPam: true,
    isLocked: true,
    name: 'dialback',
  };
  it('is content where something listens and the account can be let in', () => {
    check(checkSshd(good), 'ok');
    check(checkSshd({ ...good, usesPam: false, isLocked: false }), 'ok');
  });
  it('warns of nothing that listens, and of a locked account without PAM', () => {
    check(checkSshd({ ...good, isThere: false }), 'warning', /port 22/, /^systemctl/);
    check(checkSshd({ ...good, usesPam: false }), 'unknown', /locked/, /^as root: usermod -p NP dialback$/);
  });
});
