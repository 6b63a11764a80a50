/** Watching a folder. */
import { type FSWatcher, watch } from './files.ts';

const LOOK_MS = 100;

/**
 * Calls back each time a name comes or goes in a folder; where the kernel has no watch left for us (inotify(7),
 * max_user_instances) ten times a second. @returns the end of it
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
