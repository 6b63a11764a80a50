import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { enrolledLine, enrolledName, hasKey } from '../src/host/authorized-keys.ts';
import { KeyLines } from '../src/host/key-lines.ts';
import { placeKey } from '../src/host/place-key.ts';
import type { PublicKey } from '../src/wire/key.ts';

const COMMAND = { executable: '/usr/bin/dialback', config: '/etc/dialback/host.toml' };
const keyOf = (number: number): PublicKey => ({
  type: 'ssh-ed25519',
  blob: `AAAAC3NzaC1lZDI1NTE5AAAAI${number}`,
  comment: '',
});
const lineOf = (name: string, number: number): string =>
  enrolledLine({ ...COMMAND, name, key: keyOf(number) });

describe('KeyLines', () => {
  const some = fc.oneof(
    fc
      .record({ name: fc.constantFrom('a', 'b', 'c'), number: fc.nat(3) })
      .map(each => lineOf(each.name, each.number)),
    fc.constantFrom(
      '',
      '# head',
      `#${lineOf('a', 1)}`,
      `ssh-ed25519 ${keyOf(2).blob} login`,
      `\t${keyOf(1).blob}`,
    ),
  );

  it('about() returns what a search in all lines finds, also after changes', () => {
    const change = fc.record({ name: fc.constantFrom('a', 'b'), lines: fc.array(some, { maxLength: 2 }) });
    fc.assert(
      fc.property(fc.array(some, { maxLength: 8 }), fc.array(change, { maxLength: 4 }), (before, changes) => {
        const keys = new KeyLines(before);
        let lines = before;
        for (const each of changes) {
          keys.replace(each.name, each.lines);
          lines = [...lines.filter(line => enrolledName(line) !== each.name), ...each.lines];
        }
        assert.deepEqual(keys.all(), lines);
        for (const name of ['a', 'b', 'c', 'd'])
          for (const number of [0, 1, 2, 3]) {
            const isAbout = (line: string): boolean =>
              !line.startsWith('#') && (enrolledName(line) === name || hasKey(line, keyOf(number)));
            assert.deepEqual(keys.about(name, keyOf(number).blob), lines.filter(isAbout));
          }
      }),
    );
  });

  it('has a key placed beside thousands of lines without a look at each of them', () => {
    /** How often a line is split into words while `count` clients are placed in a file with as many others. */
    const looks = (count: number): number => {
      const before = Array.from({ length: count }, (_, number) => lineOf(`old-${number}`, number));
      const { split } = String.prototype;
      let calls = 0;
      String.prototype.split = function counted(this: string, ...words: Parameters<typeof split>): string[] {
        calls += 1;
        return split.apply(this, words);
      } as typeof split;
      try {
        const keys = new KeyLines(before);
        for (let number = 0; number < count; number += 1) {
          const [name, key] = [`new-${number}`, keyOf(count + number)];
          const placed = placeKey(
            keys.about(name, key.blob),
            { name, key },
            () => lineOf(name, count + number),
            undefined,
            'add',
          );
          assert.ok('value' in placed);
          keys.replace(name, placed.value.lines);
        }
        assert.equal(keys.all().length, 2 * count);
        return calls;
      } finally {
        String.prototype.split = split;
      }
    };
    const [few, many] = [looks(100), looks(1000)];
    assert.ok(few >= 200 && many <= 10 * few + 10, `${few} looks for 100 clients, ${many} for 1,000`);
  });
});
