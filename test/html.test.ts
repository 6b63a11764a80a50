import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fieldValue, html, nameOf, styleSheet } from '../src/web/pages/html.ts';
import { jsonName, showName } from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

/** The text of markup without its tags, as a browser shows it. */
const shown = (markup: string): string =>
  markup
    .replace(/<[^<>]*>/g, '')
    .replace(
      /&(amp|lt|gt|quot|#39);/g,
      (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name] ?? '',
    );

/** Characters that a browser obeys or hides. */
const ACTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

describe('html``', () => {
  it('escapes each value, in text and in attributes', () => {
    const value = `<b class="x">&'`;
    assert.equal(
      html`<p title="${value}">${value}</p>`.text,
      '<p title="&lt;b class=&quot;x&quot;&gt;&amp;&#39;">&lt;b class=&quot;x&quot;&gt;&amp;&#39;</p>',
    );
  });

  it('keeps markup of its own, joins lists, and leaves out what is absent', () => {
    const inner = html`<i>${1}</i>`;
    assert.equal(html`${inner}${[inner, 'a', [2n]]}${undefined}${null}${false}`.text, '<i>1</i><i>1</i>a2');
  });

  it('shows control characters and bidirectional marks as their code', () => {
    assert.equal(html`${'a\u202Eb\nc\u0007\\d'}`.text, 'a\\u202eb\\nc\\u0007\\d');
  });

  it('accepts any text as text', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), text => {
        const made = html`<p title="${text}">${text}</p>`.text;
        const [, title = '', content = ''] = /^<p title="([^"<>]*)">([^<>]*)<\/p>$/.exec(made) ?? [];
        assert.equal(title, content);
        assert.doesNotMatch(content, ACTIVE);
      }),
    );
  });

  it('refuses a value in an attribute without quotes', () => {
    assert.throws(() => html`<p title=${'a'}>`, /without quotes/);
  });

  for (const address of ['javascript:alert(1)', 'http://example.org/', '//example.org/', ' /a', 'a', ''])
    it(`refuses the address "${address}"`, () => {
      assert.throws(() => html`<a href="${address}">`, /address/);
      assert.throws(() => html`<form action="${address}">`, /address/);
    });

  it('accepts the addresses of this server', () => {
    for (const address of ['/', '/a', '#a', '?a=1'])
      assert.ok(html`<a href="${address}">`.text.includes(address));
  });
});

describe('nameOf()', () => {
  it('shows a name as the command line does, whatever its bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), bytes => {
        const name = Buffer.from(bytes);
        const { text } = nameOf(name);
        assert.equal(shown(text), showName(jsonName(name)));
        assert.doesNotMatch(text, ACTIVE);
        assert.match(
          text,
          /^<bdi class="name" dir="ltr">(?:[^<>]|<span class="escape">[^<>]*<\/span>)*<\/bdi>$/,
        );
      }),
    );
  });

  it('marks escapes, and no text that looks like one', () => {
    assert.equal(nameOf(Buffer.from('\u202E')).text.match(/class="escape"/g)?.length, 1);
    assert.match(nameOf(Buffer.from('\\u202e')).text, /<span class="escape">\\\\<\/span>u202e/);
  });
});

describe('fieldValue()', () => {
  it('keeps the characters that the browser sends back', () => {
    assert.equal(fieldValue('a\\b"<\u202E').text, 'a\\b&quot;&lt;\u202E');
  });

  it('has no lone surrogate, which UTF-8 does not have', () => {
    assert.equal(fieldValue('\uDC80').text, '\uFFFD');
  });
});

describe('styleSheet()', () => {
  it('refuses text that could end the element', () => {
    assert.throws(() => styleSheet('</style>'), /style sheet/);
    assert.equal(styleSheet('a > b {}').text, 'a > b {}');
  });
});
