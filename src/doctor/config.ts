/** The configs of this machine: which of them doctor reads, and errors in them. */
import { basename } from 'node:path';
import { type ClientConfig, clientName, readClientConfig } from '../client/config.ts';
import { requireLogin } from '../client/direct.ts';
import { isLocal } from '../client/local.ts';
import { Fault } from '../fault.ts';
import { type HostConfig, readHostConfig } from '../host/config.ts';
import { ownAccount } from '../os/account.ts';
import { configPath, findConfig } from '../shared/toml.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { isDialed } from './transport.ts';

/** The options of `dialback doctor`. */
export interface DoctorOptions {
  config: string | undefined;
  /** Undefined: each side that has a config. */
  side: 'client' | 'host' | undefined;
}

const NO_CONFIG = new Topic('machine.config', 'a machine without a config is neither a client nor a host');
/** The findings about client.toml. */
export const CLIENT_CONFIG = new Topic('client.config', 'a machine without this config makes no backups');
/** The findings about host.toml. */
export const HOST_CONFIG = new Topic('host.config', 'a machine without this config receives no backups');

/** A config and its path, or the error in it; undefined for a side that doctor does not look at. */
export type Side<T> = { path: string; config: T } | { finding: Finding } | undefined;

/** The configs that doctor looks at. */
interface Sides {
  client: Side<ClientConfig>;
  host: Side<HostConfig>;
  /** Other host.toml files, which stores on this machine use. */
  disks: Side<HostConfig>[];
  /** The paths of host.toml files that the client itself uses, for stores on this machine. */
  local: string[];
}

/** Reads the configs. @throws Fault if `--config` names a file that could belong to either side */
export function readSides(asked: DoctorOptions): Sides {
  const options = { ...asked, side: sideOf(asked) };
  const client = readSide<ClientConfig>(CLIENT_CONFIG, () => pathOf('client', options), readClientConfig);
  const local = client && 'config' in client ? localHosts(client.config) : [];
  const usual = readSide<HostConfig>(HOST_CONFIG, () => pathOf('host', options), readHostConfig);
  if (options.side === 'host') return { client, host: usual, disks: [], local };
  const paths = local.filter(each => !(usual && 'path' in usual && usual.path === each));
  const others = paths.map(each => readSide<HostConfig>(HOST_CONFIG, () => each, readHostConfig));
  const [host, ...disks] = usual ? [usual, ...others] : others;
  return { client, host, disks, local };
}

/**
 * The side that the options name, or that the name of the config file tells.
 * @throws Fault if `--config` names a file that could belong to either side
 */
export function sideOf({ config, side }: DoctorOptions): DoctorOptions['side'] {
  if (config === undefined || side !== undefined) return side;
  const name = basename(config);
  if (name === 'client.toml' || name === 'host.toml') return name === 'client.toml' ? 'client' : 'host';
  throw new Fault({
    tried: 'run "doctor"',
    found: `the name of the config "${escapeText(config)}" does not tell whether it is a client's or a host's`,
    next: 'add --client or --host',
    exit: 'usage',
  });
}

function readSide<T>(topic: Topic, find: () => string | undefined, read: (path: string) => T): Side<T> {
  try {
    const path = find();
    return path === undefined ? undefined : { path, config: read(path) };
  } catch (error) {
    return { finding: topic.fault(error, 'compare it with the samples in /etc/dialback') };
  }
}

/** The config file of a side. @throws Fault if the options ask for this side and it has none */
function pathOf(side: 'client' | 'host', options: DoctorOptions): string | undefined {
  const fileName = `${side}.toml` as const;
  if (options.side === side) return configPath(fileName, options.config);
  return options.side === undefined ? findConfig(fileName) : undefined;
}

/** A remote without a host.toml is left out: `client.disk` reports it. */
function localHosts(config: ClientConfig): string[] {
  const named = config.remote.filter(isLocal).map(each => each.host_config ?? findConfig('host.toml'));
  return [...new Set(named.filter(each => each !== undefined))];
}

/** The finding for a machine that has neither config. */
export function checkNoConfig(): Finding {
  return NO_CONFIG.warning(
    'there is neither a client.toml nor a host.toml (in ~/.config/dialback and /etc/dialback)',
    'on a client: dialback init; on a host: dialback enroll NAME KEYFILE',
  );
}

const NAMES = new Topic(
  'client.name',
  'the backup host knows this machine by its name, and connects back to its account',
);

/** Checks the client's name, and its account's if a host connects back to it. */
export function collectName(config: ClientConfig): Finding {
  try {
    if (!isDialed(config)) return NAMES.ok(`"${clientName(config)}"`);
    requireLogin();
    return NAMES.ok(`"${clientName(config)}"; the host connects back as "${ownAccount().name}"`);
  } catch (error) {
    return NAMES.fault(error, 'set `name` in client.toml');
  }
}
