/** Decoders of what a browser sends to `dialback web`. */
import assert from 'node:assert/strict';
import { attachment, readCookie } from '../../src/web/headers.ts';
import { namesOf, parseHosts, parsePort, portText } from '../../src/web/listen.ts';
import { routeOf } from '../../src/web/routes.ts';
import { parseQuery, parseTarget } from '../../src/web/target.ts';
import { encodeName } from '../../src/wire/text.ts';
import type { Target } from './explore.ts';

const NAMES = namesOf({ address: '127.0.0.1', port: 8030 }, ['b.example'], false);

/** The target of a request, a line each for the method and the headers behind it. */
export const webRequest: Target = {
  name: 'web-request',
  seeds: [
    '/browse/oak/latest/a%20b?after=x&page=2\nGET\nHost\n127.0.0.1:8030',
    '/login?token=1\nPOST\nHost\nb.example\nOrigin\nhttp://b.example\nCookie\ndialback=1',
    '/download/oak/latest/%ff/..%2f/%2e%2e\nHEAD\nHost\nlocalhost:8030\nHost\nlocalhost:8030',
  ],
  words: [
    '/',
    '..',
    '%2e',
    '%2f',
    '%00',
    '%61',
    '//',
    '?q=',
    '&',
    '+',
    'Host\n',
    'Origin\n',
    'http://',
    ':8030',
  ],
  mostBytes: 4096,
  run(input) {
    const [target = '', method = '', ...rawHeaders] = input.toString('latin1').split('\n');
    const route = routeOf({ method, target, rawHeaders }, NAMES);
    const parsed = parseTarget(target);
    if (route.kind === 'refusal') return `${route.status} ${route.found}`.slice(0, 60);
    assert.ok('value' in parsed);
    for (const segment of parsed.value.path) {
      const bytes = encodeName(segment).toString('latin1');
      assert.ok(!['', '.', '..'].includes(bytes) && !/[/\0]/.test(bytes) && bytes.length <= 255, bytes);
      assert.match(
        attachment(segment),
        /^attachment; filename="[A-Za-z0-9 ._-]*"; filename\*=UTF-8''[A-Za-z0-9._%-]*$/,
      );
    }
    const hosts = rawHeaders.filter((_, at) => at % 2 === 0 && rawHeaders[at]?.toLowerCase() === 'host');
    assert.equal(hosts.length, 1);
    return `${route.kind} ${parsed.value.path.length} ${readCookie(NAMES, rawHeaders.at(-1)) !== undefined}`;
  },
};

/** A form's body, and the values of --listen and --host. */
export const webWords: Target = {
  name: 'web-words',
  seeds: [
    'token=0123456789abcdef',
    'q=a+b%2B&after=',
    '127.0.0.1:8030',
    '[::1]:65535',
    'b.example:8443,c.example',
  ],
  words: ['&', '=', '+', '%', '%00', ':', '[', ']', ',', '127.', 'localhost'],
  mostBytes: 512,
  run(input) {
    const text = input.toString('latin1');
    const query = parseQuery(text);
    if ('value' in query) for (const value of query.value.values()) assert.ok(!value.includes('\0'));
    const port = parsePort(text);
    if ('value' in port) assert.deepEqual(parsePort(portText(port.value)), port);
    const hosts = parseHosts(text);
    if ('value' in hosts) for (const host of hosts.value) assert.doesNotMatch(host, /[^a-z0-9.:[\]-]/);
    return `${'value' in query} ${'value' in port} ${'value' in hosts}`;
  },
};
