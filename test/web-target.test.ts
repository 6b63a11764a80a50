import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseQuery, parseTarget } from '../src/web/target.ts';
import { encodeName } from '../src/wire/text.ts';

const segments = (text: string): readonly string[] | undefined => {
  const parsed = parseTarget(text);
  return 'reason' in parsed ? undefined : parsed.value.path;
};

describe('parseTarget()', () => {
  it('decodes the segments of a path', () => {
    assert.deepEqual(segments('/'), []);
    assert.deepEqual(segments('/browse/oak/latest/a%20b'), ['browse', 'oak', 'latest', 'a b']);
    assert.deepEqual(segments('/browse/%C3%A9%FF'), ['browse', 'é\udcff']);
    assert.deepEqual(segments('/browse/a+b/.hidden/...'), ['browse', 'a+b', '.hidden', '...']);
    assert.deepEqual(segments(`/${'a'.repeat(255)}`), ['a'.repeat(255)]);
  });

  it('refuses every other form', () => {
    for (const target of [
      '',
      'browse',
      '*',
      'http://127.0.0.1/',
      '//evil/',
      '/browse//oak',
      '/browse/',
      '/.',
      '/..',
      '/browse/../../etc/passwd',
      '/browse/%2e%2e/x',
      '/browse/%2E./x',
      '/browse/.%2e',
      '/browse/a%2Fb',
      '/browse/a%2fb',
      '/browse/a%00b',
      '/browse/%61',
      '/browse/%7E',
      '/browse/%5f',
      '/browse/%252e%252e/%2e',
      '/browse/%',
      '/browse/%4',
      '/browse/%zz',
      '/browse/a\\b',
      '/browse/a b',
      '/browse/a\tb',
      '/browse/é',
      '/browse#x',
      '/browse/"x"',
      '/browse/<x>',
      `/${'a'.repeat(256)}`,
      `/${'%C3'.repeat(256)}`,
      `/${'a/'.repeat(3000)}a`,
      `/${'%C3%A9/'.repeat(2500)}a`,
      '/search/oak?q=a&q=b',
      '/search/oak?q=%00',
      '/search/oak?Q=a',
      '/search/oak?=a',
      '/search/oak?q=a#b',
      '/search/oak?q=<',
      `/search/oak?${Array.from({ length: 17 }, (_, at) => `q${'abcdefghijklmnopq'[at]}=1`).join('&')}`,
    ])
      assert.equal(segments(target), undefined, target);
  });

  it('returns any path that an address encodes byte by byte, and never throws', () => {
    const names = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 });
    fc.assert(
      fc.property(names, all => {
        const plain = all.map(each =>
          Buffer.from(each.map(byte => (byte === 0 || byte === 0x2f ? 1 : byte))),
        );
        const isOdd = plain.some(each => ['.', '..'].includes(each.toString('latin1')));
        const encode = (bytes: Buffer): string =>
          [...bytes.toString('latin1')]
            .map(each =>
              /[A-Za-z0-9._~-]/.test(each) ? each : `%${each.charCodeAt(0).toString(16).padStart(2, '0')}`,
            )
            .join('');
        const found = segments(`/${plain.map(encode).join('/')}`);
        if (isOdd) assert.equal(found, undefined);
        else assert.deepEqual(found?.map(encodeName), plain);
      }),
    );
    fc.assert(fc.property(fc.string(), text => void parseTarget(text)));
    fc.assert(fc.property(fc.string(), text => void parseTarget(`/${text}`)));
  });
});

describe('parseQuery()', () => {
  it('decodes what a form sends', () => {
    const parsed = parseQuery('q=a+b%2B%C3%A9&after=&page');
    assert.deepEqual('value' in parsed && [...parsed.value], [
      ['q', 'a b+é'],
      ['after', ''],
      ['page', ''],
    ]);
  });
});
