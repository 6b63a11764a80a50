/** Every decoder of text from outside, and what must hold of it whatever it is given. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import type * as v from 'valibot';
import { isFrom, parseFrom, parseListen, showRange } from '../../src/client/addresses.ts';
import { clientToml } from '../../src/client/client-toml.ts';
import { CLIENT_SCHEMA, ownNiceness, remoteName } from '../../src/client/config.ts';
import {
  enumeratedFolders,
  mountsLeftOut,
  parseExcludes,
  scopeFilter,
  scopeRecords,
} from '../../src/client/filter.ts';
import { parseNeverList } from '../../src/client/never-list.ts';
import { parseResolved } from '../../src/client/ssh-settings.ts';
import { outcomeJson, summaryText } from '../../src/commands/backup.ts';
import { parseFindings } from '../../src/doctor/finding.ts';
import { Fault } from '../../src/fault.ts';
import { enrolledCommand, enrolledLine, enrolledName, placeLine } from '../../src/host/authorized-keys.ts';
import { HOST_SCHEMA, hostToml } from '../../src/host/config.ts';
import { parseShell } from '../../src/host/login-shell.ts';
import { chooseTransport } from '../../src/host/receive-request.ts';
import { readJailLine } from '../../src/os/launcher.ts';
import { inText, isWithin, otherNames, parseMountTable } from '../../src/os/mounts.ts';
import { missingText } from '../../src/output/missing.ts';
import { newsText } from '../../src/output/run-news.ts';
import { entryText } from '../../src/output/tree-entry.ts';
import { changelogOf, compareVersions } from '../../src/shared/advisories.ts';
import { parseConfig } from '../../src/shared/toml.ts';
import { truthOf, type Xattr } from '../../src/store/fake-super.ts';
import { parseFound } from '../../src/store/find-records.ts';
import { parseAttributes } from '../../src/store/getfattr.ts';
import { encodeEnd, encodeEntry, MANIFEST_HEAD, ManifestReader } from '../../src/store/mtree.ts';
import { parsePattern } from '../../src/store/name-pattern.ts';
import { findSnapshot } from '../../src/store/snapshot.ts';
import { pathInside } from '../../src/store/tree-path.ts';
import { decodeGo, GO } from '../../src/wire/channel.ts';
import {
  decodeEvent,
  encodeEvent,
  FAILURES,
  failedOutcome,
  MISSING_LIMIT,
  type Missing,
  type OutcomeEvent,
} from '../../src/wire/events.ts';
import {
  decodeFetchRequest,
  decodeOfferedEntry,
  decodeOfferHead,
  encodeFetchRequest,
  nameBytes,
} from '../../src/wire/fetch.ts';
import { parseJson } from '../../src/wire/json.ts';
import { fingerprint, type PublicKey, parseHostKey, parsePublicKey, showKey } from '../../src/wire/key.ts';
import { placeHostKey } from '../../src/wire/known-hosts.ts';
import { isCode, parseCode } from '../../src/wire/offer-code.ts';
import { decodeRequest, encodeRequest, isRoot } from '../../src/wire/request.ts';
import { DAEMON_REQUEST, ioniceArguments, parseGateCommand } from '../../src/wire/rsync.ts';
import { PullReader, readComplaint } from '../../src/wire/rsync-output.ts';
import { knownHostsName } from '../../src/wire/ssh.ts';
import { decodeName, encodeName, escapeText, NAME, parseCallCommand, unfold } from '../../src/wire/text.ts';
import { readWords } from '../support/command-line.ts';
import type { Target } from './explore.ts';
import { webRequest, webWords } from './web-targets.ts';

const TOP = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(TOP, path), 'utf8');

/** The blocks of docs/protocol.md behind a fence of one of these kinds. */
function examples(...kinds: string[]): string[] {
  const blocks = read('docs/protocol.md').matchAll(/^```([a-z-]+)\n(.*?)^```$/gms);
  return [...blocks].filter(([, kind = '']) => kinds.includes(kind)).map(([, , content = '']) => content);
}
const lines = (...kinds: string[]): string[] =>
  examples(...kinds).flatMap(block => block.trimEnd().split('\n'));

/** Control characters, and what changes how a line is read: nothing of it may get into a message. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** @returns a reason without what is quoted and counted in it: so many reasons there are, and no more */
function reasonOf(reason: string): string {
  assert.doesNotMatch(reason, UNSAFE);
  assert.ok(reason.length < 2000, `a reason of ${reason.length} characters`);
  return reason.replace(/"(?:[^"]*")?.*|\d+/g, '#').slice(0, 60);
}

/** What became of it, or what its Fault says; any other error is a bug. */
function refusal(action: () => string): string {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    assert.doesNotMatch(error.message, UNSAFE);
    return reasonOf(error.found);
  }
}

const sameJson = (one: unknown, other: unknown): void =>
  assert.equal(JSON.stringify(one), JSON.stringify(other));

const request: Target = {
  name: 'request',
  seeds: examples('request', 'request-refused'),
  words: [
    'dialback-request 1\n',
    'header ',
    'key ',
    'excludes ',
    '{"transport":"direct",',
    '"roots":["/"]',
    '"/a/b"',
  ],
  run(input) {
    const decoded = decodeRequest(input);
    if ('reason' in decoded) return reasonOf(decoded.reason);
    // Of what is one, or can become one, less is incomplete, and never refused; more is refused, and never taken.
    if (input.length > 0) assert.ok('incomplete' in decodeRequest(input.subarray(0, input.length >> 1)));
    if ('incomplete' in decoded) return 'incomplete';
    assert.ok('incomplete' in decodeRequest(input.subarray(0, -1)));
    assert.ok('reason' in decodeRequest(Buffer.concat([input, Buffer.from('x')])));
    sameJson(decodeRequest(encodeRequest(decoded.request)), decoded);
    const { roots, enumerated } = decoded.request.header;
    for (const path of [...roots, ...enumerated]) {
      assert.equal(normalize(path), path);
      assert.ok(path === '/' || !path.endsWith('/'));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
      assert.doesNotMatch(path, /[\u0000-\u001f\u007f\p{Cs}]/u);
    }
    return 'accepted';
  },
};

const HEADERS = examples('request', 'request-refused').flatMap(
  each => /^\{.*\}(?=key \d)/m.exec(each)?.[0] ?? [],
);

/** Headers alone: what is around them is made to fit, so that a changed header does not fail by its length. */
const header: Target = {
  name: 'header',
  seeds: HEADERS.flatMap(each => [each, each.replace('"/etc"', '"/etc\\ud800"')]),
  words: [
    ...['"roots":["/"]', ',"/a/b"', '"enumerated":[]', '"user":"anna"', '"dry_run":true', '"rsync":"3.5.0"'],
    ...['/../', '/./', '//', '/"', '":', '",', '\\u0000', '\\ud800'],
  ],
  mostBytes: 8192,
  run(input) {
    let parsed: { key_bytes?: unknown; excludes_bytes?: unknown } = {};
    try {
      parsed = Object(JSON.parse(input.toString('utf8')));
    } catch {
      // It is refused all the same.
    }
    const fill = (bytes: unknown): Buffer =>
      Buffer.alloc(typeof bytes === 'number' ? Math.max(0, Math.min(9000, bytes)) : 0, 'k');
    const [key, excludes] = [fill(parsed.key_bytes), fill(parsed.excludes_bytes)];
    return request.run(
      Buffer.concat([
        ...[Buffer.from(`dialback-request 1\nheader ${input.length}\n`), input],
        ...[Buffer.from(`key ${key.length}\n`), key, Buffer.from(`excludes ${excludes.length}\n`), excludes],
      ]),
    );
  },
};

/** How many keys the objects in a value have; it can be deep. */
function countKeys(value: unknown): number {
  let count = 0;
  const waiting = [value];
  for (let each = waiting.pop(); each !== undefined; each = waiting.pop()) {
    if (typeof each !== 'object' || each === null) continue;
    if (!Array.isArray(each)) count += Object.keys(each).length;
    for (const inner of Object.values(each)) waiting.push(inner);
  }
  return count;
}

const json: Target = {
  name: 'json',
  seeds: [
    '{"a":1,"a":2}',
    '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
    '{"a":":\\"}","\\u0061" : {}}',
    '[{"":1,"b":"\\\\"},{"":"{\\"x\\":1,\\"x\\":2}"}]',
    '{"__proto__":1,"__proto__":2}',
    '{"\\u202e":1,"\\u202e":2}',
    ...HEADERS.map(each => each.replace('{', '{"user":"root",')),
  ],
  words: ['{"a":', ',"a":1', '"\\u0061":', '\\"', '\\\\', '"}', '":', ' : ', '{}', '[', ']', '"__proto__":'],
  mostBytes: 4096,
  run(input) {
    const text = input.toString('utf8');
    const parsed = parseJson(text);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      assert.deepEqual(parsed, { reason: 'is not JSON' });
      return 'none';
    }
    // Outside of strings, each key has its colon, and there are no others.
    let colons = 0;
    let isInString = false;
    for (let at = 0; at < text.length; at += 1) {
      if (isInString && text[at] === '\\') at += 1;
      else if (text[at] === '"') isInString = !isInString;
      else if (!isInString && text[at] === ':') colons += 1;
    }
    assert.equal('value' in parsed, colons === countKeys(value));
    if ('reason' in parsed) return reasonOf(parsed.reason);
    sameJson(parsed.value, value);
    return `accepted ${Math.min(3, colons)}`;
  },
};

const event: Target = {
  name: 'event',
  seeds: lines('event', 'event-refused'),
  words: [
    'dialback-event: ',
    '{"event":',
    '"missing":[',
    '{"path":',
    '"part":"attributes"',
    '{"base64":"',
    ...Object.keys(FAILURES),
  ],
  mostBytes: 4096,
  run(input) {
    const decoded = decodeEvent(input.toString('utf8'));
    if ('reason' in decoded) return reasonOf(decoded.reason);
    const { value } = decoded;
    sameJson(decodeEvent(encodeEvent(value).trimEnd()), decoded);
    if (value.event === 'wait' || value.event === 'accepted') return value.event;
    if (value.event === 'files' || value.event === 'progress') return value.event;
    if (value.event === 'unstored') {
      assert.ok(value.files.length <= value.count && value.files.length <= MISSING_LIMIT);
      const outcome = { ...failedOutcome('rsync'), outcome: 'incomplete', code: null } as const;
      const run = {
        remote: 'r',
        outcome,
        unstored: value,
        fault: undefined,
        exit: 3,
        durationMs: 1,
      } as const;
      for (const line of missingText(run).split('\n')) assert.doesNotMatch(line, UNSAFE);
      assert.doesNotMatch(outcomeJson(run).trimEnd(), /\p{Cc}/u);
      return `unstored ${Math.min(2, value.files.length)}`;
    }
    if (value.event !== 'outcome') {
      assert.doesNotMatch(newsText({ ...value, remote: 'r' }).trimEnd(), UNSAFE);
      return value.event;
    }
    const { outcome, code, snapshot, missing, missing_count } = value;
    assert.equal(outcome === 'failed', code !== null);
    assert.ok(outcome !== 'failed' || snapshot === null);
    assert.ok(missing.length <= missing_count && missing.length <= MISSING_LIMIT);
    assert.ok(outcome !== 'full' || missing_count === 0);
    const run = { remote: 'r', outcome: value, fault: undefined, exit: 0, durationMs: 1 } as const;
    for (const line of `${summaryText(run)}${missingText(run)}`.split('\n'))
      assert.doesNotMatch(line, UNSAFE);
    assert.doesNotMatch(outcomeJson(run).trimEnd(), /\p{Cc}/u);
    return `${value.outcome} ${value.code} ${Math.min(2, value.missing.length)}`;
  },
};

const gate: Target = {
  name: 'gate',
  seeds: lines('gate', 'gate-refused'),
  words: [DAEMON_REQUEST, 'nice -n', 'ionice -c', 'ionice -c2 -n', 'rsync ', '--server ', '--daemon ', '.'],
  run(input) {
    const command = input.toString('utf8');
    const parsed = parseGateCommand(command);
    if ('reason' in parsed) return reasonOf(parsed.reason);
    const { nice, ionice } = parsed.value;
    const classes = ioniceArguments(ionice)?.join(' ');
    // Each way in which this can have been asked for: a default may be said or not.
    const ways = [`nice -n${nice} `, ...(nice === 0 ? [''] : [])].flatMap(how =>
      [classes, ...(classes === '-c2 -n4' ? ['-c2'] : [])].map(
        each => `${how}${each === undefined ? '' : `ionice ${each} `}${DAEMON_REQUEST}`,
      ),
    );
    assert.ok(ways.includes(command), command);
    return `${nice > 0} ${ionice?.class}`;
  },
};

const summons: Target = {
  name: 'summons',
  seeds: lines('summons', 'summons-refused'),
  words: ['laptop', ':8022', ':', 'channel', 'probe', 'fetch'],
  run(input) {
    const text = input.toString('utf8');
    const parsed = parseCallCommand(text);
    if ('reason' in parsed) return reasonOf(parsed.reason);
    const { name, port, purpose } = parsed.value;
    assert.equal(`${name}:${port ?? (purpose === 'run' ? 'channel' : purpose)}`, text);
    assert.ok(port === undefined || purpose === 'run');
    assert.ok(NAME.test(name) && (port === undefined || (port > 0 && port < 65_536)));
    return 'accepted';
  },
};

const fetchRequest: Target = {
  name: 'fetch-request',
  seeds: lines('fetch', 'fetch-refused'),
  words: ['dialback-fetch 1 ', 'list ', 'files ', 'done ', '-', '7K3M'],
  mostBytes: 256,
  run(input) {
    const text = input.toString('latin1');
    const parsed = decodeFetchRequest(text);
    if ('reason' in parsed) return reasonOf(parsed.reason);
    assert.equal(encodeFetchRequest(parsed.value), `${text}\n`);
    return parsed.value.action;
  },
};

const offered: Target = {
  name: 'offered',
  seeds: lines('offer-head', 'offer-entry'),
  words: ['"path":', '"base64":', '..', '/', '"paths":[', 'null', '"xattrs":[['],
  run(input) {
    const text = input.toString('utf8');
    const head = decodeOfferHead(text);
    const entry = decodeOfferedEntry(text);
    if ('value' in head) for (const path of head.value.paths) assertInner(nameBytes(path)?.subarray(1));
    if ('value' in entry) assertInner(nameBytes(entry.value.path));
    if ('value' in head) return 'head';
    return 'value' in entry ? entry.value.type : reasonOf(entry.reason);
  },
};

/** A path that stays below the folder that it is joined to. */
function assertInner(path: Buffer | undefined): void {
  const names = path?.toString('latin1').split('/') ?? ['..'];
  assert.ok(path?.length === 0 || names.every(name => !['', '.', '..'].includes(name)), String(path));
}

const code: Target = {
  name: 'code',
  seeds: ['0000-0000-0000-0000-0000-0000-00T7', '0000 0000 0000 0000 0000 0000 oot7'],
  words: ['-', 'O', 'l', 'U'],
  mostBytes: 64,
  run(input) {
    const parsed = parseCode(input.toString('utf8'));
    if ('reason' in parsed) return reasonOf(parsed.reason);
    assert.ok(isCode(parsed.value));
    return 'accepted';
  },
};

const go: Target = {
  name: 'go',
  seeds: [GO, 'go', 'go\ngo\n', 'GO\n', `\0${GO}`],
  words: ['g', 'o', '\n'],
  mostBytes: 64,
  run(input) {
    // As it comes in from a connection: a byte more each time. No byte behind the answer is taken for a part of it.
    let accepted = 0;
    let isRefused = false;
    for (let length = 0; length <= input.length; length += 1) {
      const decoded = decodeGo(input.subarray(0, length));
      if ('reason' in decoded) reasonOf(decoded.reason);
      assert.ok(!isRefused || 'reason' in decoded, 'more bytes make no good answer of a bad one');
      isRefused = 'reason' in decoded;
      if ('value' in decoded && decoded.value) accepted += 1;
    }
    assert.equal(accepted, input.subarray(0, GO.length).toString('latin1') === GO ? 1 : 0);
    return isRefused ? 'refused' : `${accepted} ${input.length}`;
  },
};

/** Rules of a filter file: each line is one, and none is read as anything but an exclude or an include. */
function checkFilter(filter: string, least: number): void {
  const rules = filter.split('\n').slice(0, -1);
  assert.ok(rules.length >= least, filter);
  for (const rule of rules) {
    assert.match(rule, /^[-+] ./s);
    assert.doesNotMatch(rule, /[\0\r]/);
  }
}

const patternsOf = (lines: string[]): string[] => parseExcludes(lines, 'the list').map(each => each.pattern);

const excludes: Target = {
  name: 'excludes',
  seeds: [
    read('share/excludes'),
    '- *.o\n- ! x\n:C\n.cache/\n',
    '**/\n*/\na\\\n[a\\]\n+ x\n',
    '#x\n;y\n- #z\n- \n',
  ],
  words: ['- ', '+ ', ': ', '. ', '!', '-C', ':e ', '/**', '*/', '[[:alpha:]]', '\\\\'],
  run(input) {
    return refusal(() => {
      const all = input.toString('utf8').split('\n');
      const patterns = patternsOf(all);
      assert.equal(
        patterns.length,
        all.filter(line => line.trim() !== '' && !'#;'.includes(line.charAt(0))).length,
      );
      const dashed = patterns.map(pattern => `- ${pattern}`);
      assert.deepEqual(patternsOf(dashed), patterns);
      checkFilter(scopeFilter({ roots: ['/'], never: [], excludes: patterns }), patterns.length);
      return `accepted ${Math.min(patterns.length, 3)}`;
    });
  },
};

const scope: Target = {
  name: 'scope',
  seeds: [
    'r/home\0r/etc\0n/home/me/.ssh\0e*.o',
    'r/\0n/a b\0n/a[b]*?\0n/\\\0m/x\ny\0',
    'r/a/b\0n/a/b/c/d\0e\\*\0m/\r',
  ],
  words: ['\0r/', '\0n/', '\0m/', '\0e', 'r/a/b/c', '[x]', '*', '?', '\\'],
  run(input) {
    // As client/backup.ts has them: paths of the config; a character a byte where they are mount points.
    const records = input.toString('latin1').split('\0');
    const of = (kind: string): string[] =>
      records.filter(each => each.startsWith(kind)).map(each => each.slice(1));
    const roots = of('r').filter(isRoot);
    const never = [...of('n').filter(isRoot), ...of('m').filter(path => path.startsWith('/'))];
    let patterns: string[] = [];
    const outcome = refusal(() => {
      patterns = patternsOf(of('e'));
      return 'accepted';
    });
    const filter = scopeFilter({ roots, never, excludes: patterns });
    checkFilter(filter, 1 + 2 * never.length + patterns.length);
    const empty = never.filter(path => path !== '/');
    checkFilter(
      scopeFilter({ roots, never: [], excludes: patterns, empty }),
      1 + empty.length + patterns.length,
    );
    // What is kept back comes first, behind the rule for the module's path.
    const rules = filter.split('\n');
    for (let at = 0; at <= 2 * never.length; at += 1) assert.ok(rules[at]?.startsWith('- /'), rules[at]);
    assert.deepEqual(scopeRecords({ roots, never }, ['/lib/x']).split('\0').slice(0, -1), [
      ...roots.map(each => `root ${each}`),
      ...never.map(each => `never ${each}`),
      'library /lib/x',
    ]);
    for (const folder of enumeratedFolders({ roots, never })) {
      assert.ok(roots.some(root => isWithin(root, folder)));
      assert.ok(never.some(path => isWithin(folder, path)));
    }
    return `${outcome} ${roots.length > 0} ${Math.min(2, never.length)}`;
  },
};

const mounts: Target = {
  name: 'mounts',
  seeds: [
    '22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n27 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n',
    '30 27 0:50 /a /mnt/my\\040files rw - fuse.sshfs me@h:/ rw\n31 27 8:1 /home /srv/home rw - ext4 /dev/sda1 rw\n',
  ],
  words: [
    ' - ',
    '\\040',
    '\\134',
    ' / ',
    ' rw ',
    '8:1',
    'ext4',
    'proc',
    'nfs4',
    'tmpfs',
    '\n31 27 8:1 /home /srv/home rw - ext4 x rw',
  ],
  run(input) {
    const text = input.toString('latin1');
    const found = parseMountTable(text);
    const table = inText(found);
    assert.equal(found.length, table.length);
    for (const mode of ['local', 'one', 'all'] as const)
      for (const path of mountsLeftOut(found, mode, ['/'])) assert.ok(found.some(each => each.path === path));
    for (const each of table) {
      const others = otherNames(table, each.path);
      assert.ok(!others.includes(each.path));
    }
    return `${Math.min(3, found.length)} ${Math.min(3, table.length)}`;
  },
};

/** @param check what must hold of an accepted config */
function config<T extends v.GenericSchema>(
  name: string,
  schema: T,
  more: Pick<Target, 'seeds' | 'words'>,
  check: (value: v.InferOutput<T>) => void,
): Target {
  return {
    name,
    // Samples with what is commented out put in force, too.
    seeds: [...more.seeds, ...more.seeds.map(text => String(text).replaceAll(/^#(?=[a-z_]+ = )/gm, ''))].map(
      text => String(text).replaceAll(/^#.*\n/gm, ''),
    ),
    words: [...more.words, '= "', ' = ', '\n[', ']\n', '"""', "'''", '[[', '\\u00', '2026-01-01', '{a = 1}'],
    mostBytes: 4096,
    run: input =>
      refusal(() => {
        const value = parseConfig(input.toString('utf8'), 'the.toml', schema);
        assert.deepEqual(parseConfig(input.toString('utf8'), 'the.toml', schema), value);
        check(value);
        return `accepted ${Object.keys(value as object).length}`;
      }),
  };
}

const clientConfig = config(
  'client-toml',
  CLIENT_SCHEMA,
  {
    seeds: [read('share/client.toml')],
    words: [
      '[[remote]]\ntarget = "me@h"\n',
      '[scope]\n',
      '[limits]\n',
      'roots = ["/"]',
      'from = ["::1"]',
      '"~/x"',
      '24h',
    ],
  },
  value => {
    for (const each of value.remote) {
      remoteName(each);
      // The target of a local remote is a path, which nobody looks up in known_hosts.
      const known = each.transport === 'local' ? undefined : knownHostsName(each.target);
      assert.ok(known === undefined || !/[\s,*?!]/.test(known), known);
      for (const option of each.ssh_options) assert.doesNotMatch(option, /\p{Cc}/u);
    }
    const { nice } = ownNiceness(value);
    assert.ok(nice >= 0 && nice <= 19);
    const { roots, never } = value.scope;
    assert.ok([...roots, ...never].every(isRoot));
    // What `init` writes of it says the same.
    const [remote] = value.remote;
    if (!remote || value.name === undefined) return;
    const files = { identity: remote.identity ?? '/id', knownHosts: remote.known_hosts ?? '/known' };
    const written = clientToml({
      name: value.name,
      target: remote.target,
      files,
      transport: remote.transport,
      roots,
      capability: undefined,
    });
    const again = parseConfig(written, 'the.toml', CLIENT_SCHEMA);
    assert.deepEqual([again.name, again.scope.roots], [value.name, roots]);
    const [first] = again.remote;
    assert.deepEqual([first?.identity, first?.target], [files.identity, remote.target]);
    assert.equal(first?.transport, remote.transport);
  },
);

const hostConfig = config(
  'host-toml',
  HOST_SCHEMA,
  {
    seeds: [read('share/host.toml')],
    words: ['store = "/srv"\n', '[requests]\n', 'deadline = "1h"', 'account_client = "a"'],
  },
  value => {
    assert.ok(value.store.startsWith('/') && value.requests.deadline >= 1000);
    assert.equal(parseConfig(hostToml(value.store, true), 'the.toml', HOST_SCHEMA).store, value.store);
  },
);

/** The key of docs/protocol.md: made up, it opens nothing. */
const KEY = /ssh-ed25519 [A-Za-z0-9+/]+/.exec(read('docs/protocol.md'))?.[0] ?? '';
const PARSED_KEY: PublicKey = { type: 'ssh-ed25519', blob: KEY.split(' ')[1] ?? '', comment: '' };

const key: Target = {
  name: 'key',
  seeds: [`${KEY} me@laptop\n`, `# a comment\r\n\r\n ${KEY}\r\n`, `${KEY}\n${KEY}\n`, `from="x" ${KEY}`],
  words: [KEY, 'ssh-ed25519 ', 'ssh-rsa ', 'ecdsa-sha2-nistp256 ', 'AAAA', '==', 'PRIVATE KEY-----'],
  run(input) {
    const text = input.toString('utf8');
    const parsed = parsePublicKey(text);
    const host = parseHostKey(text);
    if ('reason' in parsed) {
      assert.deepEqual(host, parsed);
      return reasonOf(parsed.reason);
    }
    const { value } = parsed;
    assert.deepEqual(parsePublicKey(`${showKey(value)} ${value.comment}`), parsed);
    // One way to write a key: else one that is enrolled would not be found again.
    assert.equal(Buffer.from(value.blob, 'base64').toString('base64'), value.blob);
    assert.match(fingerprint(value), /^SHA256:[A-Za-z0-9+/]{43}$/);
    const line = enrolledLine({ executable: '/d', name: 'a', config: '/c', key: value });
    assert.doesNotMatch(line, UNSAFE);
    assert.equal(enrolledName(line), 'a');
    if ('reason' in host) return reasonOf(host.reason);
    assert.deepEqual(host.value, { ...value, comment: '' });
    return value.type;
  },
};

const EXECUTABLE = '/usr/local/bin/dialback';
const FORCED = enrolledCommand({ executable: EXECUTABLE, name: 'laptop', config: '/etc/dialback/host.toml' });

const shell: Target = {
  name: 'shell',
  seeds: [
    `-c\0${FORCED}\0x\0laptop:8022`,
    `-c\0${FORCED}\0laptop:8022`,
    '-c\0laptop:8022',
    `-c\0${FORCED}; id\0x`,
    '-l',
    '-c\0id\0',
    `-c\0${FORCED} \0`,
  ],
  words: ['-c\0', FORCED, '\0laptop:8022', ' grab --client ', " --config '", "'", '"', EXECUTABLE],
  run(input) {
    const words = input.toString('utf8').split('\0');
    // The last word stands for SSH_ORIGINAL_COMMAND, where there are three.
    const original = words.length > 2 ? words.pop() : undefined;
    const outcomes = [undefined, { client: 'laptop', config: '/etc/dialback/host.toml' }].map(account => {
      const parsed = parseShell(words, EXECUTABLE, original, account);
      if ('reason' in parsed) return reasonOf(parsed.reason);
      const { client, config, originalCommand } = parsed.value;
      assert.ok(words.length === 2 && words[0] === '-c');
      if (original === undefined) assert.ok(account && words[1] === originalCommand);
      else assert.equal(words[1], enrolledCommand({ executable: EXECUTABLE, name: client, config }));
      if (account) assert.deepEqual({ client, config }, account);
      return 'accepted';
    });
    return outcomes.join(', ');
  },
};

const pull: Target = {
  name: 'pull',
  seeds: [
    '>f+++++++++ 1234\n.d..t...... 4096\nhf+++++++++ 5\ncL+++++++++ 7\n.f...p..... 10\n',
    '          65536  10%    1.00MB/s    0:00:01\nNumber of files: 12 (reg: 9, dir: 3)\nTotal file size: 99 bytes\n',
    'Literal data: 17 bytes\nrsync: [sender] send_files failed to open "/etc/shadow" (in root): Permission denied (13)\n',
    'file has vanished: "/a b" (in root)\nrsync: [sender] opendir "/x\\#303\\#244" (in root) failed: No such file (2)\n',
    'rsync error: some files/attrs were not transferred (code 23)\nrsync warning: x\n@ERROR: x\n',
    `rsync: [sender] x "/${'a'.repeat(20_000)}" (in root): x (13)`, // a name that no file has
  ],
  words: [
    'rsync: [sender] ',
    '" (in root)',
    '(13)',
    '\\#303',
    '\\#012',
    'Number of files: ',
    '(reg: 1, dir: 2)',
    ' bytes',
    '100%',
    '>f+++++++++ ',
    '.f.st...... ',
  ],
  run(input) {
    const reader = new PullReader();
    const missing: Missing[] = [];
    let seen = 0;
    for (const line of input.toString('utf8').split(/[\n\r]/)) {
      reader.line(line);
      const complaint = readComplaint(line);
      if (complaint === undefined) continue;
      if ('vanished' in complaint) seen |= 1;
      else if ('missing' in complaint) missing.push(complaint.missing);
      else if ('unverified' in complaint) missing.push(complaint.unverified);
      else assert.doesNotMatch(escapeText(complaint.ours), UNSAFE);
    }
    for (const [name, count] of Object.entries({ ...reader.counts, ...reader.progress }))
      assert.ok(Number.isSafeInteger(count) && count >= 0, `${name} is ${count}`);
    // Whatever a client's rsync has sent, the client takes what it is told of it.
    const { files, bytes, transferred_bytes } = reader.counts;
    const outcome: OutcomeEvent = {
      ...failedOutcome('rsync'),
      ...{
        outcome: 'incomplete',
        code: null,
        files,
        bytes,
        transferred_bytes,
        missing_count: missing.length,
      },
      missing: missing.slice(0, MISSING_LIMIT),
    };
    const told = decodeEvent(encodeEvent(outcome).trimEnd());
    assert.ok('value' in told, JSON.stringify(told));
    const progress = decodeEvent(encodeEvent({ event: 'progress', ...reader.progress }).trimEnd());
    assert.ok('value' in progress, JSON.stringify(progress));
    const set = Object.values(reader.counts).filter(count => count > 0);
    return `${seen} ${Math.min(1, missing.length)} ${set.length}`;
  },
  mostBytes: 8192,
};

/** Whether an IPv4 address has nothing behind the bits of its range: of others sshd takes no range. */
function isFirst(address: string, bits: number): boolean {
  const bytes = address.split('.').map(each => Number(each).toString(2).padStart(8, '0'));
  return !bytes.join('').slice(bits).includes('1');
}

const addresses: Target = {
  name: 'addresses',
  seeds: [
    '192.0.2.1',
    '192.0.2.77/24',
    '2001:db8::1/32',
    '::ffff:192.0.2.1',
    '::1.2.3.4/100',
    '[::1]:8022',
    '0.0.0.0:0',
    '0.0.0.0:65536',
    'fe80::1%eth0 22 ::1 22',
  ],
  words: ['::ffff:', '/128', '/32', '/0', '%eth0', '[', ']:', '::', ':8022', '.255', 'fe80::1'],
  mostBytes: 256,
  run(input) {
    const text = input.toString('utf8');
    const range = parseFrom(text);
    if (range) {
      const shown = showRange(range);
      assert.match(shown, /^[0-9a-fA-F.:]+(\/\d+)?$/);
      assert.deepEqual(parseFrom(shown), range);
      assert.ok(isFrom([range], range.address));
      if (range.family === 'ipv4') assert.ok(isFirst(range.address, range.bits), shown);
      // An address is in a range that it begins.
      assert.ok(isFrom([range], text.split('/')[0] ?? ''));
    }
    const listen = parseListen(text);
    if (listen) assert.ok(isIP(listen.address) > 0 && listen.port >= 0 && listen.port < 65_536);
    assert.equal(unfold(unfold(text)), unfold(text));
    const peer = refusal(() => {
      const environment = { SSH_CONNECTION: text, SSH_ORIGINAL_COMMAND: 'acorn:7' };
      const { place } = chooseTransport({ client: 'acorn', isLocal: false, environment });
      const address = place?.peer ?? '';
      assert.match(address, /^[0-9a-fA-F.:]+(%[A-Za-z0-9_.-]+)?$/);
      return `peer ${isIP(address)}`;
    });
    return `${range?.family} ${listen && isIP(listen.address)} ${peer}`;
  },
};

/** The flags of a command line, and how many words it has. */
function flagsOf(asked: object): unknown[] {
  return Object.entries(asked).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.length : typeof value === 'string' ? 'a word' : value,
  ]);
}

const commandLine: Target = {
  name: 'command-line',
  seeds: [
    'backup\0--config\0/x\0-q',
    'backup\0--remote=a\0--dry-run\0--json\0-v',
    'restore\0a@2026\0/etc\0--to\0/x\0--force',
    'enroll\0a\0-\0--store=/s\0--replace',
    'gate\0--run\0/r',
    'grab\0--client\0a\0--config\0/c',
    'doctor\0--host\0--json',
    'list\0--\0-a',
    'ls\0a@b\0/etc\0-R\0--json',
    'cat\0a\0/etc/passwd',
    'diff\0a@1\0a@2\0/etc',
    'find\0a\0*.txt\0-i',
    'init\0--name\0a\0--target\0h\0--host-key\0k',
    '-c\0a',
    'help',
    'try\0x',
    'relay\0a',
    'unenroll\0a',
    'restore\0a\0--force\0true\0--json\0false\0--to\0/d',
    'backup\0-q\0true\0--dry-run\0false',
    'version',
  ],
  words: [
    '--config',
    '--json',
    '--to\0',
    '--no-',
    '--__proto__',
    '-q',
    '-v',
    '--\0',
    '\0--',
    '=',
    '--run',
    'a.b',
    '--constructor',
    '\0true',
    '\0false',
  ],
  mostBytes: 512,
  run(input) {
    const words = input.toString('utf8').split('\0');
    return refusal(() => {
      const asked = readWords(words);
      for (const name of ['config', 'state', 'store', 'to', 'folder', 'authorizedKeys'] as const) {
        const value = (asked as Record<string, unknown>)[name];
        if (asked.verb === 'grab' || value === undefined) continue;
        assert.ok(typeof value === 'string' && value.startsWith('/'), `${name} is ${value}`);
      }
      assert.equal(Object.getPrototypeOf(asked), Object.prototype);
      assert.ok(!('a' in {}) && !('polluted' in {}));
      // Words that mean something to a parser of options mean nothing here.
      const plain = readWords(words.map(word => (/^(?:true|false)$/.test(word) ? 'x' : word)));
      if (words[0] !== '-c') sameJson(flagsOf(asked), flagsOf(plain));
      return `${asked.verb} ${Object.values(asked).filter(Boolean).length}`;
    });
  },
};

/** What restore looks at: three snapshots, made when they are first needed. */
class Store {
  readonly folder = mkdtempSync(`${tmpdir()}/dialback fuzz `);
  readonly tree = `${this.folder}/snapshots/2026-11-23T00-12-00Z/tree`;

  constructor() {
    process.once('exit', () => rmSync(this.folder, { recursive: true, force: true }));
    for (const day of ['22', '23', '24'])
      mkdirSync(`${this.folder}/snapshots/2026-11-${day}T00-12-00Z/tree`, { recursive: true });
    mkdirSync(`${this.tree}/etc/x`, { recursive: true });
    writeFileSync(`${this.tree}/etc/shadow`, '');
    // Beside the tree, where no path may lead.
    mkdirSync(`${this.folder}/snapshots/2026-11-23T00-12-00Z/treetop`);
  }
}
let madeStore: Store | undefined;

const restore: Target = {
  name: 'restore',
  seeds: [
    '/etc/shadow',
    '/',
    '/etc/x/',
    '2026-11-23T00-12-00Z',
    '2026-11-2',
    'latest',
    '/etc/../../top',
    'a',
    '/etc/shadow/x',
  ],
  words: ['/etc', '/shadow', '/..', '/.', 'top', '2026-11-', 'T00-12-00Z', '/././'],
  run(input) {
    madeStore ??= new Store();
    const { folder, tree } = madeStore;
    const text = input.toString('utf8');
    const found = refusal(() => {
      const snapshot = findSnapshot({ name: 'a', folder }, text);
      assert.ok(snapshot.name.startsWith(text) && text !== '');
      return 'found';
    });
    const source = refusal(() => {
      const inside = pathInside({ name: 's', tree }, text, 'restore it').toString('latin1');
      assert.ok(!inside.startsWith('/'), inside);
      assert.ok(isWithin(tree, normalize(`${tree}/${inside}`).replace(/(?<=.)\/$/, '')), inside);
      return 'a source';
    });
    return `${found}, ${source}`;
  },
};

/** What find, getfattr and a client's rsync have put into a stored tree, and a pattern for names. */
const stored: Target = {
  name: 'stored',
  seeds: [
    '18446744073709551615 2 4755 f 12 -1.9999999990 1000:100 ./a file',
    '# file: ./a\\012b\nuser.rsync.%stat=0x3130303634342030\nuser.x\n\n',
    '100644 0,0 1000:1000',
    '20600 4000,1000000 0:4294967295',
    '\u0080\0\0\0\u0080\0\0\0\u0005\0\0\0\u0080\0\0\0\u0039\u0030\0\0\u0007\0\0\u0080',
    '[!a-c]*\\?[]x]',
    '/etc/*.conf',
  ],
  words: [
    '# file: ',
    'user.rsync.',
    '%aacl',
    '%stat',
    '=0x',
    '\\012',
    '\n',
    '[',
    ']',
    '*',
    '120777 0,0 ',
    ' ./',
  ],
  mostBytes: 512,
  run(input) {
    const found = parseFound(input);
    if ('value' in found) assert.ok(!found.value.path.includes(0) || input.includes(0));
    const xattrs = [...parseAttributes(input).values()].flat();
    const entry = {
      ...{ path: input, inode: 1n, links: 1, isFolder: input.length % 2 === 0, mode: 0, uid: 0, gid: 0 },
      ...{ size: 0, mtimeNs: 0n },
    };
    const xattr = (name: string): Xattr => ({ name: Buffer.from(name), value: input });
    const { acl } = truthOf({ ...entry, mode: 0o640 }, [xattr('user.rsync.%dacl')], null);
    if (acl !== null) assert.match(acl, /^d:u::[rwx-]{3}(,d:[ugm]:\d*:[rwx-]{3})*,d:o::[rwx-]{3}$/);
    const truth = truthOf(entry, [...xattrs, xattr('user.rsync.%stat')], input);
    assert.ok(truth.mode <= 0o7777 && Math.max(truth.uid, truth.gid) <= 0xffff_ffff);
    assert.equal(truth.device !== null, truth.type.endsWith('device'));
    const isStat = truthOf(entry, [xattr('user.rsync.%stat')], null).xattrs.length === 0;
    assert.equal(truth.type === 'folder', entry.isFolder);
    assert.doesNotMatch(entryText(truth, undefined).slice(0, -1), UNSAFE);
    assert.deepEqual(encodeName(decodeName(input)), input);
    const isMeant = parsePattern(decodeName(input.subarray(0, 100)), input.length % 3 === 0);
    return `${'value' in found} ${Math.min(xattrs.length, 2)} ${isStat && truth.type} ${acl !== null} ${isMeant(input)}`;
  },
};

const jailLine: Target = {
  name: 'jail-line',
  seeds: [
    'dialback-launch: landlock_abi 7 own_root',
    'dialback-launch: landlock_abi 12345',
    'dialback-launch: Cannot x',
  ],
  words: ['dialback-launch: ', 'landlock_abi ', ' own_root'],
  mostBytes: 256,
  run(input) {
    const text = input.toString('utf8');
    const jail = readJailLine(text);
    if (!jail) return 'none';
    const { landlockAbi, hasOwnRoot } = jail;
    assert.ok(Number.isInteger(landlockAbi) && landlockAbi >= 0 && landlockAbi < 10_000);
    assert.equal(hasOwnRoot, text.trim().endsWith(' own_root'));
    return String(hasOwnRoot);
  },
};

const ENROLLED = enrolledLine({ executable: EXECUTABLE, name: 'laptop', config: '/c', key: PARSED_KEY });
const OTHER = enrolledLine({
  executable: EXECUTABLE,
  name: 'other',
  config: '/c',
  key: { ...PARSED_KEY, blob: 'AAAA' },
});

const authorizedKeys: Target = {
  name: 'authorized-keys',
  seeds: [
    '',
    `${ENROLLED}\n${ENROLLED}\n`,
    `${ENROLLED}\n`,
    `# mine\n${OTHER}\n${KEY} me\n`,
    `${OTHER}\n`,
    `from="10.0.0.1",command="x \\" y" ${KEY}\n`,
    `# ${ENROLLED}\n`,
  ],
  words: [ENROLLED, OTHER, KEY, 'restrict,command="', " grab --client laptop --config '", '\\"', '#', '\t'],
  mostBytes: 4096,
  run(input) {
    const text = input.toString('latin1');
    const before = text === '' ? [] : text.replace(/\n$/, '').split('\n');
    const outcomes = [false, true].map(replace => {
      const placed = placeLine(before, 'laptop', PARSED_KEY, ENROLLED, replace);
      if ('reason' in placed) return reasonOf(placed.reason);
      const { lines: after, did } = placed.value;
      // One line of ours; of what others wrote not one less, nor in another order.
      assert.deepEqual(
        after.filter(each => enrolledName(each) === 'laptop'),
        [ENROLLED],
      );
      const others = (list: string[]): string[] => list.filter(each => enrolledName(each) !== 'laptop');
      assert.deepEqual(others(after), others(before));
      assert.deepEqual(placeLine(after, 'laptop', PARSED_KEY, ENROLLED, false), {
        value: { lines: after, did: 'kept' },
      });
      return did;
    });
    return outcomes.join(', ');
  },
};

const knownHosts: Target = {
  name: 'known-hosts',
  seeds: [
    '',
    `backup ${KEY}\n`,
    `Backup,192.0.2.1 ${KEY}`,
    `backup ssh-rsa AAAA\r\n# x\n`,
    `@revoked backup ${KEY}\n`,
    `|1|x|y ${KEY}\n`,
  ],
  words: ['backup ', ',backup', KEY, '@cert-authority ', '|1|', '# '],
  run(input) {
    const text = input.toString('latin1');
    const placed = placeHostKey(text, 'backup', PARSED_KEY);
    if ('reason' in placed) return reasonOf(placed.reason);
    assert.ok(placed.value.startsWith(text));
    assert.ok(placed.value.split(/\r?\n/).some(line => line.trim().split(/\s+/).includes(PARSED_KEY.blob)));
    assert.deepEqual(placeHostKey(placed.value, 'backup', PARSED_KEY), placed);
    return placed.value === text ? 'there' : 'added';
  },
};

const examined: Target = {
  name: 'examined',
  seeds: [
    '[{"check":"a","state":"ok","found":"b","why":"c","next":null}]',
    '[{"check":"a","state":"critical","found":"b","why":"c","next":"d"},{}]',
    read('share/never'),
    '/etc/shadow\n/root/\n# x\n//\n/a/../b\nrelative\n/a \n',
    'hostname backup\nport 22\nhostkeyalias x\nproxycommand none\nproxyjump h\n',
    'rsync (3.5.0+ds1-1) bookworm; urgency=high\n',
    'openssh (1:9.2p1-2+deb12u7) x\n',
  ],
  words: [
    '"state":"warning"',
    '"next":null',
    '\n/etc',
    '/../',
    '\nport ',
    'hostname ',
    '3.5.0',
    '9.2p1',
    '~',
    '+',
  ],
  run(input) {
    const text = input.toString('utf8');
    const findings = parseFindings(text);
    for (const each of findings ?? []) assert.ok(typeof each.check === 'string');
    const { paths, faults } = parseNeverList(text);
    // What is taken here the launcher takes too: it refuses to run on a list that it does not understand.
    for (const path of paths) assert.ok(isRoot(path), JSON.stringify(path));
    for (const fault of faults) assert.doesNotMatch(fault, UNSAFE);
    const called = parseResolved(text);
    if (called) assert.ok(Number.isInteger(called.port) && called.hostName !== '');
    const [version = '', other = ''] = text.split('\n');
    const order = compareVersions(version, other);
    assert.equal(Math.sign(order) + Math.sign(compareVersions(other, version)), 0);
    const changelog = changelogOf('3.5.0', text);
    return `${findings?.length ?? 'none'} ${Math.min(1, paths.length)} ${called?.isProxied} ${Math.sign(order)} ${'value' in changelog}`;
  },
};

const DIGEST = '0123456789abcdef'.repeat(4);

const manifest: Target = {
  name: 'manifest',
  seeds: [
    `${MANIFEST_HEAD}. type=dir mode=0755 uid=0 gid=0 time=0.000000000 tags=xattrs-sha256-${DIGEST}\n${encodeEnd(1)}`,
    `${MANIFEST_HEAD}. type=dir mode=0755 uid=0 gid=0 time=-1.500000000 tags=xattrs-sha256-${DIGEST}\n./a\\040b type=file mode=04755 uid=1000 gid=1000 size=3 time=1700000000.123456789 sha256digest=${DIGEST} tags=xattrs-sha256-${DIGEST}\n${encodeEnd(2)}`,
  ],
  words: [
    '. type=dir mode=0755 uid=0 gid=0 time=1.000000000 ',
    'type=file',
    ' size=0',
    ' time=0.000000000',
    `sha256digest=${DIGEST}`,
    ` tags=xattrs-sha256-${DIGEST}\n`,
    '\\000',
    '\\056\\056',
    '/../',
    '# end, 1 entries\n',
    '\n./',
    '/',
  ],
  run(input) {
    const reader = new ManifestReader();
    let again = MANIFEST_HEAD;
    let last: string | undefined;
    const text = input.toString('latin1');
    for (const line of text.replace(/\n$/, '').split('\n')) {
      const found = reader.line(line);
      if ('reason' in found) return reasonOf(found.reason);
      if (found.value === undefined) continue;
      const { path } = found.value;
      assert.ok(last === undefined || Buffer.from(last, 'latin1').compare(Buffer.from(path, 'latin1')) < 0);
      assert.ok(path === '' || (!path.startsWith('/') && normalize(path) === path && !path.startsWith('..')));
      last = path;
      again += encodeEntry(found.value);
    }
    const end = reader.end();
    if ('reason' in end) return reasonOf(end.reason);
    // There is one way to write it.
    assert.equal(`${again}${encodeEnd(end.value)}`, text.endsWith('\n') ? text : `${text}\n`);
    return `accepted ${Math.min(end.value, 3)}`;
  },
};

export const TARGETS: readonly Target[] = [
  ...[
    request,
    header,
    json,
    event,
    gate,
    summons,
    fetchRequest,
    offered,
    code,
    go,
    excludes,
    scope,
    mounts,
    clientConfig,
    hostConfig,
    key,
    shell,
    pull,
    addresses,
  ],
  ...[commandLine, restore, stored, jailLine, authorizedKeys, knownHosts, examined, manifest],
  webRequest,
  webWords,
];
