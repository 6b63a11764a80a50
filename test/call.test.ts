import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseResolved } from '../src/client/call.ts';

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
