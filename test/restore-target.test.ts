import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isPrivateGroup } from '../src/os/passwd.ts';

describe('isPrivateGroup()', () => {
  const anna = { name: 'anna', gid: 1000 };
  const passwd = 'root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n';
  const group = 'root:x:0:\nusers:x:100:anna,beth\nanna:x:1000:\n';

  it('takes a group of the same name that nobody else is in', () => {
    assert.ok(isPrivateGroup(anna, group, passwd));
    assert.ok(isPrivateGroup(anna, group.replace('anna:x:1000:', 'anna:x:1000:anna'), passwd));
  });

  it('refuses every other one', () => {
    for (const [groups, accounts] of [
      ['', passwd],
      [group.replace('anna:x:1000:', 'staff:x:1000:'), passwd],
      [group.replace('anna:x:1000:', 'anna:x:1000:beth'), passwd],
      [group.replace('anna:x:1000:', 'anna:x:1000:anna,beth'), passwd],
      [group, `${passwd}beth:x:1001:1000::/home/beth:/bin/sh\n`],
      [`${group}other:x:1000:\n`, passwd],
      [`${group}anna:x:1000:\n`, passwd],
      [group.replace('anna:x:1000:', '+anna:x::'), passwd],
    ] as const)
      assert.ok(!isPrivateGroup(anna, groups, accounts), groups);
    assert.ok(!isPrivateGroup({ name: 'anna', gid: 100 }, group, passwd));
  });
});
