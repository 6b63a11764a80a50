/** clients/NAME/silence.json: that the hook `silent` was run for a client's silence. */
import { readWhole } from '../os/content.ts';
import { exists, removeFileIfThere, stat } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { decodeTold, encodeTold, type Told } from './silence.ts';
import type { ClientStore } from './store.ts';

const RECORD_LIMIT = 4096;

/** @returns undefined if the hook was not run, or if the file is damaged: to tell twice is better than never */
export function readTold({ folder }: ClientStore): Told | undefined {
  const path = `${folder}/silence.json`;
  if (!exists(path)) return undefined;
  try {
    const parsed = decodeTold(readWhole(path, RECORD_LIMIT).toString('utf8'));
    return 'value' in parsed ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}

/** Records that the hook runs, or how it ended. @throws Fault when it cannot be written */
export function writeTold({ folder }: ClientStore, told: Told): void {
  replaceFile(`${folder}/silence.json`, encodeTold(told));
}

/** Forgets a silence that has ended, so that the hook runs for the next one. */
export function forgetTold({ folder }: ClientStore): void {
  removeFileIfThere(`${folder}/silence.json`);
  syncFolder(folder);
}

/** When a client was enrolled: the creation of its folder, in milliseconds since 1970; 0 if the file system has no such time. */
export function enrolledMs({ folder }: ClientStore): number {
  return Math.floor(stat(folder).birthtimeMs);
}
