import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { enrolledLine, enrolledName, lineKeyId, renamedLine } from '../src/host/authorized-keys.ts';
import { acceptsKey, type KeyIds, keyId, parseKeyIds } from '../src/host/key-ids.ts';
import { placeKey } from '../src/host/place-key.ts';
import { type PublicKey, parsePublicKey } from '../src/wire/key.ts';
import { Keys } from './support/keys.ts';

let keys: Keys;
before(() => {
  keys = new Keys();
});
after(() => keys?.remove());

const keyOf = (name: string): PublicKey => {
  const parsed = parsePublicKey(keys.text(name));
  assert.ok('value' in parsed);
  return parsed.value;
};
const COMMAND = { executable: '/usr/bin/dialback', config: '/etc/dialback/host.toml' };
const NAMES = ['ed25519', 'rsa', 'ecdsa', 'ecdsa-256'] as const;
type Mode = 'add' | 'replace' | 'rotate';

const put = (lines: string[], name: string, which: string, ids: KeyIds | undefined, mode: Mode) => {
  const key = keyOf(which);
  const lineOf = (id: string | undefined): string => enrolledLine({ ...COMMAND, name, key, keyId: id });
  return placeKey(lines, { name, key }, lineOf, ids, mode);
};
const idsOf = (lines: string[], name = 'a'): (string | undefined)[] =>
  lines.filter(line => enrolledName(line) === name).map(lineKeyId);

describe('placeKey()', () => {
  it('keeps the old line beside the new one, and its ids say so', () => {
    const first = put([], 'a', 'rsa', undefined, 'add');
    assert.ok('value' in first);
    const second = put(first.value.lines, 'a', 'ed25519', first.value.ids, 'rotate');
    assert.ok('value' in second);
    const id = keyId(keyOf('ed25519'));
    assert.deepEqual(second.value.ids, { current: null, pending: id });
    assert.deepEqual(idsOf(second.value.lines), [undefined, id]);
    const third = put(second.value.lines, 'a', 'ecdsa', second.value.ids, 'rotate');
    assert.ok('value' in third);
    assert.deepEqual(idsOf(third.value.lines), [undefined, keyId(keyOf('ecdsa'))]);
  });

  it('refuses a rotation for a client without a key, and a key of another client', () => {
    assert.ok('reason' in put([], 'a', 'rsa', undefined, 'rotate'));
    const both = ['a', 'b'].map((name, at) =>
      enrolledLine({ ...COMMAND, name, key: keyOf(at === 0 ? 'rsa' : 'ecdsa') }),
    );
    assert.ok('reason' in put(both, 'a', 'ecdsa', undefined, 'rotate'));
    assert.ok(
      'reason' in put([`ssh-rsa ${keyOf('ed25519').blob}`, ...both], 'a', 'ed25519', undefined, 'rotate'),
    );
  });

  it('has only lines of accepted keys, whatever is done, and only those of one client change', () => {
    const step = fc.record({
      which: fc.constantFrom(...NAMES.slice(0, 3)),
      mode: fc.constantFrom<Mode>('add', 'replace', 'rotate'),
      settles: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), steps => {
        const other = enrolledLine({ ...COMMAND, name: 'b', key: keyOf('ecdsa-256') });
        let lines = [other];
        let ids: KeyIds | undefined;
        for (const { which, mode, settles } of steps) {
          const placed = put(lines, 'a', which, mode === 'replace' ? undefined : ids, mode);
          if ('reason' in placed) continue;
          ({ lines, ids } = placed.value);
          assert.equal(lines.filter(line => line === other).length, 1);
          const own = idsOf(lines);
          for (const id of own) assert.ok(ids === undefined ? id === undefined : acceptsKey(ids, id));
          assert.ok(own.length >= 1 && own.length <= 2);
          const again = put(lines, 'a', which, ids, mode === 'replace' ? 'add' : mode);
          assert.equal('value' in again && again.value.did, 'kept');
          // As after a good run with the new key: its ids are written, and the lines may stay.
          if (settles && ids?.pending != null) ids = { current: ids.pending, pending: null };
        }
      }),
    );
  });
});

describe('acceptsKey()', () => {
  it('accepts the current and the pending key, and no other', () => {
    const [one, two, three] = ['0'.repeat(16), '1'.repeat(16), '2'.repeat(16)];
    assert.ok(acceptsKey({ current: null, pending: one }, undefined));
    assert.ok(acceptsKey({ current: one, pending: two }, two));
    for (const [ids, id] of [
      [{ current: one, pending: two }, undefined],
      [{ current: one, pending: null }, two],
      [{ current: null, pending: null }, three],
    ] as [KeyIds, string | undefined][])
      assert.equal(acceptsKey(ids, id), false);
  });
});

describe('parseKeyIds()', () => {
  it('refuses everything but a record', () => {
    const good = { version: 1, current: null, pending: 'a'.repeat(16), authorized_keys: '/f' };
    assert.ok('value' in parseKeyIds(JSON.stringify(good)));
    for (const text of [
      '',
      'null',
      '[]',
      '{}',
      ...[
        { version: 2 },
        { current: 'x' },
        { pending: undefined },
        { current: 'A'.repeat(16) },
        { authorized_keys: 1 },
      ].map(more => JSON.stringify({ ...good, ...more })),
      `{"current":null,${JSON.stringify(good).slice(1)}`,
    ])
      assert.ok('reason' in parseKeyIds(text), text);
  });
});

describe('renamedLine()', () => {
  const to = { from: 'a', to: 'b', config: COMMAND.config };
  it('changes the name in the lines of this store only, with an id or without', () => {
    for (const id of [undefined, '0'.repeat(16)]) {
      const line = enrolledLine({ ...COMMAND, name: 'a', key: keyOf('rsa'), keyId: id });
      const renamed = renamedLine(line, to);
      assert.equal(renamed, enrolledLine({ ...COMMAND, name: 'b', key: keyOf('rsa'), keyId: id }));
      assert.equal(renamedLine(line, { ...to, config: '/other' }), undefined);
      assert.equal(renamedLine(line, { ...to, from: 'aa' }), undefined);
      assert.equal(renamedLine(`#${line}`, to), undefined);
    }
  });

  it('leaves the text of a comment', () => {
    const key = { ...keyOf('rsa'), comment: `' grab --client a --config '${COMMAND.config}'" ` };
    const line = enrolledLine({ ...COMMAND, name: 'c', key });
    assert.equal(renamedLine(line, to), undefined);
  });
});
