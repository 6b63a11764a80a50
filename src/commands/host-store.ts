/** The store and the settings that a command of the host works with. */
import { type HostConfig, readHostConfig } from '../host/config.ts';
import { configPath } from '../shared/toml.ts';
import type { Option } from './command.ts';

/** The option that names the config for these commands. */
export const HOST_CONFIG: Option = {
  name: 'config',
  value: 'F',
  help: 'read this host.toml',
};

/**
 * @param named the value of --config; undefined: the config in the usual places
 * @throws Fault `usage` where there is no config, or where it is wrong
 */
export function hostConfig(named: string | undefined): HostConfig {
  return readHostConfig(configPath('host.toml', named));
}

/** @returns the folder of the store that this config names */
export function hostStore(named: string | undefined): string {
  return hostConfig(named).store;
}
