/** The work folder of a run, beside its arriving tree. It is deleted before the commit, so no snapshot has one. */
import { setImmediate as breathe } from 'node:timers/promises';
import { exists, makeFolder, removingTree } from '../os/files.ts';

const WORK = 'work';
/** Names that are deleted between two turns of the event loop. */
const NAMES_AT_ONCE = 500;

/** Makes the work folder, if it does not exist. @param folder arriving/SNAPSHOT @returns its path */
export function makeWork(folder: string): string {
  const work = `${folder}/${WORK}`;
  makeFolder(work);
  return work;
}

/** Deletes the work folder. @param folder arriving/SNAPSHOT @throws Fault */
export async function dropWork(folder: string): Promise<void> {
  const work = `${folder}/${WORK}`;
  if (!exists(work)) return;
  for (const _ of removingTree(work, NAMES_AT_ONCE)) await breathe();
}
