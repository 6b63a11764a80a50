import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blankNames, REFUSED_NAMES } from '../tools/environment.ts';

const padding = 'other\0';
const all = (names = REFUSED_NAMES): Buffer => Buffer.from(`\0${padding}${names.join(`\0${padding}`)}\0`);

describe('blankNames()', () => {
  it('makes each name one that nothing has, and changes nothing else', () => {
    const bytes = all();
    const before = bytes.toString('latin1');
    blankNames(bytes);
    const after = bytes.toString('latin1');
    assert.equal(after.length, before.length);
    for (const name of REFUSED_NAMES) assert.equal(after.includes(`\0${name}\0`), false, name);
    assert.equal(
      after,
      before.replace(/(?<=\0)[A-Z][A-Z0-9_]+(?=\0)/g, name => `\0${name.slice(1)}`),
    );
  });

  it('leaves a longer name, a part of a text, and a string of V8, which has its length before it', () => {
    const length = Buffer.alloc(4);
    length.writeInt32LE('OPENSSL_CONF'.length);
    const others = Buffer.concat([
      Buffer.from('\0MY_OPENSSL_CONF\0OPENSSL_CONFIG\0process.env.OPENSSL_CONF\0'),
      length,
      Buffer.from('OPENSSL_CONF\0'),
    ]);
    const bytes = Buffer.concat([others, all()]);
    blankNames(bytes);
    assert.deepEqual(bytes.subarray(0, others.length), others);
  });

  it('refuses a base without one of the names', () => {
    for (const name of REFUSED_NAMES) {
      const others = REFUSED_NAMES.filter(each => each !== name);
      assert.throws(() => blankNames(all(others)), new RegExp(`variable ${name} from`));
    }
  });
});
