import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../src/config.ts';
import { Fault } from '../src/fault.ts';
import { HOST_SCHEMA } from '../src/host/config.ts';

const REFUSED: [text: string, found: RegExp][] = [
  ['', /^"store" is missing$/],
  ['store = 1', /^"store" is 1, and should be a string$/],
  ['store = "backups"', /^"store" should be an absolute path/],
  ['store = ""', /^"store" should be an absolute path/],
  ['store = "/a\\u0000"', /^"store" has a control character$/],
  ['store = "/s"\nsyslog = "no"', /^"syslog" is "no", and should be true or false$/],
  ['store = "/s"\nmetadata = "real"', /^"metadata" is "real", and should be "fake-super"$/],
  ['store = "/s"\nStore = "/t"', /^"Store" is not a key that it has$/],
  ['store = "/s"\nrequests = 1', /^"requests" is 1, and should be a table$/],
  ['store = "/s"\n[requests]\ndeadline = 5', /^"requests\.deadline" is 5, and should be a string$/],
  ['store = "/s"\n[requests]\ndeadline = "x"', /^"requests\.deadline" should be a time such as/],
  ['store = "/s"\n[requests]\ndeadline = "10ms"', /^"requests\.deadline" should be at least 1 s/],
  ['store = "/s"\n[requests]\nmin_interval = "1h"', /^"requests\.min_interval" is not a key that it has yet/],
  ['store = "/s"\n[space]\nmin_free = "1G"', /^"space" is not a key that it has yet/],
  ['store = "/s"\n[retention]\nlast = 1', /^"retention" is not a key that it has yet/],
  ['store = "/s"\n[client."a"]\nx = 1', /^"client" is not a key that it has yet/],
];

describe('HOST_SCHEMA', () => {
  for (const [text, found] of REFUSED)
    it(`refuses ${JSON.stringify(text)} by its key`, () =>
      assert.throws(
        () => parseConfig(text, 'host.toml', HOST_SCHEMA),
        error => error instanceof Fault && error.exit === 'usage' && found.test(error.found),
      ));
  it('has a value for everything but the store', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parseConfig('store = "/s"', 'host.toml', HOST_SCHEMA))), {
      store: '/s',
      metadata: 'fake-super',
      syslog: true,
      requests: { deadline: 86_400_000 },
    });
  });
});
