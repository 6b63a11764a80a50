/**
 * The transport `local`, for a store on this machine: the command that `backup` starts instead of ssh, and the names in a store that
 * both sides know. The two processes speak the protocol of a channel (wire/channel.ts).
 */

/** The file that makes a folder a store; only `enroll` writes it. */
export const STORE_FILE = 'store.json';

/** A client's folder in a store. */
export function shelfOf(store: string, name: string): string {
  return `${store}/clients/${name}`;
}

/** The program's arguments. `--local` means that no sshd has started it. @param config the path of host.toml */
export function localGrab(name: string, config: string): string[] {
  return ['grab', '--client', name, '--config', config, '--local'];
}
