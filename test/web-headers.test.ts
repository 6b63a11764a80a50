import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { attachment, cookieHeader, readCookie, responseHeaders } from '../src/web/headers.ts';
import { namesOf } from '../src/web/listen.ts';
import { routeOf } from '../src/web/routes.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const NAMES = namesOf({ address: '127.0.0.1', port: 8030 }, [], false);
const PROXIED = namesOf(undefined, ['backup.example.org'], true);
const OURS = { Host: '127.0.0.1:8030' };

function route(
  headers: Record<string, string | string[]>,
  method = 'GET',
  target = '/',
  names = NAMES,
): string {
  const rawHeaders = Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().flatMap(value => [name, value]),
  );
  const found = routeOf({ method, target, rawHeaders }, names);
  return found.kind === 'refusal' ? `${found.status}: ${found.found}` : found.kind;
}

describe('routeOf()', () => {
  it('accepts requests for this server', () => {
    assert.equal(route(OURS), 'page');
    assert.equal(route({ Host: 'LOCALHOST:8030' }, 'HEAD'), 'page');
    assert.equal(route({ ...OURS, Origin: 'http://127.0.0.1:8030' }, 'POST', '/login'), 'login');
    assert.equal(route({ ...OURS, Origin: 'http://127.0.0.1:8030' }, 'POST', '/logout'), 'logout');
    assert.equal(route(OURS, 'GET', '/login?token=1'), 'login form');
    assert.equal(route(OURS, 'GET', '/style.css'), 'style');
    assert.equal(route(OURS, 'GET', '/download/oak/latest/etc'), 'download');
    assert.equal(route({ Host: 'backup.example.org' }, 'GET', '/', PROXIED), 'page');
    assert.equal(
      route({ Host: 'backup.example.org', Origin: 'https://backup.example.org' }, 'POST', '/login', PROXIED),
      'login',
    );
    const navigation = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' };
    assert.equal(route({ ...OURS, ...navigation }), 'page');
  });

  it('refuses other hosts, origins, methods and forms', () => {
    const login = (headers: Record<string, string | string[]>, names = NAMES): string =>
      route(headers, 'POST', '/login', names);
    for (const [found, status] of [
      [route({}), 403],
      [route({ Host: '' }), 403],
      [route({ Host: 'evil.example' }), 403],
      [route({ Host: '127.0.0.1' }), 403],
      [route({ Host: '127.0.0.1:80' }), 403],
      [route({ Host: '127.0.0.1:8030.evil.example' }), 403],
      [route({ Host: 'localhost:8030@evil.example' }), 403],
      [route({ Host: '127.0.0.1:8030' }, 'GET', '/', PROXIED), 403],
      [route({ Host: ['127.0.0.1:8030', '127.0.0.1:8030'] }), 400],
      [route({ ...OURS, Cookie: ['a=1', 'b=2'] }), 400],
      [route({ ...OURS, Origin: 'http://evil.example' }), 403],
      [route({ ...OURS, Origin: 'null' }), 403],
      [login(OURS), 403],
      [login({ ...OURS, Origin: 'null' }), 403],
      [login({ ...OURS, Origin: 'http://evil.example' }), 403],
      [login({ ...OURS, Origin: 'https://127.0.0.1:8030' }), 403],
      [login({ ...OURS, Origin: 'http://localhost:8030' }), 403],
      [login({ ...OURS, Origin: 'http://127.0.0.1:8030/' }), 403],
      [
        login({
          ...OURS,
          Origin: 'http://127.0.0.1:8030',
          'Sec-Fetch-Site': 'cross-site',
          'Sec-Fetch-Mode': 'navigate',
        }),
        403,
      ],
      [login({ Host: 'backup.example.org', Origin: 'http://backup.example.org' }, PROXIED), 403],
      [route({ ...OURS, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' }), 403],
      [route({ ...OURS, 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'cors' }), 403],
      [route({ ...OURS, 'Content-Length': '4' }), 403],
      [route({ ...OURS, 'Transfer-Encoding': 'chunked' }), 403],
      [route(OURS, 'GET', '/logout'), 405],
      [route(OURS, 'HEAD', '/logout'), 405],
      [route({ ...OURS, Origin: 'http://127.0.0.1:8030' }, 'POST', '/'), 405],
      [route({ ...OURS, Origin: 'http://127.0.0.1:8030' }, 'POST', '/download/oak/latest'), 405],
      [route({ ...OURS, Origin: 'http://127.0.0.1:8030' }, 'POST', '/style.css'), 405],
      ...['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT', 'get', 'PROPFIND'].map(
        method => [route(OURS, method), 405] as const,
      ),
      [route(OURS, 'GET', '/..'), 400],
    ] as const)
      assert.match(found, new RegExp(`^${status}: `));
  });
});

describe('readCookie()', () => {
  it('reads back what cookieHeader() sets, with the attributes of the server', () => {
    for (const names of [NAMES, PROXIED]) {
      const header = cookieHeader(names, 'abc');
      assert.match(header, /; Path=\/; HttpOnly; SameSite=Strict/);
      assert.equal(header.endsWith('; Secure'), names.isSecure);
      assert.equal(readCookie(names, header.split(';')[0]), 'abc');
    }
    assert.equal(readCookie(PROXIED, 'dialback=abc'), undefined);
    assert.match(cookieHeader(NAMES, undefined), /Max-Age=0$/);
  });

  it('takes neither two cookies nor a part of another name', () => {
    assert.equal(readCookie(NAMES, 'a=1; dialback=abc; b=2'), 'abc');
    for (const header of [undefined, '', 'dialback', 'dialback=a; dialback=b', 'xdialback=a', 'a=dialback=b'])
      assert.equal(readCookie(NAMES, header), undefined, header);
  });
});

describe('responseHeaders()', () => {
  it('lets a page load nothing but the style sheet', () => {
    const headers = responseHeaders(NAMES, { 'Content-Type': 'text/html' });
    const policy = headers['Content-Security-Policy'] ?? '';
    assert.match(
      policy,
      /^default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
    );
    for (const [name, value] of [
      ['X-Content-Type-Options', 'nosniff'],
      ['Referrer-Policy', 'same-origin'],
      ['Cache-Control', 'no-store'],
      ['Cross-Origin-Opener-Policy', 'same-origin'],
      ['Cross-Origin-Resource-Policy', 'same-origin'],
      ['Strict-Transport-Security', undefined],
    ])
      assert.equal(headers[name ?? ''], value, name);
    assert.ok(responseHeaders(PROXIED, {})['Strict-Transport-Security']);
  });
});

describe('attachment()', () => {
  it('keeps plain names, and encodes others', () => {
    assert.equal(attachment('a b.txt'), `attachment; filename="a b.txt"; filename*=UTF-8''a%20b.txt`);
    assert.equal(attachment('é"'), `attachment; filename="__"; filename*=UTF-8''%c3%a9%22`);
  });

  it('hides what changes the look of a name, and leaves no hidden file', () => {
    for (const [name, shown] of [
      ['a\u202egnp.exe', 'a_gnp.exe'],
      ['a\r\nSet-Cookie: b', 'a__Set-Cookie: b'],
      ['..', '_'],
      ['.bashrc', '_bashrc'],
      ['a\udcffb', 'a_b'],
      ['a\\b/c', 'a_b_c'],
    ] as const)
      assert.match(
        attachment(name),
        new RegExp(
          `filename\\*=UTF-8''${encodeURIComponent(shown).toLowerCase().replace('set-cookie', 'Set-Cookie')}$`,
        ),
        name,
      );
  });

  it('is one header value for any name', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), name => {
        assert.match(
          attachment(name),
          /^attachment; filename="[A-Za-z0-9 ._-]*"; filename\*=UTF-8''(?:[A-Za-z0-9._-]|%[0-9a-f]{2})*$/,
        );
      }),
    );
  });
});
