import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sessions } from '../src/web/session.ts';

const HOUR = 3_600_000;

function cookieOf(sessions: Sessions, token: string, nowMs: number): string {
  const result = sessions.login(token, nowMs);
  assert.ok('value' in result);
  return result.value;
}

describe('Sessions', () => {
  it('exchanges a token of 256 bits once', () => {
    const sessions = new Sessions();
    const token = sessions.makeToken(0);
    assert.match(token, /^[0-9a-f]{64}$/);
    const cookie = cookieOf(sessions, token, 1);
    assert.match(cookie, /^[0-9a-f]{64}$/);
    assert.notEqual(cookie, token);
    assert.ok(sessions.isLoggedIn(cookie, 2));
    assert.ok('reason' in sessions.login(token, 3), 'used');
    assert.ok(sessions.isLoggedIn(cookie, 4));
  });

  it('refuses wrong, old and replaced tokens', () => {
    const sessions = new Sessions();
    assert.ok('reason' in sessions.login('', 0), 'none');
    const first = sessions.makeToken(0);
    for (const wrong of ['', first.slice(1), `${first}0`, first.toUpperCase(), 'x'.repeat(100_000)])
      if (wrong !== first) assert.ok('reason' in sessions.login(wrong, 1));
    const second = sessions.makeToken(1);
    assert.ok('reason' in sessions.login(first, 2), 'replaced');
    assert.ok('reason' in sessions.login(second, 1 + HOUR + 1), 'expired');
    assert.ok('reason' in sessions.login(second, 2), 'and gone');
    assert.ok('value' in sessions.login(sessions.makeToken(5), 6));
  });

  it('ends a session at logout, when it is idle, after a week, and when there are too many', () => {
    const sessions = new Sessions();
    const first = cookieOf(sessions, sessions.makeToken(0), 0);
    const other = cookieOf(sessions, sessions.makeToken(0), 0);
    for (const wrong of [undefined, '', first.slice(1), `${first} `])
      assert.ok(!sessions.isLoggedIn(wrong, 1));
    sessions.logout(first);
    assert.ok(!sessions.isLoggedIn(first, 1));
    assert.ok(sessions.isLoggedIn(other, 12 * HOUR));
    assert.ok(sessions.isLoggedIn(other, 24 * HOUR), 'used in between');
    assert.ok(!sessions.isLoggedIn(other, 37 * HOUR), 'idle');
    let last = cookieOf(sessions, sessions.makeToken(0), 0);
    for (let at = 0; at < 7 * 24; at += 10) assert.ok(sessions.isLoggedIn(last, at * HOUR), String(at));
    assert.ok(!sessions.isLoggedIn(last, 7 * 24 * HOUR + 1), 'a week');
    const all = Array.from({ length: 17 }, () => cookieOf(sessions, sessions.makeToken(0), 0));
    last = all.at(-1) ?? '';
    assert.ok(!sessions.isLoggedIn(all[0], 1), 'pushed out');
    assert.ok(sessions.isLoggedIn(all[1], 1));
    assert.ok(sessions.isLoggedIn(last, 1));
  });
});
