/** Offers and fetches between the two users of a World. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Party, Result, World } from './world.ts';

export interface Offered {
  id: string;
  code: string;
  snapshot: string;
  command: string;
}

/** Makes an offer. @throws with the message where it is refused */
export async function offer(world: World, words: string[] = []): Promise<Offered> {
  const result = await tryOffer(world, words);
  if (result.status !== 0) throw new Error(`offer: ${result.stderr}`);
  return JSON.parse(result.stdout) as Offered;
}

export async function tryOffer(world: World, words: string[], input = ''): Promise<Result> {
  const [first = world.name, ...rest] =
    words[0]?.startsWith('-') || words[0]?.startsWith('/') ? [world.name, ...words] : words;
  return await world.run(world.host, ['offer', first, ...rest, '--json', '--config', world.hostToml], {
    input,
  });
}

/** Fetches with the client's config, as the client or as root. Root has a home of its own, since files run beside each other. */
export async function fetchFiles(
  world: World,
  code: string,
  words: string[],
  party: Party | 'root' = world.client,
): Promise<Result> {
  const environment = party === 'root' ? { HOME: rootHome(world) } : {};
  return await world.run(party, ['fetch', code, '--config', world.clientToml, ...words], { environment });
}

/** The home of root's fetches in this world. */
function rootHome(world: World): string {
  const home = join(world.base, 'root');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  return home;
}

/** The state of an offer by the host's list. */
export async function offerState(world: World, id: string): Promise<string | undefined> {
  const { stdout } = await tryOffer(world, ['--list']);
  return (JSON.parse(stdout) as { id: string; state: string }[]).find(each => each.id === id)?.state;
}
