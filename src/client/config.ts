/** client.toml: the client's name, its hosts, what may be read, limits, schedule and hooks. */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { exists } from '../os/files.ts';
import { hasLauncher } from '../os/launcher.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { hostLabel } from '../os/uname.ts';
import { hooksTable } from '../shared/hooks.ts';
import { journalTable, useJournalTable } from '../shared/journal-table.ts';
import { durationKey, pathKey, readConfig, schemaKey, sizeKey } from '../shared/toml.ts';
import { isRoot, ROOTS_LIMIT } from '../wire/request.ts';
import type { Niceness } from '../wire/rsync.ts';
import { OPEN_OPTIONS } from '../wire/ssh.ts';
import { NAME, quoteForShell, TARGET } from '../wire/text.ts';
import { parseFrom, parseListen } from './addresses.ts';

const name = v.pipe(
  v.string(),
  v.regex(NAME, 'should be 1 to 63 of a-z, 0-9, ".", "_", "-", not beginning with a mark'),
);
const rootKey = v.pipe(
  pathKey,
  v.check((path: string) => isRoot(path), 'should be a path without ".", "..", doubled or trailing slashes'),
);

/** @returns the paths of a string or a list; undefined if one is no path */
function readPaths(value: unknown): string[] | undefined {
  const found = v.safeParse(v.array(pathKey), Array.isArray(value) ? value : [value]);
  return found.success ? found.output : undefined;
}

const pathsKey = v.pipe(
  v.unknown(),
  v.check(value => readPaths(value) !== undefined, 'should be an absolute path, or a list of them'),
  v.transform((value): string[] => readPaths(value) ?? []),
);

const sshOption = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9]+=\P{Cc}+$/u, 'should be "Option=value", as ssh -o takes it'),
  v.check(
    option => OPEN_OPTIONS.has((option.split('=')[0] ?? '').toLowerCase()),
    'names an option that dialback sets itself, or that could change which host a call trusts (docs/security.md)',
  ),
);

/** The name of a file, which also is a pattern of rsync that matches only this name. */
const tagName = v.pipe(
  v.string(),
  v.check(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    each => /^[^/\\*?[\u0000-\u001f\u007f]+$/.test(each) && !/^\.{1,2}$|^\s|\s$/.test(each),
    'should be a file name without "/", wildcards and blanks at its ends',
  ),
  v.check(each => Buffer.byteLength(each) <= NAME_BYTES, 'is too long for a file name'),
);
const NAME_BYTES = 255;
const TAG_NAMES_LIMIT = 20;

const remoteTable = v.strictObject({
  name: v.optional(name),
  target: v.string(),
  identity: v.optional(pathKey),
  known_hosts: v.optional(pathKey),
  transport: v.optional(
    v.picklist(['direct', 'channel', 'local'], 'should be "direct", "channel" or "local"'),
    'direct',
  ),
  host_config: v.optional(pathKey),
  same_filesystem: v.optional(v.boolean()),
  absent: v.optional(v.picklist(['fail', 'skip', 'wait'], 'should be "fail", "skip" or "wait"')),
  from: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string(),
          v.check(each => parseFrom(each) !== undefined, 'should be an address or a CIDR range'),
        ),
      ),
      v.minLength(1, 'must not be empty: it names the addresses that may connect'),
    ),
  ),
  listen: v.optional(
    v.pipe(
      v.string(),
      v.check(
        each => parseListen(each) !== undefined,
        'should be ADDR:PORT, such as "0.0.0.0:8022" or "[::]:0"',
      ),
    ),
  ),
  ssh_options: v.optional(v.array(sshOption), []),
});

type RemoteTable = v.InferOutput<typeof remoteTable>;

/** A limit in the config must have an effect. These two limit which addresses may connect to this machine, and where. */
const isOfDirect = (key: 'from' | 'listen') =>
  v.forward(
    v.check(
      (each: RemoteTable) => each.transport !== 'channel' || each[key] === undefined,
      'has no effect with transport = "channel", where the host does not connect to this machine',
    ),
    [key],
  );

const isOfCalls = (key: 'identity' | 'known_hosts' | 'ssh_options' | 'from' | 'listen') =>
  v.forward(
    v.check((each: RemoteTable) => {
      const value = each[key];
      return (
        each.transport !== 'local' || value === undefined || (key === 'ssh_options' && value.length === 0)
      );
    }, 'has no effect with transport = "local", where no host is called'),
    [key],
  );

const isOfLocal = (key: 'host_config' | 'same_filesystem' | 'absent') =>
  v.forward(
    v.check(
      (each: RemoteTable) => each.transport === 'local' || each[key] === undefined,
      'has an effect only with transport = "local"',
    ),
    [key],
  );

/** `target` is a folder with the transport `local`, and otherwise an account on a host. */
const isPlace = (isLocal: boolean, message: string) =>
  v.forward(
    v.check(
      (each: RemoteTable) =>
        (each.transport === 'local') !== isLocal || (isLocal ? isStorePath : isTarget)(each.target),
      message,
    ),
    ['target'],
  );

const isTarget = (target: string): boolean => TARGET.test(target);

/** Whether a path can be the store of the transport `local`. */
export const isStorePath = (target: string): boolean => isRoot(target) && target !== '/';

const remote = v.pipe(
  remoteTable,
  isPlace(false, 'should be [user@]host or ssh://[user@]host[:port]; a folder goes with transport = "local"'),
  isPlace(
    true,
    'should be the absolute path of a folder with transport = "local", without ".", "..", doubled or trailing slashes',
  ),
  isOfDirect('from'),
  isOfDirect('listen'),
  ...(['identity', 'known_hosts', 'ssh_options', 'from', 'listen'] as const).map(isOfCalls),
  ...(['host_config', 'same_filesystem', 'absent'] as const).map(isOfLocal),
);

/** Ten years. No timer waits for it, so node's limit for timers does not apply. */
const CHECKSUM_EVERY_MOST_MS = 3650 * 86_400_000;

/** The keys of client.toml, with their defaults. An unknown key is refused. */
export const CLIENT_SCHEMA = v.strictObject({
  schema: v.optional(schemaKey, 1),
  name: v.optional(name),
  state: v.optional(pathKey),
  capability: v.optional(
    v.picklist(['confined', 'inherited', 'none'], 'should be "confined", "inherited" or "none"'),
  ),
  remote: v.pipe(v.array(remote), v.minLength(1, 'must name at least one remote')),
  scope: v.optional(
    v.strictObject({
      roots: v.optional(
        v.pipe(
          v.array(rootKey),
          v.minLength(1, 'must name at least one root'),
          v.maxLength(ROOTS_LIMIT, 'names too many roots'),
        ),
        ['/'],
      ),
      exclude_from: v.optional(pathsKey),
      exclude: v.optional(v.array(v.string()), []),
      exclude_caches: v.optional(v.boolean(), false),
      exclude_if_present: v.optional(
        v.pipe(v.array(tagName), v.maxLength(TAG_NAMES_LIMIT, `should be at most ${TAG_NAMES_LIMIT} names`)),
        [],
      ),
      never: v.optional(v.array(rootKey), []),
      mounts: v.optional(v.picklist(['local', 'all', 'one'], 'should be "local", "all" or "one"'), 'local'),
    }),
    {},
  ),
  limits: v.optional(
    v.strictObject({
      nice: v.optional(
        v.pipe(
          v.number(),
          v.integer('should be a whole number'),
          v.minValue(0, 'should be 0 to 19'),
          v.maxValue(19, 'should be 0 to 19'),
        ),
        10,
      ),
      ionice: v.optional(
        v.picklist(['idle', 'best-effort', 'none'], 'should be "idle", "best-effort" or "none"'),
        'idle',
      ),
      bwlimit: v.optional(sizeKey),
      max_size: v.optional(v.pipe(sizeKey, v.minValue(1, 'should be more than 0'))),
      deadline: v.optional(durationKey(1000), '24h'),
      idle_timeout: v.optional(durationKey(1000), '5m'),
      compress: v.optional(v.picklist(['zstd', 'auto', 'no'], 'should be "zstd" or "no"'), 'zstd'),
      checksum_every: v.optional(durationKey(1000, CHECKSUM_EVERY_MOST_MS)),
    }),
    {},
  ),
  schedule: v.optional(
    v.strictObject({
      when_locked: v.optional(v.picklist(['fail', 'wait'], 'should be "fail" or "wait"'), 'fail'),
      jitter: v.optional(durationKey(0), '0s'),
      retry: v.optional(durationKey(0), '0s'),
    }),
    {},
  ),
  hooks: v.optional(hooksTable, {}),
  journal: v.optional(journalTable, {}),
});

export type ClientConfig = v.InferOutput<typeof CLIENT_SCHEMA>;
export type Remote = ClientConfig['remote'][number];

/** The files of `exclude_from`. */
export function excludeFiles({ scope }: ClientConfig): string[] {
  return scope.exclude_from ?? [];
}

/** Reads client.toml. @throws Fault (exit 2) that names the file and the key */
export function readClientConfig(path: string): ClientConfig {
  const config = readConfig(path, CLIENT_SCHEMA, 'client.toml');
  const names = config.remote.map(remoteName);
  const twice = names.find((each, index) => names.indexOf(each) !== index);
  if (twice !== undefined) {
    throw new Fault({
      tried: `use the config "${path}"`,
      found: `two remotes are called "${twice}"`,
      next: 'give each a `name`',
      exit: 'usage',
    });
  }
  useJournalTable(config.journal);
  return config;
}

/** The name of a remote: `name`, or else the host in its target, or the whole target where that is a folder. */
export function remoteName(each: Remote): string {
  if (each.name === undefined && each.transport === 'local') return each.target;
  return each.name ?? each.target.replace(/^ssh:\/\//, '').replace(/^[^@]*@/, '');
}

/** The client's own name: `name`, or else the first label of the host name. @throws Fault (exit 2) where that is not a name */
export function clientName(config: ClientConfig): string {
  const found = config.name ?? hostLabel();
  if (NAME.test(found)) return found;
  throw new Fault({
    tried: 'choose a name for this client',
    found: 'its host name cannot be used as one',
    next: 'set `name` in client.toml',
    exit: 'usage',
  });
}

/** The lock file of the runs of a remote. Where the remote's name is a path, a digest of it is in the file name. */
export function remoteLock(state: string, each: Remote): string {
  const name = remoteName(each);
  const isPath = name.includes('/');
  return `${state}/lock-${isPath ? createHash('sha256').update(name).digest('hex').slice(0, 32) : name}`;
}

/** The state folder. @param named on the command line */
export function stateFolder(config: ClientConfig, named: string | undefined): string {
  return named ?? config.state ?? defaultStateFolder(ownAccount());
}

/** How rsync gets the right to read every file, if it does. */
export type Capability = 'confined' | 'inherited' | 'none';

/** `capability`, or else `confined` where there is a launcher, and `none` where there is not. */
export function capabilityOf(config: ClientConfig): Capability {
  return config.capability ?? (hasLauncher() ? 'confined' : 'none');
}

/** The client's private key for a remote, and the file with the host's key. */
export function callFiles(each: Remote): { identity: string; knownHosts: string } {
  const home = ownAccount().home;
  return {
    identity: each.identity ?? `${home}/.ssh/id_ed25519`,
    knownHosts: each.known_hosts ?? `${home}/.ssh/known_hosts`,
  };
}

/** The command that makes a key, and its folder where that does not exist: ssh-keygen makes only ~/.ssh. */
export function keygenText(identity: string): string {
  const folder = dirname(identity);
  const make = `ssh-keygen -t ed25519 -N '' -f ${quoteForShell(identity)}`;
  return exists(folder) ? make : `mkdir -p -m 700 ${quoteForShell(folder)} && ${make}`;
}

/** The defaults that client.toml's schema does not have, by the path of the key, as they would be written in the file. */
export function clientDefaults(config: ClientConfig): Map<string, unknown> {
  const own: [string, unknown][] = [
    ['name', clientName(config)],
    ['state', stateFolder(config, undefined)],
    ['capability', capabilityOf(config)],
  ];
  const ofRemotes = config.remote.flatMap((each, at): [string, unknown][] => {
    const isLocal = each.transport === 'local';
    const { identity, knownHosts } = callFiles(each);
    const keys: [string, unknown][] = isLocal
      ? [
          ['absent', 'fail'],
          ['same_filesystem', false],
        ]
      : [
          ['identity', identity],
          ['known_hosts', knownHosts],
        ];
    return [['name', remoteName(each)] as [string, unknown], ...keys].map(([key, value]) => [
      `remote.${at}.${key}`,
      value,
    ]);
  });
  return new Map([...own, ...ofRemotes]);
}

/** The remotes whose host is another machine. */
export function calledRemotes(config: ClientConfig): Remote[] {
  return config.remote.filter(each => each.transport !== 'local');
}

/** The least niceness of rsync, by `nice` and `ionice`. */
export function ownNiceness(config: ClientConfig): Niceness {
  const { nice, ionice } = config.limits;
  if (ionice === 'none') return { nice, ionice: null };
  return { nice, ionice: ionice === 'idle' ? { class: 'idle' } : { class: 'best-effort', level: 7 } };
}
