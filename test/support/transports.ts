/** One client with three remotes: direct, over a channel, and a store on the same machine. */
import { join } from 'node:path';
import type { World } from './world.ts';

export const TRANSPORTS = ['direct', 'channel', 'local'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** The store of the remote `local`: on the same file system, in the client's home. */
export function localStore(world: World): string {
  return join(world.client.home, 'local store');
}

/** Makes that store, and enrolls the client there. */
export async function enrollLocal(world: World): Promise<void> {
  const hostToml = join(world.client.home, 'local.toml');
  const args = ['enroll', world.name, '--local', '--store', localStore(world), '--config', hostToml];
  const { status, stderr } = await world.run(world.client, args);
  if (status !== 0) throw new Error(`enroll --local: ${stderr}`);
}

/** Writes client.toml for one of them. @param scope as TOML, by default all of the world's data */
export function useTransport(world: World, transport: Transport, scope?: string): void {
  const parts: Record<Transport, string[]> = {
    direct: [`target = "${world.target}"`, 'from = ["127.0.0.1"]', 'listen = "127.0.0.1:0"'],
    channel: [`target = "${world.target}"`, 'transport = "channel"'],
    local: [
      `target = "${localStore(world)}"`,
      'transport = "local"',
      `host_config = "${join(world.client.home, 'local.toml')}"`,
      'same_filesystem = true',
    ],
  };
  const toml = [
    `name = "${world.name}"`,
    `state = "${world.clientState}"`,
    '[[remote]]',
    ...parts[transport],
    '[scope]',
    scope ?? `roots = ["${world.data}"]`,
    '[limits]',
    'deadline = "5m"',
    '',
  ];
  world.write(world.client, world.clientToml, toml.join('\n'));
}

/** The client's folder in the store of one of them. */
export function shelfOf(world: World, transport: Transport): string {
  return transport === 'local' ? join(localStore(world), 'clients', world.name) : world.shelf;
}
