import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePasswd } from '../src/os/account.ts';
import { findEntry } from '../src/os/passwd.ts';

const TEXT = [
  'root:x:0:0:root:/root:/bin/bash',
  'dialback:x:990:990::/var/lib/dialback:/bin/sh',
  'broken:x:many:1::/home/broken:/bin/sh',
  'relative:x:991:991::home:/bin/sh',
  'second:x:990:990::/other:/bin/sh',
  '',
].join('\n');

describe('findEntry()', () => {
  it('finds an account by its name or number, the first of several', () => {
    const dialback = { name: 'dialback', uid: 990, home: '/var/lib/dialback' };
    assert.deepEqual(findEntry(TEXT, 'dialback'), dialback);
    assert.deepEqual(findEntry(TEXT, 990), dialback);
  });
  it('finds none where there is none, or one without a number or a home', () => {
    for (const key of ['', 'x', 'dial', 'broken', 'relative', 991, 1])
      assert.equal(findEntry(TEXT, key), undefined);
  });
});

describe('parsePasswd()', () => {
  it('reads a line, and takes an empty shell for /bin/sh', () => {
    const anna = { name: 'anna', uid: 1000, gid: 100, home: '/home/a b', shell: '/bin/bash' };
    assert.deepEqual(parsePasswd('anna:x:1000:100:Anna,,,:/home/a b:/bin/bash\n'), anna);
    assert.deepEqual(parsePasswd('anna:x:1000:100:::'), undefined);
    assert.deepEqual(parsePasswd('anna:x:1000:100::/home/a b:'), { ...anna, shell: '/bin/sh' });
  });
  it('takes nothing else', () => {
    for (const line of [
      '',
      ':',
      'anna',
      'anna:x:1:2::/h',
      ':x:1:2::/h:/s',
      'a:x::2::/h:/s',
      'a:x:-1:2::/h:/s',
    ])
      assert.equal(parsePasswd(line), undefined, line);
  });
});
