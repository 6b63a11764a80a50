import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeEnrollment, encodeEnrollment } from '../src/wire/enrollment.ts';
import { parsePublicKey } from '../src/wire/key.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { Keys } from './support/keys.ts';

let keys: Keys;
before(() => {
  keys = new Keys();
});
after(() => keys?.remove());

const halfOf = (name: string): string => keys.text(name).trim().split(' ').slice(0, 2).join(' ');

describe('decodeEnrollment()', () => {
  it('reads what encodeEnrollment() wrote', () => {
    const key = halfOf('ed25519');
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/), name => {
        const decoded = decodeEnrollment(encodeEnrollment(name, key));
        assert.ok('value' in decoded);
        assert.equal(decoded.value.name, name);
        assert.equal(`${decoded.value.key.type} ${decoded.value.key.blob}`, key);
      }),
    );
  });

  it('takes a comment', () => {
    const decoded = decodeEnrollment(`oak ${keys.text('rsa').trim()}`);
    assert.ok('value' in decoded);
    assert.equal(decoded.value.key.comment, 'me@rsa');
  });

  it('refuses every other line', () => {
    const key = halfOf('ed25519');
    for (const line of [
      '',
      'oak',
      'oak ',
      key,
      keys.text('ed25519').trim(),
      `Oak ${key}`,
      `-oak ${key}`,
      ` oak ${key}`,
      `oak  ${key}`,
      `oak\t${key}`,
      `oak,elm ${key}`,
      `${'a'.repeat(64)} ${key}`,
      `oak command="id" ${key}`,
      `oak ${key.slice(0, -4)}`,
      `oak ${key} x\ny`,
      `oak ${keys.text('rsa-1024').trim().replace('ssh-rsa', 'ssh-dss')}`,
    ])
      assert.ok('reason' in decodeEnrollment(line), line);
  });

  it('says that the name is missing in front of a key', () => {
    const decoded = decodeEnrollment(halfOf('ed25519'));
    assert.match('reason' in decoded ? decoded.reason : '', /name/);
  });

  it('gives only a name and a key that are valid, whatever the line', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), fc.boolean(), (text, hasKey) => {
        const decoded = decodeEnrollment(hasKey ? `${text} ${halfOf('ed25519')}` : text);
        if ('reason' in decoded) return;
        assert.match(decoded.value.name, /^[a-z0-9][a-z0-9._-]{0,62}$/);
        assert.ok('value' in parsePublicKey(`${decoded.value.key.type} ${decoded.value.key.blob}`));
      }),
    );
  });
});
