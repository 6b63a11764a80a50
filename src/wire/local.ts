/**
 * The transport `local`: what `backup` starts in the place of ssh where the store is on this machine, and by what both sides
 * know a store. What goes between the two is what goes over a channel (wire/channel.ts).
 */

/** The file that makes a folder a store; only `enroll` writes it. */
export const STORE_FILE = 'store.json';

/** A client's folder in a store. */
export function shelfOf(store: string, name: string): string {
  return `${store}/clients/${name}`;
}

/** The words after the program: `--local` says that no sshd stands before it. @param config host.toml's path */
export function localGrab(name: string, config: string): string[] {
  return ['grab', '--client', name, '--config', config, '--local'];
}
