import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'smol-toml';
import { renameInConfig } from '../src/host/renamed-config.ts';

const STORE = 'store = "/s" # [client.oak]\n';
const renamed = (text: string, from = 'oak', to = 'elm'): string => {
  const found = renameInConfig(text, from, to);
  assert.ok('text' in found, JSON.stringify(found));
  return found.text;
};

describe('renameInConfig()', () => {
  it('changes nothing where the client has no settings', () => {
    for (const text of [STORE, `${STORE}[client.oaks]\nmax_age = "3d"\n`, `${STORE}[requests]\n`])
      assert.deepEqual(renameInConfig(text, 'oak', 'elm'), { same: true });
  });

  it('changes the names of the tables only, however they are written', () => {
    const tables = `[client.oak]\nmax_age = "3d" # oak\n\n[ client . "oak" . retention ]\nlast = 3\n[client.'oak'.space]\nmax_size = "1G"\n`;
    const text = renamed(`${STORE}${tables}[client.oak2]\nmax_age = "4d"\n`);
    assert.ok(text.startsWith(STORE));
    assert.match(text, /max_age = "3d" # oak\n/);
    assert.deepEqual(Object.keys((parse(text) as { client: object }).client), ['elm', 'oak2']);
  });

  it('quotes a name with a dot, and finds one', () => {
    const text = renamed('[client.oak.retention]\nlast = 3\n', 'oak', 'oak.example.org');
    assert.match(text, /^\[client\."oak\.example\.org"\.retention\]$/m);
    assert.equal(renamed(text, 'oak.example.org', 'oak'), '[client.oak.retention]\nlast = 3\n');
    assert.deepEqual(renameInConfig('[client.oakxexample]\nmax_age = "1d"\n', 'oak.example', 'x'), {
      same: true,
    });
  });

  it('refuses keys that are in no table of their own', () => {
    for (const text of [
      'client.oak.max_age = "3d"\n',
      '[client]\noak = { max_age = "3d" }\n',
      '[client]\noak.max_age = "3d"\n',
      '[client]\nelm.max_age = "1d"\noak.max_age = "3d"\n',
      '[client.oak]\nmax_age = "3d"\n[client.elm]\nmax_age = "4d"\n',
    ])
      assert.ok('reason' in renameInConfig(text, 'oak', 'elm'), text);
  });

  it('takes equal settings of both names for a change by hand', () =>
    assert.deepEqual(
      renameInConfig('[client.oak]\nmax_age = "3d"\n[client.elm]\nmax_age = "3d"\n', 'oak', 'elm'),
      { same: true },
    ));

  it('leaves a text in which the header is part of a string', () => {
    const text = 'x = """\n[client.oak]\n"""\n[client.oak]\nmax_age = "3d"\n';
    assert.ok('reason' in renameInConfig(text, 'oak', 'elm'));
  });
});
