import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseShell } from '../src/host/login-shell.ts';

const EXE = '/usr/local/bin/dialback';
const ENROLLED = `'${EXE}' grab --client acorn --config '/h/host.toml'`;
const OFFERED = `'${EXE}' grab --offer 0123abcd --client acorn --config '/h/host.toml'`;
const FETCH = 'any:fetch';

describe('parseShell()', () => {
  it('takes the commands that enroll and offer write', () => {
    const value = { client: 'acorn', config: '/h/host.toml', originalCommand: FETCH };
    assert.deepEqual(parseShell(['-c', ENROLLED], EXE, FETCH, undefined), { value });
    assert.deepEqual(parseShell(['-c', OFFERED], EXE, FETCH, undefined), {
      value: { ...value, offer: '0123abcd' },
    });
  });

  it('takes the command of a key that was rotated, and no other form of it', () => {
    const rotated = ENROLLED.replace('grab', 'grab --key 0123456789abcdef');
    const value = {
      client: 'acorn',
      config: '/h/host.toml',
      originalCommand: FETCH,
      key: '0123456789abcdef',
    };
    assert.deepEqual(parseShell(['-c', rotated], EXE, FETCH, undefined), { value });
    for (const command of [
      rotated.replace('abcdef', 'ABCDEF'),
      rotated.replace('abcdef', 'abcde'),
      rotated.replace('abcdef', 'abcdef0'),
      rotated.replace('--key', '--offer 0123abcd --key'),
      rotated.replace('--key', '--key 0123456789abcdef --key'),
      ENROLLED.replace('--client acorn', '--client acorn --key 0123456789abcdef'),
    ])
      assert.ok('reason' in parseShell(['-c', command], EXE, FETCH, undefined), command);
  });

  it('refuses every other form of an offer', () => {
    for (const command of [
      OFFERED.replace('0123abcd', '0123ABCD'),
      OFFERED.replace('0123abcd', '0123abcd0'),
      OFFERED.replace('0123abcd', '../x'),
      OFFERED.replace(' --client acorn', ''),
      OFFERED.replace('--offer 0123abcd --client acorn', '--client acorn --offer 0123abcd'),
      OFFERED.replace('--offer', '--offer  '),
      OFFERED.replace(EXE, '/tmp/dialback'),
      `${OFFERED} --local`,
      `${OFFERED}; id`,
      OFFERED.replace("'/h/host.toml'", "'host.toml'"),
    ])
      assert.ok('reason' in parseShell(['-c', command], EXE, FETCH, undefined), command);
    assert.ok('reason' in parseShell(['-c', OFFERED], EXE, undefined, undefined), 'no forced command');
    const other = { client: 'oak', config: '/h/host.toml' };
    assert.ok('reason' in parseShell(['-c', OFFERED], EXE, FETCH, other), "another account's client");
  });
});
