/** The torture tree (tree.ts) in the place of a world's data. */
import { rmSync } from 'node:fs';
import { makeTortureTree } from './tree.ts';
import type { World } from './world.ts';

/** Replaces the world's data by a torture tree that root makes for the client. */
export function plantTortureTree({ data, client }: World): void {
  rmSync(data, { recursive: true });
  makeTortureTree(data, { asRoot: true, owner: { uid: client.uid, gid: client.gid } });
}
