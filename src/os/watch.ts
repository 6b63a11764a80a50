/** Watching a folder. */
import { type FSWatcher, watch } from './files.ts';

const LOOK_MS = 100;

/**
 * Calls back each time an entry is added to a folder or removed from it. If the kernel has no watch left (inotify(7),
 * max_user_instances), it calls back ten times a second.
 * @returns a function that stops watching
 */
export function watchFolder(path: string, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    timer ??= setInterval(changed, LOOK_MS);
  };
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(path, changed).on('error', look);
  } catch {
    look();
  }
  return () => {
    watcher?.close();
    clearInterval(timer);
  };
}
