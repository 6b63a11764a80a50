/** client.toml: what a client is called, where it calls, what may be read, and how politely. */
import * as v from 'valibot';
import { durationKey, pathKey, readConfig, sizeKey } from '../config.ts';
import { Fault } from '../fault.ts';
import { hasLauncher } from '../os/launcher.ts';
import { hostLabel, ownAccount } from '../os/machine.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { isRoot, ROOTS_LIMIT } from '../wire/request.ts';
import type { Niceness } from '../wire/rsync.ts';
import { FIXED_OPTIONS } from '../wire/ssh.ts';
import { NAME, TARGET } from '../wire/text.ts';
import { parseFrom, parseListen } from './addresses.ts';

const name = v.pipe(
  v.string(),
  v.regex(NAME, 'should be 1 to 63 of a-z, 0-9, ".", "_", "-", not beginning with a mark'),
);
const rootKey = v.pipe(
  pathKey,
  v.check((path: string) => isRoot(path), 'should be a path without ".", "..", doubled or trailing slashes'),
);

const sshOption = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9]+=\P{Cc}+$/u, 'should be "Option=value", as ssh -o takes it'),
  v.check(
    option => !FIXED_OPTIONS.has((option.split('=')[0] ?? '').toLowerCase()),
    'names an option that dialback sets itself, for safety',
  ),
);

const remoteTable = v.strictObject({
  name: v.optional(name),
  target: v.pipe(v.string(), v.regex(TARGET, 'should be [user@]host or ssh://[user@]host[:port]')),
  identity: v.optional(pathKey),
  known_hosts: v.optional(pathKey),
  transport: v.optional(
    v.picklist(['direct', 'channel'], 'should be "direct" or "channel"; "local" comes with a later version'),
    'direct',
  ),
  from: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string(),
          v.check(each => parseFrom(each) !== undefined, 'should be an address or a CIDR range'),
        ),
      ),
      v.minLength(1, 'must not be empty: it says who may connect'),
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

/** A limit that is written down must not be without effect: these two say who may connect here, and where. */
const isOfDirect = (key: 'from' | 'listen') =>
  v.forward(
    v.check(
      (each: v.InferOutput<typeof remoteTable>) => each.transport === 'direct' || each[key] === undefined,
      'has no effect with transport = "channel", where nobody connects to this machine',
    ),
    [key],
  );

const remote = v.pipe(remoteTable, isOfDirect('from'), isOfDirect('listen'));

/** No timer of ours waits for it: ten years. */
const CHECKSUM_EVERY_MOST_MS = 3650 * 86_400_000;

const CONFIG = v.strictObject({
  name: v.optional(name),
  state: v.optional(pathKey),
  capability: v.optional(
    v.picklist(['confined', 'inherited', 'none'], 'should be "confined", "inherited" or "none"'),
  ),
  remote: v.pipe(v.array(remote), v.minLength(1, 'must name one remote at least')),
  scope: v.optional(
    v.strictObject({
      roots: v.optional(
        v.pipe(
          v.array(
            v.pipe(
              rootKey,
              v.check(
                (path: string) => !path.split('/').some(name => /[*?[\]]/.test(name) && name.includes('\\')),
                'has a name with both a backslash and one of *?[], which rsync cannot be asked for; name the folder above it',
              ),
            ),
          ),
          v.minLength(1, 'must name one root at least'),
          v.maxLength(ROOTS_LIMIT, 'names too many roots'),
        ),
        ['/'],
      ),
      exclude_from: v.optional(pathKey),
      exclude: v.optional(v.array(v.string()), []),
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
      deadline: v.optional(durationKey(1000), '24h'),
      idle_timeout: v.optional(durationKey(1000), '5m'),
      compress: v.optional(v.picklist(['auto', 'zstd', 'no'], 'should be "auto", "zstd" or "no"'), 'auto'),
      checksum_every: v.optional(durationKey(1000, CHECKSUM_EVERY_MOST_MS)),
    }),
    {},
  ),
});

export type ClientConfig = v.InferOutput<typeof CONFIG>;
export type Remote = ClientConfig['remote'][number];

/** The schema, for tests of the sample files. */
export const CLIENT_SCHEMA = CONFIG;

/** Reads client.toml. @throws Fault (exit 2) that names the key */
export function readClientConfig(path: string): ClientConfig {
  const config = readConfig(path, CONFIG);
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
  return config;
}

/** What a remote is called: its name, else the host in its target. */
export function remoteName(each: Remote): string {
  return each.name ?? each.target.replace(/^ssh:\/\//, '').replace(/^[^@]*@/, '');
}

/** The client's own name: as configured, else the host name's first label. */
export function clientName(config: ClientConfig): string {
  const found = config.name ?? hostLabel();
  if (NAME.test(found)) return found;
  throw new Fault({
    tried: 'find out what this client is called',
    found: 'its host name does not make a name',
    next: 'set `name` in client.toml',
    exit: 'usage',
  });
}

/** Where the client keeps its state. */
export function stateFolder(config: ClientConfig, named: string | undefined): string {
  return named ?? config.state ?? defaultStateFolder(ownAccount());
}

/** How rsync comes by the right to read everything, if it does. */
export type Capability = 'confined' | 'inherited' | 'none';

/** As configured; else in the launcher's jail where there is a launcher. */
export function capabilityOf(config: ClientConfig): Capability {
  return config.capability ?? (hasLauncher() ? 'confined' : 'none');
}

/** The key that the client calls with, and the file that knows the host's key. */
export function callFiles(each: Remote): { identity: string; knownHosts: string } {
  const home = ownAccount().home;
  return {
    identity: each.identity ?? `${home}/.ssh/id_ed25519`,
    knownHosts: each.known_hosts ?? `${home}/.ssh/known_hosts`,
  };
}

/** How nicely rsync runs at least. */
export function ownNiceness(config: ClientConfig): Niceness {
  const { nice, ionice } = config.limits;
  if (ionice === 'none') return { nice, ionice: null };
  return { nice, ionice: ionice === 'idle' ? { class: 'idle' } : { class: 'best-effort', level: 7 } };
}
