import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'smol-toml';
import type * as v from 'valibot';
import { CLIENT_SCHEMA } from '../src/client/config.ts';
import { parseExcludes } from '../src/client/filter.ts';
import { HOST_SCHEMA } from '../src/host/config.ts';
import { ANY, configKeys } from '../src/shared/config-keys.ts';
import { parseConfig } from '../src/shared/toml.ts';

const SHARE = join(import.meta.dirname, '..', 'share');
const sample = (name: string): string => readFileSync(join(SHARE, name), 'utf8');

/** A sample with its commented-out settings (`#key = …`, no blank behind the #) put in force. */
function withAll(text: string): string {
  return text.replaceAll(/^#(?=[a-z_]+ = )/gm, '');
}

/** The value at a path of a TOML table; of a list of tables the first that has it counts, of a table with any names the first. */
function valueAt(table: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => {
    if (name !== ANY) return (at as Record<string, unknown> | undefined)?.[name];
    return Array.isArray(at) ? Object.assign({}, ...at.toReversed()) : Object.values(at ?? {})[0];
  }, table);
}

const CONFIGS: [name: string, schema: v.GenericSchema, leastKeys: number][] = [
  ['client.toml', CLIENT_SCHEMA, 20],
  ['host.toml', HOST_SCHEMA, 30],
];

for (const [name, schema, leastKeys] of CONFIGS) {
  describe(`share/${name}`, () => {
    const text = sample(name);

    it('is a valid config as it stands', () => {
      parseConfig(text, name, schema);
    });

    it('is a valid config with all that is commented out', () => {
      parseConfig(withAll(text), name, schema);
    });

    it('has every key of the schema', () => {
      const keys = configKeys(schema);
      assert.ok(keys.length >= leastKeys, `only ${keys.length} keys were found in the schema`);
      const table = parse(withAll(text));
      const absent = keys
        .filter(({ path }) => valueAt(table, path) === undefined)
        .map(({ path }) => path.join('.'));
      assert.deepEqual(absent, []);
    });

    it('shows the default where a key with one is commented out', () => {
      const live = parse(text);
      const all = parse(withAll(text));
      for (const { path, fallback } of configKeys(schema)) {
        const name = path.join('.');
        const isExample =
          Array.isArray(fallback) && fallback.length === 0 && name === `remote.${ANY}.ssh_options`;
        if (fallback === undefined || isExample || valueAt(live, path) !== undefined) continue;
        assert.deepEqual(valueAt(all, path), fallback, name);
      }
    });

    it('is refused by key path with a key that there is not', () => {
      assert.throws(() => parseConfig(`colour = "red"\n${text}`, name, schema), /unknown key "colour"/);
    });
  });
}

describe('share/excludes', () => {
  it('is taken line by line', () => {
    const lines = sample('excludes').split('\n');
    const patterns = parseExcludes(lines, 'share/excludes').map(each => each.pattern);
    assert.deepEqual(
      patterns,
      lines.filter(line => line !== '' && !line.startsWith('#')),
    );
    assert.ok(patterns.length > 5);
  });

  it('has no pattern with a blank at its end', () => {
    for (const line of sample('excludes').split('\n')) assert.equal(line, line.trimEnd());
  });
});

describe('share/dialback.cron', () => {
  it('has one line of five times and a command by its absolute path', () => {
    const lines = sample('dialback.cron')
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'));
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /^\d{1,2} \d{1,2} \* \* \* \/\S+\/dialback backup$/);
  });
});

describe('share/dialback-host.cron', () => {
  it('has one line of five times and a drill by its absolute path, of which cron mails only the problems', () => {
    const lines = sample('dialback-host.cron')
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'));
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /^\d{1,2} \d{1,2} \* \* \d \/\S+\/dialback drill >\/dev\/null$/);
  });
});

describe('share/dialback.cron.d', () => {
  const lines = sample('dialback.cron.d').trimEnd().split('\n');

  it('is off: no line of times', () => {
    assert.deepEqual(
      lines.filter(line => line !== '' && !line.startsWith('#')),
      ['SHELL=/bin/sh', 'MAILTO=root'],
    );
  });

  it('ends with the line that is switched on by taking its # away', () => {
    assert.match(
      lines.at(-1) ?? '',
      /^#\d{1,2} \d{1,2} \* \* \* dialback \/usr\/local\/bin\/dialback backup$/,
    );
  });
});

describe('share/never', () => {
  const lines = sample('never').trimEnd().split('\n');

  it('keeps nothing back by itself', () => {
    assert.deepEqual(
      lines.filter(line => line !== '' && !line.startsWith('#')),
      [],
    );
  });

  it('has examples that are absolute paths, none of them in a folder of a user', () => {
    const examples = lines.filter(line => /^#(?! |$)/.test(line));
    assert.ok(examples.length > 0);
    for (const line of examples) {
      assert.match(line, /^#(\/[^/\s]+)+$/);
      assert.doesNotMatch(line, /^#\/home\/[^/]+\//);
    }
  });
});

/** systemd.exec(5) of 252, "NoNewPrivileges=": those that override its being off, for a service that is not root's. */
const NO_NEW_PRIVILEGES =
  'NoNewPrivileges DynamicUser LockPersonality MemoryDenyWriteExecute PrivateDevices ProtectClock ProtectHostname ' +
  'ProtectKernelLogs ProtectKernelModules ProtectKernelTunables RestrictAddressFamilies RestrictNamespaces ' +
  'RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter SystemCallLog';
/** Those that give the service another view of the files, of users or of the network. */
const HIDING =
  'PrivateTmp ProtectHome ProtectSystem InaccessiblePaths TemporaryFileSystem RootDirectory RootImage ProtectProc ' +
  'ProcSubset ProtectControlGroups ReadOnlyPaths PrivateUsers PrivateNetwork IPAddressDeny AmbientCapabilities';

describe('share/dialback-web.service', () => {
  it('starts dialback web, as an account without privileges, on the socket of its unit', () => {
    const [service, socket] = [sample('dialback-web.service'), sample('dialback-web.socket')];
    assert.match(service, /^ExecStart=\/usr\/local\/bin\/dialback web$/m);
    assert.match(service, /^ExecReload=\/bin\/kill -USR2 \$MAINPID$/m);
    for (const line of [
      'User=dialback',
      'NoNewPrivileges=yes',
      'CapabilityBoundingSet=',
      'Requires=dialback-web.socket',
    ])
      assert.ok(service.split('\n').includes(line), line);
    // The jail makes executable memory (V8), and a root of its own where it is tried.
    assert.doesNotMatch(
      service,
      /^(MemoryDenyWriteExecute|RestrictNamespaces|SystemCallFilter|DynamicUser|ProtectHome)=/m,
    );
    assert.deepEqual(socket.match(/^ListenStream=.*$/gm), ['ListenStream=127.0.0.1:8030']);
  });
});

describe('share/dialback-backup.service', () => {
  const text = sample('dialback-backup.service');

  it('sets nothing under which the launcher gets no capability, or that hides what is to be backed up', () => {
    for (const name of `${NO_NEW_PRIVILEGES} ${HIDING}`.split(' '))
      assert.doesNotMatch(text, new RegExp(`^${name}=`, 'm'), name);
  });

  it('says of each why not', () => {
    const comments = text.replaceAll(/^[^#].*$/gm, '');
    for (const name of `${NO_NEW_PRIVILEGES} ${HIDING}`.split(' '))
      if (name !== 'RootImage') assert.match(comments, new RegExp(`\\b${name}\\b`), name);
  });

  it('leaves the one capability that the launcher needs, and no other', () => {
    assert.match(text, /^CapabilityBoundingSet=CAP_DAC_READ_SEARCH$/m);
  });
});
