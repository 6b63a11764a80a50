/** Which test files a run has, and in which order. */

/** Whether a file is a soak, by its name. `make test` omits soaks. */
export const isLong = (file: string): boolean => file.endsWith('.long.test.ts');
const isRegress = (file: string): boolean => file.startsWith('test/regress/');

/** The beginnings of names, longest runtime first (docs/testing.md has the times). A long file that starts last would delay the end. */
export const LONGEST: readonly string[] = [
  'install/clean-machine.long',
  'store/copy-store.',
  'install/ansible.long',
  'install/deb.long',
  'store/moved-kills',
  'store/year',
  'store/space',
  'hostile/receive-jail',
  'install/install.',
  'store/store-kills',
  'hostile/request',
  'store/readers',
  'hostile/host',
  'transport/kills',
  'client/rotate-key.long',
  'gate/never-through-users',
  'hostile/outcome',
  'store/explain-many',
  'restore/drill',
  'store/verify',
  'transport/channel',
  'doctor/all-findings',
  'store/explain',
  'store/moved-files',
  'install/installed',
  // These mostly wait, so the others can use the processor.
  'versions/refused',
  'gate/mount-points',
  'transport/nat',
  'runner/interrupt',
  'install/cron',
  'transport/cut',
  'restore/killed',
  'config/roots',
  'hostile/client',
  'hostile/fetch-client',
  'hostile/found-in-review',
  'install/four-commands',
  'transport/odd-times',
  'transport/outcomes',
  'hostile/no-host-paths',
  'hostile/stream',
  'config/hooks',
  'transport/local',
  'transport/burst',
];

/**
 * Chooses test files and puts them in order: the longest regress files first, then unit tests, then the rest.
 * @param files paths from the top of the checkout
 * @param filters parts of names; without any, the files of one suite: the long one, or all others
 */
export function planFiles(
  files: readonly string[],
  filters: readonly string[],
  suite: 'test' | 'test-long',
): string[] {
  const wanted = files.filter(file =>
    filters.length > 0 ? matches(file, filters) : isLong(file) === (suite === 'test-long'),
  );
  const rank = (file: string): number => {
    if (!isRegress(file)) return LONGEST.length;
    const at = LONGEST.findIndex(each => file.startsWith(`test/regress/${each}`));
    return at < 0 ? LONGEST.length + 1 : at;
  };
  return wanted.toSorted((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
}

/** Whether a filter is a part of a name. */
export function matches(name: string, filters: readonly string[]): boolean {
  return filters.length === 0 || filters.some(filter => name.includes(filter));
}
